"""Oracle: proportional sharing (section 3): what of each source goes along each edge in each bucket, and what stays."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction

from oracle.oracle_flows import EdgeHour, taker_order
from oracle.oracle_numbers import MEASURED, r1
from oracle.oracle_solve import solve

from plantprint.plant.graph import Edge, Group, PlantGraph

Row = tuple[str, int]
"""Source, hour of entry."""
Content = dict[Row, tuple[int, int]]
"""Amount and the worst quality behind it."""
Held = dict[str, Content]


@dataclass
class Traced:
    """By edge index and bucket what goes along; by pool what stays at the end of the hour."""

    along: dict[int, list[Content]]
    stock: Held = field(default_factory=dict)


def add(content: Content, row: Row, amount: int, quality: int) -> None:
    """A nothing that was only estimated counts: what is summed with it may be short."""
    if amount or quality < MEASURED:
        known, worst = content.get(row, (0, MEASURED))
        content[row] = (known + amount, min(worst, quality))


def trace_hour(graph: PlantGraph, flows: Mapping[int, EdgeHour], stock: Mapping[str, Content], hour_ms: int) -> Traced:
    traced = Traced({edge.index: [{} for _ in range(graph.buckets)] for edge in graph.edges})
    for edge in graph.edges:
        if edge.giver_kind == "source":
            hour = flows[edge.index]
            for k in range(graph.buckets):
                add(traced.along[edge.index][k], (edge.giver, hour_ms), hour.amount[k], hour.quality[k])
    for group in graph.groups:
        _Sharing(graph, group, flows, traced, hour_ms).work({pool: stock.get(pool, {}) for pool in group.pools})
    return traced


@dataclass
class _Sharing:
    """One group (a pool alone is a group too) in one hour."""

    graph: PlantGraph
    group: Group
    flows: Mapping[int, EdgeHour]
    traced: Traced
    hour_ms: int
    start: Held = field(default_factory=dict)

    @property
    def given(self) -> list[Edge]:
        return [edge for edge in self.graph.edges if edge.giver in self.group.pools]

    @property
    def leaving(self) -> list[Edge]:
        return sorted((edge for edge in self.given if edge.taker not in self.group.pools), key=taker_order)

    def work(self, held: Held) -> None:
        every = list(range(self.graph.buckets))
        self.start = held
        for window in [every] if self.group.window == "hour" else [[k] for k in every]:
            content: Held = {pool: dict(held[pool]) for pool in self.group.pools}
            for edge in self.graph.edges:
                if edge.taker in self.group.pools and edge.giver not in self.group.pools:
                    for k in window:
                        for row, (amount, quality) in self.traced.along[edge.index][k].items():
                            add(content[edge.taker], row, amount, quality)
            held = self._window(content, window)
        for pool, kept in held.items():
            left = {row: (amount, self._cycle_worst(row, quality)) for row, (amount, quality) in kept.items() if amount}
            if left:
                self.traced.stock[pool] = left

    def _window(self, content: Held, window: Sequence[int]) -> Held:
        """Divides what the pools hold over the edges that leave the group; returns what finds no way out."""
        size = {edge.index: edge.share * sum(self._amounts(edge, window)) for edge in self.given}
        rows = sorted({row for pool in content for row in content[pool]}, key=self._row_order)
        before = {row: sum(content[pool].get(row, (0, 0))[0] for pool in content) for row in rows}
        taken, amounts, size = self._export_first(content, rows, size)
        open_pools = self._with_a_way_out(size)
        stays: Held = {pool: {} for pool in content}
        for row in rows:
            # What reaches each pool in the end, then where it ends: a leaving edge, or a pool without a way out.
            visits = self._visits({pool: amounts[pool][row] for pool in amounts}, size, open_pools)
            ends: list[tuple[tuple[str, str, int], Edge | str, Fraction]] = [
                (taker_order(edge), edge, self._part(edge, size) * visits.get(edge.giver, 0)) for edge in self.leaving
            ]
            for pool in content:
                if pool not in open_pools:
                    into = [edge for edge in self.given if edge.taker == pool and edge.giver in open_pools]
                    came = sum((self._part(edge, size) * visits[edge.giver] for edge in into), Fraction(0))
                    ends.append((("stock", pool, 0), pool, came + amounts[pool][row]))
            ends.sort(key=lambda end: end[0])
            whole = sum(amounts[pool][row] for pool in amounts)
            shares = r1(whole, [part for _, _, part in ends]) if whole else [0] * len(ends)
            worst = min(content[pool].get(row, (0, MEASURED))[1] for pool in content)
            handed = 0
            for (_, end, _), share in zip(ends, shares, strict=True):
                if isinstance(end, str):
                    add(stays[end], row, share, worst)
                    handed += share
                else:
                    along = share + taken.get((end.index, row), 0)
                    self._over_time(end, row, along, worst, window)
                    handed += along
            assert handed == before[row]
        return stays

    def _amounts(self, edge: Edge, window: Sequence[int]) -> list[int]:
        """An edge's flow as it shares; what consumers carry for a loss flows along with theirs."""
        if edge.disposition == "consumers":
            return [0 for _ in window]
        return [self.flows[edge.index].amount[k] for k in window]

    def _row_order(self, row: Row) -> tuple[bool, str, int]:
        """Of this hour first, then what is older."""
        return (row[1] != self.hour_ms, *row)

    def _over_time(self, edge: Edge, row: Row, share: int, worst: int, window: Sequence[int]) -> None:
        has_rest = any(other.is_rest for other in self.given)
        behind = [edge] if has_rest else self.given
        quality = min(worst, *(self.flows[other.index].quality[k] for other in behind for k in window))
        quality = self._cycle_worst(row, quality)
        for k, part in zip(window, r1(share, self._amounts(edge, window)), strict=True):
            if part:
                add(self.traced.along[edge.index][k], row, part, quality)

    def _cycle_worst(self, row: Row, otherwise: int) -> int:
        """In a cycle everything of the hour is behind everything: what came, what was there, what flowed inside."""
        if not self.group.is_cyclic:
            return otherwise
        worst = min(quality for edge in self.given for quality in self.flows[edge.index].quality)
        for content in self.start.values():
            worst = min(worst, content.get(row, (0, MEASURED))[1])
        for edge in self.graph.edges:
            if edge.taker in self.group.pools and edge.giver not in self.group.pools:
                worst = min(worst, *(content.get(row, (0, MEASURED))[1] for content in self.traced.along[edge.index]))
        return worst

    def _export_first(
        self, content: Held, rows: Sequence[Row], size: Mapping[int, int]
    ) -> tuple[dict[tuple[int, Row], int], dict[str, dict[Row, int]], dict[int, int]]:
        """What exports take from on-site generation; the content and the flows that are left to be shared."""
        amounts = {pool: {row: content[pool].get(row, (0, 0))[0] for row in rows} for pool in content}
        taken: dict[tuple[int, Row], int] = {}
        left = dict(size)
        exports = [e for e in self.given if e.taker_kind == "export" and not self.graph.pools[e.giver].converts]
        for edge in sorted(exports, key=lambda e: e.giver):
            for row in (row for row in rows if self._on_site(row)):
                for pool in sorted(amounts):
                    part = min(amounts[pool][row], left[edge.index])
                    taken[edge.index, row] = taken.get((edge.index, row), 0) + part
                    amounts[pool][row] -= part
                    left[edge.index] -= part
        # Nothing left to flow although there is content: the meters disagree, the same takers share it.
        return taken, amounts, left if any(left[edge.index] for edge in self.leaving) else dict(size)

    def _on_site(self, row: Row) -> bool:
        return row[0] in self.graph.sources and self.graph.sources[row[0]].kind == "on_site"

    def _with_a_way_out(self, size: Mapping[int, int]) -> set[str]:
        found = {edge.giver for edge in self.leaving if size[edge.index]}
        while True:
            more = {edge.giver for edge in self.given if edge.taker in found and size[edge.index]} - found
            if not more:
                return found
            found |= more

    def _part(self, edge: Edge, size: Mapping[int, int]) -> Fraction:
        out = sum(size[other.index] for other in self.given if other.giver == edge.giver)
        return Fraction(size[edge.index], out) if size[edge.index] else Fraction(0)

    def _visits(self, amounts: Mapping[str, int], size: Mapping[int, int], open_pools: set[str]) -> dict[str, Fraction]:
        """What passes through each pool: visits[j] = amounts[j] + Σ_i visits[i] · part[i, j], solved."""
        pools = sorted(open_pools)
        if len(pools) == 1 and not self.group.is_cyclic:
            return {pools[0]: Fraction(amounts[pools[0]])}
        matrix = [[Fraction(int(i == j)) for i in pools] for j in pools]
        for edge in self.given:
            if edge.giver in open_pools and edge.taker in open_pools:
                matrix[pools.index(edge.taker)][pools.index(edge.giver)] -= self._part(edge, size)
        return dict(zip(pools, solve(matrix, [Fraction(amounts[pool]) for pool in pools]), strict=True))
