"""What a lot carries of the lots and materials that went into it: inventories handed on by quantity, exactly.

    inventory(b) = own(b) + Σ share(k→b) x inventory(k) + Σ quantity(m→b) x material m
    share = quantity / (good + rework output)

Nothing here is ever posted. Factors multiply each lot's own postings first; then the vector of emission lines moves. A
lot's uses are cut cumulatively in order of time and event id (rule R1) and the rest stays stock, so that what goes on
and what stays add up to the lot's inventory, to the last digit, also around rework loops (`loops`).
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction

from plantprint.coproducts import ISO_14067, CoProductAllocation, RuleSet
from plantprint.data_quality import Contribution
from plantprint.facts import Issue
from plantprint.loops import strong_groups, through_loop
from plantprint.lot_plans import LotPlan, plan_lot
from plantprint.lots import EMPTY, Facts, LineKey, Lot, Pcf, Vector, add

DEFAULT_TOLERANCE = Fraction(1, 100)


@dataclass(frozen=True, slots=True)
class Handed:
    """What a lot hands to `taker` (`STOCK`: what it keeps): a share of its inventory, and the lines themselves.

    `sold` is what a co-product takes with it, not a use of the main product.
    """

    giver: str
    taker: str
    event_id: str
    at_ms: int
    quantity_micro: int
    share: Fraction
    lines: Vector
    sold: bool = False


@dataclass(frozen=True, slots=True)
class LotInventory:
    """A lot's lines in kg x EMISSION_SCALE: what it made itself or bought (`own`), all it carries, what it still holds.

    `output_micro` is its good and rework output; `stock_micro` what of it nobody has used. `coproducts` says how the
    inventory was divided where there is more than one product.
    """

    lot: str
    own: Vector
    inventory: Vector
    stock: Vector
    output_micro: int
    stock_micro: int
    coproducts: CoProductAllocation | None = None


@dataclass(frozen=True, slots=True)
class Genealogy:
    """Lots by id, everything handed on, and the lots that are incomplete by an issue of their own or of an ancestor.

    `supplier_shares` is the primary share that the supplier of a line's (source, factor) states.
    """

    lots: dict[str, LotInventory]
    handed: tuple[Handed, ...]
    supplier_shares: dict[tuple[str, str], Fraction]
    incomplete: frozenset[str]
    issues: tuple[Issue, ...]

    def reasons(self, lot: str) -> tuple[Issue, ...]:
        """Why a lot is incomplete: the issues of itself and of everything that it carries a part of."""
        givers: dict[str, list[str]] = defaultdict(list)
        for move in self.handed:
            if move.share:
                givers[move.taker].append(move.giver)
        seen, waiting = {lot}, [lot]
        for taker in waiting:
            waiting += [giver for giver in dict.fromkeys(givers[taker]) if giver not in seen]
            seen.update(givers[taker])
        return tuple(issue for issue in self.issues if issue.place in seen)

    def per_unit(self, lot: str) -> dict[LineKey, Fraction] | None:
        """Kg per unit of good and rework output; None for a lot without output. Its co-products' part is not in it."""
        one = self.lots[lot]
        if not one.output_micro:
            return None
        main = Fraction(1) if one.coproducts is None else one.coproducts.share(lot)
        return {key: main * Fraction(value, 10**12 * one.output_micro) for key, value in one.inventory.items()}


def trace_lots(
    facts: Facts, own: Mapping[str, Vector], rules: RuleSet = ISO_14067, tolerance: Fraction = DEFAULT_TOLERANCE
) -> Genealogy:
    """The inventory of every lot that the facts or `own` (lines of each lot's own postings) name.

    A function of the set of facts: their order and number of copies make no difference. Raises `AssertionError` when
    lines do not add up exactly, which is a bug whatever the facts say.
    """
    issues: list[Issue] = []
    lots = _all_lots(facts, own, issues)
    plans = {lot: plan_lot(lots[lot], facts, rules, tolerance, issues) for lot in lots}
    bought = {lot: _bought(lots[lot], facts, issues) for lot in lots}
    takers = {lot: [part.taker for part in plan.parts if part.taker and part.share] for lot, plan in plans.items()}
    groups = strong_groups(takers)
    inflow: dict[str, dict[LineKey, int]] = {}
    for lot in lots:
        inflow[lot] = dict(own.get(lot, EMPTY))
        add(inflow[lot], bought[lot])
    entered = {lot: {key: value for key, value in sorted(lines.items()) if value} for lot, lines in inflow.items()}
    handed: dict[str, list[Vector]] = {}
    for group in groups:
        handed.update(_hand_on(group, inflow, plans, takers, issues))
        for lot in group:
            for part, lines in zip(plans[lot].parts, handed[lot], strict=True):
                if part.taker and part.taker not in group:
                    add(inflow[part.taker], lines)
    return _result(facts, plans, entered, handed, groups, takers, issues)


def contributions(
    lines: Vector,
    supplier_shares: Mapping[tuple[str, str], Fraction],
    primary_factors: Iterable[str] = (),
    gwp: Mapping[str, Fraction] | None = None,
) -> list[Contribution]:
    """Lines as parts of a primary data share. Own activity is metered, so it is as primary as its factor is.

    `gwp` turns a line's gas into CO2e (default: lines are CO2e already); raises `KeyError` for a gas it does not know.
    """
    weights = {"co2e": Fraction(1)} if gwp is None else gwp
    primary = frozenset(primary_factors)
    return [
        Contribution(
            value * weights[key.gas], True, key.factor in primary, supplier_shares.get((key.source, key.factor))
        )
        for key, value in sorted(lines.items())
    ]


def _all_lots(facts: Facts, own: Mapping[str, Vector], issues: list[Issue]) -> dict[str, Lot]:
    """Declared lots, and made ones that only appear in events or postings."""
    lots = dict(facts.declared)
    for name in sorted(one.lot for one in {*facts.lots} - {*lots.values()}):
        message = f"lot {name!r} is declared twice, differently; the last in order of time counts"
        issues.append(Issue("lot-twice", name, message, "give every lot an id of its own", lots[name].at_ms))
    made = {*(lot for lot, lines in own.items() if lines), *(use.batch for use in facts.uses)}
    made |= {one.lot for one in facts.outputs} | {one.as_lot for one in facts.outputs if one.as_lot}
    for lot in made - lots.keys():
        lots[lot] = Lot(lot)
    for use in facts.uses:
        if use.of == "lot" and use.consumed not in lots:
            lots[use.consumed] = Lot(use.consumed, kind="unknown")
    lots |= {lot: Lot(lot) for lot in own.keys() - lots.keys()}
    return dict(sorted(lots.items()))


def _bought(lot: Lot, facts: Facts, issues: list[Issue]) -> dict[LineKey, int]:
    """What enters with the lot itself (opening stock, a customer's return) and with the materials used for it."""
    lines: dict[LineKey, int] = {}
    if lot.kind not in ("made", "unknown"):
        material = facts.material(lot.material)
        pcf = lot.pcf or (material and material.pcf)
        if not pcf or lot.quantity_micro is None:
            message = f"{lot.kind} lot {lot.lot!r} has no footprint or no quantity, so what it carries is unknown"
            remedy = "give it its quantity and a footprint per unit; zero if the rules say so"
            issues.append(Issue("lot-without-pcf", lot.lot, message, remedy, lot.at_ms))
        else:
            add(lines, pcf.lines(lot.lot, "", lot.quantity_micro))
    for use in facts.uses_by(lot.lot):
        if use.of != "material":
            continue
        material = facts.material(use.consumed)
        if material is None or material.pcf is None:
            message = f"batch {lot.lot!r} used {use.consumed!r}, which has no footprint, so its emission is unknown"
            remedy = "give the material a supplier's footprint or a background factor"
            issues.append(Issue("material-without-pcf", lot.lot, message, remedy, use.at_ms))
        elif use.quantity_micro:
            add(lines, material.pcf.lines(use.consumed, use.step, use.quantity_micro))
    return lines


def _hand_on(
    group: Sequence[str],
    inflow: Mapping[str, Vector],
    plans: Mapping[str, LotPlan],
    takers: Mapping[str, Sequence[str]],
    issues: list[Issue],
) -> dict[str, list[Vector]]:
    """The lines of every part of the lots in `group`, of which all inflows from outside are known."""
    first = group[0]
    if len(group) == 1 and first not in takers[first]:
        return {first: _divide_lines(inflow[first], plans[first])}
    parts = {lot: [(part.taker, part.share) for part in plans[lot].parts] for lot in group}
    through = through_loop(group, inflow, parts)
    if through is not None:
        return through
    message = f"all that {', '.join(group)} made went back into them, so what they carry cannot leave"
    remedy = "report the good output that was not worked again"
    issues.extend(Issue("loop-closed", lot, message, remedy) for lot in group)
    kept: dict[str, list[Vector]] = {}
    for lot in group:
        kept[lot] = [dict[LineKey, int]() for _ in plans[lot].parts]
        kept[lot][-1] = {key: value for key, value in inflow[lot].items() if value}
    return kept


def _divide_lines(lines: Vector, plan: LotPlan) -> list[Vector]:
    pieces: list[dict[LineKey, int]] = [{} for _ in plan.parts]
    for key in sorted(lines):
        for piece, share in zip(pieces, plan.divide(lines[key]), strict=True):
            if share:
                piece[key] = share
    return [*pieces]


def _result(
    facts: Facts,
    plans: Mapping[str, LotPlan],
    entered: Mapping[str, Vector],
    handed: Mapping[str, Sequence[Vector]],
    groups: Sequence[Sequence[str]],
    takers: Mapping[str, Sequence[str]],
    issues: list[Issue],
) -> Genealogy:
    incoming: dict[str, dict[LineKey, int]] = {lot: dict(lines) for lot, lines in entered.items()}
    lots: dict[str, LotInventory] = {}
    moves: list[Handed] = []
    for lot, plan in plans.items():
        inventory: dict[LineKey, int] = {}
        for part, lines in zip(plan.parts, handed[lot], strict=True):
            add(inventory, lines)
            if part.taker:
                add(incoming[part.taker], lines)
            if lines or part.quantity_micro or part.share:
                place = (lot, part.taker, part.event_id, part.at_ms, part.quantity_micro, part.share)
                moves.append(Handed(*place, lines, part.sold))
        lots[lot] = LotInventory(
            lot,
            entered[lot],
            _sorted(inventory),
            handed[lot][-1],
            plan.output_micro,
            plan.parts[-1].quantity_micro,
            plan.coproducts,
        )
    for lot, one in lots.items():
        assert one.inventory == _sorted(incoming[lot]), f"{lot}: what came in and what it carries differ"
    found = tuple(sorted({*issues, *facts.issues}))
    shares = {(source, pcf.reference): pcf.primary_share for source, pcf in _footprints(facts)}
    return Genealogy(lots, tuple(moves), shares, _incomplete(found, groups, takers), found)


def _sorted(lines: Vector) -> dict[LineKey, int]:
    return {key: value for key, value in sorted(lines.items()) if value}


def _footprints(facts: Facts) -> Iterable[tuple[str, Pcf]]:
    for material in facts.materials:
        if material.pcf is not None:
            yield material.material, material.pcf
    for lot in facts.declared.values():
        of = facts.material(lot.material)
        if pcf := lot.pcf or (of and of.pcf):
            yield lot.lot, pcf


def _incomplete(
    issues: Sequence[Issue], groups: Sequence[Sequence[str]], takers: Mapping[str, Sequence[str]]
) -> frozenset[str]:
    """Lots with an issue, and all that carry something of them; lots of a loop share theirs."""
    touched = {issue.place for issue in issues}
    for group in groups:
        if touched.intersection(group):
            touched.update(taker for lot in group for taker in takers[lot])
    return frozenset(touched.intersection(takers))
