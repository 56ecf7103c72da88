"""Stores on examples worked by hand: layers, mixes, levels, empty points, an hour that takes out more than was in."""

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

import pytest
from accounting_cases import HOUR, HOUR_MS, NO_PRODUCTION, make_graph, meter_hours

from plantprint.account import EMPTY_CARRY, Carry, HourAccount, account_hour, account_meters
from plantprint.facts import Channel, Issue, Quality, Reading
from plantprint.intervals import MeterSeries
from plantprint.plant.graph import PlantGraph
from plantprint.stores import UNKNOWN, Level, StoreLayer, is_empty_point, read_level, take

E, M, GAP = Quality.ESTIMATED, Quality.MEASURED, Quality.MISSING

Hour = Mapping[str, Sequence[int]]


def battery_plant(kind: str = "fifo", window: str = "hour", **fields: Any) -> PlantGraph:
    """Grid and a roof on a bus with a battery, a machine and an export."""
    return make_graph(
        [
            ("grid", "bus", "m-grid"),
            ("pv", "bus", "m-pv"),
            ("bus", "battery", "m-in"),
            ("battery", "bus", "m-out"),
            ("bus", "export", "m-export"),
            ("bus", "u", "m-u"),
        ],
        pools={"bus": f"conserving {window}"},
        sources={"grid": "grid", "pv": "on_site"},
        work_units=["u"],
        stores={"battery": {"kind": kind, **fields}},
    )


def account(
    graph: PlantGraph,
    hours: Sequence[Mapping[str, int]],
    levels: Sequence[int | None] = (),
    carry: Carry = EMPTY_CARRY,
) -> list[HourAccount]:
    """Hours from HOUR on, each of (meter → amount in its first bucket); `levels` of the only store at their ends."""
    done: list[HourAccount] = []
    for number, amounts in enumerate(hours):
        hour_ms = HOUR + number * HOUR_MS
        meters = meter_hours(graph, {meter: [amount, 0, 0, 0] for meter, amount in amounts.items()})
        level = levels[number] if number < len(levels) else None
        known = {store: Level(level, M) for store in graph.stores if level is not None}
        done.append(account_meters(graph, NO_PRODUCTION, hour_ms, meters, (), carry, hour_ms + HOUR_MS, levels=known))
        carry = Carry.from_json(done[-1].carry.to_json())
        assert carry == done[-1].carry
    return done


def used(result: HourAccount, kind: str, place: str) -> dict[str, int]:
    """What an account got by `source@hours ago` (of HOUR plus the number of its hour)."""
    found: dict[str, int] = {}
    for key, amount in result.net.items():
        if (key.account_kind, key.account_id) == (kind, place):
            ago = (result.hour_ms - key.entered_ms) // HOUR_MS
            name = f"{key.source}@{ago}" if ago else key.source
            found[name] = found.get(name, 0) + amount
    return found


def test_fifo_gives_out_the_hour_that_came_in_first() -> None:
    graph = battery_plant()
    one, two, three, four = account(
        graph,
        [
            {"m-pv": 60, "m-in": 60},
            {"m-grid": 40, "m-in": 40},
            {"m-out": 50, "m-u": 50},
            {"m-out": 30, "m-u": 30},
        ],
    )
    assert used(one, "stock", "battery") == {"pv": 60}
    assert used(two, "stock", "battery") == {"grid": 40}
    assert used(three, "idle", "u") == {"pv@2": 50}
    assert used(three, "stock", "battery") == {"pv@2": -50}
    assert used(four, "idle", "u") == {"pv@3": 10, "grid@2": 20}
    assert four.carry.stores == {"battery": (StoreLayer(HOUR + HOUR_MS, 20, (("grid", HOUR + HOUR_MS, M, 20),)),)}


def test_mixed_gives_out_everything_in_proportion() -> None:
    graph = battery_plant("mixed")
    *_, three, four = account(
        graph,
        [
            {"m-pv": 60, "m-in": 60},
            {"m-grid": 40, "m-in": 40},
            {"m-out": 50, "m-u": 50},
            {"m-out": 50, "m-u": 50},
        ],
    )
    assert used(three, "idle", "u") == {"pv@2": 30, "grid@1": 20}
    assert used(four, "idle", "u") == {"pv@3": 30, "grid@2": 20}
    assert four.carry.stores == {"battery": ()}


def test_a_store_gives_out_what_it_held_at_the_start_while_it_is_charged() -> None:
    _, two = account(
        battery_plant(),
        [{"m-pv": 60, "m-in": 60}, {"m-grid": 100, "m-in": 30, "m-out": 30, "m-u": 100}],
    )
    # The bus has 100 from the grid and 30 from the roof's hour; 30 of its 130 go back in.
    assert used(two, "idle", "u") == {"grid": 77, "pv@1": 23}
    assert used(two, "stock", "battery") == {"grid": 23, "pv@1": 7 - 30}
    assert two.carry.stores["battery"][0] == StoreLayer(HOUR, 30, (("pv", HOUR, M, 30),))


def test_export_is_first_what_the_roof_makes_then_what_the_battery_has_of_it() -> None:
    _, two = account(
        battery_plant(),
        [
            {"m-pv": 50, "m-grid": 50, "m-in": 100},
            {"m-pv": 10, "m-grid": 30, "m-out": 40, "m-export": 25, "m-u": 55},
        ],
    )
    # The battery gives 20 of the roof and 20 of the grid; the export takes the roof's 10, then 15 of the battery's 20.
    assert used(two, "export", "bus") == {"pv": 10, "pv@1": 15}
    assert used(two, "idle", "u") == {"grid": 30, "grid@1": 20, "pv@1": 5}


def test_what_is_drawn_beyond_what_was_held_comes_from_what_came_in() -> None:
    one, two = account(
        battery_plant(),
        [{"m-pv": 100, "m-in": 40, "m-out": 25, "m-u": 85}, {"m-out": 15, "m-u": 15}],
    )
    assert used(one, "idle", "u") == {"pv": 85}
    assert used(one, "stock", "battery") == {"pv": 15}
    assert used(two, "idle", "u") == {"pv@1": 15}
    assert not [issue for issue in one.issues if issue.code == "store-overdrawn"]


def test_what_passes_through_a_store_is_mixed_where_it_leads_on() -> None:
    graph = make_graph(
        [
            ("pv", "dc", "m-pv"),
            ("dc", "battery", "m-in"),
            ("dc", "v", "m-v"),
            ("battery", "ac", "m-out"),
            ("grid", "ac", "m-grid"),
            ("ac", "dc", "m-rectifier"),
            ("ac", "u", "m-u"),
        ],
        pools={"dc": "conserving hour", "ac": "conserving hour"},
        sources={"grid": "grid", "pv": "on_site"},
        work_units=["u", "v"],
        stores={"battery": {}},
    )
    (one,) = account(
        graph,
        [{"m-pv": 300, "m-in": 400, "m-out": 300, "m-v": 100, "m-grid": 300, "m-rectifier": 200, "m-u": 400}],
    )
    # dc = pv 300 + a third of ac, ac = grid 300 + 3/5 of dc: dc holds 375 pv and 125 grid, ac 225 pv and 375 grid.
    assert used(one, "idle", "v") == {"pv": 75, "grid": 25}
    assert used(one, "idle", "u") == {"pv": 150, "grid": 250}
    assert used(one, "stock", "battery") == {"pv": 75, "grid": 25}


def test_a_store_that_gives_more_than_it_can_have_is_told_and_shares_what_is_known() -> None:
    (one,) = account(
        battery_plant(), [{"m-grid": 100_000_000, "m-in": 40_000_000, "m-out": 65_000_000, "m-u": 125_000_000}]
    )
    (issue,) = [issue for issue in one.issues if issue.code == "store-overdrawn"]
    assert issue.place == "battery"
    assert issue.message.startswith("25 kWh more came out")
    assert used(one, "idle", "u") == {"grid": 100_000_000}
    assert one.carry.stores == {"battery": ()}


def test_what_the_level_lacks_of_the_balance_was_lost_at_the_stores_mix() -> None:
    graph = battery_plant(level="m-level")
    one, two, three = account(
        graph,
        [{"m-pv": 60, "m-in": 60}, {"m-grid": 40, "m-in": 40}, {}],
        levels=[60, 80, 84],
    )
    assert used(one, "losses", "battery") == {}
    assert used(two, "losses", "battery") == {"pv@1": 12, "grid": 8}
    assert used(two, "stock", "battery") == {"pv@1": -12, "grid": 32}
    assert used(three, "losses", "battery") == {}
    assert three.carry == two.carry  # a level above the balance adds nothing
    assert sum(int(use.amount.sum()) for use in two.uses if use.account_kind == "losses") == 20


def test_a_level_far_above_the_balance_is_a_disagreement() -> None:
    (one, two) = account(
        battery_plant(level="m-level"),
        [{"m-pv": 60_000_000, "m-in": 60_000_000}, {}],
        levels=[60_000_000, 75_000_000],
    )
    assert one.issues == ()
    (issue,) = two.issues
    assert (issue.code, issue.place) == ("disagreement", "battery")
    assert "15 kWh above" in issue.message


def test_what_was_in_a_store_before_accounting_began_is_of_nobody_knows_what() -> None:
    graph = battery_plant(level="m-level")
    one, two = account(
        graph,
        [{"m-pv": 20, "m-in": 20, "m-out": 10, "m-u": 10}, {"m-out": 95, "m-u": 95}],
        levels=[110, 15],
    )
    assert one.carry.stores["battery"] == (
        StoreLayer(HOUR - HOUR_MS, 90, ()),
        StoreLayer(HOUR, 20, (("pv", HOUR, M, 13),)),
    )
    # The bus got 20 of the roof and 10 of nobody knows what; a third of its mix went to the machine.
    assert used(one, "idle", "u") == {"pv": 7}
    assert used(two, "idle", "u") == {"pv@1": 3}


def test_a_store_is_opened_by_its_first_known_level_whenever_that_comes() -> None:
    """20 came in and 5 went out before anybody read the level: 90 of nobody knows what were there besides."""
    graph = battery_plant(level="m-level")
    one, two, three, four = account(
        graph,
        [{"m-pv": 20, "m-in": 20}, {"m-out": 5, "m-u": 5}, {"m-out": 10, "m-u": 10}, {"m-out": 85, "m-u": 85}],
        levels=[None, None, 95],
    )
    assert one.carry.stores["battery"] == (UNKNOWN, StoreLayer(HOUR, 20, (("pv", HOUR, M, 20),)))
    assert used(two, "idle", "u") == {"pv@1": 5}
    # At the third hour's start 105 were in it, of which 15 were known: the oldest goes out first.
    assert three.carry.stores["battery"] == (
        StoreLayer(HOUR + HOUR_MS, 80, ()),
        StoreLayer(HOUR, 15, (("pv", HOUR, M, 15),)),
    )
    assert three.issues == four.issues == ()
    assert used(three, "idle", "u") == {}
    assert used(four, "idle", "u") == {"pv@3": 5}
    assert used(four, "stock", "battery") == {"pv@3": -5}


def test_the_first_level_of_a_mixed_store_thins_out_what_is_known_of_it() -> None:
    graph = battery_plant(kind="mixed", level="m-level")
    one, two = account(graph, [{"m-pv": 20, "m-in": 20}, {"m-out": 30, "m-u": 30}], levels=[None, 30])
    assert one.carry.stores["battery"][0] == UNKNOWN
    assert used(two, "idle", "u") == {"pv@1": 10}  # half of 60, of which 20 were known
    assert two.carry.stores["battery"] == (StoreLayer(0, 30, (("pv", HOUR, M, 10),)),)


def test_a_first_level_below_the_balance_opens_nothing_and_one_after_an_empty_point_is_a_level_as_any() -> None:
    _, two = account(battery_plant(level="m-level"), [{"m-pv": 20, "m-in": 20}, {}], levels=[None, 15])
    assert used(two, "losses", "battery") == {"pv@1": 5}
    assert two.carry.stores["battery"] == (StoreLayer(HOUR, 15, (("pv", HOUR, M, 15),)),)
    one, two = account(
        battery_plant(level="m-level", empty_point="08:30+08:00"), [{"m-pv": 20, "m-in": 20}, {}], levels=[None, 50]
    )
    assert one.carry.stores == {"battery": ()}
    assert two.carry.stores == {"battery": ()}


def test_without_a_level_the_store_is_empty_at_its_empty_point() -> None:
    graph = battery_plant(empty_point="10:30+08:00")  # 02:30 UTC lies in the third hour
    *_, two, three, four = account(
        graph, [{"m-pv": 60, "m-in": 60}, {}, {"m-out": 20, "m-u": 20}, {"m-pv": 5, "m-in": 5}]
    )
    assert two.net == {}
    assert used(three, "losses", "battery") == {"pv@2": 40}
    assert {key.quality for key in three.net if key.account_kind == "losses"} == {E}
    assert three.carry.stores == {"battery": ()}
    assert used(four, "stock", "battery") == {"pv": 5}


@pytest.mark.parametrize(
    ("text", "hours"), [("00:00+00:00", [23]), ("00:00:01+00:00", [0]), ("08:00+08:00", [23]), ("05:00+08:00", [20])]
)
def test_an_empty_point_lies_in_one_hour_of_the_day(text: str, hours: list[int]) -> None:
    store = battery_plant(empty_point=text).stores["battery"]
    assert [hour for hour in range(24) if is_empty_point(store, HOUR + hour * HOUR_MS)] == hours


def test_what_is_above_the_capacity_was_lost() -> None:
    graph = battery_plant(capacity=Decimal("0.00005"))
    (one,) = account(graph, [{"m-pv": 60, "m-in": 60}])
    assert used(one, "losses", "battery") == {"pv": 10}
    assert used(one, "stock", "battery") == {"pv": 50}


def test_what_came_in_past_an_unknown_meter_is_an_estimate() -> None:
    graph = battery_plant(window="bucket")
    amounts = {"m-pv": [60, 0, 0, 0], "m-in": [60, 0, 0, 0]}
    meters = meter_hours(graph, amounts, {"m-in": [M, GAP, M, M]})
    one = account_meters(graph, NO_PRODUCTION, HOUR, meters, (), EMPTY_CARRY, HOUR + HOUR_MS)
    assert one.carry.stores["battery"][0].content == (("pv", HOUR, E, 60),)


def test_taking_leaves_nothing_out() -> None:
    layers = (
        StoreLayer(1, 10, (("gas", 1, 3, 7), ("grid", 1, 3, 3))),
        StoreLayer(2, 10, (("gas", 2, 2, 5),)),
    )
    taken, kept = take(layers, 13)
    assert taken == (("gas", 1, 3, 7), ("gas", 2, 2, 2), ("grid", 1, 3, 3))
    assert kept == (StoreLayer(2, 7, (("gas", 2, 2, 3),)),)


def series(graph: PlantGraph, *points: tuple[float, int], unit: str = "kWh", kind: Any = "gauge") -> MeterSeries:
    channel = Channel("gw", "m-level", unit, 3, kind)
    readings = tuple(Reading(HOUR + round(minute * 60_000), value) for minute, value in points)
    return MeterSeries(channel, graph.meters["m-level"], Decimal(1), readings)


LEVEL = battery_plant(level="m-level", capacity=Decimal(200))


@pytest.mark.parametrize(
    ("points", "unit", "level"),
    [
        ([(59, 50_000), (61, 52_000)], "kWh", 51_000_000),
        ([(60, 50_000), (61, 52_000)], "kWh", 50_000_000),
        ([(59, 50_000)], "kWh", 50_000_000),
        ([(59, 50_000)], "MWh", 50_000_000_000),
        ([(59, 50_000)], "%", 100_000_000),
        ([(50, 50_000), (61, 52_000)], "kWh", None),
        ([(61, 52_000)], "kWh", None),
        ([(59, -3)], "kWh", 0),
    ],
)
def test_a_level_is_read_at_the_hours_end(points: list[tuple[float, int]], unit: str, level: int | None) -> None:
    found = read_level(series(LEVEL, *points, unit=unit), LEVEL.stores["battery"], HOUR)
    assert found == (None if level is None else Level(level, M))


@pytest.mark.parametrize(
    ("kind", "unit", "graph", "message"),
    [
        ("counter", "kWh", LEVEL, "a level is a gauge, not a counter"),
        ("gauge", "kg", LEVEL, "'kg' cannot be converted to 'kWh'"),
        ("gauge", "%", battery_plant(level="m-level"), "which has no capacity"),
    ],
)
def test_a_channel_that_tells_no_level_says_why(kind: str, unit: str, graph: PlantGraph, message: str) -> None:
    issue = read_level(series(graph, (59, 50_000), unit=unit, kind=kind), graph.stores["battery"], HOUR)
    assert isinstance(issue, Issue)
    assert message in issue.message


def test_an_hour_reads_its_levels_itself() -> None:
    graph = battery_plant(level="m-level")
    first = account(graph, [{"m-pv": 60_000_000, "m-in": 60_000_000}], levels=[60_000_000])[0]
    level = {"m-level": series(graph, (119, 54_000))}
    hour_ms = HOUR + HOUR_MS
    second = account_hour(graph, NO_PRODUCTION, hour_ms, level, first.carry, hour_ms + HOUR_MS)
    assert used(second, "losses", "battery") == {"pv@1": 6_000_000}
    assert "m-level" not in second.meters
