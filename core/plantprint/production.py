"""What ran where: jobs, states, batches, shipments and activities of a site, found by work unit, batch and time."""

from collections import Counter, defaultdict
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeVar

from plantprint.activities import Activity
from plantprint.facts import Issue
from plantprint.persistent import PersistentMap
from plantprint.spans import Spans
from plantprint.times import HOUR_MS

STATES = frozenset({"processing", "setup", "clean-down", "idle", "standby", "fault", "off", "unknown", "paused"})
IssueKey = tuple[str, str, int]


class _HasWorkUnit(Protocol):
    @property
    def work_unit(self) -> str: ...


class _HasBatch(Protocol):
    @property
    def batch(self) -> str: ...


_Placed = TypeVar("_Placed", bound=_HasWorkUnit)
_Of = TypeVar("_Of", bound=_HasBatch)


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
    """What a production order makes; `quantity_micro` in millionths of `unit`, None when no order says it.

    `put_out_ms`: when good output of it was last reported, None while none was.
    """

    batch: str
    product: str
    quantity_micro: int | None
    unit: str
    ordered_ms: int | None
    put_out_ms: int | None = None


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


@dataclass(slots=True)
class Facts:
    """Some of what production events say; one side of a difference."""

    jobs: list[Job] = field(default_factory=list)
    states: list[StateSpan] = field(default_factory=list)
    batches: list[Batch] = field(default_factory=list)
    shipments: list[Shipment] = field(default_factory=list)
    activities: list[Activity] = field(default_factory=list)
    issues: list[Issue] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Difference:
    """What one reading of the production events has and another has not, and the other way round."""

    gone: Facts = field(default_factory=Facts)
    came: Facts = field(default_factory=Facts)


class WorkUnit:
    """Jobs and states of one work unit; `cuts` is what `timelines` has cut of them, kept as long as they are."""

    __slots__ = ("cuts", "jobs", "states")

    def __init__(self, jobs: Spans[Job] = Spans(), states: Spans[StateSpan] = Spans()) -> None:  # noqa: B008 - never changed
        self.jobs = jobs
        self.states = states
        self.cuts: dict[Hashable, Any] = {}


_NO_UNIT = WorkUnit()


class Production:
    """What the production events of a site say; never changed: `changed` makes another, which shares what stayed.

    Maps: `batches` by name, and by batch its `jobs_of` and `shipments_of`; `issues_at` counts what is wrong
    in the events, by code, place and instant.
    """

    __slots__ = ("_jobs_of", "_units", "activities_by_time", "batches", "issues_at", "shipments_of")

    def __init__(
        self,
        jobs: Iterable[Job] = (),
        states: Iterable[StateSpan] = (),
        batches: Mapping[str, Batch] | None = None,
        shipments: Iterable[Shipment] = (),
        issues: Iterable[Issue] = (),
        activities: Iterable[Activity] = (),
    ) -> None:
        self._units: PersistentMap[str, WorkUnit] = PersistentMap()
        self._jobs_of: PersistentMap[str, tuple[Job, ...]] = PersistentMap()
        self.batches: PersistentMap[str, Batch] = PersistentMap()
        self.shipments_of: PersistentMap[str, tuple[Shipment, ...]] = PersistentMap()
        self.issues_at: PersistentMap[IssueKey, Mapping[Issue, int]] = PersistentMap()
        self.activities_by_time: Spans[Activity] = Spans()
        known = (batches or {}).values()
        self._take(Facts(), Facts(*map(list, (jobs, states, known, shipments, activities, issues))))  # type: ignore[arg-type]

    @property
    def jobs(self) -> tuple[Job, ...]:
        """All jobs by start; looks at every one of them."""
        return tuple(sorted((job for several in self._jobs_of.values() for job in several), key=_by_start))

    @property
    def states(self) -> tuple[StateSpan, ...]:
        """All states by work unit and time."""
        return tuple(state for unit in self._units.values() for state in unit.states)

    @property
    def shipments(self) -> tuple[Shipment, ...]:
        """All shipments by time."""
        return tuple(sorted((one for several in self.shipments_of.values() for one in several), key=_by_departure))

    @property
    def activities(self) -> tuple[Activity, ...]:
        """All activities by time."""
        return tuple(self.activities_by_time)

    @property
    def issues(self) -> tuple[Issue, ...]:
        """All that is wrong in the events, in order."""
        return tuple(sorted(issue for several in self.issues_at.values() for issue in several))

    def has_issue(self, issue: Issue) -> bool:
        return issue in self.issues_at.get(issue_key(issue), ())

    @property
    def units(self) -> Iterable[WorkUnit]:
        """Every work unit that something is known of."""
        return self._units.values()

    def unit(self, work_unit: str) -> WorkUnit:
        return self._units.get(work_unit, _NO_UNIT)

    def jobs_of(self, batch: str) -> tuple[Job, ...]:
        """A batch's jobs by start."""
        return self._jobs_of.get(batch, ())

    def activities_in(self, hour_ms: int) -> list[Activity]:
        """Those that enter the boundary in an hour."""
        ending = self.activities_by_time.within(hour_ms, hour_ms + HOUR_MS)
        return [activity for activity in ending if activity.hour_ms == hour_ms]

    def batches_differing(self, other: "Production") -> set[str]:
        """The batches that may have other orders, jobs or shipments than in `other`."""
        found = self.batches.differing(other.batches) | self._jobs_of.differing(other._jobs_of)  # noqa: SLF001 - another of this class
        return found | self.shipments_of.differing(other.shipments_of)

    def changed(self, gone: Facts, came: Facts) -> "Production":
        """Without `gone`, which are here, and with `came`; of a batch's order the one in `came` counts."""
        other = Production.__new__(Production)
        for name in Production.__slots__:
            setattr(other, name, getattr(self, name))
        other._take(gone, came)  # noqa: SLF001 - another of this class
        return other

    def _take(self, gone: Facts, came: Facts) -> None:
        self._units = self._units.changed(self._other_units(gone, came))
        self._jobs_of = _other_groups(self._jobs_of, _by_batch(gone.jobs), _by_batch(came.jobs), _by_start)
        shipments = _by_batch(gone.shipments), _by_batch(came.shipments)
        self.shipments_of = _other_groups(self.shipments_of, *shipments, _by_departure)
        self.batches = self.batches.changed({b.batch: b for b in came.batches}, [b.batch for b in gone.batches])
        if gone.activities or came.activities:
            self.activities_by_time = self.activities_by_time.changed(gone.activities, came.activities)
        seen = Counter(came.issues)
        seen.subtract(gone.issues)
        counts: dict[IssueKey, dict[Issue, int]] = {}
        for issue, more in seen.items():
            if more:
                key = issue_key(issue)
                known = counts.setdefault(key, dict(self.issues_at.get(key, {})))
                known[issue] = known.get(issue, 0) + more
                if not known[issue]:
                    del known[issue]
        still = {key: known for key, known in counts.items() if known}
        self.issues_at = self.issues_at.changed(still, counts.keys() - still.keys())

    def _other_units(self, gone: Facts, came: Facts) -> dict[str, WorkUnit]:
        jobs_gone, jobs_came = _by_unit(gone.jobs), _by_unit(came.jobs)
        states_gone, states_came = _by_unit(gone.states), _by_unit(came.states)
        units: dict[str, WorkUnit] = {}
        for name in {*jobs_gone, *jobs_came, *states_gone, *states_came}:
            jobs, states = self.unit(name).jobs, self.unit(name).states
            if name in jobs_gone or name in jobs_came:
                jobs = jobs.changed(jobs_gone[name], jobs_came[name])
            if name in states_gone or name in states_came:
                states = states.changed(states_gone[name], states_came[name])
            units[name] = WorkUnit(jobs, states)
        return units

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Production):
            return NotImplemented
        names = ("jobs", "states", "batches", "shipments", "issues", "activities")
        return all(getattr(self, name) == getattr(other, name) for name in names)

    __hash__ = None  # type: ignore[assignment]


def issue_key(issue: Issue) -> IssueKey:
    return issue.code, issue.place, issue.at_ms


def _by_start(job: Job) -> tuple[int, Job]:
    return job.start_ms, job


def _by_departure(shipment: Shipment) -> tuple[int, str, str]:
    return shipment.at_ms, shipment.shipment, shipment.batch


def _by_unit(spans: Iterable[_Placed]) -> defaultdict[str, list[_Placed]]:
    found: defaultdict[str, list[_Placed]] = defaultdict(list)
    for span in spans:
        found[span.work_unit].append(span)
    return found


def _by_batch(several: Iterable[_Of]) -> defaultdict[str, list[_Of]]:
    found: defaultdict[str, list[_Of]] = defaultdict(list)
    for one in several:
        found[one.batch].append(one)
    return found


def _other_groups(
    known: PersistentMap[str, tuple[_Of, ...]],
    gone: Mapping[str, Sequence[_Of]],
    came: Mapping[str, Sequence[_Of]],
    order: Callable[[_Of], Any],
) -> PersistentMap[str, tuple[_Of, ...]]:
    """Groups by batch, in order, without those gone and with those that came."""
    groups: dict[str, tuple[_Of, ...]] = {}
    for batch in {*gone, *came}:
        left = gone.get(batch, ())
        stay = [one for one in known.get(batch, ()) if one not in left]
        groups[batch] = tuple(sorted([*stay, *came.get(batch, ())], key=order))
    filled = {batch: group for batch, group in groups.items() if group}
    return known.changed(filled, groups.keys() - filled.keys())
