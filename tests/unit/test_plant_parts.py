"""What a plant file may get wrong about converters, recovered heat and stores, each told with its place."""

from typing import Any

import pytest

from plantprint.plant.check import check_plant
from plantprint.plant.model import Plant


def named(name: str, **more: Any) -> dict[str, Any]:
    return {"id": name, "name": {"en": name}, **more}


def meter(name: str, unit: str = "kWh") -> dict[str, Any]:
    return named(name, unit=unit, bindings=[{"channel": f"gw/{name}"}])


def flow(giver: str, taker: str, amount: str, **more: Any) -> dict[str, Any]:
    return {"from": giver, "to": taker, "amount": amount, **more}


POWER = {"id": "power", "unit": "kWh", "reference_efficiency": "0.35"}
HEAT = {"id": "heat", "unit": "kg", "reference_efficiency": "0.8", "kwh_per_unit": "0.75", "supply_c": 165}
CHP = named("chp", unit="kWh", kind="chp", method="efficiency", products=[POWER, HEAT])
BUS = named("bus", unit="kWh")
HEADER = named("header", unit="kg")
BATTERY = named("battery", unit="kWh", level="m-level", capacity=500)
METERS = [meter("m-gas", "Nm3"), *map(meter, ("m-p", "m-in", "m-out", "m-1", "m-level")), meter("m-h", "kg")]
FLOWS = [
    flow("gas", "chp", "m-gas"),
    flow("chp", "bus", "m-p", product="power"),
    flow("chp", "header", "m-h", product="heat"),
    flow("bus", "battery", "m-in"),
    flow("battery", "bus", "m-out"),
    flow("bus", "u", "m-1"),
    flow("bus", "unmetered", "rest"),
    flow("header", "u", "rest"),
]


def found(**changes: Any) -> list[tuple[str, str, str]]:
    """Issues of a sound plant (gas, CHP, bus with battery, header, one work unit) with top-level parts replaced."""
    sound: dict[str, Any] = {
        "plantprint": 1,
        "site": named("site"),
        "work_centers": [named("line", work_units=[named("u")])],
        "sources": [named("gas", unit="Nm3", kind="fuel", factor="f", scope=1)],
        "meters": METERS,
        "pools": [CHP, BUS, HEADER],
        "stores": [BATTERY],
        "flows": FLOWS,
    }
    issues = check_plant(Plant.model_validate({**sound, **changes}))
    return [(issue.severity, issue.path, issue.message) for issue in issues]


def chp(**fields: Any) -> dict[str, Any]:
    return {"pools": [{**CHP, **fields}, BUS, HEADER]}


def flows(number: int, **fields: Any) -> dict[str, Any]:
    return {"flows": [*FLOWS[:number], {**FLOWS[number], **fields}, *FLOWS[number + 1 :]]}


def battery(**fields: Any) -> dict[str, Any]:
    return {"stores": [{**BATTERY, **fields}]}


def test_the_sound_plant_is_sound() -> None:
    assert found() == []


ERRORS: dict[str, tuple[dict[str, Any], str, str]] = {
    "no method": (chp(method=None), "pools.0", "no method that divides its inputs"),
    "one product": (chp(products=[POWER]), "pools.0.products", "fewer than two products"),
    "product twice": (chp(products=[POWER, HEAT, POWER]), "pools.0.products", "a product twice"),
    "no reference": (
        chp(products=[POWER, {"id": "heat", "unit": "kg", "kwh_per_unit": "0.75"}]),
        "pools.0.products",
        "product 'heat' has no reference_efficiency",
    ),
    "no energy": (
        chp(products=[POWER, {"id": "heat", "unit": "kg", "reference_efficiency": "0.8"}]),
        "pools.0.products",
        "counted in kg, which has no energy of its own",
    ),
    "unit of a product": (
        chp(products=[POWER, {**HEAT, "unit": "kgg"}]),
        "pools.0.products.1.unit",
        "not a known unit",
    ),
    "products of a boiler": (chp(kind="boiler"), "pools.0.products", "a boiler has one product"),
    "products of a bus": (chp(kind="conserving"), "pools.0.products", "passes on what it gets"),
    "method of one": (chp(kind="converting", products=[POWER]), "pools.0", "a method but not several products"),
    "product not named": (flows(1, product=None), "flows.1.product", "has the products power, heat"),
    "product unknown": (flows(1, product="cold"), "flows.1.product", "names none of them"),
    "product of a bus": (flows(5, product="power"), "flows.5.product", "'bus' has no product 'power'"),
    "unit of the flow": (flows(2, product="power"), "flows.2.amount", "counts kg, but 'chp' gives kWh"),
    "recovery of a bus": (flows(5, recovery="cut-off"), "flows.5.recovery", "'bus' is none"),
    "two methods": (flows(2, recovery="exergy"), "pools.0", "divided by efficiency and exergy at once"),
    "recovered rest": (flows(2, recovery="cut-off", amount="rest"), "flows.2.amount", "is no rest of it"),
    "rest of a CHP": (flows(2, amount="rest"), "flows.2.amount", "its output is not its input"),
    "energy left unknown": (
        {
            "pools": [{**CHP, "kind": "converting", "method": None}, BUS, HEADER],
            **flows(1, recovery="energy"),
            "flows": [
                FLOWS[0],
                {**FLOWS[1], "recovery": "energy"},
                {**FLOWS[2], "amount": "rest"},
                *FLOWS[3:],
            ],
        },
        "flows.2.amount",
        "but that of gas is unknown",
    ),
    "store without inflow": ({"flows": [*FLOWS[:3], *FLOWS[4:]]}, "stores.0", "nothing flows into store 'battery'"),
    "store without outflow": (
        {"flows": [*FLOWS[:4], *FLOWS[5:]]},
        "stores.0",
        "nothing that store 'battery' holds can ever flow out: no flow starts there",
    ),
    "rest of a store": (flows(4, amount="rest"), "flows.4.amount", "what store 'battery' does not give out it keeps"),
    "unit of a store": (battery(unit="kg", level=None), "flows.3.to", "store 'battery' keeps kg, but 'bus' gives kWh"),
    "level unknown": (battery(level="m-x"), "stores.0.level", "no meter 'm-x'"),
    "level in another unit": (battery(level="m-h"), "stores.0.level", "meter 'm-h' tells kg, not kWh"),
    "level is a flow": (battery(level="m-in"), "stores.0.level", "so it is no flow"),
    "level of two": (
        {
            "stores": [BATTERY, {**BATTERY, "id": "b2"}],
            "flows": [*FLOWS, flow("bus", "b2", "m-in"), flow("b2", "u", "m-out")],
        },
        "stores.1.level",
        "the level of two stores",
    ),
    "empty point without offset": (
        battery(level=None, empty_point="05:00"),
        "stores.0.empty_point",
        "the time has no offset",
    ),
    "store named like a pool": (battery(id="bus"), "stores.0.id", "first at pools.1.id"),
    "disposition of a store": (
        {"flows": [*FLOWS, flow("battery", "losses", "m-1", disposition="consumers")]},
        "flows.8.disposition",
        "stays on its account",
    ),
}


@pytest.mark.parametrize("name", ERRORS)
def test_error_names_its_place(name: str) -> None:
    changes, path, message = ERRORS[name]
    errors = [(where, what) for severity, where, what in found(**changes) if severity == "error"]
    assert any(where == path and message in what for where, what in errors), errors


WARNINGS: dict[str, tuple[dict[str, Any], str, str]] = {
    "losses unknown": (battery(level=None, capacity=None), "stores.0", "losses of store 'battery' cannot be known"),
    "level and empty point": (battery(empty_point="05:00+08:00"), "stores.0.empty_point", "says when it is empty"),
    "cold heat": (
        chp(method="exergy", products=[POWER, {**HEAT, "supply_c": 20}]),
        "pools.0.products",
        "no warmer than its surroundings",
    ),
    "unit of a compressor": (
        {"pools": [CHP, BUS, {**HEADER, "kind": "compressor"}]},
        "pools.2.unit",
        "a compressor gives m3, Nm3, not kg",
    ),
}


@pytest.mark.parametrize("name", WARNINGS)
def test_warning_names_its_place(name: str) -> None:
    changes, path, message = WARNINGS[name]
    issues = found(**changes)
    assert [severity for severity, _, _ in issues if severity == "error"] == []
    assert any(where == path and message in what for _, where, what in issues), issues


def test_a_circle_that_never_flows_out_is_told_with_its_pools() -> None:
    loop = [named("loop", unit="kg"), named("return", unit="kg")]
    around = [flow("header", "loop", "m-h"), flow("loop", "return", "m-h"), flow("return", "loop", "m-h")]
    messages = [what for _, where, what in found(pools=[CHP, BUS, HEADER, *loop], flows=[*FLOWS, *around])]
    assert (
        "nothing that pool 'loop' holds can ever flow out: it goes round between it and 'return' "
        "(it only flows in a circle)"
    ) in messages
