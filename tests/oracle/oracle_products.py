"""Oracle: the footprint of every lot of a document with all that went into it, to the last digit of kg x 10^18."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from typing import Any

from oracle.oracle_account import OracleHour
from oracle.oracle_events import production
from oracle.oracle_genealogy import Carried, Key, Lines, carry, summed
from oracle.oracle_lots import Footprint, Trade, trade
from oracle.oracle_market import Market, market_of
from oracle.oracle_numbers import r1
from oracle.oracle_plant import Plant
from oracle.oracle_rates import Rate, Rates, is_known, library_of, rate_of

Body = Mapping[str, Any]
SCOPES = {"upstream": "3.3", "td": "3.3", "material": "3.1", "transport": "3.4", "waste": "3.5"}


@dataclass(frozen=True)
class Product:
    """Lines that the good output carries, those of them that are the lot's own, and all that came into it."""

    total: Lines
    own: Lines
    entered: Lines
    good: int | None
    shares: Mapping[str, Fraction]
    primary: Fraction | None
    reasons: set[tuple[str, str]] = field(default_factory=set)


def products(document: Body, hours: Sequence[OracleHour], known_at: str | None = None) -> dict[str, Product]:
    """By lot, from the oracle's own postings and the events and factors that are known."""
    model = document["plants"][-1]["model"]
    events = [event for event in document.get("events", ()) if is_known(event, known_at)]
    begun = [job.batch for job in production(events, Plant(model)).jobs]
    made = trade(events, {material["id"]: material for material in model.get("materials", ())}, begun)
    library = library_of(document, known_at)
    backing = {m["id"]: _background(m, library) for m in model.get("materials", ())}
    rates = Rates(document, model, library, known_at)
    market = market_of(model, hours, events, rates)
    posted = _posted(hours, model, rates, market)
    names = sorted({*made.lots, *posted})
    bought = {lot: _bought(lot, made, backing, has_market=market is not None) for lot in names}
    carried = carry(made, {lot: summed([posted.get(lot, {}), bought[lot]]) for lot in names}, model_rules(model))
    suppliers = _suppliers(made)
    direct = {source["id"] for source in model["sources"] if source["kind"] == "direct"}
    found = {lot: _product(lot, carried, posted.get(lot, {}), bought[lot], (suppliers, direct)) for lot in names}
    lacking = _lacking(made, backing, model, rates, hours)
    return {lot: replace(product, reasons=_reasons(carried, lacking, lot)) for lot, product in found.items()}


REASONS = {
    "all-waste",
    "coproduct-rule",
    "data-missing",
    "factor-missing",
    "lot-twice",
    "lot-unknown",
    "lot-without-pcf",
    "loop-closed",
    "material-without-pcf",
    "no-good-output",
    "output-assumed",
    "output-unknown",
    "returned-more-than-issued",
    "used-more-than-made",
}


def _reasons(carried: Carried, lacking: set[tuple[str, str, str]], lot: str) -> set[tuple[str, str]]:
    """Why a lot is incomplete: what is wrong with it and with all that it carries a part of."""
    behind = carried.behind(lot)
    found = {(code, place) for code, place in carried.wrong if place in behind}
    return found | {(code, place) for code, place, of in lacking if of in behind}


def _lacking(
    made: Trade, backing: Mapping[str, Footprint | None], model: Body, rates: Rates, hours: Sequence[OracleHour]
) -> set[tuple[str, str, str]]:
    """Code, place and lot of what is not known: unknown is not zero."""
    named = {material["id"]: material.get("factor", "") for material in model.get("materials", ())}
    found: set[tuple[str, str, str]] = set()
    for lot, one in made.bought.items():
        if one.footprint is None and backing.get(one.material) is None:
            found.add(("lot-without-pcf", lot, lot))
    for use in (use for use in made.uses if use.of == "material" and backing.get(use.consumed) is None):
        found.add(("material-without-pcf", use.batch, use.batch))
        if named.get(use.consumed):
            found.add(("factor-missing", use.consumed, use.batch))
    for hour in hours:
        found |= {("data-missing", batch, batch) for batch in hour.missing_ms}
        for key in (key for key in hour.net if key.kind == "batch"):
            factor = rates.sources[key.source]["factor"]
            if factor not in rates.hours and factor not in rates.library:
                found.add(("factor-missing", key.source, key.id))
    return found


def model_rules(model: Body) -> str:
    return str(model.get("product_rules", "iso-14067"))


def _product(
    lot: str, carried: Carried, own: Lines, bought: Lines, known: tuple[Mapping[tuple[str, str], Fraction], set[str]]
) -> Product:
    """What stays with the good output when co-products and rework have taken their part; own in proportion to what came."""
    way, main = carried.ways[lot], carried.main(lot)
    good = way.output - way.rework
    total = main
    if way.rework:
        total = {key: part for key, kg in main.items() if (part := r1(kg, [good, way.rework])[0])}
    other = summed([carried.came[lot], bought])
    mine: Lines = {}
    for key, kg in total.items():
        a, b = own.get(key, 0), other.get(key, 0)
        mine[key] = r1(kg, [abs(a), abs(b)])[0] if a * b >= 0 and (a or b) else a
    primary = _primary({key: kg for key, kg in total.items() if key[4] == "co2e"}, *known)
    own_part = {key: kg for key, kg in mine.items() if kg}
    return Product(total, own_part, summed([own, other]), max(good, 0) or None, way.shares, primary)


def _primary(lines: Lines, suppliers: Mapping[tuple[str, str], Fraction], direct: set[str]) -> Fraction | None:
    """Weights |kg|; what is metered and what an average factor multiplies is 0 %, what a stack meter saw 100 %."""
    whole = sum(abs(kg) for kg in lines.values())
    parts = (abs(kg) * suppliers.get((key[0], key[5]), Fraction(key[0] in direct)) for key, kg in lines.items())
    return sum(parts, Fraction(0)) / whole if whole else None


def _suppliers(made: Trade) -> dict[tuple[str, str], Fraction]:
    bought = ((lot, one.footprint) for lot, one in made.bought.items() if one.footprint)
    return {(lot, paper.reference): paper.primary or Fraction(0) for lot, paper in bought}


def _bought(lot: str, made: Trade, backing: Mapping[str, Footprint | None], *, has_market: bool) -> Lines:
    several: list[Lines] = []
    if lot in made.bought:
        one = made.bought[lot]
        paper = one.footprint or backing.get(one.material)
        several.append(_lines(paper, lot, "", one.quantity) if paper else {})
    for use in made.uses:
        paper = backing.get(use.consumed) if use.of == "material" and use.batch == lot else None
        several.append(_lines(paper, use.consumed, use.step, use.quantity) if paper else {})
    if has_market:  # Nobody's market changes what a supplier states.
        several += [
            {(*key[:4], "market", key[5]): kg for key, kg in lines.items() if key[4] == "co2e"} for lines in several
        ]
    return summed(several)


def _lines(paper: Footprint, source: str, step: str, quantity: int) -> Lines:
    return {
        (source, step, paper.scope, paper.stage, name, paper.reference): quantity * kg for name, kg in paper.kg.items()
    }


def _scope(component: str, own: int) -> str:
    here = {"combustion": "1", "process": "1", "generation": "2"}
    return SCOPES.get(component) or str(own if own == 3 else here.get(component, own))


def _background(material: Body, library: Mapping[str, Body]) -> Footprint | None:
    factor = library.get(material.get("factor", ""))
    if factor is None:
        return None
    rate = rate_of(factor, material["unit"])
    scope = _scope(factor.get("component", "life_cycle"), 3)
    kg = {"co2e": sum(rate.components.values())}
    kg |= {f"gas:{gas}": part for gas, part in rate.gases.items()}
    kg |= {f"kg:{gas}": part for gas, part in rate.masses.items()}
    stage = "raw materials" if rate.stage == "production" else rate.stage
    return Footprint(rate.reference, kg, "3.1" if scope == "3" else scope, stage)


def _posted(hours: Sequence[OracleHour], model: Body, rates: Rates, market: Market | None) -> dict[str, Lines]:
    """Each batch's own postings, multiplied hour by hour, in all measures; a line names every factor behind it."""
    scopes = {source["id"]: source["scope"] for source in model["sources"]}
    found: dict[str, dict[tuple[str, str, str, str, str], int]] = {}
    names: dict[tuple[str, str, bool], set[tuple[str, int]]] = {}
    postings = [(key, amount) for hour in hours for key, amount in hour.net.items() if key.kind == "batch"]
    for key, amount in postings:
        own, scope = rates.at(key.source, key.entered_ms), scopes[key.source]
        told: list[tuple[str, str, int, Rate]] = []
        if own is not None:
            told += [(_scope(part, scope), "co2e", kg, own) for part, kg in own.components.items()]
            told += [(str(scope), f"gas:{gas}", kg, own) for gas, kg in own.gases.items()]
            told += [(str(scope), f"kg:{gas}", kg, own) for gas, kg in own.masses.items()]
        bought = market.at(key.entered_ms) if market and key.source == market.source else own
        if market and bought is not None:
            told += [(_scope(part, scope), "market", kg, bought) for part, kg in bought.components.items()]
        lines = found.setdefault(key.id, {})
        for where, measure, kg, rate in told:
            place = (key.source, key.step, where, rate.stage, measure)
            lines[place] = lines.get(place, 0) + amount * kg
            names.setdefault((key.id, key.source, measure == "market"), set()).update(rate.references)
    return {
        lot: {
            (*place, ", ".join(f"{n}@{v}" for n, v in sorted(names[lot, place[0], place[4] == "market"]))): kg
            for place, kg in lines.items()
            if kg
        }
        for lot, lines in found.items()
        if any(lines.values())
    }


__all__ = ["Key", "Product", "products"]
