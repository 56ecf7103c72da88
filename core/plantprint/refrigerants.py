"""Refrigerant losses: full mass balance, simplified mass balance, and screening by leak rates; kg of gas, exact.

A top-up shows what leaked since the last service: book it to that period, not to the minute of the refill.
"""

from dataclasses import dataclass
from fractions import Fraction

from plantprint.gwp import GwpSet, Number, co2e, components


@dataclass(frozen=True, slots=True)
class LeakRates:
    """Shares of a charge: lost at installation, lost per year of operation, left at disposal, recovered of that."""

    installation: Number
    operation_per_year: Number
    left_at_disposal: Number
    recovered: Number


# The Climate Registry 2021 default emission factors, table 4.1, as in the screening method of the US EPA calculator.
SCREENING: dict[str, LeakRates] = {
    "domestic_refrigeration": LeakRates(Fraction("0.01"), Fraction("0.005"), Fraction("0.8"), Fraction("0.7")),
    "stand_alone_commercial": LeakRates(Fraction("0.03"), Fraction("0.15"), Fraction("0.8"), Fraction("0.7")),
    "medium_large_commercial": LeakRates(Fraction("0.03"), Fraction("0.35"), Fraction(1), Fraction("0.7")),
    "transport_refrigeration": LeakRates(Fraction("0.01"), Fraction("0.5"), Fraction("0.5"), Fraction("0.7")),
    "industrial_refrigeration": LeakRates(Fraction("0.03"), Fraction("0.25"), Fraction(1), Fraction("0.9")),
    "chillers": LeakRates(Fraction("0.01"), Fraction("0.15"), Fraction(1), Fraction("0.95")),
    "vehicle_ac": LeakRates(Fraction("0.005"), Fraction("0.2"), Fraction("0.5"), Fraction("0.5")),
    "comfort_ac": LeakRates(Fraction("0.01"), Fraction("0.1"), Fraction("0.8"), Fraction("0.8")),
}


def mass_balance(stock_decrease_kg: Number, bought_less_sold_kg: Number, capacity_decrease_kg: Number) -> Fraction:
    """Kg lost in a period: what left the store and came in, less what the equipment now holds more."""
    return Fraction(stock_decrease_kg) + Fraction(bought_less_sold_kg) + Fraction(capacity_decrease_kg)


def simplified_mass_balance(
    *,
    new_charge_kg: Number,
    new_capacity_kg: Number,
    recharge_kg: Number,
    disposed_capacity_kg: Number,
    disposed_recovered_kg: Number,
) -> Fraction:
    """Kg lost in a period: at filling new units, in use (what was refilled), and at the disposal of old ones."""
    filling = Fraction(new_charge_kg) - Fraction(new_capacity_kg)
    disposal = Fraction(disposed_capacity_kg) - Fraction(disposed_recovered_kg)
    return filling + Fraction(recharge_kg) + disposal


def screening(
    new_kg: Number, operating_kg: Number, disposed_kg: Number, rates: LeakRates, years: Number = 1
) -> Fraction:
    """Kg lost by average leak rates, for `years` of operation: an estimate, never a measurement."""
    left = Fraction(disposed_kg) * Fraction(rates.left_at_disposal) * (1 - Fraction(rates.recovered))
    use = Fraction(operating_kg) * Fraction(rates.operation_per_year) * Fraction(years)
    return Fraction(new_kg) * Fraction(rates.installation) + use + left


def loss_co2e(gas: str, loss_kg: Number, gwp_set: GwpSet) -> Fraction:
    """Kg CO2e of a loss of a gas or blend (hfc32, r-410a), by the masses of its components."""
    return co2e(components(gas, loss_kg), gwp_set)
