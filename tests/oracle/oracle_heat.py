"""Oracle: heat of a mass of steam or condensate (decision 20), bucket by bucket; the steam tables are those of seuif97.

The tables alone are in common with the product (`tests/unit/test_steam.py` checks them against two other libraries' values).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise
from typing import Any

import seuif97
from oracle.oracle_meters import Bucket, Hour
from oracle.oracle_numbers import ESTIMATED, MEASURED, MISSING, converted, half_even, number
from oracle.oracle_register import Value

# Pa, or thousandths of a °C, in a unit; and what the tables know of steam, or of water that boils.
FINE = {"Pa": 1, "kPa": 1000, "bar": 100_000, "MPa": 1_000_000, "degC": 1000}
PA, MILLI_C, MILLI_C_WATER = (612, 10**8), (0, 800_000), (1, 373_000)
ATMOSPHERE_PA = 101_325
CRITICAL_MPA = 22.064


@dataclass(frozen=True)
class Gauge:
    """Readings of a pressure or temperature that count, in order of time, and how much a step of them is in Pa or m°C."""

    values: Sequence[Value]
    fine: Fraction


def gauge(meter: Mapping[str, Any], name: str, channel: Mapping[str, Any], values: Sequence[Value]) -> Gauge:
    fine = Fraction(FINE[channel["unit"]], 10 ** channel["decimals"])
    steam = meter.get("steam")
    if name == "pressure":
        assert steam is not None
        least, most = (end - (ATMOSPHERE_PA if steam.get("pressure_is") == "gauge" else 0) for end in PA)
    else:
        least, most = MILLI_C_WATER if steam is None else MILLI_C
    return Gauge([value for value in values if least <= value.value * fine <= most], fine)


def heat_of(
    meter: Mapping[str, Any], mass: Sequence[Bucket], gauges: Mapping[str, Gauge | None], hour: Hour
) -> list[Bucket]:
    """`gauges` are those that the binding names, None where nobody reads one."""
    block = meter.get("steam") or meter.get("condensate") or {}
    found = []
    for bucket, (start, end) in zip(mass, pairwise(hour.edges), strict=True):
        if not bucket.amount:
            found.append(bucket)
            continue
        quality, read = MEASURED, dict[str, int | None]()
        for name, one in gauges.items():
            mean, level = (None, MISSING) if one is None else _held(one, start, end, meter, block)
            read[name], quality = mean, min(quality, level)
        worth, level = (None, MISSING) if None in read.values() else _worth(meter, read)
        if worth is None:
            found.append(Bucket(0, MISSING, min(max(hour.until_ms - start, 0), end - start)))
            continue
        kg = converted(block.get("mass_unit", "t"), "kg")
        unit = converted("MJ", meter["unit"])
        assert kg is not None
        assert unit is not None
        heat = half_even(bucket.amount * kg * worth / 1000 * unit)
        found.append(Bucket(heat, min(bucket.quality, quality, level), bucket.missing_ms))
    return found


def _held(
    one: Gauge, start: int, end: int, meter: Mapping[str, Any], block: Mapping[str, Any]
) -> tuple[int | None, int]:
    """The mean of what is held over the known part of a bucket."""
    hold_ms, gap_ms = block.get("hold_s", 3600) * 1000, meter.get("max_gap_s", 300) * 1000
    ages = {value.t_ms + age for value in one.values for age in (0, gap_ms, hold_ms)}
    cuts = sorted({start, end} | {cut for cut in ages if start < cut < end})
    total, known_ms, quality = Fraction(0), 0, MEASURED
    for a, b in pairwise(cuts):
        last = next((value for value in reversed(one.values) if value.t_ms <= a), None)
        if last is None or a - last.t_ms >= hold_ms:
            quality = min(quality, ESTIMATED)
            continue
        total, known_ms = total + last.value * one.fine * (b - a), known_ms + b - a
        quality = min(quality, last.quality, ESTIMATED if a - last.t_ms >= gap_ms else MEASURED)
    return (half_even(total / known_ms), quality) if known_ms else (None, MISSING)


def _worth(meter: Mapping[str, Any], read: Mapping[str, int | None]) -> tuple[Fraction | None, int]:
    """kJ/kg above the base, None where no steam is such."""
    steam, water = meter.get("steam"), meter.get("condensate")
    block = steam if steam is not None else water
    assert block is not None
    milli_c = read.get("temperature")
    if milli_c is None and "temperature" in block:
        milli_c = int(number(block["temperature"]) * 1000)
    quality = MEASURED
    if steam is None:
        assert milli_c is not None
        enthalpy = _exact(seuif97.tx(milli_c / 1000, 0.0, 4))
    else:
        pa = read.get("pressure")
        pa = int(number(steam["pressure"]) * 10**6) if pa is None else pa
        mpa = (pa + (ATMOSPHERE_PA if steam.get("pressure_is") == "gauge" else 0)) / 10**6
        boils = seuif97.px(mpa, 1.0, 1) if mpa <= CRITICAL_MPA else None
        if milli_c is not None and (mpa >= CRITICAL_MPA or boils is None or milli_c / 1000 > boils):
            enthalpy = _exact(seuif97.pt(mpa, milli_c / 1000, 4))
        elif boils is None:
            return None, MISSING
        else:
            dryness = number(steam.get("dryness", 1))
            dry, wet = _exact(seuif97.px(mpa, 1.0, 4)), _exact(seuif97.px(mpa, 0.0, 4))
            enthalpy = wet + dryness * (dry - wet)
            if milli_c is not None and milli_c / 1000 < boils - 3:
                quality = ESTIMATED  # water at this pressure
    return max(enthalpy - number(block.get("base_kj_per_kg", "83.74")), Fraction(0)), quality


def _exact(enthalpy: float) -> Fraction:
    return Fraction(round(enthalpy * 10**6), 10**6)
