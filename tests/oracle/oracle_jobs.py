"""Oracle: what a work unit did, and who takes what it used in each segment of an hour (section 4)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise
from typing import NamedTuple

from oracle.oracle_events import FOREVER, Job, Production, State
from oracle.oracle_meters import Bucket
from oracle.oracle_numbers import HOUR_MS, MICRO, MISSING, converted, number
from oracle.oracle_plant import Plant, Unit
from oracle.oracle_time import Calendar, Window


class Account(NamedTuple):
    """Where an amount ends."""

    kind: str
    id: str
    unit: str = ""
    step: str = ""


Shares = list[tuple[Account, Fraction]]


@dataclass(frozen=True)
class Slice:
    """A span of time in which nothing changes: the state, None if nobody knows, and the jobs that run."""

    from_ms: int
    to_ms: int
    state: str | None
    jobs: tuple[Job, ...]

    @property
    def is_processing(self) -> bool:
        return self.state == "processing" or (self.state is None and bool(self.jobs))


@dataclass(frozen=True)
class Segment:
    from_ms: int
    to_ms: int
    shares: Shares


def slices(made: Production, unit: str, from_ms: int, to_ms: int, inferred: Sequence[State]) -> list[Slice]:
    """A reported state counts before an inferred one."""
    jobs = [job for job in made.jobs if job.unit == unit and job.start_ms < to_ms and job.end_ms > from_ms]
    states = [state for state in (*made.states, *inferred) if state.unit == unit]
    spans: list[Job | State] = [*jobs, *states]
    edges = {from_ms, to_ms} | {t_ms for span in spans for t_ms in (span.start_ms, span.end_ms)}
    return [
        Slice(
            start,
            end,
            next((state.state for state in states if state.start_ms <= start and end <= state.end_ms), None),
            tuple(job for job in jobs if job.start_ms <= start and end <= job.end_ms),
        )
        for start, end in pairwise(sorted(t_ms for t_ms in edges if from_ms <= t_ms <= to_ms))
    ]


def inferred_states(plant: Plant, unit: str, buckets: Sequence[Bucket], hour_ms: int) -> list[State]:
    """From the mean power on a meter; nothing where a bucket of it is missing."""
    rule = plant.inferred[unit]
    kwh = converted(plant.meters[rule["meter"]]["unit"], "kWh")
    assert kwh is not None
    several = max(1, rule.get("mean_over_s", 300) // plant.bucket_s)
    found = []
    for first in range(0, len(buckets), several):
        part = buckets[first : first + several]
        if any(bucket.quality == MISSING for bucket in part):
            continue
        hours = Fraction(len(part) * plant.bucket_ms, HOUR_MS)
        kw = sum(bucket.amount for bucket in part) * kwh / MICRO / hours
        state = (
            "processing" if kw >= number(rule["processing_kw"]) else "idle" if kw >= number(rule["idle_kw"]) else "off"
        )
        start_ms = hour_ms + first * plant.bucket_ms
        found.append(State(unit, state, start_ms, start_ms + len(part) * plant.bucket_ms))
    return found


def account_of(job: Job) -> Account:
    return Account("batch", job.batch, job.unit, job.step)


def segments(
    plant: Plant, made: Production, unit: Unit, hour_ms: int, inferred: Sequence[State], calendar: Calendar | None
) -> list[Segment]:
    """The hour cut where someone else pays; what is idle also where a window ends."""
    end_ms = hour_ms + HOUR_MS
    windows = [(hour_ms, end_ms, Window(hour_ms, end_ms, ends_month=False))]
    windows = windows if calendar is None else calendar.parts(hour_ms, end_ms)
    found: list[Segment] = []
    for from_ms, to_ms, window in windows:
        # Without windows an hour knows nothing of the one before; with them, of a job that ended as the window began.
        opens_ms = window.start_ms if calendar is None else window.start_ms - 1
        near = [j for j in made.jobs if j.unit == unit.id and j.start_ms < window.end_ms and j.end_ms > opens_ms]
        for part in slices(made, unit.id, from_ms, to_ms, inferred):
            shares = _takers(part, near, plant.rules, unit)
            is_new_window = part.from_ms == from_ms and shares[0][0].kind == "idle"
            if found and found[-1].shares == shares and not is_new_window:
                found[-1] = Segment(found[-1].from_ms, part.to_ms, shares)
            else:
                found.append(Segment(part.from_ms, part.to_ms, shares))
    return found


def _takers(part: Slice, near: Sequence[Job], rules: Mapping[str, str], unit: Unit) -> Shares:
    """The table of section 4."""
    idle: Shares = [(Account("idle", unit.id, unit.id, unit.step), Fraction(1))]
    if part.is_processing:
        unassigned: Shares = [(Account("unassigned", unit.id, unit.id, unit.step), Fraction(1))]
        return _shared(part.jobs, rules, unit) or unassigned
    if part.state == "setup":
        later = [job for job in near if job.start_ms >= part.to_ms]
        first_ms = min((job.start_ms for job in later), default=0)
        return _shared(part.jobs or [job for job in later if job.start_ms == first_ms], rules, unit) or idle
    if part.state == "clean-down":
        before = [job for job in near if job.end_ms <= part.from_ms]
        last_ms = max((job.end_ms for job in before), default=0)
        return _shared(part.jobs or [job for job in before if job.end_ms == last_ms], rules, unit) or idle
    return idle


def _shared(jobs: Sequence[Job], rules: Mapping[str, str], unit: Unit) -> Shares:
    ways = {rules.get(job.step, "weight") for job in jobs}
    if len(jobs) > 1 and "exclusive" in ways:
        return [(Account("conflict", unit.id, unit.id, unit.step), Fraction(1))]
    weights: dict[Account, Fraction] = {}
    for job in jobs:
        weight = Fraction(1) if ways == {"equal"} else job.weight
        weights[account_of(job)] = weights.get(account_of(job), Fraction(0)) + weight
    return sorted(weights.items())


__all__ = ["FOREVER", "Account", "Segment", "Shares", "Slice", "account_of", "inferred_states", "segments", "slices"]
