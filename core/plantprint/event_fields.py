"""Production events of any kind: which revision of each counts, and their fields as plain values."""

import json
from collections.abc import Iterable
from decimal import Decimal, InvalidOperation

from plantprint.facts import ProductionEvent
from plantprint.quantities import MICRO

_QUANTITY_MAX = Decimal(10**12)


def latest_events(events: Iterable[ProductionEvent]) -> list[ProductionEvent]:
    """Of each (source, event_id) the highest revision, in order of time and identity."""
    latest: dict[tuple[str, str], ProductionEvent] = {}
    for event in events:
        key = (event.source, event.event_id)
        if key not in latest or rank(event) > rank(latest[key]):
            latest[key] = event
    return sorted(latest.values(), key=order)


def order(event: ProductionEvent) -> tuple[int, str, str]:
    """By time and identity."""
    return (event.at_ms, event.source, event.event_id)


def rank(event: ProductionEvent) -> tuple[int, str]:
    """Of the revisions of an event the highest counts; should two differ under one number, whatever arrived first."""
    return (event.revision, json.dumps([event.kind, event.at_ms, event.body], sort_keys=True))


def plain_text(event: ProductionEvent, name: str) -> str:
    """A field as text without spaces around it; empty when it is not there."""
    value = event.body.get(name)
    return "" if value is None else str(value).strip()


def positive_micro(given: str | float | None) -> int | None:
    """A number above zero in millionths, rounded half to even; None when it is not one, or beyond reason."""
    try:
        number = Decimal(str(given).strip())
    except InvalidOperation:
        return None
    if not number.is_finite() or not 0 < number <= _QUANTITY_MAX:
        return None
    return int((number * MICRO).to_integral_value()) or None
