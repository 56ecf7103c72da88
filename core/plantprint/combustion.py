"""Fuel burnt to gas masses: by carbon content and oxidation (China's form) or by an emission per energy (IPCC's form).

Exact rationals: a fuel's amount times its calorific value times what a unit of energy releases.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from fractions import Fraction

from plantprint.gwp import Number

CO2_PER_CARBON = Fraction(44, 12)
COAL_EQUIVALENT_KGCE_PER_KWH = Fraction("0.1229")  # GB/T 2589, electricity at its energy content
_KG_PER_TJ = Fraction(1, 10**6)


@dataclass(frozen=True, slots=True)
class EnergyFactors:
    """What a terajoule (net calorific value) releases: kg of CO2, CH4 and N2O; a biogenic fuel's CO2 is kept apart."""

    co2_kg_per_tj: Number
    ch4_kg_per_tj: Number
    n2o_kg_per_tj: Number
    biogenic: bool = False


def co2_by_carbon(amount: Number, ncv_gj: Number, carbon_t_per_gj: Number, oxidised_share: Number) -> Fraction:
    """Tonnes of CO2 of `amount` units with `ncv_gj` each; raises `ValueError` unless the share is within 0 and 1."""
    share = Fraction(oxidised_share)
    if not 0 <= share <= 1:
        raise ValueError(f"the oxidised share of a fuel is within 0 and 1, not {float(share):g}")
    return Fraction(amount) * Fraction(ncv_gj) * Fraction(carbon_t_per_gj) * share * CO2_PER_CARBON


def gases_by_energy(amount_kg: Number, ncv_mj_per_kg: Number, factors: EnergyFactors) -> dict[str, Fraction]:
    """Kg of each gas of `amount_kg` of fuel, under the names of `plantprint.gwp`."""
    energy = Fraction(amount_kg) * Fraction(ncv_mj_per_kg) * _KG_PER_TJ
    origin = "biogenic" if factors.biogenic else "fossil"
    return {
        f"co2_{origin}": energy * Fraction(factors.co2_kg_per_tj),
        f"ch4_{origin}": energy * Fraction(factors.ch4_kg_per_tj),
        "n2o": energy * Fraction(factors.n2o_kg_per_tj),
    }


def burnt(entries: Iterable[tuple[Number, Number]]) -> Fraction:
    """Fuel records in mixed units as one amount: the sum of (quantity, amount per unit of that quantity)."""
    return sum((Fraction(quantity) * Fraction(size) for quantity, size in entries), Fraction(0))


def emission(activity: Number, per_unit: Number) -> Fraction:
    """Activity times factor, in the factor's mass unit; the one multiplication behind every line of an account."""
    return Fraction(activity) * Fraction(per_unit)


def boiler_emission(heat: Number, efficiency: Number, per_fuel_energy: Number) -> Fraction:
    """What fuel emits for `heat` out of a boiler, heat and factor on one energy unit; efficiency within 0 and 1."""
    share = Fraction(efficiency)
    if not 0 < share <= 1:
        raise ValueError(f"a boiler's efficiency is above 0 and at most 1, not {float(share):g}")
    return Fraction(heat) / share * Fraction(per_fuel_energy)


def per_volume(calorific_mj_per_kg: Number, density_kg_per_m3: Number, per_kwh: Number) -> Fraction:
    """A factor per kWh as one per m3; calorific value and factor are both gross or both net."""
    return Fraction(calorific_mj_per_kg) * Fraction(density_kg_per_m3) * Fraction(10, 36) * Fraction(per_kwh)


def from_coal_equivalent(kgce: Number, kgce_per_unit: Number = COAL_EQUIVALENT_KGCE_PER_KWH) -> Fraction:
    """The amount behind standard coal: `kgce` / `kgce_per_unit`. Compressed air's coefficient is on a power-station
    basis and must not be divided by the one for electricity.
    """
    if not kgce_per_unit:
        raise ValueError("a coal equivalent of zero per unit belongs to no energy carrier")
    return Fraction(kgce) / Fraction(kgce_per_unit)
