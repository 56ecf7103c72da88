"""What an activity is worth that is recorded as steam, a leg, a carbonate, waste water or a top-up, from event to emission."""

import copy
import json
from fractions import Fraction
from typing import Any

import pytest

from plantprint import neutral
from plantprint.gwp import GwpSet
from plantprint.recorded import recorded_amount
from plantprint.steam import SteamError

FROM, TO = "2026-01-01T02:00:00Z", "2026-01-01T03:00:00Z"
SPAN = {"from": FROM, "to": TO, "work_unit": "a"}
DOCUMENT: dict[str, Any] = {
    "plantprint_facts": 1,
    "plants": [
        {
            "model": {
                "plantprint": 1,
                "site": {"id": "t", "name": {"en": "t"}, "timezone": "UTC", "geography": "CN"},
                "steps": [{"id": "s", "name": {"en": "s"}}],
                "work_centers": [
                    {"id": "l", "name": {"en": "l"}, "work_units": [{"id": "a", "name": {"en": "a"}, "step": "s"}]}
                ],
                "sources": [
                    {"id": "grid", "name": {"en": "g"}, "unit": "kWh", "kind": "grid", "factor": "own.one", "scope": 2}
                ],
                "meters": [{"id": "m", "name": {"en": "m"}, "unit": "kWh"}],
                "flows": [{"from": "grid", "to": "a", "amount": "m"}],
            }
        }
    ],
    "amounts": [{"meter": "m", "rows": [[FROM, TO, "0"]]}],
    "jobs": [{"job": "j", "batch": "X", "work_unit": "a", "start": FROM, "end": TO}],
    "factors": [{"factor_id": "own.one", "value": "1", "unit": "kWh", "source": "us"}],
    "until": TO,
}


def emitted(factor: str, unit: str, body: dict[str, Any], gwp_set: GwpSet | None = None) -> str:
    """Kg CO2e of a batch that had nothing but the activity."""
    document = copy.deepcopy(DOCUMENT)
    source = {"id": "other", "name": {"en": "o"}, "unit": unit, "kind": "direct", "factor": factor, "scope": 1}
    document["plants"][0]["model"]["sources"].append(source)
    document["events"] = [{"kind": "activity", "at": TO, "body": {"source": "other", **SPAN, **body}}]
    found = neutral.accounts_json(neutral.account_facts(neutral.parse_facts(json.dumps(document)), gwp_set=gwp_set))
    assert not found["issues"], found["issues"]
    return str(found["batches"]["X"]["kg_co2e"])


def test_steam_counts_by_its_state_less_the_condensate_that_comes_back() -> None:
    """Saturated steam of 1 MPa holds 2777.12 kJ/kg, water of 80 °C 335.0 (steam tables); water of 20 °C 83.74."""
    dry, unit = recorded_amount({"steam_t": "10", "pressure_mpa": "1"})
    assert unit == "GJ"
    assert float(dry) == pytest.approx(10 * (2777.12 - 83.74) / 1000, abs=1e-3)
    gauge, _ = recorded_amount({"steam_t": 10, "gauge_mpa": 0.898675})
    assert gauge == dry
    wet, _ = recorded_amount({"steam_t": 10, "pressure_mpa": 1, "dryness": "0.95"})
    assert float(dry - wet) == pytest.approx(10 * 0.05 * 2014.59 / 1000, abs=1e-3)
    hot, _ = recorded_amount({"steam_t": 10, "pressure_mpa": 1, "temperature_c": 250})
    assert float(hot) == pytest.approx(10 * (2943.1 - 83.74) / 1000, abs=2e-3)
    back, _ = recorded_amount(
        {"steam_t": 10, "pressure_mpa": 1, "condensate_returned_share": "0.6", "condensate_c": 80}
    )
    assert float(dry - back) == pytest.approx(6 * (335.0 - 83.74) / 1000, abs=1e-3)


def test_steam_reaches_the_footprint_in_the_unit_of_its_source() -> None:
    kg = emitted("direct.co2", "kg", {"amount": "26.93", "unit": "kg"})
    assert kg == "26.93"
    assert float(emitted("own.one", "kWh", {"steam_t": 1, "pressure_mpa": 1})) == pytest.approx(2693.38 / 3.6, abs=0.01)


@pytest.mark.parametrize(("gwp_set", "kg"), [(None, "2255.5"), ("AR5", "1923.5"), ("AR4", "2087.5")])
def test_a_refrigerant_that_was_topped_up_counts_under_every_set(gwp_set: GwpSet | None, kg: str) -> None:
    """R-410A is half R-32 and half R-125: (771 + 3740) / 2 by AR6, (677 + 3170) / 2 by AR5, (675 + 3500) / 2 by AR4."""
    assert emitted("gas.r-410a", "kg", {"amount": 1}, gwp_set) == kg


def test_a_leg_a_carbonate_and_waste_water() -> None:
    assert recorded_amount({"mass": "2500", "mass_unit": "kg", "distance": 120}) == (Fraction(300), "t.km")
    carbon, unit = recorded_amount({"carbonate": "caco3", "mass": 1, "mass_unit": "t"})
    assert unit == "kg"
    assert float(carbon) == pytest.approx(439.7, abs=0.05)
    water: dict[str, str | int | float | None] = {
        "wastewater_m3": 1000,
        "cod_in_kg_per_m3": "2",
        "treatment": "anaerobic_reactor",
    }
    assert recorded_amount(water) == (Fraction(400), "kg")
    assert emitted("gas.ch4_biogenic", "kg", water, "AR5") == "11200"


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({}, "give one of amount, steam_t, distance, carbonate, wastewater_m3"),
        ({"amount": 1, "steam_t": 1}, "give one of amount"),
        ({"amount": "-1"}, "is no number above zero"),
        ({"amount": "1e999999999"}, "is no number above zero"),
        ({"amount": "0"}, "not above zero"),
        ({"steam_t": 1}, "pressure_mpa None is no number"),
        ({"steam_t": 1, "pressure_mpa": 1, "temperature_c": 100}, "is water"),
        ({"steam_t": 1, "pressure_mpa": 1, "condensate_returned_share": 2, "condensate_c": 80}, "within 0 and 1"),
        ({"mass": 1, "mass_unit": "kWh", "distance": 1}, "cannot be converted"),
        ({"carbonate": "chalk", "mass": 1}, "none of the carbonates"),
        ({"wastewater_m3": 1, "cod_in_kg_per_m3": 1, "treatment": "hope"}, "is none of untreated"),
    ],
)
def test_what_cannot_be_is_refused_with_its_name(body: dict[str, Any], message: str) -> None:
    with pytest.raises((ValueError, SteamError), match=message):
        recorded_amount(body)
