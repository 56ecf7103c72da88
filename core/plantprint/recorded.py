"""The amount of a recorded activity: told as such, or worked out from steam, a transport leg, a carbonate or waste water.

Which it is follows from the keys of the event's body; docs/neutral.md lists them. Sums are exact fractions.
"""

from collections.abc import Callable, Mapping
from decimal import Decimal, InvalidOperation
from fractions import Fraction

from plantprint.processes import METHANE_CORRECTION, WasteWater, carbonate_co2, wastewater_ch4
from plantprint.quantities import conversion
from plantprint.steam import (
    SteamState,
    absolute_mpa,
    condensate_enthalpy,
    heat_after_return_gj,
    heat_gj,
    steam_enthalpy,
)
from plantprint.transport import Leg, tonne_km

Body = Mapping[str, str | int | float | None]
_NUMBER_MAX = Decimal(10) ** 12


def recorded_amount(body: Body) -> tuple[Fraction, str]:
    """The amount and its unit ("" where the body names none); raises `ValueError` naming what is wrong."""
    forms = [work_out for key, work_out in _FORMS.items() if body.get(key) is not None]
    if len(forms) != 1:
        raise ValueError(f"give one of {', '.join(_FORMS)}: they say how much it is")
    amount, unit = forms[0](body)
    if amount <= 0:
        raise ValueError(f"the amount comes to {float(amount):g} {unit}, which is not above zero")
    return amount, unit


def _plain(body: Body) -> tuple[Fraction, str]:
    try:
        return _number(body, "amount"), _text(body, "unit")
    except ValueError as error:
        raise ValueError(f"amount {body.get('amount')!r} is no number above zero") from error


def _steam(body: Body) -> tuple[Fraction, str]:
    """GJ above water of 20 °C, less what condensate brings back."""
    mass = _number(body, "steam_t")
    if body.get("gauge_mpa") is not None:
        pressure = absolute_mpa(float(_number(body, "gauge_mpa")))
    else:
        pressure = float(_number(body, "pressure_mpa"))
    temperature, dryness = _optional(body, "temperature_c"), _optional(body, "dryness")
    enthalpy = steam_enthalpy(SteamState(pressure, _float(temperature), _float(dryness)))
    returned = _optional(body, "condensate_returned_share")
    if returned is None:
        return heat_gj(mass, enthalpy), "GJ"
    condensate = condensate_enthalpy(float(_number(body, "condensate_c")))
    return heat_after_return_gj(mass, enthalpy, returned, condensate), "GJ"


def _leg(body: Body) -> tuple[Fraction, str]:
    mass_unit, distance_unit = _text(body, "mass_unit") or "t", _text(body, "distance_unit") or "km"
    leg = Leg(_number(body, "mass"), mass_unit, _number(body, "distance"), distance_unit, "")
    return tonne_km(leg), "t.km"


def _carbonate(body: Body) -> tuple[Fraction, str]:
    """Kg of CO2."""
    mass = _number(body, "mass") * conversion(_text(body, "mass_unit") or "kg", "kg")
    calcined = _optional(body, "calcined_share")
    return carbonate_co2(_text(body, "carbonate"), mass, Fraction(1) if calcined is None else calcined), "kg"


def _wastewater(body: Body) -> tuple[Fraction, str]:
    """Kg of biogenic CH4."""
    treatment = _text(body, "treatment")
    if treatment not in METHANE_CORRECTION:
        raise ValueError(f"treatment {treatment!r} is none of {', '.join(METHANE_CORRECTION)}")
    water = WasteWater(
        _number(body, "wastewater_m3"),
        _number(body, "cod_in_kg_per_m3"),
        _optional(body, "cod_sludge_kg_per_m3") or 0,
        METHANE_CORRECTION[treatment],
        recovered_ch4_kg=_optional(body, "recovered_ch4_kg") or 0,
    )
    return wastewater_ch4(water), "kg"


_FORMS: Mapping[str, Callable[[Body], tuple[Fraction, str]]] = {
    "amount": _plain,
    "steam_t": _steam,
    "distance": _leg,
    "carbonate": _carbonate,
    "wastewater_m3": _wastewater,
}


def _optional(body: Body, name: str) -> Fraction | None:
    return None if body.get(name) is None else _number(body, name)


def _number(body: Body, name: str) -> Fraction:
    """A number of at least zero."""
    given = body.get(name)
    try:
        number = Decimal(str(given).strip())
    except InvalidOperation:
        number = Decimal(-1)
    if not number.is_finite() or not 0 <= number <= _NUMBER_MAX or number.adjusted() < -12:
        raise ValueError(f"{name} {given!r} is no number of zero or more")
    return Fraction(number)


def _float(value: Fraction | None) -> float | None:
    return None if value is None else float(value)


def _text(body: Body, name: str) -> str:
    given = body.get(name)
    return given.strip() if isinstance(given, str) else ""
