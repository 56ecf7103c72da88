"""Production events that come late, move, are withdrawn or ship a batch before its hour is settled."""

import json
from collections.abc import Iterator

import pytest
from accounting_cases import HOUR, HOUR_MS
from ledger_rig import Rig, mill
from psycopg.errors import RaiseException

from plantprint.quantities import MICRO
from plantprint.times import format_instant, from_ms, parse_instant
from plantprint_collector import store

pytestmark = pytest.mark.integration

HOUR_S = 3600


@pytest.fixture
def rig(database_url: str) -> Iterator[Rig]:
    with Rig(database_url) as made:
        made.apply(mill())
        made.declare()
        made.steady(0, 3 * HOUR_S)
        yield made


def issues(rig: Rig, code: str) -> list[tuple[str, bool, int]]:
    rows = rig.rows("select place, open, seen from issue where code = %s order by 1", code)
    return [(place, is_open, seen) for place, is_open, seen in rows]


def test_a_job_that_is_told_late_and_then_moved(rig: Rig) -> None:
    rig.run()
    rig.job("j1", "u1", 1800, HOUR_S + 1800)
    rig.run()
    assert [rig.amount("batch/b-j1", "grid", h) for h in range(3)] == [30 * MICRO, 30 * MICRO, 0]
    rig.event("job_start", HOUR_S, "j1.start", 1, job="j1", batch="b-j1", work_unit="u1")
    rig.event("job_end", 2 * HOUR_S + 900, "j1.end", 1, job="j1")
    rig.run()
    assert [rig.amount("batch/b-j1", "grid", h) for h in range(3)] == [0, 60 * MICRO, 15 * MICRO]
    rig.assert_clean()


def test_a_withdrawn_job_never_was(rig: Rig) -> None:
    rig.job("j1", "u1", 0, None)
    rig.run()
    assert rig.amount("batch/b-j1", "gas") == 90 * MICRO
    rig.event("withdraw", 3 * HOUR_S, event_id="j1.start")
    rig.run()
    assert rig.amount("batch/b-j1", "gas") == 0
    assert rig.amount("idle/u1", "gas") == 90 * MICRO
    rig.assert_clean()


def test_an_end_that_comes_while_the_accountant_is_away(rig: Rig) -> None:
    """After a restart nobody remembers that the job was taken to run on."""
    rig.job("j1", "u1", 0, None)
    rig.run()
    rig.event("job_end", 1800, "j1.end", job="j1")
    rig.restart()
    rig.run()
    assert [rig.amount("batch/b-j1", "grid", h) for h in range(3)] == [30 * MICRO, 0, 0]
    rig.assert_clean()


def test_an_event_and_a_recompute_in_one_pass(rig: Rig) -> None:
    rig.job("j1", "u1", 0, None)
    rig.run()
    rig.event("job_end", 1800, "j1.end", job="j1")
    store.mark_site(rig.conn, rig.site, from_ms_=HOUR + 2 * HOUR_MS, to_ms_=HOUR + 2 * HOUR_MS, cause="recompute")
    rig.run()
    assert [rig.amount("batch/b-j1", "grid", h) for h in range(3)] == [30 * MICRO, 0, 0]
    rig.assert_clean()


def test_a_job_on_a_machine_that_only_an_older_model_knows(rig: Rig) -> None:
    body = mill()
    body["work_centers"][0]["work_units"].pop()
    body["flows"] = [flow for flow in body["flows"] if flow["to"] != "u2"]
    rig.apply(body, effective_s=2 * HOUR_S)
    rig.run()
    rig.job("j2", "u2", 0, 1800)
    rig.run()
    assert rig.amount("batch/b-j2", "grid", 0) == 18 * MICRO
    rig.assert_clean()


def test_issues_are_recorded_once_and_closed_but_never_deleted(rig: Rig) -> None:
    rig.event("job_end", 1800, "j1.end", job="j1")
    for _ in range(3):
        rig.run()
    assert issues(rig, "job-end-without-start") == [("j1", True, 1)]
    rig.event("job_start", 0, "j1.start", job="j1", batch="b-j1", work_unit="u1")
    rig.run()
    assert issues(rig, "job-end-without-start") == [("j1", False, 1)]
    rig.event("withdraw", 3 * HOUR_S, event_id="j1.start")
    rig.run()
    assert issues(rig, "job-end-without-start") == [("j1", True, 2)]


def test_a_shipment_posts_the_open_part_at_once_and_freezes_a_statement(rig: Rig) -> None:
    rig.event("order", 0, batch="b1", product="twill", quantity=100, unit="kg")
    rig.job("j1", "u1", 2 * HOUR_S, 3 * HOUR_S + 900, batch="b1")
    rig.steady(3 * HOUR_S + 60, 3 * HOUR_S + 1200)
    rig.event("shipment", 3 * HOUR_S + 1000, shipment="s1", batch="b1", quantity=50)
    rig.run()
    assert rig.amount("batch/b1", "grid", 3) == 15 * MICRO
    ((cause,),) = rig.rows(
        "select distinct cause from posting where account_id = 'b1' and hour_at = %s", from_ms(HOUR + 3 * HOUR_MS)
    )
    assert cause == "shipment"
    ((body, digest),) = rig.rows("select body, body_hash from statement")
    statement = json.loads(body)
    assert statement["status"] == "provisional"
    assert not statement["incomplete"]
    assert {line["source"]: line["amount"] for line in statement["breakdown"]["inventory"]} == {
        "gas": "37.5",
        "grid": "75",
    }
    # What the statement knew is what the postings known by its instant add up to.
    known_at = from_ms(parse_instant(statement["known_at"]))
    assert rig.amount("batch/b1", "grid", None, known_at) == 75 * MICRO
    for change in ("update statement set body = '{}'", "delete from statement"):
        with pytest.raises(RaiseException, match="append-only"):
            rig.rows(change)

    # A late correction of the open hour: settling adds only the difference, the statement stays.
    rig.event("job_end", 3 * HOUR_S + 600, "j1.end", 1, job="j1")
    rig.steady(3 * HOUR_S + 1260, 4 * HOUR_S)
    rig.run()
    assert rig.amount("batch/b1", "grid", 3) == 10 * MICRO
    rows = rig.rows(
        "select cause, amount from posting where account_id = 'b1' and source = 'grid' and hour_at = %s order by posting_id",
        from_ms(HOUR + 3 * HOUR_MS),
    )
    assert rows == [("shipment", 15 * MICRO), ("reversal: settled", -15 * MICRO), ("settled", 10 * MICRO)]
    assert rig.rows("select body, body_hash from statement") == [(body, digest)]
    rig.assert_clean()


def test_nothing_is_posted_twice_when_the_shipped_hour_settles_as_it_was(rig: Rig) -> None:
    rig.event("order", 0, batch="b1")
    rig.job("j1", "u1", 2 * HOUR_S, 3 * HOUR_S + 600, batch="b1")
    rig.steady(3 * HOUR_S + 60, 3 * HOUR_S + 1200)
    rig.event("shipment", 3 * HOUR_S + 1000, shipment="s1", batch="b1")
    rig.run()
    rig.restart()
    rig.steady(3 * HOUR_S + 1260, 4 * HOUR_S)
    rig.run()
    assert rig.rows("select cause, count(*) from posting where account_id = 'b1' group by 1 order by 1") == [
        ("settled", 2),
        ("shipment", 2),
    ]
    assert rig.rows("select count(*) from statement") == [(1,)]
    rig.assert_clean()


def test_a_shipment_of_settled_hours_is_final(rig: Rig) -> None:
    rig.event("order", 0, batch="b1")
    rig.job("j1", "u1", 0, HOUR_S, batch="b1")
    rig.event("shipment", 3 * HOUR_S, shipment="s1", batch="b1")
    rig.run()
    ((body,),) = rig.rows("select body from statement")
    assert json.loads(body)["status"] == "final"
    inventory = json.loads(body)["breakdown"]["inventory"]
    assert {line["source"]: line["amount"] for line in inventory} == {"gas": "30", "grid": "60"}


def test_a_shipment_waits_for_its_batch_and_its_time(rig: Rig) -> None:
    rig.event("shipment", 3 * HOUR_S + 600, shipment="s1", batch="b1")
    rig.run()
    assert issues(rig, "shipment-unknown-batch") == [("s1", True, 1)]
    rig.event("order", 0, batch="b1")
    rig.run()
    assert issues(rig, "shipment-unknown-batch") == [("s1", False, 1)]
    assert rig.rows("select count(*) from statement") == [(0,)]
    rig.steady(3 * HOUR_S + 60, 3 * HOUR_S + 600)
    rig.run()
    ((body,),) = rig.rows("select body from statement")
    assert json.loads(body)["shipment"]["at"] == format_instant(HOUR + 3 * HOUR_MS + 600_000)
