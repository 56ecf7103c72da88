"""The hour in which a store gives out more than it held: what passes through it takes part in the sharing as a pool.

Such a pool stands between the store's ways in and out, divides what came in between what goes out again and what stays,
and belongs to a group when its way out leads back to its way in (rule R2). Other hours never see it.
"""

from collections.abc import Mapping
from dataclasses import replace
from functools import lru_cache

import numpy as np

from plantprint.divide_arrays import Ints, divide_arrays
from plantprint.facts import Quality
from plantprint.flows import Flows, canonical
from plantprint.plant.graph import Edge, PlantGraph, group_pools
from plantprint.plant.model import Pool
from plantprint.sharing import Parcels
from plantprint.stores import Draw


@lru_cache(maxsize=16)
def passing_graph(graph: PlantGraph, stores: tuple[str, ...]) -> PlantGraph:
    """The plant with a pool `<store>/passing` before each of these stores; further edges follow those of the plant."""
    edges = [
        replace(edge, taker=_name(edge.taker), taker_kind="pool") if edge.taker in stores else edge
        for edge in graph.edges
    ]
    pools = dict(graph.pools)
    for store in stores:
        node = graph.stores[store]
        pools[_name(store)] = Pool(id=store, name=node.name, unit=node.unit, kind="converting")
        for edge in [edges[edge.index] for edge in graph.outflows[store]]:
            edges.append(replace(edge, index=len(edges), giver=_name(store), giver_kind="pool"))
        edges.append(Edge(len(edges), _name(store), "pool", store, "store", ((1, store),), 1))
    nodes = [*graph.inflows, *map(_name, stores)]
    outflows = {node: tuple(edge for edge in edges if edge.giver == node) for node in nodes}
    groups = group_pools(pools, outflows)
    return replace(
        graph,
        pools=pools,
        edges=tuple(edges),
        inflows={node: tuple(edge for edge in edges if edge.taker == node) for node in nodes},
        outflows=outflows,
        groups=groups,
        windows={pool: group.window for group in groups for pool in group.pools},
    )


def _name(store: str) -> str:
    return f"{store}/passing"  # No id of a plant has a slash.


def passing_flows(wide: PlantGraph, flows: Flows, draws: Mapping[str, Draw]) -> Flows:
    """The hour's flows, and those over the further edges: what goes out again, and what stays."""
    known = len(flows.amount)
    more: list[Ints] = []
    quality = []
    missing_ms = []
    for edge in wide.edges[known:]:
        store = edge.giver.removesuffix("/passing")
        into = flows.amount[[e.index for e in wide.inflows[edge.giver]]].sum(axis=0)
        if edge.taker_kind == "store" and edge.taker == store:
            more.append(divide_arrays(np.array(draws[store].staying), into))
            quality.append(np.full(into.shape, Quality.MEASURED, np.int8))
            missing_ms.append(np.zeros(into.shape, np.int64))
            continue
        outs = sorted(wide.outflows[store], key=canonical)
        own = next(n for n, e in enumerate(outs) if e.taker == edge.taker)
        course = flows.amount[[e.index for e in outs]]
        part = divide_arrays(np.array(draws[store].passing), course.sum(axis=1))[own]
        more.append(divide_arrays(part, course[own]))
        quality.append(flows.quality[outs[own].index])
        missing_ms.append(flows.missing_ms[outs[own].index])
    return Flows(
        np.concatenate([flows.amount, more]),
        np.concatenate([flows.quality, quality]),
        np.concatenate([flows.missing_ms, missing_ms]),
        flows.issues,
    )


def folded(graph: PlantGraph, wide: PlantGraph, parcels: Parcels) -> Parcels:
    """The parcels of the plant's own edges, with what passed through a store on the store's edges."""
    known = len(graph.edges)
    amount, quality, missing_ms = parcels.amount[:known], parcels.quality[:known], parcels.missing_ms[:known]
    for edge in wide.edges[known:]:
        if edge.taker_kind == "store" and edge.giver == _name(edge.taker):
            continue
        store = edge.giver.removesuffix("/passing")
        own = next(e.index for e in wide.outflows[store] if e.taker == edge.taker)
        amount[own] += parcels.amount[edge.index]
        np.minimum(quality[own], parcels.quality[edge.index], out=quality[own])
        np.maximum(missing_ms[own], parcels.missing_ms[edge.index], out=missing_ms[own])
    return Parcels(amount, quality, missing_ms)
