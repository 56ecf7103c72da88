"""Converters with several products: three methods on published numbers, heat recovery, believable efficiencies."""

from collections.abc import Mapping, Sequence
from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest
from accounting_cases import HOUR, HOUR_MS, NO_PRODUCTION, make_graph, meter_hours

from plantprint.account import EMPTY_CARRY, account_meters
from plantprint.converters import Choice
from plantprint.facts import Issue, Quality
from plantprint.plant.graph import PlantGraph


def chp_plant(method: str, power: Mapping[str, Any], heat: Mapping[str, Any], **fields: Any) -> PlantGraph:
    """Gas makes electricity for bus and machine `e`, and heat for header and machine `h`."""
    return make_graph(
        [
            ("gas", "chp", "m-gas"),
            ("chp", "bus", "m-power"),
            ("chp", "header", "m-heat"),
            ("bus", "e", "m-e"),
            ("header", "h", "m-h"),
        ],
        pools={"chp": "chp", "bus": "conserving", "header": "conserving"},
        sources={"gas": "fuel"},
        units={"gas": "Nm3", "header": str(heat.get("unit", "kWh")), "chp.heat": str(heat.get("unit", "kWh"))},
        work_units=["e", "h"],
        more={
            "chp": {
                "method": method,
                "products": [{"id": "power", "unit": "kWh", **power}, {"id": "heat", "unit": "kWh", **heat}],
                **fields,
            },
            ("chp", "bus"): {"product": "power"},
            ("chp", "header"): {"product": "heat"},
        },
    )


def ends(graph: PlantGraph, **amounts: Sequence[int] | int) -> dict[str, int]:
    """What every account got in an hour with these amounts of meters (spread over its first bucket)."""
    meters = {f"m-{name}": [amount, 0, 0, 0] if isinstance(amount, int) else amount for name, amount in amounts.items()}
    result = account_meters(graph, NO_PRODUCTION, HOUR, meter_hours(graph, meters), (), EMPTY_CARRY, HOUR + HOUR_MS)
    found: dict[str, int] = {}
    for key, amount in result.net.items():
        name = f"{key.account_id} {key.source}"
        found[name] = found.get(name, 0) + amount
    return found


# Of 200 kg CO2: own efficiencies 0.3 (electricity) and 0.5 (heat), references as named. check_cases.csv, CHP-1 to CHP-4:
# the product, its share and the relative tolerance that belongs to the published figure.
GOLDEN = {
    "CHP-1": ("efficiency", "0.3", "0.5", (1, 1), "e", "125", "1e-9"),
    "CHP-2": ("energy", "1", "1", (3, 5), "e", "75", "1e-9"),
    "CHP-3": ("efficiency", "0.525", "0.82", (3, 5), "e", "96.78", "0.001"),
    "CHP-4": ("efficiency", "0.35", "0.80", (3, 5), "h", "84.337", "0.0001"),
}


@pytest.mark.parametrize("case", GOLDEN)
def test_shares_are_the_published_ones(case: str) -> None:
    method, power, heat, (made_power, made_heat), product, expected, tolerance = GOLDEN[case]
    graph = chp_plant(method, {"reference_efficiency": power}, {"reference_efficiency": heat})
    power_kwh, heat_kwh = made_power * 10**6, made_heat * 10**6
    found = ends(graph, gas=200 * 10**6, power=power_kwh, heat=heat_kwh, e=power_kwh, h=heat_kwh)
    assert found["e gas"] + found["h gas"] == 200 * 10**6
    share = Fraction(found[f"{product} gas"], 10**6)
    assert abs(share - Fraction(expected)) <= Fraction(expected) * Fraction(tolerance)


def test_exergy_counts_heat_by_the_work_in_it() -> None:
    # shared/reference/factors.md 4.5: 50 GJ of heat at 165 °C and 30 GJ of electricity: 34.7 % to heat.
    graph = chp_plant("exergy", {}, {"supply_c": 165}, ambient_c=25)
    found = ends(graph, gas=100_000_000, power=30_000_000, heat=50_000_000, e=1, h=1)
    assert round(found["h gas"] / 10**6, 1) == 34.7
    (choice,) = graph.choices
    assert choice == Choice("chp", "exergy", (("power", 8763), ("heat", 2800)))


def test_products_may_be_counted_in_units_of_their_own() -> None:
    graph = chp_plant("energy", {}, {"unit": "kg", "kwh_per_unit": "0.75"})
    # 30 kWh of electricity and 40 kg of steam of 0.75 kWh: half and half.
    assert ends(graph, gas=101, power=30, heat=40, e=30, h=40) == {"e gas": 50, "h gas": 51}


def test_weights_beyond_64_bits_are_exact_all_the_same() -> None:
    graph = chp_plant("energy", {"kwh_per_unit": "1.000000000001"}, {"kwh_per_unit": "0.999999999999"})
    large = 2**50
    found = ends(graph, gas=large, power=large, heat=large, e=1, h=1)
    exact = Fraction(large) * Fraction("1.000000000001") / 2
    assert found == {"e gas": round(exact), "h gas": large - round(exact)}


def test_a_chp_on_its_own_bus_is_solved_with_the_weights_of_its_products() -> None:
    graph = make_graph(
        [
            ("gas", "chp", "m-gas"),
            ("bus", "chp", "m-aux"),
            ("chp", "bus", "m-power"),
            ("chp", "header", "m-heat"),
            ("bus", "e", "m-e"),
            ("header", "h", "m-h"),
        ],
        pools={"chp": "chp", "bus": "conserving", "header": "conserving"},
        sources={"gas": "fuel"},
        work_units=["e", "h"],
        more={
            "chp": {
                "method": "efficiency",
                "products": [
                    {"id": "power", "unit": "kWh", "reference_efficiency": "0.4"},
                    {"id": "heat", "unit": "kWh", "reference_efficiency": "0.8"},
                ],
            },
            ("chp", "bus"): {"product": "power"},
            ("chp", "header"): {"product": "heat"},
        },
    )
    # Electricity weighs 2: half of what passes the CHP goes to the bus, a fifth of that comes back. chp = 90 + chp / 10.
    assert ends(graph, gas=90, aux=8, power=40, heat=80, e=32, h=80) == {"e gas": 40, "h gas": 50}


def recovery_plant(recovery: str, amount: str = "rest") -> PlantGraph:
    """A machine whose steam (0.75 kWh per kg) also warms water; a pump moves the water to another machine."""
    return make_graph(
        [
            ("steam", "dye-heat", "m-steam"),
            ("dye-heat", "dye", amount),
            ("dye-heat", "warm", "m-warm"),
            ("grid", "warm", "m-pump"),
            ("warm", "wash", "m-wash"),
        ],
        pools={"dye-heat": "converting", "warm": "converting"},
        sources={"steam": "purchased", "grid": "grid"},
        units={"steam": "kg"},
        work_units=["dye", "wash"],
        more={
            "steam": {"kwh_per_unit": "0.75"},
            "dye-heat": {
                "products": [
                    {"id": "use", "unit": "kWh", "supply_c": 165},
                    {"id": "warm", "unit": "kWh", "supply_c": 60},
                ]
            },
            ("dye-heat", "dye"): {"product": "use"},
            ("dye-heat", "warm"): {"product": "warm", "recovery": recovery},
        },
    )


def test_recovered_heat_carries_what_its_recovery_uses_and_no_more() -> None:
    graph = recovery_plant("cut-off")
    found = ends(graph, steam=1000, warm=150, pump=7, wash=150)
    assert found == {"dye steam": 1000, "wash grid": 7}
    assert graph.choices == (Choice("dye-heat", "cut-off", (("warm", 0),)),)


def test_recovered_heat_may_carry_a_share_by_energy() -> None:
    graph = recovery_plant("energy")
    # 1000 kg are 750 kWh, 150 of them recovered: a fifth.
    assert ends(graph, steam=1000, warm=150, pump=7, wash=150) == {"dye steam": 800, "wash steam": 200, "wash grid": 7}
    assert graph.choices == (Choice("dye-heat", "energy", (("use", 1), ("warm", 1))),)


def test_recovered_heat_may_carry_a_share_by_exergy() -> None:
    graph = recovery_plant("exergy")
    use, warm = 600 * (1 - Fraction("298.15") / Fraction("438.15")), 150 * (1 - Fraction("298.15") / Fraction("333.15"))
    found = ends(graph, steam=1000, warm=150, pump=7, wash=150)
    assert found["wash steam"] == round(1000 * warm / (use + warm))


def test_recovery_alone_does_not_empty_a_pool_by_cut_off() -> None:
    graph = recovery_plant("cut-off", "m-use")
    assert ends(graph, steam=1000, warm=150, use=0, pump=7, wash=150) == {"dye-heat steam": 1000, "wash grid": 7}


def issues_of(graph: PlantGraph, quality: Mapping[str, Sequence[int]] | None = None, **amounts: int) -> list[Issue]:
    meters = meter_hours(graph, {f"m-{name}": [amount, 0, 0, 0] for name, amount in amounts.items()}, quality)
    result = account_meters(graph, NO_PRODUCTION, HOUR, meters, (), EMPTY_CARRY, HOUR + HOUR_MS)
    return [issue for issue in result.issues if issue.code == "efficiency-implausible"]


def boiler(**fields: Any) -> PlantGraph:
    return make_graph(
        [("gas", "boiler", "m-gas"), ("boiler", "u", "m-steam")],
        pools={"boiler": "boiler"},
        sources={"gas": "fuel"},
        units={"gas": "Nm3", "boiler": "kg"},
        work_units=["u"],
        more={"gas": {"kwh_per_unit": "10"}, "boiler": {"kwh_per_unit": "0.75", **fields}},
    )


def test_an_efficiency_nobody_believes_is_told() -> None:
    assert issues_of(boiler(), gas=1_000_000, steam=12_000_000) == []
    (issue,) = issues_of(boiler(), gas=1_000_000, steam=16_000_000)
    assert (issue.place, issue.message) == (
        "boiler",
        "it made 1.2 times the energy, more than the 1.1 that is believed",
    )
    assert issues_of(boiler(efficiency_max=Decimal("1.3")), gas=1_000_000, steam=16_000_000) == []
    assert "out of nothing" in issues_of(boiler(), gas=0, steam=16_000_000)[0].message
    gap = Quality.MISSING
    assert issues_of(boiler(), {"m-gas": [3, 3, 3, gap]}, gas=0, steam=16_000_000) == []
