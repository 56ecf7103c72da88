"""Proportional sharing: mix windows, export first from the roof, stock, chains and cycles."""

from collections.abc import Mapping, Sequence

from accounting_cases import HOUR, HOUR_MS, make_graph, meter_hours

from plantprint.facts import Quality
from plantprint.flows import hour_flows
from plantprint.plant.graph import PlantGraph
from plantprint.tracing import Stock, Traced, trace

E, R, M = Quality.ESTIMATED, Quality.RECOVERED, Quality.MEASURED


def traced(
    graph: PlantGraph,
    amounts: Mapping[str, Sequence[int]],
    quality: Mapping[str, Sequence[int]] | None = None,
    stock: Stock | None = None,
) -> Traced:
    return trace(graph, hour_flows(graph, meter_hours(graph, amounts, quality), HOUR), stock or {}, HOUR)


def carried(graph: PlantGraph, result: Traced, taker: str) -> dict[str, list[int]]:
    """What a taker got per bucket, by source (of this hour; `source@hours ago` for stock)."""
    edges = [edge.index for edge in graph.edges if edge.taker == taker]
    found = {}
    for row, (source, entered_ms) in enumerate(result.rows):
        amounts = result.parcels.amount[edges, row].sum(axis=0).tolist()
        if any(amounts):
            ago = (HOUR - entered_ms) // HOUR_MS
            found[source if not ago else f"{source}@{ago}"] = amounts
    return found


def roof_plant(window: str) -> PlantGraph:
    return make_graph(
        [
            ("grid", "bus", "m-grid"),
            ("pv", "bus", "m-pv"),
            ("bus", "export", "m-export"),
            ("bus", "a", "m-a"),
            ("bus", "b", "m-b"),
        ],
        pools={"bus": f"conserving {window}"},
        sources={"grid": "grid", "pv": "on_site"},
        work_units=["a", "b"],
    )


def test_each_bucket_has_its_own_mix() -> None:
    graph = roof_plant("bucket")
    result = traced(
        graph, {"m-grid": [100, 0, 50, 0], "m-pv": [0, 100, 50, 0], "m-a": [75, 25, 50, 0], "m-b": [25, 75, 50, 0]}
    )
    assert carried(graph, result, "a") == {"grid": [75, 0, 25, 0], "pv": [0, 25, 25, 0]}
    assert carried(graph, result, "b") == {"grid": [25, 0, 25, 0], "pv": [0, 75, 25, 0]}


def test_over_an_hour_the_mix_is_one_and_takers_keep_their_own_course() -> None:
    graph = roof_plant("hour")
    result = traced(
        graph, {"m-grid": [100, 0, 50, 0], "m-pv": [0, 100, 50, 0], "m-a": [75, 25, 0, 0], "m-b": [0, 0, 0, 200]}
    )
    assert carried(graph, result, "a") == {"grid": [38, 12, 0, 0], "pv": [38, 12, 0, 0]}
    assert carried(graph, result, "b") == {"grid": [0, 0, 0, 100], "pv": [0, 0, 0, 100]}


def test_export_takes_the_roof_first_and_only_its_excess_leaves_at_the_mix() -> None:
    graph = roof_plant("bucket")
    result = traced(
        graph,
        {
            "m-grid": [100, 30, 0, 60],
            "m-pv": [100, 60, 100, 40],
            "m-export": [40, 70, 100, 60],
            "m-a": [80, 10, 0, 20],
            "m-b": [80, 10, 0, 20],
        },
    )
    # Bucket 1 and 3: the roof made less than was exported, so 10 and 20 go out with what is left on the bus.
    assert carried(graph, result, "export") == {"grid": [0, 10, 0, 20], "pv": [40, 60, 100, 40]}
    assert carried(graph, result, "a") == {"grid": [50, 10, 0, 20], "pv": [30, 0, 0, 0]}
    assert carried(graph, result, "b") == {"grid": [50, 10, 0, 20], "pv": [30, 0, 0, 0]}


def test_import_and_export_are_never_netted() -> None:
    graph = roof_plant("bucket")
    result = traced(graph, {"m-grid": [50] * 4, "m-pv": [50] * 4, "m-export": [50] * 4, "m-a": [50] * 4})
    assert carried(graph, result, "export") == {"pv": [50, 50, 50, 50]}
    assert carried(graph, result, "a") == {"grid": [50, 50, 50, 50]}


def test_what_the_meters_of_an_exporting_bus_disagree_on_goes_to_those_who_took() -> None:
    graph = roof_plant("bucket")
    result = traced(graph, {"m-pv": [100, 0, 0, 0], "m-export": [95, 0, 0, 0]})
    assert carried(graph, result, "export") == {"pv": [100, 0, 0, 0]}
    assert result.stock == {}


def test_of_several_roofs_an_export_takes_the_same_part() -> None:
    graph = make_graph(
        [
            ("grid", "bus", "m-grid"),
            ("east", "bus", "m-east"),
            ("west", "bus", "m-west"),
            ("bus", "export", "m-export"),
            ("bus", "a", "m-a"),
        ],
        pools={"bus": "conserving"},
        sources={"grid": "grid", "east": "on_site", "west": "on_site"},
        work_units=["a"],
        bucket_s=3600,
    )
    result = traced(graph, {"m-grid": [50], "m-east": [30], "m-west": [60], "m-export": [30], "m-a": [110]})
    assert carried(graph, result, "export") == {"east": [10], "west": [20]}


def air_plant(*more: tuple[str, str, str]) -> PlantGraph:
    """A roof and the grid drive a compressor whose air goes over a header to an export and a machine."""
    return make_graph(
        [
            ("pv", "comp", "m-pv"),
            ("grid", "comp", "m-grid"),
            ("comp", "air", "m-air"),
            ("air", "export", "m-export"),
            ("air", "a", "m-a"),
            *more,
        ],
        pools={"comp": "compressor", "air": "conserving hour"},
        sources={"grid": "grid", "pv": "on_site", "bottled": "on_site"},
        units={"comp": "Nm3", "air": "Nm3", "bottled": "Nm3"},
        work_units=["a"],
        bucket_s=3600,
    )


def test_an_export_behind_a_converter_leaves_at_the_mix_of_what_it_is_made_of() -> None:
    graph = air_plant(("bottled", "air", "m-bottled"))
    result = traced(graph, {"m-pv": [100], "m-grid": [100], "m-air": [600], "m-export": [300], "m-a": [300]})
    assert carried(graph, result, "export") == {"grid": [50], "pv": [50]}


def test_what_is_made_on_site_in_the_exported_unit_leaves_first_the_rest_at_the_mix_of_a_converter() -> None:
    graph = air_plant(("bottled", "air", "m-bottled"))
    amounts = {"m-pv": [100], "m-grid": [100], "m-air": [600], "m-bottled": [60], "m-export": [210], "m-a": [450]}
    result = traced(graph, amounts)
    # 60 Nm3 of the export are the site's own gas; the other 150 are a quarter of what the compressor made.
    assert carried(graph, result, "export") == {"bottled": [60], "grid": [25], "pv": [25]}


def test_in_a_cycle_only_content_that_needs_no_converter_may_leave_first() -> None:
    flows = [
        ("pv", "bus", "m-pv"),
        ("wind", "chp", "m-wind"),
        ("gas", "chp", "m-gas"),
        ("chp", "bus", "m-made"),
        ("bus", "chp", "m-own"),
        ("bus", "export", "m-export"),
        ("bus", "a", "m-a"),
    ]
    graph = make_graph(
        flows,
        pools={"bus": "conserving", "chp": "converting"},
        sources={"gas": "fuel", "pv": "on_site", "wind": "on_site"},
        work_units=["a"],
        bucket_s=3600,
    )
    amounts = {
        "m-pv": [40],
        "m-wind": [90],
        "m-gas": [30],
        "m-made": [100],
        "m-own": [20],
        "m-export": [70],
        "m-a": [50],
    }
    result = traced(graph, amounts)
    # The roof's 40 leave first. The wind drives the engine's fans: of the other 100 kWh an export of 30 has three eighths,
    # as 20 of them go back to the engine.
    assert carried(graph, result, "export") == {"gas": [11], "pv": [40], "wind": [34]}
    assert carried(graph, result, "a") == {"gas": [19], "wind": [56]}


def test_a_converting_pool_hands_all_its_inputs_to_its_outputs_over_the_hour() -> None:
    graph = make_graph(
        [
            ("gas", "steam", "m-gas"),
            ("grid", "bus", "m-grid"),
            ("bus", "steam", "m-fan"),
            ("bus", "a", "e-a"),
            ("steam", "a", "s-a"),
            ("steam", "b", "s-b"),
            ("steam", "losses", "s-main - s-a - s-b"),
        ],
        pools={"bus": "conserving", "steam": "converting"},
        sources={"grid": "grid", "gas": "fuel"},
        units={"gas": "Nm3", "steam": "kg"},
        work_units=["a", "b"],
    )
    result = traced(
        graph,
        {
            "m-gas": [1000, 0, 0, 0],  # The burner ran in the first quarter only.
            "m-grid": [100] * 4,
            "m-fan": [10] * 4,
            "e-a": [90] * 4,
            "s-main": [100] * 4,
            "s-a": [0, 0, 100, 50],
            "s-b": [100, 50, 0, 0],
        },
    )
    assert carried(graph, result, "b") == {"gas": [250, 125, 0, 0], "grid": [10, 5, 0, 0]}
    assert sum(carried(graph, result, "a")["gas"]) == 375
    assert carried(graph, result, "losses") == {"gas": [0, 125, 0, 125], "grid": [0, 5, 0, 5]}


def test_content_without_a_way_out_waits_for_the_next_bucket_that_has_one() -> None:
    graph = roof_plant("bucket")
    result = traced(graph, {"m-grid": [10, 20, 30, 40], "m-a": [0, 0, 5, 0]})
    assert carried(graph, result, "a") == {"grid": [0, 0, 60, 0]}
    assert result.stock == {"bus": (("grid", HOUR, M, 40),)}


def test_stock_comes_out_with_the_hour_and_the_quality_it_went_in_with() -> None:
    graph = roof_plant("bucket")
    stock = {"bus": (("grid", HOUR - 2 * HOUR_MS, E, 40), ("pv", HOUR - HOUR_MS, M, 8))}
    waiting = traced(graph, {}, stock=stock)
    assert waiting.stock == stock
    result = traced(graph, {"m-grid": [0, 6, 0, 0], "m-a": [0, 3, 0, 0], "m-b": [0, 1, 0, 0]}, stock=waiting.stock)
    assert carried(graph, result, "a") == {"grid": [0, 4, 0, 0], "grid@2": [0, 30, 0, 0], "pv@1": [0, 6, 0, 0]}
    old = result.rows.index(("grid", HOUR - 2 * HOUR_MS))
    a = next(edge.index for edge in graph.edges if edge.taker == "a")
    assert result.parcels.quality[a, old].tolist() == [M, E, M, M]
    assert result.stock == {}


def test_stock_of_a_pool_that_left_the_model_is_kept() -> None:
    graph = roof_plant("bucket")
    stock = {"old-bus": (("grid", HOUR - HOUR_MS, M, 5),)}
    assert traced(graph, {"m-grid": [1] * 4, "m-a": [1] * 4}, stock=stock).stock == stock


def cycle(window: str) -> PlantGraph:
    return make_graph(
        [
            ("grid", "left", "m-grid"),
            ("pv", "right", "m-pv"),
            ("left", "right", "m-lr"),
            ("right", "left", "m-rl"),
            ("left", "a", "m-a"),
            ("right", "b", "m-b"),
        ],
        pools={"left": f"conserving {window}", "right": f"conserving {window}"},
        sources={"grid": "grid", "pv": "on_site"},
        work_units=["a", "b"],
    )


def test_two_buses_that_feed_each_other_are_solved_exactly() -> None:
    graph = cycle("bucket")
    flow = {"m-grid": [1000], "m-pv": [500], "m-lr": [300], "m-rl": [200], "m-a": [900], "m-b": [600]}
    result = traced(graph, {meter: [*amount, 0, 0, 0] for meter, amount in flow.items()})
    # left = 1000 + right / 4, right = left / 4 for the grid: left 1066.67, right 266.67; 3/4 of each leaves.
    assert carried(graph, result, "a") == {"grid": [800, 0, 0, 0], "pv": [100, 0, 0, 0]}
    assert carried(graph, result, "b") == {"grid": [200, 0, 0, 0], "pv": [400, 0, 0, 0]}


def test_a_cycle_that_nothing_leaves_keeps_its_content_until_something_does() -> None:
    graph = cycle("bucket")
    result = traced(
        graph,
        {
            "m-grid": [10, 0, 0, 7],
            "m-lr": [5, 0, 5, 0],
            "m-rl": [5, 0, 0, 0],
            "m-b": [0, 0, 5, 0],
            "m-pv": [0, 4, 0, 0],
        },
    )
    assert carried(graph, result, "b") == {"grid": [0, 0, 10, 0], "pv": [0, 0, 4, 0]}
    assert result.stock == {"left": (("grid", HOUR, M, 7),)}


def test_content_of_a_cycle_stays_where_nothing_leaves_and_leaves_elsewhere() -> None:
    graph = cycle("hour")
    result = traced(graph, {"m-grid": [10, 0, 0, 0], "m-lr": [6, 0, 0, 0], "m-a": [3, 1, 0, 0]})
    assert carried(graph, result, "a") == {"grid": [3, 1, 0, 0]}
    assert result.stock == {"right": (("grid", HOUR, M, 6),)}


def test_a_way_out_may_be_several_pools_away() -> None:
    graph = make_graph(
        [
            ("grid", "x", "m-grid"),
            ("x", "y", "m-xy"),
            ("y", "z", "m-yz"),
            ("z", "x", "m-zx"),
            ("z", "a", "m-a"),
            ("x", "b", "m-b"),
            ("y", "c", "m-c"),
        ],
        pools=dict.fromkeys("xyz", "conserving bucket"),
        work_units=["a", "b", "c"],
    )
    flow = {"m-grid": 10, "m-xy": 15, "m-yz": 15, "m-zx": 5, "m-a": 10}
    result = traced(graph, {meter: [amount, 0, 0, 0] for meter, amount in flow.items()})
    assert carried(graph, result, "a") == {"grid": [10, 0, 0, 0]}
    assert result.stock == {}


def test_a_share_is_as_good_as_the_worst_meter_that_made_it() -> None:
    graph = roof_plant("bucket")
    result = traced(
        graph,
        {"m-grid": [10] * 4, "m-pv": [10] * 4, "m-a": [10] * 4, "m-b": [10] * 4},
        {"m-grid": [E, M, M, M], "m-b": [M, M, R, M]},
    )
    a = next(edge.index for edge in graph.edges if edge.taker == "a")
    grid, pv = (result.rows.index((source, HOUR)) for source in ("grid", "pv"))
    # Without a rest a's share depends on b's meter as well.
    assert result.parcels.quality[a, grid].tolist() == [E, M, R, M]
    assert result.parcels.quality[a, pv].tolist() == [M, M, R, M]


def test_with_a_rest_a_share_does_not_depend_on_its_siblings() -> None:
    graph = make_graph(
        [("grid", "bus", "main"), ("bus", "a", "m-a"), ("bus", "b", "m-b"), ("bus", "unmetered", "rest")],
        pools={"bus": "conserving"},
        work_units=["a", "b"],
    )
    gap = Quality.MISSING
    result = traced(graph, {"main": [10] * 4, "m-a": [4] * 4, "m-b": [4] * 4}, {"m-b": [M, gap, M, M]})
    quality = result.parcels.quality.min(axis=(1, 2)).tolist()
    assert quality == [M, M, M, E]
    assert result.parcels.missing_ms.tolist() == [[0] * 4, [0] * 4, [225_000] * 4, [225_000] * 4]


def test_missing_time_of_a_main_meter_reaches_everybody_behind_it() -> None:
    graph = roof_plant("bucket")
    gap = Quality.MISSING
    result = traced(graph, {"m-pv": [10] * 4, "m-a": [4] * 4, "m-b": [4] * 4}, {"m-grid": [M, gap, M, M]})
    for taker in ("a", "b"):
        edge = next(edge.index for edge in graph.edges if edge.taker == taker)
        assert result.parcels.missing_ms[edge].tolist() == [0, 900_000, 0, 0]


def test_without_a_rest_a_missing_sibling_touches_everybody() -> None:
    graph = roof_plant("bucket")
    gap = Quality.MISSING
    result = traced(graph, {"m-pv": [10] * 4, "m-a": [4] * 4, "m-b": [4] * 4}, {"m-b": [M, gap, M, M]})
    a = next(edge.index for edge in graph.edges if edge.taker == "a")
    assert result.parcels.missing_ms[a].tolist() == [0, 900_000, 0, 0]
    assert carried(graph, result, "a") == {"pv": [5, 10, 5, 5]}


def test_missing_time_and_quality_go_through_a_cycle() -> None:
    gap = Quality.MISSING
    amounts = {"m-grid": [10] * 4, "m-lr": [5] * 4, "m-a": [5] * 4, "m-b": [5] * 4, "m-rl": [1] * 4}
    for window, missing in (("bucket", [0, 900_000, 0, 0]), ("hour", [225_000] * 4)):
        graph = cycle(window)
        result = traced(graph, amounts, {"m-rl": [M, gap, M, M], "m-grid": [M, M, R, M]})
        b = next(edge.index for edge in graph.edges if edge.taker == "b")
        grid = result.rows.index(("grid", HOUR))
        assert result.parcels.missing_ms[b].tolist() == missing
        assert result.parcels.quality[b, grid].tolist() == [R] * 4
