"""Production events: jobs, states, batches and shipments, and an issue for each thing that does not fit."""

from dataclasses import replace

import pytest
from accounting_cases import make_graph
from strategies import HOUR_0, event

from plantprint.facts import ProductionEvent
from plantprint.production import Batch, Job, Production, Shipment, StateSpan
from plantprint.production_book import reduce_events

GRAPH = make_graph(
    [("grid", "u1", "a"), ("grid", "u2", "b")],
    work_units=["u1", "u2"],
    rules={"dyeing": "weight", "press": "exclusive"},
)


def start(job: str, seconds: float = 0, **body: str | float | None) -> ProductionEvent:
    whole = {"job": job, "batch": "B1", "work_unit": "u1", "step": "dyeing", **body}
    return replace(event("job_start", seconds, f"start-{job}-{seconds}"), body=whole)


def end(job: str, seconds: float, event_id: str = "") -> ProductionEvent:
    return event("job_end", seconds, event_id, job=job)


def withdraw(target: str, event_id: str, source: str = "mes") -> ProductionEvent:
    return ProductionEvent(source, event_id, 0, "withdraw", HOUR_0, {"event_id": target})


def reduce(*events: ProductionEvent) -> Production:
    return reduce_events(events, GRAPH)


def codes(production: Production) -> list[str]:
    return [issue.code for issue in production.issues]


def test_job_has_its_start_its_end_and_weight_one() -> None:
    production = reduce(start("J1"), end("J1", 60), start("J2", 10, weight=0.85))
    assert production.jobs == (
        Job("J1", "B1", "u1", "dyeing", 1_000_000, HOUR_0, HOUR_0 + 60_000),
        Job("J2", "B1", "u1", "dyeing", 850_000, HOUR_0 + 10_000, None),
    )
    assert production.batches == {"B1": Batch("B1", "", None, "", None)}
    assert production.issues == ()


def test_step_of_the_work_unit_serves_when_the_event_names_none() -> None:
    production = reduce(start("J1", step=None))
    assert (production.jobs[0].step, production.issues) == ("", ())


def test_order_says_what_a_batch_is_and_the_latest_counts() -> None:
    first = event("order", 0, batch="B1", product="shirt", quantity="1250.5", unit="kg")
    second = event("order", 60, batch="B1", product="shirt", quantity=1300, unit="kg")
    assert reduce(second, first).batches == {"B1": Batch("B1", "shirt", 1_300_000_000, "kg", HOUR_0)}


def test_highest_revision_counts_and_withdrawal_removes() -> None:
    wrong = event("job_end", 50, "e1", job="J1")
    right = event("job_end", 60, "e1", revision=1, job="J1")
    assert reduce(start("J1"), right, wrong).jobs[0].end_ms == HOUR_0 + 60_000
    production = reduce(withdraw("e1", "w1"), start("J1"), right)
    assert (production.jobs[0].end_ms, production.issues) == (None, ())


def test_withdrawal_counts_only_for_its_own_source_and_not_for_withdrawals() -> None:
    production = reduce(end("J1", 60, "e1"), start("J1"), withdraw("e1", "w1", "erp"))
    assert production.jobs[0].end_ms == HOUR_0 + 60_000
    assert codes(production) == ["withdraw-unknown"]
    production = reduce(end("J1", 60, "e1"), start("J1"), withdraw("e1", "w1"), withdraw("w1", "w2"))
    assert production.jobs[0].end_ms is None
    assert codes(production) == ["withdraw-withdrawal"]


@pytest.mark.parametrize(
    ("events", "code", "jobs"),
    [
        ([end("J1", 60)], "job-end-without-start", 0),
        ([start("J1", 60), end("J1", 50)], "job-end-before-start", 0),
        ([start("J1"), start("J1", 5)], "job-started-twice", 1),
        ([start("J1"), end("J1", 60), end("J1", 70)], "job-ended-twice", 1),
        ([start("J1", work_unit="u9")], "job-unknown-work-unit", 0),
        ([start("J1", step="sewing")], "job-unknown-step", 0),
        ([start("J1", weight="heavy")], "weight-invalid", 1),
        ([start("J1", weight=0)], "weight-invalid", 1),
        ([start("J1", batch=None)], "event-incomplete", 0),
        ([start("", 1)], "event-incomplete", 0),
        ([start("J1", step="press"), start("J2", 5)], "exclusive-overlap", 2),
        ([event("state", 0, work_unit="u9", state="idle")], "state-unknown-work-unit", 0),
        ([event("state", 0, work_unit="u1", state="dancing")], "state-unknown", 0),
        ([event("shipment", 0, shipment="S1", batch="B9")], "shipment-unknown-batch", 0),
        ([event("order", 0, batch="B1", quantity=-5)], "quantity-invalid", 0),
        ([event("order", 0, batch="B1", quantity="NaN")], "quantity-invalid", 0),
    ],
)
def test_what_does_not_fit_is_an_issue(events: list[ProductionEvent], code: str, jobs: int) -> None:
    production = reduce(*events)
    (issue,) = production.issues
    assert issue.code == code
    assert issue.place
    assert issue.message
    assert issue.remedy
    assert len(production.jobs) == jobs


def test_job_kept_out_makes_no_batch() -> None:
    assert reduce(start("J1", work_unit="u9")).batches == {}


def test_exclusive_jobs_one_after_the_other_do_not_overlap() -> None:
    production = reduce(start("J1", step="press"), end("J1", 60), start("J2", 60, step="press"), end("J2", 90))
    assert production.issues == ()
    production = reduce(start("J1", step="press"), start("J2", 5, step="press", work_unit="u2"))
    assert production.issues == ()


def test_states_last_until_the_next_and_repetitions_go_on() -> None:
    production = reduce(
        event("state", 300, work_unit="u1", state="idle"),
        event("state", 0, work_unit="u1", state="warm-up"),
        event("state", 60, work_unit="u1", state="processing"),
        event("state", 120, work_unit="u1", state="processing"),
        event("state", 0, work_unit="u2", state="off"),
    )
    assert production.states == (
        StateSpan("u1", "setup", HOUR_0, HOUR_0 + 60_000),
        StateSpan("u1", "processing", HOUR_0 + 60_000, HOUR_0 + 300_000),
        StateSpan("u1", "idle", HOUR_0 + 300_000, None),
        StateSpan("u2", "off", HOUR_0, None),
    )


def test_shipment_of_a_known_batch() -> None:
    shipped = event("shipment", 90, "s1", shipment="S1", batch="B1", quantity="12.5", customer="ACME")
    again = event("shipment", 95, "s2", shipment="S1", batch="B1")
    production = reduce(shipped, start("J1"), again)
    assert production.shipments == (Shipment("S1", "B1", HOUR_0 + 90_000, 12_500_000, "ACME", "mes", "s1"),)
    assert codes(production) == ["shipment-twice"]
