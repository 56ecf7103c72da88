"""Production events reduced to the facts of genealogy: lots, uses, returns and outputs, whatever order they came in.

Bodies (quantities in `unit`; without one they are in the unit of the lot or material that they are about):

- lot {lot, kind?: purchased | opening | return, quantity, unit?, material?, supplier?, pcf_kg_co2e?, pcf_reference?,
  primary_share?, pcf_fossil_kg_co2e?, pcf_biogenic_kg_co2e?, pcf_land_use_kg_co2e?, pcf_uptake_kg_co2?,
  technological_dqr?, geographical_dqr?, temporal_dqr?}: what was bought, stock from before the records, or goods that a
  customer sent back. The footprint is per unit (0 where the rules say so); without one a `material` of the plant model
  stands in with its background factor.
- material_use {batch, lot | material, quantity, unit?, step?}: what went into a batch; a shipment may be the batch.
- return {batch, lot | material, quantity, unit?}: what was issued to a batch and came back unused.
- output {batch, kind?: good | rework | co-product, quantity, unit?, as_lot?, unit_price?, priced_on?, physical?,
  displaced_kg_co2e?}: what the batch put out; a co-product becomes the lot `as_lot`. The price is that of one `unit`, and so
  is what is displaced; `physical` is of all of it.
- scrap {batch, quantity, unit?, as_lot?, unit_price?, priced_on?, physical?}: sold (price above 0, `as_lot`) it is a
  co-product, else the good output carries it.

Identity, revisions and `withdraw` are those of every production event.
"""

from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal, InvalidOperation
from fractions import Fraction
from typing import cast, get_args

from plantprint.data_quality import DataQuality
from plantprint.event_fields import latest_events
from plantprint.event_fields import plain_text as _plain
from plantprint.facts import EventKind, Issue, ProductionEvent
from plantprint.lots import (
    Consumed,
    Facts,
    Lot,
    LotKind,
    Material,
    MaterialReturn,
    MaterialUse,
    Output,
    OutputKind,
    Pcf,
)
from plantprint.quantities import MICRO, UnitError, conversion, round_half_even
from plantprint.times import format_instant

KINDS: frozenset[EventKind] = frozenset({"lot", "material_use", "return", "output", "scrap"})
_QUANTITY_MAX = Decimal(10**12)
_LOT_KINDS = tuple(kind for kind in get_args(LotKind) if kind not in ("made", "unknown"))
_ORIGINS = {
    "ghg_fossil": "fossil_kg_co2e",
    "ghg_biogenic": "biogenic_kg_co2e",
    "co2_land_use": "land_use_kg_co2e",
    "co2_uptake": "uptake_kg_co2",
}


class _WrongError(ValueError):
    """An event that cannot be used: what is wrong with it, and what to do."""

    def __init__(self, code: str, message: str, remedy: str) -> None:
        super().__init__(message)
        self.code, self.remedy = code, remedy


def reduce_materials(
    events: Iterable[ProductionEvent],
    materials: Iterable[Material] = (),
    lots: Iterable[Lot] = (),
    units: Mapping[str, str] = {},
) -> Facts:
    """What the events say; `units` is the unit of each batch, as its order says it, `lots` what is known without events.

    Of one (source, event_id) the highest revision counts. What cannot be used is kept out and becomes an issue.
    """
    valid = valid_events(events)
    known = {material.material: material for material in materials}
    first = _first_units(valid, known)
    work = _Reduction(known, {**first, **units, **{one.material: one.unit for one in known.values()}})
    for event in valid:
        try:
            work.take(event)
        except _WrongError as wrong:
            message = f"event {event.event_id!r} of {event.source} at {format_instant(event.at_ms)}: {wrong}"
            place = _plain(event, "batch") or _plain(event, "lot") or event.event_id
            work.issues.append(Issue(wrong.code, place, message, wrong.remedy, event.at_ms))
    return Facts(
        tuple(sorted({*work.lots, *lots}, key=repr)),
        tuple(known.values()),
        tuple(work.uses),
        tuple(work.returns),
        tuple(work.outputs),
        tuple(sorted(set(work.issues))),
    )


def valid_events(events: Iterable[ProductionEvent], kinds: frozenset[EventKind] = KINDS) -> list[ProductionEvent]:
    """The highest revision of each event of some kinds that nothing withdraws, in order of time and identity."""
    newest = latest_events(events)
    gone = {(event.source, _plain(event, "event_id")) for event in newest if event.kind == "withdraw"}
    return [event for event in newest if event.kind in kinds and (event.source, event.event_id) not in gone]


def _first_units(events: Sequence[ProductionEvent], materials: Mapping[str, Material]) -> dict[str, str]:
    """The unit of what no order and no table names: that of the first event that puts it out, or else uses it.

    A lot that relies on the footprint of its material is counted in the material's unit, which that is given for.
    """
    units: dict[str, str] = {}
    for event in events:
        material = materials.get(_plain(event, "material"))
        if event.kind == "lot" and material is not None and not _plain(event, "pcf_kg_co2e"):
            units.setdefault(_plain(event, "lot"), material.unit)
    for event in events:
        if event.kind in ("lot", "output", "scrap") and (unit := _plain(event, "unit")):
            sold = _plain(event, "as_lot") if _plain(event, "kind") == "co-product" or event.kind == "scrap" else ""
            units.setdefault(sold or _plain(event, "batch") or _plain(event, "lot"), unit)
    for event in events:
        if event.kind in ("material_use", "return") and (unit := _plain(event, "unit")):
            units.setdefault(_plain(event, "lot") or _plain(event, "material"), unit)
    return units


class _Reduction:
    """What has been reduced so far; takes events in order of time and identity."""

    def __init__(self, materials: Mapping[str, Material], units: Mapping[str, str]) -> None:
        self.materials = materials
        self.units = units
        self.lots: list[Lot] = []
        self.uses: list[MaterialUse] = []
        self.returns: list[MaterialReturn] = []
        self.outputs: list[Output] = []
        self.issues: list[Issue] = []

    def take(self, event: ProductionEvent) -> None:
        """Raises `_WrongError` on an event that cannot be used."""
        identity = f"{event.source}/{event.event_id}"
        if event.kind == "lot":
            self.lots.append(self._lot(event))
        elif event.kind in ("material_use", "return"):
            batch, (consumed, of) = _text(event, "batch"), self._consumed(event)
            quantity = self._quantity(event, self.units.get(consumed, ""))
            if event.kind == "return":
                self.returns.append(MaterialReturn(event.at_ms, identity, batch, consumed, of, quantity))
            else:
                step = _plain(event, "step")
                self.uses.append(MaterialUse(event.at_ms, identity, batch, consumed, of, quantity, step))
        else:
            self.outputs.append(self._output(event, identity))

    def _lot(self, event: ProductionEvent) -> Lot:
        lot = _text(event, "lot")
        kind = _choice(event, "kind", _LOT_KINDS, "purchased")
        unit = self.units.get(lot, "")
        quantity, material = self._quantity(event, unit), _plain(event, "material")
        return Lot(lot, unit, cast("LotKind", kind), quantity, _pcf(event, lot, kind, unit), event.at_ms, material)

    def _consumed(self, event: ProductionEvent) -> tuple[str, Consumed]:
        lot, material = _plain(event, "lot"), _plain(event, "material")
        if bool(lot) == bool(material):
            raise _WrongError("use-of-what", "it needs a lot or a material, and not both", "name the one that was used")
        return (lot, "lot") if lot else (material, "material")

    def _output(self, event: ProductionEvent, identity: str) -> Output:
        batch = _text(event, "batch")
        kinds = tuple(kind for kind in get_args(OutputKind) if kind != "scrap")
        kind = "scrap" if event.kind == "scrap" else _choice(event, "kind", kinds, "good")
        as_lot = _plain(event, "as_lot")
        if kind == "co-product" and as_lot in ("", batch):
            raise _WrongError("coproduct-lot", "a co-product needs `as_lot`, a lot of its own", "name that lot")
        price, displaced = _number(event, "unit_price"), _number(event, "displaced_kg_co2e")
        sold = as_lot if kind == "co-product" or (kind == "scrap" and as_lot and (price or 0) > 0) else batch
        unit = self.units.get(sold, "")
        told_in = _told_in(event, unit)
        return Output(
            event.at_ms,
            identity,
            batch,
            cast("OutputKind", kind),
            self._quantity(event, unit),
            unit or _plain(event, "unit"),
            as_lot,
            None if price is None else Fraction(price) / told_in,
            _plain(event, "priced_on"),
            _number(event, "physical"),
            None if displaced is None else Fraction(displaced) / told_in,
        )

    def _quantity(self, event: ProductionEvent, unit: str) -> int:
        """The quantity in millionths of `unit`."""
        quantity = _number(event, "quantity")
        if quantity is None or not 0 <= quantity <= _QUANTITY_MAX:
            raise _WrongError("quantity", "it needs a quantity of zero or more", "send it again with its quantity")
        exact = Fraction(quantity) * _told_in(event, unit) * MICRO
        return round_half_even(exact.numerator, exact.denominator)


def _told_in(event: ProductionEvent, unit: str) -> Fraction:
    """How many `unit` are in one of the unit that the event tells quantities in, and prices per."""
    try:
        return conversion(_plain(event, "unit") or unit, unit) if unit else Fraction(1)
    except UnitError as error:
        raise _WrongError("quantity-unit", str(error), f"give the quantity in {unit}") from error


def _text(event: ProductionEvent, name: str) -> str:
    if text := _plain(event, name):
        return text
    raise _WrongError("event-incomplete", f"a {event.kind} needs `{name}`", "send it again with a higher revision")


def _choice(event: ProductionEvent, name: str, choices: tuple[str, ...], default: str) -> str:
    if (text := _plain(event, name) or default) in choices:
        return text
    raise _WrongError("event-kind", f"`{name}` is one of {', '.join(choices)}, not {text!r}", "correct the event")


def _pcf(event: ProductionEvent, lot: str, kind: str, unit: str) -> Pcf | None:
    """The footprint per `unit` of a lot, split by origin as far as its supplier says; told per unit of the quantity."""
    kg = _number(event, "pcf_kg_co2e")
    if kg is None:
        return None
    supplier = _plain(event, "supplier")
    reference = _plain(event, "pcf_reference") or (f"{supplier}: lot {lot}" if supplier else f"{kind} lot {lot}")
    origins = {name: _number(event, f"pcf_{field}") for name, field in _ORIGINS.items()}
    told = {name: part for name, part in origins.items() if part is not None}
    share = _number(event, "primary_share") or Decimal(0)
    ratings = [_number(event, f"{name}_dqr") for name in ("technological", "geographical", "temporal")]
    try:
        quality = DataQuality(*(None if rating is None else Fraction(rating) for rating in ratings))
        return Pcf.of(reference, kg, Fraction(share), told, quality, _told_in(event, unit))
    except ValueError as error:
        raise _WrongError("lot-pcf", str(error), "correct the footprint of the lot") from error


def _number(event: ProductionEvent, name: str) -> Decimal | None:
    value = event.body.get(name)
    if value is None or value == "":
        return None
    try:
        number = Decimal(str(value))
    except InvalidOperation:
        number = Decimal("NaN")
    if isinstance(value, bool) or not number.is_finite():
        raise _WrongError("event-number", f"`{name}` is {value!r}, which is no number", "correct the event")
    return number
