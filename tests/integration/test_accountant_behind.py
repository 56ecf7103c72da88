"""More marks than one pass takes: the passes that catch up do not read again what they know, and end with the same hours."""

from collections.abc import Iterator

import pytest
from ledger_rig import METERS, Rig, mill, steady

from plantprint.facts import Reading
from plantprint_collector import open_rows
from plantprint_collector.spans import readings_since

pytestmark = pytest.mark.integration

MARKS_MAX = 6  # a few less than two of its seconds leave


@pytest.fixture
def rig(database_url: str) -> Iterator[Rig]:
    with Rig(database_url, marks_per_pass_max=MARKS_MAX) as made:
        made.apply(mill())
        made.declare()
        made.job("j1", "u1", 0, None)
        made.steady(-60, 3600)
        made.run()
        yield made


@pytest.fixture
def loaded(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many channels were read from the start of the open hours on, time by time."""
    found: list[int] = []

    def counted(conn, channel_ids, after_ms):  # type: ignore[no-untyped-def] # noqa: ANN001, ANN202 - as `readings_since`
        ids = list(channel_ids)
        found.append(len(ids))
        return readings_since(conn, ids, after_ms)

    monkeypatch.setattr(open_rows, "readings_since", counted)
    return found


def seconds(rig: Rig, first: int, count: int) -> None:
    """Every meter is read once a second, a transaction each."""
    for second in range(first, first + count):
        rig.store({meter: steady(meter, second, second) for meter in METERS})


def test_what_an_opening_read_is_not_read_again(rig: Rig, loaded: list[int]) -> None:
    """An accountant that starts while much waits finds all of it; the marks it takes later say nothing new."""
    seconds(rig, 3601, 12)
    rig.restart()
    rig.run()
    assert sum(loaded) == len(METERS)
    assert rig.rows("select 1 from dirty") == []
    seconds(rig, 3613, 12)
    rig.run()
    assert sum(loaded) == len(METERS)
    _assert_right(rig)


def test_a_late_reading_among_much_that_waits_has_its_meter_read_once(rig: Rig, loaded: list[int]) -> None:
    seconds(rig, 3602, 2)
    rig.run()
    rig.store({"m1": [Reading(steady("m1", 3601, 3601)[0].t_ms, steady("m1", 3600, 3600)[0].value)]})
    seconds(rig, 3604, 12)
    rig.run()
    assert sum(loaded) == 1
    assert rig.rows("select 1 from dirty") == []
    _assert_right(rig)


def test_a_late_reading_that_an_opening_read_still_reaches_the_hour_before(rig: Rig, loaded: list[int]) -> None:
    """Its mark is taken after its meter was read, together with news in order of the same meter."""
    rig.steady(3660, 10_800, meters=["incomer", "m2", "gas"])
    rig.store({"m1": [*steady("m1", 3660, 7140), *steady("m1", 7260, 10_800)]})
    rig.run()
    before = rig.net()
    seconds(rig, 10_801, 2)
    rig.store({"m1": [Reading(steady("m1", 7210, 7210)[0].t_ms, steady("m1", 7140, 7140)[0].value)]})
    rig.restart()
    rig.accountant.run_pass(rig.work, 1)
    seconds(rig, 10_803, 2)
    rig.run()
    assert sum(loaded) == len(METERS) + 1  # itself, as the ledger read it when the hour before was accounted again
    assert rig.net() != before
    _assert_right(rig)


def _assert_right(rig: Rig) -> None:
    """Once the open hour is settled from memory, all hours are as from the database."""
    rig.steady(10_860, 14_460)
    rig.run()
    rig.assert_clean()
