"""The footprint of a lot with all that went into it: own and upstream, per unit, in every cut that a statement gives.

Cradle to gate as far as uses of materials are recorded. A lot's own postings are valued first and handed on by shares
(`genealogy`); what is left on the lot's good output is its product footprint, split again into what came from its own
postings and what came with lots and materials. Integers throughout: both add up to it, to the last digit.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from typing import Literal

from plantprint.contradictions import Reasons
from plantprint.coproducts import ISO_14067, PACT_V3, CoProductAllocation, RuleSet
from plantprint.data_quality import DataQuality
from plantprint.factors import Factor, FactorChoice
from plantprint.facts import Issue
from plantprint.footprint import BOUNDARY as GATE_TO_GATE
from plantprint.genealogy import Genealogy, LotInventory, trace_lots
from plantprint.ledger import PostingKey
from plantprint.lots import EMPTY, Facts, LineKey, Lot, Material, Pcf, Vector, add
from plantprint.meter_slopes import kg_by_hour, meter_slopes
from plantprint.plant.graph import compile_plant
from plantprint.product_left import Left, left_of, with_own
from plantprint.product_lines import CO2E, Background, Books, Valuing, of_measure, with_measures
from plantprint.product_quality import Judged, judge
from plantprint.quantities import EMISSION_SCALE, divide
from plantprint.uncertainty import Uncertainty, meter_errors

CRADLE_TO_GATE = "cradle-to-gate"
OPEN_STEP = "open-hour"
"""Step of amounts in hours that are not settled, where only their source is known."""
RULE_SETS: Mapping[str, RuleSet] = {"iso-14067": ISO_14067, "pact-v3": PACT_V3}


@dataclass(frozen=True, slots=True)
class Input:
    """A lot or a material that went into a lot: millionths of `unit`, what part of the lot that was, and its lines."""

    kind: Literal["lot", "material"]
    id: str
    material: str
    unit: str
    step: str
    quantity_micro: int
    share: Fraction | None
    lines: Vector
    reference: str
    primary_share: Fraction | None


@dataclass(frozen=True, slots=True)
class Reach:
    """What a footprint may look at: net postings by lot, the facts of genealogy, and what is not known of them yet.

    `missing_ms`: by lot, how long meters behind it were silent. `open_lots` have amounts in hours that are not settled.
    `meter_hours`: by hour what each meter counted, in its unit, for the uncertainty that meters bring in. `contradictions`:
    by lot the facts behind it that contradict each other.
    """

    nets: Mapping[str, Mapping[PostingKey, int]]
    facts: Facts
    missing_ms: Mapping[str, int]
    open_lots: frozenset[str] = frozenset()
    meter_hours: Mapping[int, Mapping[str, float]] = field(default_factory=dict)
    contradictions: Reasons = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ProductFootprint:
    """Lines (kg x EMISSION_SCALE in the measures of `product_lines`) that the good output of a lot carries.

    `total` = `own` + `upstream`, line by line; `entered` is all that came into the lot, and `left` what of that went on with
    co-products and rework. `quantity_micro` is the good output in millionths of `unit`, None when it is not known.
    `reasons` say why it is incomplete, `remarks` what else a reader must know.
    """

    lot: str
    boundary: str
    valuing: Valuing
    quantity_micro: int | None
    unit: str
    own: Vector
    upstream: Vector
    total: Vector
    entered: Vector
    inputs: tuple[Input, ...]
    ancestors: tuple[str, ...]
    coproducts: CoProductAllocation | None
    judged: Judged
    choices: tuple[FactorChoice, ...]
    references: Mapping[str, Factor]
    reasons: tuple[Issue, ...]
    remarks: tuple[Issue, ...]
    left: tuple[Left, ...] = ()

    @property
    def kg(self) -> int:
        """Location-based kg CO2e x EMISSION_SCALE of all good output."""
        return sum(of_measure(self.total, CO2E).values())

    @property
    def uncertainty(self) -> Uncertainty:
        return self.judged.uncertainty

    @property
    def quality(self) -> DataQuality | None:
        return self.judged.ratings


def product_footprint(lot: str, reach: Reach, valuing: Valuing, behind: Background, ends_ms: int) -> ProductFootprint:
    """The footprint of `lot`; `reach.facts` must hold the events about it and all its ancestors, `reach.nets` their postings.

    `behind` is what `reach.facts` was reduced with; `ends_ms` the end of its reference period, which factors are rated by.
    """
    books = Books(valuing)
    own: dict[str, Vector] = {lot: EMPTY}
    unknown: dict[str, frozenset[str]] = {}
    for name, net in sorted(reach.nets.items()):
        if net:
            own[name], unknown[name] = books.lines(net)
    facts = _in_every_measure(reach.facts, market=valuing.market is not None)
    found = trace_lots(facts, own, RULE_SETS[valuing.plant.product_rules])
    one = found.lots[lot]
    outputs = [output for output in facts.outputs_of(lot) if output.kind in ("good", "rework")]
    rework = sum(output.quantity_micro for output in outputs if output.kind == "rework")
    good = one.output_micro - rework
    carried = _main(found, lot, one)
    total = _share(carried, good, rework) if rework else carried
    inputs = tuple(_inputs(lot, found, facts))
    other: dict[LineKey, int] = {}
    for part in inputs:
        add(other, part.lines)
    mine = _split(total, own[lot], other)
    entered = dict(other)
    add(entered, own[lot])
    ancestors = _ancestors(found, lot)
    choices = tuple(choice for choice, _ in books.location.choices().values())
    slopes, errors = _slopes(reach.nets.get(lot, {}), mine, reach, books, valuing)
    return ProductFootprint(
        lot,
        CRADLE_TO_GATE if inputs else GATE_TO_GATE,
        valuing,
        max(good, 0) or None,
        _unit(lot, facts),
        mine,
        _less(total, mine),
        total,
        entered,
        inputs,
        ancestors,
        one.coproducts,
        judge(
            of_measure(total, CO2E),
            found,
            facts,
            valuing,
            {**behind.factors, **_versions(choices)},
            ends_ms,
            slopes,
            errors,
        ),
        choices,
        behind.factors,
        tuple(sorted({*found.reasons(lot), *_missing(lot, ancestors, reach, unknown, books, behind, facts)})),
        tuple(sorted(_remarks(lot, ancestors, reach, books))),
        with_own(left_of(lot, found, facts, carried, total), _less(own[lot], mine)),
    )


def _in_every_measure(facts: Facts, *, market: bool) -> Facts:
    def lot(one: Lot) -> Lot:
        return one if one.pcf is None else replace(one, pcf=with_measures(one.pcf, market=market))

    def material(one: Material) -> Material:
        return one if one.pcf is None else replace(one, pcf=with_measures(one.pcf, market=market))

    return replace(facts, lots=[lot(one) for one in facts.lots], materials=[material(one) for one in facts.materials])


def _main(found: Genealogy, lot: str, one: LotInventory) -> dict[LineKey, int]:
    """What a lot carries, without what its co-products take with them."""
    left = dict(one.inventory)
    for move in found.handed:
        if move.giver == lot and move.sold:
            for key, kg in move.lines.items():
                left[key] -= kg
    return {key: kg for key, kg in left.items() if kg}


def _share(lines: Vector, good: int, rework: int) -> dict[LineKey, int]:
    parts = {key: divide(kg, [good, rework])[0] for key, kg in lines.items()}
    return {key: kg for key, kg in parts.items() if kg}


def _split(total: Vector, own: Vector, other: Vector) -> dict[LineKey, int]:
    """What of each line came from own postings: in proportion to what entered; where signs differ, all that can be own."""
    found: dict[LineKey, int] = {}
    for key, kg in total.items():
        mine, theirs = own.get(key, 0), other.get(key, 0)
        part = divide(kg, [abs(mine), abs(theirs)])[0] if mine * theirs >= 0 and (mine or theirs) else mine
        if part:
            found[key] = part
    return found


def _less(total: Vector, part: Vector) -> dict[LineKey, int]:
    rest = {key: total.get(key, 0) - part.get(key, 0) for key in total.keys() | part.keys()}
    return {key: kg for key, kg in sorted(rest.items()) if kg}


def _inputs(lot: str, found: Genealogy, facts: Facts) -> Iterable[Input]:
    """Lots first, then materials, each in order of time; what a lot gives back to itself is no input."""
    lots = facts.declared
    steps = {use.event_id: use.step for use in facts.uses_by(lot)}
    for move in sorted(found.handed, key=lambda move: (move.at_ms, move.giver, move.event_id)):
        if move.taker == lot and move.giver != lot and (move.lines or move.quantity_micro):
            giver = lots.get(move.giver, Lot(move.giver))
            part = _bought("lot", move.giver, giver.material, move.quantity_micro, _pcf_of(giver, facts))
            unit, step = _unit(move.giver, facts), steps.get(move.event_id, "")
            yield replace(part, unit=unit, step=step, share=move.share, lines=move.lines)
    own = lots.get(lot)
    if own is not None and own.kind not in ("made", "unknown"):
        part = _bought("lot", lot, own.material, own.quantity_micro or 0, _pcf_of(own, facts))
        yield replace(part, unit=own.unit)
    for use in facts.uses_by(lot):
        if use.of == "material":
            material = facts.material(use.consumed)
            pcf = material.pcf if material else None
            part = _bought("material", use.consumed, use.consumed, use.quantity_micro, pcf, use.step)
            yield replace(part, unit=material.unit if material else "")


def _bought(
    kind: Literal["lot", "material"], name: str, material: str, quantity: int, pcf: Pcf | None, step: str = ""
) -> Input:
    if pcf is None:
        return Input(kind, name, material, "", step, quantity, None, EMPTY, "", None)
    share = pcf.primary_share if pcf.kind == "supplier" else None
    return Input(kind, name, material, "", step, quantity, None, pcf.lines(name, step, quantity), pcf.reference, share)


def _pcf_of(lot: Lot, facts: Facts) -> Pcf | None:
    material = facts.material(lot.material)
    return lot.pcf or (material.pcf if material else None)


def _unit(lot: str, facts: Facts) -> str:
    declared = facts.declared.get(lot)
    return (declared.unit if declared else "") or next((one.unit for one in facts.outputs_of(lot) if one.unit), "")


def _ancestors(found: Genealogy, lot: str) -> tuple[str, ...]:
    """Every other lot that a part of this one comes from, nearest first."""
    givers: dict[str, list[str]] = {}
    for move in found.handed:
        if move.share and move.taker:
            givers.setdefault(move.taker, []).append(move.giver)
    known = {lot: None}
    waiting: Sequence[str] = [lot]
    while waiting:
        ahead = sorted({giver for taker in waiting for giver in givers.get(taker, ())} - known.keys())
        known |= dict.fromkeys(ahead)
        waiting = ahead
    return tuple(known)[1:]


def _versions(choices: Iterable[FactorChoice]) -> dict[str, Factor]:
    return {f"{one.factor.factor_id}@{one.factor.version}": one.factor for one in choices}


def _slopes(
    net: Mapping[PostingKey, int], mine: Vector, reach: Reach, books: Books, valuing: Valuing
) -> tuple[dict[str, dict[str, float]], dict[str, float]]:
    """Slopes of the lot's own part by meter and factor, and the meters' errors; hours without meters are as the others."""
    if not reach.meter_hours:
        return {}, {}
    graph = compile_plant(valuing.plant)
    errors = meter_errors(graph)
    hours = kg_by_hour(net, books.location, reach.meter_hours.keys())
    covered = sum(kg for places in hours.values() for kg in places.values())
    if not errors or not covered:
        return {}, errors
    own = of_measure(mine, CO2E)
    scale = sum(own.values()) / EMISSION_SCALE / covered
    factors = {key.source: key.factor for key in own}
    found = meter_slopes(graph, [(reach.meter_hours[hour], kg) for hour, kg in hours.items()], errors)
    return {
        meter: {factors.get(source, source): slope * scale for source, slope in by_source.items()}
        for meter, by_source in found.items()
    }, errors


def _missing(
    lot: str,
    ancestors: Iterable[str],
    reach: Reach,
    unknown: Mapping[str, frozenset[str]],
    books: Books,
    behind: Background,
    facts: Facts,
) -> Iterable[Issue]:
    """Data and factors that the figure lacks, in the lot and in what went into it."""
    lacking: set[str] = set()
    for name in (lot, *ancestors):
        lacking |= unknown.get(name, frozenset())
        missing_s = reach.missing_ms.get(name, 0) / 1000
        if missing_s:
            message = f"meters behind {name!r} were silent for {missing_s:g} s while it was made"
            yield Issue("data-missing", name, message, "bring the readings in later; the figure follows by itself")
        yield from reach.contradictions.get(name, ())
        for use in facts.uses_by(name):
            if use.of == "material" and use.consumed in behind.issues:
                yield behind.issues[use.consumed]
    yield from (issue for issue in books.issues if issue.place in lacking)


def _remarks(lot: str, ancestors: Iterable[str], reach: Reach, books: Books) -> set[Issue]:
    """What leaves the figure as it is."""
    remarks = set(books.issues) | books.location.warnings() | books.inventory_only()
    for name in (lot, *ancestors):
        if name in reach.open_lots:
            message = f"{name!r} has amounts in an hour that is not settled, so this figure still moves"
            remarks.add(Issue("hour-open", name, message, "ask again when the hour is settled"))
    return remarks
