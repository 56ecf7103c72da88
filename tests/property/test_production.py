"""Production events: neither order nor repetition of events changes what they say."""

from itertools import pairwise

from accounting_cases import make_graph
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies import HOUR_0, production_events

from plantprint.facts import ProductionEvent
from plantprint.production import STATES, reduce_events

GRAPH = make_graph([("grid", "u1", "a")], work_units=["u1"], rules={"dyeing": "weight", "press": "exclusive"})


@given(st.lists(production_events(), max_size=25).flatmap(lambda e: st.tuples(st.just(e), st.permutations(e + e[::2]))))
@settings(max_examples=150, deadline=None)
def test_order_and_duplicates_do_not_matter(both: tuple[list[ProductionEvent], list[ProductionEvent]]) -> None:
    assert reduce_events(both[0], GRAPH) == reduce_events(both[1], GRAPH)


@given(st.lists(production_events(), max_size=25))
@settings(max_examples=100, deadline=None)
def test_what_comes_out_is_sound(events: list[ProductionEvent]) -> None:
    production = reduce_events(events, GRAPH)
    for job in production.jobs:
        assert job.work_unit in GRAPH.work_units
        assert job.weight > 0
        assert job.end_ms is None or job.end_ms >= job.start_ms
        assert job.batch in production.batches
    for one, two in pairwise(production.states):
        assert one.state in STATES
        assert one.end_ms == two.start_ms
        assert one.state != two.state
    assert all(shipment.batch in production.batches for shipment in production.shipments)
    assert all(issue.place and issue.message and issue.remedy for issue in production.issues)


@given(st.lists(production_events(), max_size=25))
@settings(max_examples=50, deadline=None)
def test_withdrawing_everything_leaves_nothing(events: list[ProductionEvent]) -> None:
    gone = [
        ProductionEvent(e.source, f"w-{n}", 0, "withdraw", HOUR_0, {"event_id": e.event_id})
        for n, e in enumerate(events)
        if e.kind != "withdraw"
    ]
    production = reduce_events([*events, *gone], GRAPH)
    assert (production.jobs, production.states, production.shipments, production.batches) == ((), (), (), {})
