"""Looking at a DL/T 645 meter before it is written into agent.yaml: all that it says, and what looks wrong."""

from collections import Counter
from dataclasses import dataclass
from decimal import Decimal

from plantprint_edge.probe import Values, judge
from plantprint_edge.sources.dlt645_frame import DigitsError, number
from plantprint_edge.sources.dlt645_items import Item, known_items
from plantprint_edge.sources.dlt645_line import Dlt645Line
from plantprint_edge.sources.line import RefusedError


@dataclass(frozen=True, slots=True)
class MeterReport:
    """What a meter said: values by name, why others are absent, and what looks wrong."""

    address: str
    values: Values
    absent: dict[str, str]
    findings: tuple[str, ...]


async def probe_meter(line: Dlt645Line, address: str | None, timeout_s: float) -> MeterReport:
    """Ask for every known value; without `address` the only meter on the line. Raises `DeviceError`."""
    address = address or await line.who(timeout_s)
    values: Values = {}
    absent: dict[str, str] = {}
    findings: list[str] = []
    thrown = Counter[str]()
    for name, item in known_items().items.items():
        try:
            data = await line.read(address, item.number, timeout_s, 0, thrown)
            value = _value(item, data)
        except RefusedError as error:
            absent[name] = error.reason
        except DigitsError as error:
            findings.append(f"{name}: {error}: another format in this meter?")
        else:
            if value is None:
                absent[name] = "marked as missing"
            else:
                values[name] = value
    if thrown:
        findings.append(f"{thrown['foreign reply']} replies were none to what was asked: another master on the line?")
    return MeterReport(address, values, absent, tuple(findings + judge(known_items().items, _in_watts(values))))


def _value(item: Item, data: bytes) -> Decimal | None:
    if len(data) != item.size:
        raise DigitsError(f"{len(data)} bytes where {item.size} belong")
    digits = number(data, signed=item.signed)
    return None if digits is None else Decimal(digits * item.scale).scaleb(-item.wire_decimals)


def _in_watts(values: Values) -> Values:
    items = known_items().items
    return {name: value * 1000 if items[name].unit == "kW" else value for name, value in values.items()}
