"""Sentinels right after an hour's end: settled, live and recomputed hours all look past them, in order and late."""

from collections.abc import Iterator

import pytest
from accounting_cases import HOUR, HOUR_MS
from ledger_rig import METERS, Rig, mill, steady

from plantprint.account import EMPTY_CARRY
from plantprint.facts import Reading
from plantprint.quantities import MICRO
from plantprint_collector.books import account_hours, load_facts

pytestmark = pytest.mark.integration

OTHERS = [meter for meter in METERS if meter != "m1"]
SILLY = {-1: 10, 2**63 - 1: 30}  # a value and how many of it


@pytest.fixture
def rig(database_url: str) -> Iterator[Rig]:
    with Rig(database_url) as made:
        made.apply(mill())
        made.declare()
        made.job("j1", "u1", 0, 3 * 3600, "b1")
        yield made


def sentinels(from_s: int) -> list[Reading]:
    values = [value for value, many in SILLY.items() for _ in range(many)]
    return [Reading(HOUR + (from_s + second) * 1000, value) for second, value in enumerate(values)]


def test_a_true_reading_behind_sentinels_tells_of_the_hour_before_them(rig: Rig) -> None:
    """m1 says its last truth five minutes before the hour's end, and the next 20 minutes after it."""
    rig.steady(0, 3 * 3600, meters=OTHERS)
    rig.store({"m1": [*steady("m1", 0, 3300), *sentinels(3601), *steady("m1", 4800, 3 * 3600)]})
    rig.run()
    assert [rig.amount("batch/b1", "grid", hour) for hour in range(3)] == [60 * MICRO] * 3
    assert rig.rows("select * from batch_missing") == []
    rig.assert_clean()
    facts = load_facts(rig.conn, rig.site)
    assert facts is not None
    together = rig.recomputed()
    alone = [
        next(account_hours(rig.conn, facts, [hour.hour_ms], before, HOUR + 3 * HOUR_MS))
        for hour, before in zip(together, [EMPTY_CARRY, *(one.carry for one in together)], strict=False)
    ]
    assert [one.net for one in alone] == [one.net for one in together]


def test_one_that_comes_late_reaches_back_over_them(rig: Rig) -> None:
    rig.steady(0, 2 * 3600, meters=OTHERS)
    rig.store({"m1": [*steady("m1", 0, 3300), *sentinels(3601)]})
    rig.run()
    assert rig.amount("batch/b1", "grid", 0) == 55 * MICRO
    rig.store({"m1": steady("m1", 4800, 2 * 3600)})
    rig.run()
    assert [rig.amount("batch/b1", "grid", hour) for hour in range(2)] == [60 * MICRO] * 2
    rig.assert_clean()
