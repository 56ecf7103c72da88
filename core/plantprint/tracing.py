"""Proportional sharing: which amounts of which sources every edge of the plant carried in each bucket of an hour.

Pools are taken upstream first; what a pool holds in its mix window is divided over the window's outflows by rule R1,
source by source. What finds no way out stays in the pool as stock and is handed out by a later window. A store gives out
what it held at the hour's start, so it comes before all pools, and keeps what came in, so it comes after them.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from plantprint.cycles import share_cycle
from plantprint.divide_arrays import divide_arrays
from plantprint.exports import OnSite, Row, unconverted_ways
from plantprint.facts import Issue, Quality
from plantprint.flows import Flows, canonical
from plantprint.passing import folded, passing_flows, passing_graph
from plantprint.plant.graph import PlantGraph
from plantprint.sharing import Held, Parcels, PoolPlan, Stock, StockLayer, share_pool
from plantprint.stores import Draw, Layers, Levels, Stores, close_store, draw_stores
from plantprint.times import HOUR_MS

__all__ = ["Row", "Stock", "StockLayer", "Stores", "Traced", "trace"]

_NO_STORES: Stores = {}
_NO_LEVELS: Levels = {}


@dataclass(frozen=True, slots=True, eq=False)
class Traced:
    """What every edge carried in consecutive hours, by the rows of `parcels`, and what is held at the end of them.

    `rows` are those of the first hour; several hours have no others than the sources, each hour its own. `lost` is what
    each store lost.
    """

    rows: tuple[Row, ...]
    parcels: Parcels
    stock: dict[str, tuple[StockLayer, ...]]
    stores: dict[str, Layers]
    lost: dict[str, tuple[StockLayer, ...]]
    issues: tuple[Issue, ...]
    hours: int = 1

    def hour(self, number: int) -> "Traced":
        """One of the hours; only the last keeps something."""
        if self.hours == 1:
            return self
        buckets = self.parcels.amount.shape[2] // self.hours
        part = slice(number * buckets, (number + 1) * buckets)
        return Traced(
            tuple((source, entered_ms + number * HOUR_MS) for source, entered_ms in self.rows),
            Parcels(
                self.parcels.amount[..., part], self.parcels.quality[..., part], self.parcels.missing_ms[..., part]
            ),
            self.stock if number == self.hours - 1 else {},
            self.stores,
            {},
            (),
        )


def trace(
    graph: PlantGraph,
    flows: Flows,
    stock: Stock,
    hour_ms: int,
    stores: Stores = _NO_STORES,
    levels: Levels = _NO_LEVELS,
) -> Traced:
    """Traces the hour from `hour_ms`; `stock` and `stores` are what was held at its start, that of unknown nodes stays.

    A store that is not in `stores` has never been accounted before. `levels` are known levels at the hour's end. Of
    several hours, which need a plant without stores and no stock, it traces those up to the first that keeps something.
    """
    assert flows.hours == 1 or not (graph.stores or stock), "what is held ties an hour to the one before"
    draws = draw_stores(graph, flows, stores, levels, hour_ms)
    passing = tuple(sorted(store for store, draw in draws.items() if draw.passing))
    wide = passing_graph(graph, passing) if passing else graph
    if passing:
        flows = passing_flows(wide, flows, draws)
    rows = _rows(wide, stock, draws, hour_ms)
    shape = (len(wide.edges), len(rows), flows.amount.shape[1])
    parcels = Parcels(np.zeros(shape, np.int64), np.full(shape, Quality.MEASURED, np.int8), flows.missing_ms.copy())
    _enter(graph, flows, parcels)
    for draw in draws.values():
        _give_out(graph, draw, flows, rows, parcels)
    hours, kept = _share(wide, flows, stock, rows, parcels, hour_ms)
    closed = {
        store: close_store(draw, _entered(wide, draw, flows, rows, parcels), levels.get(store), hour_ms)
        for store, draw in draws.items()
    }
    if hours < flows.hours:
        end = hours * graph.buckets
        parcels = Parcels(parcels.amount[..., :end], parcels.quality[..., :end], parcels.missing_ms[..., :end])
    return Traced(
        rows,
        folded(graph, wide, parcels) if passing else parcels,
        dict(sorted(kept.items())),
        dict(sorted({**stores, **{store: end.layers for store, end in closed.items()}}.items())),
        {store: end.lost for store, end in closed.items() if end.lost},
        tuple(issue for end in closed.values() for issue in end.issues),
        hours,
    )


def _share(
    graph: PlantGraph, flows: Flows, stock: Stock, rows: tuple[Row, ...], parcels: Parcels, hour_ms: int
) -> tuple[int, dict[str, tuple[StockLayer, ...]]]:
    """Shares the content of all pools, upstream first; returns the hours up to the first that keeps something, and that."""
    generators = frozenset(source.id for source in graph.sources.values() if source.kind == "on_site")
    on_site = OnSite(rows, generators, hour_ms, unconverted_ways(graph))
    left: dict[str, Held] = {}
    for plans in _plans(graph):
        held = {plan.pool: _held(rows, stock.get(plan.pool, ())) for plan in plans}
        if len(plans) > 1:
            left |= share_cycle(plans, flows, parcels, held, on_site)
        else:
            left |= {pool: share_pool(plans[0], flows, parcels, layers, on_site) for pool, layers in held.items()}
    keeping = np.logical_or.reduce([part.amount.any(axis=0) for part in left.values()], axis=0, initial=False)
    last = int(np.argmax(keeping)) if keeping.any() else flows.hours - 1
    kept = {pool: layers for pool, layers in stock.items() if pool not in graph.pools}
    for pool, part in left.items():
        if layers := _layers(rows, Held(part.amount[:, last], part.quality[:, last])):
            kept[pool] = tuple((source, entered + last * HOUR_MS, q, a) for source, entered, q, a in layers)
    return last + 1, kept


def _enter(graph: PlantGraph, flows: Flows, parcels: Parcels) -> None:
    numbers = {source: number for number, source in enumerate(sorted(graph.sources))}
    for edge in graph.edges:
        if edge.giver_kind == "source":
            parcels.amount[edge.index, numbers[edge.giver]] = flows.amount[edge.index]
            parcels.quality[edge.index, numbers[edge.giver]] = flows.quality[edge.index]


def _give_out(graph: PlantGraph, draw: Draw, flows: Flows, rows: tuple[Row, ...], parcels: Parcels) -> None:
    """Divides what a store gives out of what it held over its flows, and over the hour by the course of each."""
    edges = sorted(graph.outflows[draw.store.id], key=canonical)
    outs = [edge.index for edge in edges]
    if not outs:
        return
    parcels.missing_ms[outs] = flows.missing_ms[outs].max(axis=0)
    if not draw.taken:
        return
    given = _held(rows, draw.taken)
    course = flows.amount[outs]
    totals = divide_arrays(given.amount, course.sum(axis=1)[None, :])
    shares = divide_arrays(totals.T, course[:, None, :])
    quality = np.minimum(given.quality, flows.quality[outs].min())
    parcels.amount[outs] = shares
    parcels.quality[outs] = np.where(shares == 0, np.int8(Quality.MEASURED), quality[None, :, None])


def _entered(
    graph: PlantGraph, draw: Draw, flows: Flows, rows: tuple[Row, ...], parcels: Parcels
) -> tuple[StockLayer, ...]:
    """What came into a store and stays there; with a meter on its way in unknown it is an estimate."""
    ins = [edge.index for edge in graph.inflows[draw.store.id]]
    quality = parcels.quality[ins].min(axis=(0, 2), initial=Quality.MEASURED)
    if parcels.missing_ms[ins].any() or flows.missing_ms[ins].any():
        quality = np.minimum(quality, np.int8(Quality.ESTIMATED))
    return _layers(rows, Held(parcels.amount[ins].sum(axis=(0, 2)), quality))


def _rows(graph: PlantGraph, stock: Stock, draws: Mapping[str, Draw], hour_ms: int) -> tuple[Row, ...]:
    """Every source of this hour in canonical order, then what stock and stores bring from earlier hours."""
    live = [(source, hour_ms) for source in sorted(graph.sources)]
    old = {(source, entered_ms) for pool in stock if pool in graph.pools for source, entered_ms, _, _ in stock[pool]}
    old |= {(source, entered_ms) for draw in draws.values() for source, entered_ms, _, _ in draw.taken}
    return (*live, *sorted(old))


@lru_cache(maxsize=8)
def _plans(graph: PlantGraph) -> tuple[tuple[PoolPlan, ...], ...]:
    return tuple(tuple(_plan(graph, pool) for pool in group.pools) for group in graph.groups)


def _plan(graph: PlantGraph, pool: str) -> PoolPlan:
    outflows = tuple(sorted(graph.outflows[pool], key=canonical))
    claims = any(graph.sources[node].kind == "on_site" for node in unconverted_ways(graph)[pool] & graph.sources.keys())
    return PoolPlan(
        pool,
        graph.windows[pool] == "hour",
        any(edge.is_rest for edge in outflows),
        graph.inflows[pool],
        outflows,
        tuple(n for n, edge in enumerate(outflows) if claims and edge.taker_kind == "export"),
    )


def _held(rows: tuple[Row, ...], layers: tuple[StockLayer, ...]) -> Held:
    held = Held(np.zeros(len(rows), np.int64), np.full(len(rows), Quality.MEASURED, np.int8))
    for source, entered_ms, quality, amount in layers:
        row = rows.index((source, entered_ms))
        held.amount[row] += amount
        held.quality[row] = min(int(held.quality[row]), quality)
    return held


def _layers(rows: tuple[Row, ...], held: Held) -> tuple[StockLayer, ...]:
    return tuple(
        sorted(
            (*rows[row], int(held.quality[row]), int(held.amount[row])) for row in np.flatnonzero(held.amount).tolist()
        )
    )
