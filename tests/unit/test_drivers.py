"""Shared streams divided by what runs: running time, mass, pieces, area; activities spread over the jobs of their span."""

from typing import Any

import pytest
from accounting_cases import HOUR, HOUR_MS, account_amounts, job, make_graph, production, state

from plantprint.account import HourAccount
from plantprint.facts import ProductionEvent
from plantprint.plant.graph import PlantGraph
from plantprint.production import Batch, Production
from plantprint.production_book import reduce_events
from plantprint.times import format_instant

AIR = [("grid", "air", "main"), ("air", "u1", "rest"), ("air", "u2", "rest")]


def shared(driver: str, weight: int = 1) -> PlantGraph:
    more: dict[Any, dict[str, Any]] = {
        ("air", "u1"): {"driver": driver, "weight": weight},
        ("air", "u2"): {"driver": driver},
    }
    return make_graph(AIR, pools={"air": "conserving bucket"}, work_units=["u1", "u2"], more=more)


def used(account: HourAccount) -> dict[tuple[str, str], list[int]]:
    return {(use.account_kind, use.account_id): use.amount.tolist() for use in account.uses}


def test_running_time_divides_each_bucket_by_what_runs_in_it() -> None:
    """Quarters of 100: only a; a and b for the whole quarter; b for 5 minutes of a's 15 (25 : 75); nothing runs."""
    made = production(job("a", "u1", 0, 45), job("b", "u2", 15, 35))
    (account,) = account_amounts(shared("running_time"), made, {"main": [[100, 100, 100, 100]]})
    # In the last quarter by the hour: 45 : 20 minutes.
    assert used(account) == {
        ("batch", "b-a"): [100, 50, 75, 0],
        ("idle", "u1"): [0, 0, 0, 69],
        ("batch", "b-b"): [0, 50, 8, 0],
        ("idle", "u2"): [0, 0, 17, 31],
    }


def test_a_weight_multiplies_the_driver_and_a_state_ends_running() -> None:
    made = production(
        job("a", "u1", 0, 60), job("b", "u2", 0, 60), state("u2", "processing", 0, 30), state("u2", "fault", 30)
    )
    (account,) = account_amounts(shared("running_time", weight=3), made, {"main": [[100, 100, 100, 100]]})
    assert used(account) == {("batch", "b-a"): [75, 75, 100, 100], ("batch", "b-b"): [25, 25, 0, 0]}


@pytest.mark.parametrize(("driver", "unit", "scale"), [("mass", "t", 1000), ("pieces", "piece", 1), ("area", "m2", 1)])
def test_quantities_of_the_jobs_that_run(driver: str, unit: str, scale: int) -> None:
    made = production(job("a", "u1", 0, None, batch="a"), job("b", "u2", 0, None, batch="b"))
    base = {"t": "kg"}.get(unit, unit)
    orders = {
        "a": Batch("a", "", 3_000_000, unit, None),
        "b": Batch("b", "", 1_000_000 * scale, base, None),
    }
    known = Production(made.jobs, (), orders, (), ())
    (account,) = account_amounts(shared(driver), known, {"main": [[100, 100, 100, 100]]})
    assert used(account) == {("batch", "a"): [75] * 4, ("batch", "b"): [25] * 4}
    (lost,) = account_amounts(shared(driver), made, {"main": [[100, 100, 100, 100]]})
    assert {(issue.code, issue.place) for issue in lost.issues} == {("driver-missing", "a"), ("driver-missing", "b")}


def test_when_nothing_runs_all_hour_the_fixed_weights_divide() -> None:
    (account,) = account_amounts(shared("running_time", weight=3), production(), {"main": [[100, 0, 0, 100]]})
    assert used(account) == {("idle", "u1"): [75, 0, 0, 75], ("idle", "u2"): [25, 0, 0, 25]}


COOLED = make_graph(
    [("grid", "bus", "main"), ("bus", "u1", "m1"), ("bus", "u2", "m2"), ("bus", "unmetered", "rest"), ("r", "u1", "x")],
    pools={"bus": "conserving"},
    sources={"grid": "grid", "r": "direct"},
    units={"r": "kg"},
    work_units=["u1", "u2"],
)
NOTHING = {"main": [[0] * 4], "m1": [[0] * 4], "m2": [[0] * 4]}


def activity(**body: Any) -> ProductionEvent:
    span = {"from": format_instant(HOUR - 2 * HOUR_MS), "to": format_instant(HOUR + HOUR_MS)}
    return ProductionEvent("mes", "r-1", 1, "activity", HOUR + 5 * HOUR_MS, {"source": "r", **span, **body})


def with_activity(**body: Any) -> Production:
    made = production(job("a", "u1", -60, 0), job("b", "u2", -30, 0), job("c", "u2", 180, 240))
    activities = reduce_events([activity(**body)], COOLED).activities
    return Production(made.jobs, (), {}, (), (), activities)


def test_an_activity_enters_at_its_end_and_goes_to_the_jobs_of_its_span() -> None:
    (account,) = account_amounts(COOLED, with_activity(amount=0.9, unit="kg"), NOTHING)
    assert {(key.account_id, key.portion, key.source): amount for key, amount in account.net.items()} == {
        ("b-a", "idle", "r"): 600_000,
        ("b-b", "idle", "r"): 300_000,
    }
    assert account.uses == ()


def test_an_activity_may_concern_one_work_unit_or_what_is_behind_a_pool() -> None:
    (one,) = account_amounts(COOLED, with_activity(amount="900", unit="g", work_unit="u2"), NOTHING)
    assert {key.account_id: amount for key, amount in one.net.items()} == {"b-b": 900_000}
    (pool,) = account_amounts(COOLED, with_activity(amount=0.9, pool="bus"), NOTHING)
    assert {key.account_id: amount for key, amount in pool.net.items()} == {"b-a": 600_000, "b-b": 300_000}


def test_an_activity_without_any_job_is_overhead() -> None:
    span = {"from": format_instant(HOUR), "to": format_instant(HOUR + HOUR_MS)}
    (account,) = account_amounts(COOLED, with_activity(amount=1, **span), NOTHING)
    assert {(key.account_kind, key.account_id): amount for key, amount in account.net.items()} == {
        ("overhead", "site"): 1_000_000
    }
    assert [issue.code for issue in account.issues] == ["overhead"]


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({"source": "coal", "amount": 1}, "no source of the plant"),
        ({"amount": -1}, "no number above zero"),
        ({"amount": 1, "unit": "m3"}, "cannot be converted"),
        ({"amount": 1, "to": "2025-11-01T00:00:00Z"}, "ends before it starts"),
        ({"amount": 1, "to": "yesterday"}, "not an RFC 3339 time"),
        ({"amount": 1, "work_unit": "u9"}, "no work unit"),
        ({"amount": 1, "pool": "u1"}, "no pool"),
        ({"amount": 1, "work_unit": "u1", "pool": "bus"}, "names a work unit"),
    ],
)
def test_an_activity_that_cannot_be_used_is_an_issue(body: dict[str, Any], message: str) -> None:
    made = reduce_events([activity(**body)], COOLED)
    assert made.activities == ()
    (issue,) = made.issues
    assert issue.code == "activity-invalid"
    assert message in issue.message
