"""What a meter's error moves in a batch: as accounting again with the meter scaled says, and what the product says of it."""

from collections.abc import Mapping
from dataclasses import replace
from fractions import Fraction

import pytest
from accounting_cases import HOUR, HOUR_MS, job, make_graph, meter_hours, production
from product_cases import ENDS, EVENTS, MILL, NETS, posting, product, reach_of, valuing

from plantprint.account import EMPTY_CARRY, account_meters
from plantprint.ledger import Net
from plantprint.meter_slopes import meter_slopes
from plantprint.plant.model import Plant
from plantprint.product import product_footprint
from plantprint.product_lines import background
from plantprint.uncertainty import meter_sensitivities

GRAPH = make_graph(
    [
        ("grid", "bus", "main"), ("pv", "bus", "pv"), ("gas", "steam", "gas"), ("bus", "steam", "fan"),
        ("bus", "a", "m-a"), ("bus", "b", "m-b"), ("bus", "unmetered", "rest"), ("steam", "a", "s-a"),
        ("steam", "b", "s-b"),
    ],
    pools={"bus": "conserving", "steam": "converting"},
    sources={"grid": "grid", "pv": "on_site", "gas": "fuel"},
    units={"gas": "Nm3", "steam": "kg"},
    work_units=["a", "b"],
    bucket_s=3600,
)  # fmt: skip
COUNTED = {"main": 900, "pv": 300, "gas": 80, "fan": 40, "m-a": 500, "m-b": 450, "s-a": 700, "s-b": 400}
FACTORS = {"grid": 0.4974, "pv": 0.052, "gas": 2.1622}
MADE = production(job("1", "a", -10, 20), job("2", "a", 20, 90))


def kg(net: Net) -> dict[tuple[str, str], float]:
    found: dict[tuple[str, str], float] = {}
    for key, amount in net.items():
        if key.account_id == "b-1":
            place = (key.work_unit, key.source)
            found[place] = found.get(place, 0.0) + amount / 1e6 * FACTORS[key.source]
    return found


def accounted(scales: Mapping[str, Fraction]) -> dict[tuple[str, str], float]:
    amounts = {meter: [round(count * 1_000_000 * scales.get(meter, Fraction(1)))] for meter, count in COUNTED.items()}
    result = account_meters(GRAPH, MADE, HOUR, meter_hours(GRAPH, amounts), (), EMPTY_CARRY, HOUR + HOUR_MS)
    return kg(result.net)


def test_slopes_are_those_of_accounting_again() -> None:
    truth = meter_sensitivities(lambda s: {source: v for (_, source), v in accounted(s).items()}, COUNTED)
    once = accounted({})
    assert once, "the batch got nothing, so this test would prove nothing"
    found = meter_slopes(GRAPH, [({name: float(count) for name, count in COUNTED.items()}, once)], COUNTED)
    for meter, by_source in truth.items():
        for source, slope in by_source.items():
            assert found.get(meter, {}).get(source, 0.0) == pytest.approx(slope, rel=0.005, abs=0.02), (meter, source)


def test_pools_that_feed_each_other_come_to_an_end() -> None:
    graph = make_graph(
        [("grid", "p", "in"), ("p", "q", "there"), ("q", "p", "back"), ("q", "a", "m")],
        pools={"p": "conserving", "q": "conserving"}, sources={"grid": "grid"}, work_units=["a"],
    )  # fmt: skip
    counted = {"in": 100.0, "there": 150.0, "back": 50.0, "m": 100.0}
    found = meter_slopes(graph, [(counted, {("a", "grid"): 10.0})], ["m", "in", "nobody"])
    # There is one way out, so all that comes in goes there, whatever the meter on it says.
    assert found["in"]["grid"] == pytest.approx(10, rel=1e-6)
    assert abs(found.get("m", {}).get("grid", 0.0)) < 1e-5


def test_a_meter_without_a_class_is_exact_and_one_with_widens_the_interval() -> None:
    how, rated = valuing(), {**MILL, "meters": [{**MILL["meters"][0], "accuracy_class": "2"}]}
    net = posting("B", "grid", "10")
    reach = replace(reach_of("B", (), {"B": net}), meter_hours={next(iter(net)).hour_ms: {"m": 40.0}})
    plain = product_footprint("B", reach, how, background(how, ENDS), ENDS)
    how = replace(how, plant=Plant.model_validate(rated))
    wider = product_footprint("B", reach, how, background(how, ENDS), ENDS)
    assert sum(plain.uncertainty.by_meter.values()) == 0
    relative = sum(wider.uncertainty.by_meter.values()) ** 0.5 / 4.974
    assert relative == pytest.approx(0.02 / 3**0.5, rel=1e-3)
    assert wider.uncertainty.deviation > plain.uncertainty.deviation


def test_without_metered_hours_only_factors_are_uncertain() -> None:
    found = product("B", EVENTS, NETS)
    assert found.uncertainty.by_meter == {}
    assert found.uncertainty.deviation > 0
