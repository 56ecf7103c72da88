"""Fields of production events as plain values."""

from decimal import Decimal, InvalidOperation

from plantprint.facts import ProductionEvent
from plantprint.quantities import MICRO

_QUANTITY_MAX = Decimal(10**12)


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
