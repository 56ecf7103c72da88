"""Production events reduced to the facts of genealogy: lots, uses, returns and outputs, whatever order they came in.

Proposed bodies (quantities in `unit`; without one they are in the unit of the lot or material that they are about):

- lot {lot, kind: opening | return, quantity, unit?, pcf_kg_co2e?, pcf_reference?, primary_share?}: stock from before the
  records, or goods that a customer sent back; both carry a footprint per unit (0 where the rules say so).
- material_use {batch, lot | material, quantity, unit?, step?}: what went into a batch; a shipment may be the batch.
- return {batch, lot | material, quantity, unit?}: what was issued to a batch and came back unused.
- output {batch, kind: good | rework | co-product, quantity, unit?, as_lot?, unit_price?, priced_on?, physical?,
  displaced_kg_co2e?}: what the batch put out; a co-product becomes the lot `as_lot`.
- scrap {batch, quantity, unit?, as_lot?, unit_price?, priced_on?, physical?}: sold (price above 0, `as_lot`) it is a
  co-product, else the good output carries it.

Identity, revisions and `withdraw` are those of every production event.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal, InvalidOperation
from fractions import Fraction
from typing import Protocol, cast, get_args

from plantprint.facts import Issue
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

KINDS = frozenset({"lot", "material_use", "return", "output", "scrap"})
_QUANTITY_MAX = Decimal(10**12)


class Event(Protocol):
    """The shape of `facts.ProductionEvent`, with any kind."""

    @property
    def source(self) -> str: ...
    @property
    def event_id(self) -> str: ...
    @property
    def revision(self) -> int: ...
    @property
    def kind(self) -> str: ...
    @property
    def at_ms(self) -> int: ...
    @property
    def body(self) -> Mapping[str, str | int | float | None]: ...


class _WrongError(ValueError):
    """An event that cannot be used: what is wrong with it, and what to do."""

    def __init__(self, code: str, message: str, remedy: str) -> None:
        super().__init__(message)
        self.code, self.remedy = code, remedy


def reduce_materials(
    events: Iterable[Event], materials: Iterable[Material] = (), lots: Iterable[Lot] = (), units: Mapping[str, str] = {}
) -> Facts:
    """What the events say; `units` is the unit of each batch, as its order says it, `lots` what is known without events.

    Of one (source, event_id) the highest revision counts. What cannot be used is kept out and becomes an issue.
    """
    valid = _valid(events)
    known = {material.material: material for material in materials}
    work = _Reduction(known, {**_first_units(valid), **units, **{one.material: one.unit for one in known.values()}})
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


def _valid(events: Iterable[Event]) -> list[Event]:
    """The highest revision of each event that nothing withdraws, in order of time and identity."""
    newest: dict[tuple[str, str], Event] = {}
    for event in events:
        key = (event.source, event.event_id)
        if key not in newest or _rank(event) > _rank(newest[key]):
            newest[key] = event
    gone = {(event.source, _plain(event, "event_id")) for event in newest.values() if event.kind == "withdraw"}
    valid = [event for key, event in newest.items() if event.kind in KINDS and key not in gone]
    return sorted(valid, key=lambda event: (event.at_ms, event.source, event.event_id))


def _rank(event: Event) -> tuple[int, str]:
    return (event.revision, json.dumps([event.kind, event.at_ms, dict(event.body)], sort_keys=True))


def _first_units(events: Sequence[Event]) -> dict[str, str]:
    """The unit of what no order and no table names: that of the first event that puts it out, or else uses it."""
    units: dict[str, str] = {}
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

    def take(self, event: Event) -> None:
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

    def _lot(self, event: Event) -> Lot:
        lot, kind = _text(event, "lot"), _choice(event, "kind", tuple(k for k in get_args(LotKind) if k != "made"))
        unit = self.units.get(lot, "")
        pcf = None
        kg = _number(event, "pcf_kg_co2e")
        if kg is not None:
            share = _number(event, "primary_share") or Decimal(0)
            reference = _plain(event, "pcf_reference") or f"{kind} lot {lot}"
            try:
                pcf = Pcf.of(reference, kg, Fraction(share))
            except ValueError as error:
                raise _WrongError("lot-pcf", str(error), "correct the footprint of the lot") from error
        return Lot(lot, unit, cast("LotKind", kind), self._quantity(event, unit), pcf, event.at_ms)

    def _consumed(self, event: Event) -> tuple[str, Consumed]:
        lot, material = _plain(event, "lot"), _plain(event, "material")
        if bool(lot) == bool(material):
            raise _WrongError("use-of-what", "it needs a lot or a material, and not both", "name the one that was used")
        return (lot, "lot") if lot else (material, "material")

    def _output(self, event: Event, identity: str) -> Output:
        batch = _text(event, "batch")
        kinds = tuple(kind for kind in get_args(OutputKind) if kind != "scrap")
        kind = "scrap" if event.kind == "scrap" else _choice(event, "kind", kinds)
        as_lot = _plain(event, "as_lot")
        if kind == "co-product" and as_lot in ("", batch):
            raise _WrongError("coproduct-lot", "a co-product needs `as_lot`, a lot of its own", "name that lot")
        price = _number(event, "unit_price")
        sold = as_lot if kind == "co-product" or (kind == "scrap" and as_lot and (price or 0) > 0) else batch
        unit = self.units.get(sold, "")
        return Output(
            event.at_ms,
            identity,
            batch,
            cast("OutputKind", kind),
            self._quantity(event, unit),
            unit or _plain(event, "unit"),
            as_lot,
            price,
            _plain(event, "priced_on"),
            _number(event, "physical"),
            _number(event, "displaced_kg_co2e"),
        )

    def _quantity(self, event: Event, unit: str) -> int:
        """The quantity in millionths of `unit`."""
        quantity, given = _number(event, "quantity"), _plain(event, "unit") or unit
        if quantity is None or not 0 <= quantity <= _QUANTITY_MAX:
            raise _WrongError("quantity", "it needs a quantity of zero or more", "send it again with its quantity")
        try:
            exact = Fraction(quantity) * (conversion(given, unit) if unit else 1) * MICRO
        except UnitError as error:
            raise _WrongError("quantity-unit", str(error), f"give the quantity in {unit}") from error
        return round_half_even(exact.numerator, exact.denominator)


def _plain(event: Event, name: str) -> str:
    value = event.body.get(name)
    return value if isinstance(value, str) else ""


def _text(event: Event, name: str) -> str:
    if text := _plain(event, name):
        return text
    raise _WrongError("event-incomplete", f"a {event.kind} needs `{name}`", "send it again with a higher revision")


def _choice(event: Event, name: str, choices: tuple[str, ...]) -> str:
    if (text := _text(event, name)) in choices:
        return text
    raise _WrongError("event-kind", f"`{name}` is one of {', '.join(choices)}, not {text!r}", "correct the event")


def _number(event: Event, name: str) -> Decimal | None:
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
