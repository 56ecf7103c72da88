"""Pools that turn something into something else: what each product weighs, and whether their efficiency is believable.

A pool with several products divides its content over its outflows by amount x weight of the product. The weights are
integers, exact, made once when the plant is compiled.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from typing import Literal

from plantprint.chp import carnot_factor, efficiency_weights, energy_weights, exergy_weights
from plantprint.plant.model import Flow, Plant, Pool, Product, ProductMethod
from plantprint.quantities import UnitError, conversion

ChoiceMethod = Literal["efficiency", "energy", "exergy", "cut-off"]

# The most output energy per input energy that is believed: fuels by their lower heating value, so a condensing boiler
# may be above one; a chiller and a heat pump move heat that no source counts.
EFFICIENCY_MAX: Mapping[str, Decimal] = {
    "boiler": Decimal("1.1"),
    "chp": Decimal("1.1"),
    "compressor": Decimal(1),
    "chiller": Decimal(12),
    "heat_pump": Decimal(10),
}


@dataclass(frozen=True, slots=True)
class Choice:
    """How a pool with several products was chosen to divide its inputs: one unit of a product weighs so much.

    Under `cut-off` recovered heat weighs nothing of the pool it comes from: it carries what its own recovery uses.
    """

    pool: str
    method: ChoiceMethod
    weights: tuple[tuple[str, int], ...]


def energy_content(unit: str, declared: Decimal | None) -> Fraction | None:
    """How many kWh are in one unit: what was declared, or the unit's own; None where neither is known."""
    if declared is not None:
        return Fraction(declared)
    try:
        return conversion(unit, "kWh")
    except UnitError:
        return None


def method_of(pool: Pool, flows: Iterable[Flow]) -> ProductMethod | None:
    """How the products of a pool are weighed; heat recovery by energy or exergy says it for the whole pool."""
    recovered = {flow.recovery for flow in flows if flow.giver == pool.id}
    return pool.method or ("energy" if "energy" in recovered else "exergy" if "exergy" in recovered else None)


def product_weights(pool: Pool, method: ProductMethod | None) -> dict[str, int]:
    """What one unit of each product weighs, integers in the smallest proportion; one product weighs 1.

    Raises `ValueError` naming the product and what it lacks.
    """
    if len(pool.products) < 2 or method is None:
        return {product.id: 1 for product in pool.products}
    contents = [_content(product) for product in pool.products]
    match method:
        case "energy":
            weights = energy_weights(contents)
        case "efficiency":
            weights = efficiency_weights(contents, [_reference(product) for product in pool.products])
        case "exergy":
            weights = exergy_weights(contents, [_quality(product, pool.ambient_c) for product in pool.products])
    return {product.id: weight for product, weight in zip(pool.products, weights, strict=True)}


def _content(product: Product) -> Fraction:
    content = energy_content(product.unit, product.kwh_per_unit)
    if content is None:
        raise ValueError(f"product {product.id!r} is counted in {product.unit}, which has no energy of its own")
    return content


def _reference(product: Product) -> Decimal:
    if product.reference_efficiency is None:
        raise ValueError(f"product {product.id!r} has no reference_efficiency")
    return product.reference_efficiency


def _quality(product: Product, ambient_c: Decimal) -> Fraction:
    """The work in one kWh of a product: all of it where it is no heat."""
    return Fraction(1) if product.supply_c is None else carnot_factor(product.supply_c, ambient_c)


def flow_weights(plant: Plant) -> tuple[list[int], tuple[Choice, ...]]:
    """What one unit of each flow weighs at its giver, in the order of the plant file, and the choices behind it."""
    weights = [1] * len(plant.flows)
    choices: list[Choice] = []
    for pool in plant.pools:
        numbers = [number for number, flow in enumerate(plant.flows) if flow.giver == pool.id]
        flows = [plant.flows[number] for number in numbers]
        method = method_of(pool, flows)
        by_product = product_weights(pool, method)
        for number, flow in zip(numbers, flows, strict=True):
            weights[number] = 0 if flow.recovery == "cut-off" else by_product.get(flow.product or "", 1)
        choices += _choices(pool, method, by_product, flows)
    return weights, tuple(choices)


def _choices(
    pool: Pool, method: ProductMethod | None, by_product: Mapping[str, int], flows: Sequence[Flow]
) -> Iterable[Choice]:
    cut_off = sorted(flow.product or flow.taker for flow in flows if flow.recovery == "cut-off")
    kept = tuple((name, weight) for name, weight in by_product.items() if name not in cut_off)
    if method is not None and len(kept) > 1:
        yield Choice(pool.id, method, kept)
    if cut_off:
        yield Choice(pool.id, "cut-off", tuple((name, 0) for name in cut_off))
