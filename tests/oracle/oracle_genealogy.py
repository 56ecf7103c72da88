"""Oracle: what every lot carries (section 5): lots and materials handed on by quantity, loops solved exactly, in fractions.

inventory(b) = own(b) + Σ share(k→b) x inventory(k) + Σ quantity(m→b) x material m
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from itertools import accumulate

from oracle.oracle_lots import Output, Trade
from oracle.oracle_numbers import converted, half_even, r1
from oracle.oracle_solve import solve

Key = tuple[str, str, str, str, str, str]
"""Source, step, scope, stage, measure, factor."""
Lines = dict[Key, int]
"""Kg x 10^18."""


@dataclass(frozen=True)
class Part:
    """A piece of what leaves a lot: for another lot, or (taker "") what stays. `sold` parts are co-products."""

    giver: str
    taker: str
    share: Fraction
    sold: bool = False


@dataclass
class Way:
    """How a lot's inventory leaves it: co-products by `outer` (the main product last), the main product by `inner`."""

    output: int
    rework: int
    outer: list[Fraction]
    inner: list[int]
    parts: list[Part]
    shares: dict[str, Fraction] = field(default_factory=dict)

    def divide(self, amount: int) -> list[int]:
        *sold, main = r1(amount, self.outer)
        return [*sold, *r1(main, self.inner)]


@dataclass
class Carried:
    """By lot what came in, what came in from other lots, and what left along each part."""

    ways: dict[str, Way]
    entered: dict[str, Lines] = field(default_factory=dict)
    came: dict[str, Lines] = field(default_factory=dict)
    left: dict[str, list[Lines]] = field(default_factory=dict)
    wrong: set[tuple[str, str]] = field(default_factory=set)

    def behind(self, lot: str) -> set[str]:
        """A lot and all lots of which it carries a part."""
        found, more = set[str](), {lot}
        while more - found:
            found |= more
            more = {
                part.giver for way in self.ways.values() for part in way.parts if part.taker in found and part.share
            }
        return found

    def main(self, lot: str) -> Lines:
        """All that a lot carries but what its co-products take with them."""
        pairs = zip(self.ways[lot].parts, self.left[lot], strict=True)
        return summed(lines for part, lines in pairs if not part.sold)


def summed(several: Iterable[Mapping[Key, int]]) -> Lines:
    total: Lines = {}
    for lines in several:
        for key, kg in lines.items():
            total[key] = total.get(key, 0) + kg
    return {key: kg for key, kg in total.items() if kg}


def carry(made: Trade, own: Mapping[str, Lines], rules: str) -> Carried:
    """`own` is what each lot made itself or bought."""
    names = sorted({*made.lots, *own})
    wrong = set(made.wrong)
    carried = Carried({lot: _way(lot, made, rules, wrong, is_known=bool(own.get(lot))) for lot in names}, wrong=wrong)
    for lot in names:
        carried.entered[lot], carried.came[lot] = summed([own.get(lot, {})]), {}
    for group in _groups(carried.ways):
        inflow = {lot: summed([carried.entered[lot], carried.came[lot]]) for lot in group}
        ways = {lot: carried.ways[lot] for lot in group}
        goes_back = any(part.taker in group and part.share for way in ways.values() for part in way.parts)
        carried.left |= _around(ways, inflow) if goes_back else {lot: _along(ways[lot], inflow[lot]) for lot in group}
        if goes_back and not any(part.taker not in group and part.share for way in ways.values() for part in way.parts):
            wrong |= {("loop-closed", lot) for lot in group}
        for lot in group:
            for part, lines in zip(ways[lot].parts, carried.left[lot], strict=True):
                if part.taker and part.taker != lot:
                    carried.came[part.taker] = summed([carried.came[part.taker], lines])
    return carried


def _along(way: Way, inflow: Lines) -> list[Lines]:
    shares = {key: way.divide(kg) for key, kg in inflow.items()}
    return [{key: several[n] for key, several in shares.items() if several[n]} for n in range(len(way.parts))]


def _groups(ways: Mapping[str, Way]) -> list[list[str]]:
    """Lots that feed each other, upstream first."""
    down: dict[str, set[str]] = {}
    for lot in ways:
        found, more = set[str](), {part.taker for part in ways[lot].parts if part.taker and part.share}
        while more - found:
            found |= more
            more = {part.taker for one in found for part in ways[one].parts if part.taker and part.share}
        down[lot] = found
    rings = sorted({tuple(sorted({lot} | {one for one in down[lot] if lot in down[one]})) for lot in ways})
    return [list(ring) for ring in sorted(rings, key=lambda r: -len({o for lot in r for o in down[lot]} | {*r}))]


def _around(ways: Mapping[str, Way], inflow: Mapping[str, Lines]) -> dict[str, list[Lines]]:
    """A rework loop: what leaves it by its exact solution and R1; if nothing ever does, all stays where it came in."""
    group = sorted(ways)
    parts = [(lot, n, part) for lot in group for n, part in enumerate(ways[lot].parts)]
    out = [(lot, n, part) for lot, n, part in parts if part.taker not in ways]
    found: dict[str, list[Lines]] = {lot: [{} for _ in ways[lot].parts] for lot in group}
    if not any(part.share for _, _, part in out):
        for lot in group:
            found[lot][-1] = dict(inflow[lot])
        return found
    matrix = [[Fraction(int(i == j)) for j in group] for i in group]
    for lot, _, part in parts:
        if part.taker in ways:
            matrix[group.index(part.taker)][group.index(lot)] -= part.share
    for key in {key for lines in inflow.values() for key in lines}:
        entered = {lot: inflow[lot].get(key, 0) for lot in group}
        passing = dict(zip(group, solve(matrix, [Fraction(entered[lot]) for lot in group]), strict=True))
        upto = [half_even(total) for total in accumulate(part.share * passing[lot] for lot, _, part in out)]
        whole = {(lot, n): b - a for (lot, n, _), a, b in zip(out, [0, *upto], upto, strict=False)}
        inside = [(lot, n, part) for lot, n, part in parts if part.taker in ways]
        whole |= {(lot, n): half_even(part.share * passing[lot]) for lot, n, part in inside}
        _balanced(group, [(lot, n, part.taker) for lot, n, part in inside if part.share], entered, whole)
        for (lot, n), kg in whole.items():
            if kg:
                found[lot][n][key] = kg
    return found


def _balanced(
    group: Sequence[str],
    inside: Sequence[tuple[str, int, str]],
    entered: Mapping[str, int],
    whole: dict[tuple[str, int], int],
) -> None:
    """Rounded, the parts inside do not add up: those that join the lots into a tree, grown from the first, take the rest."""
    joined, joints = [group[0]], list[tuple[str, tuple[str, int], int]]()
    for lot in joined:
        for giver, n, taker in inside:
            for near, far, sign in ((giver, taker, -1), (taker, giver, 1)):
                if near == lot and far not in joined:
                    joined.append(far)
                    joints.append((far, (giver, n), sign))
    for lot, place, sign in reversed(joints):
        came = entered[lot] + sum(whole[giver, n] for giver, n, taker in inside if taker == lot)
        gone = sum(kg for (giver, _), kg in whole.items() if giver == lot)
        whole[place] += sign * (came - gone)


def _way(lot: str, made: Trade, rules: str, wrong: set[tuple[str, str]], *, is_known: bool) -> Way:
    outputs = sorted(made.outputs.get(lot, ()), key=lambda one: one.order)
    uses = [use for use in made.uses if use.of == "lot" and use.consumed == lot and use.quantity]
    used = sum(use.quantity for use in uses)
    output = _put_out(lot, made, outputs, used)
    _doubt(lot, made, outputs, (used, output), wrong, is_known=is_known)
    sold: dict[str, list[Output]] = {}
    for one in outputs:
        if one.is_sold_by(lot):
            sold.setdefault(one.as_lot, []).append(one)
    shares = coproduct_shares(lot, outputs, output, sold, made.units, rules, wrong) if sold else {lot: Fraction(1)}
    main = shares.get(lot, Fraction(0))
    rest = max(output - used, 0)
    inner = [*(use.quantity for use in uses), rest if used or rest else 1]
    parts = [Part(lot, taker, shares[taker], sold=True) for taker in sold]
    parts += [Part(lot, use.batch, main * Fraction(use.quantity, sum(inner))) for use in uses]
    parts.append(Part(lot, "", main * Fraction(inner[-1], sum(inner))))
    rework = sum(one.quantity for one in outputs if one.kind == "rework")
    return Way(output, rework, [*(shares[taker] for taker in sold), main], inner, parts, shares if sold else {})


def _doubt(
    lot: str,
    made: Trade,
    outputs: Sequence[Output],
    counts: tuple[int, int],
    wrong: set[tuple[str, str]],
    *,
    is_known: bool,
) -> None:
    """Uses beyond the output by more than 1 %, and output that nobody told."""
    used, output = counts
    wrong |= {("used-more-than-made", lot)} if used > output * Fraction(101, 100) else set()
    if lot in made.bought:
        return
    told = [one.quantity for one in outputs if one.kind in ("good", "rework") and one.quantity]
    ordered = made.ordered.get(lot)
    is_underway = bool(told) and sum(told) < (ordered or 0) and not any(one.kind == "good" for one in outputs)
    received = sum(
        one.quantity
        for giver, several in made.outputs.items()
        for one in several
        if one.as_lot == lot and one.is_sold_by(giver)
    )
    if outputs and not told:
        wrong.add(("no-good-output", lot))
    elif used and ordered and (is_underway or not (outputs or received)):
        wrong.add(("output-assumed", lot))
    elif used and not (outputs or received):
        is_named = is_known or lot in made.ordered or any(use.batch == lot for use in made.uses)
        is_named = is_named or any(one.as_lot == lot for several in made.outputs.values() for one in several)
        wrong.add(("output-unknown" if is_named else "lot-unknown", lot))


def _put_out(lot: str, made: Trade, outputs: Sequence[Output], used: int) -> int:
    """Good and rework output, and what was bought; if none is told what it was put out as, ordered as, used as."""
    told = sum(one.quantity for one in outputs if one.kind in ("good", "rework"))
    ordered = made.ordered.get(lot)
    if lot in made.bought:
        return told + made.bought[lot].quantity
    is_underway = 0 < told < (ordered or 0) and not any(one.kind == "good" for one in outputs)
    if outputs and not is_underway:
        return told
    sold = ((giver, one) for giver, several in made.outputs.items() for one in several if one.as_lot == lot)
    put_out = sum(one.quantity for giver, one in sold if one.is_sold_by(giver))
    return (0 if outputs else put_out) or ordered or used


def coproduct_shares(
    lot: str,
    outputs: Sequence[Output],
    output: int,
    sold: Mapping[str, Sequence[Output]],
    units: Mapping[str, str],
    rules: str,
    wrong: set[tuple[str, str]],
) -> dict[str, Fraction]:
    """ISO 14067: displaced products, a physical relation, value. PACT v3: prices more than five times apart: value first."""
    made = {lot: [one for one in outputs if one.kind == "good"], **sold} if output else dict(sold)
    size = {name: output if name == lot else sum(one.quantity for one in several) for name, several in made.items()}
    price = {name: _mean(several, [one.price and one.price * one.quantity if one.price is not None else None
                                   for one in several]) for name, several in made.items()}  # fmt: skip
    products = [name for name in made if not (price[name] is not None and price[name] <= 0)]  # type: ignore[operator]
    wrong |= set() if products else {("all-waste", next(iter(made)))}
    products = products or list(made)
    kg = {name: (converted(units[name], "kg") or Fraction(0)) * size[name] for name in products}
    weights = _weights(products, made, size, kg, price, rules)
    if weights is None:
        wrong.add(("coproduct-rule", next(iter(made))))
        weights = dict.fromkeys(products, Fraction(1))
    whole = sum(weights.values())
    return {name: Fraction(weights.get(name, Fraction(0))) / whole for name in made}


def _weights(
    products: Sequence[str],
    made: Mapping[str, Sequence[Output]],
    size: Mapping[str, int],
    kg: Mapping[str, Fraction],
    price: Mapping[str, Fraction | None],
    rules: str,
) -> dict[str, Fraction] | None:
    if len(products) == 1:
        return {products[0]: Fraction(1)}
    displaced = {name: {one.displaced for one in made[name]} for name in products}
    if all(len(displaced[name]) == 1 and None not in displaced[name] for name in products[1:]):
        return {products[0]: Fraction(1)}
    prices = [price[name] for name in products]
    value = None if None in prices else {name: (price[name] or Fraction(0)) * kg[name] for name in products}
    told = {name: _mean(made[name], [one.physical for one in made[name]]) for name in products}
    physical = kg if None in told.values() else {name: (told[name] or Fraction(0)) * size[name] for name in products}
    known = [one for one in prices if one is not None]
    apart = rules == "pact-v3" and len(known) == len(products) and min(known) > 0 and max(known) / min(known) > 5
    order = [value] if apart else [dict(physical), value]
    chosen = (one for one in order if one is not None and any(one.values()) and min(one.values()) >= 0)
    return next(chosen, None)


def _mean(made: Sequence[Output], totals: Sequence[Fraction | None]) -> Fraction | None:
    """Σ totals / Σ quantities, if all of them are known."""
    quantity = sum(one.quantity for one in made)
    known = [total for total in totals if total is not None]
    return sum(known, Fraction(0)) / quantity if quantity and len(known) == len(made) else None
