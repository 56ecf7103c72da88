"""Production events under a plant that changes, and times and statements of them that cannot all be right."""

import json
from typing import Any

import pytest
from accounting_cases import HOUR, HOUR_MS, make_graph
from strategies import HOUR_0, event

from plantprint import neutral
from plantprint.allocation import Account
from plantprint.facts import ProductionEvent
from plantprint.job_times import unbelieved_jobs
from plantprint.plant.graph import PlantGraph
from plantprint.plant_history import PlantHistory
from plantprint.production import Production
from plantprint.production_book import ProductionBook, reduce_events
from plantprint.production_events import EventBook
from plantprint.settlement import batch_closes_ms, batch_over_ms
from plantprint.spreading import Pending, Waiting, spread_hour
from plantprint.times import format_instant

HOUR_S = 3600
DAY_S = 24 * HOUR_S


def mill(unit: str, **plant: Any) -> PlantGraph:
    return make_graph([("grid", unit, "m")], work_units=[unit], rules={"dye": "weight"}, more={"plant": plant})


A, B = mill("a"), mill("b")
CHANGED = PlantHistory([(None, A), (HOUR_0 + HOUR_MS, B)])


def job(name: str, unit: str, start_s: float, end_s: float | None, batch: str = "X") -> list[ProductionEvent]:
    found = [event("job_start", start_s, f"{name}.start", job=name, batch=batch, work_unit=unit)]
    return found if end_s is None else [*found, event("job_end", end_s, f"{name}.end", job=name)]


def told(production: Production) -> list[tuple[str, str, float]]:
    return [(one.code, one.place, (one.at_ms - HOUR_0) / 1000) for one in production.issues]


@pytest.mark.parametrize(
    ("events", "wanted"),
    [
        (job("j", "a", 0, HOUR_S), []),
        (job("j", "b", 0, HOUR_S), [("job-unknown-work-unit", "j", 0)]),
        (job("j", "b", 0, HOUR_S + 1), [("job-unknown-work-unit", "j", 0)]),
        (job("j", "a", HOUR_S, 2 * HOUR_S), [("job-unknown-work-unit", "j", HOUR_S)]),
        (job("j", "a", 0, HOUR_S + 1), [("job-unknown-work-unit", "j", HOUR_S)]),
        (job("j", "a", 0, None), []),
        ([event("state", 0, "s", work_unit="a", state="idle")], []),
        ([event("state", HOUR_S, "s", work_unit="a", state="idle")], [("state-unknown-work-unit", "mes/s", HOUR_S)]),
    ],
    ids=[
        "before the plant changes",
        "before its work unit is there",
        "as it comes",
        "after it has gone",
        "while it goes",
        "a job that runs may end before",
        "a state before",
        "a state after",
    ],
)
def test_an_event_is_judged_by_the_plant_in_force_then(
    events: list[ProductionEvent], wanted: list[tuple[str, str, float]]
) -> None:
    assert told(reduce_events(events, CHANGED)) == wanted


def test_a_job_counts_where_one_of_the_plants_in_force_while_it_ran_knows_it() -> None:
    made = reduce_events([*job("1", "a", 0, HOUR_S), *job("2", "b", 0, HOUR_S + 1), *job("3", "b", 0, 1)], CHANGED)
    assert [one.job for one in made.jobs] == ["1", "2"]


def test_an_activity_is_judged_by_the_plant_of_the_hour_in_which_it_enters() -> None:
    def topped_up(place: str, to_s: float) -> ProductionEvent:
        span = {name: format_instant(HOUR_0 + round(s * 1000)) for name, s in (("from", 0), ("to", to_s))}
        body: dict[str, str | int | float | None] = {"source": "grid", "amount": 1, "work_unit": place, **span}
        return ProductionEvent("mes", f"{place}-{to_s:g}", 0, "activity", HOUR_0 + 9 * HOUR_MS, body)

    events = [topped_up("a", HOUR_S), topped_up("a", HOUR_S + 1), topped_up("b", HOUR_S), topped_up("b", HOUR_S + 1)]
    made = reduce_events(events, CHANGED)
    assert [one.event_id for one in made.activities] == ["a-3600", "b-3601"]
    assert [one.place for one in made.issues] == ["mes/a-3601", "mes/b-3600"]


def facts(*models: PlantGraph) -> dict[str, Any]:
    """A job on `a` in the first hour; of models that follow each takes over an hour later."""
    plants: list[dict[str, Any]] = [{"model": graph.plant.model_dump(mode="json", by_alias=True)} for graph in models]
    for number, plant in enumerate(plants[1:], start=1):
        plant["effective_at"] = format_instant(HOUR + number * HOUR_MS)
    start, end, until = (format_instant(HOUR + hours * HOUR_MS) for hours in (0, 1, 2))
    return {
        "plantprint_facts": 1,
        "plants": plants,
        "amounts": [{"meter": "m", "rows": [[start, until, "60"]]}],
        "jobs": [{"job": "j", "batch": "X", "work_unit": "a", "start": start, "end": end}],
        "until": until,
    }


def test_a_batch_stays_complete_when_its_work_unit_goes_later() -> None:
    """Also with an idle window that its own plant had."""
    shifts = {"idle": {"window": "day", "starts": ["00:00"]}, "batch_rests_s_max": 0}
    for first in (mill("a", batch_rests_s_max=0), mill("a", **shifts)):
        accounts = neutral.account_facts(neutral.parse_facts(json.dumps(facts(first, B))))
        found = neutral.accounts_json(accounts)
        assert [one["code"] for one in found["issues"] if one["code"].startswith("job")] == []
        batch = found["batches"]["X"]
        assert [one["code"] for one in batch["reasons"]] == ["factor-missing"]
        assert batch["inventory"][0]["amount"] == "30"
        assert batch["status"] == ("provisional" if first.idle else "final")


def test_a_job_that_lasts_longer_than_is_believed_is_kept_out() -> None:
    assert told(reduce_events(job("j", "a", 0, 31 * DAY_S), A)) == []
    made = reduce_events(job("j", "a", 0, 31 * DAY_S + 0.001), A)
    assert (told(made), made.jobs) == ([("job-time-unbelievable", "j", 0)], ())
    assert [one.batch for one in made.issues] == ["X"], "its batch lacks it"
    assert reduce_events(job("j", "a", 0, 32 * DAY_S), mill("a", job_days_max=32)).issues == ()
    long_ago = event("job_start", 0, "o.start", job="o", batch="X", work_unit="a")
    since_1971 = ProductionEvent("mes", "o.start", 0, "job_start", 365 * DAY_S * 1000, long_ago.body)
    assert reduce_events([since_1971, event("job_end", 60, "o.end", job="o")], A).jobs == ()


def test_what_time_it_is_shows_jobs_that_nobody_ended_and_jobs_of_the_future() -> None:
    made = reduce_events([*job("open", "a", 0, None), *job("far", "a", 300 * DAY_S, 300 * DAY_S + 60)], A)
    plants = PlantHistory.of(A)

    def found(now_s: float) -> list[tuple[str, float]]:
        several = unbelieved_jobs(plants, made, HOUR_0 + round(now_s * 1000))
        assert {one.code for one in several} <= {"job-time-unbelievable"}
        return [(one.place, (one.at_ms - HOUR_0) / 1000 / DAY_S) for one in several]

    assert found(31 * DAY_S) == [("far", 300)]
    assert found(31 * DAY_S + 0.001) == [("far", 300), ("open", 31)]
    assert found(299 * DAY_S) == [("open", 31)]


def test_two_states_at_one_instant_are_told_and_the_last_counts() -> None:
    two = [event("state", 60, name, work_unit="a", state=state) for name, state in (("2", "idle"), ("1", "setup"))]
    made = reduce_events(two, A)
    assert told(made) == [("state-told-twice", "a", 60)]
    assert [one.state for one in made.states] == ["idle"]
    assert "'setup', 'idle' at one instant" in made.issues[0].message
    same = [event("state", 60, name, work_unit="a", state=state) for name, state in (("2", "warm-up"), ("1", "setup"))]
    assert told(reduce_events(same, A)) == []


def test_two_orders_of_a_batch_that_differ_are_told_and_the_latest_counts() -> None:
    first, second = (event("order", s, str(s), batch="X", quantity=q, unit="kg") for s, q in ((0, 5), (60, 6)))
    again = event("order", 30, "again", batch="X", quantity="5.0", unit="kg")
    made = reduce_events([second, first, again], A)
    assert told(made) == [("order-told-twice", "X", 60)]
    assert made.batches["X"].quantity_micro == 6_000_000


def test_a_batch_rests_between_two_jobs_until_output_or_shipment_or_long_enough() -> None:
    plants = PlantHistory.of(mill("a", batch_rests_s_max=600))
    dyed = [*job("1", "a", 0, 60), *job("2", "a", 100, 200)]

    def over_s(*more: ProductionEvent) -> float | None:
        over_ms = batch_over_ms(plants, reduce_events([*dyed, *more], plants), "X")
        return None if over_ms is None else (over_ms - HOUR_0) / 1000

    def output(at_s: float, **body: Any) -> ProductionEvent:
        return ProductionEvent(
            "mes", "o", 0, "output", HOUR_0 + round(at_s * 1000), {"batch": "X", "quantity": 1, **body}
        )

    assert over_s() == 800
    assert over_s(output(100)) == over_s(output(900, kind="good")) == 200
    assert over_s(output(99)) == over_s(output(250, kind="rework")) == 800
    assert over_s(event("shipment", 150, shipment="s", batch="X")) == 200
    assert over_s(event("shipment", 60, shipment="s", batch="X", quantity=1)) == 800, "part of it, before it went on"
    assert over_s(*job("3", "a", 300, None)) is None
    assert over_s(output(100), ProductionEvent("mes", "w", 0, "withdraw", HOUR_0, {"event_id": "o"})) == 800
    known, book = EventBook(), ProductionBook(plants)
    for one in (*dyed, output(150)):
        book.follow(known, known.add([one]))
    assert book.production == reduce_events([*dyed, output(150)], plants)
    assert batch_closes_ms(plants, book.production, "X") == HOUR_0 + HOUR_MS
    day = PlantHistory.of(mill("a"))
    assert batch_closes_ms(day, reduce_events(dyed, day), "X") == HOUR_0 + (DAY_S + 200) * 1000


def test_what_waits_for_a_window_that_a_later_plant_has_no_more_is_told() -> None:
    waits = Pending({Account("idle", "a", "a", "dye"): Waiting((("grid", HOUR_0, 3, 5),), missing_ms=1)})
    spread, pending = spread_hour(B, reduce_events([], B), HOUR_0, HOUR_0 + HOUR_MS, waits, [], {}, {})
    assert [(one.code, one.place, one.at_ms) for one in spread.issues] == [("window-gone", "a", HOUR_0)]
    assert pending == Pending()
