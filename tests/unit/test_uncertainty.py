"""Uncertainty: the published examples, the whole model against real re-accounting, and its Monte Carlo."""

from collections.abc import Mapping
from decimal import Decimal
from fractions import Fraction
from math import exp, log

import numpy as np
import pytest
from accounting_cases import HOUR, HOUR_MS, job, make_graph, meter_hours, production
from pydantic import ValidationError

from plantprint.account import EMPTY_CARRY, account_meters
from plantprint.plant.graph import compile_plant
from plantprint.plant.model import Meter, Plant
from plantprint.uncertainty import (
    combine_product,
    combine_sum,
    emissions_by_factor,
    footprint_uncertainty,
    interval95,
    meter_errors,
    meter_sensitivities,
    meters_behind,
    monte_carlo,
    monte_carlo_accounted,
    pedigree_gsd2,
    relative_of_gsd2,
    relative_of_interval95,
    relative_of_limit,
    sensitivity,
)


def test_golden_sum_of_parts_ipcc_equation_3_2() -> None:
    assert combine_sum([100, 50, 20], [0.05, 0.1, 0.3]) == pytest.approx(0.05455069703, rel=1e-9)


def test_golden_product_of_parts_ipcc_equation_3_1() -> None:
    assert combine_product([0.05, 0.07]) == pytest.approx(0.08602325267, rel=1e-9)


def test_golden_pedigree() -> None:
    assert pedigree_gsd2([1.05, 1.02, 1.03, 1.01, 1.2, 1.05]) == pytest.approx(1.219463679, rel=1e-9)


def test_golden_monte_carlo_of_factors_page_4_14() -> None:
    """1,000 kWh ± 2 % times a lognormal factor with median 0.4974: 409 to 605, median 497.5, mean 499.9."""
    relative = relative_of_gsd2(1.2195)
    mean = 497.4 * exp((log(1.2195) / 2) ** 2 / 2)
    draws = monte_carlo(
        np.random.default_rng(7), 400_000, {"grid": mean}, {"grid": relative}, {"m": {"grid": mean}},
        {"m": relative_of_interval95(0.02)},
    )  # fmt: skip
    low, median, high = np.quantile(draws, [0.025, 0.5, 0.975])
    assert (low, median, high) == pytest.approx((409, 497.5, 605), abs=1.5)
    assert draws.mean() == pytest.approx(499.9, abs=0.5)


@pytest.mark.parametrize("factors", [[0.9], [1.1, float("nan")], [float("inf")]])
def test_a_pedigree_factor_below_one_is_refused(factors: list[float]) -> None:
    with pytest.raises(ValueError, match="at least 1"):
        pedigree_gsd2(factors)


def test_a_sum_of_zero_has_no_relative_uncertainty() -> None:
    with pytest.raises(ValueError, match="add up to zero"):
        combine_sum([5, -5], [0.1, 0.1])


def test_a_negative_error_is_refused() -> None:
    with pytest.raises(ValueError, match="grid: a relative standard deviation is zero or more"):
        footprint_uncertainty({"grid": 1.0}, {"grid": -0.1}, {}, {})


def test_a_shared_factor_is_one_error_and_two_factors_are_two() -> None:
    shared = footprint_uncertainty({"f": 200.0}, {"f": 0.1}, {}, {})
    apart = footprint_uncertainty({"f": 100.0, "g": 100.0}, {"f": 0.1, "g": 0.1}, {}, {})
    assert shared.deviation == pytest.approx(20)
    assert apart.deviation == pytest.approx(20 / 2**0.5)


def test_a_meter_that_only_moves_amounts_between_factors_is_less_uncertain_than_its_parts() -> None:
    """More PV means less grid: the meter's two slopes have unlike signs and are one error."""
    found = footprint_uncertainty({"grid": 100.0, "pv": 10.0}, {}, {"pv": {"grid": -20.0, "pv": 10.0}}, {"pv": 0.1})
    assert found.deviation == pytest.approx(1.0)


def test_large_errors_of_factor_and_meter_multiply() -> None:
    """100 x 1.5 x 1.5: variance 0.5² + 0.5² + 0.5⁴; leaving the last out would be 6 % short in deviation."""
    slopes, relative = {"m": {"f": 100.0}}, 0.5
    found = footprint_uncertainty({"f": 100.0}, {"f": relative}, slopes, {"m": relative})
    draws = monte_carlo(np.random.default_rng(5), 400_000, {"f": 100.0}, {"f": relative}, slopes, {"m": relative})
    assert found.deviation == pytest.approx(100 * 0.5625**0.5)
    assert found.crossed == pytest.approx(625)
    assert draws.std() == pytest.approx(found.deviation, rel=0.02)


def test_the_interval_is_a_lognormal_of_the_same_moments() -> None:
    low, high = interval95(100, 30)
    draws = np.random.default_rng(3).lognormal(log(100) - log(1.09) / 2, log(1.09) ** 0.5, 200_000)
    assert (draws.mean(), draws.std()) == pytest.approx((100, 30), rel=0.01)
    assert (low, high) == pytest.approx(tuple(np.quantile(draws, [0.025, 0.975])), rel=0.01)
    assert interval95(-100, 30) == (-high, -low)
    assert interval95(5, 0) == (5, 5)
    assert interval95(0, 1) == pytest.approx((-1.96, 1.96), abs=0.001)


def test_an_accuracy_class_is_a_limit() -> None:
    draws = np.random.default_rng(1).uniform(-0.01, 0.01, 100_000)
    assert relative_of_limit(0.01) == pytest.approx(draws.std(), rel=0.01)


@pytest.mark.parametrize(
    ("given", "limit"), [("0.5S", 0.005), (1, 0.01), (Decimal("1.5"), 0.015), ("A", 0.02), ("B", 0.01), ("C", 0.005)]
)
def test_a_meters_class_of_the_model_is_its_error(given: object, limit: float) -> None:
    body = PLANT.plant.model_dump(mode="json", by_alias=True)
    body["meters"][0]["accuracy_class"] = given
    graph = compile_plant(Plant.model_validate(body))
    assert meter_errors(graph) == pytest.approx({PLANT.plant.meters[0].id: limit / 3**0.5})


@pytest.mark.parametrize("given", ["0", "D", "2%", "0.0", "-1", ""])
def test_a_class_that_nobody_knows_is_refused(given: str) -> None:
    body = PLANT.plant.meters[0].model_dump(mode="json")
    with pytest.raises(ValidationError):
        Meter.model_validate(body | {"accuracy_class": given})


# ---- a plant accounted again and again ---------------------------------------------------------------------------------

PLANT = make_graph(
    [
        ("grid", "bus", "main"),
        ("pv", "bus", "pv"),
        ("gas", "steam", "gas"),
        ("bus", "steam", "fan"),
        ("bus", "a", "m-a"),
        ("bus", "b", "m-b"),
        ("bus", "unmetered", "rest"),
        ("steam", "a", "s-a"),
        ("steam", "b", "s-b"),
    ],
    pools={"bus": "conserving", "steam": "converting"},
    sources={"grid": "grid", "pv": "on_site", "gas": "fuel"},
    units={"gas": "Nm3", "steam": "kg"},
    work_units=["a", "b"],
    bucket_s=3600,
)
KWH = {"main": 900, "pv": 300, "gas": 80, "fan": 40, "m-a": 500, "m-b": 450, "s-a": 700, "s-b": 400}
FACTORS = {"grid": ("grid@1", 0.4974), "pv": ("pv@1", 0.052), "gas": ("gas@1", 2.1622)}
FACTOR_ERRORS = {"grid@1": 0.10, "pv@1": 0.25, "gas@1": 0.03}
METER_ERRORS = {"main": 0.01, "pv": 0.02, "gas": 0.03, "m-a": 0.02, "m-b": 0.02, "s-a": 0.05, "s-b": 0.05, "fan": 0.02}
MADE = production(job("1", "a", -10, 90))


def account_again(scales: Mapping[str, Fraction]) -> dict[str, float]:
    """The batch's emissions by factor, with meters scaled."""
    amounts = {meter: [round(kwh * 1_000_000 * scales.get(meter, Fraction(1)))] for meter, kwh in KWH.items()}
    hours = meter_hours(PLANT, amounts)
    result = account_meters(PLANT, MADE, HOUR, hours, (), EMPTY_CARRY, HOUR + HOUR_MS)
    net = {key: amount for key, amount in result.net.items() if key.account_kind == "batch"}
    return emissions_by_factor(net, FACTORS)


def test_a_meter_s_sensitivity_is_what_accounting_again_says() -> None:
    slopes = meter_sensitivities(account_again, meters_behind(PLANT, ["a"]))
    once = account_again({})
    # Gas reaches the batch by its part of the steam, so all of its gas moves with the gas meter, and nothing else.
    assert slopes["gas"] == pytest.approx({"grid@1": 0, "gas@1": once["gas@1"], "pv@1": 0}, abs=1e-3)
    # A batch's own meter takes more of the bus; the steam's meters only divide the steam differently.
    assert sum(slopes["m-a"].values()) > 0
    assert slopes["s-a"]["gas@1"] == pytest.approx(once["gas@1"] * 400 / 1100, rel=0.01)
    assert slopes["s-b"]["gas@1"] == pytest.approx(-slopes["s-a"]["gas@1"], rel=0.01)


def test_only_the_meters_behind_a_footprint_can_move_it() -> None:
    apart = make_graph(
        [("grid", "bus", "main"), ("bus", "a", "m-a"), ("bus", "b", "m-b"), ("gas", "c", "m-c")],
        pools={"bus": "conserving"},
        sources={"grid": "grid", "gas": "fuel"},
        work_units=["a", "b", "c"],
    )
    assert meters_behind(apart, ["a"]) == {"main", "m-a", "m-b"}
    assert meters_behind(apart, ["c"]) == {"m-c"}
    assert meters_behind(PLANT, ["a"]) == set(KWH)


def test_precomputed_nets_give_the_same_slope_as_the_callable() -> None:
    step = Fraction(1, 50)
    slopes = meter_sensitivities(account_again, ["gas"], step)
    assert slopes["gas"] == sensitivity(account_again({"gas": 1 + step}), account_again({"gas": 1 - step}), step)


def test_monte_carlo_of_the_model_agrees_in_standard_deviation_within_two_percent() -> None:
    slopes = meter_sensitivities(account_again, METER_ERRORS)
    found = footprint_uncertainty(account_again({}), FACTOR_ERRORS, slopes, METER_ERRORS)
    draws = monte_carlo(
        np.random.default_rng(20261124), 200_000, account_again({}), FACTOR_ERRORS, slopes, METER_ERRORS
    )
    assert draws.std() == pytest.approx(found.deviation, rel=0.02)
    assert draws.mean() == pytest.approx(found.value, rel=0.005)
    assert (found.low, found.high) == pytest.approx(tuple(np.quantile(draws, [0.025, 0.975])), rel=0.02)
    assert found.relative == pytest.approx(found.deviation / found.value)


def test_monte_carlo_that_accounts_every_draw_again_agrees_within_two_percent() -> None:
    """No linearisation here: every draw scales all meters and runs the accounting itself."""
    slopes = meter_sensitivities(account_again, METER_ERRORS)
    found = footprint_uncertainty(account_again({}), FACTOR_ERRORS, slopes, METER_ERRORS)
    draws = monte_carlo_accounted(np.random.default_rng(11), 3_000, account_again, FACTOR_ERRORS, METER_ERRORS)
    assert draws.std() == pytest.approx(found.deviation, rel=0.02)
