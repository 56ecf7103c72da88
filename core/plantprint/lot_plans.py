"""How a lot's inventory leaves it: its co-products first, then its uses by quantity in order of time, then its stock."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction

from plantprint.coproducts import CoProduct, CoProductAllocation, RuleSet, allocate_coproducts
from plantprint.facts import Issue
from plantprint.lots import Facts, Lot, Output
from plantprint.quantities import decimal_text, divide

STOCK = ""


@dataclass(frozen=True, slots=True)
class LotPart:
    """A piece of a lot's outgoing inventory before its lines are known; `taker` is STOCK for what stays.

    What is `sold` is a co-product; the same lot may use some of the main product too.
    """

    taker: str
    event_id: str
    at_ms: int
    quantity_micro: int
    share: Fraction
    sold: bool = False


@dataclass(frozen=True, slots=True)
class LotPlan:
    """How a lot's inventory leaves: by `outer` over co-products and the main product (last), that one by `inner`."""

    output_micro: int
    coproducts: CoProductAllocation | None
    parts: tuple[LotPart, ...]
    outer: tuple[int, ...]
    inner: tuple[int, ...]

    def divide(self, amount: int) -> list[int]:
        *sold, main = divide(amount, self.outer)
        return [*sold, *divide(main, self.inner)]


def plan_lot(lot: Lot, facts: Facts, rules: RuleSet, tolerance: Fraction, issues: list[Issue]) -> LotPlan:
    """The parts of a lot in canonical order, uses beyond its output normalised; what is wrong goes to `issues`."""
    outputs = facts.outputs_of(lot.lot)
    uses = [use for use in facts.uses_of(lot.lot) if use.quantity_micro]
    used = sum(use.quantity_micro for use in uses)
    output = _output(lot, outputs, facts.received_as(lot.lot), used, issues)
    if used > output * (1 + tolerance):
        message = (
            f"{decimal_text(used)} of lot {lot.lot!r} were used but only {decimal_text(output)} made; "
            "the uses share all that it carries"
        )
        issues.append(Issue("used-more-than-made", lot.lot, message, "correct its output or its uses", uses[-1].at_ms))
    sold, allocation = _sold(lot, outputs, output, rules, issues)
    outer, main = [1], Fraction(1)
    if allocation is not None:
        outer = [*(allocation.weights[taker] for taker in sold), allocation.weights.get(lot.lot, 0)]
        main = allocation.share(lot.lot)
    rest = max(output - used, 0)
    inner = [*(use.quantity_micro for use in uses), rest if used or rest else 1]
    parts = [
        LotPart(taker, event_id, at_ms, quantity, allocation.share(taker) if allocation else Fraction(0), sold=True)
        for taker, (event_id, at_ms, quantity) in sold.items()
    ]
    parts += [
        LotPart(use.batch, use.event_id, use.at_ms, use.quantity_micro, main * Fraction(use.quantity_micro, sum(inner)))
        for use in uses
    ]
    parts.append(LotPart(STOCK, "", lot.at_ms, rest, main * Fraction(inner[-1], sum(inner))))
    return LotPlan(output, allocation, tuple(parts), tuple(outer), tuple(inner))


def _output(lot: Lot, outputs: Sequence[Output], received: int, used: int, issues: list[Issue]) -> int:
    """Good and rework output, or what it `received` as a co-product; else what was ordered, else what was used."""
    made = sum(one.quantity_micro for one in outputs if one.kind in ("good", "rework"))
    is_underway = made and not any(one.kind == "good" for one in outputs) and made < (lot.quantity_micro or 0)
    if lot.kind not in ("made", "unknown") and lot.quantity_micro is not None:
        return made + lot.quantity_micro
    if (made and not is_underway) or (received and not outputs):
        return made or received
    if outputs and not is_underway:
        message = f"lot {lot.lot!r} has no good output; what its scrap does not carry stays on the lot"
        issues.append(Issue("no-good-output", lot.lot, message, "report its good output if there was any", lot.at_ms))
        return 0
    if lot.quantity_micro and not used:
        return lot.quantity_micro
    if lot.quantity_micro:
        so_far = "only rework of it was reported so far" if is_underway else "nothing was reported of its output"
        message = f"lot {lot.lot!r} was used and {so_far}; until its good output is, the ordered quantity stands in"
        remedy = "report its good output when it is made; the figures follow by themselves"
        issues.append(Issue("output-assumed", lot.lot, message, remedy, lot.at_ms))
        return lot.quantity_micro
    if used and lot.kind == "unknown":
        message = f"lot {lot.lot!r} was used, and nobody has said what it is, so what it carries is unknown"
        remedy = "send its lot event with a footprint per unit, or correct the id of the lot"
        issues.append(Issue("lot-unknown", lot.lot, message, remedy, lot.at_ms))
    elif used:
        message = f"no output of lot {lot.lot!r} was reported; what was used is taken for all of it"
        issues.append(Issue("output-unknown", lot.lot, message, "report its good output", lot.at_ms))
    return used


def _sold(
    lot: Lot, outputs: Sequence[Output], output: int, rules: RuleSet, issues: list[Issue]
) -> tuple[dict[str, tuple[str, int, int]], CoProductAllocation | None]:
    """Co-products by the lot that they become: (event id, time, quantity), in order of time; and who carries what."""
    sold: dict[str, list[Output]] = defaultdict(list)
    for one in outputs:
        if one.is_sold:
            sold[one.as_lot].append(one)
    if not sold:
        return {}, None
    products = [_coproduct(taker, made) for taker, made in sold.items()]
    if output:
        unit = next((one.unit for one in outputs if one.unit and not one.is_sold), lot.unit)
        good = [one for one in outputs if one.kind == "good"]
        products.insert(0, replace(_coproduct(lot.lot, good, output), unit=unit))
    allocation = allocate_coproducts(products, rules, outputs[0].at_ms)
    issues.extend(allocation.issues)
    return {
        taker: (made[0].event_id, made[0].at_ms, sum(one.quantity_micro for one in made))
        for taker, made in sold.items()
    }, allocation


def _coproduct(name: str, made: Sequence[Output], quantity_micro: int | None = None) -> CoProduct:
    """Several outputs of one thing as one of their mean price; what one of them does not say is unknown."""
    quantity = sum(one.quantity_micro for one in made) if quantity_micro is None else quantity_micro
    values = [None if one.unit_price is None else Fraction(one.unit_price) * one.quantity_micro for one in made]
    physical = _mean(made, [None if one.physical is None else Fraction(one.physical) for one in made])
    displaced = {one.displaced_kg_co2e for one in made}
    return CoProduct(
        name,
        quantity,
        made[0].unit if made else "",
        _mean(made, values),
        ", ".join(sorted({one.priced_on for one in made if one.priced_on})),
        None if physical is None else physical * quantity,
        displaced_kg_co2e=displaced.pop() if len(displaced) == 1 else None,
    )


def _mean(made: Sequence[Output], totals: Sequence[Fraction | None]) -> Fraction | None:
    """Σ totals / Σ quantities; None where one total is unknown or there is no quantity."""
    quantity = sum(one.quantity_micro for one in made)
    known = [total for total in totals if total is not None]
    return sum(known, Fraction(0)) / quantity if quantity and len(known) == len(made) else None
