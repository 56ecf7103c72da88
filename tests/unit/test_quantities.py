"""Exact amounts: division, decimal text, conversion."""

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plantprint.quantities import (
    EMISSION_SCALE,
    UnitError,
    conversion,
    decimal_text,
    divide,
    integral_unit,
    micro,
    round_half_even,
    scaled,
)


def test_division_rounds_cumulatively_and_half_to_even() -> None:
    assert divide(10, [1, 1, 1]) == [3, 4, 3]
    assert divide(1, [1, 1]) == [0, 1]
    assert divide(3, [1, 1]) == [2, 1]
    assert divide(-10, [1, 1, 1]) == [-3, -4, -3]


def test_zero_weights_mean_equal_shares_and_nobody_takes_nothing() -> None:
    assert divide(7, [0, 0]) == [4, 3]
    assert divide(0, []) == []
    with pytest.raises(AssertionError):
        divide(1, [])


@given(st.integers(-(2**70), 2**70), st.lists(st.integers(0, 2**66), min_size=1, max_size=12))
def test_shares_add_up_and_stay_within_one_of_the_exact_share(amount: int, weights: list[int]) -> None:
    shares = divide(amount, weights)
    assert sum(shares) == amount
    total = sum(weights)
    for share, weight in zip(shares, weights, strict=True):
        exact = Fraction(amount * weight, total) if total else Fraction(amount, len(weights))
        assert abs(share - exact) <= 1


@given(st.integers(-(10**30), 10**30), st.integers(1, 10**12))
def test_rounding_agrees_with_python(numerator: int, denominator: int) -> None:
    assert round_half_even(numerator, denominator) == round(Fraction(numerator, denominator))


def test_decimal_text_is_plain_and_exact() -> None:
    assert decimal_text(1_500_000) == "1.5"
    assert decimal_text(-1) == "-0.000001"
    assert decimal_text(0) == "0"
    assert decimal_text(micro("959636.71") * scaled("0.4585", 10**12), EMISSION_SCALE) == "439993.431535"


@given(st.integers(-(10**20), 10**20))
def test_decimal_text_reads_back(value: int) -> None:
    assert micro(decimal_text(value)) == value


def test_amounts_with_more_digits_than_the_scale_are_refused() -> None:
    with pytest.raises(ValueError, match="more digits"):
        micro("0.0000001")
    with pytest.raises(ValueError, match="finite"):
        micro("NaN")


def test_units_convert_exactly_or_say_why_not() -> None:
    assert conversion("MWh", "kWh") == 1000
    assert conversion("MJ", "kWh") == Fraction(10, 36)
    assert integral_unit("kW") == "kWh"
    assert integral_unit("t/h") == "t"
    with pytest.raises(UnitError, match="'kWh' cannot be converted to 'kg'"):
        conversion("kWh", "kg")
    with pytest.raises(UnitError, match="not a rate"):
        integral_unit("kWh")
