"""Numbers and units as devices write them: text with a unit behind it, g/s, kgCO2e, kW·h; exact throughout."""

import re
from decimal import Decimal
from fractions import Fraction
from functools import lru_cache
from typing import Any

from plantprint.quantities import INT64_MAX, UnitError, conversion, is_unit, round_half_even
from plantprint_edge.payloads import PayloadError

# Larger numbers fit no channel, smaller ones are nothing, and more digits would only cost time.
EXPONENT_MAX = 30
DIGITS_MAX = 100
_TEXT = re.compile(r"([+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d{1,4})?)\s*([^\s\d_.,+-].{0,19})?", re.ASCII)
_CO2 = re.compile(r"[\s_-]*\(?CO(?:2|₂)[-_ ]?(?:eq?)?\)?(?=/|$)", re.IGNORECASE)
# What devices write → (a unit of ours, how many of it are in one).
_WRITTEN: dict[str, tuple[str, Fraction]] = {
    **dict.fromkeys(("kwh", "KWh", "KWH", "kW·h", "kW.h", "kW*h"), ("kWh", Fraction(1))),
    **dict.fromkeys(("WH", "wh", "W·h"), ("Wh", Fraction(1))),
    **dict.fromkeys(("MWH", "MW·h"), ("MWh", Fraction(1))),
    **dict.fromkeys(("Wmin", "W·min", "W-min"), ("Wh", Fraction(1, 60))),
    **dict.fromkeys(("KW", "kw"), ("kW", Fraction(1))),
    **dict.fromkeys(("m³", "m^3", "㎥", "M3"), ("m3", Fraction(1))),
    **dict.fromkeys(("m³/h", "m^3/h", "㎥/h", "M3/h"), ("m3/h", Fraction(1))),
    **dict.fromkeys(("Nm³", "Nm^3", "N㎥"), ("Nm3", Fraction(1))),
    **dict.fromkeys(("Nm³/h", "Nm^3/h", "N㎥/h"), ("Nm3/h", Fraction(1))),
    **dict.fromkeys(("l", "liter", "litre"), ("L", Fraction(1))),
    **dict.fromkeys(("L/h", "l/h"), ("m3/h", Fraction(1, 1000))),
    **dict.fromkeys(("L/min", "l/min"), ("m3/h", Fraction(60, 1000))),
    **dict.fromkeys(("L/s", "l/s"), ("m3/h", Fraction(3600, 1000))),
    **dict.fromkeys(("m3/s", "m³/s"), ("m3/h", Fraction(3600))),
    **dict.fromkeys(("m3/min", "m³/min"), ("m3/h", Fraction(60))),
    **dict.fromkeys(("Nm3/s", "Nm³/s"), ("Nm3/h", Fraction(3600))),
    **dict.fromkeys(("KG", "Kg"), ("kg", Fraction(1))),
    **dict.fromkeys(("ton", "tonne", "tonnes"), ("t", Fraction(1))),
    "mg": ("g", Fraction(1, 1000)),
    "mg/s": ("g/h", Fraction(3600, 1000)),
    "g/s": ("g/h", Fraction(3600)),
    "g/min": ("g/h", Fraction(60)),
    "kg/s": ("kg/h", Fraction(3600)),
    "kg/min": ("kg/h", Fraction(60)),
    "t/d": ("t/h", Fraction(1, 24)),
    **dict.fromkeys(("°C", "℃", "C"), ("degC", Fraction(1))),
}


def read_number(found: Any) -> tuple[Decimal, str]:
    """The number that stands there and the unit written behind it ("" without); raises `PayloadError`."""
    unit = ""
    if isinstance(found, str) and len(found) <= 64:
        match = _TEXT.fullmatch(found.strip())
        found, unit = (Decimal(match[1]), match[2] or "") if match else (found, "")
    if isinstance(found, (int, Decimal)) and not isinstance(found, bool):
        number = Decimal(found)
        if number.is_finite() and number.adjusted() <= EXPONENT_MAX and len(number.as_tuple().digits) <= DIGITS_MAX:
            return (number if number.adjusted() >= -EXPONENT_MAX else Decimal(0)), unit
    raise PayloadError(f"{_short(found)!r} is not a number")


def _short(found: Any) -> str:
    # The text of a huge integer is refused by the interpreter itself.
    return found[:40] if isinstance(found, str) else type(found).__name__ if isinstance(found, int) else str(found)[:40]


@lru_cache(maxsize=1024)
def unit_factor(written: str, unit: str) -> Fraction:
    """How many `unit` are in one of what a device calls `written`; raises `UnitError` naming both."""
    plain = _CO2.sub("", written.strip())
    ours, factor = _WRITTEN.get(plain, (plain, Fraction(1)))
    if ours != unit and not is_unit(ours):
        raise UnitError(f"unit {written!r} of the device is not known; give its real one as device_unit")
    return factor * conversion(ours, unit)


def at_decimals(number: Decimal, factor: Fraction, decimals: int) -> int:
    """Number x factor at a channel's decimals, rounded half to even; raises `PayloadError` beyond 64 bits."""
    numerator, denominator = number.as_integer_ratio()
    value = round_half_even(numerator * factor.numerator * 10**decimals, denominator * factor.denominator)
    if abs(value) > INT64_MAX:
        raise PayloadError(f"{number} is too large")
    return value
