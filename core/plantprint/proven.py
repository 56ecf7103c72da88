"""Rule R2 in float64 for many windows at once, with a bound that says which of its digits are proven.

Content goes round a cycle until it has left; pools are taken out one by one, and what came to such a pool goes on to where
its ways out lead. That adds, multiplies and divides amounts that are not negative and never subtracts, so relative errors
only add up: one of 2^-53 per operation. Where a cumulative share is farther from a tie than its error, rounding it gives
the same integer as the exact solution would.
"""

import numpy as np
from numpy.typing import NDArray

from plantprint.divide_arrays import Ints

Bools = NDArray[np.bool_]


def proven_shares(ways: NDArray[np.float64], content: Ints) -> tuple[Ints, Bools]:
    """Shares [edge, row, window] of content [pool, row, window], and where [row, window] they are proven.

    `ways` [pool, pool or edge, window] are the flows between the pools and then over the edges that leave the cycle, in
    canonical order. Content of a pool from which nothing leaves is not proven.
    """
    pools, ends = ways.shape[:2]
    ways = ways.copy()
    inside = content.astype(np.float64)
    given = np.zeros((ends - pools, *content.shape[1:]))
    is_proven = np.ones(content.shape[1:], bool)
    for pool in range(pools):
        ways[pool, pool] = 0
        total = ways[pool].sum(axis=0)
        closed = total == 0
        parts = ways[pool] / np.where(closed, 1, total)
        is_proven &= ~(closed & ((inside[pool] > 0) | (ways[pool + 1 :, pool] > 0).any(axis=0)))
        inside[pool + 1 :] += inside[pool] * parts[pool + 1 : pools, None]
        given += inside[pool] * parts[pools:, None]
        for other in range(pool + 1, pools):
            ways[other] += ways[other, pool] * parts
            ways[other, pool] = 0
    upto = np.cumsum(given, axis=0)
    rounded = np.rint(upto)
    error = upto * _error(pools, ends)
    is_proven &= (np.abs(upto - rounded) < 0.5 - error).all(axis=0)
    shares = np.where(is_proven, rounded, 0).astype(np.int64)
    shares[1:] -= shares[:-1].copy()
    return shares, is_proven


def _error(pools: int, ends: int) -> float:
    """The most by which a cumulative share of `proven_shares` can be wrong, relative to it; twice that, to be sure."""
    way = inside = given = 1  # Integers become float64.
    for _ in range(pools):
        part = 2 * way + ends + 1
        given = max(given, inside + part + 1) + 1
        inside += part + 2
        way += part + 2
    return 2.0 * (given + ends) * 2.0**-53
