"""From a work unit to its batches: an hour cut at every job and state edge, and each segment divided among its jobs.

Idle time goes to account `idle`; `spreading` hands it to the jobs of its window when that ends.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from plantprint.divide_arrays import Ints, divide_arrays, rounded_quotient
from plantprint.flows import Qualities
from plantprint.plant.graph import Place
from plantprint.plant.model import Step
from plantprint.production import Job, Production, StateSpan
from plantprint.timelines import Slice, end_of, jobs_of, slices
from plantprint.times import HOUR_MS
from plantprint.windows import Calendar, Window


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
    """Amounts [row, bucket] that go to `account`, and by row the worst quality behind them; from when on in the hour."""

    account: Account
    amount: Ints
    quality: Qualities
    from_ms: int = 0


def segments(
    production: Production,
    steps: Mapping[str, Step],
    place: Place,
    hour_ms: int,
    calendar: Calendar | None = None,
    inferred: Sequence[StateSpan] = (),
) -> list[Segment]:
    """The hour of a work unit cut where its jobs or its state change; neighbours that share alike are one segment.

    Setup belongs to the next job and clean-down to the previous one of the same window of `calendar`; without one, of
    the same hour. What is idle is cut where a window ends. `inferred` states count where none was reported.
    """
    end_ms = hour_ms + HOUR_MS
    whole = slices(production, place.work_unit, hour_ms, end_ms, inferred)
    if len(whole) == 1 and whole[0].is_processing and whole[0].jobs:  # Nor does the end of a window change anything.
        return [Segment(0, HOUR_MS, _among(whole[0].jobs, steps, place))]
    windows = (
        [(hour_ms, end_ms, Window(hour_ms, end_ms, ends_month=False))]
        if calendar is None
        else list(calendar.parts(hour_ms, end_ms))
    )
    found: list[Segment] = []
    for from_ms, to_ms, window in windows:
        near = _Neighbours(production, place, window, is_hour=calendar is None)
        is_whole = (from_ms, to_ms) == (hour_ms, end_ms)
        for part in whole if is_whole else slices(production, place.work_unit, from_ms, to_ms, inferred):
            shares = _takers(part, near, steps, place)
            waits = shares[0][0].kind == "idle" and part.from_ms == from_ms
            if found and found[-1].shares == shares and not waits:
                found[-1] = found[-1]._replace(to_ms=part.to_ms - hour_ms)
            else:
                found.append(Segment(part.from_ms - hour_ms, part.to_ms - hour_ms, shares))
    return found


def allocate(amount: Ints, quality: Qualities, parts: Iterable[Segment]) -> list[Piece]:
    """Amounts [row, bucket] of a work unit divided over the accounts of its segments; the pieces add up exactly."""
    pieces: list[Piece] = []
    bucket_ms = HOUR_MS // amount.shape[1]
    for part in parts:
        share = cut(amount, part.from_ms, part.to_ms)
        worst = quality[:, part.from_ms // bucket_ms : -(-part.to_ms // bucket_ms)].min(axis=1)
        if len(part.shares) == 1:
            pieces.append(Piece(part.shares[0][0], share, worst, part.from_ms))
            continue
        totals = divide_arrays(share.sum(axis=1), np.array([[weight for _, weight in part.shares]]))
        for number, (account, _) in enumerate(part.shares):
            pieces.append(Piece(account, divide_arrays(totals[:, number], share), worst, part.from_ms))
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


class UnitPart(NamedTuple):
    """A segment of one of several work units in one of several hours, both by number."""

    unit: int
    hour: int
    segment: Segment


def allocate_totals(amount: Ints, bucket_ms: int, parts: Sequence[UnitPart]) -> Ints:
    """Sums [share, row] of the shares of `parts`: what `allocate` gives, summed over buckets, for all of them at once.

    `amount` is [unit, row, bucket] of consecutive hours; shares come in the order of the parts and of their accounts.
    """
    found = [(unit, hour, part.from_ms, part.to_ms, len(part.shares)) for unit, hour, part in parts]
    units, hours, from_ms, to_ms, counts = np.array(found, np.int64).reshape(-1, 5).T
    first, head_ms = np.divmod(hours * HOUR_MS + from_ms, bucket_ms)
    last, tail_ms = np.divmod(hours * HOUR_MS + to_ms, bucket_ms)
    totals = _bucket_sums(amount, units, first, last)
    totals += _parts_of_buckets(amount, units, last, tail_ms, bucket_ms)
    totals -= _parts_of_buckets(amount, units, first, head_ms, bucket_ms)
    shares: Ints = np.repeat(totals, counts, axis=0)
    starts = np.cumsum(counts) - counts
    for count in np.unique(counts[counts > 1]).tolist():
        numbers = np.flatnonzero(counts == count)
        weights = np.array([[weight for _, weight in parts[number].segment.shares] for number in numbers.tolist()])
        divided = divide_arrays(totals[numbers], weights[:, None])
        shares[starts[numbers, None] + np.arange(count)] = divided.swapaxes(1, 2)
    return shares


def _bucket_sums(amount: Ints, units: Ints, first: Ints, behind: Ints) -> Ints:
    """Sums [part, row] of each part's buckets from `first` to before `behind`; parts of a work unit do not overlap."""
    sums = np.zeros((len(units), amount.shape[1]), np.int64)
    order = np.lexsort((behind, first, units))
    cuts = np.searchsorted(units[order], np.arange(len(amount) + 1))
    for unit, (start, end) in enumerate(pairwise(cuts.tolist())):
        of_unit = order[start:end]
        # What lies between a pair of edges is a part, what lies between two pairs is not.
        edges = np.stack([first[of_unit], behind[of_unit]], axis=1).ravel()
        inside = edges[edges < amount.shape[2]]
        if inside.size:
            sums[of_unit] = np.add.reduceat(amount[unit], inside, axis=1)[:, ::2].T
    sums[first == behind] = 0
    return sums


def _parts_of_buckets(amount: Ints, units: Ints, bucket: Ints, part_ms: Ints, bucket_ms: int) -> Ints:
    """By part the amounts [part, row] of one bucket up to an instant inside it."""
    found = np.zeros((len(units), amount.shape[1]), np.int64)
    cuts = np.flatnonzero(part_ms)
    amounts = amount[units[cuts], :, bucket[cuts]]
    found[cuts] = rounded_quotient(amounts, part_ms[cuts, None], np.array([[bucket_ms]]))
    return found


class _Neighbours:
    """The jobs of a work unit before and after an instant, within a window."""

    def __init__(self, production: Production, place: Place, window: Window, *, is_hour: bool) -> None:
        self._of = (production, place.work_unit)
        # A job that ended as its window began may still be cleaned up after; an hour alone knows of no such job.
        self._span = (window.start_ms - (not is_hour), window.end_ms)

    def after(self, t_ms: int) -> tuple[Job, ...]:
        """The next to start, all of them when several start at once."""
        jobs = [job for job in self._jobs() if job.start_ms > t_ms]
        first_ms = min((job.start_ms for job in jobs), default=0)
        return tuple(job for job in jobs if job.start_ms == first_ms)

    def before(self, t_ms: int) -> tuple[Job, ...]:
        """The last to end."""
        jobs = [job for job in self._jobs() if end_of(job) <= t_ms]
        last_ms = max(map(end_of, jobs), default=0)
        return tuple(job for job in jobs if end_of(job) == last_ms)

    def _jobs(self) -> list[Job]:
        production, work_unit = self._of
        return jobs_of(production, work_unit).within(*self._span)


def _takers(part: Slice, near: _Neighbours, steps: Mapping[str, Step], place: Place) -> tuple[tuple[Account, int], ...]:
    """Who takes what a work unit uses in a span of time, by the table of section 4."""
    jobs = part.jobs
    if part.state in (None, "processing"):
        kind = "idle" if part.state is None else "unassigned"
        return _among(jobs, steps, place) if jobs else _apart(kind, place)
    if part.state == "setup":
        jobs = jobs or near.after(part.from_ms)
    elif part.state == "clean-down":
        jobs = jobs or near.before(part.from_ms)
    else:
        jobs = ()
    return _among(jobs, steps, place) if jobs else _apart("idle", place)


def account_of(job: Job, place: Place) -> Account:
    return Account("batch", job.batch, place.work_unit, job.step or place.step)


def _apart(kind: str, place: Place) -> tuple[tuple[Account, int], ...]:
    return ((Account(kind, place.work_unit, place.work_unit, place.step), 1),)


def _among(jobs: Sequence[Job], steps: Mapping[str, Step], place: Place) -> tuple[tuple[Account, int], ...]:
    """Jobs that run at once share by weight, equally where all their steps say so, not at all if one is exclusive."""
    if len(jobs) == 1:
        job = jobs[0]
        is_equal = job.step in steps and steps[job.step].rule == "equal"
        return ((account_of(job, place), 1 if is_equal else job.weight),)
    rules = {steps[job.step].rule if job.step in steps else "weight" for job in jobs}
    if "exclusive" in rules:
        return _apart("conflict", place)
    weights: dict[Account, int] = {}
    for job in jobs:
        account = account_of(job, place)
        weights[account] = weights.get(account, 0) + (1 if rules == {"equal"} else job.weight)
    return tuple(sorted(weights.items()))
