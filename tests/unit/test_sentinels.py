"""Sentinels after an hour's end, however many: they decide nothing, so the true reading behind them still tells of the hour."""

import json
from decimal import Decimal
from pathlib import Path

import pytest
from strategies import HOUR_0

from plantprint import neutral
from plantprint.facts import Channel, Quality, Reading
from plantprint.intervals import (
    ANY_VALUE,
    LOOKAHEAD,
    CounterState,
    MeterSeries,
    Values,
    meter_hour,
    span_readings,
    values_of,
)
from plantprint.plant.model import Meter
from plantprint.times import HOUR_MS

MINUTE_MS = 60_000
END = HOUR_0 + HOUR_MS
COUNTER = Channel("gw", "kwh", "kWh", 2, "counter")
GAUGE = Channel("gw", "kw", "kW", 1, "gauge")
METER = Meter.model_validate({"id": "m", "name": {"en": "m"}, "unit": "kWh", "bindings": [{"channel": "gw/kwh"}]})
RATED = METER.model_copy(update={"rated_per_hour": Decimal(100), "max_gap_s": 900})
EXAMPLE = Path(__file__).resolve().parents[2] / "docs" / "examples" / "one-hour.facts.json"


def series(channel: Channel, meter: Meter, readings: list[Reading], hour_ms: int) -> MeterSeries:
    values = values_of(channel, meter, Decimal(1))
    window = span_readings(readings, hour_ms, hour_ms + HOUR_MS, channel, values)
    return MeterSeries(channel, meter, Decimal(1), window)


def base(channel: Channel, meter: Meter, readings: list[Reading]) -> CounterState | None:
    """What the hour before HOUR_0 hands on."""
    before = HOUR_0 - HOUR_MS
    return meter_hour(series(channel, meter, readings, before), before, 300, None, HOUR_0)[1]


def with_sentinels(value: int, many: int) -> list[Reading]:
    """A register that counts 1 kWh a minute, read every five; sentinels follow the first hour, a truth 20 min later."""
    truth = [Reading(HOUR_0 + n * 5 * MINUTE_MS, 100_000 + n * 500) for n in range(12)]
    silly = [Reading(END + n * 1000, value) for n in range(1, many + 1)]
    return [*truth, *silly, Reading(END + 20 * MINUTE_MS, 100_000 + 80 * 100), Reading(END + HOUR_MS, 112_000)]


@pytest.mark.parametrize("value", [-1, 2**63 - 1, 2**62 + 1])
@pytest.mark.parametrize("many", [LOOKAHEAD - 1, LOOKAHEAD, LOOKAHEAD + 1, 900])
def test_a_register_is_followed_past_any_number_of_them(value: int, many: int) -> None:
    readings = with_sentinels(value, many)
    first = series(COUNTER, METER, readings, HOUR_0)
    state = base(COUNTER, METER, readings)
    amounts = []
    for hour_ms in (HOUR_0, END):
        hour, state, issues = meter_hour(series(COUNTER, METER, readings, hour_ms), hour_ms, 300, state, END + HOUR_MS)
        amounts.append(int(hour.amount.sum()))
        assert not hour.missing_ms.any()
        assert {issue.code for issue in issues} <= {"reading-impossible"}
    assert amounts == [60_000_000, 60_000_000]
    assert len(first.readings) == 11 + 2  # in the hour, and the two truths behind it


def test_a_gauge_passes_over_what_is_over_its_rated_value() -> None:
    silly = [Reading(END + n * 1000, 65_535) for n in range(1, 7)]
    readings = [Reading(HOUR_0 + n * 5 * MINUTE_MS, 300) for n in range(12)]
    readings += [*silly, Reading(END + 5 * MINUTE_MS, 300)]
    state = base(GAUGE, RATED, readings)
    hour, _, issues = meter_hour(series(GAUGE, RATED, readings, HOUR_0), HOUR_0, 300, state, END)
    assert int(hour.amount.sum()) == 30_000_000
    assert not hour.missing_ms.any()
    assert issues == []  # they lie in the next hour, which says so


def test_what_counts_depends_on_unit_ratio_and_rated_value() -> None:
    assert values_of(COUNTER, METER, Decimal(1)) == Values(0, 2**60 // 10_000)
    assert values_of(COUNTER, METER, Decimal(100)) == Values(0, 2**60 // 1_000_000)
    assert values_of(GAUGE, RATED, Decimal(1)) == Values(-(2**60 // 100_000), 1200)
    assert values_of(Channel("gw", "g", "Nm3", 0, "counter"), METER, Decimal(1)) == ANY_VALUE
    assert values_of(Channel("gw", "a", "kWh", 0, "amount", 900), METER, Decimal(1)) == ANY_VALUE
    assert not ANY_VALUE.counts(Reading(0, 1, Quality.MISSING))
    assert Values(0, 9).narrowed(Values(-5, 7)) == Values(0, 7)


def test_an_amount_looks_no_further_than_its_period_and_four_readings() -> None:
    channel = Channel("gw", "a", "kWh", 0, "amount", 7200)
    readings = [Reading(END + n * MINUTE_MS, -1, quality=Quality(n % 2 * 3)) for n in range(1, 300)]
    found = span_readings(readings, HOUR_0, END, channel, ANY_VALUE)
    assert [r.t_ms for r in found] == [r.t_ms for r in readings if r.t_ms < END + 7200 * 1000]


def test_the_neutral_way_passes_over_them_too() -> None:
    body = json.loads(EXAMPLE.read_text(encoding="utf-8"))
    plain = neutral.accounts_json(neutral.account_facts(neutral.parse_facts(json.dumps(body))))
    rows = body["readings"][0]["rows"]
    last_at, last = rows[-1]
    assert last_at.endswith("03:00:00Z")
    later = str(Decimal(last) + (Decimal(last) - Decimal(rows[0][1])))
    silly = [[f"2026-01-01T03:00:{n:02}Z", "-1"] for n in range(1, 12)]
    body["readings"][0]["rows"] = [*rows[:-1], *silly, ["2026-01-01T04:00:00Z", later]]
    spoilt = neutral.accounts_json(neutral.account_facts(neutral.parse_facts(json.dumps(body))))
    assert spoilt["accounts"] == plain["accounts"]
