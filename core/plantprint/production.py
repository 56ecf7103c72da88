"""Production events reduced to what ran where: jobs, states, batches and shipments, whatever order they arrived in."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from plantprint.activities import Activity, reduce_activities
from plantprint.event_fields import latest_events, plain_text, positive_micro
from plantprint.facts import Issue, ProductionEvent
from plantprint.plant.graph import PlantGraph
from plantprint.quantities import MICRO
from plantprint.times import format_instant

STATES = frozenset({"processing", "setup", "clean-down", "idle", "standby", "fault", "off", "unknown", "paused"})
_SAME_STATE = {"warm-up": "setup"}


@dataclass(frozen=True, slots=True, order=True)
class Job:
    """One execution of a step on a work unit for a batch; `weight` in millionths, `end_ms` None while it runs."""

    job: str
    batch: str
    work_unit: str
    step: str
    weight: int
    start_ms: int
    end_ms: int | None


@dataclass(frozen=True, slots=True, order=True)
class StateSpan:
    """A work unit's state (one of `STATES`) until another is reported; `end_ms` None while it lasts.

    `inferred` where nobody reported it: from power, or from a job without any state.
    """

    work_unit: str
    state: str
    start_ms: int
    end_ms: int | None
    inferred: bool = False


@dataclass(frozen=True, slots=True, order=True)
class Batch:
    """What a production order makes; `quantity_micro` in millionths of `unit`, None when no order says it."""

    batch: str
    product: str
    quantity_micro: int | None
    unit: str
    ordered_ms: int | None


@dataclass(frozen=True, slots=True, order=True)
class Shipment:
    """A batch, or `quantity_micro` of it, leaving the site."""

    shipment: str
    batch: str
    at_ms: int
    quantity_micro: int | None
    customer: str
    source: str
    event_id: str


@dataclass(frozen=True, slots=True)
class Production:
    """Jobs by start, states by work unit and time, shipments and activities by time.

    `issues` are what the events got wrong.
    """

    jobs: tuple[Job, ...]
    states: tuple[StateSpan, ...]
    batches: Mapping[str, Batch]
    shipments: tuple[Shipment, ...]
    issues: tuple[Issue, ...]
    activities: tuple[Activity, ...] = ()


def reduce_events(events: Iterable[ProductionEvent], graph: PlantGraph) -> Production:
    """What the events say: a function of the set of events alone, not of their order or number of copies.

    Of one (source, event_id) the highest revision counts. What cannot be used is kept out and becomes an issue.
    """
    work = _Reduction(graph)
    by_kind: dict[str, list[ProductionEvent]] = defaultdict(list)
    for event in work.withdrawn(latest_events(events)):
        by_kind[event.kind].append(event)
    work.order(by_kind["order"])
    work.run(by_kind["job_start"], by_kind["job_end"])
    work.ship(by_kind["shipment"])
    jobs = tuple(sorted(work.jobs, key=lambda job: (job.start_ms, job.job)))
    work.issues.extend(_exclusive_overlaps(jobs, graph))
    states = work.states(by_kind["state"])
    activities, wrong = reduce_activities(by_kind["activity"], graph)
    work.issues.extend(wrong)
    return Production(
        jobs,
        states,
        dict(sorted(work.batches.items())),
        tuple(sorted(work.shipments, key=lambda s: (s.at_ms, s.shipment, s.batch))),
        tuple(sorted(set(work.issues))),
        activities,
    )


@dataclass(frozen=True)
class _Reduction:
    """What has been reduced so far; methods take events of one kind in order of time and identity."""

    graph: PlantGraph
    jobs: list[Job] = field(default_factory=list)
    batches: dict[str, Batch] = field(default_factory=dict)
    shipments: list[Shipment] = field(default_factory=list)
    issues: list[Issue] = field(default_factory=list)

    def withdrawn(self, events: Sequence[ProductionEvent]) -> list[ProductionEvent]:
        """The events that no withdrawal of the same source names; a withdrawal itself cannot be withdrawn."""
        kinds = {(event.source, event.event_id): event.kind for event in events}
        gone: set[tuple[str, str]] = set()
        for event in events:
            if event.kind != "withdraw" or not (target := self._text(event, "event_id")):
                continue
            kind = kinds.get((event.source, target))
            if kind is None:
                message = f"withdraws event {target!r}, which {event.source} has not sent"
                self._issue("withdraw-unknown", event, message, "send the event_id as it was, from the same source")
            elif kind == "withdraw" and target != event.event_id:
                message = f"withdraws {target!r}, itself a withdrawal; that does not count"
                self._issue("withdraw-withdrawal", event, message, "send the event again under a new event_id")
            gone.add((event.source, target))
        return [event for event in events if event.kind != "withdraw" and (event.source, event.event_id) not in gone]

    def order(self, orders: Sequence[ProductionEvent]) -> None:
        """The latest order of a batch says what it is; the first when it was ordered."""
        for event in orders:
            batch = self._text(event, "batch")
            if not batch:
                continue
            known = self.batches.get(batch)
            ordered_ms = event.at_ms if known is None else known.ordered_ms
            product, unit = plain_text(event, "product"), plain_text(event, "unit")
            self.batches[batch] = Batch(batch, product, self._quantity(event), unit, ordered_ms)

    def run(self, starts: Sequence[ProductionEvent], ends: Sequence[ProductionEvent]) -> None:
        ended: dict[str, list[ProductionEvent]] = defaultdict(list)
        for event in ends:
            if job := self._text(event, "job"):
                ended[job].append(event)
        started: dict[str, ProductionEvent] = {}
        for event in starts:
            job = self._text(event, "job")
            if job in started:
                message = f"job {job!r} started before, at {format_instant(started[job].at_ms)}; the first start counts"
                self._issue("job-started-twice", event, message, "give every job an id of its own", job)
            elif job:
                started[job] = event
        for job, event in started.items():
            self._start(job, event, ended[job])
        for job, events in ended.items():
            if job not in started:
                message = f"job {job!r} ended but never started"
                self._issue("job-end-without-start", events[0], message, "send its job_start, or withdraw the end", job)

    def _start(self, job: str, event: ProductionEvent, ends: Sequence[ProductionEvent]) -> None:
        batch, work_unit = self._text(event, "batch"), self._text(event, "work_unit")
        if not batch or not work_unit:
            return
        place = self.graph.work_units.get(work_unit)
        step = plain_text(event, "step") or (place.step if place else "")
        if place is None:
            message = f"job {job!r} runs on {work_unit!r}, which is no work unit of the plant"
            self._issue("job-unknown-work-unit", event, message, "correct the event, or add it to plant.yaml", job)
        elif step and step not in self.graph.steps:
            message = f"job {job!r} is a {step!r}, which is no step of the plant"
            self._issue("job-unknown-step", event, message, "correct the event, or add it to plant.yaml", job)
        elif ends and ends[-1].at_ms < event.at_ms:
            times = f"{format_instant(ends[-1].at_ms)}, before its start at {format_instant(event.at_ms)}"
            message = f"job {job!r} ended at {times}; it is kept out"
            self._issue("job-end-before-start", event, message, "send the wrong one again with a higher revision", job)
        else:
            end_ms = next((end.at_ms for end in ends if end.at_ms >= event.at_ms), None)
            if len(ends) > 1:
                message = f"job {job!r} ended {len(ends)} times; the first end after its start counts"
                self._issue("job-ended-twice", ends[-1], message, "withdraw the wrong ones", job)
            self.jobs.append(Job(job, batch, work_unit, step, self._weight(event, job), event.at_ms, end_ms))
            self.batches.setdefault(batch, Batch(batch, "", None, "", None))

    def ship(self, shipments: Sequence[ProductionEvent]) -> None:
        known: set[tuple[str, str]] = set()
        for event in shipments:
            shipment, batch = self._text(event, "shipment"), self._text(event, "batch")
            if not shipment or not batch:
                continue
            if batch not in self.batches:
                message = f"shipment {shipment!r} is of batch {batch!r}, which was neither ordered nor made"
                self._issue("shipment-unknown-batch", event, message, "correct the batch, or send its order", shipment)
            elif (shipment, batch) in known:
                message = f"batch {batch!r} is in shipment {shipment!r} before; the first counts"
                self._issue("shipment-twice", event, message, "give every shipment an id of its own", shipment)
            else:
                customer = plain_text(event, "customer")
                self.shipments.append(
                    Shipment(
                        shipment, batch, event.at_ms, self._quantity(event), customer, event.source, event.event_id
                    )
                )
                known.add((shipment, batch))

    def states(self, events: Sequence[ProductionEvent]) -> tuple[StateSpan, ...]:
        """Spans by work unit and time; a repeated state goes on, of several at one instant the last counts."""
        changes: dict[str, dict[int, str]] = defaultdict(dict)
        for event in events:
            work_unit, state = self._text(event, "work_unit"), self._text(event, "state")
            if not work_unit or not state:
                continue
            state = _SAME_STATE.get(state, state)
            if work_unit not in self.graph.work_units:
                message = f"state of {work_unit!r}, which is no work unit of the plant"
                self._issue("state-unknown-work-unit", event, message, "correct the event, or add it to plant.yaml")
                continue
            if state not in STATES:
                message = f"{state!r} is no state that is known here; it counts as unknown"
                self._issue("state-unknown", event, message, f"use one of {', '.join(sorted(STATES))}", work_unit)
                state = "unknown"
            changes[work_unit][event.at_ms] = state
        return tuple(span for work_unit in sorted(changes) for span in _spans(work_unit, changes[work_unit]))

    def _text(self, event: ProductionEvent, name: str) -> str:
        """A field that must be there; empty, with an issue, when it is not."""
        text = plain_text(event, name)
        if not text:
            message = f"a {event.kind} event without {name}; it is kept out"
            self._issue("event-incomplete", event, message, f"send it again with {name} and a higher revision")
        return text

    def _quantity(self, event: ProductionEvent) -> int | None:
        given = event.body.get("quantity")
        quantity = positive_micro(given)
        if quantity is None and given is not None:
            message = f"quantity {given!r} is no amount above zero; it counts as not given"
            self._issue("quantity-invalid", event, message, "send it again with a quantity such as 1250.5")
        return quantity

    def _weight(self, event: ProductionEvent, job: str) -> int:
        given = event.body.get("weight")
        weight = MICRO if given is None else positive_micro(given)
        if weight is None:
            message = f"weight {given!r} of job {job!r} is no number above zero; it counts as 1"
            self._issue("weight-invalid", event, message, "send it again with a weight such as 850", job)
        return weight or MICRO

    def _issue(self, code: str, event: ProductionEvent, message: str, remedy: str, place: str = "") -> None:
        at = place or f"{event.source}/{event.event_id}"
        self.issues.append(Issue(code, at, message, remedy, event.at_ms))


def _spans(work_unit: str, changes: Mapping[int, str]) -> list[StateSpan]:
    spans: list[StateSpan] = []
    end_ms: int | None = None
    for at_ms in sorted(changes, reverse=True):
        if spans and spans[-1].state == changes[at_ms]:
            spans[-1] = StateSpan(work_unit, changes[at_ms], at_ms, spans[-1].end_ms)
        else:
            spans.append(StateSpan(work_unit, changes[at_ms], at_ms, end_ms))
        end_ms = at_ms
    return spans[::-1]


def _exclusive_overlaps(jobs: Sequence[Job], graph: PlantGraph) -> list[Issue]:
    """An issue for each job that starts while another runs on its work unit, where a step of the two is exclusive."""
    issues: list[Issue] = []
    running: dict[str, list[Job]] = defaultdict(list)
    for job in jobs:
        others = [other for other in running[job.work_unit] if other.end_ms is None or other.end_ms > job.start_ms]
        for other in others:
            if job.end_ms == job.start_ms or not _is_exclusive(graph, job.step, other.step):
                continue
            message = f"jobs {other.job!r} and {job.job!r} overlap on {job.work_unit!r} in an exclusive step"
            remedy = "correct their times; until then what they share is on account `conflict`"
            issues.append(Issue("exclusive-overlap", job.work_unit, message, remedy, job.start_ms))
        running[job.work_unit] = [*others, job]
    return issues


def _is_exclusive(graph: PlantGraph, *steps: str) -> bool:
    return any(step in graph.steps and graph.steps[step].rule == "exclusive" for step in steps)
