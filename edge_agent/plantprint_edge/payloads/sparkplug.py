"""Sparkplug B payloads: the part of the protobuf format that carries single values, read with bounds.

Field and type numbers are those of the public specification (version 3.0, chapter 6). Datasets, templates and bytes are
told by their kind and not read. The one thing written is the request for a new birth.
"""

import math
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from plantprint_edge.payloads import NO_LIMITS_GIVEN, Limits, PayloadError

_BITS = {1: 8, 2: 16, 3: 32, 4: 64, 5: 8, 6: 16, 7: 32, 8: 64}
_SIGNED = (1, 2, 3, 4)
_KINDS = {11: "a boolean", 12: "a text", 13: "a date", 14: "a text", 15: "a UUID", 16: "a dataset", 17: "bytes", 18: "a file",
          19: "a template"}  # fmt: skip
# Fields of a metric: those that are varints, and those that hold values of a type that is no number.
_NUMBERS = {2: "alias", 3: "t_ms", 4: "datatype", 5: "historical", 7: "null", 10: "raw", 11: "raw"}
_OTHER_VALUES = {14: 11, 15: 12, 16: 17, 17: 16, 18: 19, 19: 19}
QUALITY_GOOD = 192
_Field = tuple[int, int | bytes]


@dataclass(frozen=True, slots=True)
class Metric:
    """A metric as sent; flags are 0 or not. `raw` is what stands in its value field: an integer, a number, None without.

    `holds` names a value that is no number. `quality` is the property of that name, None when not sent.
    """

    name: str = ""
    alias: int | None = None
    t_ms: int | None = None
    datatype: int | None = None
    historical: int = 0
    null: int = 0
    raw: int | Decimal | None = None
    holds: str = ""
    quality: int | None = None


@dataclass(frozen=True, slots=True)
class Payload:
    """A Sparkplug payload: its time, its sequence number (0 to 255) and its metrics."""

    t_ms: int | None = None
    seq: int | None = None
    metrics: list[Metric] = field(default_factory=list)


def parse_sparkplug(payload: bytes, limits: Limits = NO_LIMITS_GIVEN) -> Payload:
    """The payload in these bytes; raises `PayloadError`."""
    limits.check_size(payload)
    t_ms = seq = None
    metrics: list[Metric] = []
    for number, value in _fields(payload):
        if number == 1 and isinstance(value, int):
            t_ms = value
        elif number == 3 and isinstance(value, int):
            seq = value
        elif number == 2 and isinstance(value, bytes):
            if len(metrics) >= limits.values_max:
                raise PayloadError(f"more than {limits.values_max} metrics in one message (values_max)")
            metrics.append(_metric(value))
    return Payload(t_ms, seq, metrics)


def as_number(metric: Metric, datatype: int | None) -> Decimal | None:
    """The number that a metric of this type holds, None for null or no value; raises `PayloadError` for all else.

    Integers of a signed type are sent as unsigned ones, so that without a type they cannot be told.
    """
    if metric.null:
        return None
    kind = metric.holds or _KINDS.get(datatype or 0, "")
    if kind:
        raise PayloadError(f"{kind}, no number")
    if metric.raw is None or isinstance(metric.raw, Decimal):
        return metric.raw
    if datatype not in _BITS:
        raise PayloadError(f"an integer without a known type (datatype {datatype}); its birth was not seen")
    bits = _BITS[datatype]
    # Some senders extend the sign of a small integer to 32 or 64 bits.
    value = metric.raw & (1 << bits) - 1
    if datatype not in _SIGNED and value != metric.raw:
        raise PayloadError(f"{metric.raw} does not fit an unsigned integer of {bits} bits")
    return Decimal(value - (1 << bits) if datatype in _SIGNED and value >> bits - 1 else value)


def _metric(body: bytes) -> Metric:
    said: dict[str, Any] = {}
    for number, value in _fields(body):
        if number in _OTHER_VALUES:
            said["holds"] = _KINDS[_OTHER_VALUES[number]]
        elif isinstance(value, int):
            said[_NUMBERS.get(number, "")] = value
        elif number == 1:
            said["name"] = _text(value)
        elif number == 9:
            said["quality"] = _quality(value)
        elif number in (12, 13):
            said["raw"] = _float(value)
    said.pop("", None)
    return Metric(**said)


def _quality(properties: bytes) -> int | None:
    """The value beside the key "Quality" of a property set."""
    keys, values = [], []
    for number, value in _fields(properties):
        if number == 1 and isinstance(value, bytes):
            keys.append(_text(value))
        elif number == 2 and isinstance(value, bytes):
            values.append(value)
    for key, body in zip(keys, values, strict=False):
        if key == "Quality":
            return next((value for number, value in _fields(body) if number in (3, 4) and isinstance(value, int)), None)
    return None


def _float(raw: bytes) -> Decimal | None:
    number: float = struct.unpack("<f" if len(raw) == 4 else "<d", raw)[0]
    if not math.isfinite(number):
        return None
    if len(raw) == 8:
        return Decimal(repr(number))
    # The shortest text that means this very float32: 12.3 and not 12.300000190734863.
    texts = (f"{number:.{digits}g}" for digits in range(6, 10))
    return Decimal(next((text for text in texts if _packed(text) == raw), repr(number)))


def _packed(text: str) -> bytes:
    try:
        return struct.pack("<f", float(text))
    except OverflowError:
        return b""


def _text(raw: bytes) -> str:
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError as error:
        raise PayloadError("a name is not UTF-8") from error


def _fields(body: bytes) -> Iterator[_Field]:
    """The fields of a protobuf message: numbers for varints, bytes for all else (floats keep theirs)."""
    at = 0
    while at < len(body):
        tag, at = _varint(body, at)
        number, wire = tag >> 3, tag & 7
        if not 0 < number < 1 << 29:
            raise PayloadError(f"no Sparkplug payload: field number {number}")
        if wire == 0:
            value, at = _varint(body, at)
            yield number, value
            continue
        if wire == 2:
            size, at = _varint(body, at)
        elif wire in (1, 5):
            size = 8 if wire == 1 else 4
        else:
            raise PayloadError(f"no Sparkplug payload: wire type {wire}")
        if size > len(body) - at:
            raise PayloadError("no Sparkplug payload: it ends within a field")
        # A length-delimited field where a float belongs has no meaning.
        if wire == 2 and number in (12, 13) and size not in (4, 8):
            raise PayloadError("no Sparkplug payload: a float of another size")
        yield number, body[at : at + size]
        at += size


def _varint(body: bytes, at: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 70, 7):
        if at >= len(body):
            raise PayloadError("no Sparkplug payload: it ends within a number")
        byte = body[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value & (1 << 64) - 1, at
    raise PayloadError("no Sparkplug payload: a number of more than 64 bits")


REBIRTH = "Node Control/Rebirth"


def rebirth_request(t_ms: int) -> bytes:
    """The NCMD payload that asks a node to send its births again."""
    name = REBIRTH.encode()
    metric = b"\x0a" + bytes([len(name)]) + name + b"\x20\x0b\x70\x01"
    return b"\x08" + _encoded(t_ms) + b"\x12" + bytes([len(metric)]) + metric


def _encoded(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])
