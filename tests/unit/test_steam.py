"""Heat of steam: the tables that two libraries agree on, wetness, superheat, condensate, and readings that cannot be."""

import csv
from fractions import Fraction
from pathlib import Path

import pytest

from plantprint.steam import (
    BASE_WATER_0C,
    SteamError,
    SteamState,
    absolute_mpa,
    condensate_enthalpy,
    enthalpy_kj_per_kg,
    heat_after_return_gj,
    heat_gj,
    saturation_c,
    steam_enthalpy,
)

TABLE = list(csv.DictReader((Path(__file__).parents[1] / "data" / "steam_saturation_if97.csv").open(encoding="utf-8")))


@pytest.mark.parametrize("row", TABLE, ids=lambda row: row["p_abs_MPa"])
def test_saturated_steam_is_as_in_the_table(row: dict[str, str]) -> None:
    pressure = float(row["p_abs_MPa"])
    assert saturation_c(pressure) == pytest.approx(float(row["t_sat_C"]), abs=0.006)
    assert float(steam_enthalpy(SteamState(pressure))) == pytest.approx(float(row["h_steam_kJ_kg"]), abs=0.006)
    assert float(steam_enthalpy(SteamState(pressure, dryness=0.0))) == pytest.approx(
        float(row["h_water_kJ_kg"]), abs=0.006
    )
    assert float(heat_gj(1, steam_enthalpy(SteamState(pressure)))) == pytest.approx(
        float(row["GJ_per_t_above_83.74"]), abs=6e-5
    )


def test_wet_steam_lies_between_water_and_vapour() -> None:
    dry, wet, water = (steam_enthalpy(SteamState(0.7, dryness=x)) for x in (1.0, 0.9, 0.0))
    assert wet == water + Fraction(9, 10) * (dry - water)
    assert float(heat_gj(1, wet) / heat_gj(1, dry)) == pytest.approx(0.923, abs=0.001)  # about -8 % per 10 % of water


def test_superheat_counts_and_a_sensor_a_little_below_saturation_is_believed_to_see_saturated_steam() -> None:
    saturated = steam_enthalpy(SteamState(0.7))
    assert steam_enthalpy(SteamState(0.7, temperature_c=163.0)) == saturated
    assert steam_enthalpy(SteamState(0.7, temperature_c=200.0)) > saturated
    assert steam_enthalpy(SteamState(25.0, temperature_c=500.0)) > 3000  # above the critical pressure nothing boils


def test_condensate_takes_its_heat_off() -> None:
    steam = steam_enthalpy(SteamState(0.7))
    back = condensate_enthalpy(90)
    assert float(back) == pytest.approx(376.97, abs=0.01)
    net = heat_after_return_gj(10, steam, Fraction("0.8"), back)
    assert net == heat_gj(10, steam) - heat_gj(8, back)
    assert float(net / heat_gj(10, steam)) == pytest.approx(0.9125, abs=0.001)


def test_the_base_and_the_gauge_are_said_and_not_guessed() -> None:
    assert heat_gj(1, 2762, BASE_WATER_0C) - heat_gj(1, 2762) == Fraction("0.08374")
    assert absolute_mpa(0.6) == pytest.approx(0.701325)


@pytest.mark.parametrize(
    ("state", "complaint"),
    [
        (SteamState(0.7, temperature_c=120.0), "is water"),
        (SteamState(700.0), "in MPa, absolute"),
        (SteamState(0.0), "no boiling point"),
        (SteamState(0.7, dryness=1.2), "dryness"),
        (SteamState(0.7, temperature_c=170.0, dryness=0.9), "temperature or dryness"),
        (SteamState(0.7, temperature_c=1200.0), "outside of the steam tables"),
    ],
)
def test_readings_that_no_steam_has_are_refused(state: SteamState, complaint: str) -> None:
    with pytest.raises(SteamError, match=complaint):
        steam_enthalpy(state)


def test_the_tables_end_somewhere() -> None:
    with pytest.raises(SteamError, match="outside"):
        enthalpy_kj_per_kg(200, 400)
    with pytest.raises(SteamError, match="condensate"):
        condensate_enthalpy(400)
    with pytest.raises(SteamError, match="returned share"):
        heat_after_return_gj(1, 2762, 2, 377)
