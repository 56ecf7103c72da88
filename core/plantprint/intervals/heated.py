"""Mass of steam or condensate turned into heat, bucket by bucket, by the pressure and temperature that were read then."""

from collections.abc import Mapping
from dataclasses import replace
from fractions import Fraction
from functools import lru_cache
from typing import NamedTuple

from plantprint.facts import Issue, Quality
from plantprint.intervals.findings import Finding, issues_of
from plantprint.intervals.grid import Grid
from plantprint.intervals.held import Held, hold
from plantprint.intervals.series import SAFE, CounterState, MeterHour, MeterSeries
from plantprint.plant.model import Beside, Condensate, Meter, Steam
from plantprint.quantities import MICRO, conversion, round_half_even
from plantprint.steam import (
    ATMOSPHERE_PA,
    STATE_UNITS,
    SteamError,
    SteamState,
    TooColdError,
    condensate_enthalpy,
    steam_enthalpy,
)

_READ: tuple[Beside, ...] = ("pressure", "temperature")
_MILLI = 1000

Told = tuple[MeterHour, CounterState | None, list[Issue]]


def heat_of(series: MeterSeries, mass: Told, state: CounterState | None, grid: Grid, until_ms: int) -> Told:
    """The hour of a meter whose `mass` was counted, as heat; `state` is the one at its start.

    A bucket without mass has no heat, whatever its pressure. One whose pressure or temperature is unknown, or such as no
    steam has, is missing: there is no amount that could stand for it.
    """
    hour, after, issues = mass
    held, unusable = _held(series, state, grid)
    findings = [finding for gauge in held.values() for finding in gauge.findings]
    heat = MeterHour(hour.amount.copy(), hour.quality.copy(), hour.missing_ms.copy())
    for bucket in hour.amount.nonzero()[0].tolist():
        told = _bucket(series.meter, held, bucket)
        if told.code:
            findings.append(Finding(told.code, int(grid.edges[bucket + 1]), told.detail))
        if told.quality == Quality.MISSING:
            passed_ms = until_ms - int(grid.edges[bucket])
            heat.missing_ms[bucket] = min(max(passed_ms, 0), grid.bucket_ms)
        # Beyond what any meter counts it only has to stay there: the hour is not believed.
        heat.amount[bucket] = min(round_half_even(int(hour.amount[bucket]) * told.numerator, told.denominator), SAFE)
        heat.quality[bucket] = min(int(heat.quality[bucket]), told.quality)
    if after is None and series.channel.kind == "amount":
        after = CounterState(0, 0, channel=series.channel_mark)
    found = [*issues, *unusable, *issues_of(findings, series.meter.id, grid)]
    return heat, after and after.with_beside({name: gauge.last for name, gauge in held.items()}), found


def _held(series: MeterSeries, state: CounterState | None, grid: Grid) -> tuple[dict[Beside, Held], list[Issue]]:
    """The gauges that are there, and what is wrong with those that cannot be used."""
    heat = series.meter.heat
    assert heat is not None, "the meter counts mass"
    held: dict[Beside, Held] = {}
    unusable: list[Issue] = []
    for name in _READ:
        gauge = series.beside.get(name)
        if gauge is None:
            continue
        if gauge.channel.kind != "gauge" or gauge.channel.unit not in STATE_UNITS[name]:
            unusable.append(_unusable(gauge, name, grid.start_ms))
        else:
            held[name] = hold(gauge, state and state.beside(name), grid, heat.hold_s * 1000)
    return held, unusable


class _Specific(NamedTuple):
    """Heat in the meter's unit per unit of mass, how well it is known, and what is wrong (a code, the values behind it)."""

    numerator: int
    denominator: int
    quality: int
    code: str = ""
    detail: str = ""


def _bucket(meter: Meter, held: Mapping[Beside, Held], bucket: int) -> _Specific:
    values: dict[Beside, int] = {}
    quality = int(Quality.MEASURED)
    for name in meter.bindings[0].beside.keys() & set(_READ):
        gauge = held.get(name)
        if gauge is None or not gauge.known_ms[bucket]:
            return _Specific(0, 1, Quality.MISSING, "heat-unknown", f"its {name}")
        values[name] = gauge.mean(bucket)
        quality = min(quality, int(gauge.quality[bucket]))
    assert meter.heat is not None, "the meter counts mass"
    told = _specific(meter.heat, meter.unit, values.get("pressure"), values.get("temperature"))
    return told._replace(quality=min(quality, told.quality))


@lru_cache(maxsize=65_536)
def _specific(heat: Steam | Condensate, unit: str, pressure: int | None, temperature: int | None) -> _Specific:
    """By a pressure in Pa and a temperature in thousandths of a °C as they were read, None where a fixed value holds."""
    if temperature is None and heat.temperature is not None:
        temperature = int(heat.temperature * _MILLI)
    quality, code = int(Quality.MEASURED), ""
    detail = "" if temperature is None else f"{temperature / _MILLI:g} °C"
    try:
        if isinstance(heat, Condensate):
            assert temperature is not None, "the plant model is checked: it is read or fixed"
            enthalpy = condensate_enthalpy(temperature / _MILLI)
        else:
            state = _state(heat, pressure, temperature)
            detail = f"{state.pressure_mpa:g} MPa {detail}".rstrip()
            try:
                enthalpy = steam_enthalpy(state)
            except TooColdError:
                enthalpy = steam_enthalpy(replace(state, temperature_c=None))
                quality, code = int(Quality.ESTIMATED), "heat-cold"
    except SteamError:
        return _Specific(0, 1, Quality.MISSING, "heat-impossible", detail)
    mega_per_kg = max(enthalpy - Fraction(heat.base_kj_per_kg), Fraction(0)) / 1000
    specific = mega_per_kg * conversion(heat.mass_unit, "kg") * conversion("MJ", unit)
    return _Specific(specific.numerator, specific.denominator, quality, code, detail if code else "")


def _state(steam: Steam, pressure: int | None, temperature: int | None) -> SteamState:
    if pressure is None:
        assert steam.pressure is not None, "the plant model is checked: it is read or fixed"
        pressure = int(steam.pressure * MICRO)
    absolute = pressure + (ATMOSPHERE_PA if steam.pressure_is == "gauge" else 0)
    celsius = None if temperature is None else temperature / _MILLI
    return SteamState(absolute / MICRO, celsius, None if steam.dryness is None else float(steam.dryness))


def _unusable(gauge: MeterSeries, name: Beside, hour_ms: int) -> Issue:
    units = ", ".join(STATE_UNITS[name])
    return Issue(
        "channel-unusable",
        gauge.meter.id,
        f"channel {gauge.channel.key} is a {gauge.channel.kind} in {gauge.channel.unit} and tells no {name}; "
        "what it should tell is unknown",
        f"bind a gauge in {units} as {name}, or correct the channel at the agent",
        hour_ms,
    )
