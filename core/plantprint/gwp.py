"""Global warming potentials as data: three assessment reports, refrigerant blends by composition, and masses to CO2e.

Exact rationals. Released and taken-up biogenic CO2 have a potential of zero: they are listed by mass beside the sum.
"""

import csv
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from functools import cache
from importlib import resources
from io import StringIO
from typing import Literal, get_args

GwpSet = Literal["AR4", "AR5", "AR6"]
GWP_SETS: tuple[GwpSet, ...] = get_args(GwpSet)
Number = int | Decimal | Fraction

_COLUMN: dict[GwpSet, str] = {"AR4": "ar4", "AR5": "ar5", "AR6": "ar6"}


class GwpError(ValueError):
    """A gas, a set or a composition that has no global warming potential; the message names it and the remedy."""


@dataclass(frozen=True, slots=True)
class Gas:
    """A row of the table: kg CO2e per kg over 100 years by set, or the mass shares of a blend's components."""

    gas: str
    number: str
    group: str
    values: Mapping[GwpSet, Fraction]
    blend: tuple[tuple[str, Fraction], ...]
    source: str


@cache
def builtin_gases() -> Mapping[str, Gas]:
    """Every gas of the table that ships, by its id and by its refrigerant number in lower case (r-410a)."""
    text = resources.files("plantprint").joinpath("data/gwp.csv").read_text(encoding="utf-8")
    gases: dict[str, Gas] = {}
    for row in csv.DictReader(StringIO(text)):
        gas = _gas(row)
        gases[gas.gas] = gas
        if gas.number:
            gases.setdefault(gas.number.lower(), gas)
    return gases


def _gas(row: dict[str, str]) -> Gas:
    parts = (part.split(":") for part in row["blend"].split())
    values = {name: Fraction(row[column]) for name, column in _COLUMN.items() if row[column]}
    blend = tuple((component, Fraction(share)) for component, share in parts)
    return Gas(row["gas"], row["number"], row["group"], values, blend, row["source"])


def gwp(gas: str, gwp_set: GwpSet) -> Fraction:
    """Kg CO2e per kg of `gas` (ch4_fossil, n2o, hfc134a, r-410a ...); raises `GwpError` where a set has no value."""
    row = builtin_gases().get(gas.lower())
    if row is None:
        raise GwpError(f"{gas!r} is not in the table of gases; plantprint/data/gwp.csv lists them")
    if row.blend:
        return blend_gwp((share, gwp(component, gwp_set)) for component, share in row.blend)
    if gwp_set not in row.values:
        have = ", ".join(sorted(row.values))
        raise GwpError(f"{gas} has no global warming potential in {gwp_set}, only in {have}; choose one of these sets")
    return row.values[gwp_set]


def blend_gwp(parts: Iterable[tuple[Number, Number]]) -> Fraction:
    """The potential of a blend from (mass share, potential) of its parts; raises `GwpError` unless shares add up to 1."""
    pairs = [(Fraction(share), Fraction(potential)) for share, potential in parts]
    total = sum((share for share, _ in pairs), Fraction(0))
    if total != 1 or any(share < 0 for share, _ in pairs):
        raise GwpError(f"the mass shares of a blend are not negative and add up to 1, not to {float(total):g}")
    return sum((share * potential for share, potential in pairs), Fraction(0))


def components(gas: str, mass_kg: Number) -> dict[str, Fraction]:
    """The mass of each single gas in `mass_kg` of a gas or blend; masses add up to `mass_kg` exactly."""
    row = builtin_gases().get(gas.lower())
    if row is None:
        raise GwpError(f"{gas!r} is not in the table of gases; plantprint/data/gwp.csv lists them")
    if not row.blend:
        return {row.gas: Fraction(mass_kg)}
    return {component: share * Fraction(mass_kg) for component, share in row.blend}


def co2e(masses_kg: Mapping[str, Number], gwp_set: GwpSet) -> Fraction:
    """Kg CO2e of gas masses in kg; biogenic CO2 counts nothing. Raises `GwpError` for a gas that the set lacks."""
    return sum((Fraction(mass) * gwp(gas, gwp_set) for gas, mass in masses_kg.items() if mass), Fraction(0))
