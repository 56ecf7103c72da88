"""When a batch's figure is final, and which spans of time other production events can change."""

from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache
from typing import Literal, TypeVar

from plantprint.activities import activity_hour_ms
from plantprint.drivers import units_behind
from plantprint.event_fields import plain_text
from plantprint.facts import ProductionEvent
from plantprint.plant.graph import PlantGraph
from plantprint.plant_history import PlantHistory
from plantprint.production import Difference, Job, Production, StateSpan
from plantprint.times import HOUR_MS, hour_floor

Span = tuple[int, int]
_Span = TypeVar("_Span", Job, StateSpan)
BatchStatus = Literal["provisional", "final", "revised"]

_BY_QUANTITY = frozenset({"mass", "pieces", "area"})


def batch_status(closes_ms: int | None, settled_ms: int, *, corrected: bool = False) -> BatchStatus:
    """Provisional until all time up to `closes_ms` is settled (settled time ends at `settled_ms`), then final.

    `corrected`: its postings were changed after that, which makes it revised.
    """
    if closes_ms is None or settled_ms < closes_ms:
        return "provisional"
    return "revised" if corrected else "final"


def batch_closes_ms(plant: PlantGraph | PlantHistory, production: Production, batch: str) -> int | None:
    """When a batch is over and its hours, clean-down and windows are in, and the activities known so far.

    None while a job runs, and without jobs.
    """
    return batches_close_ms(plant, production, [batch])[batch]


def batches_close_ms(
    plant: PlantGraph | PlantHistory, production: Production, batches: Iterable[str]
) -> dict[str, int | None]:
    """`batch_closes_ms` of many batches in one go."""
    plants = PlantHistory.of(plant)
    return {batch: _closes_ms(plants, production, batch) for batch in batches}


def batch_over_ms(plants: PlantHistory, production: Production, batch: str) -> int | None:
    """Since when no more jobs of a batch are expected; None while one runs, and without jobs.

    That is when its last job ended, once good output or a shipment of it was told since that job began. Where neither is
    told it may go on: the goods rest between two steps, and are over after `batch_rests_s_max`.
    """
    jobs = production.jobs_of(batch)
    ends = [job.end_ms for job in jobs if job.end_ms is not None]
    if not ends or len(ends) < len(jobs):
        return None
    known, began_ms, ended_ms = production.batches.get(batch), max(job.start_ms for job in jobs), max(ends)
    told = [shipment.at_ms for shipment in production.shipments_of.get(batch, ())]
    told += [] if known is None or known.put_out_ms is None else [known.put_out_ms]
    if any(at_ms >= began_ms for at_ms in told):
        return ended_ms
    return ended_ms + plants.at(ended_ms - 1).plant.batch_rests_s_max * 1000


def touched_spans(
    graph: PlantGraph, old: Production, new: Production, difference: Difference, far_ms: int
) -> list[Span]:
    """Spans in which accounts can differ between two readings of the production events, which differ so; both ends included.

    Setup and clean-down reach over their window to the jobs that differ. What an open window has gathered is in the
    hours' carry, so hours after a span follow from there. A span without end goes to `far_ms`.
    """
    spans: list[tuple[str, Span]] = []
    gone, came = difference.gone, difference.came
    for one, other in _differing(gone.jobs, came.jobs):
        spans += ((job.work_unit, span) for job, span in _job_spans(graph, (old, new), one, other, far_ms))
    for before, after in _differing(gone.states, came.states):
        known = before or after
        assert known is not None
        spans.append((known.work_unit, _difference(before, after, far_ms)))
    spans += _quantity_spans(graph, old, new, difference, far_ms)
    found = [span for _, span in spans]
    found += [(activity.hour_ms, activity.hour_ms) for activity in (*gone.activities, *came.activities)]
    for unit, (low, high) in spans:
        near = {a for side in (old, new) for a in side.activities_by_time.within(low - 1, high + 1)}
        found += [(a.hour_ms, a.hour_ms) for a in near if unit in units_behind(graph, a.place)]
    return found


def reaches_back_ms(graph: PlantGraph, production: Production, events: Iterable[ProductionEvent], span: Span) -> int:
    """Since when accounts may differ where all that is known is that events with instants in `span` are new or gone.

    `events` are those with such instants, of every revision; `production` is what all mean now.
    """
    low, high = span
    candidates = [low, *(rule.calendar.window_at(low).start_ms for rule in graph.idle.values())]
    among = [event for event in events if low <= event.at_ms <= high]
    candidates += [
        hour for event in among if event.kind == "activity" and (hour := activity_hour_ms(event)) is not None
    ]
    ordered = {plain_text(event, "batch") for event in among if event.kind == "order"}
    if ordered and _divides_by_quantity(graph):
        candidates += [job.start_ms for batch in ordered for job in production.jobs_of(batch)]
    return min(candidates)


@lru_cache(maxsize=8)
def _places_of(graph: PlantGraph) -> Mapping[str, list[str]]:
    """By work unit the places with windows whose amounts can come to its jobs: itself and pools upstream."""
    return {unit: [place for place in graph.idle if unit in units_behind(graph, place)] for unit in graph.work_units}


def _closes_ms(plants: PlantHistory, production: Production, batch: str) -> int | None:
    latest = batch_over_ms(plants, production, batch)
    if latest is None:
        return None
    for job in production.jobs_of(batch):
        assert job.end_ms is not None
        graph = plants.at(max(job.start_ms, job.end_ms - 1))
        places = _places_of(graph)
        windows = [graph.idle[place].calendar.window_at(job.end_ms) for place in places.get(job.work_unit, ())]
        closes = [hour_floor(job.end_ms) + HOUR_MS, *(window.end_ms for window in windows)]
        closes += [
            activity.to_ms
            for activity in production.activities_by_time.within(job.start_ms, job.end_ms)
            if job.work_unit in units_behind(graph, activity.place)
        ]
        latest = max(latest, *closes)
    return latest


def _differing(old: Iterable[_Span], new: Iterable[_Span]) -> Iterator[tuple[_Span | None, _Span | None]]:
    """Spans that only one side has; those that differ in nothing but their end come as a pair."""
    before, after = ({_but_end(span): span for span in side} for side in (old, new))
    for name in sorted(before.keys() | after.keys()):
        one, other = before.get(name), after.get(name)
        if one != other:
            yield one, other


def _but_end(span: Job | StateSpan) -> tuple[str | int, ...]:
    if isinstance(span, Job):
        return (span.job, span.batch, span.work_unit, span.step, span.weight, span.start_ms)
    return (span.work_unit, span.state, span.start_ms)


def _end(span: Job | StateSpan, far_ms: int) -> int:
    return far_ms if span.end_ms is None else max(span.end_ms, span.start_ms)


def _difference(one: Job | StateSpan | None, other: Job | StateSpan | None, far_ms: int) -> Span:
    if one is not None and other is not None:
        low, high = sorted((_end(one, far_ms), _end(other, far_ms)))
        return low, high
    span = one or other
    assert span is not None
    return span.start_ms, _end(span, far_ms)


def _job_spans(
    graph: PlantGraph, both: tuple[Production, Production], one: Job | None, other: Job | None, far_ms: int
) -> Iterator[tuple[Job, Span]]:
    known = one or other
    assert known is not None
    yield known, _difference(one, other, far_ms)
    rule = graph.idle.get(known.work_unit)
    if rule is None:
        return
    states = [side.unit(known.work_unit).states for side in both]
    if one is None or other is None:
        opens_ms = rule.calendar.window_at(known.start_ms).start_ms
        for state in {state for side in states for state in side.within(opens_ms, known.start_ms)}:
            if state.state == "setup":
                yield known, (max(state.start_ms, opens_ms), known.start_ms)
    for job in (one, other):
        if job is None or job.end_ms is None:
            continue
        closes_ms = rule.calendar.window_at(job.end_ms).end_ms
        for state in {state for side in states for state in side.within(job.end_ms, closes_ms)}:
            if state.state == "clean-down":
                yield known, (max(state.start_ms, job.end_ms), min(_end(state, far_ms), closes_ms))


def _quantity_spans(
    graph: PlantGraph, old: Production, new: Production, difference: Difference, far_ms: int
) -> Iterator[tuple[str, Span]]:
    """A batch's quantity matters where something is divided by it: as long as its jobs run, to their windows' ends."""
    if not _divides_by_quantity(graph):
        return
    rules = [rule for rule in graph.idle.values() if rule.driver in _BY_QUANTITY]
    ordered = {batch.batch for side in (difference.gone, difference.came) for batch in side.batches}
    for batch in ordered:
        if _quantity(old, batch) == _quantity(new, batch):
            continue
        for job in {*old.jobs_of(batch), *new.jobs_of(batch)}:
            end_ms = _end(job, far_ms)
            closes = [rule.calendar.window_at(end_ms).end_ms for rule in rules] if job.end_ms is not None else []
            yield job.work_unit, (job.start_ms, max([end_ms, *closes]))


def _divides_by_quantity(graph: PlantGraph) -> bool:
    drivers = {*(rule.driver for rule in graph.idle.values()), *(edge.driver for edge in graph.edges)}
    return bool(drivers & _BY_QUANTITY)


def _quantity(production: Production, batch: str) -> tuple[int | None, str] | None:
    known = production.batches.get(batch)
    return None if known is None else (known.quantity_micro, known.unit)
