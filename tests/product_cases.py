"""A small mill with a dyed batch, a yarn lot made in-house and bought dyestuff and salt, as events and postings."""

from typing import Any, cast

from plantprint.ancestry import Ancestry, EventIndex
from plantprint.factors import builtin_factors, latest
from plantprint.facts import EventKind, ProductionEvent
from plantprint.ledger import Net, PostingKey
from plantprint.plant.model import Plant
from plantprint.product import ProductFootprint, Reach, product_footprint
from plantprint.product_lines import Valuing, background
from plantprint.production import Batch
from plantprint.quantities import micro
from plantprint.times import parse_instant

HOUR = parse_instant("2026-11-24T08:00:00Z")
ENDS = parse_instant("2026-11-24T10:00:00Z")
MILL: dict[str, Any] = {
    "plantprint": 1,
    "site": {"id": "mill", "name": {"en": "Mill"}, "geography": "CN-ZJ"},
    "steps": [{"id": "dyeing", "name": {"en": "Dyeing", "zh": "染色"}}],
    "work_centers": [{"id": "l", "name": {"en": "L"}, "work_units": [{"id": "u", "name": {"en": "U"}}]}],
    "sources": [
        {"id": "grid", "name": {"en": "Grid"}, "unit": "kWh", "kind": "grid", "factor": "cn.grid.2023.zhejiang", "scope": 2},
        {"id": "gas", "name": {"en": "Gas"}, "unit": "Nm3", "kind": "fuel", "factor": "cn.fuel.natural_gas", "scope": 1},
        {"id": "stack", "name": {"en": "Stack"}, "unit": "kg", "kind": "direct", "factor": "direct.co2", "scope": 1},
    ],
    "meters": [{"id": "m", "name": {"en": "M"}, "unit": "kWh", "bindings": [{"channel": "gw/m"}]}],
    "flows": [{"from": "grid", "to": "u", "amount": "m"}],
    "materials": [
        {"id": "salt", "name": {"en": "Salt", "zh": "元明粉"}, "unit": "kg", "factor": "cpcd.sodium_sulfate"},
        {"id": "dye", "name": {"en": "Dyestuff"}, "unit": "kg"},
    ],
}  # fmt: skip
BATCHES = {"B": Batch("B", "poplin", micro(100), "kg", HOUR), "K": Batch("K", "yarn", micro(50), "kg", HOUR)}


def event(event_id: str, kind: str, at_min: int = 0, revision: int = 0, /, **body: Any) -> ProductionEvent:
    return ProductionEvent("mes", event_id, revision, cast("EventKind", kind), HOUR + at_min * 60_000, body)


DYE = event(
    "1", "lot", lot="DYE-7", quantity=100, unit="kg", material="dye", supplier="Jinyuan", pcf_kg_co2e="8.4",
    primary_share="0.62", pcf_fossil_kg_co2e="8", pcf_land_use_kg_co2e="0.1", technological_dqr=1, geographical_dqr=2,
    temporal_dqr=1,
)  # fmt: skip
EVENTS = (
    DYE,
    event("2", "material_use", 5, batch="B", lot="DYE-7", quantity=5, unit="kg", step="dyeing"),
    event("3", "material_use", 6, batch="B", material="salt", quantity=25, step="dyeing"),
    event("4", "return", 9, batch="B", material="salt", quantity=5),
    event("5", "output", 4, batch="K", quantity=50),
    event("6", "material_use", 6, batch="B", lot="K", quantity=10, step="dyeing"),
    event("7", "output", 30, batch="B", quantity=95),
    event("8", "scrap", 31, batch="B", quantity=5),
)


def posting(batch: str, source: str, amount: str, step: str = "dyeing", hour: int = 0) -> Net:
    at = HOUR + hour * 3_600_000
    return {PostingKey(at, "batch", batch, "u", step, source, at, 3): micro(amount)}


NETS: dict[str, Net] = {
    "B": posting("B", "grid", "10") | posting("B", "gas", "2"),
    "K": posting("K", "grid", "100", "spinning"),
}


def valuing(**changes: Any) -> Valuing:
    return Valuing(Plant.model_validate(MILL), **{"library": latest(builtin_factors()), **changes})


def reach_of(
    lot: str, events: Any = EVENTS, nets: Any = NETS, lots_max: int = 100, asked: Valuing | None = None
) -> Reach:
    index = EventIndex()
    index.add(events)
    ancestry = Ancestry(lot, lots_max)
    while wanted := ancestry.wanted:
        ancestry.add(index.about(wanted))
    materials = background(asked or valuing(), ENDS).materials
    return Reach({name: nets.get(name, {}) for name in ancestry.lots}, ancestry.facts(BATCHES, materials), {})


def product(lot: str = "B", events: Any = EVENTS, nets: Any = NETS, asked: Valuing | None = None) -> ProductFootprint:
    how = asked or valuing()
    return product_footprint(lot, reach_of(lot, events, nets, asked=how), how, background(how, ENDS), ENDS)
