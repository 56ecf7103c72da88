"""Heat of steam and condensate from mass, pressure and temperature or wetness (IAPWS-IF97), condensate taken off.

Enthalpies are floats from the steam tables, rounded to a thousandth of a J/kg; heat follows from them exactly. Needs the
`seuif97` package (extras `collector` and `api`).
"""

from dataclasses import dataclass
from fractions import Fraction

import seuif97

from plantprint.gwp import Number

ATMOSPHERE_PA = 101_325
ATMOSPHERE_MPA = ATMOSPHERE_PA / 10**6
# What gauges of steam tell and their units, in Pa and thousandths of a °C; and between which values the tables know steam,
# or water at its boiling line.
STATE_UNITS = {
    "pressure": {"Pa": 1, "kPa": 1000, "bar": 100_000, "MPa": 1_000_000},
    "temperature": {"degC": 1000},
}
STEAM_PA = (612, 100_000_000)
STEAM_MILLI_C = (0, 800_000)
WATER_MILLI_C = (1, 373_000)
# No steam of these tables holds more: 4160 kJ/kg at 800 °C and a low pressure.
STEAM_MJ_PER_KG_MAX = Fraction("4.2")
# What a tonne of steam is worth is counted from water at 20 °C (4.1868 kJ/kg K) in China, from 0 °C in the tables.
BASE_WATER_20C = Fraction("83.74")
BASE_WATER_0C = Fraction(0)
# A sensor may read this little below saturation; steam that is really wet shows no temperature below it at all.
SATURATION_TOLERANCE_K = 3.0

_ENTHALPY = 4
_TEMPERATURE = 1
_ZERO_C_K = 273.15
_CRITICAL_MPA = 22.064
_CRITICAL_C = 373.946
_MPA_MAX = 100.0
_CELSIUS_MAX = 800.0
_DIGITS = 10**6


class SteamError(ValueError):
    """Readings that no steam has; the message says what they would mean and what to check."""


class TooColdError(SteamError):
    """A temperature at which the pressure would have made water of the steam."""


@dataclass(frozen=True, slots=True)
class SteamState:
    """Absolute pressure in MPa and temperature in °C or dryness (kg of vapour per kg); neither means dry saturated."""

    pressure_mpa: float
    temperature_c: float | None = None
    dryness: float | None = None


def absolute_mpa(gauge_mpa: float, ambient_mpa: float = ATMOSPHERE_MPA) -> float:
    """Absolute pressure behind a gauge's reading."""
    return gauge_mpa + ambient_mpa


def saturation_c(pressure_mpa: float) -> float:
    """Boiling temperature in °C; raises `SteamError` outside of the saturation line."""
    if not 0.000612 <= pressure_mpa <= _CRITICAL_MPA:
        raise SteamError(f"steam of {pressure_mpa} MPa has no boiling point: is the pressure in MPa, absolute?")
    return float(seuif97.px(pressure_mpa, 1.0, _TEMPERATURE))


def enthalpy_kj_per_kg(pressure_mpa: float, temperature_k: float) -> float:
    """IF97 h(p, T) of water or steam, whichever the tables say; raises `SteamError` outside of their range."""
    celsius = temperature_k - _ZERO_C_K
    if not (0 < pressure_mpa <= _MPA_MAX and 0 <= celsius <= _CELSIUS_MAX):
        raise SteamError(
            f"{pressure_mpa} MPa and {celsius:g} °C are outside of the steam tables (to 100 MPa, 0 to 800 °C)"
        )
    return float(seuif97.pt(pressure_mpa, celsius, _ENTHALPY))


def steam_enthalpy(state: SteamState) -> Fraction:
    """Specific enthalpy in kJ/kg of steam; raises `SteamError` for water and for what cannot be."""
    if state.dryness is not None:
        if state.temperature_c is not None:
            raise SteamError("give temperature or dryness: wet steam has the temperature of its pressure")
        if not 0 <= state.dryness <= 1:
            raise SteamError(f"dryness is within 0 (water) and 1 (dry steam), not {state.dryness}")
        return _saturated(state.pressure_mpa, state.dryness)
    if state.temperature_c is None:
        return _saturated(state.pressure_mpa, 1.0)
    if state.pressure_mpa < _CRITICAL_MPA:
        boiling = saturation_c(state.pressure_mpa)
        if state.temperature_c < boiling - SATURATION_TOLERANCE_K:
            raise TooColdError(
                f"{state.temperature_c:g} °C at {state.pressure_mpa:g} MPa is water (steam starts at {boiling:.1f} °C): "
                "check both sensors and whether the pressure is absolute; for wet steam give its dryness"
            )
        if state.temperature_c <= boiling:
            return _saturated(state.pressure_mpa, 1.0)
    return _exact(enthalpy_kj_per_kg(state.pressure_mpa, state.temperature_c + _ZERO_C_K))


def condensate_enthalpy(temperature_c: float) -> Fraction:
    """Specific enthalpy in kJ/kg of water at its boiling line; pressure hardly matters to water."""
    if not 0 < temperature_c < _CRITICAL_C:
        raise SteamError(f"{temperature_c} °C is no temperature of condensate")
    return _exact(float(seuif97.tx(temperature_c, 0.0, _ENTHALPY)))


def heat_gj(mass_t: Number, enthalpy: Number, base: Number = BASE_WATER_20C) -> Fraction:
    """GJ of `mass_t` tonnes above water of the enthalpy `base` (kJ/kg)."""
    return Fraction(mass_t) * (Fraction(enthalpy) - Fraction(base)) / 1000


def heat_after_return_gj(
    mass_t: Number,
    enthalpy: Number,
    returned_share: Number,
    condensate: Number,
    base: Number = BASE_WATER_20C,
) -> Fraction:
    """GJ of steam less the heat that comes back with the `returned_share` of its mass as condensate (kJ/kg)."""
    if not 0 <= returned_share <= 1:
        raise SteamError(f"the returned share of condensate is within 0 and 1, not {returned_share}")
    back = Fraction(mass_t) * Fraction(returned_share)
    return heat_gj(mass_t, enthalpy, base) - heat_gj(back, condensate, base)


def _saturated(pressure_mpa: float, dryness: float) -> Fraction:
    saturation_c(pressure_mpa)
    vapour = _exact(float(seuif97.px(pressure_mpa, 1.0, _ENTHALPY)))
    if dryness == 1:
        return vapour
    water = _exact(float(seuif97.px(pressure_mpa, 0.0, _ENTHALPY)))
    return water + Fraction(dryness).limit_denominator(_DIGITS) * (vapour - water)


def _exact(enthalpy: float) -> Fraction:
    """A table's value at its own precision, so that every machine goes on from the same number."""
    return Fraction(round(enthalpy * _DIGITS), _DIGITS)
