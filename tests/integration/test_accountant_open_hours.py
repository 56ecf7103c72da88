"""The incremental path of open hours: after any chunks in any order it equals accounting from stored readings, exactly."""

import random
from collections.abc import Iterable
from itertools import product
from typing import Any

import numpy as np
import pytest
from accounting_cases import HOUR, HOUR_MS
from ledger_chaos import KINDS, chunks
from ledger_rig import CHANNELS, Rig, mill
from steam_mill import STEAM, steam_chunks, steam_mill

from plantprint.account import EMPTY_CARRY, HourAccount
from plantprint.facts import Channel, Reading
from plantprint.intervals import MeterHour
from plantprint_collector.books import account_hours, load_facts
from plantprint_collector.ledger_marks import take_marks
from plantprint_collector.open_hours import OpenHours

pytestmark = pytest.mark.integration


POWERS = {name: Channel("gw", f"p-{name}", "kW", 3, "gauge") for name in ("m1", "m2")}


def shaped_mill() -> dict[str, Any]:
    """A coarse register spread by its power, one without any, and one with a power to compare with."""
    plant = mill()
    for meter in plant["meters"]:
        if meter["id"] in POWERS:
            meter["bindings"][0]["power"] = POWERS[meter["id"]].key
        if meter["id"] in ("m1", "gas"):
            meter["resolution"] = "2"
    return plant


@pytest.mark.parametrize(
    ("kind", "seed"), [*product(sorted(KINDS), range(4)), ("shaped", 0), ("shaped", 1), ("steam", 0)]
)
def test_open_hours_equal_stored_readings(database_url: str, kind: str, seed: int) -> None:
    """Whatever arrives when: the same hours, and word when the hour before, once settled, would be settled otherwise."""
    chance = random.Random(f"{kind} {seed}")
    compared = noticed = 0
    with Rig(database_url) as rig:
        rig.apply({"shaped": shaped_mill, "steam": steam_mill}.get(kind, mill)())
        beside = {"shaped": POWERS, "steam": STEAM}.get(kind, {})
        rig.declare(*KINDS.get(kind, CHANNELS).values(), *beside.values())
        rig.job("j1", "u1", -300, 4000)
        rig.job("j2", "u2", 1800, None)
        known: OpenHours | None = None
        settled: HourAccount | None = None
        newest_ms, since_ms = 0, dict[str, int]()
        for _, chunk in _pieces(chance, kind):
            rig.store(chunk)
            newest_ms = max(newest_ms, *(r.t_ms for readings in chunk.values() for r in readings))
            with rig.work.transaction():
                marks = take_marks(rig.work, rig.site, 1000)
                if known is None:
                    known = _opened(rig, HOUR - HOUR_MS)
                else:
                    known.facts.learn_first(marks.channels)
                    known.add(rig.work, marks)
                if chance.random() < 0.5:
                    compared += 1
                    now_ms = newest_ms + chance.randrange(0, 400_000)
                    if _opened(rig, known.start_ms).carry != known.carry:  # something late before the start
                        known, settled = _opened(rig, known.start_ms), None
                    first = _assert_equal(rig, known, now_ms)
                    # Before the hour's end it cannot be settled; first readings are noticed by others.
                    is_over = now_ms >= known.start_ms + HOUR_MS
                    if settled is not None and since_ms == known.facts.since_ms(known.start_ms):
                        assert (not known.unlike_settled()) == _is_same(settled, first)
                        noticed += not _is_same(settled, first)
                    known.settled()
                    settled, since_ms = first if is_over else None, known.facts.since_ms(known.start_ms)
                    if now_ms - known.start_ms > chance.randrange(2, 4) * HOUR_MS:
                        known.begin_at(known.start_ms + HOUR_MS, first.carry)
                        settled = _assert_equal(rig, known, now_ms)
    assert compared > 5


def _pieces(chance: random.Random, kind: str) -> Iterable[tuple[float, dict[str, list[Reading]]]]:
    if kind == "steam":
        return steam_chunks(chance)
    if kind != "shaped":
        return chunks(chance, kind)
    powers = chunks(chance, "gauges", [channel.name for channel in POWERS.values()])
    return sorted([*chunks(chance, "counters"), *powers], key=lambda piece: piece[0])


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
