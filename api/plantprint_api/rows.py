"""Values of SQL rows as the JSON that the api answers with: decimal text, RFC 3339 instants, cursors."""

import base64
import binascii
import re
from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any

import orjson

from plantprint.times import format_instant, from_ms, parse_instant, to_ms
from plantprint_api.problems import ProblemError, invalid

_EPOCH_MS = re.compile(r"^-?\d{1,15}$")
_INSTANT_MS_RANGE = range(-62_135_596_800_000, 253_402_300_800_000)


def instant(value: datetime | None) -> str | None:
    return None if value is None else format_instant(to_ms(value))


def decimal(value: Decimal | float | str | None) -> str | None:
    """Plain decimal text without trailing zeros; text that is no number is None."""
    if value is None:
        return None
    try:
        number = Decimal(str(value))
    except ArithmeticError:
        return None
    if not number.is_finite():
        return None
    text = f"{number:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def parse_time(text: str, *, place: str) -> datetime:
    """RFC 3339 or milliseconds since 1970 (as Grafana sends them); raises a problem that names `place`."""
    try:
        t_ms = int(text) if _EPOCH_MS.match(text) else parse_instant(text)
    except ValueError as error:
        raise _bad_time(str(error), place) from error
    if t_ms not in _INSTANT_MS_RANGE:
        raise _bad_time(f"{text!r} is outside the years 1 to 9999", place)
    return from_ms(t_ms)


def _bad_time(detail: str, place: str) -> ProblemError:
    return invalid(
        detail, place=place, remedy="send RFC 3339 with an offset (2026-11-24T08:00:00Z) or milliseconds since 1970"
    )


def encode_cursor(values: Sequence[datetime | str | None]) -> str:
    """An opaque token for the place in a list after the row with these sort values."""
    raw = orjson.dumps([value.isoformat() if isinstance(value, datetime) else value for value in values])
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")


def decode_cursor(text: str | None, n: int) -> list[str | None]:
    """The values in a cursor, the first an instant; all None without one; raises a problem on anything else."""
    if text is None:
        return [None] * n
    try:
        raw = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
        values: Any = orjson.loads(raw)
        if not isinstance(values, list) or len(values) != n or not all(isinstance(v, str) for v in values):
            raise ValueError("not the values of a row")  # noqa: TRY301 - one way out for every bad cursor
        parse_instant(values[0])
    except (binascii.Error, orjson.JSONDecodeError, ValueError) as error:
        raise invalid(
            "the cursor is not one of this list",
            place="query: cursor",
            remedy="use next_cursor of the previous page unchanged, or leave it out to start again",
        ) from error
    return values


def alert_json(row: dict[str, Any]) -> dict[str, Any]:
    """An alert as lists and streams give it."""
    return {
        "site": row["site"],
        "id": row["id"],
        "work_center": row["work_center"],
        "state": row["state"],
        "rate_kg_co2e_per_hour": decimal(row["rate_kg_co2e_per_hour"]),
        "limit_kg_co2e_per_hour": decimal(row["limit_kg_co2e_per_hour"]),
        "pending_at": instant(row["pending_at"]),
        "firing_at": instant(row["firing_at"]),
        "resolved_at": instant(row["resolved_at"]),
    }
