"""What a work unit did: its jobs and states by time, and a span of time cut where either changes."""

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Sequence
from functools import lru_cache
from itertools import accumulate, pairwise
from typing import Generic, NamedTuple, TypeVar

from plantprint.production import Job, Production, StateSpan

_FOREVER = 2**62
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
    return _timelines(_Same(production)).get(work_unit, _NOTHING)[0]


def slices(
    production: Production, work_unit: str, from_ms: int, to_ms: int, inferred: Sequence[StateSpan] = ()
) -> tuple[Slice, ...]:
    """A span of time of a work unit cut where its jobs or its state change.

    A reported state counts before an inferred one.
    """
    same = _Same(production)
    return _slices(same, work_unit, from_ms, to_ms) if not inferred else _cut(same, work_unit, from_ms, to_ms, inferred)


def _cut(same: "_Same", work_unit: str, from_ms: int, to_ms: int, inferred: Sequence[StateSpan]) -> tuple[Slice, ...]:
    all_jobs, all_states = _timelines(same).get(work_unit, _NOTHING)
    jobs, states = all_jobs.within(from_ms, to_ms), [*reversed(all_states.within(from_ms, to_ms)), *inferred]
    if not jobs and not states:
        return (Slice(from_ms, to_ms, None, ()),)
    cuts = {from_ms, to_ms}
    spans: list[Job | StateSpan] = [*jobs, *states]
    for span in spans:
        cuts.add(min(max(span.start_ms, from_ms), to_ms))
        cuts.add(min(max(end_of(span), from_ms), to_ms))
    return tuple(
        Slice(
            start,
            end,
            next((s.state for s in states if s.start_ms <= start < end_of(s)), None),
            tuple(job for job in jobs if job.start_ms <= start < end_of(job)),
        )
        for start, end in pairwise(sorted(cuts))
    )


_NOTHING: tuple[Spans[Job], Spans[StateSpan]] = (Spans([]), Spans([]))


class _Same:
    """A value compared by identity, so that what was derived from it can be kept without comparing its contents."""

    def __init__(self, production: Production) -> None:
        self.production = production

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Same) and self.production is other.production

    def __hash__(self) -> int:
        return id(self.production)


@lru_cache(maxsize=4)
def _timelines(same: _Same) -> dict[str, tuple[Spans[Job], Spans[StateSpan]]]:
    """Jobs and states by work unit."""
    jobs: dict[str, list[Job]] = {}
    states: dict[str, list[StateSpan]] = {}
    for job in same.production.jobs:
        jobs.setdefault(job.work_unit, []).append(job)
    for state in same.production.states:
        states.setdefault(state.work_unit, []).append(state)
    return {unit: (Spans(jobs.get(unit, [])), Spans(states.get(unit, []))) for unit in jobs.keys() | states.keys()}


@lru_cache(maxsize=1024)
def _slices(same: _Same, work_unit: str, from_ms: int, to_ms: int) -> tuple[Slice, ...]:
    """An hour is asked for several times: who pays, how long it processed, what nobody reported."""
    return _cut(same, work_unit, from_ms, to_ms, ())
