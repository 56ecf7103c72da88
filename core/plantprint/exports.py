"""What an export takes first: what is made on site, as far as it comes to the export without being converted.

Within a conserving pool an amount of such a source is as much flow, so it can be compared with what is exported; what a
converter made of it has another unit, and leaves at the mix of what it is in.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np

from plantprint.divide_arrays import Ints, divide_arrays
from plantprint.plant.graph import PlantGraph

Row = tuple[str, int]
"""(source, hour in which it crossed the boundary)."""
Tiers = list[list[int]]
"""Row numbers: of this hour, then of hours before."""


@dataclass(frozen=True, eq=False)
class OnSite:
    """The rows that are made on site, and `ways`: by pool the nodes whose content comes to it unconverted."""

    rows: tuple[Row, ...]
    generators: frozenset[str]
    hour_ms: int
    ways: Mapping[str, frozenset[str]]

    @cached_property
    def _tiers(self) -> Tiers:
        made = [number for number, (source, _) in enumerate(self.rows) if source in self.generators]
        return [[number for number in made if (self.rows[number][1] == self.hour_ms) == now] for now in (True, False)]

    def tiers(self, pool: str) -> Tiers:
        """What an export from `pool` may claim of the pool's own content."""
        return [[number for number in tier if self.rows[number][0] in self.ways[pool]] for tier in self._tiers]

    def claimed(self, pool: str, pools: Sequence[str]) -> list[list[tuple[int, str]]]:
        """What an export from `pool` may claim in a cycle: (row, pool of the cycle in which it is)."""
        near = [name for name in pools if name == pool or name in self.ways[pool]]
        return [
            [(number, name) for number in tier for name in near if self.rows[number][0] in self.ways[name]]
            for tier in self._tiers
        ]


@lru_cache(maxsize=16)
def unconverted_ways(graph: PlantGraph) -> Mapping[str, frozenset[str]]:
    """By pool every source, pool and store from which something comes to it without passing a converter."""
    return {pool: frozenset() if _converts(graph, pool) else _before(graph, pool) for pool in graph.pools}


def _before(graph: PlantGraph, pool: str) -> frozenset[str]:
    found: set[str] = set()
    waiting = [pool]
    while waiting:
        givers = {edge.giver for edge in graph.inflows.get(waiting.pop(), ()) if not _converts(graph, edge.giver)}
        waiting += givers - found
        found |= givers
    return frozenset(found)


def _converts(graph: PlantGraph, node: str) -> bool:
    # A pool that stands for what passes through a store bears the store's id: nothing is converted there.
    pool = graph.pools.get(node)
    return pool is not None and pool.converts and pool.id == node


def take_first(amount: Ints, exported: Ints, tiers: Tiers) -> Ints:
    """Of content [row, window] what exports [export, window] take first → [export, row, window], by R1 within a tier."""
    taken = np.zeros((len(exported), *amount.shape), np.int64)
    for export, flow in enumerate(exported):
        left = flow.copy()
        for tier in tiers:
            there = amount[tier] - taken[:, tier].sum(axis=0)
            part = np.minimum(there.sum(axis=0), left)
            taken[export, tier] = divide_arrays(part, there.T).T
            left -= part
    return taken
