"""Facts that contradict each other: the batches that they touch say so, all others stay as they are."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from plantprint import neutral
from plantprint.account import Carry
from plantprint.allocation import Account
from plantprint.doubts import Doubts
from plantprint.facts import Issue
from plantprint.lots import Pcf
from plantprint.spreading import Pending, Waiting

Body = dict[str, Any]
HOUR = "2026-01-01T02:00:00Z"
DATA = Path(__file__).resolve().parents[1] / "data"
BUS = [("grid", "bus", "m"), ("bus", "a", "ma"), ("bus", "b", "mb")]
REST = ("bus", "unmetered", "rest")


def at(clock: str) -> str:
    return f"2026-01-01T{clock}:00Z"


def named(name: str, **more: Any) -> Body:
    return {"id": name, "name": {"en": name}, **more}


def model(flows: list[tuple[str, str, str]], **more: Any) -> Body:
    """Work units a and b with a step `s`; every meter that a flow names counts kWh."""
    meters = sorted({word for _, _, amount in flows for word in amount.split() if word not in ("-", "+", "rest")})
    pools = [] if "pools" in more else [named("bus", unit="kWh")]
    return {
        "plantprint": 1,
        "site": named("site", timezone="Asia/Shanghai", geography="CN-ZJ"),
        "steps": [named("s")],
        "work_centers": [named("line", work_units=[named(unit, step="s") for unit in ("a", "b")])],
        "sources": [named("grid", unit="kWh", kind="grid", factor="own.grid", scope=2)],
        "meters": [named(meter, unit="kWh", bindings=[{"channel": f"g/{meter}"}]) for meter in meters],
        "pools": pools,
        "flows": [{"from": giver, "to": taker, "amount": amount} for giver, taker, amount in flows],
    } | more


def facts(plant: Body, used: dict[str, Any], **more: Any) -> Body:
    """One hour: what each meter `used`; batch X runs on a and Y on b all the time."""
    stated = [
        {"meter": meter, "rows": rows if isinstance(rows, list) else [[at("02:00"), at("03:00"), str(rows)]]}
        for meter, rows in used.items()
    ]
    for meter in plant["meters"]:
        if meter["id"] in used:
            meter.pop("bindings", None)
    return {
        "plantprint_facts": 1,
        "plants": [{"model": plant}],
        "until": at("05:00"),
        "factors": [{"factor_id": "own.grid", "value": "0.5", "unit": "kWh", "source": "x", "geography": "CN-ZJ"}],
        "amounts": stated,
        "jobs": [job("j1", "X", "a"), job("j2", "Y", "b")],
    } | more


def job(name: str, batch: str, unit: str, start: str = "02:00", end: str = "03:00", **more: Any) -> Body:
    return {"job": name, "batch": batch, "work_unit": unit, "start": at(start), "end": at(end), **more}


def account(body: Body, purpose: Any = None) -> Body:
    accounts = neutral.account_facts(neutral.parse_facts(json.dumps(body)), purpose=purpose)
    return neutral.accounts_json(accounts)


def reasons(result: Body) -> dict[str, list[tuple[str, str]]]:
    """By batch code and place of what makes it incomplete; `incomplete` says the same."""
    found = {name: [(one["code"], one["place"]) for one in one["reasons"]] for name, one in result["batches"].items()}
    assert {name: bool(several) for name, several in found.items()} == {
        name: one["incomplete"] for name, one in result["batches"].items()
    }
    return found


def issues(result: Body) -> set[tuple[str, str]]:
    return {(one["code"], one["place"]) for one in result["issues"]}


def test_facts_that_agree_leave_every_batch_complete() -> None:
    result = account(facts(model([*BUS, REST]), {"m": 60, "ma": 30, "mb": 20}))
    assert reasons(result) == {"X": [], "Y": []}
    assert not result["issues"]


def test_two_jobs_that_claim_an_exclusive_machine_are_both_incomplete_and_nobody_else() -> None:
    plant = model([*BUS, REST]) | {"steps": [named("s", rule="exclusive")]}
    jobs = [job("j1", "X", "a", end="02:30"), job("j2", "Y", "b"), job("j3", "Z", "a", start="02:20")]
    result = account(facts(plant, {"m": 60, "ma": 30, "mb": 20}, jobs=jobs))
    assert reasons(result) == {"X": [("conflict", "a")], "Y": [], "Z": [("conflict", "a")]}
    (reason,) = result["batches"]["Z"]["reasons"]
    assert "two jobs ran at once" in reason["message"]
    assert "correct the times" in reason["remedy"]


@pytest.mark.parametrize(
    ("flows", "used", "reason"),
    [
        ([*BUS, REST], {"m": 40, "ma": 30, "mb": 20}, ("disagreement", "bus")),
        (BUS, {"m": 10, "ma": 30, "mb": 20}, ("more-out-than-in", "bus")),
        (BUS, {"m": 0, "ma": 30, "mb": 20}, ("more-out-than-in", "bus")),
    ],
)
def test_more_consumed_than_came_in_touches_everybody_behind_the_pool(
    flows: list[tuple[str, str, str]], used: dict[str, Any], reason: tuple[str, str]
) -> None:
    result = account(facts(model(flows), used))
    assert reasons(result) == {"X": [reason], "Y": [reason]}
    assert issues(result) == {reason}


def test_what_the_meters_accuracy_explains_is_told_but_is_no_contradiction() -> None:
    used = {"m": "50", "ma": "31", "mb": "20"}  # 1 kWh too much; 0.02 * (50 + 31 + 20) = 2.02 may be
    result = account(facts(model([*BUS, REST]), used))
    assert issues(result) == {("disagreement", "bus")}
    assert reasons(result) == {"X": [], "Y": []}
    exact = model([*BUS, REST])
    for meter in exact["meters"]:
        meter["accuracy_class"] = "0.5S"  # 0.005 * 101 = 0.505
    assert reasons(account(facts(exact, used))) == {"X": [("disagreement", "bus")], "Y": [("disagreement", "bus")]}
    coarse = model([*BUS, REST])
    for meter in coarse["meters"]:
        meter |= {"accuracy_class": "0.5S", "resolution": "1"}
    assert reasons(account(facts(coarse, used))) == {"X": [], "Y": []}
    assert issues(account(facts(model(BUS), used))) == set()


def test_a_negative_flow_touches_those_whose_shares_it_moves() -> None:
    flows = [("grid", "bus", "m"), ("bus", "a", "ma"), ("bus", "b", "mm - ma"), REST]
    result = account(facts(model(flows), {"m": 60, "ma": 30, "mm": 20}))
    assert issues(result) == {("flow-negative", "bus to b")}
    assert reasons(result) == {"X": [], "Y": [("flow-negative", "bus to b")]}
    shared = account(facts(model(flows[:3]), {"m": 60, "ma": 30, "mm": 20}))
    assert reasons(shared) == {"X": [("flow-negative", "bus to b")], "Y": [("flow-negative", "bus to b")]}


def test_what_is_missing_is_missing_and_no_contradiction() -> None:
    plant = model(BUS)
    result = account(facts(plant, {"ma": 30, "mb": 20}))
    assert not [code for code, _ in issues(result) if code == "more-out-than-in"]
    assert reasons(result) == {"X": [("data-missing", "X")], "Y": [("data-missing", "Y")]}


def test_a_store_that_gives_out_more_than_it_can_hold() -> None:
    flows = [*BUS, ("bus", "bat", "mc"), ("bat", "bus", "md"), REST]
    plant = model(flows) | {"stores": [named("bat", unit="kWh")]}
    result = account(facts(plant, {"m": 10, "ma": 30, "mb": 20, "mc": 5, "md": 50}))
    assert reasons(result) == {"X": [("store-overdrawn", "bat")], "Y": [("store-overdrawn", "bat")]}
    little = account(facts(plant, {"m": 50, "ma": 30, "mb": 20, "mc": 5, "md": "5.1"}))
    assert issues(little) == {("store-overdrawn", "bat")}
    assert reasons(little) == {"X": [], "Y": []}


@pytest.mark.parametrize(
    ("content", "gas", "code"),
    [("10", 10, "efficiency-implausible"), ("10", 0, "efficiency-implausible"), (None, 0, "more-out-than-in")],
)
def test_a_boiler_that_makes_heat_out_of_nothing(content: str | None, gas: int, code: str) -> None:
    plant = model(
        [("gas", "boiler", "m"), ("boiler", "a", "ma"), ("grid", "b", "mb")],
        pools=[named("boiler", unit="kWh", kind="boiler")],
    )
    source = named("gas", unit="Nm3", kind="fuel", factor="own.grid", scope=1)
    plant["sources"].append(source | ({} if content is None else {"kwh_per_unit": content}))
    plant["meters"][0]["unit"] = "Nm3"
    result = account(facts(plant, {"m": gas, "ma": 300, "mb": 20}))
    assert reasons(result)["X"][0] == (code, "boiler")
    assert not [one for one in reasons(result)["Y"] if one[1] == "boiler"]


def test_what_a_pool_still_held_may_come_out_of_it_later() -> None:
    later = [[at("02:00"), at("03:00"), "0"], [at("03:00"), at("04:00"), "30"]]
    first = [[at("02:00"), at("03:00"), "30"], [at("03:00"), at("04:00"), "0"]]
    plant = model([("gas", "boiler", "m"), ("boiler", "a", "ma")], pools=[named("boiler", unit="kWh", kind="boiler")])
    plant["sources"].append(named("gas", unit="kWh", kind="fuel", factor="own.grid", scope=1))
    plant["pools"][0]["kind"] = "converting"
    jobs = [job("j1", "X", "a", end="04:00")]
    held = account(facts(plant, {"m": first, "ma": later}, jobs=jobs))
    assert reasons(held) == {"X": []}
    assert not held["issues"]
    swapped = account(facts(plant, {"m": later, "ma": first}, jobs=jobs))
    assert reasons(swapped) == {"X": [("more-out-than-in", "boiler")]}


def test_pools_that_feed_each_other_and_get_nothing() -> None:
    flows = [("grid", "p1", "m"), ("p1", "p2", "m12"), ("p2", "p1", "m21"), ("p2", "a", "ma"), ("p1", "b", "mb")]
    plant = model(flows, pools=[named("p1", unit="kWh"), named("p2", unit="kWh")])
    nothing = account(facts(plant, {"m": 100, "m12": 0, "m21": 0, "ma": 60, "mb": 40}))
    assert ("more-out-than-in", "p2") in reasons(nothing)["X"]
    closed = account(facts(plant, {"m": 0, "m12": 60, "m21": 60, "ma": 60, "mb": 40}))
    assert ("more-out-than-in", "p1") in reasons(closed)["X"]
    assert ("more-out-than-in", "p1") in reasons(closed)["Y"]


def test_amounts_that_overlap_across_hours_touch_those_of_the_hour_in_which_they_do() -> None:
    rows = [[at("02:00"), at("03:00"), "60"], [at("02:30"), at("03:30"), "20"]]
    jobs = [job("j1", "X", "a"), job("j2", "Z", "a", "03:00", "04:00")]
    result = account(facts(model([*BUS, REST]), {"m": rows, "ma": 30, "mb": 20}, jobs=jobs))
    (told,) = [one for one in result["issues"] if one["code"] == "amount-overlap"]
    assert (told["place"], told["at"]) == ("m", at("02:30"))
    assert reasons(result)["X"] == [("amount-overlap", "m")]
    assert ("amount-overlap", "m") not in reasons(result)["Z"]
    begins = [[at("02:00"), at("03:00"), "60"], [at("02:00"), at("04:00"), "20"]]
    result = account(facts(model([*BUS, REST]), {"m": begins, "ma": 30, "mb": 20}))
    assert [one["at"] for one in result["issues"] if one["code"] == "amount-overlap"] == [HOUR]


@pytest.mark.parametrize(("lowest", "is_wrong"), [("-20", True), ("-0.3", False)])
def test_a_rate_below_zero_contradicts_unless_it_may_still_mean_zero(lowest: str, *, is_wrong: bool) -> None:
    body = facts(model([("grid", "a", "g"), ("grid", "b", "mb")], pools=[]), {"mb": 20})
    body["plants"][0]["model"]["meters"][0]["max_gap_s"] = 3600
    body["channels"] = [{"channel": "g/g", "unit": "kW", "decimals": 2, "kind": "gauge"}]
    rates = {"02:00": "10", "02:20": "20", "02:40": lowest, "03:00": "10", "03:40": "10"}
    body["readings"] = [{"channel": "g/g", "rows": [[at(clock), rate] for clock, rate in rates.items()]}]
    result = account(body)
    assert ("gauge-negative", "g") in issues(result)
    assert reasons(result) == {"X": [("gauge-negative", "g")] if is_wrong else [], "Y": []}


def test_a_batch_whose_job_was_kept_out_lacks_it() -> None:
    jobs = [
        job("j1", "X", "a", start="03:00", end="02:00"),
        job("j2", "Y", "b"),
        job("j3", "Z", "a", step="nowhere"),
    ]
    ordered = [
        {"kind": "order", "at": at("01:00"), "body": {"batch": batch, "quantity": 10, "unit": "kg"}} for batch in "XYZ"
    ]
    body = facts(model([*BUS, REST]), {"m": 60, "ma": 30, "mb": 20}, jobs=jobs, events=ordered)
    assert reasons(account(body)) == {"X": [("job-end-before-start", "j1")], "Y": [], "Z": [("job-unknown-step", "j3")]}
    jobs[0] = job("j1", "X", "a")
    assert reasons(account(body))["X"] == []


def test_what_contradicts_goes_on_to_what_is_made_of_it_and_is_told_once_for_many_hours() -> None:
    hours = [(at(f"0{n}:00"), at(f"0{n + 1}:00")) for n in (2, 3, 4)]
    used = {m: [[start, end, amount] for start, end in hours] for m, amount in (("m", "10"), ("ma", "30"), ("mb", "0"))}
    events = [
        {"kind": "output", "at": at("03:00"), "body": {"batch": "X", "quantity": 10, "unit": "kg"}},
        {"kind": "material_use", "at": at("04:00"), "body": {"batch": "W", "lot": "X", "quantity": 5, "unit": "kg"}},
        {"kind": "output", "at": at("04:30"), "body": {"batch": "W", "quantity": 5, "unit": "kg"}},
        {"kind": "order", "at": at("01:00"), "body": {"batch": "W", "quantity": 5, "unit": "kg"}},
    ]
    body = facts(model(BUS), used, jobs=[job("j1", "X", "a", end="05:00")], events=events)
    result = account(body)
    assert reasons(result) == {"X": [("more-out-than-in", "bus")], "W": [("more-out-than-in", "bus")]}
    (reason,) = result["batches"]["W"]["reasons"]
    assert "in 2 more hours" in reason["message"]
    (alone,) = account(body, "inventory")["batches"]["X"]["reasons"]
    assert alone["code"] == "more-out-than-in"


def test_a_quantity_that_nobody_has_is_told_as_it_is_divided() -> None:
    plant = model([*BUS, REST]) | {"idle": {"window": "day", "driver": "mass"}}
    used = {"m": [[at("10:00"), at("11:00"), "60"]], "ma": [[at("10:00"), at("11:00"), "60"]], "mb": 0}
    jobs = [job("j1", "X", "a"), job("j2", "Y", "a")]
    result = account(facts(plant, used, jobs=jobs, until="2026-01-02T05:00:00Z"))
    (message, *_) = [one["message"] for one in result["issues"] if one["code"] == "driver-missing"]
    assert "where none has they are divided equally" in message
    assert without_idle(reasons(result)) == {name: [MISSING_X, MISSING_Y] for name in "XY"}
    alone = [job("j1", "X", "a")]
    result = account(facts(plant, used, jobs=alone, until="2026-01-02T05:00:00Z"))
    assert without_idle(reasons(result)) == {"X": []}, "what goes to one is not divided"


MISSING_X, MISSING_Y = ("driver-missing", "X"), ("driver-missing", "Y")


def without_idle(found: dict[str, list[tuple[str, str]]]) -> dict[str, list[tuple[str, str]]]:
    return {name: [one for one in several if one[0] == "driver-missing"] for name, several in found.items()}


def order(batch: str) -> Body:
    return {"kind": "order", "at": at("01:00"), "body": {"batch": batch, "quantity": 10, "unit": "kg"}}


def test_batches_that_share_a_rest_by_a_quantity_that_one_lacks_say_so_and_no_others() -> None:
    """X and Y share what is left of `bus` by mass; Z runs on c, which has a meter, W shares what is left of `air` by pieces."""
    units = [named(unit, step="s") for unit in ("a", "b", "c", "d", "e")]
    flows = [
        ("grid", "bus", "m"),
        ("bus", "c", "mc"),
        ("bus", "a", "rest"),
        ("bus", "b", "rest"),
        ("grid", "air", "ma"),
    ]
    pools = [named("bus", unit="kWh"), named("air", unit="kWh")]
    plant = model([*flows, ("air", "d", "rest"), ("air", "e", "rest")], pools=pools)
    plant["work_centers"] = [named("line", work_units=units)]
    for flow in plant["flows"]:
        if flow["amount"] == "rest":
            flow["driver"] = "mass" if flow["from"] == "bus" else "running_time"
    jobs = [job(f"j{unit}", batch, unit) for unit, batch in zip("abcd", "XYZW", strict=True)]
    used = {"m": 60, "mc": 20, "ma": 10}
    ordered = [order("X"), order("Z")]
    assert reasons(account(facts(plant, used, jobs=jobs, events=ordered))) == {
        "W": [], "X": [MISSING_Y], "Y": [MISSING_Y], "Z": [],
    }  # fmt: skip
    nobody = reasons(account(facts(plant, used, jobs=jobs)))
    assert nobody == {"W": [], "X": [MISSING_X, MISSING_Y], "Y": [MISSING_X, MISSING_Y], "Z": []}
    everybody = reasons(account(facts(plant, used, jobs=jobs, events=[*ordered, order("Y")])))
    assert everybody == {"W": [], "X": [], "Y": [], "Z": []}
    plant["flows"] = [flow for flow in plant["flows"] if flow["to"] != "b"]
    alone = reasons(account(facts(plant, used, jobs=jobs, events=[order("Y")])))
    assert alone == {"W": [], "X": [], "Y": [], "Z": []}, "what goes to one is not divided"


def test_batches_that_share_an_activity_by_a_quantity_that_one_lacks_say_so() -> None:
    plant = model([*BUS, REST]) | {"idle": {"window": "day", "driver": "mass"}}
    body = {"source": "grid", "amount": 9, "pool": "bus", "from": at("02:00"), "to": at("03:00")}
    events = [order("X"), {"kind": "activity", "at": at("04:00"), "body": body}]
    used = {"m": 50, "ma": 30, "mb": 20}
    assert reasons(account(facts(plant, used, events=events))) == {"X": [MISSING_Y], "Y": [MISSING_Y]}


def test_a_footprint_below_zero_is_told_as_that() -> None:
    with pytest.raises(ValueError, match=r"-2 kg CO2e is below zero; .*pcf_uptake_kg_co2"):
        Pcf.of("supplier", "-2")


def test_idle_amounts_take_what_contradicts_along_to_the_jobs_of_their_window() -> None:
    """At 02 nothing runs on b while the bus gives more than it gets; X, Y and Z run on it later the same day, W the next."""
    plant = model([*BUS, REST]) | {"idle": {"window": "day"}}
    hours = [("02:00", "03:00", "40"), ("03:00", "04:00", "60"), ("04:00", "05:00", "60")]
    used = {
        "m": [[at(start), at(end), amount] for start, end, amount in hours],
        "ma": [[at(start), at(end), "30"] for start, end, _ in hours],
        "mb": [[at(start), at(end), "20"] for start, end, _ in hours],
    }
    jobs = [
        job("j1", "X", "a", "03:00", "05:00"),
        job("j2", "Y", "b", "03:00", "04:00"),
        job("j3", "Z", "b", "04:00", "05:00"),
        {"job": "j4", "batch": "W", "work_unit": "b", "start": at("17:00"), "end": at("18:00")},
    ]
    result = account(facts(plant, used, jobs=jobs, until="2026-01-01T20:00:00Z"))
    found = {name: [(one["code"], one["place"]) for one in one["reasons"]] for name, one in result["batches"].items()}
    bus = ("disagreement", "bus")
    assert {name for name, several in found.items() if bus in several} == {"X", "Y", "Z"}
    (reason,) = [one for one in result["batches"]["Z"]["reasons"] if one["code"] == "disagreement"]
    assert f"it shares what was idle at {HOUR}" in reason["message"]
    running = [*jobs, job("j5", "V", "a"), job("j6", "U", "b")]  # then nothing was idle at 02
    result = account(facts(plant, used, jobs=running, until="2026-01-01T20:00:00Z"))
    told = {name for name, one in result["batches"].items() if "disagreement" in {r["code"] for r in one["reasons"]}}
    assert told == {"U", "V"}


def test_what_waits_for_a_window_is_the_same_after_it_was_stored() -> None:
    wrong = Issue("disagreement", "bus", "message", "remedy", 3_600_000, contradicts=True)
    waiting = (
        Waiting().plus([("grid", 0, 3, 5)], 0, [wrong]).plus([("grid", 0, 3, 5)], 0, [replace(wrong, at_ms=7_200_000)])
    )
    pending = Pending({Account("idle", "a", "a", "s"): waiting, Account("idle", "b"): Waiting((("grid", 0, 3, 1),))})
    again = Pending.from_json(json.loads(json.dumps(pending.to_json())))
    assert again == pending
    assert again.waiting[Account("idle", "a", "a", "s")].against == (wrong,)


def stored(kind: str, used: dict[str, Any], **more: Any) -> Body:
    """grid → bus → tank → out → a; b is at the bus. What each meter used in the hours from 02 on."""
    flows = [("grid", "bus", "m"), ("bus", "b", "mb"), ("bus", "tank", "mc"), ("tank", "out", "md"), ("out", "a", "ma")]
    pools = [named("bus", unit="kWh"), named("out", unit="kWh")]
    plant = model(flows, pools=pools) | {"stores": [named("tank", unit="kWh", kind=kind)]}
    hours = [(at(f"0{n}:00"), at(f"0{n + 1}:00")) for n in range(2, 8)]
    rows = {
        m: [[*hour, str(amount)] for hour, amount in zip(hours, several, strict=True)] for m, several in used.items()
    }
    jobs = [job(f"a{n}", f"A{n}", "a", f"0{n}:00", f"0{n + 1}:00") for n in range(2, 8)]
    jobs += [job(f"b{n}", f"B{n}", "b", f"0{n}:00", f"0{n + 1}:00") for n in range(2, 8)]
    return facts(plant, rows, jobs=jobs, until=at("08:00"), **more)


@pytest.mark.parametrize(("kind", "told"), [("fifo", {"A5", "A6"}), ("mixed", {"A4", "A5", "A6"})])
def test_what_a_store_keeps_of_a_contradicting_hour_is_doubted_until_it_has_gone_out(kind: str, told: set[str]) -> None:
    """10 come in at 02 and at 03, when the bus gives more than it gets; what goes out at 04 came in at 02, if that goes first."""
    used = {
        "m": [30, 10, 20, 20, 20, 30], "mb": [20, 20, 20, 20, 20, 20], "mc": [10, 10, 0, 0, 0, 10],
        "md": [0, 0, 10, 5, 5, 0], "ma": [0, 0, 10, 5, 5, 0],
    }  # fmt: skip
    found = reasons(account(stored(kind, used)))
    bus = ("more-out-than-in", "bus")
    assert {name for name, several in found.items() if bus in several} == {"A3", "B3", *told}
    (reason,) = account(stored(kind, used))["batches"]["A5"]["reasons"]
    assert reason["message"].endswith(f"(it shares what tank kept at {at('03:00')})")
    used["m"][1] = 30
    assert not any(reasons(account(stored(kind, used))).values())


def test_what_a_pool_keeps_of_a_contradicting_hour_is_doubted_when_it_goes_out() -> None:
    plant = model([("gas", "boiler", "m"), ("boiler", "a", "ma"), ("grid", "b", "mb")], pools=[])
    plant["pools"] = [named("boiler", unit="kWh", kind="converting")]
    plant["sources"].append(named("gas", unit="kWh", kind="fuel", factor="own.grid", scope=1))
    rows = {"m": [[at("02:00"), at("02:40"), "20"], [at("02:20"), at("03:00"), "10"], [at("03:00"), at("05:00"), "9"]]}
    used = rows | {"ma": [[at("02:00"), at("03:00"), "0"], [at("03:00"), at("05:00"), "30"]], "mb": 20}
    jobs = [job(f"j{n}", f"X{n}", "a", f"0{n}:00", f"0{n + 1}:00") for n in (2, 3, 4)]
    found = account(facts(plant, used, jobs=jobs))
    assert {name: [one["code"] for one in body["reasons"]] for name, body in found["batches"].items()} == {
        "X2": ["amount-overlap"], "X3": ["amount-overlap"], "X4": [],
    }  # fmt: skip


@pytest.mark.parametrize(
    ("document", "told"),
    # In the first a pool keeps as much of a later hour as it gives out; in the second a store is charged every hour.
    [("pool_keeps_a_doubt", {"A", "B", "C"}), ("store_ends_a_doubt", {"B2", "B4"})],
)
def test_a_doubt_goes_out_with_what_it_was_of_and_ends(document: str, told: set[str]) -> None:
    body = json.loads((DATA / f"{document}.facts.json").read_text(encoding="utf-8"))
    assert {name for name, several in reasons(account(body)).items() if several} == told


@pytest.mark.parametrize("quantities", [("5", "2"), ("2", "5")])
def test_an_output_told_twice_under_one_revision_counts_alike_in_any_order(quantities: tuple[str, str]) -> None:
    outputs = [
        {"kind": "output", "at": at("03:00"), "source": "mes", "event_id": "o", "body": {"batch": "X", "quantity": q, "unit": "kg"}}
        for q in quantities
    ]  # fmt: skip
    found = account(facts(model(BUS), {"m": 20, "ma": 10, "mb": 10}, jobs=[job("j", "X", "a")], events=outputs))
    assert found["batches"]["X"]["product_footprint"]["quantity"] == "5"


def test_doubts_are_the_same_after_they_were_stored() -> None:
    wrong = Issue("more-out-than-in", "bus", "told", "do this", 5)
    carry = Carry({}, {"bus": (("grid", 0, 3, 1),)}, doubts=Doubts({"bus": (wrong,)}))
    assert Carry.from_json(json.loads(json.dumps(carry.to_json()))) == carry
    assert "doubts" not in Carry({}, {}).to_json()
