"""When batches are final, and which hours a late production event touches."""

from accounting_cases import HOUR, HOUR_MS, difference, job, make_graph, production, state

from plantprint.facts import ProductionEvent
from plantprint.production import Batch, Job, Production, StateSpan
from plantprint.settlement import batch_closes_ms, batch_status, reaches_back_ms, touched_spans

SHIFTS = {"idle": {"window": "shift", "starts": ["00:00", "08:00", "16:00"]}}
NO_REST = {"batch_rests_s_max": 0}
GRAPH = make_graph([("grid", "u1", "m1")], work_units=["u1"], more={"plant": SHIFTS | NO_REST})
PLAIN = make_graph([("grid", "u1", "m1")], work_units=["u1"], more={"plant": NO_REST})
MINUTE = 60_000
FAR = HOUR + 1000 * HOUR_MS


def minutes(spans: list[tuple[int, int]]) -> set[tuple[float, float]]:
    return {((low - HOUR) / MINUTE, (high - HOUR) / MINUTE) for low, high in spans}


def touched(old: tuple[Job | StateSpan, ...], new: tuple[Job | StateSpan, ...]) -> set[tuple[float, float]]:
    one, other = production(*old), production(*new)
    return minutes(touched_spans(GRAPH, one, other, difference(one, other), FAR))


def test_a_batch_is_final_when_its_jobs_have_ended_and_their_windows_are_settled() -> None:
    made = production(job("a", "u1", 0, 30), job("a2", "u1", 500, 510, batch="b-a"), job("c", "u1", 20, None))
    assert batch_closes_ms(GRAPH, made, "b-a") == HOUR + 16 * HOUR_MS
    assert batch_closes_ms(PLAIN, made, "b-a") == HOUR + 9 * HOUR_MS
    assert batch_closes_ms(GRAPH, made, "b-c") is None
    assert batch_closes_ms(GRAPH, made, "unknown") is None
    closes_ms = HOUR + 16 * HOUR_MS
    assert batch_status(closes_ms, closes_ms - HOUR_MS) == "provisional"
    assert batch_status(closes_ms, closes_ms) == "final"
    assert batch_status(closes_ms, closes_ms, corrected=True) == "revised"
    assert batch_status(None, closes_ms) == "provisional"


def test_an_end_that_moves_touches_what_lies_between_and_the_clean_down_after_it() -> None:
    clean = state("u1", "clean-down", 60, 120)
    assert touched((job("a", "u1", 0, 50), clean), (job("a", "u1", 0, 55), clean)) == {(50, 55), (60, 120)}
    assert touched((job("a", "u1", 0, None),), (job("a", "u1", 0, 55),)) == {(55, 60_000)}


def test_a_new_job_reaches_back_over_the_setup_of_its_window() -> None:
    known = (state("u1", "setup", -30, 90), state("u1", "setup", 100, 110))
    assert touched(known, (*known, job("a", "u1", 200, 210))) == {(200, 210), (0, 200), (100, 200)}
    assert touched(known, (*known, job("a", "u1", 500, 510))) == {(500, 510)}


def test_other_states_touch_their_own_time() -> None:
    assert touched((state("u1", "idle", 0, None),), (state("u1", "idle", 0, 60), state("u1", "fault", 60, 70))) == {
        (60, 60_000),
        (60, 70),
    }


def test_a_quantity_touches_jobs_only_where_something_is_divided_by_it() -> None:
    by_mass = make_graph(
        [("grid", "u1", "m1")], work_units=["u1"], more={"plant": {"idle": {**SHIFTS["idle"], "driver": "mass"}}}
    )
    made = production(job("a", "u1", 10, 20))
    old = Production(made.jobs, (), {"b-a": Batch("b-a", "", None, "", None)}, (), ())
    new = Production(made.jobs, (), {"b-a": Batch("b-a", "", 5, "kg", None)}, (), ())
    assert touched_spans(GRAPH, old, new, difference(old, new), FAR) == []
    assert minutes(touched_spans(by_mass, old, new, difference(old, new), FAR)) == {(10, 480)}


def test_after_a_restart_events_reach_back_to_their_window_and_activities_to_their_hour() -> None:
    made = production(job("a", "u1", 0, 30))
    event = ProductionEvent("mes", "1", 0, "activity", HOUR + 30 * HOUR_MS, {"to": "2025-12-01T03:00:00Z"})
    late = (HOUR + 30 * HOUR_MS, HOUR + 30 * HOUR_MS)
    assert reaches_back_ms(GRAPH, made, [event], late) == HOUR + 2 * HOUR_MS
    assert reaches_back_ms(GRAPH, made, [], late) == HOUR + 24 * HOUR_MS
    assert reaches_back_ms(PLAIN, made, [], late) == late[0]
