"""Oracle: proportional sharing of what a pool, or pools that feed each other, hold in a window (R1, R2)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction

from oracle.oracle_flows import EdgeHour
from oracle.oracle_numbers import MEASURED, r1
from oracle.oracle_plant import Edge, Group, Network
from oracle.oracle_solve import solve

Row = tuple[str, int]
"""Source, hour of entry."""
Content = dict[Row, tuple[int, int]]
"""Amount and the worst quality behind it."""
Held = dict[str, Content]
End = tuple[tuple[str, str, int], Edge | str, Fraction]
"""Where something ends, in canonical order: an edge that leaves, or a pool without a way out; and what it weighs."""


def add(content: Content, row: Row, amount: int, quality: int) -> None:
    """A nothing that was only estimated counts: what is summed with it may be short."""
    if amount or quality < MEASURED:
        known, worst = content.get(row, (0, MEASURED))
        content[row] = (known + amount, min(worst, quality))


@dataclass
class Sharing:
    """One group (a pool alone is a group too) in one hour; fills `along` and `missing_ms` of the edges it gives."""

    network: Network
    group: Group
    flows: Mapping[int, EdgeHour]
    along: dict[int, list[Content]]
    missing_ms: dict[int, list[int]]
    generators: set[str]
    hour_ms: int
    start: Held = field(default_factory=dict)

    @property
    def given(self) -> list[Edge]:
        return [edge for edge in self.network.edges if edge.giver in self.group.pools]

    @property
    def entering(self) -> list[Edge]:
        edges = (edge for edge in self.network.edges if edge.taker in self.group.pools)
        return [edge for edge in edges if edge.giver not in self.group.pools]

    @property
    def leaving(self) -> list[Edge]:
        return sorted((e for e in self.given if e.taker not in self.group.pools), key=lambda edge: edge.order)

    def work(self, held: Held) -> Held:
        every = list(range(len(next(iter(self.flows.values())).amount)))
        self.start = held
        self._pass_missing(len(every))
        for window in [every] if self.group.is_hourly else [[k] for k in every]:
            content: Held = {pool: dict(held[pool]) for pool in self.group.pools}
            for edge in self.entering:
                for k in window:
                    for row, (amount, quality) in self.along[edge.index][k].items():
                        add(content[edge.taker], row, amount, quality)
            held = self._window(content, window)
        stock: Held = {}
        for pool, kept in held.items():
            left = {row: (amount, self._cycle_worst(row, quality)) for row, (amount, quality) in kept.items() if amount}
            stock |= {pool: left} if left else {}
        return stock

    def _window(self, content: Held, window: Sequence[int]) -> Held:
        """Divides what the pools hold over the edges that leave the group; returns what finds no way out."""
        size = {edge.index: edge.share * sum(self._amounts(edge, window)) for edge in self.given}
        rows = sorted({row for pool in content for row in content[pool]})
        taken, amounts, size = self._export_first(content, rows, size)
        open_pools = self._with_a_way_out(size)
        stays: Held = {pool: {} for pool in content}
        for row in rows:
            ends = self._ends({pool: amounts[pool][row] for pool in amounts}, size, open_pools)
            shares = r1(sum(amounts[pool][row] for pool in amounts), [part for _, _, part in ends])
            worst = min(content[pool].get(row, (0, MEASURED))[1] for pool in content)
            for (_, end, _), share in zip(ends, shares, strict=True):
                if isinstance(end, str):
                    add(stays[end], row, share, worst)
                else:
                    self._over_time(end, row, share + taken.get((end.index, row), 0), worst, window)
        return stays

    def _ends(self, amounts: Mapping[str, int], size: Mapping[int, Fraction], open_pools: set[str]) -> list[End]:
        """What of a row ends on each leaving edge and in each pool without a way out, exactly."""
        visits = self._visits(amounts, size, open_pools)
        ends: list[End] = [(e.order, e, self._part(e, size) * visits.get(e.giver, 0)) for e in self.leaving]
        for pool in amounts:
            if pool not in open_pools:
                into = [edge for edge in self.given if edge.taker == pool and edge.giver in open_pools]
                came = sum((self._part(edge, size) * visits[edge.giver] for edge in into), Fraction(0))
                ends.append((("stock", pool, 0), pool, came + amounts[pool]))
        return sorted(ends, key=lambda end: end[0])

    def _amounts(self, edge: Edge, window: Sequence[int]) -> list[int]:
        """An edge's flow as it shares; what consumers carry for a loss flows along with theirs."""
        if edge.disposition == "consumers":
            return [0 for _ in window]
        return [self.flows[edge.index].amount[k] for k in window]

    def _over_time(self, edge: Edge, row: Row, share: int, worst: int, window: Sequence[int]) -> None:
        has_rest = any(other.is_rest for other in self.given)
        behind = [edge] if has_rest else self.given
        quality = min(worst, *(self.flows[other.index].quality[k] for other in behind for k in window))
        quality = self._cycle_worst(row, quality)
        for k, part in zip(window, r1(share, self._amounts(edge, window)), strict=True):
            if part:
                add(self.along[edge.index][k], row, part, quality)

    def _cycle_worst(self, row: Row, otherwise: int) -> int:
        """In a cycle everything of the hour is behind everything: what came, what was there, what flowed inside."""
        if not self.group.is_cyclic:
            return otherwise
        worst = min(quality for edge in self.given for quality in self.flows[edge.index].quality)
        for content in self.start.values():
            worst = min(worst, content.get(row, (0, MEASURED))[1])
        for edge in self.entering:
            worst = min(worst, *(content.get(row, (0, MEASURED))[1] for content in self.along[edge.index]))
        return worst

    def _pass_missing(self, buckets: int) -> None:
        """What is unknown could have changed the mix of the window, so it touches every taker (decision 4)."""
        own = any(edge.is_rest for edge in self.given) and not self.group.is_cyclic  # A rest takes what is unknown.
        for edge in self.given:
            behind = [self.missing_ms[e.index] for e in self.entering]
            behind += [self.flows[e.index].missing_ms for e in ([edge] if own else self.given)]
            touched = [max(missing[k] for missing in behind) for k in range(buckets)]
            self.missing_ms[edge.index] = r1(sum(touched), [1] * buckets) if self.group.is_hourly else touched

    def _export_first(
        self, content: Held, rows: Sequence[Row], size: Mapping[int, Fraction]
    ) -> tuple[dict[tuple[int, Row], int], dict[str, dict[Row, int]], dict[int, Fraction]]:
        """What exports take from on-site generation; the content and the flows that are left to be shared.

        This hour's first, then what older hours made. Only what is not converted counts in the unit that is exported.
        """
        amounts = {pool: {row: content[pool].get(row, (0, 0))[0] for row in rows} for pool in content}
        taken: dict[tuple[int, Row], int] = {}
        left = dict(size)
        for edge in sorted((e for e in self.given if e.taker_kind == "export"), key=lambda e: e.giver):
            for is_old in (False, True):
                made = [r for r in rows if r[0] in self.generators and (r[1] != self.hour_ms) == is_old]
                there = [
                    (row, pool) for row in made for pool in sorted(amounts) if self._can_claim(edge.giver, pool, row)
                ]
                held = [amounts[pool][row] for row, pool in there]
                parts = r1(min(sum(held), int(left[edge.index])), held)
                for (row, pool), part in zip(there, parts, strict=True):
                    taken[edge.index, row] = taken.get((edge.index, row), 0) + part
                    amounts[pool][row] -= part
                    left[edge.index] -= part
        # Nothing left to flow although there is content: the meters disagree, the same takers share it.
        return taken, amounts, left if any(left[edge.index] for edge in self.leaving) else dict(size)

    def _can_claim(self, exporter: str, pool: str, row: Row) -> bool:
        """Whether the row's source comes to the pool, and the pool's content to the exporter, without conversion."""
        return (pool == exporter or pool in self._unconverted(exporter)) and row[0] in self._unconverted(pool)

    def _unconverted(self, pool: str) -> set[str]:
        if self.network.converts.get(pool):
            return set()
        found = {pool}
        while (
            more := {e.giver for e in self.network.edges if e.taker in found and not self.network.converts.get(e.giver)}
            - found
        ):
            found |= more
        return found - {pool} | (
            {pool} if any(e.taker == pool and e.giver in found for e in self.network.edges) else set()
        )

    def _with_a_way_out(self, size: Mapping[int, Fraction]) -> set[str]:
        found = {edge.giver for edge in self.leaving if size[edge.index]}
        while more := {e.giver for e in self.given if e.taker in found and size[e.index]} - found:
            found |= more
        return found

    def _part(self, edge: Edge, size: Mapping[int, Fraction]) -> Fraction:
        out = sum(size[other.index] for other in self.given if other.giver == edge.giver)
        return Fraction(size[edge.index]) / out if size[edge.index] else Fraction(0)

    def _visits(
        self, amounts: Mapping[str, int], size: Mapping[int, Fraction], open_pools: set[str]
    ) -> dict[str, Fraction]:
        """What passes through each pool: visits[j] = amounts[j] + Σ_i visits[i] · part[i, j], solved."""
        pools = sorted(open_pools)
        if len(pools) == 1 and not self.group.is_cyclic:
            return {pools[0]: Fraction(amounts[pools[0]])}
        matrix = [[Fraction(int(i == j)) for i in pools] for j in pools]
        for edge in self.given:
            if edge.giver in open_pools and edge.taker in open_pools:
                matrix[pools.index(edge.taker)][pools.index(edge.giver)] -= self._part(edge, size)
        return dict(zip(pools, solve(matrix, [Fraction(amounts[pool]) for pool in pools]), strict=True))
