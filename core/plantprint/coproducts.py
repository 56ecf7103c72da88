"""What a process's outputs carry of its burden: co-products by a rule set's order of methods, waste carrying nothing.

Two rule sets ship. ISO 14067 (GB/T 24067): subdivide, else substitute, else a physical relation, else economic value.
PACT v3: subdivide, else substitute, else by the ratio of the highest to the lowest unit price: above 5 economic, else
physical. An output of value zero or less is waste. Weights are exact integers; division is rule R1.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from math import lcm
from typing import Literal

from plantprint.facts import Issue
from plantprint.plant.model import Text
from plantprint.quantities import UnitError, conversion, divide

Method = Literal["subdivision", "substitution", "price-ratio", "physical", "economic"]
EconomicWeight = Literal["value", "unit-price"]


@dataclass(frozen=True, slots=True)
class CoProduct:
    """One output of a process: `quantity_micro` in millionths of `unit`, `unit_price` of one unit on `priced_on`.

    `physical` is the whole output in the common physical unit (mass when in doubt, volume of liquids, energy of energy);
    `metered` what was metered for it alone, where the process can be subdivided; `displaced_kg_co2e` the footprint of
    one unit of the one product that it displaces, where its sector agrees on one. What is not known is None.
    """

    output: str
    quantity_micro: int
    unit: str
    unit_price: Decimal | Fraction | None = None
    priced_on: str = ""
    physical: Decimal | Fraction | None = None
    metered: int | None = None
    displaced_kg_co2e: Decimal | Fraction | None = None


@dataclass(frozen=True, slots=True)
class RuleSet:
    """An order of methods; the first that the facts allow is used. `price_ratio_max` belongs to `price-ratio`."""

    name: str
    order: tuple[Method, ...]
    economic_weight: EconomicWeight = "value"
    price_ratio_max: Fraction = Fraction(5)


ISO_14067 = RuleSet("ISO 14067", ("subdivision", "substitution", "physical", "economic"))
PACT_V3 = RuleSet("PACT v3", ("subdivision", "substitution", "price-ratio"))


@dataclass(frozen=True, slots=True)
class CoProductAllocation:
    """Integer weights by output in the given order (waste has 0), the method used, and why in words.

    `credits_kg_co2e` are what substitution avoids elsewhere: a line of its own in the result, never netted.
    """

    method: Literal["single", "subdivision", "substitution", "physical", "economic", "equal"]
    weights: dict[str, int]
    waste: tuple[str, ...]
    price_ratio: Fraction | None
    credits_kg_co2e: dict[str, Fraction]
    reason: Text
    issues: tuple[Issue, ...] = ()

    def divide(self, amount: int) -> dict[str, int]:
        """Shares of an amount by output; they add up exactly."""
        return dict(zip(self.weights, divide(amount, list(self.weights.values())), strict=True))

    def share(self, output: str) -> Fraction:
        """The part that `output` carries; zero for what is none of the outputs."""
        return Fraction(self.weights.get(output, 0), sum(self.weights.values()))


def allocate_coproducts(outputs: Sequence[CoProduct], rules: RuleSet, at_ms: int = 0) -> CoProductAllocation:
    """How a process's burden is divided over its outputs; the first output is the main product.

    Raises `ValueError` without outputs or with one twice. Where no output has a value above zero, or the facts allow no
    method of the rule set, the division is by quantity or equal, and an issue says what is missing.
    """
    names = [one.output for one in outputs]
    if not names or len(set(names)) != len(names):
        raise ValueError(f"a process needs outputs, each named once, not {names}")
    waste = tuple(one.output for one in outputs if _is_waste(one))
    products = [one for one in outputs if one.output not in waste]
    issues: list[Issue] = []
    if not products:
        message = "none of its outputs has a value above zero, so all of them carry its burden as if they were products"
        issues.append(Issue("all-waste", names[0], message, "give the main product its price", at_ms))
        products, waste = list(outputs), ()
    if len(products) == 1:
        return _result("single", products, [1], outputs, waste, None, issues)
    ratio = _price_ratio(products)
    for method in rules.order:
        chosen = _try(method, products, rules, ratio)
        if chosen is not None:
            name, weights = chosen
            return _result(name, products, weights, outputs, waste, ratio, issues)
    issues.append(_no_method(names[0], products, rules, at_ms))
    return _result("equal", products, [1] * len(products), outputs, waste, ratio, issues)


def _no_method(place: str, products: Sequence[CoProduct], rules: RuleSet, at_ms: int) -> Issue:
    is_priced = all(one.unit_price is not None for one in products)
    if rules.economic_weight == "unit-price" and is_priced and _sizes(products) is None:
        units = " and ".join(dict.fromkeys(one.unit for one in products))
        message = f"{rules.name} weighs by unit price, and prices of one {units} cannot be compared"
        remedy = "count its outputs in units that convert, or weigh by value; until then they share equally"
    else:
        message = f"{rules.name} finds neither prices nor a common physical quantity for all of its outputs"
        remedy = "give each output a unit price, or its mass; until then they share equally"
    return Issue("coproduct-rule", place, message, remedy, at_ms)


_Used = Literal["single", "subdivision", "substitution", "physical", "economic", "equal"]


def _is_waste(one: CoProduct) -> bool:
    """By value; a price that nobody gave is unknown, not zero."""
    return one.unit_price is not None and one.unit_price <= 0


def _price_ratio(products: Sequence[CoProduct]) -> Fraction | None:
    """The highest over the lowest unit price, of one unit where all outputs convert to it; None where they have no ratio."""
    sizes = _sizes(products) or [Fraction(1)] * len(products)
    known = zip(products, sizes, strict=True)
    prices = [Fraction(one.unit_price) / size for one, size in known if one.unit_price is not None]
    return max(prices) / min(prices) if len(prices) == len(products) and min(prices) > 0 else None


def _sizes(products: Sequence[CoProduct]) -> list[Fraction] | None:
    """How many of the first output's units are in one of each; None where they measure different things."""
    try:
        return [conversion(one.unit, products[0].unit) for one in products]
    except UnitError:
        return None


def _try(
    method: Method, products: Sequence[CoProduct], rules: RuleSet, ratio: Fraction | None
) -> tuple[_Used, list[int]] | None:
    """The method's weights, or None where the facts do not allow it."""
    if method == "subdivision":
        weights = _integers([None if one.metered is None else Fraction(one.metered) for one in products])
        return None if weights is None else ("subdivision", weights)
    if method == "substitution":
        displaced = all(one.displaced_kg_co2e is not None for one in products[1:])
        return ("substitution", [1] + [0] * (len(products) - 1)) if displaced else None
    if method == "price-ratio":
        if ratio is not None and ratio > rules.price_ratio_max:
            return _try("economic", products, rules, ratio)
        return _try("physical", products, rules, ratio) or _try("economic", products, rules, ratio)
    if method == "physical":
        weights = _integers([_physical(one, products) for one in products])
        return None if weights is None else ("physical", weights)
    weights = _integers([_value(one, products, rules.economic_weight) for one in products])
    return None if weights is None else ("economic", weights)


def _physical(one: CoProduct, products: Sequence[CoProduct]) -> Fraction | None:
    """What was declared, or the quantity itself where all outputs convert to one unit."""
    if all(other.physical is not None for other in products):
        return Fraction(one.physical) if one.physical is not None else None
    sizes = _sizes(products)
    return None if sizes is None else one.quantity_micro * sizes[products.index(one)]


def _value(one: CoProduct, products: Sequence[CoProduct], weight: EconomicWeight) -> Fraction | None:
    """Price x quantity, or the price of one of the first output's units, to which the others must convert."""
    if one.unit_price is None:
        return None
    if weight == "value":
        return Fraction(one.unit_price) * one.quantity_micro
    sizes = _sizes(products)
    return None if sizes is None else Fraction(one.unit_price) / sizes[products.index(one)]


def _integers(weights: Sequence[Fraction | None]) -> list[int] | None:
    """The same weights as integers; None where one is unknown or negative, or all are zero."""
    known = [weight for weight in weights if weight is not None and weight >= 0]
    if len(known) < len(weights) or not any(known):
        return None
    scale = lcm(*(weight.denominator for weight in known))
    return [int(weight * scale) for weight in known]


_WORDS: dict[_Used, Text] = {
    "single": Text(en="it is the only output with a value, so it carries all", zh="唯一有价值的产出，承担全部排放"),
    "subdivision": Text(en="each output has meters of its own", zh="各产出单独计量，按计量细分"),
    "substitution": Text(
        en="each co-product displaces one agreed product; the credit is a line of its own",
        zh="各联产品替代一种公认产品；抵扣额单独列示",
    ),
    "physical": Text(en="divided by a physical quantity", zh="按物理量分配"),
    "economic": Text(en="divided by economic value", zh="按经济价值分配"),
    "equal": Text(en="divided equally, because nothing better is known", zh="缺少数据，平均分配"),
}


def _result(
    method: _Used,
    products: Sequence[CoProduct],
    weights: Sequence[int],
    outputs: Sequence[CoProduct],
    waste: tuple[str, ...],
    ratio: Fraction | None,
    issues: Sequence[Issue],
) -> CoProductAllocation:
    known = {one.output: weight for one, weight in zip(products, weights, strict=True)}
    credit = products[1:] if method == "substitution" else []
    words = _WORDS[method]
    if ratio is not None and len(products) > 1:
        price = f"{float(ratio):.3g}"
        words = Text(en=f"{words.en}; unit prices differ by {price}", zh=f"{words.zh}；单价最高与最低之比 {price}")
    return CoProductAllocation(
        method,
        {one.output: known.get(one.output, 0) for one in outputs},
        waste,
        ratio,
        {
            one.output: Fraction(one.displaced_kg_co2e) * Fraction(one.quantity_micro, 10**6)
            for one in credit
            if one.displaced_kg_co2e is not None
        },
        words,
        tuple(issues),
    )
