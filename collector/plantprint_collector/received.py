"""The set of received chunks of one epoch as sorted, disjoint, closed ranges of seq."""

from bisect import bisect_right
from collections.abc import Iterable, Sequence

Ranges = list[tuple[int, int]]


def holds(ranges: Sequence[tuple[int, int]], seq: int) -> bool:
    return find(ranges, seq) is not None


def find(ranges: Sequence[tuple[int, int]], seq: int) -> tuple[int, int] | None:
    """The range that holds `seq`, or None."""
    index = bisect_right(ranges, seq, key=lambda r: r[0]) - 1
    return ranges[index] if index >= 0 and ranges[index][1] >= seq else None


def extend(ranges: Iterable[tuple[int, int]], seqs: Iterable[int]) -> Ranges:
    """The ranges with `seqs` added; neighbours are joined."""
    merged: Ranges = []
    for low, high in sorted([*ranges, *((seq, seq) for seq in seqs)]):
        if merged and low <= merged[-1][1] + 1:
            merged[-1] = (merged[-1][0], max(merged[-1][1], high))
        else:
            merged.append((low, high))
    return merged


def around(ranges: Sequence[tuple[int, int]], seqs: Iterable[int]) -> Ranges:
    """The ranges that hold any of `seqs`: what an acknowledgement of them needs to say."""
    return sorted({found for seq in seqs if (found := find(ranges, seq)) is not None})


def to_sql(ranges: Iterable[tuple[int, int]]) -> str:
    """As a PostgreSQL int8multirange literal."""
    return "{" + ",".join(f"[{low},{high}]" for low, high in ranges) + "}"
