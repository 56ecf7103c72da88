"""Oracle: the footprint of every lot of a document with all that went into it, to the last digit of kg x 10^18."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from oracle.oracle_account import OracleHour
from oracle.oracle_genealogy import Carried, Key, Lines, carry, summed
from oracle.oracle_lots import FACTOR, Footprint, Trade, trade
from oracle.oracle_numbers import HOUR_MS, converted, half_even, number, r1
from oracle.oracle_time import instant

Body = Mapping[str, Any]
SCOPES = {"upstream": "3.3", "td": "3.3", "material": "3.1", "transport": "3.4", "waste": "3.5"}
STAGES = {"material": "raw materials", "transport": "distribution", "waste": "end of life"}
AR6 = {"co2_fossil": "1", "co2_biogenic": "0", "ch4_fossil": "29.8", "ch4_biogenic": "27", "n2o": "273"}


@dataclass(frozen=True)
class Product:
    """Lines that the good output carries, those of them that are the lot's own, and all that came into it."""

    total: Lines
    own: Lines
    entered: Lines
    good: int | None
    shares: Mapping[str, Fraction]
    primary: Fraction | None


def products(document: Body, hours: Sequence[OracleHour], known_at: str | None = None) -> dict[str, Product]:
    """By lot, from the oracle's own postings and the events and factors that are known."""
    model = document["plants"][-1]["model"]
    events = [event for event in document.get("events", ()) if is_known(event, known_at)]
    made = trade(events, {material["id"]: material for material in model.get("materials", ())})
    library = _library(document, known_at)
    backing = {m["id"]: _background(m, library) for m in model.get("materials", ())}
    posted = _posted(hours, model, _Rates(document, model, library, known_at))
    names = sorted({*made.lots, *posted})
    bought = {lot: _bought(lot, made, backing) for lot in names}
    carried = carry(made, {lot: summed([posted.get(lot, {}), bought[lot]]) for lot in names}, model_rules(model))
    suppliers = _suppliers(made)
    direct = {source["id"] for source in model["sources"] if source["kind"] == "direct"}
    return {lot: _product(lot, carried, posted.get(lot, {}), bought[lot], (suppliers, direct)) for lot in names}


def model_rules(model: Body) -> str:
    return str(model.get("product_rules", "iso-14067"))


def is_known(fact: Body, known_at: str | None) -> bool:
    return known_at is None or not fact.get("known_at") or instant(fact["known_at"]) <= instant(known_at)


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


def _bought(lot: str, made: Trade, backing: Mapping[str, Footprint | None]) -> Lines:
    several = []
    if lot in made.bought:
        one = made.bought[lot]
        paper = one.footprint or backing.get(one.material)
        several.append(_lines(paper, lot, "", one.quantity) if paper else {})
    for use in made.uses:
        paper = backing.get(use.consumed) if use.of == "material" and use.batch == lot else None
        several.append(_lines(paper, use.consumed, use.step, use.quantity) if paper else {})
    return summed(several)


def _lines(paper: Footprint, source: str, step: str, quantity: int) -> Lines:
    return {
        (source, step, paper.scope, paper.stage, name, paper.reference): quantity * kg for name, kg in paper.kg.items()
    }


def _library(document: Body, known_at: str | None) -> dict[str, Body]:
    """The newest version of each factor that is known."""
    known = [factor for factor in document.get("factors", ()) if is_known(factor, known_at)]
    return {factor["factor_id"]: factor for factor in sorted(known, key=lambda one: one["version"])}


@dataclass(frozen=True)
class _Rate:
    """Per unit, in kg x 10^12: by component, by gas under AR6 (as published where it is not split), masses."""

    components: Mapping[str, int]
    gases: Mapping[str, int]
    masses: Mapping[str, int]
    stage: str
    reference: str


def _rate(factor: Body, unit: str) -> _Rate:
    ratio = converted(unit, factor["unit"])
    assert ratio is not None, "the test's factors fit"
    scale = ratio * FACTOR
    whole = half_even(number(factor["value"]) * scale)
    component = factor.get("component", "life_cycle")
    parts = dict(part.split(":") for part in factor.get("parts", "").split()) or {component: factor["value"]}
    shares = r1(whole, [half_even(number(parts[name]) * FACTOR) for name in sorted(parts)])
    methane = f"ch4_{factor.get('ch4_origin', 'fossil')}"
    told = {"co2_fossil": "co2_fossil_kg", methane: "ch4_kg", "n2o": "n2o_kg", "co2_biogenic": "co2_biogenic_kg"}
    masses = {gas: number(factor[column]) for gas, column in told.items() if number(factor.get(column) or 0)}
    gases = {gas: half_even(mass * number(AR6[gas]) * scale) for gas, mass in masses.items()}
    return _Rate(
        dict(zip(sorted(parts), shares, strict=True)),
        gases if "n2o_kg" in factor else {"unsplit": whole},
        {gas: half_even(mass * scale) for gas, mass in masses.items()},
        STAGES.get(component, "production"),
        f"{factor['factor_id']}@{factor['version']}",
    )


def _scope(component: str, own: int) -> str:
    here = {"combustion": "1", "process": "1", "generation": "2"}
    return SCOPES.get(component) or str(own if own == 3 else here.get(component, own))


def _background(material: Body, library: Mapping[str, Body]) -> Footprint | None:
    factor = library.get(material.get("factor", ""))
    if factor is None:
        return None
    rate = _rate(factor, material["unit"])
    scope = _scope(factor.get("component", "life_cycle"), 3)
    kg = {"co2e": sum(rate.components.values())}
    kg |= {f"gas:{gas}": part for gas, part in rate.gases.items()}
    kg |= {f"kg:{gas}": part for gas, part in rate.masses.items()}
    stage = "raw materials" if rate.stage == "production" else rate.stage
    return Footprint(rate.reference, kg, "3.1" if scope == "3" else scope, stage)


class _Rates:
    """What a unit of a source emits that entered in some hour."""

    def __init__(self, document: Body, model: Body, library: Mapping[str, Body], known_at: str | None) -> None:
        self.sources = {source["id"]: source for source in model["sources"]}
        self.library = library
        self.hours: dict[str, dict[int, Body]] = {}
        self.versions: dict[str, int] = {}  # of a series as a whole: how many files of it are known
        blocks = [block for block in document.get("factor_series", ()) if is_known(block, known_at)]
        for block in sorted(blocks, key=lambda one: instant(one["known_at"]) if one.get("known_at") else 0):
            hours = self.hours.setdefault(block["factor_id"], {})
            self.versions[block["factor_id"]] = self.versions.get(block["factor_id"], 0) + 1
            for at, direct, whole in block["rows"]:
                is_whole = block["purpose"] == "footprint"
                rest = number(whole) - number(direct)
                parts = {"parts": f"generation:{direct} upstream:{rest}"} if is_whole and rest >= 0 else {}
                component = "life_cycle" if is_whole else "generation"
                name = {"factor_id": block["factor_id"], "unit": "kWh", "component": component}
                hours[instant(at)] = {**name, "value": whole if is_whole else direct, **parts}

    def at(self, source: str, entered_ms: int) -> _Rate | None:
        body = self.sources[source]
        if body["factor"] in self.hours:
            factor = self.hours[body["factor"]].get(entered_ms // HOUR_MS * HOUR_MS)
        else:
            factor = self.library.get(body["factor"])
        version = {"version": self.versions[body["factor"]]} if body["factor"] in self.versions else {}
        return None if factor is None else _rate({**factor, **version}, body["unit"])


def _posted(hours: Sequence[OracleHour], model: Body, rates: _Rates) -> dict[str, Lines]:
    """Each batch's own postings, multiplied hour by hour."""
    scopes = {source["id"]: source["scope"] for source in model["sources"]}
    found: dict[str, Lines] = {}
    for hour in hours:
        for key, amount in hour.net.items():
            rate = rates.at(key.source, key.entered_ms) if key.kind == "batch" else None
            if rate is None:
                continue
            told: list[tuple[str, str, int]] = [
                *((_scope(part, scopes[key.source]), "co2e", kg) for part, kg in rate.components.items()),
                *((str(scopes[key.source]), f"gas:{gas}", kg) for gas, kg in rate.gases.items()),
                *((str(scopes[key.source]), f"kg:{gas}", kg) for gas, kg in rate.masses.items()),
            ]
            lines: list[Lines] = [
                {(key.source, key.step, scope, rate.stage, name, rate.reference): amount * kg}
                for scope, name, kg in told
            ]
            found[key.id] = summed([found.get(key.id, {}), *lines])
    return found


__all__ = ["Key", "Product", "products"]
