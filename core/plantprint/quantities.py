"""Exact integer amounts: scaling, decimal text, unit conversion, and the one rule by which an amount is divided.

Amounts are integers in millionths of a unit (`MICRO`). Division follows rule R1 of the accounting
definition: cumulative rounding half to even in canonical order, so that shares always add up to what was divided.
"""

from collections.abc import Sequence
from decimal import Decimal, localcontext
from fractions import Fraction

MICRO = 1_000_000
FACTOR_SCALE = 10**12
EMISSION_SCALE = MICRO * FACTOR_SCALE
INT64_MAX = 2**63 - 1
_DIGITS_MAX = 40


class UnitError(ValueError):
    """Two units cannot be converted into each other."""


# Exact by definition: international foot and mile, avoirdupois pound, British thermal unit (International Table).
_FOOT_M = Fraction("0.3048")
_MILE_M = 5280 * _FOOT_M
_POUND_KG = Fraction("0.45359237")
_BTU_IT_J = Fraction("1055.05585262")

# unit -> (dimension, exact size in the dimension's base unit). Nm3 is at 0 °C and 101.325 kPa, scf at 60 °F and the same
# pressure: an ideal gas shrinks by 491.67 / 519.67 (degrees Rankine) between the two.
_UNITS: dict[str, tuple[str, Fraction]] = {
    "Wh": ("energy", Fraction(1, 1000)),
    "kWh": ("energy", Fraction(1)),
    "MWh": ("energy", Fraction(1000)),
    "MJ": ("energy", Fraction(10, 36)),
    "GJ": ("energy", Fraction(10_000, 36)),
    "W": ("power", Fraction(1, 1000)),
    "kW": ("power", Fraction(1)),
    "MW": ("power", Fraction(1000)),
    "g": ("mass", Fraction(1, 1000)),
    "kg": ("mass", Fraction(1)),
    "t": ("mass", Fraction(1000)),
    "g/h": ("mass rate", Fraction(1, 1000)),
    "kg/h": ("mass rate", Fraction(1)),
    "t/h": ("mass rate", Fraction(1000)),
    "m3": ("volume", Fraction(1)),
    "L": ("volume", Fraction(1, 1000)),
    "m3/h": ("volume rate", Fraction(1)),
    "Nm3": ("gas volume", Fraction(1)),
    "Nm3/h": ("gas volume rate", Fraction(1)),
    "piece": ("count", Fraction(1)),
    "m": ("length", Fraction(1)),
    "km": ("length", Fraction(1000)),
    "m2": ("area", Fraction(1)),
    "t.km": ("freight", Fraction(1)),
    "mmBtu": ("energy", _BTU_IT_J * 10**6 / 3_600_000),
    "therm": ("energy", _BTU_IT_J * 10**5 / 3_600_000),
    "lb": ("mass", _POUND_KG),
    "short_ton": ("mass", 2000 * _POUND_KG),
    "mile": ("length", _MILE_M),
    "short_ton_mile": ("freight", 2 * _POUND_KG * _MILE_M / 1000),
    "scf": ("gas volume", _FOOT_M**3 * Fraction(49167, 51967)),
}
# A gauge counts per hour: kW held for one hour is one kWh.
_INTEGRAL_OF: dict[str, str] = {
    "power": "energy",
    "mass rate": "mass",
    "volume rate": "volume",
    "gas volume rate": "gas volume",
}
_BASE_UNIT: dict[str, str] = {"energy": "kWh", "mass": "kg", "volume": "m3", "gas volume": "Nm3"}


def is_unit(unit: str) -> bool:
    return unit in _UNITS


def conversion(unit_from: str, unit_to: str) -> Fraction:
    """The exact number of `unit_to` in one `unit_from`; raises `UnitError` naming both."""
    if unit_from == unit_to:
        return Fraction(1)
    if unit_from not in _UNITS or unit_to not in _UNITS or _UNITS[unit_from][0] != _UNITS[unit_to][0]:
        raise UnitError(f"{unit_from!r} cannot be converted to {unit_to!r}")
    return _UNITS[unit_from][1] / _UNITS[unit_to][1]


def integral_unit(rate_unit: str) -> str:
    """The unit that one hour of `rate_unit` accumulates in (kW → kWh); raises `UnitError` when it is no rate."""
    dimension, size = _UNITS.get(rate_unit, ("", Fraction(0)))
    if dimension not in _INTEGRAL_OF:
        raise UnitError(f"{rate_unit!r} is not a rate: a gauge needs a unit per hour such as kW, kg/h or m3/h")
    target = _INTEGRAL_OF[dimension]
    return next(u for u, (d, s) in _UNITS.items() if d == target and s == size)


def round_half_even(numerator: int, denominator: int) -> int:
    """Numerator / denominator rounded to the nearest integer, ties to even; denominator > 0."""
    quotient, remainder = divmod(numerator, denominator)
    double = 2 * remainder
    if double > denominator or (double == denominator and quotient % 2):
        quotient += 1
    return quotient


def divide(amount: int, weights: Sequence[int]) -> list[int]:
    """Rule R1: shares of `amount` by non-negative integer weights, in the given order, adding up exactly to `amount`.

    All weights zero: equal shares. No weights at all is a programmer's error unless the amount is zero.
    """
    if not weights:
        assert amount == 0, "an amount cannot be divided over nothing"
        return []
    if not any(weights):
        weights = [1] * len(weights)
    total = sum(weights)
    shares: list[int] = []
    cumulative_weight = 0
    cumulative_share = 0
    for weight in weights:
        cumulative_weight += weight
        upto = round_half_even(amount * cumulative_weight, total)
        shares.append(upto - cumulative_share)
        cumulative_share = upto
    return shares


def scaled(text: str | int | Decimal, scale: int) -> int:
    """The exact integer `text` x `scale`; raises `ValueError` when digits would be lost, or the number is not finite or
    beyond anything that is measured.
    """
    value = Decimal(text)
    if not value.is_finite():
        raise ValueError(f"{text!r} is not a finite number")
    if value.adjusted() > _DIGITS_MAX:
        raise ValueError(f"{text!r} is beyond anything that is measured")
    with localcontext() as context:
        context.prec = 60
        product = value * scale
        if product != product.to_integral_value():
            raise ValueError(f"{text!r} has more digits than the scale {scale} can hold")
        return int(product)


def micro(text: str | int | Decimal) -> int:
    """The amount `text` in millionths, exactly; raises `ValueError` when it has more than six decimals."""
    return scaled(text, MICRO)


def decimal_text(value: int, scale: int = MICRO) -> str:
    """Value / scale as plain decimal text without trailing zeros: 1_500_000 → "1.5". `scale` is a power of ten."""
    sign = "-" if value < 0 else ""
    whole, rest = divmod(abs(value), scale)
    if not rest:
        return f"{sign}{whole}"
    digits = len(str(scale)) - 1
    return f"{sign}{whole}.{rest:0{digits}d}".rstrip("0")
