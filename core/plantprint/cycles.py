"""Rule R2: pools that feed each other share their inflow once, by the exact rational solution of proportional sharing.

Content of a pool from which nothing leaves the cycle in a window stays there and tries the next window. Cycles are rare
and small, so this works with Python's fractions, window by window.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from plantprint.divide_arrays import Ints, divide_arrays
from plantprint.facts import Quality
from plantprint.flows import Flows, Qualities, canonical
from plantprint.plant.graph import Edge
from plantprint.quantities import round_half_even
from plantprint.sharing import Held, Parcels, PoolPlan, weighted

Content = dict[str, list[int]]
"""Amounts by row of each pool in the cycle."""


@dataclass(frozen=True, slots=True)
class _Cycle:
    """Edges of a cycle: `entering` from outside, `inner` between its pools, `leaving` in canonical order."""

    pools: tuple[str, ...]
    entering: tuple[Edge, ...]
    inner: tuple[Edge, ...]
    leaving: tuple[Edge, ...]
    exports: tuple[Edge, ...]
    hourly: bool


def _cycle(plans: Sequence[PoolPlan]) -> _Cycle:
    pools = tuple(plan.pool for plan in plans)
    given = [edge for plan in plans for edge in plan.outflows]
    return _Cycle(
        pools,
        tuple(edge for plan in plans for edge in plan.inflows if edge.giver not in pools),
        tuple(edge for edge in given if edge.taker in pools),
        tuple(sorted((edge for edge in given if edge.taker not in pools), key=canonical)),
        tuple(plan.outflows[position] for plan in plans for position in plan.exports),
        plans[0].hourly,
    )


def share_cycle(
    plans: Sequence[PoolPlan], flows: Flows, parcels: Parcels, held: Mapping[str, Held], on_site: list[int]
) -> dict[str, Held]:
    """Divides what entered the cycle, and what was `held`, over its leaving edges; returns what is left, by pool."""
    cycle = _cycle(plans)
    edges = [edge.index for edge in (*cycle.inner, *cycle.leaving)]
    weights = flows.amount[edges].sum(axis=1, keepdims=True) if cycle.hourly else flows.amount[edges]
    weights = weighted(weights, [edge.share for edge in (*cycle.inner, *cycle.leaving)])
    entered = {pool: _entered(cycle, pool, parcels) for pool in cycle.pools}
    waiting: Content = {pool: held[pool].amount.tolist() for pool in cycle.pools}
    shares = np.zeros((len(cycle.leaving), parcels.amount.shape[1], weights.shape[1]), np.int64)
    for window in range(weights.shape[1]):
        content = {
            pool: [a + b for a, b in zip(waiting[pool], entered[pool][:, window].tolist(), strict=True)]
            for pool in cycle.pools
        }
        amounts = dict(zip(edges, weights[:, window].tolist(), strict=True))
        given, waiting = _share_window(cycle, amounts, content, on_site)
        shares[:, :, window] = given
    quality = _hand_out(cycle, flows, parcels, held, shares)
    return {pool: _left(amounts, quality) for pool, amounts in waiting.items()}


def _entered(cycle: _Cycle, pool: str, parcels: Parcels) -> Ints:
    amount: Ints = parcels.amount[[edge.index for edge in cycle.entering if edge.taker == pool]].sum(axis=0)
    return amount.sum(axis=1, keepdims=True) if cycle.hourly else amount


def _left(amounts: list[int], quality: Qualities) -> Held:
    amount = np.array(amounts, np.int64)
    return Held(amount, np.where(amount > 0, quality, np.int8(Quality.MEASURED)))


def _share_window(
    cycle: _Cycle, weights: dict[int, int], content: Content, on_site: list[int]
) -> tuple[list[list[int]], Content]:
    """Shares [leaving edge][row] of one window's content, and what stays in pools from which nothing leaves."""
    shares, weights = _export_first(cycle, weights, content, on_site)
    closed: Content = {pool: [0] * len(amounts) for pool, amounts in content.items()}
    out = {pool: sum(weights[e.index] for e in (*cycle.inner, *cycle.leaving) if e.giver == pool) for pool in content}
    open_pools = _open_pools(cycle, weights)
    through = _through(cycle, weights, out, open_pools, content)
    sinks: list[tuple[tuple[str, str, int], Edge | None, list[int]]] = [
        (canonical(edge), edge, shares[number]) for number, edge in enumerate(cycle.leaving) if edge.giver in open_pools
    ]
    sinks += [(("stock", pool, 0), None, closed[pool]) for pool in cycle.pools if pool not in open_pools]
    for row in range(len(content[cycle.pools[0]])):
        upto, before = Fraction(0), 0
        for (_, node, _), edge, place in sorted(sinks, key=lambda sink: sink[0]):
            if edge is None:
                into = [e for e in cycle.inner if e.taker == node and e.giver in open_pools]
                upto += content[node][row]
            else:
                into = [edge]
            upto += sum((through[e.giver][row] * weights[e.index] / out[e.giver] for e in into), Fraction(0))
            after = round_half_even(upto.numerator, upto.denominator)
            place[row] += after - before
            before = after
        assert before == sum(amounts[row] for amounts in content.values()), "a cycle hands out what entered it"
    return shares, closed


def _export_first(
    cycle: _Cycle, weights: dict[int, int], content: Content, on_site: list[int]
) -> tuple[list[list[int]], dict[int, int]]:
    """Exports take what is made on site out of `content`; returns that by leaving edge and the weights that remain."""
    rows = len(content[cycle.pools[0]])
    taken = [[0] * rows for _ in cycle.leaving]
    rest = dict(weights)
    for edge in cycle.exports:
        for row in on_site:
            for pool in cycle.pools:
                amount = min(content[pool][row], rest[edge.index])
                taken[cycle.leaving.index(edge)][row] += amount
                content[pool][row] -= amount
                rest[edge.index] -= amount
    # Where the exports took all that was asked for but content remains, the same takers share it.
    return taken, rest if any(rest[edge.index] for edge in cycle.leaving) else weights


def _open_pools(cycle: _Cycle, weights: Mapping[int, int]) -> list[str]:
    """Pools from which something leaves the cycle in this window, directly or over others."""
    found = {edge.giver for edge in cycle.leaving if weights[edge.index]}
    grown = True
    while grown:
        more = {edge.giver for edge in cycle.inner if weights[edge.index] and edge.taker in found} - found
        grown = bool(more)
        found |= more
    return sorted(found)


def _through(
    cycle: _Cycle, weights: Mapping[int, int], out: Mapping[str, int], pools: list[str], content: Content
) -> dict[str, list[Fraction]]:
    """What passes through each open pool, by row: its own content and its part of what the others pass on, solved."""
    number = {pool: n for n, pool in enumerate(pools)}
    size = len(pools)
    matrix = [
        [Fraction(int(n == column)) for column in range(size)] + [Fraction(amount) for amount in content[pool]]
        for n, pool in enumerate(pools)
    ]
    for edge in cycle.inner:
        if edge.giver in number and edge.taker in number:
            matrix[number[edge.taker]][number[edge.giver]] -= Fraction(weights[edge.index], out[edge.giver])
    for column in range(size):
        pivot = next(n for n in range(column, size) if matrix[n][column])
        matrix[column], matrix[pivot] = matrix[pivot], matrix[column]
        scale = matrix[column][column]
        matrix[column] = [value / scale for value in matrix[column]]
        for n in range(size):
            factor = matrix[n][column]
            if n != column and factor:
                matrix[n] = [a - factor * b for a, b in zip(matrix[n], matrix[column], strict=True)]
    return {pool: matrix[n][size:] for pool, n in number.items()}


def _hand_out(cycle: _Cycle, flows: Flows, parcels: Parcels, held: Mapping[str, Held], shares: Ints) -> Qualities:
    """Writes the shares to the leaving edges by bucket; returns the worst quality by row of all that the cycle saw."""
    leaving = [edge.index for edge in cycle.leaving]
    inside = [edge.index for edge in (*cycle.inner, *cycle.leaving)]
    entering = [edge.index for edge in cycle.entering]
    if cycle.hourly:
        shares = divide_arrays(shares[:, :, 0], flows.amount[leaving][:, None, :])
    quality: Qualities = np.minimum(
        parcels.quality[entering].min(axis=(0, 2), initial=Quality.MEASURED),
        flows.quality[inside].min(initial=Quality.MEASURED),
    )
    for kept in held.values():
        quality = np.minimum(quality, kept.quality)
    parcels.amount[leaving] = shares
    parcels.quality[leaving] = np.where(shares == 0, np.int8(Quality.MEASURED), quality[None, :, None])
    missing = np.maximum(
        parcels.missing_ms[entering].max(axis=0, initial=0), flows.missing_ms[inside].max(axis=0, initial=0)
    )
    if cycle.hourly:
        missing = divide_arrays(np.atleast_1d(missing.sum()), np.ones((1, len(missing)), np.int64))[0]
    parcels.missing_ms[leaving] = missing
    return quality
