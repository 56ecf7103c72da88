"""Production events reduced to what ran where, kept up as they arrive: looks only at what new events are about.

What is known is a function of the set of events alone, not of their order, their number of copies, or the pieces they came in.
"""

from collections import Counter, defaultdict
from collections.abc import Hashable, Iterable, Mapping
from dataclasses import replace
from functools import partial

from plantprint.activities import Activity  # noqa: TC001 - reads like the others
from plantprint.facts import Issue, ProductionEvent
from plantprint.plant.graph import PlantGraph
from plantprint.plant_history import PlantHistory
from plantprint.production import Batch, Difference, Facts, Job, Production
from plantprint.production_events import EventBook, Key, Touched, key_of
from plantprint.production_rules import (
    is_exclusive,
    put_out_ms,
    reduce_event,
    reduce_job,
    reduce_orders,
    reduce_overlap,
    reduce_shipment,
    reduce_states,
)
from plantprint.spans import FOREVER
from plantprint.state_spans import follow_states


def reduce_events(events: Iterable[ProductionEvent], plant: PlantGraph | PlantHistory) -> Production:
    """What the events say under a plant model, or each under the one in force at the instant that it is about.

    Of one (source, event_id) the highest revision counts. What cannot be used is kept out and becomes an issue.
    """
    known = EventBook()
    book = ProductionBook(plant)
    book.follow(known, known.add(events))
    return book.production


class ProductionBook:
    """What the events of an `EventBook` say under one plant model, or under each of a plant's; as of the last `follow`.

    `accounted` is `production` as of the last difference that amounts can see: shipments, outputs and issues are none.
    """

    def __init__(self, plant: PlantGraph | PlantHistory) -> None:
        self.production = self.accounted = Production()
        self.plants = plants = PlantHistory.of(plant)
        self._has_exclusive = any(is_exclusive(graph, step) for graph in plants.graphs for step in graph.steps)
        self._jobs: dict[str, Job] = {}
        self._activities: dict[Key, Activity] = {}
        self._issues: dict[Hashable, tuple[Issue, ...]] = {}
        self._steps = {step: step for graph in plants.graphs for step in graph.steps}

    def follow(self, events: EventBook, touched: Touched) -> Difference:
        """Reduces again what is touched; returns how `production` differs from what it was."""
        before, found = self.production, Difference()
        self._follow_jobs(events, touched, found)
        made = self._follow_batches(events, touched, found)
        self._follow_shipments(events, touched, made, found)
        self._follow_states(events, touched, found)
        self._follow_single(events, touched, found)
        self.production = before.changed(found.gone, found.came)
        if self._has_exclusive:
            overlaps = (
                Facts(issues=self._overlaps(before, found.gone)),
                Facts(issues=self._overlaps(self.production, found.came)),
            )
            self.production = self.production.changed(*overlaps)
            for side, more in zip((found.gone, found.came), overlaps, strict=True):
                side.issues += more.issues
        _only_differing(found, before, self.production)
        if found == Difference() and self.production.issues_at is before.issues_at:
            self.production = before
        if _moves_amounts(found):
            self.accounted = self.production
        return found

    def _say(self, entity: Hashable, issues: list[Issue], found: Difference) -> None:
        """Notes the issues of something in place of those it had."""
        found.gone.issues += self._issues.pop(entity, ())
        found.came.issues += issues
        if issues:
            self._issues[entity] = tuple(issues)

    def _follow_jobs(self, events: EventBook, touched: Touched, found: Difference) -> None:
        names: dict[str, str] = {}
        for job in touched.jobs:
            issues: list[Issue] = []
            old, new = self._jobs.get(job), reduce_job(self.plants, job, events.of_job(job), issues)
            self._say(("job", job), issues, found)
            if old == new:
                continue
            if old is not None:
                found.gone.jobs.append(self._jobs.pop(job))
            if new is not None:
                self._jobs[job] = new = self._compact(new, old, names)
                found.came.jobs.append(new)

    def _compact(self, job: Job, old: Job | None, names: dict[str, str]) -> Job:
        """The job with one object for each name, however many jobs have it."""
        batch, place = self.production.batches.get(job.batch), self.plants.place(job.work_unit)
        return Job(
            job.job if old is None else old.job,
            names.setdefault(job.batch, job.batch) if batch is None else batch.batch,
            job.work_unit if place is None else place.work_unit,
            names.setdefault(job.step, self._steps.get(job.step, job.step)),
            job.weight,
            job.start_ms,
            job.end_ms,
        )

    def _follow_batches(self, events: EventBook, touched: Touched, found: Difference) -> dict[str, Batch | None]:
        """Batches that are ordered or made; returns those that came, changed or went."""
        left, fresh = Counter(job.batch for job in found.gone.jobs), {job.batch: job.batch for job in found.came.jobs}
        made: dict[str, Batch | None] = {}
        for batch in touched.ordered | left.keys() | fresh.keys():
            issues: list[Issue] = []
            old, name = self.production.batches.get(batch), fresh.get(batch, batch)
            new = reduce_orders(name if old is None else old.batch, events.orders_of(batch), issues)
            self._say(("batch", batch), issues, found)
            if new is None and (batch in fresh or len(self.production.jobs_of(batch)) > left[batch]):
                new = Batch(name, "", None, "", None)
            if new is not None:
                new = replace(new, put_out_ms=put_out_ms(events.outputs_of(batch)))
            if old != new:
                made[batch] = new
                found.gone.batches += [old] if old is not None else []
                found.came.batches += [new] if new is not None else []
        return made

    def _follow_shipments(
        self, events: EventBook, touched: Touched, made: Mapping[str, Batch | None], found: Difference
    ) -> None:
        before = self.production
        for one in touched.shipments.union(*map(events.shipments_of, made)):
            issues: list[Issue] = []
            shipment, batch = one
            is_known = made.get(batch, before.batches.get(batch)) is not None
            new = reduce_shipment(shipment, batch, events.of_shipment(one), issues, is_known=is_known)
            self._say(("shipment", one), issues, found)
            old = next((known for known in before.shipments_of.get(batch, ()) if known.shipment == shipment), None)
            if old != new:
                found.gone.shipments += [old] if old is not None else []
                found.came.shipments += [new] if new is not None else []

    def _follow_single(self, events: EventBook, touched: Touched, found: Difference) -> None:
        for key in touched.events:
            issues: list[Issue] = []
            event, new = events.event(key), None
            if event is not None and (event.kind == "withdraw" or not events.is_withdrawn(key)):
                new = reduce_event(self.plants, event, partial(_of_source, events, event.source), issues)
            self._say(("event", key), issues, found)
            old = self._activities.pop(key, None)
            if new is not None:
                self._activities[key] = new
            if old != new:
                found.gone.activities += [old] if old is not None else []
                found.came.activities += [new] if new is not None else []

    def _follow_states(self, events: EventBook, touched: Touched, found: Difference) -> None:
        instants: defaultdict[str, list[int]] = defaultdict(list)
        for work_unit, at_ms in touched.states:
            issues: list[Issue] = []
            reduce_states(self.plants.at(at_ms), work_unit, events.states_at(work_unit, at_ms), issues)
            self._say(("states", work_unit, at_ms), issues, found)
            if (place := self.plants.place(work_unit)) is not None:
                instants[place.work_unit].append(at_ms)
        for work_unit, several in instants.items():
            old = self.production.unit(work_unit).states
            gone, came = follow_states(events, work_unit, sorted(several), old)
            found.gone.states += gone
            found.came.states += came

    def _overlaps(self, production: Production, side: Facts) -> list[Issue]:
        """The issues of jobs of one side with others on their work unit, of each pair once."""
        found: dict[tuple[str, str], Issue] = {}
        for job in side.jobs:
            behind_ms = FOREVER if job.end_ms is None else max(job.end_ms, job.start_ms + 1)
            for other in production.unit(job.work_unit).jobs.within(job.start_ms, behind_ms):
                issue = reduce_overlap(self.plants, job, other) if other.job != job.job else None
                if issue is not None:
                    found[min(job.job, other.job), max(job.job, other.job)] = issue
        return list(found.values())


def _of_source(events: EventBook, source: str, event_id: str) -> ProductionEvent | None:
    return events.event(key_of(source, event_id))


def _moves_amounts(found: Difference) -> bool:
    gone, came = found.gone, found.came
    ordered, before = ({replace(batch, put_out_ms=None) for batch in side.batches} for side in (came, gone))
    return any((side.jobs or side.states or side.activities) for side in (gone, came)) or ordered != before


def _only_differing(found: Difference, before: Production, after: Production) -> None:
    """Several things may have the same issue, and one may take it over from another."""
    several = {*found.gone.issues, *found.came.issues}
    found.gone.issues[:] = sorted(i for i in several if before.has_issue(i) and not after.has_issue(i))
    found.came.issues[:] = sorted(i for i in several if after.has_issue(i) and not before.has_issue(i))
