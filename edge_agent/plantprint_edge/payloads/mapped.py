"""A message and its rule → values with identity, name, time, unit and quality. One bad value never spoils the others."""

from collections.abc import Mapping as Dict
from dataclasses import dataclass, replace
from decimal import Decimal
from fractions import Fraction
from typing import Any
from zoneinfo import ZoneInfo

from plantprint_edge.mappings import MessageRule, TimeRule, ValueRule
from plantprint_edge.payloads import NO_LIMITS_GIVEN, Decoded, Found, Limits, PayloadError
from plantprint_edge.payloads.influx import parse_lines
from plantprint_edge.payloads.jsons import parse_json
from plantprint_edge.payloads.numbers import EXPONENT_MAX, read_number
from plantprint_edge.payloads.times import read_time


@dataclass(frozen=True, slots=True)
class Arrival:
    """What is known of a message besides its bytes: when it came, the zone of local times in it, and its bounds.

    Without `timed` its times are not even looked at.
    """

    now_ms: int
    zone: ZoneInfo | None = None
    limits: Limits = NO_LIMITS_GIVEN
    timed: bool = True


def read_body(message: MessageRule, payload: bytes, limits: Limits) -> Any:
    """The payload as nested values; raises `PayloadError`."""
    match message.format:
        case "json":
            return parse_json(payload, limits)
        case "influx":
            return parse_lines(payload, limits)
        case _:
            limits.check_size(payload)
            try:
                return payload.decode("utf-8").strip()
            except UnicodeDecodeError as error:
                raise PayloadError(f"text is UTF-8: {error}") from error


def decode(message: MessageRule, names: Dict[str, str], payload: bytes, arrival: Arrival) -> Decoded:
    """All values of a message whose topic gave `names`; raises `PayloadError` when it cannot be read at all."""
    body = read_body(message, payload, arrival.limits)
    decoded, common_ms = Decoded(), None
    if message.time and message.time.path.whole and arrival.timed:
        common_ms = _time(message.time, body, body, names, arrival)
    for rule in message.values:
        for item, bound in rule.each.walk(body, body, names):
            for found, more in rule.value.walk(item, body, bound):
                arrival.limits.check_room(decoded)
                place = _Place(message, rule, item, body, more, arrival, common_ms)
                try:
                    decoded.found.append(place.value(found))
                except PayloadError as error:
                    decoded.ignored.append((*place.labels(), str(error)))
    return decoded


@dataclass(frozen=True, slots=True)
class _Place:
    """Where a value was found: the rule, the item and the whole message around it, and the names known there."""

    message: MessageRule
    rule: ValueRule
    item: Any
    body: Any
    bound: Dict[str, str]
    arrival: Arrival
    common_ms: int | None

    def labels(self) -> tuple[str, str]:
        """Device and name, as far as they can be told."""
        texts = (self.rule.device or self.message.device, self.rule.name)
        device, name = (text.render(self.item, self.body, self.bound) for text in texts)
        return ("?" if device is None else device, "?" if name is None else name)

    def value(self, found: Any) -> Found:
        rule = self.rule
        device = (rule.device or self.message.device).render(self.item, self.body, self.bound)
        name = rule.name.render(self.item, self.body, self.bound)
        if device is None or name is None:
            raise PayloadError(f"no {'device' if device is None else 'name'} in the message")
        if isinstance(found, (dict, list)):
            raise PayloadError("an object or a list, no value")
        base = Found(device, name, None, t_ms=self.time(), historical=self.message.historical)
        if why := self.missing(found):
            return replace(base, why=why)
        number, written = read_number(found)
        unit = self.unit() or written or rule.unit
        return replace(base, number=number, unit=unit, factor=self.factor())

    def missing(self, found: Any) -> str:
        rule = self.rule
        if rule.quality:
            code = rule.quality.path.first(self.item, self.body, self.bound)
            if code is not None and _word(code) not in rule.quality.good:
                return f"quality {_word(code)[:40]}"
        if found is None:
            return "null"
        return f"{_word(found)} means missing" if rule.missing and _word(found) in rule.missing else ""

    def unit(self) -> str:
        path = self.rule.unit_path
        said = path.first(self.item, self.body, self.bound) if path else None
        return said[:40] if isinstance(said, str) else ""

    def factor(self) -> Fraction:
        factor = self.rule.scale
        for path in self.rule.times:
            ratio, _ = read_number(path.first(self.item, self.body, self.bound))
            if ratio <= 0:
                raise PayloadError(f"the ratio at {path} is {ratio}")
            factor *= Fraction(ratio)
        return factor

    def time(self) -> int | None:
        rule = self.rule.time or self.message.time
        if rule is None or not self.arrival.timed or (rule.path.whole and rule is self.message.time):
            return self.common_ms
        return _time(rule, self.item, self.body, self.bound, self.arrival)


def _time(rule: TimeRule, item: Any, body: Any, bound: Dict[str, str], arrival: Arrival) -> int | None:
    found = rule.path.first(item, body, bound)
    if found is None or found == "":
        if rule.absent == "arrival":
            return None
        raise PayloadError(f"no time at {str(rule.path).removeprefix('$.')!r}")
    return read_time(found, rule.format, arrival.zone, arrival.now_ms)


def _word(found: Any) -> str:
    """What stands there as the text that mappings compare with: 3.0 is 3."""
    if isinstance(found, bool):
        return str(found).lower()
    if isinstance(found, Decimal) and found.is_finite():
        return format(found.normalize(), "f") if abs(found.adjusted()) <= EXPONENT_MAX else str(found)
    return str(found) if isinstance(found, (str, int, Decimal)) else type(found).__name__
