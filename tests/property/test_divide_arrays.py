"""R1 over arrays gives the shares of `quantities.divide`, digit for digit, up to the end of 64 bits."""

from fractions import Fraction

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from parts import missing

from plantprint.divide_arrays import divide_arrays, rounded_quotient
from plantprint.kernel import compiled_shares
from plantprint.quantities import divide, round_half_even

amounts = st.integers(-(2**63) + 1, 2**63 - 1) | st.integers(-1000, 1000) | st.integers(-(10**12), 10**12)
weights = st.integers(0, 2**63 - 1) | st.integers(0, 3) | st.integers(0, 10**12)
# Ties and near ties need amounts and weights that are related; a common factor makes them.
related = st.builds(lambda a, b, k: (a * k, [b * k, b * k, k]), *[st.integers(0, 2**20)] * 2, st.integers(1, 2**40))


def _alike(case: tuple[int, list[int]]) -> tuple[int, tuple[int, ...]]:
    amount, several = case
    return amount % 2**45, tuple(several)


@given(amounts, st.lists(weights, min_size=1, max_size=8))
def test_shares_are_those_of_divide(amount: int, parts: list[int]) -> None:
    shares = divide_arrays(np.array(amount, np.int64), np.array(parts, np.int64))
    assert shares.tolist() == divide(amount, parts)


@given(related)
def test_ties_round_to_even_as_in_divide(case: tuple[int, list[int]]) -> None:
    amount, parts = case
    shares = divide_arrays(np.array(amount, np.int64), np.array(parts, np.int64))
    assert shares.tolist() == divide(amount, parts)
    assert sum(shares.tolist()) == amount


@given(st.lists(st.tuples(amounts, st.lists(weights, min_size=3, max_size=3)), min_size=1, max_size=5))
def test_many_amounts_at_once_are_each_divided_alone(cases: list[tuple[int, list[int]]]) -> None:
    shares = divide_arrays(np.array([a for a, _ in cases], np.int64), np.array([w for _, w in cases], np.int64))
    assert shares.tolist() == [divide(amount, parts) for amount, parts in cases]


@given(st.lists(amounts, min_size=1, max_size=4), st.lists(weights, min_size=1, max_size=4))
def test_shapes_broadcast(several: list[int], parts: list[int]) -> None:
    shares = divide_arrays(np.array(several, np.int64), np.array([parts], np.int64))
    assert shares.tolist() == [divide(amount, parts) for amount in several]


@given(st.integers(-(2**52), 2**52), st.integers(1, 2**60), st.data())
def test_a_quotient_is_the_exact_one_rounded(amount: int, total: int, data: st.DataObject) -> None:
    part = data.draw(st.integers(0, total))
    quotient = rounded_quotient(np.array([amount]), np.array([part]), np.array([total]))
    exact = Fraction(amount * part, total)
    assert quotient.tolist() == [round_half_even(exact.numerator, exact.denominator)]


small = st.integers(-(2**50), 2**50) | st.integers(-1000, 1000)
parts = st.integers(0, 2**58) | st.integers(0, 3) | st.integers(0, 10**12)


@given(st.lists(st.tuples(small, st.tuples(parts, parts, parts)) | related.map(_alike), min_size=1, max_size=4))
def test_the_compiled_kernel_gives_the_same_integers(cases: list[tuple[int, tuple[int, ...]]]) -> None:
    kernel = compiled_shares()
    if kernel is None:
        missing("numba is not installed; numpy is the only way then")
    amounts, several = np.array([a for a, _ in cases], np.int64), np.array([w for _, w in cases], np.int64)
    wanted = [divide(amount, weights) for amount, weights in cases]
    assert kernel(amounts, several).tolist() == wanted
    assert divide_arrays(amounts, several).tolist() == wanted


def test_many_shares_at_once_are_those_of_few() -> None:
    """So many that the kernel takes over where it is installed."""
    random = np.random.default_rng(5)
    amounts, weights = random.integers(-(10**9), 10**9, (3, 5000)), random.integers(0, 3, (5000, 7))
    many = divide_arrays(amounts, weights)
    assert many.size > 2**16
    assert many[1, 77].tolist() == divide(int(amounts[1, 77]), weights[77].tolist())
    assert np.array_equal(many[:, 1000:1500], divide_arrays(amounts[:, 1000:1500], weights[1000:1500]))
