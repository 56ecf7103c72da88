"""Combustion, CHP, refrigerants, processes and transport: published numbers, and inputs that cannot be."""

from decimal import Decimal
from fractions import Fraction

import pytest

from plantprint import chp, combustion, processes, refrigerants, transport
from plantprint.quantities import UnitError, conversion, divide

D = Decimal


def test_gas_by_carbon_content_is_the_published_factor() -> None:
    tonnes = combustion.co2_by_carbon(D("1.2"), D("389.31"), D("0.0153"), D("0.99"))
    assert float(tonnes) == pytest.approx(25.946, abs=5e-4)


def test_wood_burns_to_biogenic_carbon_and_biogenic_methane() -> None:
    gases = combustion.gases_by_energy(1000, D("15.6"), combustion.EnergyFactors(112_000, 30, 4, biogenic=True))
    assert gases == {"co2_biogenic": Fraction("1747.2"), "ch4_biogenic": Fraction("0.468"), "n2o": Fraction("0.0624")}


@pytest.mark.parametrize("share", [D("1.01"), D("-0.1")])
def test_shares_are_shares(share: Decimal) -> None:
    with pytest.raises(ValueError, match="within 0 and 1"):
        combustion.co2_by_carbon(1, 1, 1, share)
    with pytest.raises(ValueError, match="efficiency"):
        combustion.boiler_emission(1, share, 1)
    with pytest.raises(ValueError, match="calcined"):
        processes.carbonate_co2("caco3", 1, share)


def test_coal_equivalent_of_nothing_is_refused() -> None:
    assert float(combustion.from_coal_equivalent(165)) == pytest.approx(1342.55, abs=0.01)
    with pytest.raises(ValueError, match="coal equivalent"):
        combustion.from_coal_equivalent(1, 0)


def test_three_defensible_answers_for_one_chp_plant() -> None:
    """100 GJ of gas (5 610 kg CO2) become 50 GJ of heat and 30 GJ of power."""
    power, heat = 30, 50
    efficiency = chp.shares(chp.efficiency_weights([power, heat], [D("0.35"), D("0.80")]))
    energy = chp.shares(chp.energy_weights([power, heat]))
    exergy = chp.shares(chp.exergy_weights([power, heat], [1, chp.carnot_factor(165, 25)]))
    assert 5610 * float(efficiency[1]) == pytest.approx(2365.7, abs=0.05)
    assert 5610 * float(efficiency[0]) / (power / 0.0036) == pytest.approx(0.3893, abs=5e-5)
    assert energy[1] == Fraction(5, 8)
    assert float(exergy[1]) == pytest.approx(0.347, abs=5e-4)


def test_chp_weights_are_integers_that_a_pool_can_divide_by() -> None:
    weights = chp.efficiency_weights([30, 50, 0], [D("0.35"), D("0.8"), D("0.9")])
    assert weights == [48, 35, 0]
    assert sum(divide(5_610_000_000, weights)) == 5_610_000_000
    assert chp.energy_weights([0, 0]) == [0, 0]


@pytest.mark.parametrize(
    "wrong",
    [
        lambda: chp.energy_weights([-1, 2]),
        lambda: chp.efficiency_weights([1], [0]),
        lambda: chp.exergy_weights([1], [2]),
        lambda: chp.shares([0, 0]),
        lambda: chp.carnot_factor(-300, 20),
    ],
)
def test_products_that_cannot_be_are_refused(wrong: object) -> None:
    assert callable(wrong)
    with pytest.raises(ValueError):
        wrong()


def test_heat_at_the_temperature_of_its_surroundings_can_do_no_work() -> None:
    assert chp.carnot_factor(20, 25) == 0


def test_screening_of_a_kind_of_equipment() -> None:
    lost = refrigerants.screening(100, 1, D("0.5"), refrigerants.SCREENING["domestic_refrigeration"])
    assert lost == Fraction("1.125")
    assert refrigerants.loss_co2e("hfc32", lost, "AR4") == Fraction("759.375")
    assert refrigerants.loss_co2e("r-410a", D("3.2"), "AR5") == Fraction("6155.2")


def test_carbonates_are_as_the_guidelines_list_them() -> None:
    listed = {
        "caco3": 0.43971,
        "mgco3": 0.52197,
        "dolomite": 0.47732,
        "feco3": 0.37987,
        "mnco3": 0.38286,
        "na2co3": 0.41492,
    }
    for carbonate, value in listed.items():
        assert float(processes.carbonate_co2(carbonate, 1)) == pytest.approx(value, abs=1.1e-5)
    with pytest.raises(ValueError, match="none of the carbonates"):
        processes.carbonate_co2("chalk", 1)
    with pytest.raises(ValueError, match="molar mass"):
        processes.co2_per_carbonate(0)


def test_clinker_with_dust_and_glass_with_cullet() -> None:
    assert float(processes.clinker_co2(1, D("0.65"), processes.KILN_DUST_CORRECTION)) == pytest.approx(0.52, abs=5e-4)
    assert processes.glass_co2(1, D("0.2"), D("0.5")) == Fraction("0.1")


def test_waste_water_by_how_it_is_treated() -> None:
    over = processes.METHANE_CORRECTION["aerobic_overloaded"]
    good = processes.METHANE_CORRECTION["aerobic_well_managed"]
    assert processes.wastewater_ch4(processes.WasteWater(100_000, D("1.2"), D("0.2"), over)) == 7500
    assert processes.wastewater_ch4(processes.WasteWater(100_000, D("1.2"), D("0.2"), good)) == 0
    with pytest.raises(ValueError, match="recovered"):
        processes.wastewater_ch4(processes.WasteWater(1, 1, 0, over, recovered_ch4_kg=5))
    with pytest.raises(ValueError, match="sludge"):
        processes.wastewater_ch4(processes.WasteWater(1, 1, 2, over))


def test_a_leg_in_tonne_kilometres() -> None:
    truck = transport.Leg(12, "t", 150, "km", "cpcd.truck_heavy_diesel")
    assert transport.tonne_km(truck) == 1800
    assert conversion("short_ton_mile", "t.km") == transport.tonne_km(transport.Leg(1, "short_ton", 1, "mile", "x"))
    with pytest.raises(UnitError, match="'kWh'"):
        transport.tonne_km(transport.Leg(1, "kWh", 1, "km", "x"))
    with pytest.raises(ValueError, match="negative"):
        transport.tonne_km(transport.Leg(-1, "t", 1, "km", "x"))


def test_american_units_are_exact() -> None:
    assert conversion("mmBtu", "GJ") == Fraction("1.05505585262")
    assert conversion("therm", "mmBtu") == Fraction(1, 10)
    assert conversion("short_ton", "kg") == Fraction("907.18474")
    assert float(conversion("scf", "Nm3")) == pytest.approx(0.02679, abs=1e-5)
