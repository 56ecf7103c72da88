"""Oracle: what of each source goes along each edge in each bucket (section 3): groups upstream first, stores around them."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from oracle.oracle_flows import EdgeHour
from oracle.oracle_numbers import ESTIMATED, MEASURED, MICRO, r1
from oracle.oracle_plant import Edge, Network, Plant
from oracle.oracle_sharing import Content, Held, Row, Sharing, add
from oracle.oracle_stores import Draw, Known, Layer, Parts, close, draw

Stores = Mapping[str, list[Layer]]


@dataclass
class Traced:
    """By edge and bucket what goes along and how long a meter behind it is unknown; what stays where at the hour's end.

    `shared` are the pools of the hour, those of passing stores too: what they held before is theirs to give.
    """

    along: dict[int, list[Content]]
    missing_ms: dict[int, list[int]]
    stock: Held = field(default_factory=dict)
    stores: dict[str, list[Layer]] = field(default_factory=dict)
    lost: dict[str, Parts] = field(default_factory=dict)
    wrong: set[tuple[str, str]] = field(default_factory=set)
    shared: set[str] = field(default_factory=set)


def trace_hour(
    plant: Plant, flows: Mapping[int, EdgeHour], stock: Held, stores: Stores, levels: Mapping[str, Known], hour_ms: int
) -> Traced:
    draws = {
        store: draw(
            plant.stores[store],
            stores.get(store),
            sum(sum(flows[edge.index].amount) for edge in plant.network.taken(store)),
            sum(sum(flows[edge.index].amount) for edge in plant.network.given(store)),
            levels.get(store),
        )
        for store in plant.stores
    }
    network, wide = _with_passing(plant, flows, {store: one for store, one in draws.items() if one.passing})
    traced = Traced({e.index: [{} for _ in range(plant.buckets)] for e in network.edges}, {})
    for edge in network.edges:
        traced.missing_ms[edge.index] = list(wide[edge.index].missing_ms)
        for k in range(plant.buckets) if edge.giver_kind == "source" else ():
            add(
                traced.along[edge.index][k],
                (edge.giver, hour_ms),
                wide[edge.index].amount[k],
                wide[edge.index].quality[k],
            )
    for store, one in draws.items():
        _give_out(network.given(store), one, wide, traced)
    generators = {source for source, body in plant.sources.items() if body["kind"] == "on_site"}
    for group in network.groups:
        sharing = Sharing(network, group, wide, traced.along, traced.missing_ms, generators, hour_ms)
        traced.stock |= sharing.work({pool: stock.get(pool, {}) for pool in group.pools})
        traced.shared |= set(group.pools)
    for store, one in draws.items():
        _doubt(plant, flows, store, one, levels.get(store), traced.wrong)
        entered = _entered(network.taken(store), wide, traced)
        traced.stores[store], lost = close(plant.stores[store], one, entered, levels.get(store), hour_ms)
        traced.lost |= {store: lost} if lost else {}
    _fold(plant, network, traced)
    return traced


def _give_out(edges: list[Edge], one: Draw, flows: Mapping[int, EdgeHour], traced: Traced) -> None:
    """What was held goes over the ways out in proportion to the hour, and over the hour by the course of each."""
    edges = sorted(edges, key=lambda edge: edge.order)
    buckets = range(len(next(iter(flows.values())).amount))
    worst = min((quality for edge in edges for quality in flows[edge.index].quality), default=MEASURED)
    for edge in edges:
        traced.missing_ms[edge.index] = [max(flows[e.index].missing_ms[k] for e in edges) for k in buckets]
    for row, (amount, quality) in _by_row(one.taken).items() if edges else ():
        shares = r1(amount, [sum(flows[edge.index].amount) for edge in edges])
        for edge, share in zip(edges, shares, strict=True):
            for k, part in enumerate(r1(share, flows[edge.index].amount)):
                if part:
                    add(traced.along[edge.index][k], row, part, min(quality, worst))


def _doubt(
    plant: Plant,
    flows: Mapping[int, EdgeHour],
    store: str,
    one: Draw,
    level: Known | None,
    wrong: set[tuple[str, str]],
) -> None:
    """More came out than was held and came in (by a thousandth of a unit); more is there than the balance, by 1 %."""
    drawn = sum(sum(flows[edge.index].amount) for edge in plant.network.given(store))
    if drawn - one.held - one.charged > MICRO // 1000:
        wrong.add(("store-overdrawn", store))
    balance = sum(layer.amount for layer in one.kept) + one.staying
    if level is not None and level[0] - balance > max(level[0] // 100, MICRO):
        wrong.add(("disagreement", store))


def _by_row(parts: Parts) -> Content:
    content: Content = {}
    for (source, at_ms, quality), amount in parts.items():
        add(content, (source, at_ms), amount, quality)
    return content


def _entered(edges: list[Edge], flows: Mapping[int, EdgeHour], traced: Traced) -> Parts:
    """What came in and stays; with a meter on the way unknown it is an estimate."""
    content: Content = {}
    for edge in edges:
        for bucket in traced.along[edge.index]:
            for row, (amount, quality) in bucket.items():
                add(content, row, amount, quality)
    unknown = any(any(traced.missing_ms[e.index]) or any(flows[e.index].missing_ms) for e in edges)
    worst = ESTIMATED if unknown else MEASURED
    return {(*row, min(quality, worst)): amount for row, (amount, quality) in content.items() if amount}


def _with_passing(
    plant: Plant, flows: Mapping[int, EdgeHour], passing: Mapping[str, Draw]
) -> tuple[Network, dict[int, EdgeHour]]:
    """In an hour that draws more than was held a pool stands between a store's ways in and out: what passes, what stays."""
    edges, wide, pools = list(plant.edges), dict(flows), dict(plant.network.converts)
    for store, one in sorted(passing.items()):
        pool, outs = f"{store}/passing", sorted(plant.network.given(store), key=lambda edge: edge.order)
        pools[pool] = False
        parts = dict(zip(outs, r1(one.passing, [sum(flows[e.index].amount) for e in outs]), strict=True))
        edges = [replace(e, taker=pool, taker_kind="pool") if e.taker == store else e for e in edges]
        into = [sum(flows[e.index].amount[k] for e in edges if e.taker == pool) for k in range(plant.buckets)]
        for edge in (e for e in list(edges) if e.giver == store):
            own = next(out for out in outs if out.index == edge.index)
            again = EdgeHour(
                r1(parts[own], flows[edge.index].amount), flows[edge.index].quality, flows[edge.index].missing_ms
            )
            wide[len(edges)] = again
            edges.append(replace(edge, index=len(edges), giver=pool, giver_kind="pool"))
        wide[len(edges)] = EdgeHour(r1(one.staying, into), [MEASURED] * plant.buckets, [0] * plant.buckets)
        edges.append(Edge(len(edges), pool, "pool", store, "store", ((1, store),)))
    hourly = {**plant.network.hourly, **{f"{store}/passing": True for store in passing}}
    return Network(tuple(edges), pools, hourly), wide


def _fold(plant: Plant, network: Network, traced: Traced) -> None:
    """What passed through a store is on the store's own edges in the end."""
    for edge in network.edges[len(plant.edges) :]:
        if edge.taker_kind == "store" and edge.giver == f"{edge.taker}/passing":
            continue
        own = next(e for e in network.edges if e.giver == edge.giver.split("/")[0] and e.taker == edge.taker)
        for k, content in enumerate(traced.along[edge.index]):
            for row, (amount, quality) in content.items():
                add(traced.along[own.index][k], row, amount, quality)
        pairs = zip(traced.missing_ms[own.index], traced.missing_ms[edge.index], strict=True)
        traced.missing_ms[own.index] = [max(pair) for pair in pairs]


__all__ = ["Content", "Held", "Row", "Traced", "trace_hour"]
