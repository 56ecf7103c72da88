"""Weights of the products of a combined process (CHP, any converter with n products): three methods, exact integers.

A weight is output x quality: quality 1 (energy shares, IEA), 1 / reference efficiency (GHG Protocol), or the Carnot
factor (exergy). Only ratios matter, so a pool may use the integers as they are with rule R1.
"""

from collections.abc import Sequence
from fractions import Fraction
from math import gcd, lcm
from typing import Literal

from plantprint.gwp import Number

Method = Literal["efficiency", "energy", "exergy"]
ZERO_CELSIUS_K = Fraction("273.15")


def energy_weights(outputs: Sequence[Number]) -> list[int]:
    """Products count by their energy, all in one unit."""
    return _integers([_not_negative(output) for output in outputs])


def efficiency_weights(outputs: Sequence[Number], references: Sequence[Number]) -> list[int]:
    """Products count by the fuel that each would need alone, at the reference efficiency of separate production."""
    if any(not Fraction(reference) > 0 for reference in references):
        raise ValueError("a reference efficiency is above 0")
    pairs = zip(outputs, references, strict=True)
    return _integers([_not_negative(output) / Fraction(reference) for output, reference in pairs])


def exergy_weights(outputs: Sequence[Number], carnot_factors: Sequence[Number]) -> list[int]:
    """Products count by the work that they could do; electricity has factor 1, heat `carnot_factor(...)`."""
    if any(not 0 <= Fraction(factor) <= 1 for factor in carnot_factors):
        raise ValueError("a Carnot factor is within 0 and 1")
    pairs = zip(outputs, carnot_factors, strict=True)
    return _integers([_not_negative(output) * Fraction(factor) for output, factor in pairs])


def carnot_factor(temperature_c: Number, ambient_c: Number) -> Fraction:
    """1 - T_ambient / T, with temperatures in °C; zero for heat at or below ambient temperature."""
    hot = Fraction(temperature_c) + ZERO_CELSIUS_K
    cold = Fraction(ambient_c) + ZERO_CELSIUS_K
    if hot <= 0 or cold <= 0:
        raise ValueError("a temperature lies above -273.15 °C")
    return max(Fraction(0), 1 - cold / hot)


def shares(weights: Sequence[int]) -> list[Fraction]:
    """Weights as parts of one; raises `ValueError` when all are zero."""
    total = sum(weights)
    if not total:
        raise ValueError("products of weight zero share nothing: give an output, or another method")
    return [Fraction(weight, total) for weight in weights]


def _not_negative(output: Number) -> Fraction:
    if output < 0:
        raise ValueError(f"an output is not negative, but one is {output}")
    return Fraction(output)


def _integers(weights: Sequence[Fraction]) -> list[int]:
    """The smallest integers in the same proportion."""
    scale = lcm(*(weight.denominator for weight in weights))
    whole = [int(weight * scale) for weight in weights]
    divisor = gcd(*whole) or 1
    return [weight // divisor for weight in whole]
