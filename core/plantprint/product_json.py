"""A product footprint as JSON values: amounts as exact decimal text, shares and ratings rounded to four decimals."""

from collections import defaultdict
from collections.abc import Mapping
from fractions import Fraction
from typing import Any

from plantprint.factors import FactorChoice
from plantprint.footprint import choice_json, issue_json
from plantprint.lots import LineKey, Vector
from plantprint.product import Input, ProductFootprint
from plantprint.product_left import Left
from plantprint.product_lines import CO2E, GAS, MARKET, MASS, by_gas, of_measure
from plantprint.quantities import EMISSION_SCALE, MICRO, decimal_text, round_half_even
from plantprint.rates import UNSPLIT

_DIGITS = 10**4
_PER_UNIT_DIGITS = 10**9
_ORIGIN = {
    "co2_land_use": "land_use",
    "ch4_biogenic": "biogenic",
    "ghg_biogenic": "biogenic",
    "ch4": "not_split",
    UNSPLIT: "not_split",
}
COVERAGE_FACTOR = 2
_BACKGROUND = "background factor of the material in the plant model; its supplier gave no footprint"


def product_json(one: ProductFootprint) -> dict[str, Any]:
    """Everything that a reader of the footprint, or of a statement of it, may ask for."""
    has_market = one.valuing.market is not None
    market = sum(of_measure(one.total, MARKET).values()) if has_market else None
    return {
        "boundary": one.boundary,
        "gwp_set": one.valuing.gwp_set or "as published",
        "gases_gwp_set": one.valuing.gas_set,
        "quantity": None if one.quantity_micro is None else decimal_text(one.quantity_micro),
        "unit": one.unit,
        "kg_co2e": _text(one.kg),
        "kg_co2e_per_unit": _per_unit(one.kg, one.quantity_micro),
        "market_based_kg_co2e": None if market is None else _text(market),
        "market_based_kg_co2e_per_unit": None if market is None else _per_unit(market, one.quantity_micro),
        "own": part_json(one.own, market=has_market),
        "upstream": part_json(one.upstream, market=has_market),
        "total": part_json(one.total, market=has_market),
        "inputs": [_input_json(part) for part in one.inputs],
        "left": [_left_json(part, one.unit) for part in one.left],
        "ancestors": len(one.ancestors),
        "co_products": _coproducts_json(one),
        "primary_data_share_percent": _percent(one.judged.primary_share),
        "data_quality": _ratings_json(one),
        "uncertainty": _uncertainty_json(one),
        "factors": [*(choice_json(choice) for choice in one.choices), *_background_json(one)],
        "incomplete": bool(one.reasons),
        "reasons": [issue_json(issue) for issue in one.reasons],
        "remarks": [issue_json(issue) for issue in one.remarks],
    }


def part_json(lines: Vector, *, market: bool) -> dict[str, Any]:
    """Lines cut by everything that they tell apart; each cut by step, source, scope and stage adds up to the whole."""
    whole = of_measure(lines, CO2E)
    gases = by_gas(lines, GAS)
    return {
        "kg_co2e": _text(sum(whole.values())),
        "market_based_kg_co2e": _text(sum(of_measure(lines, MARKET).values())) if market else None,
        "by_step": _cut(whole, "step"),
        "by_source": _cut(whole, "source"),
        "by_scope": _cut(whole, "scope"),
        "by_stage": _cut(whole, "stage"),
        "by_gas": {gas: _text(kg) for gas, kg in gases.items()},
        "by_origin": _by_origin(gases),
        "gas_masses_kg": {gas: _text(kg) for gas, kg in by_gas(lines, MASS).items()},
    }


def _cut(lines: Vector, name: str) -> dict[str, str]:
    place = LineKey._fields.index(name)
    sums: defaultdict[str, int] = defaultdict(int)
    for key, kg in lines.items():
        sums[key[place]] += kg
    return {value: _text(kg) for value, kg in sorted(sums.items())}


def _by_origin(gases: Mapping[str, int]) -> dict[str, str]:
    """Fossil, biogenic (without CO2), land use, and what its publisher did not split; under the set of the gases."""
    sums: defaultdict[str, int] = defaultdict(int)
    for gas, kg in gases.items():
        sums[_ORIGIN.get(gas, "fossil")] += kg
    return {origin: _text(kg) for origin, kg in sorted(sums.items()) if kg}


def _input_json(part: Input) -> dict[str, Any]:
    return {
        "kind": part.kind,
        "id": part.id,
        "material": part.material,
        "step": part.step,
        "quantity": decimal_text(part.quantity_micro),
        "unit": part.unit,
        "share_percent": _percent(part.share),
        "kg_co2e": _text(sum(of_measure(part.lines, CO2E).values())),
        "reference": part.reference,
        "primary_data_share_percent": _percent(part.primary_share),
    }


def _left_json(part: Left, unit: str) -> dict[str, Any]:
    return {
        "kind": part.kind,
        "quantity": decimal_text(part.quantity_micro),
        "unit": unit,
        "takers": list(part.takers),
        "kg_co2e": _text(sum(of_measure(part.lines, CO2E).values())),
        "own_kg_co2e": _text(sum(of_measure(part.own, CO2E).values())),
    }


def _coproducts_json(one: ProductFootprint) -> dict[str, Any] | None:
    if one.coproducts is None:
        return None
    return {
        "method": one.coproducts.method,
        "reason": one.coproducts.reason.model_dump(),
        "shares_percent": {name: _percent(one.coproducts.share(name)) for name in one.coproducts.weights},
        "credits_kg_co2e": {name: _fraction(kg) for name, kg in one.coproducts.credits_kg_co2e.items()},
    }


def _ratings_json(one: ProductFootprint) -> dict[str, str | None] | None:
    ratings = one.judged.ratings
    if ratings is None:
        return None
    return {
        "technological": _fraction(ratings.technological),
        "geographical": _fraction(ratings.geographical),
        "temporal": _fraction(ratings.temporal),
    }


def _uncertainty_json(one: ProductFootprint) -> dict[str, Any]:
    """Standard deviation, the expanded one for k = 2, and the 95 % interval, in kg CO2e; statistics, so rounded."""
    known = one.judged.uncertainty
    return {
        "standard_kg_co2e": _float(known.deviation),
        "k": COVERAGE_FACTOR,
        "expanded_kg_co2e": _float(COVERAGE_FACTOR * known.deviation),
        "relative_expanded_percent": _float(100 * COVERAGE_FACTOR * known.relative),
        "interval_95_kg_co2e": [_float(known.low), _float(known.high)],
        "from_factors_kg_co2e": _float(sum(known.by_factor.values()) ** 0.5),
        "from_meters_kg_co2e": _float(sum(known.by_meter.values()) ** 0.5),
    }


def _background_json(one: ProductFootprint) -> list[dict[str, Any]]:
    """The factors that stand in for suppliers' footprints in what went into the lot."""
    used = {(key.source, key.factor) for key in one.total if key.factor in one.references}
    return [
        choice_json(FactorChoice(source, one.references[reference], 0, _BACKGROUND))
        for source, reference in sorted(used)
    ]


def _per_unit(kg: int, quantity_micro: int | None) -> str | None:
    """Rounded to nine decimals; None without a quantity."""
    if not quantity_micro:
        return None
    scaled = round_half_even(kg * MICRO * _PER_UNIT_DIGITS, quantity_micro * EMISSION_SCALE)
    return decimal_text(scaled, _PER_UNIT_DIGITS)


def _percent(share: Fraction | None) -> str | None:
    return None if share is None else _fraction(share * 100)


def _fraction(value: Fraction | int | None) -> str | None:
    if value is None:
        return None
    exact = Fraction(value)
    return decimal_text(round_half_even(exact.numerator * _DIGITS, exact.denominator), _DIGITS)


def _float(value: float) -> str:
    return decimal_text(round(value * _DIGITS), _DIGITS)


def _text(kg: int) -> str:
    return decimal_text(kg, EMISSION_SCALE)
