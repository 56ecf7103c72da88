"""From a lot's own postings to emission lines: what genealogy hands on, comparison explains, uncertainty weighs."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from plantprint.ledger import PostingKey
from plantprint.lots import LineKey, Vector
from plantprint.quantities import EMISSION_SCALE
from plantprint.rates import scope_of
from plantprint.valuation import RateBook

Split = Literal["scope", "gas", "mass"]


@dataclass(frozen=True, slots=True)
class ValuedLines:
    """Lines in kg x EMISSION_SCALE, and the sources whose emission is not known (unknown is not zero)."""

    lines: Vector
    unknown: frozenset[str]


def own_lines(net: Mapping[PostingKey, int], book: RateBook, split: Split = "scope") -> ValuedLines:
    """The lines of one lot's postings, under the view of `book`.

    Kg CO2e by `scope` (categories of scope 3 apart) or by `gas`; or by `mass`: kg of each gas itself. Genealogy is linear,
    so each split can be handed on by itself, and the first two add up to the same sum.
    """
    rated: dict[tuple[str, str, str, str, str], int] = {}
    unknown: set[str] = set()
    used: dict[str, set[tuple[str, int]]] = {}
    for key, amount in net.items():
        rate, source = book.rate(key.source, key.entered_ms, amount), book.source(key.source, key.entered_ms)
        if rate is None or source is None:
            unknown.add(key.source)
            continue
        used.setdefault(key.source, set()).update(book.used(key.source, key.entered_ms).items())
        if split == "scope":
            parts = [(scope_of(part, source.scope), "co2e", kg) for part, kg in rate.by_component.items()]
        else:
            gases = rate.by_gas if split == "gas" else rate.masses
            parts = [(str(source.scope), gas, kg) for gas, kg in gases.items()]
        for scope, gas, kg in parts:
            place = (key.source, key.step, scope, rate.stage, gas)
            rated[place] = rated.get(place, 0) + amount * kg
    factors = {
        source: ", ".join(f"{name}@{version}" for name, version in sorted(several)) for source, several in used.items()
    }
    lines = {LineKey(*place, factors[place[0]]): value for place, value in sorted(rated.items()) if value}
    return ValuedLines(lines, frozenset(unknown))


def kg_by_factor(lines: Vector) -> dict[str, float]:
    """Kg by factor, for `uncertainty`: one error for everything that a factor multiplies."""
    sums: dict[str, int] = {}
    for key, value in lines.items():
        sums[key.factor] = sums.get(key.factor, 0) + value
    return {factor: value / EMISSION_SCALE for factor, value in sorted(sums.items())}
