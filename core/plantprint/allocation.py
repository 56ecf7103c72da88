"""From a work unit to its batches: an hour cut at every job and state edge, and each segment divided among its jobs.

Idle time is kept apart on account `idle`. Windows that spread idle over jobs, and that look for the next or the
previous job beyond the posting hour, are not here yet: setup and clean-down find only jobs of the same hour.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from itertools import accumulate, pairwise
from typing import Generic, NamedTuple, TypeVar

import numpy as np

from plantprint.divide_arrays import Ints, divide_arrays, rounded_quotient
from plantprint.flows import Qualities
from plantprint.plant.graph import Place
from plantprint.plant.model import Step
from plantprint.production import Job, Production, StateSpan
from plantprint.times import HOUR_MS

_FOREVER = 2**62
_Span = TypeVar("_Span", Job, StateSpan)


class Account(NamedTuple):
    """Where an amount ends: the fields of a posting's key that say so, in canonical order."""

    kind: str
    id: str
    work_unit: str = ""
    step: str = ""


class Segment(NamedTuple):
    """Part of an hour (ms from its start) in which nothing changes; shares are (account, weight) in canonical order."""

    from_ms: int
    to_ms: int
    shares: tuple[tuple[Account, int], ...]


@dataclass(frozen=True, slots=True, eq=False)
class Piece:
    """Amounts [row, bucket] that go to `account`, and by row the worst quality behind them."""

    account: Account
    amount: Ints
    quality: Qualities


def segments(production: Production, steps: Mapping[str, Step], place: Place, hour_ms: int) -> list[Segment]:
    """The hour of a work unit cut where its jobs or its state change; neighbours that share alike are one segment."""
    all_jobs, all_states = _timelines(_Same(production)).get(place.work_unit, _NOTHING)
    jobs, states = all_jobs.within(hour_ms, hour_ms + HOUR_MS), all_states.within(hour_ms, hour_ms + HOUR_MS)
    edges = {hour_ms, hour_ms + HOUR_MS}
    spans: list[Job | StateSpan] = [*jobs, *states]
    for span in spans:
        edges.add(max(span.start_ms, hour_ms))
        edges.add(min(_end(span), hour_ms + HOUR_MS))
    found: list[Segment] = []
    for from_ms, to_ms in pairwise(sorted(edges)):
        state = next((s.state for s in reversed(states) if s.start_ms <= from_ms < _end(s)), None)
        shares = _takers(state, jobs, from_ms, steps, place)
        if found and found[-1].shares == shares:
            found[-1] = found[-1]._replace(to_ms=to_ms - hour_ms)
        else:
            found.append(Segment(from_ms - hour_ms, to_ms - hour_ms, shares))
    return found


def allocate(amount: Ints, quality: Qualities, parts: Iterable[Segment]) -> list[Piece]:
    """Amounts [row, bucket] of a work unit divided over the accounts of its segments; the pieces add up exactly."""
    pieces: list[Piece] = []
    bucket_ms = HOUR_MS // amount.shape[1]
    for part in parts:
        share = cut(amount, part.from_ms, part.to_ms)
        worst = quality[:, part.from_ms // bucket_ms : -(-part.to_ms // bucket_ms)].min(axis=1)
        if len(part.shares) == 1:
            pieces.append(Piece(part.shares[0][0], share, worst))
            continue
        totals = divide_arrays(share.sum(axis=1), np.array([[weight for _, weight in part.shares]]))
        for number, (account, _) in enumerate(part.shares):
            pieces.append(Piece(account, divide_arrays(totals[:, number], share), worst))
    return pieces


def cut(amount: Ints, from_ms: int, to_ms: int) -> Ints:
    """The part of amounts [row, bucket] of an hour between two instants (ms from its start), by time in a bucket."""
    bucket_ms = HOUR_MS // amount.shape[1]
    if from_ms == 0 and to_ms == HOUR_MS:
        return amount
    first, head_ms = divmod(from_ms, bucket_ms)
    last, tail_ms = divmod(to_ms, bucket_ms)
    part = np.zeros_like(amount)
    part[:, first:last] = amount[:, first:last]
    if tail_ms:
        part[:, last] = _until(amount[:, last], tail_ms, bucket_ms)
    if head_ms:
        part[:, first] -= _until(amount[:, first], head_ms, bucket_ms)
    return part


def _until(amount: Ints, part_ms: int, bucket_ms: int) -> Ints:
    return rounded_quotient(amount, np.array([part_ms]), np.array([bucket_ms]))


def _takers(
    state: str | None, jobs: list[Job], at_ms: int, steps: Mapping[str, Step], place: Place
) -> tuple[tuple[Account, int], ...]:
    """Who takes what a work unit uses at an instant, by the table of section 4."""
    running = [job for job in jobs if job.start_ms <= at_ms < _end(job)]
    if state in (None, "processing"):
        kind = "idle" if state is None else "unassigned"
        return _among(running, steps, place) if running else _apart(kind, place)
    if state in ("setup", "warm-up"):
        running = running or _nearest([job for job in jobs if job.start_ms > at_ms], lambda job: job.start_ms)
        return _among(running, steps, place) if running else _apart("idle", place)
    if state == "clean-down":
        running = running or _nearest([job for job in jobs if _end(job) <= at_ms], lambda job: -_end(job))
        return _among(running, steps, place) if running else _apart("idle", place)
    return _apart("idle", place)


def _apart(kind: str, place: Place) -> tuple[tuple[Account, int], ...]:
    return ((Account(kind, place.work_unit, place.work_unit, place.step), 1),)


def _among(jobs: list[Job], steps: Mapping[str, Step], place: Place) -> tuple[tuple[Account, int], ...]:
    """Jobs that run at once share by weight, equally where all their steps say so, not at all if one is exclusive."""
    rules = {steps[job.step].rule if job.step in steps else "weight" for job in jobs}
    if len(jobs) > 1 and "exclusive" in rules:
        return _apart("conflict", place)
    weights: dict[Account, int] = {}
    for job in jobs:
        account = Account("batch", job.batch, place.work_unit, job.step or place.step)
        weights[account] = weights.get(account, 0) + (1 if rules == {"equal"} else job.weight)
    return tuple(sorted(weights.items()))


def _nearest(jobs: list[Job], distance: Callable[[Job], int]) -> list[Job]:
    nearest = min(map(distance, jobs), default=0)
    return [job for job in jobs if distance(job) == nearest]


def _end(span: Job | StateSpan) -> int:
    return _FOREVER if span.end_ms is None else max(span.end_ms, span.start_ms)


class _Spans(Generic[_Span]):
    """Spans by start, which find those that touch an hour without looking at all of them."""

    def __init__(self, spans: Iterable[_Span]) -> None:
        self._spans: list[_Span] = sorted(spans, key=lambda span: (span.start_ms, span))
        self._starts = [span.start_ms for span in self._spans]
        self._ended_by = list(accumulate(map(_end, self._spans), max))

    def within(self, from_ms: int, to_ms: int) -> list[_Span]:
        first, behind = bisect_right(self._ended_by, from_ms), bisect_left(self._starts, to_ms)
        return [span for span in self._spans[first:behind] if _end(span) > from_ms]


_NOTHING: tuple[_Spans[Job], _Spans[StateSpan]] = (_Spans([]), _Spans([]))


class _Same:
    """A value compared by identity, so that what was derived from it can be kept without comparing its contents."""

    def __init__(self, production: Production) -> None:
        self.production = production

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Same) and self.production is other.production

    def __hash__(self) -> int:
        return id(self.production)


@lru_cache(maxsize=4)
def _timelines(same: _Same) -> dict[str, tuple[_Spans[Job], _Spans[StateSpan]]]:
    """Jobs and states by work unit."""
    jobs: dict[str, list[Job]] = {}
    states: dict[str, list[StateSpan]] = {}
    for job in same.production.jobs:
        jobs.setdefault(job.work_unit, []).append(job)
    for state in same.production.states:
        states.setdefault(state.work_unit, []).append(state)
    return {unit: (_Spans(jobs.get(unit, [])), _Spans(states.get(unit, []))) for unit in jobs.keys() | states.keys()}
