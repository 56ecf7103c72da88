"""What one unit of a source emits, in integers: by gas, by component, under a GWP set; and how rates add up and mix.

A factor without a gas split keeps its published value and GWP set, and is listed as not convertible.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from math import lcm

from plantprint.factors import Factor, FactorError
from plantprint.gwp import GwpSet, gwp
from plantprint.quantities import FACTOR_SCALE, divide, round_half_even

UNSPLIT = "unsplit"
_OWN_SCOPE = {"combustion": "1", "process": "1", "generation": "2"}
_CATEGORY = {"upstream": "3.3", "td": "3.3", "material": "3.1", "transport": "3.4", "waste": "3.5"}
_STAGES = {"material": "raw materials", "transport": "distribution", "waste": "end of life"}


@dataclass(frozen=True, slots=True)
class Rate:
    """Per unit of a source, x FACTOR_SCALE: `co2e` in kg, the same by gas and by component, and gas masses in kg.

    `by_gas` and `by_component` add up to `co2e` exactly. `fixed` names factors without a gas split and their GWP set.
    """

    co2e: int
    by_gas: Mapping[str, int]
    by_component: Mapping[str, int]
    masses: Mapping[str, int]
    stage: str
    fixed: tuple[tuple[str, str], ...] = ()


def rate_of(factor: Factor, ratio: Fraction, gwp_set: GwpSet | None) -> Rate:
    """The rate of a factor whose unit is `ratio` x as many as the source's; without a set the published value counts.

    Raises `FactorError` when `parts` cannot be read and `GwpError` when the set lacks one of its gases.
    """
    masses = gas_masses(factor)
    scaled = ratio * FACTOR_SCALE
    by_gas = {UNSPLIT: _round(Fraction(factor.value) * scaled)}
    fixed: tuple[tuple[str, str], ...] = ()
    if masses is None:
        fixed = ((factor.factor_id, factor.gwp_set),)
    elif gwp_set is not None:
        by_gas = {gas: _round(mass * gwp(gas, gwp_set) * scaled) for gas, mass in masses.items()}
    whole = sum(by_gas.values())
    kilograms = {gas: _round(mass * scaled) for gas, mass in (masses or {}).items()}
    stage = _STAGES.get(factor.component, "production")
    return Rate(whole, by_gas, _components(factor, whole), kilograms, stage, fixed)


def gas_masses(factor: Factor) -> dict[str, Fraction] | None:
    """Kg of each gas per unit of the factor; None when it does not say, so that no other GWP set can be applied."""
    methane = "ch4" if factor.ch4_origin == "unspecified" else f"ch4_{factor.ch4_origin}"
    told = {"co2_fossil": factor.co2_fossil_kg, methane: factor.ch4_kg, "n2o": factor.n2o_kg}
    if factor.gases == "CO2":
        fossil = factor.value if factor.co2_fossil_kg is None else factor.co2_fossil_kg
        masses = {"co2_fossil": Fraction(fossil)}
    elif factor.other_gases or None not in told.values():
        masses = {gas: Fraction(mass) for gas, mass in told.items() if mass is not None}
    else:
        return None
    if factor.co2_biogenic_kg is not None:
        masses["co2_biogenic"] = Fraction(factor.co2_biogenic_kg)
    masses |= _pairs(factor, factor.other_gases, "sf6:0.001 co2_land_use:0.2")
    return {gas: mass for gas, mass in masses.items() if mass} or {"co2_fossil": Fraction(0)}


def added(rates: Sequence[Rate]) -> Rate:
    """A source's own rate and those that come with it, such as the upstream of its fuel."""
    return mixed([(Fraction(1), rate) for rate in rates])


def mixed(parts: Sequence[tuple[Fraction, Rate]]) -> Rate:
    """Rates weighted by shares of one unit, rounded once per gas; components follow in proportion, exactly."""
    if len(parts) == 1 and parts[0][0] == 1:
        return parts[0][1]
    by_gas = _weighted([(share, rate.by_gas) for share, rate in parts])
    whole = sum(by_gas.values())
    components = _summed([(share, rate.by_component) for share, rate in parts])
    fixed = tuple(sorted({entry for share, rate in parts if share for entry in rate.fixed}))
    masses = _weighted([(share, rate.masses) for share, rate in parts])
    return Rate(whole, by_gas, _shared(whole, components), masses, parts[0][1].stage, fixed)


def scope_of(component: str, source_scope: int) -> str:
    """The scope (and category of scope 3) of a component: what happens elsewhere is 3, whatever the source itself is."""
    if component in _CATEGORY:
        return _CATEGORY[component]
    if source_scope == 3 or component not in _OWN_SCOPE:
        return str(source_scope)
    return _OWN_SCOPE[component]


def parts_of(factor: Factor) -> dict[str, Fraction]:
    """The value of a factor by component; raises `FactorError` when its parts do not add up to the value."""
    if not factor.parts:
        return {factor.component: Fraction(factor.value)}
    parts = _pairs(factor, factor.parts, "generation:0.3 upstream:0.1")
    if sum(parts.values()) != Fraction(factor.value) or min(parts.values()) < 0:
        raise FactorError(f"{factor.factor_id}: its parts {factor.parts!r} do not add up to its value {factor.value}")
    return parts


def _pairs(factor: Factor, text: str, example: str) -> dict[str, Fraction]:
    try:
        return {name: Fraction(value) for name, value in (part.split(":") for part in text.split())}
    except ValueError as error:
        raise FactorError(f"{factor.factor_id}: this is written {example!r}, not {text!r}") from error


def _components(factor: Factor, whole: int) -> dict[str, int]:
    parts = parts_of(factor)
    if len(parts) == 1:
        return {next(iter(parts)): whole}
    return _shared(whole, {name: value * FACTOR_SCALE for name, value in parts.items()})


def _shared(whole: int, weights: Mapping[str, Fraction]) -> dict[str, int]:
    """`whole` by weights, rounded nowhere else (R1); a negative one (a credit) stands and the rest takes what is left."""
    credits_ = {name: _round(weight) for name, weight in weights.items() if weight < 0}
    names = sorted(name for name in weights if name not in credits_)
    if not names:
        names, credits_ = sorted(weights), {}
        return dict(zip(names, divide(whole, [1] * len(names)), strict=True))
    scale = lcm(*(weights[name].denominator for name in names))
    shares = divide(whole - sum(credits_.values()), [int(weights[name] * scale) for name in names])
    return {**dict(zip(names, shares, strict=True)), **credits_}


def _weighted(parts: Sequence[tuple[Fraction, Mapping[str, int]]]) -> dict[str, int]:
    return {name: _round(value) for name, value in _summed(parts).items()}


def _summed(parts: Sequence[tuple[Fraction, Mapping[str, int]]]) -> dict[str, Fraction]:
    names = sorted({name for _, values in parts for name in values})
    return {name: sum((share * values.get(name, 0) for share, values in parts), Fraction(0)) for name in names}


def _round(value: Fraction) -> int:
    return round_half_even(value.numerator, value.denominator)
