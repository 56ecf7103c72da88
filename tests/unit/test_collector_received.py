"""The set of received chunks behaves like a set of numbers."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from plantprint_collector import received

SEQS = st.lists(st.integers(0, 40), max_size=30)


@given(SEQS, SEQS)
def test_ranges_are_a_set(first: list[int], second: list[int]) -> None:
    ranges = received.extend(received.extend([], first), second)
    assert {n for n in range(50) if received.holds(ranges, n)} == set(first) | set(second)
    assert received.extend([], [*second, *first]) == ranges
    assert all(low <= high for low, high in ranges)
    assert all(b[0] > a[1] + 1 for a, b in pairwise(ranges)), "neighbours are joined"


@given(SEQS, SEQS)
def test_an_acknowledgement_covers_what_it_is_about_and_nothing_else(stored: list[int], asked: list[int]) -> None:
    ranges = received.extend([], stored)
    told = received.around(ranges, asked)
    assert set(told) <= set(ranges)
    assert [n for n in asked if received.holds(told, n)] == [n for n in asked if n in set(stored)]


def test_sql_text() -> None:
    assert received.to_sql(received.extend([], [1, 2, 7])) == "{[1,2],[7,7]}"
    assert received.to_sql([]) == "{}"
