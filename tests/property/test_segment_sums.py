"""All segments at once come out as one by one: cut at their edges, summed, and divided by rule R1."""

from collections.abc import Iterator
from itertools import pairwise

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from random_plants import UNHURRIED

from plantprint.allocation import Account, Segment, cut
from plantprint.divide_arrays import Ints
from plantprint.quantities import divide
from plantprint.segment_sums import Parts, allocate_totals
from plantprint.times import HOUR_MS

BUCKETS = 4
amounts = st.sampled_from([0, 1, 2, 7, 101, 10**9, 2**52])
weights = st.sampled_from([0, 1, 2, 1_000_003, 2**40, 2**61, 2**63, 2**70])
edges = st.sets(st.sampled_from([0, 1, 899_999, 900_000, 900_001, 1_234_567, 2_700_000, HOUR_MS]), min_size=2)
small = st.sampled_from([0, 1, 2, 3_000_000])
large = st.sampled_from([1, 2**61, 2**62 - 1])


@st.composite
def segments_of(draw: st.DrawFn) -> list[tuple[int, int, Segment]]:
    """Segments of three work units in two hours, some next to each other, some apart, by hour and work unit."""
    weight = draw(st.sampled_from([small, large, weights]))
    found = []
    for hour in range(2):
        for unit in range(3):
            cuts = sorted(draw(edges))
            for from_ms, to_ms in pairwise(cuts):
                if draw(st.integers(0, 4)):
                    several = draw(st.lists(weight, min_size=1, max_size=4))
                    shares = tuple((Account("batch", f"b-{number}"), w) for number, w in enumerate(several))
                    found.append((unit, hour, Segment(from_ms, to_ms, shares)))
    return draw(st.permutations(found))


def one_by_one(amount: Ints, parts: list[tuple[int, int, Segment]]) -> Iterator[list[int]]:
    for unit, hour, part in parts:
        of_hour = amount[unit, :, hour * BUCKETS : (hour + 1) * BUCKETS]
        totals = cut(of_hour, part.from_ms, part.to_ms).sum(axis=1).tolist()
        shares = [divide(total, [weight for _, weight in part.shares]) for total in totals]
        yield from map(list, zip(*shares, strict=True))


@settings(UNHURRIED, max_examples=60)
@given(segments_of(), st.lists(amounts, min_size=48, max_size=48))
def test_segments_at_once_are_divided_as_one_by_one(parts: list[tuple[int, int, Segment]], values: list[int]) -> None:
    amount = np.array(values, np.int64).reshape(3, 2, 2 * BUCKETS)
    found = allocate_totals(amount, HOUR_MS // BUCKETS, Parts.of(parts))
    assert found.tolist() == list(one_by_one(amount, parts))
