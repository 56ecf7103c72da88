"""Idle windows through a real database: they end when nothing happens, statuses follow, and late jobs move what was spread."""

from collections.abc import Iterator

import pytest
from accounting_cases import HOUR, HOUR_MS
from ledger_rig import Rig, mill

from plantprint.quantities import MICRO
from plantprint.times import from_ms

pytestmark = pytest.mark.integration

HOUR_S = 3600
SHIFTS = {"window": "shift", "starts": ["08:00", "10:00", "12:00", "14:00", "16:00", "18:00", "20:00"]}


@pytest.fixture
def rig(database_url: str) -> Iterator[Rig]:
    with Rig(database_url) as made:
        made.apply(mill(idle=SHIFTS))
        made.declare()
        yield made


def status(rig: Rig, batch: str) -> str:
    ((found,),) = rig.rows("select footprint_status from report_batch where batch = %s", batch)
    return str(found)


def test_a_window_ends_without_any_event_and_makes_its_batches_final(rig: Rig) -> None:
    """HOUR is 08:00 in Shanghai: 60 kWh an hour on u1, one hour of job and one of idle in the first window."""
    rig.job("j1", "u1", 0, HOUR_S, batch="b1")
    rig.steady(0, HOUR_S + 1200)
    rig.run()
    assert status(rig, "b1") == "provisional"
    rig.steady(HOUR_S + 1260, 3 * HOUR_S + 1200)
    rig.run()
    assert rig.rows(
        "select portion, sum(amount)::bigint from posting where account_id = 'b1' and source = 'grid' group by 1 order by 1"
    ) == [("direct", 60 * MICRO), ("idle", 60 * MICRO)]
    assert set(rig.rows("select place, outcome from window_end where end_at = %s", from_ms(HOUR + 2 * HOUR_MS))) == {
        ("u1", "spread"), ("u2", "carried"), ("bus", "spread"),
    }  # fmt: skip
    assert status(rig, "b1") == "provisional", "it may be between two steps"
    rig.event("output", HOUR_S, batch="b1", quantity=5)
    rig.steady(3 * HOUR_S + 1260, 4 * HOUR_S + 1200)
    rig.run()
    assert status(rig, "b1") == "final"
    rig.assert_clean()

    # Half of the idle hour turns out to have been a job of another batch.
    rig.restart()
    rig.job("j2", "u1", HOUR_S, HOUR_S + 1800, batch="b2")
    rig.event("output", 2 * HOUR_S, batch="b2", quantity=5)
    rig.run()
    assert rig.rows(
        "select account_id, portion, sum(amount)::bigint from posting where account_kind = 'batch' and source = 'grid' "
        "group by 1, 2 having sum(amount) <> 0 order by 1, 2"
    ) == [
        ("b1", "direct", 60 * MICRO), ("b1", "idle", 20 * MICRO), ("b2", "direct", 30 * MICRO), ("b2", "idle", 10 * MICRO),
    ]  # fmt: skip
    assert (status(rig, "b1"), status(rig, "b2")) == ("revised", "final")
    rig.assert_clean()
