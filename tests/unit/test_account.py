"""One hour accounted: readings and jobs in, postings out, every millionth on exactly one account."""

import numpy as np
import pytest
from accounting_cases import (
    HOUR,
    HOUR_MS,
    NO_PRODUCTION,
    Readings,
    account_hours,
    hour_series,
    job,
    make_graph,
    production,
    register,
    state,
)

from plantprint import account
from plantprint.account import EMPTY_CARRY, Carry, HourAccount, account_hour
from plantprint.divide_arrays import Ints
from plantprint.facts import Issue, Quality
from plantprint.intervals import MeterHour
from plantprint.ledger import PostingKey
from plantprint.production import Production
from plantprint.segment_sums import Parts

M, E, GAP = Quality.MEASURED, Quality.ESTIMATED, Quality.MISSING

BUS = make_graph(
    [("grid", "bus", "main"), ("bus", "a", "m-a"), ("bus", "b", "m-b"), ("bus", "unmetered", "rest")],
    pools={"bus": "conserving"},
    work_units=["a", "b"],
)


def minutes(total: int, upto: int = 60, step: int = 1, start: int = 0) -> list[tuple[float, int]]:
    """A register that grows evenly by `total` in an hour."""
    return [(minute, 1_000_000 + total * minute // 60) for minute in range(start, upto + 1, step)]


def balances(result: HourAccount) -> dict[tuple[str, str, str], int]:
    found: dict[tuple[str, str, str], int] = {}
    for key, amount in result.net.items():
        place = (key.account_kind, key.account_id, key.source)
        found[place] = found.get(place, 0) + amount
    return found


def account_so_far(readings: Readings, made: Production, now_ms: int) -> HourAccount:
    (before,) = account_hours(BUS, made, readings, 1, first=-1)
    return account_hour(BUS, made, HOUR, hour_series(BUS, readings, HOUR), before.carry, now_ms)


def test_an_hour_of_a_bus_with_two_machines() -> None:
    readings = {
        "main": register(*minutes(6_000_000)),
        "m-a": register(*minutes(3_000_000)),
        "m-b": register(*minutes(1_800_000)),
    }
    made = production(job("1", "a", -10, 20), job("2", "a", 20, None), state("b", "processing", -100))
    (result,) = account_hours(BUS, made, readings, 1)
    assert balances(result) == {
        ("batch", "b-1", "grid"): 1_000_000,
        ("batch", "b-2", "grid"): 2_000_000,
        ("unassigned", "b", "grid"): 1_800_000,
        ("unmetered", "bus", "grid"): 1_200_000,
    }
    assert PostingKey(HOUR, "batch", "b-2", "a", "", "grid", HOUR, M) in result.net
    assert [(issue.code, issue.place) for issue in result.issues] == [("unassigned", "b")]
    assert result.missing_ms == {}
    assert set(result.carry.meters) == {"main", "m-a", "m-b"}


def test_uses_are_the_postings_by_bucket() -> None:
    readings = {
        "main": register(*minutes(6_000_000)),
        "m-a": register(*minutes(3_000_000)),
        "m-b": register(*minutes(0)),
    }
    (result,) = account_hours(BUS, production(job("1", "a", 0, 22)), readings, 1)
    uses = {(use.account_kind, use.account_id): use for use in result.uses}
    assert uses["batch", "b-1"].amount.tolist() == [750_000, 350_000, 0, 0]
    assert (uses["batch", "b-1"].work_unit, uses["batch", "b-1"].work_center) == ("a", "line-a")
    assert uses["unmetered", "bus"].work_center == ""
    assert {place: use.amount.sum() for place, use in uses.items()} == {
        (kind, name): amount for (kind, name, _), amount in balances(result).items()
    }


def test_a_source_may_feed_a_work_unit_directly_beside_a_pool() -> None:
    graph = make_graph(
        [("grid", "bus", "main"), ("bus", "a", "m-a"), ("stack", "a", "m-stack")],
        pools={"bus": "conserving"},
        sources={"grid": "grid", "stack": "direct"},
        units={"stack": "kg"},
        work_units=["a"],
    )
    readings = {name: register(*minutes(total)) for name, total in (("main", 1000), ("m-a", 900), ("m-stack", 70))}
    (result,) = account_hours(graph, production(job("1", "a", 0, None)), readings, 1)
    assert balances(result) == {("batch", "b-1", "grid"): 1000, ("batch", "b-1", "stack"): 70}


def test_stock_is_posted_as_it_comes_and_goes_with_the_hour_it_entered() -> None:
    graph = make_graph(
        [("gas", "steam", "m-gas"), ("steam", "a", "s-a")],
        pools={"steam": "converting"},
        sources={"gas": "fuel"},
        units={"gas": "Nm3", "steam": "kg"},
        work_units=["a"],
    )
    readings = {
        "m-gas": register((0, 0), (60, 500), (120, 500), (180, 600)),
        "s-a": register((0, 0), (120, 0), (180, 9)),
    }
    one, two, three = account_hours(graph, production(job("1", "a", 0, None)), readings, 3)
    stock = PostingKey(HOUR, "stock", "steam", "", "", "gas", HOUR, Quality.RECOVERED)
    assert one.net == {stock: 500}
    assert one.carry.stock == two.carry.stock == {"steam": (("gas", HOUR, Quality.RECOVERED, 500),)}
    assert two.net == {}
    at = HOUR + 2 * HOUR_MS
    batch = PostingKey(at, "batch", "b-1", "a", "", "gas", HOUR, Quality.RECOVERED)
    assert three.net == {stock._replace(hour_ms=at): -500, batch: 500, batch._replace(entered_ms=at): 100}
    assert three.carry.stock == {}


def test_carry_survives_json() -> None:
    (result,) = account_hours(BUS, NO_PRODUCTION, {"main": register(*minutes(10)), "m-a": register((3, 7))}, 1)
    carry = Carry(result.carry.meters, {"bus": (("grid", HOUR, 3, 5), ("pv", HOUR, 1, 2))})
    again = Carry.from_json(carry.to_json())
    assert again == carry
    assert again != EMPTY_CARRY


def test_a_meter_without_a_channel_is_missing_for_the_time_that_has_passed() -> None:
    readings = {"main": register(*minutes(6_000)), "m-a": register(*minutes(3_000))}
    made = production(job("1", "b", 0, 30), job("2", "a", 0, None))
    result = account_so_far(readings, made, HOUR + 1_350_000)
    assert result.meters["m-b"].missing_ms.tolist() == [900_000, 450_000, 0, 0]
    assert result.missing_ms_by_work_unit == {"b": 1_350_000}
    assert result.missing_ms == {"b-1": 675_000}  # An hour's mix is touched evenly; the job took half of the hour.
    assert ("batch-incomplete", "b-1") in [(issue.code, issue.place) for issue in result.issues]


def test_what_is_known_so_far_of_a_running_hour_is_posted() -> None:
    readings = {name: register(*minutes(6_000_000, upto=30)) for name in ("main", "m-a")} | {
        "m-b": register((0, 5), (30, 5))
    }
    result = account_so_far(readings, production(job("1", "a", 0, None)), HOUR + HOUR_MS // 2)
    assert balances(result) == {("batch", "b-1", "grid"): 3_000_000}
    assert result.missing_ms == {}


def test_readings_beyond_any_meter_are_missing_and_not_summed() -> None:
    readings = {
        "main": register((0, 5), (30, 2**58), (60, 2**58 + 5), (61, 2**58 + 6), (62, 2**58 + 7)),
        "m-a": register(*minutes(10)),
        "m-b": register(*minutes(0)),
    }
    (result,) = account_hours(BUS, production(job("1", "a", 0, None)), readings, 1)
    assert ("amount-impossible", "main") in [(issue.code, issue.place) for issue in result.issues]
    assert result.net == {}
    assert result.missing_ms == {"b-1": HOUR_MS}


def test_a_lost_amount_is_a_bug_and_stops_the_hour(monkeypatch: pytest.MonkeyPatch) -> None:
    def forget(amount: Ints, _: int, parts: Parts) -> Ints:
        return np.zeros((len(parts.weights), amount.shape[1]), np.int64)

    readings = {"main": register(*minutes(10)), "m-a": register(*minutes(10)), "m-b": register(*minutes(0))}
    monkeypatch.setattr("plantprint.work_units.allocate_totals", forget)
    with pytest.raises(AssertionError, match="grid: 10 in, 0 posted"):
        account_hours(BUS, NO_PRODUCTION, readings, 1)


def test_the_worst_quality_behind_a_posting_is_in_its_key(monkeypatch: pytest.MonkeyPatch) -> None:
    def guessed(series: object, *_: object) -> tuple[MeterHour, None, list[Issue]]:
        name = series.meter.id  # type: ignore[attr-defined]
        quality = np.array([M, E, M, M] if name == "m-a" else [M] * 4, np.int8)
        return MeterHour(np.full(4, {"main": 10, "m-a": 4, "m-b": 4}[name]), quality, np.zeros(4, np.int32)), None, []

    monkeypatch.setattr(account, "meter_hour", guessed)
    (result,) = account_hours(BUS, NO_PRODUCTION, {"main": [], "m-a": [], "m-b": []}, 1)
    assert {(key.account_id, Quality(key.quality)): amount for key, amount in result.net.items()} == {
        ("a", E): 16,
        ("b", M): 16,
        ("bus", E): 8,
    }


def test_a_meter_that_was_not_there_yet_is_not_missing_but_a_batch_before_it_is_incomplete() -> None:
    first_ms = HOUR + 10 * 60_000
    readings = {
        "main": register(*minutes(6_000_000, start=10)),
        "m-a": register(*minutes(3_000_000, start=10)),
        "m-b": register(*minutes(1_800_000, start=10)),
    }
    made = production(job("early", "a", 5, 20), job("late", "a", 20, None))
    series = hour_series(BUS, readings, HOUR)
    plain = account_hour(BUS, made, HOUR, series, EMPTY_CARRY, HOUR + HOUR_MS)
    told = account_hour(BUS, made, HOUR, series, EMPTY_CARRY, HOUR + HOUR_MS, dict.fromkeys(BUS.meters, first_ms))
    assert {key[:6]: amount for key, amount in plain.net.items()} == {
        key[:6]: amount for key, amount in told.net.items()
    }
    assert {int(hour.missing_ms.sum()) for hour in plain.meters.values()} == {10 * 60_000}
    assert {int(hour.missing_ms.sum()) for hour in told.meters.values()} == {0}
    assert len(plain.missing_ms) == 2
    assert list(told.missing_ms.values()) == [5 * 60_000]
