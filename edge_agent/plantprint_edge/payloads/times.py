"""Instants as devices write them: seconds to nanoseconds, RFC 3339, and local time without a zone."""

from datetime import datetime
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

from plantprint.times import parse_instant, to_ms
from plantprint_edge.payloads import PayloadError
from plantprint_edge.payloads.numbers import read_number

# Milliseconds per step, and from which number on `auto` takes it: all are in the year 1973 there.
_STEPS: dict[str, tuple[Decimal, Decimal]] = {
    "ns": (Decimal("1e-6"), Decimal(10**17)),
    "us": (Decimal("1e-3"), Decimal(10**14)),
    "ms": (Decimal(1), Decimal(10**11)),
    "s": (Decimal(1000), Decimal(0)),
}
_MS_MAX = 10**15


def check_format(text: str) -> str:
    """A time format that `read_time` knows: auto, rfc3339, s, ms, us, ns, or one of strptime; raises `ValueError`."""
    if text in ("auto", "rfc3339", *_STEPS):
        return text
    try:
        again = datetime.strptime(datetime(2026, 11, 24, 8, 30, 59).strftime(text), text)  # noqa: DTZ001, DTZ007 - wall time
    except (ValueError, OverflowError) as error:
        raise ValueError(f"time format {text!r} cannot be read: {error}") from error
    if again.replace(minute=0, second=0, tzinfo=None) != datetime(2026, 11, 24, 8):  # noqa: DTZ001 - wall time
        raise ValueError(f"time format {text!r}: write auto, rfc3339, s, ms, us, ns, or one like %Y%m%d%H%M%S")
    return text


def read_time(found: Any, time_format: str, zone: ZoneInfo | None, near_ms: int) -> int:
    """Milliseconds since 1970 UTC of what stands there; raises `PayloadError`.

    Local time needs `zone`. In the hour that comes twice in autumn it is the one of the two that is closer to `near_ms`.
    """
    if isinstance(found, str) and time_format not in _STEPS:
        return _of_text(found, time_format, zone, near_ms)
    if time_format not in ("auto", *_STEPS):
        number, _ = read_number(found)
        if number != number.to_integral_value() or time_format == "rfc3339":
            raise PayloadError(f"{found!r} is no time of the format {time_format}")
        # Compact local time is also written as a bare number.
        return _of_text(str(int(number)), time_format, zone, near_ms)
    number, _ = read_number(found)
    step = next((ms for ms, least in _STEPS.values() if number >= least), Decimal(1))
    step = step if time_format == "auto" else _STEPS[time_format][0]
    if not 0 <= number * step < _MS_MAX:
        raise PayloadError(f"{str(found)[:40]!r} is no time of the format {time_format}")
    return int(number * step)


def _of_text(text: str, time_format: str, zone: ZoneInfo | None, near_ms: int) -> int:
    try:
        iso = time_format in ("auto", "rfc3339")
        instant = datetime.fromisoformat(text) if iso else datetime.strptime(text, time_format)  # noqa: DTZ007 - added below
        if instant.tzinfo is None and zone is None:
            return parse_instant(text)
        if instant.tzinfo is not None:
            return to_ms(instant)
        return min((to_ms(instant.replace(tzinfo=zone, fold=fold)) for fold in (0, 1)), key=lambda t: abs(t - near_ms))
    except (ValueError, OverflowError) as error:
        raise PayloadError(f"{text[:40]!r} is no time of the format {time_format}: {error}") from error
