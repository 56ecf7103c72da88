"""Transport as recorded legs: mass with packaging x distance in tonne-kilometres, or distance alone, times a factor.

Exact rationals. A leg names its factor; factors differ twofold between sets, so the set stays visible in the result.
"""

from dataclasses import dataclass
from fractions import Fraction

from plantprint.gwp import Number
from plantprint.quantities import conversion


@dataclass(frozen=True, slots=True)
class Leg:
    """One leg of a transport: mass and distance with their units, and the id of a factor per t.km (or per km)."""

    mass: Number
    mass_unit: str
    distance: Number
    distance_unit: str
    factor: str


def tonne_km(leg: Leg) -> Fraction:
    """The freight of a leg in t.km, exactly; raises `UnitError` for units of another kind, `ValueError` below zero."""
    if leg.mass < 0 or leg.distance < 0:
        raise ValueError(
            f"a leg has no negative mass or distance: {leg.mass} {leg.mass_unit}, {leg.distance} {leg.distance_unit}"
        )
    return Fraction(leg.mass) * conversion(leg.mass_unit, "t") * distance_km(leg.distance, leg.distance_unit)


def distance_km(distance: Number, unit: str) -> Fraction:
    return Fraction(distance) * conversion(unit, "km")
