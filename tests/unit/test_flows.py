"""Edges from meters: signed sums, balancing over the hour, rests, quality and missing time."""

from accounting_cases import HOUR, make_graph, meter_hours

from plantprint.facts import Quality
from plantprint.flows import believable, hour_flows
from plantprint.plant.graph import PlantGraph

E, R, M = Quality.ESTIMATED, Quality.RECOVERED, Quality.MEASURED
GAP = Quality.MISSING
TWO = {"grid": "grid", "gas": "fuel"}


def bus_with_rest() -> PlantGraph:
    return make_graph(
        [("grid", "bus", "main"), ("bus", "a", "m-a"), ("bus", "b", "m-b"), ("bus", "unmetered", "rest")],
        pools={"bus": "conserving"},
        work_units=["a", "b"],
    )


def test_a_flow_is_the_signed_sum_of_its_meters_per_bucket() -> None:
    graph = make_graph([("grid", "a", "m1 + m2 - m3")], work_units=["a"])
    hours = meter_hours(graph, {"m1": [10, 10, 10, 10], "m2": [1, 2, 3, 4], "m3": [5, 0, 5, 0]})
    flows = hour_flows(graph, hours, HOUR)
    assert flows.amount.tolist() == [[6, 12, 8, 14]]
    assert flows.issues == ()


def test_a_difference_below_zero_in_a_bucket_is_balanced_over_the_hour() -> None:
    graph = make_graph([("grid", "a", "m1 - m2")], work_units=["a"])
    flows = hour_flows(graph, meter_hours(graph, {"m1": [10, 10, 10, 10], "m2": [0, 20, 0, 0]}), HOUR)
    assert flows.amount.tolist() == [[7, 0, 6, 7]]
    assert flows.issues == ()


def test_a_difference_below_zero_over_the_hour_is_nothing_and_an_issue() -> None:
    graph = make_graph([("grid", "a", "m1 - m2")], work_units=["a"])
    flows = hour_flows(graph, meter_hours(graph, {"m1": [10, 0, 0, 0], "m2": [0, 0, 0, 30]}), HOUR)
    assert flows.amount.tolist() == [[0, 0, 0, 0]]
    (issue,) = flows.issues
    assert (issue.code, issue.place, issue.at_ms) == ("flow-negative", "grid to a", HOUR)
    assert "+ m1 - m2 came out as -0.00002" in issue.message


def test_a_rest_is_what_the_pool_has_left_over_the_hour() -> None:
    graph = bus_with_rest()
    hours = meter_hours(graph, {"main": [10, 10, 10, 10], "m-a": [4, 12, 4, 0], "m-b": [3, 0, 3, 10]})
    flows = hour_flows(graph, hours, HOUR)
    assert flows.amount[3].tolist() == [2, 0, 2, 0]  # 4 of 40 are left, in the buckets that had something left
    assert flows.issues == ()


def test_several_rests_share_by_weight() -> None:
    graph = make_graph(
        [("grid", "bus", "main"), ("bus", "a", "rest", 3), ("bus", "b", "rest", 1), ("bus", "c", "m-c")],
        pools={"bus": "conserving"},
        work_units=["a", "b", "c"],
    )
    flows = hour_flows(graph, meter_hours(graph, {"main": [100] * 4, "m-c": [20] * 4}), HOUR)
    assert flows.amount.sum(axis=1).tolist() == [400, 240, 80, 80]


def test_when_even_the_hour_is_short_the_rest_is_nothing_and_the_shortfall_is_told() -> None:
    graph = bus_with_rest()
    hours = meter_hours(graph, {"main": [1_000_000] * 4, "m-a": [700_000] * 4, "m-b": [400_000] * 4})
    flows = hour_flows(graph, hours, HOUR)
    assert flows.amount[3].tolist() == [0, 0, 0, 0]
    (issue,) = flows.issues
    assert (issue.code, issue.place) == ("disagreement", "bus")
    assert "0.4 kWh more than what came in" in issue.message


def test_rounding_alone_is_no_disagreement() -> None:
    graph = bus_with_rest()
    flows = hour_flows(graph, meter_hours(graph, {"main": [10] * 4, "m-a": [5] * 4, "m-b": [5, 5, 5, 6]}), HOUR)
    assert flows.issues == ()


def test_rests_follow_each_other_downstream() -> None:
    graph = make_graph(
        [
            ("panel", "a", "m-a"),
            ("panel", "unmetered", "rest"),
            ("bus", "panel", "rest"),
            ("bus", "b", "m-b"),
            ("grid", "bus", "main"),
        ],
        pools={"panel": "conserving", "bus": "conserving"},
        work_units=["a", "b"],
    )
    flows = hour_flows(graph, meter_hours(graph, {"main": [100] * 4, "m-b": [30] * 4, "m-a": [50] * 4}), HOUR)
    assert flows.amount.sum(axis=1).tolist() == [200, 80, 280, 120, 400]


def test_quality_is_the_worst_of_the_meters_and_missing_is_time_not_quality() -> None:
    graph = make_graph([("grid", "a", "m1 + m2"), ("gas", "b", "m3 - m4")], work_units=["a", "b"], sources=TWO)
    hours = meter_hours(
        graph,
        {"m1": [1, 1, 1, 1], "m2": [1, 1, 1, 1], "m3": [3, 3, 3, 3], "m4": [1, 1, 1, 1]},
        {"m1": [M, R, M, GAP], "m2": [M, M, E, M], "m3": [M] * 4, "m4": [M, R, GAP, M]},
    )
    flows = hour_flows(graph, hours, HOUR)
    assert flows.amount.tolist() == [[2, 2, 2, 1], [2, 2, 3, 2]]
    assert flows.quality.tolist() == [[M, R, E, M], [M, R, E, M]]  # half a sum is right as far as it goes
    assert flows.missing_ms.tolist() == [[0, 0, 0, 900_000], [0, 0, 900_000, 0]]


def test_a_missing_child_leaves_its_flow_in_the_rest_which_is_then_a_guess() -> None:
    graph = bus_with_rest()
    hours = meter_hours(
        graph, {"main": [10] * 4, "m-a": [5] * 4, "m-b": [4] * 4}, {"m-a": [M, GAP, M, M], "m-b": [M] * 4}
    )
    flows = hour_flows(graph, hours, HOUR)
    assert flows.amount[3].tolist() == [1, 6, 1, 1]
    assert flows.quality[3].tolist() == [M, E, M, M]
    assert flows.missing_ms[3].tolist() == [0, 900_000, 0, 0]


def test_an_amount_that_could_not_be_summed_in_64_bits_is_not_believed() -> None:
    graph = make_graph([("grid", "a", "m1")], work_units=["a"])
    assert believable(meter_hours(graph, {"m1": [2**47] * 4})["m1"])
    assert not believable(meter_hours(graph, {"m1": [0, 0, 2**62, 0]})["m1"])
    assert not believable(meter_hours(graph, {"m1": [0, 0, -(2**62), 0]})["m1"])
