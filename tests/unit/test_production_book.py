"""What a new production event costs: as much after ten times the history."""

import sys
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any

from accounting_cases import make_graph
from strategies import HOUR_0, event

from plantprint.facts import ProductionEvent
from plantprint.production_book import ProductionBook
from plantprint.production_events import EventBook
from plantprint.settlement import batches_close_ms, touched_spans
from plantprint_collector.live import running_batches

UNITS = ["u1", "u2"]
SHIFTS = {"idle": {"window": "shift", "starts": ["00:00", "08:00", "16:00"]}}
GRAPH = make_graph(
    [("grid", unit, f"m-{unit}") for unit in UNITS],
    work_units=UNITS,
    rules={"dyeing": "weight", "press": "exclusive"},
    more={"plant": SHIFTS},
)
FAR_MS = 2**50
HOUR_S = 3600
FEW = 300


def history(jobs: int) -> Iterator[ProductionEvent]:
    """An hour of a job after the other on each work unit, three to a batch, each shipped, each with its clean-down."""
    for number in range(jobs):
        unit, start_s = UNITS[number % 2], number // 2 * HOUR_S
        job, batch = f"j{number}", f"b{number // 3}"
        yield event("job_start", start_s, f"{job}.start", job=job, batch=batch, work_unit=unit, step="press")
        yield event("job_end", start_s + 3000, f"{job}.end", job=job)
        yield event("state", start_s, f"{job}.on", work_unit=unit, state="processing")
        yield event("state", start_s + 3000, f"{job}.off", work_unit=unit, state="clean-down")
        yield event("order", start_s, f"{batch}.order", batch=batch, product="twill", quantity=5, unit="kg")
        yield event("shipment", start_s + HOUR_S, f"{job}.ship", shipment=f"s{number}", batch=batch)


def lines_run(act: Callable[[], Any]) -> int:
    """Lines of Python that run, each turn of a loop counted."""
    found = 0

    def count(_frame: FrameType, what: str, _given: Any) -> Any:
        nonlocal found
        found += what == "line"
        return count

    before = sys.gettrace()
    sys.settrace(count)
    try:
        act()
    finally:
        sys.settrace(before)
    return found


def cost_of(jobs: int, changes: list[ProductionEvent]) -> list[int]:
    """Lines run for each change, with all that follows from it: what it touches, which batches, when they close, what runs."""
    events, book = EventBook(), ProductionBook(GRAPH)
    book.follow(events, events.add(history(jobs)))

    def take(change: ProductionEvent) -> None:
        old = book.production
        difference = book.follow(events, events.add([change]))
        new = book.production
        assert touched_spans(GRAPH, old, new, difference, FAR_MS)
        batches_close_ms(GRAPH, new, new.batches_differing(old))
        running_batches(GRAPH, new, change.at_ms)

    return [lines_run(lambda change=change: take(change)) for change in changes]  # type: ignore[misc]


def test_a_new_event_costs_as_much_after_ten_times_the_history() -> None:
    early_s, late_s = 20 * HOUR_S, FEW * 10 * HOUR_S
    changes = [
        event("job_start", late_s, "new.start", job="new", batch="new", work_unit="u1", step="press"),
        event("state", late_s, "new.on", work_unit="u1", state="setup"),
        event("job_end", late_s + 60, "new.end", job="new"),
        event("job_end", early_s + 1000, "j40.end", revision=1, job="j40"),
        event("state", early_s + 3000, "j40.off", revision=1, work_unit="u1", state="idle"),
        ProductionEvent("mes", "w", 0, "withdraw", HOUR_0, {"event_id": "j41.start"}),
    ]
    few, many = cost_of(FEW, changes), cost_of(FEW * 10, changes)
    # Parts of maps hold an item more or less; a look at each job more would be 2 700 lines at least.
    assert all(after < before + 500 for before, after in zip(few, many, strict=True)), (few, many)
