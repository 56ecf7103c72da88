"""Rule R2: pools that feed each other share their inflow once, by the exact rational solution of proportional sharing.

Content of a pool from which nothing leaves the cycle in a window stays there and tries the next window. Python's fractions
solve, window by window, what float64 cannot prove to the last digit.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from plantprint.divide_arrays import Ints, divide_arrays
from plantprint.exports import OnSite
from plantprint.facts import Quality
from plantprint.flows import Flows, Qualities, by_hour, canonical
from plantprint.plant.graph import Edge
from plantprint.proven import proven_shares
from plantprint.quantities import divide, round_half_even
from plantprint.sharing import Bools, Held, Parcels, PoolPlan, weighted

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
    plans: Sequence[PoolPlan], flows: Flows, parcels: Parcels, held: Mapping[str, Held], on_site: OnSite
) -> dict[str, Held]:
    """Divides what entered the cycle, and what was `held`, over its leaving edges; returns what is left, by pool.

    That is [row, hour], of each hour as if it were alone: only the first begins with what was held.
    """
    cycle = _cycle(plans)
    edges = [edge.index for edge in (*cycle.inner, *cycle.leaving)]
    weights = by_hour(flows.amount[edges], flows.hours).sum(axis=-1) if cycle.hourly else flows.amount[edges]
    weights = weighted(weights, [edge.share for edge in (*cycle.inner, *cycle.leaving)])
    entered = np.stack([_entered(cycle, pool, parcels, flows.hours) for pool in cycle.pools])
    shares, is_proven = _many_windows(cycle, weights, entered)
    left = {pool: np.zeros((entered.shape[1], flows.hours), np.int64) for pool in cycle.pools}
    for pool in cycle.pools:
        left[pool][:, 0] = held[pool].amount
    per_hour = is_proven.shape[1] // flows.hours
    unsolved = ~by_hour(is_proven, flows.hours).all(axis=(0, 2))
    unsolved[0] |= any(layers.amount.any() for layers in held.values())
    for hour in np.flatnonzero(unsolved).tolist():
        waiting: Content = {pool: left[pool][:, hour].tolist() for pool in cycle.pools}
        for window in range(hour * per_hour, (hour + 1) * per_hour):
            waits = any(map(any, waiting.values()))
            rows = list(range(entered.shape[1])) if waits else np.flatnonzero(~is_proven[:, window]).tolist()
            if not rows:
                continue
            content = {
                pool: [waiting[pool][row] + int(entered[number, row, window]) for row in rows]
                for number, pool in enumerate(cycle.pools)
            }
            amounts = dict(zip(edges, weights[:, window].tolist(), strict=True))
            given, kept = _share_window(cycle, amounts, content, on_site)
            shares[:, rows, window] = given
            for pool, amount in kept.items():
                for row, part in zip(rows, amount, strict=True):
                    waiting[pool][row] = part
        for pool in cycle.pools:
            left[pool][:, hour] = waiting[pool]
    quality = _hand_out(cycle, flows, parcels, held, shares)
    return {pool: Held(a, np.where(a > 0, quality, np.int8(Quality.MEASURED))) for pool, a in left.items()}


def _entered(cycle: _Cycle, pool: str, parcels: Parcels, hours: int) -> Ints:
    amount: Ints = parcels.amount[[edge.index for edge in cycle.entering if edge.taker == pool]].sum(axis=0)
    windows: Ints = by_hour(amount, hours).sum(axis=-1) if cycle.hourly else amount
    return windows


def _many_windows(cycle: _Cycle, weights: Ints, entered: Ints) -> tuple[Ints, Bools]:
    """Shares [leaving edge, row, window] of what entered, and where [row, window] that is exact."""
    pools, rows, windows = entered.shape
    shares = np.zeros((len(cycle.leaving), rows, windows), np.int64)
    if cycle.exports:  # They take their part first, window by window.
        return shares, np.zeros((rows, windows), bool)
    place = {pool: number for number, pool in enumerate(cycle.pools)}
    ways = np.zeros((pools, pools + len(cycle.leaving), windows))
    for number, edge in enumerate(cycle.inner):
        ways[place[edge.giver], place[edge.taker]] += weights[number].astype(np.float64)
    for number, edge in enumerate(cycle.leaving):
        ways[place[edge.giver], pools + number] = weights[len(cycle.inner) + number].astype(np.float64)
    there = np.flatnonzero(entered.any(axis=(0, 2)))
    is_exact = np.ones((rows, windows), bool)
    shares[:, there], is_exact[there] = proven_shares(ways, entered[:, there])
    return shares, is_exact


def _share_window(
    cycle: _Cycle, weights: dict[int, int], content: Content, on_site: OnSite
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
    cycle: _Cycle, weights: dict[int, int], content: Content, on_site: OnSite
) -> tuple[list[list[int]], dict[int, int]]:
    """Exports take what is made on site out of `content`; returns that by leaving edge and the weights that remain."""
    taken = [[0] * len(content[cycle.pools[0]]) for _ in cycle.leaving]
    rest = dict(weights)
    for edge in cycle.exports:
        given = taken[cycle.leaving.index(edge)]
        for claimed in on_site.claimed(edge.giver, cycle.pools):
            there = [content[pool][row] for row, pool in claimed]
            for (row, pool), part in zip(claimed, divide(min(sum(there), rest[edge.index]), there), strict=True):
                given[row] += part
                content[pool][row] -= part
                rest[edge.index] -= part
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
    """Writes the shares to the leaving edges by bucket; returns the worst quality [row, hour] of all the cycle saw."""
    leaving = [edge.index for edge in cycle.leaving]
    inside = [edge.index for edge in (*cycle.inner, *cycle.leaving)]
    entering = [edge.index for edge in cycle.entering]
    if cycle.hourly:
        course = by_hour(flows.amount[leaving], flows.hours)[:, None]
        shares = divide_arrays(shares, course).reshape(*shares.shape[:2], -1)
    quality: Qualities = np.minimum(
        by_hour(parcels.quality[entering], flows.hours).min(axis=(0, 3), initial=Quality.MEASURED),
        by_hour(flows.quality[inside], flows.hours).min(axis=(0, 2), initial=Quality.MEASURED),
    )
    for kept in held.values():
        quality[:, 0] = np.minimum(quality[:, 0], kept.quality)
    parcels.amount[leaving] = shares
    for hour in np.flatnonzero((quality < Quality.MEASURED).any(axis=0)).tolist():
        given = by_hour(shares, flows.hours)[:, :, hour]
        worst = np.where(given == 0, np.int8(Quality.MEASURED), quality[:, hour, None])
        by_hour(parcels.quality, flows.hours)[leaving, :, hour] = worst
    missing = np.maximum(
        parcels.missing_ms[entering].max(axis=0, initial=0), flows.missing_ms[inside].max(axis=0, initial=0)
    )
    if cycle.hourly and missing.any():
        hours = by_hour(missing, flows.hours)
        missing = divide_arrays(hours.sum(axis=1), np.ones(hours.shape[1], np.int64)).ravel()
    parcels.missing_ms[leaving] = missing
    return quality
