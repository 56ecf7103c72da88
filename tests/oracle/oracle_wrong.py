"""Oracle: what production events got wrong, by code, place and time; what is kept out of jobs, states and activities."""

from collections.abc import Mapping, Sequence
from fractions import Fraction
from itertools import combinations, pairwise
from typing import Any, NamedTuple

from oracle.oracle_events import FOREVER, STATES, Job, counted
from oracle.oracle_numbers import HOUR_MS, MICRO, half_even, number
from oracle.oracle_plant import Plant
from oracle.oracle_time import instant

Body = Mapping[str, Any]
Wrong = tuple[str, str, int]
"""Code, place, instant."""


def wrong_events(events: Sequence[Body], versions: Sequence[tuple[int, Plant]]) -> set[Wrong]:
    """`versions` are a site's plants, each with the instant from which it holds; the first one holds before it too."""
    valid, reigns = counted(events), _reigns(versions)
    jobs, wrong = _jobs(valid, reigns)
    wrong |= _overlaps(jobs, reigns) | _states(valid, reigns) | _orders(valid)
    return wrong | _activities(valid, reigns)


CODES = {
    "job-started-twice",
    "job-end-without-start",
    "job-unknown-work-unit",
    "job-unknown-step",
    "job-end-before-start",
    "job-ended-twice",
    "job-time-unbelievable",
    "exclusive-overlap",
    "order-told-twice",
    "state-unknown-work-unit",
    "state-unknown",
    "state-told-twice",
    "activity-invalid",
}


class Reign(NamedTuple):
    from_ms: int
    to_ms: int
    plant: Plant


def _reigns(versions: Sequence[tuple[int, Plant]]) -> list[Reign]:
    """Of several plants from one instant the last; each until the next, the first since ever."""
    last = dict(versions)
    edges = [-FOREVER, *sorted(last)[1:], FOREVER]
    return [Reign(a, b, last[since]) for (a, b), since in zip(pairwise(edges), sorted(last), strict=True)]


def _in_force(reigns: Sequence[Reign], at_ms: int) -> Plant:
    return next(reign.plant for reign in reigns if reign.from_ms <= at_ms < reign.to_ms)


def _jobs(events: Sequence[Body], reigns: Sequence[Reign]) -> tuple[list[Job], set[Wrong]]:
    """Jobs that one of the plants in force while they ran knows, and what is wrong."""
    found: set[Wrong] = set()
    jobs: list[Job] = []
    names = {event["body"]["job"] for event in events if event["kind"] in ("job_start", "job_end")}
    for job in names:
        starts = [e for e in events if e["kind"] == "job_start" and e["body"]["job"] == job]
        ends = [instant(e["at"]) for e in events if e["kind"] == "job_end" and e["body"]["job"] == job]
        found |= {("job-started-twice", job, instant(event["at"])) for event in starts[1:]}
        if not starts:
            found.add(("job-end-without-start", job, ends[0]))
            continue
        start, at_ms = starts[0]["body"], instant(starts[0]["at"])
        if ends and ends[-1] < at_ms:
            found.add(("job-end-before-start", job, at_ms))
            continue
        end_ms = min((end for end in ends if end >= at_ms), default=FOREVER)
        first = next(n for n, reign in enumerate(reigns) if reign.from_ms <= at_ms < reign.to_ms)
        told = [_why_not(start, at_ms, end_ms, reign.plant) for reign in reigns]
        there = [n for n in range(first, len(reigns)) if n == first or reigns[n].from_ms < end_ms]
        for n in there:
            # It is told once for as long as it is so, and of what comes later only when the job has ended.
            if told[n] and (n == first or (not told[n - 1] and end_ms != FOREVER)):
                found.add((told[n], job, max(at_ms, reigns[n].from_ms)))
        good = [n for n in there if not told[n]]
        if not good:
            continue
        if len(ends) > 1:
            found.add(("job-ended-twice", job, ends[-1]))
        step = start.get("step") or reigns[good[0]].plant.units[start["work_unit"]].step
        jobs.append(Job(at_ms, end_ms, job, start["batch"], start["work_unit"], step, Fraction(1)))
    return jobs, found


def _why_not(start: Mapping[str, Any], start_ms: int, end_ms: int, plant: Plant) -> str:
    """Why a plant keeps a job out."""
    unit = plant.units.get(start["work_unit"])
    if unit is None:
        return "job-unknown-work-unit"
    if (start.get("step") or unit.step) not in {"", *plant.rules}:
        return "job-unknown-step"
    return "job-time-unbelievable" if end_ms != FOREVER and end_ms - start_ms > plant.job_ms_max else ""


def _overlaps(jobs: Sequence[Job], reigns: Sequence[Reign]) -> set[Wrong]:
    """Two jobs that claim one exclusive machine: told of the one that comes later, as it starts."""
    found: set[Wrong] = set()
    for first, second in combinations(sorted(jobs, key=lambda job: (job.start_ms, job.job)), 2):
        both_run = first.unit == second.unit and second.start_ms < min(first.end_ms, second.end_ms)
        rules = _in_force(reigns, second.start_ms).rules
        if both_run and "exclusive" in (rules.get(first.step), rules.get(second.step)):
            found.add(("exclusive-overlap", first.unit, second.start_ms))
    return found


def _states(events: Sequence[Body], reigns: Sequence[Reign]) -> set[Wrong]:
    found: set[Wrong] = set()
    told: dict[tuple[str, int], set[str]] = {}
    for event in (event for event in events if event["kind"] == "state"):
        unit, state, at_ms = event["body"]["work_unit"], event["body"]["state"], instant(event["at"])
        if unit not in _in_force(reigns, at_ms).units:
            found.add(("state-unknown-work-unit", _name(event), at_ms))
            continue
        if state not in {*STATES, "warm-up"}:
            found.add(("state-unknown", unit, at_ms))
        told.setdefault((unit, at_ms), set()).add("setup" if state == "warm-up" else state)
    return found | {("state-told-twice", unit, at_ms) for (unit, at_ms), several in told.items() if len(several) > 1}


def _orders(events: Sequence[Body]) -> set[Wrong]:
    """An order that says something else than the one before it."""
    found: set[Wrong] = set()
    before: dict[str, tuple[Any, ...]] = {}
    for event in (event for event in events if event["kind"] == "order"):
        body = event["body"]
        says = body.get("product", ""), half_even(number(body["quantity"]) * MICRO), body.get("unit", "")
        if before.setdefault(body["batch"], says) != says:
            found.add(("order-told-twice", body["batch"], instant(event["at"])))
        before[body["batch"]] = says
    return found


def _activities(events: Sequence[Body], reigns: Sequence[Reign]) -> set[Wrong]:
    """An activity is of the hour in which it enters, its span's last."""
    found: set[Wrong] = set()
    for event in (event for event in events if event["kind"] == "activity"):
        body = event["body"]
        plant = _in_force(reigns, (instant(body["to"]) - 1) // HOUR_MS * HOUR_MS)
        places = [place for place in (body.get("work_unit"), body.get("pool")) if place]
        if body["source"] not in plant.sources or any(p not in {*plant.units, *plant.pools} for p in places):
            found.add(("activity-invalid", _name(event), instant(event["at"])))
    return found


def _name(event: Body) -> str:
    return f"{event['source']}/{event['event_id']}"
