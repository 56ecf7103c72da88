"""Oracle: a work unit's amounts cut at jobs, states and hours and given to batches and idle (section 4)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from oracle.oracle_numbers import HOUR_MS, MEASURED, r1
from oracle.oracle_trace import Content, Row

from plantprint.plant.graph import Place
from plantprint.production import Job, StateSpan


@dataclass(frozen=True, order=True)
class Account:
    """Where an amount ends: account kind and id, work unit, step."""

    kind: str
    id: str
    work_unit: str = ""
    step: str = ""


Shares = list[tuple[Account, int]]


@dataclass(frozen=True)
class Posted:
    """An amount of a row on an account, with the worst quality behind it."""

    account: Account
    row: Row
    amount: int
    quality: int


@dataclass(frozen=True)
class UnitFacts:
    """What is known of one work unit: its place, its jobs and states, and the rules of steps."""

    place: Place
    jobs: Sequence[Job]
    states: Sequence[StateSpan]
    rules: Mapping[str, str]

    def cuts(self, hour_ms: int) -> list[int]:
        instants = {hour_ms, hour_ms + HOUR_MS}
        spans: list[Job | StateSpan] = [*self.jobs, *self.states]
        for span in spans:
            instants |= {edge for edge in (span.start_ms, span.end_ms) if edge is not None}
        return sorted(t_ms for t_ms in instants if hour_ms <= t_ms <= hour_ms + HOUR_MS)

    def takers(self, start_ms: int, end_ms: int, hour_ms: int) -> Shares:
        """Who takes the time between two cuts, and with which weight, in canonical order."""
        running = [job for job in self.jobs if _covers(job, start_ms, end_ms)]
        state = next((span.state for span in self.states if _covers(span, start_ms, end_ms)), None)
        if state == "processing":
            return self._shared(running) or self._apart("unassigned")
        if state == "setup":
            return self._shared(running or self._next(end_ms, hour_ms)) or self._apart("idle")
        if state == "clean-down":
            return self._shared(running or self._last(start_ms, hour_ms)) or self._apart("idle")
        if state is None:
            return self._shared(running) or self._apart("idle")
        return self._apart("idle")

    def _apart(self, kind: str) -> Shares:
        return [(Account(kind, self.place.work_unit, self.place.work_unit, self.place.step), 1)]

    def _next(self, from_ms: int, hour_ms: int) -> list[Job]:
        later = [job for job in self.jobs if from_ms <= job.start_ms < hour_ms + HOUR_MS]
        first = min((job.start_ms for job in later), default=0)
        return [job for job in later if job.start_ms == first]

    def _last(self, until_ms: int, hour_ms: int) -> list[Job]:
        ends = [job.end_ms for job in self.jobs if job.end_ms is not None and hour_ms < job.end_ms <= until_ms]
        return [job for job in self.jobs if ends and job.end_ms == max(ends)]

    def _shared(self, jobs: Sequence[Job]) -> Shares:
        ways = {self.rules.get(job.step, "weight") for job in jobs}
        if len(jobs) > 1 and "exclusive" in ways:
            return self._apart("conflict")
        weights: dict[Account, int] = {}
        for job in jobs:
            account = Account("batch", job.batch, job.work_unit, job.step or self.place.step)
            weights[account] = weights.get(account, 0) + (1 if ways == {"equal"} else job.weight)
        return sorted(weights.items())


def _covers(span: Job | StateSpan, start_ms: int, end_ms: int) -> bool:
    return span.start_ms <= start_ms and (span.end_ms is None or span.end_ms >= end_ms)


def give(facts: UnitFacts, came: Sequence[Content], hour_ms: int) -> list[Posted]:
    """One work unit's hour: `came` is what arrived in each bucket."""
    at = facts.cuts(hour_ms)
    segments: list[tuple[int, int, Shares]] = []
    for start, end in pairwise(at):
        shares = facts.takers(start, end, hour_ms)
        if segments and segments[-1][2] == shares:  # an edge that changes nothing for anyone cuts nothing
            segments[-1] = (segments[-1][0], end, shares)
        else:
            segments.append((start, end, shares))
    pieces = _cut(came, [(start, end) for start, end, _ in segments], hour_ms)
    posted = []
    for (_, _, shares), piece in zip(segments, pieces, strict=True):
        for row, (amount, quality) in piece.items():
            for (account, _), share in zip(shares, r1(amount, [weight for _, weight in shares]), strict=True):
                posted.append(Posted(account, row, share, quality))
    return posted


def _cut(came: Sequence[Content], spans: Sequence[tuple[int, int]], hour_ms: int) -> list[Content]:
    """Buckets cut by time where segments end inside them, and summed per segment; quality of every bucket touched."""
    pieces: list[Content] = [{} for _ in spans]
    length = HOUR_MS // len(came)
    for k, content in enumerate(came):
        first = hour_ms + k * length
        shared = [max(0, min(first + length, end) - max(first, start)) for start, end in spans]
        for row, (amount, quality) in content.items():
            for n, part in enumerate(r1(amount, shared)):
                if shared[n]:
                    known, worst = pieces[n].get(row, (0, MEASURED))
                    pieces[n][row] = (known + part, min(worst, quality))
    return pieces
