"""Oracle: rounding half to even, rule R1 and units, in fractions; written from the accounting definition alone."""

from collections.abc import Sequence
from fractions import Fraction
from itertools import accumulate
from math import lcm
from typing import Any

HOUR_MS = 3_600_000
MICRO = 10**6
MISSING, ESTIMATED, RECOVERED, MEASURED = 0, 1, 2, 3
QUALITIES = {"missing": MISSING, "estimated": ESTIMATED, "recovered": RECOVERED, "measured": MEASURED}


def half_even(value: Fraction) -> int:
    """The nearest integer; of two equally near the even one."""
    return half_even_ratio(value.numerator, value.denominator)


def half_even_ratio(above: int, below: int) -> int:
    whole, rest = divmod(above, below)
    if 2 * rest == below:
        return whole + whole % 2
    return whole + 1 if 2 * rest > below else whole


def r1(amount: int, weights: Sequence[Fraction | int]) -> list[int]:
    """R1: share k is round(A·C_k/C_n) − round(A·C_(k−1)/C_n); all weights zero: equal."""
    if not any(weights):
        weights = [1 for _ in weights]
    scale = lcm(*(weight.denominator for weight in weights))  # the same proportions in integers
    parts = [weight.numerator * (scale // weight.denominator) for weight in weights]
    rounded = [half_even_ratio(amount * upto, sum(parts)) for upto in accumulate(parts)]
    return differences([0, *rounded])


def differences(values: Sequence[int]) -> list[int]:
    return [values[k + 1] - values[k] for k in range(len(values) - 1)]


def number(given: Any) -> Fraction:
    """A number of a JSON document: an integer or decimal text."""
    return Fraction(str(given))


# unit -> what it measures, and how much of that dimension's first unit is in it
UNITS: dict[str, tuple[str, Fraction]] = {
    "kWh": ("energy", Fraction(1)),
    "Wh": ("energy", Fraction(1, 1000)),
    "MWh": ("energy", Fraction(1000)),
    "MJ": ("energy", Fraction(1000, 3600)),
    "GJ": ("energy", Fraction(10**6, 3600)),
    "kg": ("mass", Fraction(1)),
    "t": ("mass", Fraction(1000)),
    "m3": ("volume", Fraction(1)),
    "Nm3": ("gas", Fraction(1)),
    "piece": ("count", Fraction(1)),
    "m2": ("area", Fraction(1)),
}
# What a rate counts in an hour.
RATES = {"kW": "kWh", "MW": "MWh", "W": "Wh", "kg/h": "kg", "t/h": "t", "m3/h": "m3", "Nm3/h": "Nm3"}


def converted(unit: str, to: str) -> Fraction | None:
    """How many of `to` are in one `unit`; None where they measure different things."""
    if unit == to:
        return Fraction(1)
    (kind, size), (other, base) = UNITS[unit], UNITS[to]
    return size / base if kind == other else None
