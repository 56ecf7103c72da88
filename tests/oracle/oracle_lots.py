"""Oracle: events of genealogy as plain facts: what was bought, used, given back and put out, in the unit of each lot."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

from oracle.oracle_events import counted
from oracle.oracle_numbers import MICRO, converted, half_even, number
from oracle.oracle_time import instant

Body = Mapping[str, Any]
Order = tuple[int, str]
"""Time and identity of an event."""
FACTOR = 10**12
KINDS = ("lot", "material_use", "return", "output", "scrap")
ORIGINS = {"ghg_fossil": "fossil_kg_co2e", "ghg_biogenic": "biogenic_kg_co2e", "co2_land_use": "land_use_kg_co2e"}


@dataclass(frozen=True)
class Footprint:
    """What a unit of something bought carries: kg x 10^12 by measure, by whose word, and how much of it is primary."""

    reference: str
    kg: Mapping[str, int]
    scope: str = "3.1"
    stage: str = "raw materials"
    primary: Fraction | None = None


@dataclass(frozen=True)
class Bought:
    """A lot from outside, in millionths of its unit; without a footprint of its own that of its material counts."""

    quantity: int
    material: str
    footprint: Footprint | None


@dataclass(frozen=True)
class Use:
    order: Order
    batch: str
    consumed: str
    of: str
    quantity: int
    step: str


@dataclass(frozen=True)
class Output:
    """`price` and `displaced` are per kg."""

    order: Order
    kind: str
    quantity: int
    unit: str
    as_lot: str
    price: Fraction | None
    physical: Fraction | None
    displaced: Fraction | None

    def is_sold_by(self, lot: str) -> bool:
        """A co-product, or scrap that somebody pays for."""
        is_worth = self.kind == "co-product" or (self.kind == "scrap" and self.price is not None and self.price > 0)
        return is_worth and self.as_lot not in ("", lot)


@dataclass
class Trade:
    """Everything that is known of lots. `uses` are net of what came back, in order of time and identity."""

    units: dict[str, str] = field(default_factory=dict)
    ordered: dict[str, int | None] = field(default_factory=dict)
    bought: dict[str, Bought] = field(default_factory=dict)
    uses: list[Use] = field(default_factory=list)
    outputs: dict[str, list[Output]] = field(default_factory=dict)
    wrong: set[tuple[str, str]] = field(default_factory=set)
    """Codes and lots of what cannot be as it was told."""

    @property
    def lots(self) -> list[str]:
        names = {*self.ordered, *self.bought, *self.outputs, *(use.batch for use in self.uses)}
        names |= {use.consumed for use in self.uses if use.of == "lot"}
        names |= {one.as_lot for several in self.outputs.values() for one in several if one.as_lot}
        return sorted(names)


def trade(events: Sequence[Body], materials: Mapping[str, Body], begun: Iterable[str]) -> Trade:
    """`materials` are the plant's, by id; `begun` are the batches of jobs that count."""
    valid = [event for event in counted(events) if event["kind"] in (*KINDS, "order")]
    made = Trade(ordered=dict.fromkeys(begun))
    _units(made, valid, materials)
    returned: list[tuple[Order, Body, int]] = []
    for event in valid:
        kind, body = event["kind"], event["body"]
        at = instant(event["at"]), f"{event['source']}/{event['event_id']}"
        if kind == "order":
            quantity = body.get("quantity")
            made.ordered[body["batch"]] = None if quantity is None else half_even(number(quantity) * MICRO) or None
        elif kind == "lot":
            lot = body["lot"]
            made.wrong |= {("lot-twice", lot)} if lot in made.bought else set()
            paper = _footprint(body, lot, made.units.get(lot, ""))
            made.bought[lot] = Bought(_quantity(made, body, lot), body.get("material", ""), paper)
        elif kind == "return":
            returned.append((at, body, _quantity(made, body, _consumed(body))))
        elif kind == "material_use":
            of = "lot" if body.get("lot") else "material"
            quantity = _quantity(made, body, _consumed(body))
            made.uses.append(Use(at, body["batch"], _consumed(body), of, quantity, body.get("step", "")))
        else:
            made.outputs.setdefault(body["batch"], []).append(_output(made, kind, body, at))
    for at, body, quantity in sorted(returned, key=lambda one: one[0]):
        _take_off(made, at, body, quantity)
    return made


def _units(made: Trade, events: Sequence[Body], materials: Mapping[str, Body]) -> None:
    """Of a lot: its order's; that of the material whose footprint it takes; that in which it is put out first, or used."""
    orders = {event["body"]["batch"]: event["body"] for event in events if event["kind"] == "order"}
    made.units |= {batch: body["unit"] for batch, body in orders.items() if body.get("unit")}
    made.units |= {name: body["unit"] for name, body in materials.items()}
    for kinds in (("material",), ("lot", "output", "scrap"), ("material_use", "return")):
        for event in events:
            body, kind = event["body"], event["kind"]
            if kinds == ("material",):
                is_told = kind == "lot" and body.get("material") in materials and not body.get("pcf_kg_co2e")
                if is_told:
                    made.units.setdefault(body["lot"], materials[body["material"]]["unit"])
            elif kind in kinds and body.get("unit"):
                made.units.setdefault(_about(kind, body), body["unit"])


def _about(kind: str, body: Body) -> str:
    if kind in ("material_use", "return"):
        return _consumed(body)
    is_apart = kind == "scrap" or body.get("kind") == "co-product"
    return str((body.get("as_lot") if is_apart else "") or body.get("batch") or body["lot"])


def _consumed(body: Body) -> str:
    return str(body.get("lot") or body["material"])


def _quantity(made: Trade, body: Body, lot: str) -> int:
    unit = made.units.get(lot, "")
    factor = converted(body["unit"], unit) if unit and body.get("unit") else Fraction(1)
    assert factor is not None, "the test's documents count what converts"
    return half_even(number(body["quantity"]) * MICRO * factor)


def _footprint(body: Body, lot: str, unit: str) -> Footprint | None:
    """A supplier's word, per unit of the quantity: the whole, and what of it is fossil, biogenic or from land use."""
    if body.get("pcf_kg_co2e") is None:
        return None
    whole = number(body["pcf_kg_co2e"])
    told = {name: number(body[f"pcf_{key}"]) for name, key in ORIGINS.items() if body.get(f"pcf_{key}") is not None}
    kg = {"co2e": whole, **{f"gas:{name}": part for name, part in told.items()}}
    kg["kg:co2_uptake"] = number(body.get("pcf_uptake_kg_co2") or 0)
    named = f"{body['supplier']}: lot {lot}" if body.get("supplier") else f"{body.get('kind', 'purchased')} lot {lot}"
    size = converted(body.get("unit") or unit, unit) if unit else Fraction(1)
    assert size is not None, "the test's lots are weighed"
    scaled = {name: half_even(value * FACTOR / size) for name, value in kg.items()}
    scaled["gas:unsplit"] = scaled["co2e"] - sum(scaled[f"gas:{name}"] for name in told)
    primary = number(body.get("primary_share") or 0)
    return Footprint(body.get("pcf_reference") or named, scaled, primary=primary)


def _output(made: Trade, kind: str, body: Body, at: Order) -> Output:
    kind = "scrap" if kind == "scrap" else body.get("kind", "good")
    price, physical, displaced = (
        None if body.get(name) is None else number(body[name])
        for name in ("unit_price", "physical", "displaced_kg_co2e")
    )
    one = Output(at, kind, 0, "", body.get("as_lot", ""), price, physical, displaced)
    lot = one.as_lot if one.is_sold_by(body["batch"]) else body["batch"]
    unit = made.units.get(lot, "")
    size = converted(body.get("unit") or unit, "kg")
    assert size is not None, "the test's outputs are weighed"
    price, displaced = (None if told is None else told / size for told in (price, displaced))
    return Output(at, kind, _quantity(made, body, lot), unit, one.as_lot, price, physical, displaced)


def _take_off(made: Trade, at: Order, body: Body, quantity: int) -> None:
    """What came back was issued last: it is taken off the latest uses before it."""
    for n in range(len(made.uses) - 1, -1, -1):
        use = made.uses[n]
        if (use.batch, use.consumed) == (body["batch"], _consumed(body)) and use.order[0] <= at[0]:
            back = min(quantity, use.quantity)
            made.uses[n] = Use(use.order, use.batch, use.consumed, use.of, use.quantity - back, use.step)
            quantity -= back
    made.wrong |= {("returned-more-than-issued", body["batch"])} if quantity else set()
