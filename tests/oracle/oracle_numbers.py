"""Oracle: rounding half to even and rule R1, in fractions; written from the accounting definition, not from the product."""

from collections.abc import Sequence
from fractions import Fraction

HOUR_MS = 3_600_000
MISSING, ESTIMATED, RECOVERED, MEASURED = 0, 1, 2, 3


def half_even(value: Fraction) -> int:
    """The nearest integer; of two equally near the even one."""
    below = value.numerator // value.denominator
    rest = value - below
    if rest < Fraction(1, 2):
        return below
    if rest > Fraction(1, 2):
        return below + 1
    return below if below % 2 == 0 else below + 1


def r1(amount: int, weights: Sequence[Fraction | int]) -> list[int]:
    """R1: share k is round(A·C_k/C_n) − round(A·C_(k−1)/C_n); all weights zero: equal."""
    parts = [Fraction(weight) for weight in weights]
    if sum(parts) == 0:
        parts = [Fraction(1) for _ in parts]
    whole = sum(parts, Fraction(0))
    shares = []
    for k in range(len(parts)):
        upto = half_even(amount * sum(parts[: k + 1], Fraction(0)) / whole)
        before = half_even(amount * sum(parts[:k], Fraction(0)) / whole)
        shares.append(upto - before)
    return shares


def differences(values: Sequence[int]) -> list[int]:
    return [values[k + 1] - values[k] for k in range(len(values) - 1)]
