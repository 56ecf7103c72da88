"""Oracle: a work unit's amounts cut at jobs, states and hours and given to batches and idle (section 4)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from oracle.oracle_numbers import HOUR_MS, r1
from oracle.oracle_trace import Content, Row, add
from plantprint.production import Job, StateSpan


@dataclass(frozen=True, order=True)
class Account:
    """Where an amount ends: account kind and id, work unit, step."""

    kind: str
    id: str
    work_unit: str = ""
    step: str = ""


Posted = dict[tuple[Account, Row], int]
_TO_JOBS, _TO_NEXT, _TO_LAST = ("processing",), ("setup",), ("clean-down",)


def cuts(jobs: Sequence[Job], states: Sequence[StateSpan], hour_ms: int) -> list[int]:
    instants = {hour_ms, hour_ms + HOUR_MS}
    for span in (*jobs, *states):
        instants |= {edge for edge in (span.start_ms, span.end_ms) if edge is not None}
    return sorted(t_ms for t_ms in instants if hour_ms <= t_ms <= hour_ms + HOUR_MS)


def _covers(span: Job | StateSpan, start_ms: int, end_ms: int) -> bool:
    return span.start_ms <= start_ms and (span.end_ms is None or span.end_ms >= end_ms)


def takers(
    work_unit: str, jobs: Sequence[Job], states: Sequence[StateSpan], rules: Mapping[str, str], start_ms: int, end_ms: int
) -> list[tuple[Account, int]]:
    """Who takes a segment and with which weight, in canonical order."""
    running = [job for job in jobs if _covers(job, start_ms, end_ms)]
    state = next((span.state for span in states if _covers(span, start_ms, end_ms)), None)
    idle = [(Account("idle", work_unit, work_unit), 1)]
    if state in _TO_NEXT:
        return _shared(_next(jobs, end_ms), rules) or idle
    if state in _TO_LAST:
        return _shared(_last(jobs, start_ms), rules) or idle
    if state is None:
        return _shared(running, rules) or idle
    if state in _TO_JOBS:
        return _shared(running, rules) or [(Account("unassigned", work_unit, work_unit), 1)]
    return idle


def _next(jobs: Sequence[Job], end_ms: int) -> list[Job]:
    later = [job for job in jobs if job.start_ms >= end_ms]
    first = min((job.start_ms for job in later), default=0)
    return [job for job in later if job.start_ms == first]


def _last(jobs: Sequence[Job], start_ms: int) -> list[Job]:
    earlier = [(job.end_ms, job) for job in jobs if job.end_ms is not None and job.end_ms <= start_ms]
    last = max((end_ms for end_ms, _ in earlier), default=0)
    return [job for end_ms, job in earlier if end_ms == last]


def _shared(jobs: Sequence[Job], rules: Mapping[str, str]) -> list[tuple[Account, int]]:
    if not jobs:
        return []
    ways = {rules.get(job.step, "weight") for job in jobs}
    if len(jobs) > 1 and "exclusive" in ways:
        return [(Account("conflict", jobs[0].work_unit, jobs[0].work_unit), 1)]
    ordered = sorted(jobs, key=lambda job: (job.batch, job.work_unit, job.step, job.job))
    return [
        (Account("batch", job.batch, job.work_unit, job.step), 1 if "equal" in ways else job.weight) for job in ordered
    ]


def give(
    work_unit: str,
    came: Sequence[Content],
    jobs: Sequence[Job],
    states: Sequence[StateSpan],
    rules: Mapping[str, str],
    hour_ms: int,
) -> Posted:
    """One work unit's hour: `came` is what arrived in each bucket."""
    jobs = [job for job in jobs if job.work_unit == work_unit]
    states = [span for span in states if span.work_unit == work_unit]
    at = cuts(jobs, states, hour_ms)
    posted: Posted = {}
    for number, whole in enumerate(_segments(came, at, hour_ms)):
        accounts = takers(work_unit, jobs, states, rules, at[number], at[number + 1])
        for row, amount in whole.items():
            for (account, _), share in zip(accounts, r1(amount, [weight for _, weight in accounts]), strict=True):
                posted[account, row] = posted.get((account, row), 0) + share
    return posted


def _segments(came: Sequence[Content], at: Sequence[int], hour_ms: int) -> list[Content]:
    """Buckets cut by time at the segments' edges (R1 over the pieces of a bucket), summed per segment."""
    segments: list[Content] = [{} for _ in at[1:]]
    length = HOUR_MS // len(came)
    for k, content in enumerate(came):
        start, end = hour_ms + k * length, hour_ms + (k + 1) * length
        shared = [max(0, min(end, at[n + 1]) - max(start, at[n])) for n in range(len(segments))]
        for row, amount in content.items():
            for n, piece in enumerate(r1(amount, shared)):
                add(segments[n], row, piece)
    return segments
