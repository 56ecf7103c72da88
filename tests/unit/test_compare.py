"""Two footprints compared: rooftop PV, heat recovery, a new machine and a new factor, each seen as what it is."""

from fractions import Fraction

import pytest

from plantprint.compare import Activity, Side, compare
from plantprint.quantities import EMISSION_SCALE, MICRO

GRID, PV, GAS = Fraction("0.5"), Fraction("0.05"), Fraction("2.2")


def activity(step: str, source: str, amount: int, factor: Fraction, scope: str = "2", unit: str = "kWh") -> Activity:
    emission = factor * amount * EMISSION_SCALE
    assert emission.denominator == 1
    return Activity(step, source, unit, amount * MICRO, {scope: int(emission)})


def test_rooftop_pv_is_a_mix_effect() -> None:
    before = Side((activity("dyeing", "grid", 1000, GRID),))
    after = Side((activity("dyeing", "grid", 700, GRID), activity("dyeing", "pv", 300, PV, "3")))
    found = compare(before, after)
    assert found.by_cause() == {"activity": 0, "mix": found.difference, "factor": 0}
    assert found.by("source") == {"grid": -150, "pv": 15}
    assert found.by("scope") == {"2": -150, "3": 15}


def test_heat_recovery_is_an_activity_effect_of_its_step() -> None:
    before = Side((activity("dyeing", "gas", 100, GAS, "1", "Nm3"), activity("drying", "gas", 50, GAS, "1", "Nm3")))
    after = Side((activity("dyeing", "gas", 60, GAS, "1", "Nm3"), activity("drying", "gas", 50, GAS, "1", "Nm3")))
    found = compare(before, after)
    assert found.by_cause() == {"activity": -88, "mix": 0, "factor": 0}
    assert found.by("step") == {"drying": 0, "dyeing": -88}


def test_a_new_machine_that_changes_carrier_shows_in_both_sources() -> None:
    """A gas stenter becomes an electric one: less gas, more electricity; no mix, because they are counted apart."""
    before = Side((activity("stentering", "gas", 100, GAS, "1", "Nm3"), activity("stentering", "grid", 50, GRID)))
    after = Side((activity("stentering", "grid", 400, GRID),))
    found = compare(before, after)
    assert found.by("source") == {"gas": -220, "grid": 175}
    assert found.by_cause() == {"activity": -45, "mix": 0, "factor": 0}


def test_a_new_factor_is_a_factor_effect() -> None:
    found = compare(
        Side((activity("dyeing", "grid", 100, GRID),)), Side((activity("dyeing", "grid", 100, Fraction("0.4")),))
    )
    assert found.by_cause() == {"activity": 0, "mix": 0, "factor": -10}


def test_everything_at_once_adds_up_per_declared_unit() -> None:
    before = Side(
        (activity("dyeing", "grid", 1000, GRID), activity("dyeing", "gas", 100, GAS, "1", "Nm3")), 500 * MICRO
    )
    after = Side(
        (activity("dyeing", "grid", 600, Fraction("0.45")), activity("dyeing", "pv", 300, PV, "3"),
         activity("dyeing", "gas", 90, GAS, "1", "Nm3")),
        600 * MICRO,
    )  # fmt: skip
    found = compare(before, after)
    assert (found.before, found.after) == (Fraction(720, 500), Fraction(270 + 15 + 198, 600))
    assert sum(effect.total for effect in found.effects) == found.difference
    assert sum(found.by_cause().values()) == found.difference


def test_one_per_unit_and_one_not_is_refused() -> None:
    with pytest.raises(ValueError, match="the other is not"):
        compare(Side((), MICRO), Side(()))
    with pytest.raises(ValueError, match="above zero"):
        Side((), 0)


def test_a_factor_with_parts_in_two_scopes_has_effects_in_both() -> None:
    both = Activity("dyeing", "grid", "kWh", 10 * MICRO, {"2": 5 * EMISSION_SCALE, "3": EMISSION_SCALE})
    half = Activity("dyeing", "grid", "kWh", 5 * MICRO, {"2": 5 * EMISSION_SCALE // 2, "3": EMISSION_SCALE // 2})
    found = compare(Side((both,)), Side((half,)))
    assert found.by("scope") == {"2": Fraction(-5, 2), "3": Fraction(-1, 2)}
    assert found.by_cause()["activity"] == -3


def test_json_texts_add_up() -> None:
    before = Side(
        (activity("a", "grid", 1, GRID), activity("b", "grid", 1, GRID), activity("c", "pv", 2, PV)), 3 * MICRO
    )
    after = Side((activity("a", "grid", 2, GRID), activity("a", "pv", 1, PV)), 7 * MICRO)
    body = compare(before, after).to_json()
    causes = ("activity_kg_co2e", "mix_kg_co2e", "factor_kg_co2e")
    total = sum(Fraction(effect[cause]) for effect in body["effects"] for cause in causes)
    assert total == Fraction(body["difference_kg_co2e"])
    assert body["before_kg_co2e"] == "0.366666667"
