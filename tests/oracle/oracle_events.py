"""Oracle: production events of a document, in any order and repeated, as jobs, states, quantities and activities."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

from oracle.oracle_numbers import HOUR_MS, MICRO, converted, half_even, number
from oracle.oracle_plant import Plant
from oracle.oracle_time import instant

FOREVER = 2**62
STATES = {"processing", "setup", "clean-down", "idle", "standby", "fault", "off", "unknown", "paused"}


@dataclass(frozen=True, order=True)
class Job:
    start_ms: int
    end_ms: int
    job: str
    batch: str
    unit: str
    step: str
    weight: Fraction


@dataclass(frozen=True)
class State:
    unit: str
    state: str
    start_ms: int
    end_ms: int


@dataclass(frozen=True)
class Activity:
    from_ms: int
    to_ms: int
    source: str
    place: str
    amount: int
    id: tuple[str, str]

    @property
    def hour_ms(self) -> int:
        """It enters in the hour in which its span ends."""
        return (self.to_ms - 1) // HOUR_MS * HOUR_MS


@dataclass
class Production:
    jobs: list[Job] = field(default_factory=list)
    states: list[State] = field(default_factory=list)
    quantities: dict[str, tuple[Fraction, str]] = field(default_factory=dict)
    activities: list[Activity] = field(default_factory=list)

    def quantity(self, batch: str, unit: str) -> int | None:
        """Millionths of kg, pieces or m2 that a batch's order says."""
        known = self.quantities.get(batch)
        factor = converted(known[1], unit) if known else None
        return None if known is None or factor is None else half_even(half_even(known[0] * MICRO) * factor)


def production(events: Sequence[Mapping[str, Any]], plant: Plant) -> Production:
    valid = counted(events)
    made = Production()
    _jobs(made, valid, plant)
    _states(made, valid, plant)
    for event in valid:
        body = event["body"]
        if event["kind"] == "order":
            made.quantities.pop(body["batch"], None)
            if body.get("quantity") is not None:
                made.quantities[body["batch"]] = number(body["quantity"]), body.get("unit", "")
        elif event["kind"] == "activity":
            place = body.get("work_unit") or body.get("pool") or ""
            if body["source"] not in plant.sources or (place and place not in {*plant.units, *plant.pools}):
                continue  # an open issue
            factor = converted(
                body.get("unit") or plant.sources[body["source"]]["unit"], plant.sources[body["source"]]["unit"]
            )
            assert factor is not None
            amount = half_even(number(body["amount"]) * MICRO * factor)
            span = instant(body["from"]), instant(body["to"])
            made.activities.append(Activity(*span, body["source"], place, amount, (event["source"], event["event_id"])))
    return made


def counted(events: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """The highest revision of each event that is not withdrawn by its source, in order of time and identity."""
    best: dict[tuple[str, str], Mapping[str, Any]] = {}
    for event in events:
        name = event["source"], event["event_id"]
        if name not in best or event.get("revision", 0) > best[name].get("revision", 0):
            best[name] = event
    gone = {(e["source"], e["body"]["event_id"]) for e in best.values() if e["kind"] == "withdraw"}
    kept = [event for name, event in best.items() if event["kind"] != "withdraw" and name not in gone]
    return sorted(kept, key=lambda event: (instant(event["at"]), event["source"], event["event_id"]))


def _jobs(made: Production, events: Sequence[Mapping[str, Any]], plant: Plant) -> None:
    started: set[str] = set()
    for event in events:
        body = event["body"]
        if event["kind"] != "job_start" or body["job"] in started:
            continue
        started.add(body["job"])  # of several starts the first counts
        ends = [instant(e["at"]) for e in events if e["kind"] == "job_end" and e["body"]["job"] == body["job"]]
        start_ms, unit = instant(event["at"]), plant.units.get(body["work_unit"])
        step = body.get("step") or (unit.step if unit else "")
        end_ms = min((end for end in ends if end >= start_ms), default=FOREVER)
        if unit is None or (step and step not in plant.rules) or (ends and max(ends) < start_ms):
            continue  # an open issue
        if end_ms != FOREVER and end_ms - start_ms > plant.job_ms_max:
            continue  # an open issue
        weight = number(body.get("weight") or 1)
        made.jobs.append(Job(start_ms, end_ms, body["job"], body["batch"], unit.id, step, weight))


def _states(made: Production, events: Sequence[Mapping[str, Any]], plant: Plant) -> None:
    """A state lasts until the next; of several at one instant the last counts."""
    for unit in plant.units:
        mine = [e for e in events if e["kind"] == "state" and e["body"]["work_unit"] == unit]
        changes = {instant(event["at"]): event["body"]["state"] for event in mine}
        for start_ms, state in changes.items():
            end_ms = min((t_ms for t_ms in changes if t_ms > start_ms), default=FOREVER)
            name = "setup" if state == "warm-up" else state if state in STATES else "unknown"
            made.states.append(State(unit, name, start_ms, end_ms))
