"""Two product footprints as activities by step and source, so that `compare` can say what makes their difference.

Own postings keep their amounts; a lot or material that went in counts as an activity of its own, since a kilogram of salt
stands for none of dyestuff. Where a batch has rework or co-products, both follow the part that its good output carries.
"""

from collections.abc import Mapping
from fractions import Fraction

from plantprint.compare import Activity, Side
from plantprint.ledger import PostingKey
from plantprint.lots import Vector
from plantprint.product import ProductFootprint
from plantprint.product_lines import CO2E, of_measure
from plantprint.quantities import divide, round_half_even


def side_of(product: ProductFootprint, net: Mapping[PostingKey, int]) -> Side:
    """A product footprint and the postings of its lot, per declared unit where its quantity is known."""
    return Side((*_own(product, net), *_inputs(product)), product.quantity_micro)


def _own(product: ProductFootprint, net: Mapping[PostingKey, int]) -> list[Activity]:
    units = {source.id: source.unit for source in product.valuing.history}
    amounts: dict[tuple[str, str], int] = {}
    for key, amount in net.items():
        amounts[key.step, key.source] = amounts.get((key.step, key.source), 0) + amount
    carried = _share_carried(product)
    emissions = _by_scope(of_measure(product.own, CO2E))
    return [
        Activity(step, source, units.get(source, ""), _part(amount, carried), emissions.get((step, source), {}))
        for (step, source), amount in sorted(amounts.items())
    ]


def _inputs(product: ProductFootprint) -> list[Activity]:
    """Inputs of one lot or material in one step as one; their emissions add up to the upstream part exactly."""
    steps: list[tuple[str, str, str]] = []
    quantities: dict[tuple[str, str, str], int] = {}
    weights: dict[tuple[str, str, str], int] = {}
    for one in product.inputs:
        place = (one.step, one.material or one.id, one.unit)
        if place not in quantities:
            steps.append(place)
        quantities[place] = quantities.get(place, 0) + one.quantity_micro
        weights[place] = weights.get(place, 0) + abs(sum(of_measure(one.lines, CO2E).values()))
    upstream = sum(of_measure(product.upstream, CO2E).values())
    parts = divide(upstream, [weights[place] for place in steps])
    carried = _share_carried(product)
    return [
        Activity(step, name, f"{unit} of {name}", _part(quantities[step, name, unit], carried), {"3": kg})
        for (step, name, unit), kg in zip(steps, parts, strict=True)
    ]


def _share_carried(product: ProductFootprint) -> Fraction:
    """What part of everything that entered the good output carries."""
    entered = sum(abs(kg) for kg in of_measure(product.entered, CO2E).values())
    carried = sum(abs(kg) for kg in of_measure(product.total, CO2E).values())
    return Fraction(carried, entered) if entered else Fraction(1)


def _part(amount: int, share: Fraction) -> int:
    exact = amount * share
    return round_half_even(exact.numerator, exact.denominator)


def _by_scope(lines: Vector) -> dict[tuple[str, str], dict[str, int]]:
    found: dict[tuple[str, str], dict[str, int]] = {}
    for key, kg in lines.items():
        cell = found.setdefault((key.step, key.source), {})
        cell[key.scope] = cell.get(key.scope, 0) + kg
    return found
