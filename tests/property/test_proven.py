"""Cycles solved in float64: every digit that is called proven is that of the exact solution in fractions."""

from fractions import Fraction

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from plantprint.proven import proven_shares
from plantprint.quantities import round_half_even

weights = st.integers(0, 9) | st.integers(0, 2**40) | st.integers(2**60, 2**70)
contents = st.integers(0, 20) | st.integers(0, 10**10) | st.integers(2**48, 2**62)


def exact(ways: list[list[int]], content: list[int]) -> list[int] | None:
    """Shares by edge by taking pools out in Python's fractions; None where content finds no way out."""
    pools = len(ways)
    rows = [[Fraction(way) for way in row] for row in ways]
    inside = [Fraction(amount) for amount in content]
    given_ = [Fraction(0)] * (len(ways[0]) - pools)
    for pool in range(pools):
        out = sum(way for end, way in enumerate(rows[pool]) if end != pool)
        if not out:
            if inside[pool] or any(rows[other][pool] for other in range(pool + 1, pools)):
                return None
            continue
        part = [Fraction(0) if end == pool else way / out for end, way in enumerate(rows[pool])]
        for end, share in enumerate(part):
            if end >= pools:
                given_[end - pools] += inside[pool] * share
            elif end > pool:
                inside[end] += inside[pool] * share
        for other in range(pool + 1, pools):
            back, rows[other][pool] = rows[other][pool], Fraction(0)
            rows[other] = [way + back * share for way, share in zip(rows[other], part, strict=True)]
    upto = [round_half_even(total.numerator, total.denominator) for total in _running(given_)]
    return [after - before for before, after in zip([0, *upto], upto, strict=False)]


def _running(values: list[Fraction]) -> list[Fraction]:
    return [sum(values[: end + 1], Fraction(0)) for end in range(len(values))]


@given(st.data(), st.integers(2, 3), st.integers(1, 4))
def test_what_is_proven_is_exact_and_adds_up(data: st.DataObject, pools: int, edges: int) -> None:
    ways = [[data.draw(weights) if end != pool else 0 for end in range(pools + edges)] for pool in range(pools)]
    content = [data.draw(contents) for _ in range(pools)]
    shares, is_proven = proven_shares(np.array(ways, np.float64)[:, :, None], np.array(content)[:, None, None])
    wanted = exact(ways, content)
    assert wanted is not None or not is_proven[0, 0]
    if is_proven[0, 0]:
        assert shares[:, 0, 0].tolist() == wanted
        assert sum(shares[:, 0, 0].tolist()) == sum(content)


def test_ordinary_amounts_are_proven_and_ties_are_not() -> None:
    ways = np.array([[0.0, 300, 900], [200, 0, 600]])[:, :, None]
    assert proven_shares(ways, np.array([1001, 503])[:, None, None])[1].all()
    half = np.array([[0.0, 0, 1, 1], [0, 0, 0, 1]])[:, :, None]
    assert not proven_shares(half, np.array([1, 0])[:, None, None])[1].any()
