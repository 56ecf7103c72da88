"""Oracle: proportional sharing (section 3): what of each source goes along each edge in each bucket, and what stays."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction

from oracle.oracle_flows import EdgeHour, taker_order
from oracle.oracle_numbers import r1
from plantprint.plant.graph import Edge, Group, PlantGraph

Row = tuple[str, int, int]
"""Source, hour of entry, quality."""
Content = dict[Row, int]
Stock = dict[str, Content]


@dataclass
class Traced:
    """By edge index and bucket what goes along; by pool what stays at the end of the hour."""

    along: dict[int, list[Content]]
    stock: Stock = field(default_factory=dict)


def add(content: Content, row: Row, amount: int) -> None:
    content[row] = content.get(row, 0) + amount


def trace_hour(graph: PlantGraph, flows: Mapping[int, EdgeHour], stock: Mapping[str, Content], hour_ms: int) -> Traced:
    traced = Traced({edge.index: [{} for _ in range(graph.buckets)] for edge in graph.edges})
    for edge in graph.edges:
        if edge.giver_kind == "source":
            for k in range(graph.buckets):
                amount = flows[edge.index].amount[k]
                add(traced.along[edge.index][k], (edge.giver, hour_ms, flows[edge.index].quality[k]), amount)
    for group in graph.groups:
        _group_hour(graph, group, flows, stock, traced)
    return traced


def _group_hour(
    graph: PlantGraph, group: Group, flows: Mapping[int, EdgeHour], stock: Mapping[str, Content], traced: Traced
) -> None:
    every = list(range(graph.buckets))
    windows = [every] if group.window == "hour" else [[k] for k in every]
    held: Stock = {pool: dict(stock.get(pool, {})) for pool in group.pools}
    for window in windows:
        for edge in graph.edges:
            if edge.taker in group.pools and edge.giver not in group.pools:
                for k in window:
                    for row, amount in traced.along[edge.index][k].items():
                        add(held[edge.taker], row, amount)
        held = _window(graph, group, flows, held, window, traced)
    for pool in group.pools:
        left = {row: amount for row, amount in held[pool].items() if amount}
        if left:
            traced.stock[pool] = left


def _window(
    graph: PlantGraph,
    group: Group,
    flows: Mapping[int, EdgeHour],
    held: Stock,
    window: Sequence[int],
    traced: Traced,
) -> Stock:
    """Divides what the group's pools hold over the edges that leave it; returns what stays."""
    size = {
        edge.index: sum(flows[edge.index].amount[k] for k in window) * edge.share
        for edge in graph.edges
        if edge.giver in group.pools
    }
    leaving = sorted(
        (edge for edge in graph.edges if edge.giver in group.pools and edge.taker not in group.pools),
        key=lambda edge: (*taker_order(edge), edge.giver),
    )
    for edge in leaving:
        if edge.taker_kind == "export" and len(group.pools) == 1:
            size[edge.index] -= _export_first(graph, edge, flows, held, window, traced)
    reach = {pool: _reach(graph, group, pool, leaving, size) for pool in group.pools}
    stays: Stock = {pool: {} for pool in group.pools}
    for row in sorted({row for pool in group.pools for row in held[pool]}):
        out = [Fraction(0) for _ in leaving]
        whole = 0
        for pool in group.pools:
            amount = held[pool].get(row, 0)
            if sum(reach[pool]) == 0:
                add(stays[pool], row, amount)
                continue
            whole += amount
            out = [so_far + amount * part for so_far, part in zip(out, reach[pool], strict=True)]
        if whole:
            for edge, share in zip(leaving, r1(whole, out), strict=True):
                _over_time(edge, row, share, flows, window, traced)
    return stays


def _over_time(
    edge: Edge, row: Row, share: int, flows: Mapping[int, EdgeHour], window: Sequence[int], traced: Traced
) -> None:
    for k, part in zip(window, r1(share, [flows[edge.index].amount[k] for k in window]), strict=True):
        source, entered, quality = row
        worst = min(quality, *(flows[edge.index].quality[j] for j in window))
        add(traced.along[edge.index][k], (source, entered, worst), part)


def _export_first(
    graph: PlantGraph,
    edge: Edge,
    flows: Mapping[int, EdgeHour],
    held: Stock,
    window: Sequence[int],
    traced: Traced,
) -> int:
    """Takes the export from on-site generation; returns how much of it that covered."""
    exported = sum(flows[edge.index].amount[k] for k in window)
    here = held[edge.giver]
    own = sorted(row for row in here if graph.sources[row[0]].kind == "on_site")
    taken = min(exported, sum(here[row] for row in own))
    if taken == 0:
        return 0
    for row, share in zip(own, r1(taken, [here[row] for row in own]), strict=True):
        here[row] -= share
        _over_time(edge, row, share, flows, window, traced)
    return taken


def _reach(
    graph: PlantGraph, group: Group, start: str, leaving: Sequence[Edge], size: Mapping[int, int]
) -> list[Fraction]:
    """Which part of a unit that comes into `start` leaves over each edge, in the end: (1 − P)⁻¹ solved by elimination."""
    pools = list(group.pools)
    out = {pool: sum(size[e.index] for e in graph.edges if e.giver == pool) for pool in pools}
    can = _with_a_way_out(graph, group, leaving, size)
    if start not in can:
        return [Fraction(0) for _ in leaving]
    inner = [e for e in graph.edges if e.giver in can and e.taker in group.pools and size[e.index]]
    unknown = [pool for pool in pools if pool in can]
    # visits[j] = [j is start] + Σ_i visits[i]·P[i, j]
    matrix = [
        [
            Fraction(int(i == j)) - sum((Fraction(size[e.index], out[i]) for e in inner if (e.giver, e.taker) == (i, j)), Fraction(0))
            for i in unknown
        ]
        for j in unknown
    ]
    visits = solve(matrix, [Fraction(int(pool == start)) for pool in unknown])
    at = dict(zip(unknown, visits, strict=True))
    return [at[e.giver] * Fraction(size[e.index], out[e.giver]) if e.giver in at and size[e.index] else Fraction(0) for e in leaving]


def _with_a_way_out(graph: PlantGraph, group: Group, leaving: Sequence[Edge], size: Mapping[int, int]) -> set[str]:
    found = {edge.giver for edge in leaving if size[edge.index]}
    while True:
        more = {e.giver for e in graph.edges if e.giver in group.pools and e.taker in found and size[e.index]} - found
        if not more:
            return found
        found |= more


def solve(matrix: list[list[Fraction]], right: list[Fraction]) -> list[Fraction]:
    """Gauss and Jordan, exact."""
    rows = [[*row, value] for row, value in zip(matrix, right, strict=True)]
    for n in range(len(rows)):
        pivot = next(k for k in range(n, len(rows)) if rows[k][n] != 0)
        rows[n], rows[pivot] = rows[pivot], rows[n]
        rows[n] = [value / rows[n][n] for value in rows[n]]
        for k in range(len(rows)):
            if k != n and rows[k][n] != 0:
                factor = rows[k][n]
                rows[k] = [value - factor * top for value, top in zip(rows[k], rows[n], strict=True)]
    return [row[-1] for row in rows]
