"""The plant model compiled for accounting: nodes by id, flows as edges, pools grouped and ordered upstream first."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from plantprint.plant.check import PlantError, check_plant, parse_amount
from plantprint.plant.model import RESERVED_NODES, Flow, Meter, Plant, Pool, Source, Step

NodeKind = Literal["source", "pool", "work_unit", "export", "unmetered", "losses"]
Window = Literal["bucket", "hour"]


@dataclass(frozen=True, slots=True)
class Place:
    """Where a work unit stands and what it is there for (`step` is empty when only jobs say so)."""

    work_unit: str
    work_center: str
    step: str


@dataclass(frozen=True, slots=True)
class Edge:
    """One flow; `index` is its position in the plant file, `terms` are (sign, meter id), empty when it takes the rest.

    Its amount is in millionths of the giver's unit; every meter in `terms` counts in that unit.
    """

    index: int
    giver: str
    giver_kind: NodeKind
    taker: str
    taker_kind: NodeKind
    terms: tuple[tuple[int, str], ...]
    weight: int

    @property
    def is_rest(self) -> bool:
        return not self.terms


@dataclass(frozen=True, slots=True)
class Group:
    """Pools that feed each other (as a rule one pool alone), ids sorted; they share their longest mix window."""

    pools: tuple[str, ...]
    window: Window

    @property
    def is_cyclic(self) -> bool:
        return len(self.pools) > 1


@dataclass(frozen=True, eq=False)
class PlantGraph:
    """A checked plant; mappings are by id, `groups` come upstream first, edges keep the order of the plant file.

    `inflows` and `outflows` hold the edges into and out of each node (every source, pool and work unit has an entry).
    `windows` is each pool's mix window with `auto` resolved and the group's longest applied.
    """

    plant: Plant
    buckets: int
    steps: Mapping[str, Step]
    work_units: Mapping[str, Place]
    sources: Mapping[str, Source]
    pools: Mapping[str, Pool]
    meters: Mapping[str, Meter]
    edges: tuple[Edge, ...]
    inflows: Mapping[str, tuple[Edge, ...]]
    outflows: Mapping[str, tuple[Edge, ...]]
    groups: tuple[Group, ...]
    windows: Mapping[str, Window]


def compile_plant(plant: Plant) -> PlantGraph:
    """The graph of a plant; raises `PlantError` with every error of the model, warnings do not stop it."""
    errors = [issue for issue in check_plant(plant) if issue.severity == "error"]
    if errors:
        raise PlantError(errors, plant.site.id)
    work_units = {
        unit.id: Place(unit.id, center.id, unit.step or "")
        for center in plant.work_centers
        for unit in center.work_units
    }
    sources = {source.id: source for source in plant.sources}
    pools = {pool.id: pool for pool in plant.pools}
    kinds: dict[str, NodeKind] = {"export": "export", "unmetered": "unmetered", "losses": "losses"}
    assert kinds.keys() == set(RESERVED_NODES)
    kinds.update((source, "source") for source in sources)
    kinds.update((pool, "pool") for pool in pools)
    kinds.update((unit, "work_unit") for unit in work_units)
    edges = tuple(_edge(index, flow, kinds, plant) for index, flow in enumerate(plant.flows))
    nodes = [*sources, *pools, *work_units]
    outflows = {node: tuple(edge for edge in edges if edge.giver == node) for node in nodes}
    groups = _groups(plant, outflows)
    return PlantGraph(
        plant=plant,
        buckets=3600 // plant.bucket_s,
        steps={step.id: step for step in plant.steps},
        work_units=work_units,
        sources=sources,
        pools=pools,
        meters={meter.id: meter for meter in plant.meters},
        edges=edges,
        inflows={node: tuple(edge for edge in edges if edge.taker == node) for node in nodes},
        outflows=outflows,
        groups=groups,
        windows={pool: group.window for group in groups for pool in group.pools},
    )


def _edge(index: int, flow: Flow, kinds: Mapping[str, NodeKind], plant: Plant) -> Edge:
    terms = parse_amount(flow.amount, {meter.id for meter in plant.meters})
    return Edge(index, flow.giver, kinds[flow.giver], flow.taker, kinds[flow.taker], terms, flow.weight)


def _window(pool: Pool, outflows: tuple[Edge, ...]) -> Window:
    if pool.mix_window != "auto":
        return pool.mix_window
    return "hour" if pool.kind == "converting" or any(edge.is_rest for edge in outflows) else "bucket"


def _groups(plant: Plant, outflows: Mapping[str, tuple[Edge, ...]]) -> tuple[Group, ...]:
    """Strongly connected pools, upstream first and by smallest id among groups that could go either way."""
    pools = {pool.id: pool for pool in plant.pools}
    downstream = {pool: _reachable(pool, outflows) & pools.keys() for pool in pools}
    members = {pool: frozenset({pool} | {p for p in downstream[pool] if pool in downstream[p]}) for pool in pools}
    waiting = set(members.values())
    ordered: list[Group] = []
    while waiting:
        placed = {pool for group in ordered for pool in group.pools}
        feeders = {group: {p for p in pools if p not in group and downstream[p] & group} for group in waiting}
        group = min((g for g in waiting if feeders[g] <= placed), key=min)
        windows = {_window(pools[pool], outflows[pool]) for pool in group}
        ordered.append(Group(tuple(sorted(group)), "hour" if "hour" in windows else "bucket"))
        waiting.remove(group)
    return tuple(ordered)


def _reachable(start: str, outflows: Mapping[str, tuple[Edge, ...]]) -> set[str]:
    """Every node that something given by `start` can come to, `start` itself only over a cycle."""
    seen: set[str] = set()
    frontier = [start]
    while frontier:
        for edge in outflows.get(frontier.pop(), ()):
            if edge.taker not in seen:
                seen.add(edge.taker)
                frontier.append(edge.taker)
    return seen
