"""The plant model compiled for accounting: nodes by id, flows as edges, pools grouped and ordered upstream first."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from plantprint.converters import Choice, flow_weights
from plantprint.plant.check import PlantError, check_plant, parse_amount
from plantprint.plant.model import RESERVED_NODES, Flow, Idle, Meter, Plant, Pool, Source, StateRule, Step, Store
from plantprint.windows import Calendar, IdleRule

NodeKind = Literal["source", "pool", "store", "work_unit", "export", "unmetered", "losses"]
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

    Its amount is in millionths of the giver's unit (of its product, where it has several); every meter in `terms`
    counts in that unit. `share` is what one unit of it weighs when its pool is divided: 1 but for products of a pool
    with several, and 0 for recovered heat that is cut off.
    """

    index: int
    giver: str
    giver_kind: NodeKind
    taker: str
    taker_kind: NodeKind
    terms: tuple[tuple[int, str], ...]
    weight: int
    share: int = 1
    product: str = ""
    recovery: str = ""
    driver: str = "fixed"
    disposition: str = ""

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

    `inflows` and `outflows` hold the edges into and out of each node (every source, pool, store and work unit has an
    entry). `windows` is each pool's mix window with `auto` resolved and the group's longest applied. A store cuts what
    flows through it: pools that feed each other only over a store are no group. `levels` maps the meters that tell a
    store's level to the store; no flow names them. `choices` are how pools with several products divide. `idle` is the
    rule for what waits at a work unit or pool that has one, `state_rules` are by work unit.
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
    stores: Mapping[str, Store]
    levels: Mapping[str, str]
    choices: tuple[Choice, ...]
    idle: Mapping[str, IdleRule]
    state_rules: Mapping[str, StateRule]


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
    stores = {store.id: store for store in plant.stores}
    kinds.update((store, "store") for store in stores)
    kinds.update((unit, "work_unit") for unit in work_units)
    shares, choices = flow_weights(plant)
    edges = tuple(_edge(index, flow, kinds, plant, shares[index]) for index, flow in enumerate(plant.flows))
    nodes = [*sources, *pools, *stores, *work_units]
    outflows = {node: tuple(edge for edge in edges if edge.giver == node) for node in nodes}
    groups = group_pools(pools, outflows)
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
        stores=stores,
        levels={store.level: store.id for store in plant.stores if store.level is not None},
        choices=choices,
        idle=_idle_rules(plant),
        state_rules={
            unit.id: unit.infer_state
            for center in plant.work_centers
            for unit in center.work_units
            if unit.infer_state is not None
        },
    )


def _edge(index: int, flow: Flow, kinds: Mapping[str, NodeKind], plant: Plant, share: int) -> Edge:
    terms = parse_amount(flow.amount, {meter.id for meter in plant.meters})
    giver, taker = kinds[flow.giver], kinds[flow.taker]
    return Edge(
        index,
        flow.giver,
        giver,
        flow.taker,
        taker,
        terms,
        flow.weight,
        share,
        product=flow.product or "",
        recovery=flow.recovery or "",
        driver=flow.driver,
        disposition=flow.disposition or "",
    )


def _idle_rules(plant: Plant) -> dict[str, IdleRule]:
    """By work unit the rule of the nearest place that has one, by pool the site's; without windows absent."""
    rules: dict[str, Idle | None] = {pool.id: plant.idle for pool in plant.pools}
    for center in plant.work_centers:
        for unit in center.work_units:
            rules[unit.id] = unit.idle or center.idle or plant.idle
    return {
        node: IdleRule(Calendar(plant.site.timezone, rule.window, _minutes(rule)), rule.driver)
        for node, rule in rules.items()
        if rule is not None and rule.window != "none"
    }


def _minutes(rule: Idle) -> tuple[int, ...]:
    return tuple(sorted(int(start[:2]) * 60 + int(start[3:]) for start in rule.starts))


def _window(pool: Pool, outflows: tuple[Edge, ...]) -> Window:
    if pool.mix_window != "auto":
        return pool.mix_window
    return "hour" if pool.converts or any(edge.is_rest for edge in outflows) else "bucket"


def group_pools(pools: Mapping[str, Pool], outflows: Mapping[str, tuple[Edge, ...]]) -> tuple[Group, ...]:
    """Strongly connected pools, upstream first and by smallest id among groups that could go either way.

    What goes into a store does not come out of it in the same hour, so a way through one does not count.
    """
    between = {pool: tuple(edge for edge in outflows[pool] if edge.taker in pools) for pool in pools}
    downstream = {pool: _reachable(pool, between) for pool in pools}
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
