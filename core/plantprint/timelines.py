"""What a work unit did: its jobs and states by time, and a span of time cut where either changes."""

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from itertools import pairwise
from typing import Any, NamedTuple

from plantprint.production import Job, Production, StateSpan, WorkUnit
from plantprint.spans import Spans, end_of
from plantprint.times import HOUR_MS

_DAY_MS = 24 * HOUR_MS


# How much of a work unit is kept cut; then all is forgotten.
_KEPT_MAX = 256


class Slice(NamedTuple):
    """A span of time in which nothing changes: the state, None where nobody knows it, and the jobs that run."""

    from_ms: int
    to_ms: int
    state: str | None
    jobs: tuple[Job, ...]

    @property
    def is_processing(self) -> bool:
        """Where no state is known a job means processing."""
        return self.state == "processing" or (self.state is None and bool(self.jobs))


def jobs_of(production: Production, work_unit: str) -> Spans[Job]:
    return production.unit(work_unit).jobs


def slices(
    production: Production, work_unit: str, from_ms: int, to_ms: int, inferred: Sequence[StateSpan] = ()
) -> tuple[Slice, ...]:
    """A span of time of a work unit cut where its jobs or its state change.

    A reported state counts before an inferred one.
    """
    unit = production.unit(work_unit)
    if inferred:
        return _cut(unit, from_ms, to_ms, inferred)
    # Kept, because an hour is asked for several times: who pays, how long it processed, what nobody reported.
    found: tuple[Slice, ...] | None = unit.cuts.get((from_ms, to_ms))
    if found is None:
        found = _of_day(unit, from_ms, to_ms)
        _keep(unit, (from_ms, to_ms), found)
    return found


def _of_day(unit: WorkUnit, from_ms: int, to_ms: int) -> tuple[Slice, ...]:
    """A day is cut once for all its hours."""
    day = from_ms // _DAY_MS
    if to_ms > (day + 1) * _DAY_MS:
        return _cut(unit, from_ms, to_ms, ())
    known: tuple[list[int], tuple[Slice, ...]] | None = unit.cuts.get(day)
    if known is None:
        parts = _cut(unit, day * _DAY_MS, (day + 1) * _DAY_MS, ())
        known = [part.to_ms for part in parts], parts
        _keep(unit, day, known)
    ends, parts = known
    within = parts[bisect_right(ends, from_ms) : bisect_left(ends, to_ms) + 1]
    return tuple([Slice(max(a, from_ms), min(b, to_ms), state, jobs) for a, b, state, jobs in within])


def _keep(unit: WorkUnit, name: int | tuple[int, int], cut: Any) -> None:
    if len(unit.cuts) >= _KEPT_MAX:
        unit.cuts.clear()
    unit.cuts[name] = cut


def _cut(unit: WorkUnit, from_ms: int, to_ms: int, inferred: Sequence[StateSpan]) -> tuple[Slice, ...]:
    jobs, states = unit.jobs.within(from_ms, to_ms), [*reversed(unit.states.within(from_ms, to_ms)), *inferred]
    if not jobs and not states:
        return (Slice(from_ms, to_ms, None, ()),)
    running = [(job.start_ms, end_of(job), job) for job in jobs]
    lasting = [(state.start_ms, end_of(state), state.state) for state in states]
    edges = {edge for start_ms, end_ms, _ in (*running, *lasting) for edge in (start_ms, end_ms)}
    cuts = sorted({from_ms, to_ms, *(edge for edge in edges if from_ms < edge < to_ms)})
    return tuple(
        Slice(
            at_ms,
            until_ms,
            next((state for start_ms, end_ms, state in lasting if start_ms <= at_ms < end_ms), None),
            tuple([job for start_ms, end_ms, job in running if start_ms <= at_ms < end_ms]),
        )
        for at_ms, until_ms in pairwise(cuts)
    )
