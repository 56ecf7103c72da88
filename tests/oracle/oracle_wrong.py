"""Oracle: what production events got wrong, by code, place and time; what is kept out of jobs, states and activities."""

from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import Any

from oracle.oracle_events import STATES, Production, counted
from oracle.oracle_plant import Plant
from oracle.oracle_time import instant

Body = Mapping[str, Any]
Wrong = tuple[str, str, int]
"""Code, place, instant."""


def wrong_events(events: Sequence[Body], plant: Plant, made: Production) -> set[Wrong]:
    valid = counted(events)
    return {*_jobs(valid, plant), *_overlaps(made, plant), *_states(valid, plant), *_activities(valid, plant)}


CODES = {
    "job-started-twice",
    "job-end-without-start",
    "job-unknown-work-unit",
    "job-unknown-step",
    "job-end-before-start",
    "job-ended-twice",
    "exclusive-overlap",
    "state-unknown-work-unit",
    "state-unknown",
    "activity-invalid",
}


def _jobs(events: Sequence[Body], plant: Plant) -> set[Wrong]:
    found: set[Wrong] = set()
    names = {event["body"]["job"] for event in events if event["kind"] in ("job_start", "job_end")}
    for job in names:
        starts = [e for e in events if e["kind"] == "job_start" and e["body"]["job"] == job]
        ends = [instant(e["at"]) for e in events if e["kind"] == "job_end" and e["body"]["job"] == job]
        found |= {("job-started-twice", job, instant(event["at"])) for event in starts[1:]}
        if not starts:
            found.add(("job-end-without-start", job, ends[0]))
            continue
        start, at_ms = starts[0]["body"], instant(starts[0]["at"])
        unit = plant.units.get(start["work_unit"])
        step = start.get("step") or (unit.step if unit else "")
        if unit is None:
            found.add(("job-unknown-work-unit", job, at_ms))
        elif step and step not in plant.rules:
            found.add(("job-unknown-step", job, at_ms))
        elif ends and ends[-1] < at_ms:
            found.add(("job-end-before-start", job, at_ms))
        elif len(ends) > 1:
            found.add(("job-ended-twice", job, ends[-1]))
    return found


def _overlaps(made: Production, plant: Plant) -> set[Wrong]:
    """Two jobs that claim one exclusive machine: told of the one that comes later, as it starts."""
    found: set[Wrong] = set()
    for first, second in combinations(sorted(made.jobs, key=lambda job: (job.start_ms, job.job)), 2):
        both_run = first.unit == second.unit and second.start_ms < min(first.end_ms, second.end_ms)
        if both_run and "exclusive" in (plant.rules.get(first.step), plant.rules.get(second.step)):
            found.add(("exclusive-overlap", first.unit, second.start_ms))
    return found


def _states(events: Sequence[Body], plant: Plant) -> set[Wrong]:
    found: set[Wrong] = set()
    for event in (event for event in events if event["kind"] == "state"):
        unit, state, at_ms = event["body"]["work_unit"], event["body"]["state"], instant(event["at"])
        if unit not in plant.units:
            found.add(("state-unknown-work-unit", _name(event), at_ms))
        elif state not in {*STATES, "warm-up"}:
            found.add(("state-unknown", unit, at_ms))
    return found


def _activities(events: Sequence[Body], plant: Plant) -> set[Wrong]:
    found: set[Wrong] = set()
    for event in (event for event in events if event["kind"] == "activity"):
        body = event["body"]
        places = [place for place in (body.get("work_unit"), body.get("pool")) if place]
        if body["source"] not in plant.sources or any(p not in {*plant.units, *plant.pools} for p in places):
            found.add(("activity-invalid", _name(event), instant(event["at"])))
    return found


def _name(event: Body) -> str:
    return f"{event['source']}/{event['event_id']}"
