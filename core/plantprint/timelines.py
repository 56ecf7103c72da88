"""What a work unit did: its jobs and states by time, and a span of time cut where either changes."""

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Sequence
from functools import lru_cache
from itertools import accumulate, pairwise
from typing import Generic, NamedTuple, TypeVar

from plantprint.production import Job, Production, StateSpan
from plantprint.times import HOUR_MS

_FOREVER = 2**62
_DAY_MS = 24 * HOUR_MS
_Span = TypeVar("_Span", Job, StateSpan)


def end_of(span: Job | StateSpan) -> int:
    return _FOREVER if span.end_ms is None else max(span.end_ms, span.start_ms)


class Spans(Generic[_Span]):
    """Spans by start, which find those that touch a time without looking at all of them."""

    def __init__(self, spans: Iterable[_Span]) -> None:
        self._spans: list[_Span] = sorted(spans, key=lambda span: (span.start_ms, span))
        self._starts = [span.start_ms for span in self._spans]
        self._ended_by = list(accumulate(map(end_of, self._spans), max))

    def within(self, from_ms: int, to_ms: int) -> list[_Span]:
        """Those that started before `to_ms` and ended after `from_ms`."""
        first, behind = bisect_right(self._ended_by, from_ms), bisect_left(self._starts, to_ms)
        return [span for span in self._spans[first:behind] if end_of(span) > from_ms]


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
    return _timelines(_Same(production)).jobs(work_unit)


def slices(
    production: Production, work_unit: str, from_ms: int, to_ms: int, inferred: Sequence[StateSpan] = ()
) -> tuple[Slice, ...]:
    """A span of time of a work unit cut where its jobs or its state change.

    A reported state counts before an inferred one.
    """
    lines = _timelines(_Same(production))
    return lines.cut(work_unit, from_ms, to_ms, inferred) if inferred else lines.slices(work_unit, from_ms, to_ms)


_NOTHING: tuple[Spans[Job], Spans[StateSpan]] = (Spans([]), Spans([]))
# How many spans of a production are kept cut; then all are forgotten.
_KEPT_MAX = 8192


class _Timelines:
    """Jobs and states by work unit, and what was cut of them; kept no longer than the production is."""

    def __init__(self, production: Production) -> None:
        jobs: dict[str, list[Job]] = {}
        states: dict[str, list[StateSpan]] = {}
        for job in production.jobs:
            jobs.setdefault(job.work_unit, []).append(job)
        for state in production.states:
            states.setdefault(state.work_unit, []).append(state)
        self._units = {u: (Spans(jobs.get(u, [])), Spans(states.get(u, []))) for u in jobs.keys() | states.keys()}
        self._days: dict[tuple[str, int], tuple[list[int], tuple[Slice, ...]]] = {}
        self._slices: dict[tuple[str, int, int], tuple[Slice, ...]] = {}

    def jobs(self, work_unit: str) -> Spans[Job]:
        return self._units.get(work_unit, _NOTHING)[0]

    def slices(self, work_unit: str, from_ms: int, to_ms: int) -> tuple[Slice, ...]:
        """`cut`, kept: an hour is asked for several times: who pays, how long it processed, what nobody reported."""
        found = self._slices.get((work_unit, from_ms, to_ms))
        if found is None:
            if len(self._slices) >= _KEPT_MAX:
                self._slices.clear()
            found = self._slices[work_unit, from_ms, to_ms] = self._of_day(work_unit, from_ms, to_ms)
        return found

    def _of_day(self, work_unit: str, from_ms: int, to_ms: int) -> tuple[Slice, ...]:
        """A day is cut once for all its hours."""
        day = from_ms // _DAY_MS
        if to_ms > (day + 1) * _DAY_MS:
            return self.cut(work_unit, from_ms, to_ms, ())
        found = self._days.get((work_unit, day))
        if found is None:
            if len(self._days) >= _KEPT_MAX:
                self._days.clear()
            parts = self.cut(work_unit, day * _DAY_MS, (day + 1) * _DAY_MS, ())
            found = self._days[work_unit, day] = ([part.to_ms for part in parts], parts)
        ends, parts = found
        within = parts[bisect_right(ends, from_ms) : bisect_left(ends, to_ms) + 1]
        return tuple([Slice(max(a, from_ms), min(b, to_ms), state, jobs) for a, b, state, jobs in within])

    def cut(self, work_unit: str, from_ms: int, to_ms: int, inferred: Sequence[StateSpan]) -> tuple[Slice, ...]:
        all_jobs, all_states = self._units.get(work_unit, _NOTHING)
        jobs, states = all_jobs.within(from_ms, to_ms), [*reversed(all_states.within(from_ms, to_ms)), *inferred]
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


class _Same:
    """A value compared by identity, so that what was derived from it can be kept without comparing its contents."""

    def __init__(self, production: Production) -> None:
        self.production = production

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Same) and self.production is other.production

    def __hash__(self) -> int:
        return id(self.production)


@lru_cache(maxsize=4)
def _timelines(same: _Same) -> _Timelines:
    return _Timelines(same.production)
