"""From a work unit to its batches: an hour cut at every job and state edge, and each segment divided among its jobs.

Idle time goes to account `idle`; `spreading` hands it to the jobs of its window when that ends.
"""

from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from plantprint.divide_arrays import Ints, divide_arrays, rounded_quotient
from plantprint.flows import Qualities
from plantprint.plant.graph import Place
from plantprint.plant.model import Step
from plantprint.production import Job, Production, StateSpan
from plantprint.spans import end_of
from plantprint.timelines import jobs_of, slices
from plantprint.times import HOUR_MS
from plantprint.windows import Calendar, Window

_NEIGHBOURS_TAKE = frozenset({"setup", "clean-down"})
_JOBS_TAKE = _NEIGHBOURS_TAKE | {"processing"}


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


class Piece(NamedTuple):
    """Amounts [row, bucket] that go to `account`, and by row the worst quality behind them; from when on in the hour."""

    account: Account
    amount: Ints
    quality: Qualities
    from_ms: int = 0


def segments(
    production: Production,
    steps: Mapping[str, Step],
    place: Place,
    start_ms: int,
    hours: int,
    calendar: Calendar | None = None,
    inferred: Sequence[StateSpan] = (),
) -> list[list[Segment]]:
    """Consecutive hours of a work unit, each cut where its jobs or its state change; neighbours alike are one segment.

    Setup belongs to the next job and clean-down to the previous one of the same window of `calendar`; without one, of
    the same hour. What is idle is cut where a window ends. `inferred` states count where none was reported.
    """
    found: list[list[Segment]] = [[] for _ in range(hours)]
    spells, number = _spells(calendar, start_ms, hours), 0
    for part in slices(production, place.work_unit, start_ms, start_ms + hours * HOUR_MS, inferred):
        asks = not part.jobs and part.state in _NEIGHBOURS_TAKE
        shares = _takers(part.state, part.jobs, steps, place)
        while number < len(spells) and spells[number].from_ms < part.to_ms:
            spell = spells[number]
            from_ms, to_ms = max(part.from_ms, spell.from_ms), min(part.to_ms, spell.to_ms)
            if asks:
                near = _Neighbours(production, place, spell.window, is_hour=calendar is None)
                shares = _takers(part.state, near.of(part.state, from_ms), steps, place)
            _append(found[spell.hour], Segment(from_ms - spell.hour_ms, to_ms - spell.hour_ms, shares), spell)
            if to_ms < spell.to_ms:
                break
            number += 1
    return found


class _Spell(NamedTuple):
    """The part of a window that lies in an hour; `hour` is the hour's number."""

    from_ms: int
    to_ms: int
    window: Window
    hour: int
    hour_ms: int


@lru_cache(maxsize=16)
def _spells(calendar: Calendar | None, start_ms: int, hours: int) -> tuple[_Spell, ...]:
    """Consecutive hours cut where windows end; without a calendar an hour is a window."""
    found: list[_Spell] = []
    for hour in range(hours):
        hour_ms, end_ms = start_ms + hour * HOUR_MS, start_ms + (hour + 1) * HOUR_MS
        alone = ((hour_ms, end_ms, Window(hour_ms, end_ms, ends_month=False)),)
        found += [
            _Spell(*part, hour, hour_ms)
            for part in (calendar.parts(hour_ms, end_ms) if calendar is not None else alone)
        ]
    return tuple(found)


def _append(segments_: list[Segment], segment: Segment, spell: _Spell) -> None:
    last = segments_[-1] if segments_ else None
    waits_anew = segment.from_ms == spell.from_ms - spell.hour_ms and segment.shares[0][0].kind == "idle"
    if last is not None and last.shares == segment.shares and not waits_anew:
        segments_[-1] = last._replace(to_ms=segment.to_ms)
    else:
        segments_.append(segment)


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


class _Neighbours:
    """The jobs of a work unit before and after an instant, within a window."""

    def __init__(self, production: Production, place: Place, window: Window, *, is_hour: bool) -> None:
        self._of = (production, place.work_unit)
        # A job that ended as its window began may still be cleaned up after; an hour alone knows of no such job.
        self._span = (window.start_ms - (not is_hour), window.end_ms)

    def of(self, state: str | None, t_ms: int) -> tuple[Job, ...]:
        """Whose setup or clean-down it is that lasts at an instant."""
        return self._after(t_ms) if state == "setup" else self._before(t_ms)

    def _after(self, t_ms: int) -> tuple[Job, ...]:
        """The next to start, all of them when several start at once."""
        jobs = [job for job in self._jobs() if job.start_ms > t_ms]
        first_ms = min((job.start_ms for job in jobs), default=0)
        return tuple(job for job in jobs if job.start_ms == first_ms)

    def _before(self, t_ms: int) -> tuple[Job, ...]:
        """The last to end."""
        jobs = [job for job in self._jobs() if end_of(job) <= t_ms]
        last_ms = max(map(end_of, jobs), default=0)
        return tuple(job for job in jobs if end_of(job) == last_ms)

    def _jobs(self) -> list[Job]:
        production, work_unit = self._of
        return jobs_of(production, work_unit).within(*self._span)


def _takers(
    state: str | None, jobs: Sequence[Job], steps: Mapping[str, Step], place: Place
) -> tuple[tuple[Account, int], ...]:
    """Who takes what a work unit uses in a state, by the table of section 4; `jobs` run then, or are its neighbours."""
    if jobs and (state is None or state in _JOBS_TAKE):
        return _among(jobs, steps, place)
    return _apart("unassigned" if state == "processing" else "idle", place)


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
