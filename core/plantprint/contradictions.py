"""Which batches facts that contradict each other touch: those whose figure would be another one if the facts agreed."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

from plantprint.allocation import segments
from plantprint.drivers import DRIVER_MISSING, Inferred
from plantprint.facts import Issue
from plantprint.intervals.findings import KINDS
from plantprint.plant.graph import Edge, PlantGraph
from plantprint.production import Production
from plantprint.spreading import Arrival
from plantprint.timelines import jobs_of
from plantprint.times import format_instant

Reasons = Mapping[str, tuple[Issue, ...]]
"""By batch why it is incomplete."""

_NONE: Reasons = {}


class Doubt(NamedTuple):
    """A contradiction of an hour, and the nodes that hold or get anything that depends on it; `first` told before it was kept."""

    issue: Issue
    nodes: set[str]
    first: Issue | None = None


def doubts_of(graph: PlantGraph, issues: Iterable[Issue], hour_ms: int) -> list[Doubt]:
    """The contradictions among an hour's issues, at its start."""
    return [Doubt(replace(issue, at_ms=hour_ms), _touched(graph, issue)) for issue in issues if issue.contradicts]


def touched_batches(
    graph: PlantGraph, production: Production, hour_ms: int, inferred: Inferred, doubts: Iterable[Doubt]
) -> Reasons:
    """The contradictions of an hour by the batches that use what comes from their places in that hour.

    At a pool, store or meter these are the batches of every work unit downstream; at a work unit where jobs exclude each
    other those jobs'. Amounts do not matter: nothing may be just what is wrong.
    """
    found: dict[str, set[Issue]] = {}
    users: dict[str, frozenset[str]] = {}
    for issue, nodes, _ in doubts:
        for unit in nodes & graph.work_units.keys():
            if unit not in users:
                users[unit] = frozenset(_users(graph, production, unit, hour_ms, inferred))
            for batch in users[unit]:
                found.setdefault(batch, set()).add(issue)
    return {batch: tuple(sorted(several)) for batch, several in sorted(found.items())} if found else _NONE


def doubted(doubts: Sequence[Doubt], arrivals: Iterable[Arrival]) -> list[Arrival]:
    """What began to wait in an hour, with the contradictions that its place depends on."""
    return [
        one._replace(against=tuple(doubt.issue for doubt in doubts if one.layers and one.account.id in doubt.nodes))
        for one in arrivals
    ]


def spread_reasons(against: Mapping[str, Iterable[Issue]], hour_ms: int) -> Reasons:
    """Of the hour in which a window ended: by batch what contradicts itself behind the idle amounts that it was given."""
    return {batch: tuple(sorted({_shared_idle(one, hour_ms) for one in issues})) for batch, issues in against.items()}


def _shared_idle(issue: Issue, hour_ms: int) -> Issue:
    if issue.code == DRIVER_MISSING and issue.at_ms == hour_ms:
        return issue  # How it is shared is what is not known.
    message = f"{issue.message} (it shares what was idle at {format_instant(issue.at_ms)})"
    return replace(issue, message=message, at_ms=hour_ms)


def _touched(graph: PlantGraph, issue: Issue) -> set[str]:
    """Nodes that hold or get anything that depends on the place of an issue."""
    place = issue.place
    if issue.code == DRIVER_MISSING:
        edges = [edge for edge in graph.outflows.get(issue.behind, ()) if edge.is_rest]
        edges = edges if len(edges) > 1 else []  # What goes to one taker is not divided.
    elif issue.code in KINDS:  # A meter may bear the name of a pool.
        edges = [edge for edge in graph.edges if any(meter == place for _, meter in edge.terms)]
    elif place in graph.outflows:
        return downstream(graph, {place})
    else:
        edges = [edge for edge in graph.edges if f"{edge.giver} to {edge.taker}" == place]
    shared = [edge for one in edges for edge in _shared_with(graph, one)]
    takers = {edge.taker for edge in shared if edge.taker in graph.outflows}
    # What nobody meters waits at the pool that it leaves.
    return downstream(graph, takers) | {edge.giver for edge in shared if edge.taker == "unmetered"}


def downstream(graph: PlantGraph, nodes: set[str]) -> set[str]:
    """The nodes, and all to which anything can come from them."""
    seen, waiting = set(nodes), list(nodes)
    while waiting:
        ahead = {edge.taker for edge in graph.outflows.get(waiting.pop(), ())} - seen
        seen |= ahead
        waiting += ahead
    return seen


def _shared_with(graph: PlantGraph, edge: Edge) -> list[Edge]:
    """The flow, and those out of the same pool or store whose amount or share moves with it (as with missing time)."""
    if edge.giver_kind not in ("pool", "store"):
        return [edge]
    outs = graph.outflows[edge.giver]
    has_rest = any(other.is_rest for other in outs)
    return [other for other in outs if other.is_rest or other is edge or not has_rest]


def _users(graph: PlantGraph, production: Production, unit: str, hour_ms: int, inferred: Inferred) -> Iterator[str]:
    """The batches that a work unit's hour is charged to, and those of jobs that exclude each other in it."""
    rule = graph.idle.get(unit)
    calendar, states = rule.calendar if rule else None, inferred.get(unit, ())
    for part in segments(production, graph.steps, graph.work_units[unit], hour_ms, 1, calendar, states)[0]:
        for account, _ in part.shares:
            if account.kind == "batch":
                yield account.id
            elif account.kind == "conflict":
                running = jobs_of(production, unit).within(hour_ms + part.from_ms, hour_ms + part.to_ms)
                yield from (job.batch for job in running)


def refused_jobs(issues: Iterable[Issue]) -> Reasons:
    """By batch the issues of production events that kept a job of it out."""
    found: dict[str, set[Issue]] = {}
    for issue in issues:
        if issue.batch:
            found.setdefault(issue.batch, set()).add(issue)
    return {batch: tuple(sorted(several)) for batch, several in sorted(found.items())}


def joined(several: Iterable[Reasons]) -> Reasons:
    """Reasons of many hours: of one code and place the first, which says in how many hours more."""
    found: dict[str, dict[tuple[str, str], list[Issue]]] = {}
    for reasons in several:
        for batch, issues in reasons.items():
            for issue in issues:
                found.setdefault(batch, {}).setdefault((issue.code, issue.place), []).append(issue)
    return {batch: tuple(map(_first, places.values())) for batch, places in sorted(found.items())}


def _first(issues: Sequence[Issue]) -> Issue:
    first = min(issues, key=lambda issue: issue.at_ms)
    more = len({issue.at_ms for issue in issues}) - 1
    return replace(first, message=f"{first.message} (and in {more} more hours)") if more else first
