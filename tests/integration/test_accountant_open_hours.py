"""The incremental path of open hours: after any chunks in any order it equals accounting from stored readings, exactly."""

import random
from collections.abc import Iterator

import numpy as np
import pytest
from accounting_cases import HOUR, HOUR_MS
from ledger_rig import CHANNELS, Rig, mill

from plantprint.account import EMPTY_CARRY, HourAccount
from plantprint.facts import Channel, Quality, Reading
from plantprint.intervals import MeterHour
from plantprint_collector.books import account_hours, load_facts
from plantprint_collector.ledger_marks import take_marks
from plantprint_collector.open_hours import OpenHours

pytestmark = pytest.mark.integration

HOURS = 3
KINDS = {
    "counters": CHANNELS,
    "gauges": {n: Channel("gw", n, "Nm3/h" if n == "gas" else "kW", 3, "gauge") for n in CHANNELS},
    "amounts": {n: Channel("gw", n, c.unit, 3, "amount", 420) for n, c in CHANNELS.items()},
}


def course(chance: random.Random, kind: str) -> list[Reading]:
    """Three hours and a bit of a device that misbehaves: silence, zeros, spikes, dips, resets, withdrawn values."""
    readings: list[Reading] = []
    t_ms, value = HOUR - chance.randrange(1, 900_000), chance.randrange(0, 5_000_000)
    pauses = chance.choice([(15_000, 60_000), (60_000, 60_000, 2_000_000), (420_000, 420_000, 840_000)])
    while t_ms < HOUR + HOURS * HOUR_MS + 600_000:
        value += chance.choice([0, 100, 2_000, 9_000])
        shown = value
        if chance.random() < 0.06:
            shown = chance.choice([0, 0, value * 50, value - value // 30, value // 3, -7])
            value = chance.choice([value, value, value, chance.randrange(0, 1000)])
        if kind != "counters":
            shown = min(shown, 90_000) % 60_000
        quality = chance.choice([Quality.MEASURED] * 9 + [Quality.ESTIMATED, Quality.MISSING])
        readings.append(Reading(t_ms, shown, quality))
        t_ms += chance.choice(pauses) if chance.random() < 0.98 else chance.randrange(1, 5_000_000)
    return readings


def chunks(chance: random.Random, kind: str) -> Iterator[dict[str, list[Reading]]]:
    """What the meters say in pieces: mostly in order, some late, some twice, some corrected by a revision."""
    several: list[tuple[float, str, list[Reading]]] = []
    for meter in CHANNELS:
        readings = course(chance, kind)
        while readings:
            size = chance.randrange(1, 16)
            piece, readings = readings[:size], readings[size:]
            late_ms = chance.choice([0, 0, 0, 0, 1_500_000, 6_000_000])
            several.append((piece[-1].t_ms + late_ms, meter, piece))
            if chance.random() < 0.1:
                again = [Reading(r.t_ms, r.value + 1, r.quality, 1) if chance.random() < 0.3 else r for r in piece]
                several.append((piece[-1].t_ms + chance.randrange(0, 4_000_000), meter, again))
    for _, meter, piece in sorted(several, key=lambda item: (item[0], item[1])):
        yield {meter: piece}


@pytest.mark.parametrize("kind", sorted(KINDS))
@pytest.mark.parametrize("seed", range(4))
def test_open_hours_equal_stored_readings(database_url: str, kind: str, seed: int) -> None:
    """Whatever arrives when: the same hours, and word when the hour before, once settled, would be settled otherwise."""
    chance = random.Random(f"{kind} {seed}")
    compared = noticed = 0
    with Rig(database_url) as rig:
        rig.apply(mill())
        rig.declare(*KINDS[kind].values())
        rig.job("j1", "u1", -300, 4000)
        rig.job("j2", "u2", 1800, None)
        known: OpenHours | None = None
        settled: HourAccount | None = None
        newest_ms = 0
        for chunk in chunks(chance, kind):
            rig.store(chunk)
            newest_ms = max(newest_ms, *(r.t_ms for readings in chunk.values() for r in readings))
            with rig.work.transaction():
                marks = take_marks(rig.work, rig.site, 1000)
                if known is None:
                    known = _opened(rig, HOUR - HOUR_MS)
                else:
                    known.facts.learn_first(marks.channels)
                    known.add(rig.work, marks.channels)
                if chance.random() < 0.5:
                    compared += 1
                    now_ms = newest_ms + chance.randrange(0, 400_000)
                    if _opened(rig, known.start_ms).carry != known.carry:  # something late before the start
                        known, settled = _opened(rig, known.start_ms), None
                    first = _assert_equal(rig, known, now_ms)
                    if settled is not None:
                        assert known.is_settled_as_known() == _is_same(settled, first)
                        noticed += not _is_same(settled, first)
                    known.settled()
                    settled = first
                    if now_ms - known.start_ms > chance.randrange(2, 4) * HOUR_MS:
                        known.begin_at(known.start_ms + HOUR_MS, first.carry)
                        settled = _assert_equal(rig, known, now_ms)
    print("compared", compared, noticed)
    assert compared > 5


def _opened(rig: Rig, start_ms: int) -> OpenHours:
    facts = load_facts(rig.work, rig.site)
    assert facts is not None
    before = list(account_hours(rig.work, facts, range(HOUR - HOUR_MS, start_ms, HOUR_MS), EMPTY_CARRY, start_ms))
    return OpenHours(rig.work, facts, start_ms, before[-1].carry if before else EMPTY_CARRY)


def _assert_equal(rig: Rig, known: OpenHours, now_ms: int) -> HourAccount:
    """Every hour alike in everything that counts; returns the first."""
    hours = range(known.start_ms, now_ms + 1, HOUR_MS)
    stored = list(account_hours(rig.work, known.facts, hours, known.carry, now_ms))
    found = known.accounts(known.start_ms, known.carry, now_ms)
    assert [one.hour_ms for one in found] == [one.hour_ms for one in stored]
    for one, other in zip(found, stored, strict=True):
        for meter, hour in other.meters.items():
            for name in MeterHour.__slots__:
                np.testing.assert_array_equal(getattr(one.meters[meter], name), getattr(hour, name), f"{meter} {name}")
        assert one.net == other.net
        assert one.carry == other.carry
        assert one.missing_ms == other.missing_ms
    return stored[0]


def _is_same(one: HourAccount, other: HourAccount) -> bool:
    return one.carry == other.carry and all(
        np.array_equal(getattr(one.meters[meter], name), getattr(other.meters[meter], name))
        for meter in one.meters
        for name in MeterHour.__slots__
    )
