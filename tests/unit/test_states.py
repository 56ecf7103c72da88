"""States that nobody reported: from power, or from a job; always marked as inferred."""

from typing import Any

from accounting_cases import HOUR, HOUR_MS, account_amounts, job, make_graph, meter_hours, production, state

from plantprint.plant.graph import PlantGraph
from plantprint.production import StateSpan
from plantprint.states import inferred_states

QUARTER = HOUR_MS // 4
RULE = {"meter": "m1", "processing_kw": 8, "idle_kw": 2, "mean_over_s": 900}


def plant(**more: Any) -> PlantGraph:
    return make_graph([("grid", "u1", "m1")], work_units=["u1"], more={"u1": {"infer_state": {**RULE, **more}}})


def kw(*quarters: float) -> list[int]:
    """Millionths of a kWh in each quarter at so many kW."""
    return [round(power * 250_000) for power in quarters]


def inferred(name: str, first: int, behind: int) -> StateSpan:
    return StateSpan("u1", name, HOUR + first * QUARTER, HOUR + behind * QUARTER, inferred=True)


def test_thresholds_belong_to_the_state_above_them() -> None:
    graph = plant()
    hours = meter_hours(graph, {"m1": kw(8, 7.999996, 2, 1.999996)})
    assert inferred_states(graph, hours, HOUR) == {
        "u1": (inferred("processing", 0, 1), inferred("idle", 1, 3), inferred("off", 3, 4))
    }


def test_power_is_a_mean_and_nothing_is_inferred_where_the_meter_is_missing() -> None:
    graph = plant(mean_over_s=1800)
    hours = meter_hours(graph, {"m1": kw(16, 0, 9, 9)}, {"m1": [3, 3, 0, 3]})
    assert inferred_states(graph, hours, HOUR) == {"u1": (inferred("processing", 0, 2),)}


def test_inferred_states_decide_who_pays_and_are_told() -> None:
    made = production(job("a", "u1", 0, 45))
    (account,) = account_amounts(plant(), made, {"m1": [kw(10, 4, 10, 10)]})
    assert {(key.account_kind, key.account_id): amount for key, amount in account.net.items()} == {
        ("batch", "b-a"): 5_000_000,
        ("idle", "u1"): 1_000_000,
        ("unassigned", "u1"): 2_500_000,
    }
    assert account.inferred == (
        inferred("processing", 0, 1), inferred("idle", 1, 2), inferred("processing", 2, 4),
    )  # fmt: skip


def test_a_reported_state_counts_before_power() -> None:
    made = production(job("a", "u1", 0, 60), state("u1", "processing", 15, 30), state("u1", "fault", 30, 45))
    (account,) = account_amounts(plant(), made, {"m1": [kw(1, 1, 10, 10)]})
    assert {(key.account_kind, key.account_id): amount for key, amount in account.net.items()} == {
        ("idle", "u1"): 250_000 + 2_500_000,
        ("batch", "b-a"): 250_000 + 2_500_000,
    }
    assert account.inferred == (inferred("off", 0, 1), inferred("processing", 3, 4))


def test_a_job_without_any_state_means_processing_and_says_that_this_is_inferred() -> None:
    graph = make_graph([("grid", "u1", "m1")], work_units=["u1"])
    (account,) = account_amounts(graph, production(job("a", "u1", 15, 30)), {"m1": [kw(1, 1, 1, 1)]})
    assert account.inferred == (inferred("processing", 1, 2),)
