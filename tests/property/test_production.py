"""Production events: neither order nor repetition of events changes what they say."""

from dataclasses import fields
from itertools import pairwise

from accounting_cases import difference, make_graph
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies import HOUR_0, production_events

from plantprint.facts import ProductionEvent
from plantprint.plant.graph import PlantGraph
from plantprint.plant_history import PlantHistory
from plantprint.production import STATES, Facts
from plantprint.production_book import ProductionBook, reduce_events
from plantprint.production_events import EventBook
from plantprint.times import format_instant

GRAPH = make_graph([("grid", "u1", "a")], work_units=["u1"], rules={"dyeing": "weight", "press": "exclusive"})
OTHER = make_graph([("grid", "u2", "a")], work_units=["u2"], rules={"dyeing": "exclusive"})
CHANGED = PlantHistory([(None, GRAPH), (HOUR_0 + 2000, OTHER), (HOUR_0 + 4000, GRAPH)])


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
    assert (production.jobs, production.states, production.shipments, dict(production.batches)) == ((), (), (), {})


ACTIVITIES = st.builds(
    lambda event_id, source, amount, span, revision: ProductionEvent(
        source,
        event_id,
        revision,
        "activity",
        HOUR_0,
        {"source": "grid", "amount": amount, "unit": "kWh", "work_unit": "u1"}
        | {name: format_instant(HOUR_0 + minute * 60_000) for name, minute in zip(("from", "to"), span, strict=True)},
    ),
    st.sampled_from(("1", "2", "3")),
    st.sampled_from(("mes", "erp")),
    st.sampled_from((5, "12.5", "x")),
    st.tuples(st.integers(0, 60), st.integers(30, 90)),
    st.integers(0, 2),
)


OUTPUTS = st.builds(
    lambda event_id, second, kind, revision: ProductionEvent(
        "mes", event_id, revision, "output", HOUR_0 + second * 1000, {"batch": "1", "quantity": 1, "kind": kind}
    ),
    st.sampled_from(("o1", "o2")),
    st.integers(0, 5),
    st.sampled_from((None, "good", "rework")),
    st.integers(0, 2),
)


@given(st.data(), st.sampled_from((GRAPH, CHANGED)))
@settings(max_examples=80, deadline=None)
def test_events_in_pieces_say_what_all_say_at_once_and_the_difference_told_is_exact(
    data: st.DataObject, plant: PlantGraph | PlantHistory
) -> None:
    """Whatever the order, with revisions, withdrawals before their targets, and events that are known already."""
    events, book = EventBook(), ProductionBook(plant)
    known: list[ProductionEvent] = []
    for piece in data.draw(st.lists(st.lists(production_events() | ACTIVITIES | OUTPUTS, max_size=6), max_size=9)):
        known += piece
        again = data.draw(st.lists(st.sampled_from(known), max_size=2)) if known else []
        before = book.production
        told = book.follow(events, events.add([*again, *piece]))
        assert book.production == reduce_events(known, plant)
        seen = difference(before, book.production)
        for side, other in ((told.gone, seen.gone), (told.came, seen.came)):
            for kind in fields(Facts):
                assert sorted(getattr(side, kind.name)) == getattr(other, kind.name), kind.name
