"""Register images of real meters: what each model answers, addresses as on the wire, high word first.

Addresses and types were collected from public sources (mbmd, OpenEMS, evcc, S7_SCL_Gen and others) and are written down
here a second time on purpose: a driver that reads the simulator is checked against another hand's copy of the map.
"""

import struct
from collections.abc import Callable

from plantprint_simulators.meters import Meter
from plantprint_simulators.physics import Total

Image = dict[int, list[int]]
VOLTAGE_V, FREQUENCY_HZ = 231.0, 50.0
GAS_TEMPERATURE_C, GAS_PRESSURE_KPA = 21.5, 118.0


def words(code: str, value: float) -> list[int]:
    """A value as 16-bit registers by its `struct` code (f, d, i, q, H …), high word first."""
    data = struct.pack(f">{code}", value)
    return [int.from_bytes(data[i : i + 2], "big") for i in range(0, len(data), 2)]


def bcd_words(value: int, digits: int) -> list[int]:
    """A whole number as binary-coded decimal, four digits to a register, wrapping at 10^digits."""
    text = f"{value % 10**digits:0{digits}d}"
    return [int(text[i : i + 4], 16) for i in range(0, digits, 4)]


def _sdm630(meter: Meter, count: int, total: Total) -> Image:
    volts = {address: words("f", VOLTAGE_V) for address in (0, 2, 4)}
    power_w = meter.per_hour(total) * 1000
    return volts | {52: words("f", power_w), 70: words("f", FREQUENCY_HZ), 72: words("f", count / 10**meter.decimals)}


def _adl400(meter: Meter, count: int, total: Total) -> Image:
    volts = {address: words("H", round(VOLTAGE_V * 10)) for address in (97, 98, 99)}
    power_w = round(meter.per_hour(total) * 1000)
    return volts | {0: words("I", count), 10: words("I", count), 362: words("i", power_w)}


def _pac2200(meter: Meter, count: int, total: Total) -> Image:
    volts = {address: words("f", VOLTAGE_V) for address in (1, 3, 5)}
    return volts | {
        55: words("f", FREQUENCY_HZ),
        65: words("f", meter.per_hour(total) * 1000),
        801: words("d", count),  # Wh in tariff 1, the only one in use
        805: words("d", 0.0),
    }


def _iem3000(meter: Meter, count: int, total: Total) -> Image:
    volts = {address: words("f", VOLTAGE_V) for address in (3027, 3029, 3031)}
    return volts | {
        3059: words("f", meter.per_hour(total)),
        3109: words("f", FREQUENCY_HZ),
        3203: words("q", count),
    }


def _fuxin(meter: Meter, count: int, total: Total) -> Image:
    flow_m3_h = meter.per_hour(total)
    squeeze = 101.325 / (101.325 + GAS_PRESSURE_KPA) * (273.15 + GAS_TEMPERATURE_C) / 273.15
    standard_m3 = count / 10**meter.decimals
    return {
        10: words("f", standard_m3 * squeeze),
        12: words("f", standard_m3),
        14: words("f", 0.0),
        16: words("f", flow_m3_h),
        18: bcd_words(count, 12),
        21: words("f", flow_m3_h * squeeze),
        23: bcd_words(round(count * squeeze), 12),
        26: words("f", GAS_TEMPERATURE_C),
        28: words("f", GAS_PRESSURE_KPA),
    }


IMAGES: dict[str, Callable[[Meter, int, Total], Image]] = {
    "eastron_sdm630": _sdm630,
    "acrel_adl400": _adl400,
    "siemens_pac2200": _pac2200,
    "schneider_iem3000": _iem3000,
    "fuxin_gas_flow": _fuxin,
}
