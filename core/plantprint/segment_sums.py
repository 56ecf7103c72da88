"""Many segments of many work units at once: their sums, cut at their edges, and each divided among its accounts."""

from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from plantprint.allocation import Segment
from plantprint.divide_arrays import Ints, rounded_quotient
from plantprint.flows import Weights
from plantprint.times import HOUR_MS

# What 64 bits certainly hold.
_SMALL = 2**62


class Parts(NamedTuple):
    """Segments of work units by column; those of a work unit, which `unit` numbers, do not overlap.

    `from_ms` and `to_ms` [part] count from where the amounts begin, `counts` [part] are the accounts that share it, and
    `weights` [share] theirs, part by part in canonical order; they are Python's integers where 64 bits may not hold a
    part's sum.
    """

    unit: Ints
    from_ms: Ints
    to_ms: Ints
    counts: Ints
    weights: Weights

    @staticmethod
    def of(segments: Sequence[tuple[int, int, Segment]]) -> "Parts":
        """Of (work unit, hour, segment), both by number."""
        weights = [weight for _, _, part in segments for _, weight in part.shares]
        most = max((len(part.shares) for _, _, part in segments), default=0)
        return Parts(
            np.array([unit for unit, _, _ in segments], np.int64),
            np.array([hour * HOUR_MS + part.from_ms for _, hour, part in segments], np.int64),
            np.array([hour * HOUR_MS + part.to_ms for _, hour, part in segments], np.int64),
            np.array([len(part.shares) for _, _, part in segments], np.int64),
            np.array(weights, np.int64 if most * max(weights, default=0) < _SMALL else object),
        )


def allocate_totals(amount: Ints, bucket_ms: int, parts: Parts) -> Ints:
    """Sums [share, row] of the shares of `parts`: what `allocate` gives, summed over buckets, for all of them at once.

    `amount` is [unit, row, bucket]; shares come in the order of the parts and of their accounts.
    """
    totals = np.empty((len(parts.unit), amount.shape[1]), np.int64)
    order = np.lexsort((parts.from_ms, parts.unit))
    unit, from_ms, to_ms = parts.unit[order], parts.from_ms[order], parts.to_ms[order]
    first, head_ms = np.divmod(from_ms, bucket_ms)
    last, tail_ms = np.divmod(to_ms, bucket_ms)
    tails = _parts_of_buckets(amount, unit, last, tail_ms, bucket_ms)
    sums = _bucket_sums(amount, unit, first, last)
    sums += tails
    # Where a part begins as the one before it ends, it lacks what that one has of the bucket.
    goes_on = (unit[1:] == unit[:-1]) & (from_ms[1:] == to_ms[:-1])
    np.subtract(sums[1:], tails[:-1], out=sums[1:], where=goes_on[:, None])
    alone = np.flatnonzero(np.concatenate(([True], ~goes_on))[: len(unit)])
    sums[alone] -= _parts_of_buckets(amount, unit[alone], first[alone], head_ms[alone], bucket_ms)
    totals[order] = sums
    return _divided(totals, parts.counts, parts.weights)


def _bucket_sums(amount: Ints, units: Ints, first: Ints, behind: Ints) -> Ints:
    """Sums [part, row] of each part's buckets from `first` to before `behind`; parts by work unit and time."""
    sums = np.empty((len(units), amount.shape[1]), np.int64)
    # What lies between a pair of edges is a part, what lies between two pairs is not.
    edges = np.stack([first, behind], axis=1)
    cuts = np.searchsorted(units, np.arange(len(amount) + 1))
    for unit, (start, end) in enumerate(pairwise(cuts.tolist())):
        of_unit = edges[start:end].ravel()
        inside = of_unit[of_unit < amount.shape[2]]
        if inside.size:
            sums[start : start + (inside.size + 1) // 2] = np.add.reduceat(amount[unit], inside, axis=1)[:, ::2].T
    sums[first == behind] = 0
    return sums


def _parts_of_buckets(amount: Ints, units: Ints, bucket: Ints, part_ms: Ints, bucket_ms: int) -> Ints:
    """By part the amounts [part, row] of one bucket up to an instant inside it."""
    found = np.zeros((len(units), amount.shape[1]), np.int64)
    cuts = np.flatnonzero(part_ms)
    amounts = amount[units[cuts], :, bucket[cuts]]
    found[cuts] = rounded_quotient(amounts, part_ms[cuts, None], np.array([[bucket_ms]]))
    return found


def _divided(totals: Ints, counts: Ints, weights: Weights) -> Ints:
    """Rule R1 for totals [part, row], each among so many accounts: shares [share, row]."""
    shares: Ints = np.repeat(totals, counts, axis=0)
    shared, counts = np.flatnonzero(np.repeat(counts > 1, counts)), counts[counts > 1]
    if not shared.size:
        return shares
    begins = np.cumsum(counts) - counts
    upto = np.cumsum(weights[shared])  # It may wrap over many parts; differences within one are right all the same.
    upto -= np.repeat(upto[begins] - weights[shared[begins]], counts)
    total = np.repeat(upto[begins + counts - 1], counts)
    if not total.all():
        upto = np.where(total == 0, np.arange(1, len(shared) + 1) - np.repeat(begins, counts), upto)
        total = np.where(total == 0, np.repeat(counts, counts), total)
    rounded = rounded_quotient(shares[shared], upto[:, None], total[:, None])
    steps = rounded.copy()
    steps[1:] -= rounded[:-1]
    steps[begins] = rounded[begins]
    shares[shared] = steps
    return shares
