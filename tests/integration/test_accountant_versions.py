"""Jobs under a plant that changes, and jobs whose times are not believed, on a real database."""

from collections.abc import Iterator
from typing import Any

import pytest
from ledger_rig import Rig, mill

pytestmark = pytest.mark.integration

HOUR_S = 3600


def rebuilt() -> dict[str, Any]:
    """The mill with `u3` in the place of `u1`."""
    body = mill()
    body["work_centers"][0]["work_units"][0]["id"] = "u3"
    for flow in body["flows"]:
        flow["to"] = "u3" if flow["to"] == "u1" else flow["to"]
    return body


@pytest.fixture
def rig(database_url: str) -> Iterator[Rig]:
    with Rig(database_url) as made:
        made.apply(mill())
        made.declare()
        yield made


def issues(rig: Rig) -> list[tuple[str, str]]:
    query = "select code, place from issue where open and origin = 'production' order by code, place"
    return [(code, place) for code, place in rig.rows(query)]


def standing(rig: Rig, batch: str) -> tuple[Any, ...]:
    query = "select status, footprint_status from report_batch where batch = %s"
    (found,) = rig.rows(query, batch)
    reasons = rig.rows("select code from batch_reason where batch = %s and origin = 'production'", batch)
    return (*found, [code for (code,) in reasons])


def test_a_work_unit_that_goes_takes_nothing_from_the_batches_it_made(rig: Rig) -> None:
    rig.job("j1", "u1", 0, HOUR_S, batch="b1")
    rig.event("output", HOUR_S, batch="b1", quantity=5, unit="kg")
    rig.event("shipment", HOUR_S + 60, shipment="s1", batch="b1")
    rig.apply(rebuilt(), effective_s=2 * HOUR_S)
    rig.job("j2", "u1", HOUR_S, 2 * HOUR_S + 60, batch="b2")
    rig.event("order", 0, batch="b3", quantity=5, unit="kg")
    rig.job("j3", "u1", 3 * HOUR_S, 3 * HOUR_S + 60, batch="b3")
    rig.steady(0, 4 * HOUR_S + 1200)
    rig.run()
    for _ in range(2):
        assert standing(rig, "b1") == ("shipped", "final", [])
        assert rig.rows("select shipment, body::jsonb ->> 'status' from statement") == [("s1", "final")]
        told = ["job-unknown-work-unit"]
        assert (standing(rig, "b2")[2], standing(rig, "b3")[2]) == (told, told), "one ran on as it went, one came after"
        assert issues(rig) == [("job-unknown-work-unit", "j2"), ("job-unknown-work-unit", "j3")]
        rig.assert_clean()
        rig.restart()
        rig.run()
    rig.event("job_end", 2 * HOUR_S, "j2.end", 1, job="j2")
    rig.event("withdraw", 0, event_id="j3.start")
    rig.event("withdraw", 0, "w2", event_id="j3.end")
    rig.run()
    assert (issues(rig), standing(rig, "b2")[2]) == ([], [])
    rig.assert_clean()


def test_a_job_that_nobody_ends_is_told_until_somebody_does(rig: Rig) -> None:
    rig.apply(mill(job_days_max=1))
    rig.job("j1", "u1", -23 * HOUR_S, None)
    rig.job("j2", "u2", 900 * 24 * HOUR_S, 900 * 24 * HOUR_S + 60)
    rig.steady(0, HOUR_S)
    rig.run()
    assert issues(rig) == [("job-time-unbelievable", "j2")]
    rig.steady(HOUR_S, HOUR_S + 60)
    rig.run()
    assert issues(rig) == [("job-time-unbelievable", "j1"), ("job-time-unbelievable", "j2")]
    rig.event("job_end", 60, "j1.end", job="j1")
    rig.event("withdraw", 0, event_id="j2.start")
    rig.event("withdraw", 0, "w2", event_id="j2.end")
    rig.run()
    assert issues(rig) == []
    assert standing(rig, "b-j1") == ("waiting", "provisional", [])
    rig.assert_clean()
