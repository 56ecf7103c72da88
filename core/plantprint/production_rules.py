"""What the production events about one job, batch, shipment, instant of a work unit or event say, and what is wrong in them.

Events come without those that are withdrawn, in order of time and identity. What cannot be used is kept out and becomes an
issue.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace

from plantprint.activities import Activity, activity_hour_ms, reduce_activity
from plantprint.event_fields import plain_text, positive_micro
from plantprint.facts import Issue, ProductionEvent
from plantprint.plant.graph import PlantGraph
from plantprint.plant_history import PlantHistory
from plantprint.production import STATES, Batch, Job, Shipment
from plantprint.production_events import NEEDED
from plantprint.quantities import MICRO
from plantprint.times import HOUR_MS, format_instant

Found = list[Issue]
DAY_MS = 24 * HOUR_MS
TIME_UNBELIEVABLE = "job-time-unbelievable"
_SAME_STATE = {"warm-up": "setup"}


def reduce_job(plants: PlantHistory, job: str, events: Sequence[ProductionEvent], issues: Found) -> Job | None:
    """The first start counts, and the first end after it.

    The plant in force at its start must know its work unit and step, and once it has ended those that took over until
    then; it is kept out where none of them does.
    """
    starts, ends = ([event for event in events if event.kind == kind] for kind in ("job_start", "job_end"))
    if not starts:
        if ends:
            message = f"job {job!r} ended but never started"
            remedy = "send its job_start, or withdraw the end"
            issues.append(_issue("job-end-without-start", ends[0], message, remedy, job))
        return None
    event, *others = starts
    for other in others:
        message = f"job {job!r} started before, at {format_instant(event.at_ms)}; the first start counts"
        issues.append(_issue("job-started-twice", other, message, "give every job an id of its own", job))
    batch, work_unit = _text(event, "batch", issues), _text(event, "work_unit", issues)
    if not batch or not work_unit:
        return None
    if ends and ends[-1].at_ms < event.at_ms:
        times = f"{format_instant(ends[-1].at_ms)}, before its start at {format_instant(event.at_ms)}"
        message = f"job {job!r} ended at {times}; it is kept out"
        remedy = "send the wrong one again with a higher revision"
        issues.append(_refused("job-end-before-start", event, message, remedy))
        return None
    end_ms = next((end.at_ms for end in ends if end.at_ms >= event.at_ms), None)
    step = _step(plants, event, end_ms, issues)
    if step is None:
        return None
    if len(ends) > 1:
        message = f"job {job!r} ended {len(ends)} times; the first end after its start counts"
        issues.append(_issue("job-ended-twice", ends[-1], message, "withdraw the wrong ones", job))
    return Job(job, batch, work_unit, step, _weight(event, job, issues), event.at_ms, end_ms)


def _step(plants: PlantHistory, event: ProductionEvent, end_ms: int | None, issues: Found) -> str | None:
    """The job's step in the first plant that knows it, empty where nobody says it; None where no plant does."""
    found, is_told = None, False
    for at_ms, graph in plants.during(event.at_ms, end_ms):
        step, wrong = _step_under(graph, event, end_ms)
        # A job that nobody ended yet may end before a plant of later on takes over.
        if wrong is not None and not is_told and (at_ms == event.at_ms or end_ms is not None):
            issues.append(replace(wrong, at_ms=at_ms))
        found, is_told = step if found is None else found, wrong is not None
    return found


def _step_under(graph: PlantGraph, event: ProductionEvent, end_ms: int | None) -> tuple[str | None, Issue | None]:
    job, work_unit = plain_text(event, "job"), plain_text(event, "work_unit")
    place = graph.work_units.get(work_unit)
    step, remedy = (
        plain_text(event, "step") or (place.step if place else ""),
        "correct the event, or add it to plant.yaml",
    )
    if place is None:
        message = f"job {job!r} runs on {work_unit!r}, which is no work unit of the plant"
        return None, _refused("job-unknown-work-unit", event, message, remedy)
    if step and step not in graph.steps:
        message = f"job {job!r} is a {step!r}, which is no step of the plant"
        return None, _refused("job-unknown-step", event, message, remedy)
    days = graph.plant.job_days_max
    if end_ms is not None and end_ms - event.at_ms > days * DAY_MS:
        lasted = f"from {format_instant(event.at_ms)} to {format_instant(end_ms)}"
        message = f"job {job!r} lasted {lasted}, more than {days} days, which is not believed; it is kept out"
        remedy = "send the wrong time again with a higher revision, or raise job_days_max in plant.yaml"
        return None, _refused(TIME_UNBELIEVABLE, event, message, remedy)
    return step, None


def reduce_orders(batch: str, orders: Sequence[ProductionEvent], issues: Found) -> Batch | None:
    """The latest order of a batch says what it is; the first when it was ordered. Others that say something else are told."""
    found = None
    for event in orders:
        quantity = _quantity(event, issues)
        before = found
        found = Batch(batch, plain_text(event, "product"), quantity, plain_text(event, "unit"), orders[0].at_ms)
        if before not in (None, found):
            message = (
                f"batch {batch!r} was ordered before as another product, quantity or unit; the latest order counts"
            )
            remedy = "send a change as a higher revision of the same event, or withdraw the order that does not hold"
            issues.append(_issue("order-told-twice", event, message, remedy, batch))
    return found


def put_out_ms(outputs: Sequence[ProductionEvent]) -> int | None:
    """When good output was last reported; rework goes back, and a co-product is not the batch."""
    return max((event.at_ms for event in outputs if plain_text(event, "kind") in ("", "good")), default=None)


def reduce_shipment(
    shipment: str, batch: str, events: Sequence[ProductionEvent], issues: Found, *, is_known: bool
) -> Shipment | None:
    """The first event of a batch in a shipment counts; `is_known`: the batch was ordered or made."""
    found = None
    for event in events:
        if not is_known:
            message = f"shipment {shipment!r} is of batch {batch!r}, which was neither ordered nor made"
            remedy = "correct the batch, or send its order"
            issues.append(_issue("shipment-unknown-batch", event, message, remedy, shipment))
        elif found is not None:
            message = f"batch {batch!r} is in shipment {shipment!r} before; the first counts"
            issues.append(_issue("shipment-twice", event, message, "give every shipment an id of its own", shipment))
        else:
            customer, quantity = plain_text(event, "customer"), _quantity(event, issues)
            found = Shipment(shipment, batch, event.at_ms, quantity, customer, event.source, event.event_id)
    return found


def reduce_states(graph: PlantGraph, work_unit: str, events: Sequence[ProductionEvent], issues: Found) -> None:
    """What is wrong in the states that are told of a work unit at one instant."""
    for event in events:
        state = plain_text(event, "state")
        if work_unit not in graph.work_units:
            message = f"state of {work_unit!r}, which is no work unit of the plant"
            remedy = "correct the event, or add it to plant.yaml"
            issues.append(_issue("state-unknown-work-unit", event, message, remedy))
        elif _SAME_STATE.get(state, state) not in STATES:
            message = f"{state!r} is no state that is known here; it counts as unknown"
            remedy = f"use one of {', '.join(sorted(STATES))}"
            issues.append(_issue("state-unknown", event, message, remedy, work_unit))
    told = [plain_text(event, "state") for event in events]
    if work_unit in graph.work_units and len({_SAME_STATE.get(state, state) for state in told}) > 1:
        message = f"{work_unit!r} is told to be {', '.join(map(repr, told))} at one instant; the last of them counts"
        remedy = "send the right one again with a higher revision and withdraw the others"
        issues.append(_issue("state-told-twice", events[-1], message, remedy, work_unit))


def state_of(events: Sequence[ProductionEvent]) -> str | None:
    """Of several states at one instant the last counts; None without any."""
    if not events:
        return None
    state = plain_text(events[-1], "state")
    state = _SAME_STATE.get(state, state)
    return state if state in STATES else "unknown"


def reduce_event(
    plants: PlantHistory,
    event: ProductionEvent,
    withdrawn: Callable[[str], ProductionEvent | None],
    issues: Found,
) -> Activity | None:
    """What an event says by itself: an activity, or that fields are lacking; of a withdrawal what is wrong with it.

    `withdrawn` finds the event of the same source that a withdrawal names.
    """
    if event.kind == "activity":
        hour_ms = activity_hour_ms(event)
        found = reduce_activity(event, plants.at(event.at_ms if hour_ms is None else hour_ms))
        if isinstance(found, Activity):
            return found
        issues.append(found)
    lacking = [name for name in NEEDED.get(event.kind, ()) if not _text(event, name, issues)]
    if event.kind == "withdraw" and not lacking:
        target = plain_text(event, "event_id")
        known = withdrawn(target)
        if known is None:
            message = f"withdraws event {target!r}, which {event.source} has not sent"
            remedy = "send the event_id as it was, from the same source"
            issues.append(_issue("withdraw-unknown", event, message, remedy))
        elif known.kind == "withdraw" and target != event.event_id:
            message = f"withdraws {target!r}, itself a withdrawal; that does not count"
            remedy = "send the event again under a new event_id"
            issues.append(_issue("withdraw-withdrawal", event, message, remedy))
    return None


def reduce_overlap(plants: PlantHistory, one: Job, other: Job) -> Issue | None:
    """An issue where the later of two jobs of a work unit starts while the other runs, and a step of the two is exclusive."""
    first, second = (one, other) if (one.start_ms, one.job) < (other.start_ms, other.job) else (other, one)
    overlaps = first.end_ms is None or first.end_ms > second.start_ms
    overlaps = overlaps and second.end_ms != second.start_ms
    if not overlaps or not is_exclusive(plants.at(second.start_ms), first.step, second.step):
        return None
    message = f"jobs {first.job!r} and {second.job!r} overlap on {second.work_unit!r} in an exclusive step"
    remedy = "correct their times; until then what they share is on account `conflict`"
    return Issue("exclusive-overlap", second.work_unit, message, remedy, second.start_ms)


def is_exclusive(graph: PlantGraph, *steps: str) -> bool:
    return any(step in graph.steps and graph.steps[step].rule == "exclusive" for step in steps)


def _text(event: ProductionEvent, name: str, issues: Found) -> str:
    """A field that must be there; empty, with an issue, when it is not."""
    text = plain_text(event, name)
    if not text:
        message = f"a {event.kind} event without {name}; it is kept out"
        remedy = f"send it again with {name} and a higher revision"
        issues.append(_issue("event-incomplete", event, message, remedy))
    return text


def _quantity(event: ProductionEvent, issues: Found) -> int | None:
    given = event.body.get("quantity")
    quantity = positive_micro(given)
    if quantity is None and given is not None:
        message = f"quantity {given!r} is no amount above zero; it counts as not given"
        issues.append(_issue("quantity-invalid", event, message, "send it again with a quantity such as 1250.5"))
    return quantity


def _weight(event: ProductionEvent, job: str, issues: Found) -> int:
    given = event.body.get("weight")
    weight = MICRO if given is None else positive_micro(given)
    if weight is None:
        message = f"weight {given!r} of job {job!r} is no number above zero; it counts as 1"
        issues.append(_issue("weight-invalid", event, message, "send it again with a weight such as 850", job))
    return weight or MICRO


def _refused(code: str, event: ProductionEvent, message: str, remedy: str) -> Issue:
    """Of a job that is kept out: its batch is known to lack it."""
    return replace(_issue(code, event, message, remedy, plain_text(event, "job")), batch=plain_text(event, "batch"))


def _issue(code: str, event: ProductionEvent, message: str, remedy: str, place: str = "") -> Issue:
    return Issue(code, place or f"{event.source}/{event.event_id}", message, remedy, event.at_ms)
