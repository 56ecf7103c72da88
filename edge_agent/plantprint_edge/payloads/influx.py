"""Influx line protocol as a body for mappings: a list of {measurement, tags, fields, time}.

`time` is the number in the line, None without. Strings keep their text, `i` and `u` are integers, t and f booleans.
"""

import re
from decimal import Decimal
from typing import Any

from plantprint_edge.payloads import NO_LIMITS_GIVEN, Limits, PayloadError

_INTEGER = re.compile(r"[+-]?\d{1,20}[iu]", re.ASCII)
_FLOAT = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d{1,4})?", re.ASCII)
_BOOLEANS = {word: word[0] in "tT" for word in ("t", "T", "true", "True", "TRUE", "f", "F", "false", "False", "FALSE")}
_TIME = re.compile(r"-?\d{1,20}", re.ASCII)


def parse_lines(payload: bytes, limits: Limits = NO_LIMITS_GIVEN) -> list[dict[str, Any]]:
    """The points of a payload; comments and empty lines are passed over. Raises `PayloadError` naming the line."""
    limits.check_size(payload)
    try:
        text = payload.decode("utf-8")
    except UnicodeDecodeError as error:
        raise PayloadError(f"line protocol is UTF-8: {error}") from error
    points: list[dict[str, Any]] = []
    for number, line in enumerate(_split(text, "\n\r"), 1):
        if line.strip() and not line.lstrip().startswith("#"):
            try:
                points.append(_point(line))
            except PayloadError as error:
                raise PayloadError(f"line {number}: {error}") from error
    return points


def _point(line: str) -> dict[str, Any]:
    parts = [part for part in _split(line, " ") if part]
    if len(parts) not in (2, 3):
        raise PayloadError("a line is measurement[,tags] fields [time]")
    head = _split(parts[0], ",")
    time = None
    if len(parts) == 3:
        if not _TIME.fullmatch(parts[2]):
            raise PayloadError(f"{parts[2][:40]!r} is no time")
        time = int(parts[2])
    tags = {key: _plain(value) for key, value in map(_pair, head[1:])}
    fields = {key: _value(value) for key, value in map(_pair, _split(parts[1], ","))}
    if len(tags) < len(head) - 1 or len(fields) < len(_split(parts[1], ",")):
        raise PayloadError("a tag or field stands twice")
    return {"measurement": _plain(head[0]), "tags": tags, "fields": fields, "time": time}


def _split(text: str, at: str) -> list[str]:
    """Cut at unescaped characters outside of quotes; quotes and backslashes stay."""
    parts, start, quoted, position = [], 0, False, 0
    while position < len(text):
        char = text[position]
        if char == "\\":
            position += 1
        elif char == '"':
            quoted = not quoted
        elif not quoted and char in at:
            parts.append(text[start:position])
            start = position + 1
        position += 1
    return [*parts, text[start:]]


def _pair(text: str) -> tuple[str, str]:
    cut = _split(text, "=")
    if len(cut) != 2 or not cut[0] or not cut[1]:
        raise PayloadError(f"{text[:40]!r} is no key=value")
    return _plain(cut[0]), cut[1]


def _plain(text: str) -> str:
    return re.sub(r"\\([,= \\])", r"\1", text)


def _value(text: str) -> Any:
    if len(text) >= 2 and text[0] == text[-1] == '"':
        return re.sub(r'\\(["\\])', r"\1", text[1:-1])
    if text in _BOOLEANS:
        return _BOOLEANS[text]
    if _INTEGER.fullmatch(text):
        return int(text[:-1])
    if _FLOAT.fullmatch(text):
        return Decimal(text)
    raise PayloadError(f"{text[:40]!r} is no value; texts stand in quotes, integers end with i or u")
