"""Proportional sharing: which amounts of which sources every edge of the plant carried in each bucket of an hour.

Pools are taken upstream first; what a pool holds in its mix window is divided over the window's outflows by rule R1,
source by source. What finds no way out stays in the pool as stock and is handed out by a later window, however late:
idle windows, which would end that, are not here yet.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from plantprint.cycles import share_cycle
from plantprint.facts import Quality
from plantprint.flows import Flows, canonical
from plantprint.plant.graph import PlantGraph
from plantprint.sharing import Held, Parcels, PoolPlan, share_pool

StockLayer = tuple[str, int, int, int]
"""(source, entered_ms, quality, amount) of what a pool could not hand out yet."""
Stock = Mapping[str, tuple[StockLayer, ...]]
Row = tuple[str, int]
"""(source, hour in which it crossed the boundary)."""


@dataclass(frozen=True, slots=True, eq=False)
class Traced:
    """What every edge carried, by the rows of `parcels`, and what pools hold at the hour's end."""

    rows: tuple[Row, ...]
    parcels: Parcels
    stock: dict[str, tuple[StockLayer, ...]]


def trace(graph: PlantGraph, flows: Flows, stock: Stock, hour_ms: int) -> Traced:
    """Traces the hour from `hour_ms`; `stock` is what pools held at its start; that of unknown pools stays."""
    rows = _rows(graph, stock, hour_ms)
    shape = (len(graph.edges), len(rows), graph.buckets)
    parcels = Parcels(np.zeros(shape, np.int64), np.full(shape, Quality.MEASURED, np.int8), flows.missing_ms.copy())
    _enter(graph, flows, parcels)
    generators = {source.id for source in graph.sources.values() if source.kind == "on_site"}
    on_site = [row for row, (source, _) in enumerate(rows) if source in generators]
    kept = {pool: layers for pool, layers in stock.items() if pool not in graph.pools}
    for plans in _plans(graph):
        held = {plan.pool: _held(rows, stock.get(plan.pool, ())) for plan in plans}
        if len(plans) > 1:
            left = share_cycle(plans, flows, parcels, held, on_site)
        else:
            left = {pool: share_pool(plans[0], flows, parcels, layers, on_site) for pool, layers in held.items()}
        kept |= {pool: layers for pool, part in left.items() if (layers := _layers(rows, part))}
    return Traced(rows, parcels, dict(sorted(kept.items())))


def _enter(graph: PlantGraph, flows: Flows, parcels: Parcels) -> None:
    numbers = {source: number for number, source in enumerate(sorted(graph.sources))}
    for edge in graph.edges:
        if edge.giver_kind == "source":
            parcels.amount[edge.index, numbers[edge.giver]] = flows.amount[edge.index]
            parcels.quality[edge.index, numbers[edge.giver]] = flows.quality[edge.index]


def _rows(graph: PlantGraph, stock: Stock, hour_ms: int) -> tuple[Row, ...]:
    """Every source of this hour in canonical order, then what stock brings from earlier hours."""
    live = [(source, hour_ms) for source in sorted(graph.sources)]
    old = {(source, entered_ms) for pool in stock if pool in graph.pools for source, entered_ms, _, _ in stock[pool]}
    return (*live, *sorted(old))


@lru_cache(maxsize=8)
def _plans(graph: PlantGraph) -> tuple[tuple[PoolPlan, ...], ...]:
    return tuple(tuple(_plan(graph, pool) for pool in group.pools) for group in graph.groups)


def _plan(graph: PlantGraph, pool: str) -> PoolPlan:
    outflows = tuple(sorted(graph.outflows[pool], key=canonical))
    conserves = graph.pools[pool].kind == "conserving"
    return PoolPlan(
        pool,
        graph.windows[pool] == "hour",
        any(edge.is_rest for edge in outflows),
        graph.inflows[pool],
        outflows,
        tuple(n for n, edge in enumerate(outflows) if conserves and edge.taker_kind == "export"),
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
