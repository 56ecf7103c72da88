"""Plain counters taken all at once give what one counter followed closely gives; what is unusual is refused whole."""

import random
from decimal import Decimal

import numpy as np
import pytest
from accounting_cases import HOUR, HOUR_MS
from hypothesis import given, settings
from hypothesis import strategies as st

from plantprint.facts import Channel, Quality, Reading
from plantprint.plant.model import Meter
from plantprint_collector.facts_store import MeterSource
from plantprint_collector.open_meter import OpenMeter
from plantprint_collector.open_table import OpenTable
from plantprint_collector.plain_counters import PlainCounters

BUCKET_S = 60
good = st.sampled_from([Quality.MEASURED, Quality.MEASURED, Quality.RECOVERED, Quality.ESTIMATED])
# Steps of time from bursts to gaps, of the register from standing still to a leap that a rated value refuses.
steps = st.lists(
    st.tuples(st.sampled_from([1, 1000, 61_000, 60_000, 900_001]), st.sampled_from([0, 1, 7, 400]), good),
    min_size=1,
    max_size=60,
)


def source(ratio: str, rated: str | None) -> MeterSource:
    body = {"id": "m", "name": {"en": "m"}, "unit": "kWh", "rated_per_hour": rated, "bindings": [{"channel": "gw/m"}]}
    return MeterSource(Meter.model_validate(body), Decimal(ratio), Channel("gw", "m", "kWh", 2, "counter"), {1: 1})


def course(start_ms: int, moves: list[tuple[int, int, Quality]]) -> list[Reading]:
    t_ms, value, readings = start_ms, 1000, []
    for step_ms, rise, quality in moves:
        t_ms, value = t_ms + step_ms, value + rise
        readings.append(Reading(t_ms, value, quality))
    return readings


@settings(max_examples=40)
@given(
    st.lists(st.tuples(st.integers(HOUR, HOUR + HOUR_MS), steps), min_size=1, max_size=4),
    st.sampled_from(["1", "0.3", "3.7"]),
    st.sampled_from([None, "400"]),
    st.randoms(use_true_random=False),
)
def test_all_at_once_is_as_one_by_one(
    courses: list[tuple[int, list[tuple[int, int, Quality]]]], ratio: str, rated: str | None, chance: random.Random
) -> None:
    sources = [source(ratio, rated) for _ in courses]
    table = OpenTable(len(courses), HOUR, BUCKET_S * 1000)
    readings = [course(start_ms, moves) for start_ms, moves in courses]
    table.reach(max(several[-1].t_ms for several in readings))
    plain = PlainCounters(sources, table)
    waiting = dict(enumerate(readings))
    for row, several in waiting.items():
        first = several.pop(0)
        assert plain.begin(row, first.t_ms, first.value, first.quality)
        table.begin(row, first.t_ms)
        readings[row] = [first]
    while any(waiting.values()):
        taken = {
            row: [several.pop(0) for _ in range(min(len(several), chance.randrange(4)))]
            for row, several in waiting.items()
        }
        found = np.array([(row, r.t_ms, r.value, r.quality) for row, some in taken.items() for r in some], np.int64)
        refused = set(plain.take(*found.reshape(-1, 4).T).tolist())
        for row, some in taken.items():
            if row in refused:
                waiting[row] = []
            else:
                readings[row] += some
    for row, several in enumerate(readings):
        closely = OpenMeter(sources[row], HOUR, BUCKET_S, None)
        (channel_id,) = sources[row].multipliers
        assert closely.add(channel_id, several)
        for number, (hour, state, issues) in enumerate(closely.hours(table.end_ms, several[-1].t_ms)):
            assert not issues
            at = table.columns(number)
            np.testing.assert_array_equal(table.amount[row, at], hour.amount)
            np.testing.assert_array_equal(table.quality(number)[row], hour.quality)
            np.testing.assert_array_equal(table.missing_ms[row, at], hour.missing_ms)
            assert plain.states(np.array([row]), HOUR + (number + 1) * HOUR_MS) == [state]


@pytest.mark.parametrize(
    ("readings", "rated"),
    [
        ([(HOUR + 2000, 999)], None),
        ([(HOUR + 2000, 1001), (HOUR + 3000, 1000)], None),
        ([(HOUR + 1000, 1001)], None),
        ([(HOUR + 2000, 1_000_000)], "400"),
        ([(HOUR + 2000, 2**61)], None),
    ],
    ids=["a fall", "a fall after a rise", "out of order", "faster than rated", "beyond any register"],
)
def test_what_is_unusual_is_refused_whole(readings: list[tuple[int, int]], rated: str | None) -> None:
    table = OpenTable(2, HOUR, BUCKET_S * 1000)
    table.reach(HOUR)
    plain = PlainCounters([source("1", rated)] * 2, table)
    for row in range(2):
        assert plain.begin(row, HOUR + 1000, 1000, Quality.MEASURED)
    found = np.array([*((0, *r, 3) for r in readings), (1, HOUR + 2000, 1001, 3)], np.int64)
    assert plain.take(*found.T).tolist() == [0]
    assert not plain.is_plain[0]
    assert not table.amount[0].any()
    assert table.amount[1].sum() == 10_000
