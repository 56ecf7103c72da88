"""The buckets of one hour, and exact whole numbers in arrays: int64 where it provably fits, else Python ints."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from plantprint.facts import Quality
from plantprint.intervals.series import SAFE, MeterHour

# Stretches of time that share a quality: start and end of each in milliseconds, and the quality.
Stretches = tuple[NDArray[np.int64], NDArray[np.int64], int]


@dataclass(frozen=True, eq=False)
class Grid:
    """Time from `start_ms` in n buckets of `bucket_ms`, an hour as a rule; `edges` are their n + 1 instants."""

    start_ms: int
    bucket_ms: int
    edges: NDArray[np.int64]

    @property
    def end_ms(self) -> int:
        return int(self.edges[-1])

    @property
    def buckets(self) -> int:
        return len(self.edges) - 1


def span_grid(start_ms: int, end_ms: int, bucket_s: int) -> Grid:
    assert (end_ms - start_ms) % (bucket_s * 1000) == 0, "a span is whole buckets"
    return Grid(start_ms, bucket_s * 1000, np.arange(start_ms, end_ms + 1, bucket_s * 1000, dtype=np.int64))


def whole(values: Sequence[int] | NDArray[Any], bound: int) -> NDArray[Any]:
    """Integers as an array in which results up to `bound` (inclusive) are exact."""
    return np.asarray(values, dtype=np.int64 if bound < SAFE else object)


def rounded(numerator: NDArray[Any], denominator: NDArray[Any]) -> NDArray[Any]:
    """Element by element like `quantities.round_half_even`; 2 x denominator must fit the arrays' type."""
    quotient = numerator // denominator
    double = 2 * (numerator - quotient * denominator)
    up = (double > denominator) | ((double == denominator) & (quotient % 2 == 1))
    result: NDArray[Any] = quotient + up.astype(quotient.dtype)
    return result


def unknown_besides(known: Iterable[tuple[int, int]], grid: Grid) -> list[tuple[int, int]]:
    """What the known stretches, sorted by start, leave open of the hour."""
    unknown: list[tuple[int, int]] = []
    at = grid.start_ms
    for start, end in known:
        if start > at:
            unknown.append((at, min(start, grid.end_ms)))
        at = max(at, end)
        if at >= grid.end_ms:
            return unknown
    return [*unknown, (at, grid.end_ms)]


def assemble(
    grid: Grid,
    amount: NDArray[Any],
    unknown: Iterable[tuple[int, int]],
    lowered: Iterable[Stretches],
    until_ms: int,
) -> MeterHour:
    """The hour from its amounts, the disjoint stretches that are unknown, and those known less well than measured."""
    open_ms = np.zeros(grid.buckets, dtype=np.int64)
    missing_ms = np.zeros(grid.buckets, dtype=np.int64)
    past = np.minimum(grid.edges, until_ms)
    for start, end in unknown:
        open_ms += _lengths(np.clip(grid.edges, start, end))
        missing_ms += _lengths(np.clip(past, start, end))
    quality = np.full(grid.buckets, Quality.MEASURED, dtype=np.int8)
    for starts, ends, level in lowered:
        quality[_touched(grid, starts, ends)] = np.minimum(quality[_touched(grid, starts, ends)], level)
    quality[open_ms == grid.bucket_ms] = Quality.MISSING
    return MeterHour(amount.astype(np.int64), quality, missing_ms.astype(np.int32))


def _lengths(edges_ms: NDArray[np.int64]) -> NDArray[np.int64]:
    return edges_ms[1:] - edges_ms[:-1]


def _touched(grid: Grid, starts: NDArray[np.int64], ends: NDArray[np.int64]) -> NDArray[np.bool_]:
    starts = np.clip(starts, grid.start_ms, grid.end_ms)
    ends = np.clip(ends, grid.start_ms, grid.end_ms)
    inside = ends > starts
    change = np.zeros(grid.buckets + 1, dtype=np.int64)
    np.add.at(change, (starts[inside] - grid.start_ms) // grid.bucket_ms, 1)
    np.add.at(change, -((grid.start_ms - ends[inside]) // grid.bucket_ms), -1)
    return np.asarray(np.cumsum(change)[:-1] > 0)
