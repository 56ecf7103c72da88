"""Idle windows, by hand: what waits, whom it goes to, what happens where no job ran."""

from typing import Any

from accounting_cases import HOUR, HOUR_MS, account_amounts, job, make_graph, meter_hours, production, state

from plantprint.account import EMPTY_CARRY, Carry, HourAccount, account_meters
from plantprint.facts import Quality
from plantprint.ledger import Net, PostingKey
from plantprint.plant.graph import PlantGraph
from plantprint.production import Batch, Production
from plantprint.spreading import Closed
from plantprint.times import parse_instant

M = int(Quality.MEASURED)
FOUR_HOURS = {"idle": {"window": "shift", "starts": ["00:00", "04:00", "08:00", "12:00", "16:00", "20:00"]}}
EVEN = [100, 100, 100, 100]


def plant(**more: object) -> PlantGraph:
    return make_graph([("grid", "u1", "m1")], work_units=["u1"], more={"plant": {**FOUR_HOURS, **more}})


def total(accounts: list[HourAccount]) -> Net:
    net: Net = {}
    for account in accounts:
        for key, amount in account.net.items():
            net[key] = net.get(key, 0) + amount
    return {key: amount for key, amount in net.items() if amount}


def by_account(accounts: list[HourAccount]) -> dict[tuple[str, str, str], int]:
    sums: dict[tuple[str, str, str], int] = {}
    for key, amount in total(accounts).items():
        place = (key.account_kind, key.account_id, key.portion)
        sums[place] = sums.get(place, 0) + amount
    return {place: amount for place, amount in sorted(sums.items()) if amount}


def test_idle_goes_to_the_jobs_of_its_shift_by_processing_time() -> None:
    """1600 in four hours; a runs 60 minutes, b 30. Idle: 400, 0, 200, 400; each hour's is divided 2 : 1 by R1."""
    made = production(job("a", "u1", 60, 120), job("b", "u1", 120, 150))
    accounts = account_amounts(plant(), made, {"m1": [EVEN] * 4})
    assert [account.closed for account in accounts[:3]] == [(), (), ()]
    assert accounts[3].closed == (Closed("u1", HOUR, HOUR + 4 * HOUR_MS, "spread"),)
    end = HOUR + 3 * HOUR_MS
    moved = {
        (key.account_id, (key.entered_ms - HOUR) // HOUR_MS, key.portion): amount
        for key, amount in accounts[3].net.items()
    }
    assert all(key.hour_ms == end for key in accounts[3].net)
    assert moved == {
        ("u1", 0, "direct"): -400,
        ("u1", 2, "direct"): -200,
        ("b-a", 0, "idle"): 267,
        ("b-b", 0, "idle"): 133,
        ("b-a", 2, "idle"): 133,
        ("b-b", 2, "idle"): 67,
        ("b-a", 3, "idle"): 267,
        ("b-b", 3, "idle"): 133,
    }
    assert by_account(accounts) == {
        ("batch", "b-a", "direct"): 400,
        ("batch", "b-a", "idle"): 667,
        ("batch", "b-b", "direct"): 200,
        ("batch", "b-b", "idle"): 333,
    }
    assert accounts[3].carry.pending.waiting == {}


def test_a_window_that_ends_inside_an_hour_cuts_what_is_idle_there() -> None:
    graph = make_graph(
        [("grid", "u1", "m1")],
        work_units=["u1"],
        more={"u1": {"idle": {"window": "shift", "starts": ["00:00", "01:30"]}}},
    )
    made = production(job("a", "u1", 0, 30), job("b", "u1", 105, 120))
    accounts = account_amounts(graph, made, {"m1": [EVEN, EVEN, EVEN]})
    assert by_account(accounts[:2]) == {
        ("batch", "b-a", "direct"): 200,
        ("batch", "b-a", "idle"): 400,
        ("batch", "b-b", "direct"): 100,
        ("idle", "u1", "direct"): 100,
    }
    waiting = accounts[2].carry.pending.waiting
    assert [(account.id, sum(layer[3] for layer in wait.layers)) for account, wait in waiting.items()] == [("u1", 500)]


def test_where_no_job_ran_idle_is_carried_on_and_goes_to_the_next_window() -> None:
    made = production(job("a", "u1", 300, 360))
    accounts = account_amounts(plant(), made, {"m1": [EVEN] * 8})
    assert [closed.outcome for account in accounts for closed in account.closed] == ["carried", "spread"]
    assert by_account(accounts) == {("batch", "b-a", "direct"): 400, ("batch", "b-a", "idle"): 2800}


def test_at_the_end_of_a_month_what_found_no_job_is_overhead() -> None:
    start_ms = parse_instant("2025-12-31T16:00:00Z")
    later = production(job("a", "u1", 60 * 24 * 31, 60 * 24 * 31 + 60))  # from midnight of the new year
    accounts = account_amounts(plant(), later, {"m1": [EVEN] * 12}, start_ms=start_ms)
    assert [closed.outcome for account in accounts for closed in account.closed] == ["carried", "overhead", "spread"]
    assert by_account(accounts) == {
        ("batch", "b-a", "direct"): 400,
        ("batch", "b-a", "idle"): 1200,
        ("overhead", "u1", "direct"): 3200,
    }
    assert [issue.code for account in accounts for issue in account.issues] == ["overhead"]


def test_a_window_ends_when_the_sites_time_has_come_to_it() -> None:
    made = production(job("a", "u1", 60, 120))
    accounts = account_amounts(plant(), made, {"m1": [EVEN] * 4}, until_ms=HOUR + 4 * HOUR_MS - 1)
    assert accounts[3].closed == ()
    assert by_account(accounts) == {("batch", "b-a", "direct"): 400, ("idle", "u1", "direct"): 1200}


def test_without_windows_idle_stays_where_it_is() -> None:
    graph = make_graph([("grid", "u1", "m1")], work_units=["u1"])
    accounts = account_amounts(graph, production(job("a", "u1", 60, 120)), {"m1": [EVEN] * 4})
    assert by_account(accounts) == {("batch", "b-a", "direct"): 400, ("idle", "u1", "direct"): 1200}
    assert accounts[3].carry.pending == EMPTY_CARRY.pending


def test_a_work_units_rule_counts_before_its_lines_and_the_sites() -> None:
    none = make_graph(
        [("grid", "u1", "m1")], work_units=["u1"], more={"plant": FOUR_HOURS, "u1": {"idle": {"window": "none"}}}
    )
    accounts = account_amounts(none, production(job("a", "u1", 60, 120)), {"m1": [EVEN] * 4})
    assert by_account(accounts)["idle", "u1", "direct"] == 1200


def test_setup_belongs_to_the_next_job_and_clean_down_to_the_previous_one_of_the_window() -> None:
    made = production(
        state("u1", "setup", 0, 60), state("u1", "processing", 60, 120), state("u1", "clean-down", 120, 240),
        job("a", "u1", 60, 120), job("late", "u1", 240, 300),
    )  # fmt: skip
    accounts = account_amounts(plant(), made, {"m1": [EVEN] * 4})
    assert by_account(accounts) == {("batch", "b-a", "direct"): 1600}


def test_setup_for_a_job_of_another_window_is_idle() -> None:
    made = production(state("u1", "setup", 180, 240), state("u1", "processing", 240, None), job("a", "u1", 240, None))
    accounts = account_amounts(plant(), made, {"m1": [EVEN] * 4})
    assert by_account(accounts) == {("idle", "u1", "direct"): 1600}


def batches(made: Production, **known: tuple[int, str]) -> Production:
    orders = {name: Batch(name, "", quantity * 1_000_000, unit, None) for name, (quantity, unit) in known.items()}
    return Production(made.jobs, made.states, orders, (), ())


def test_idle_by_mass_needs_the_orders_quantity() -> None:
    graph = plant(idle={**FOUR_HOURS["idle"], "driver": "mass"})
    made = production(job("a", "u1", 60, 120, batch="a"), job("b", "u1", 120, 150, batch="b"))
    known = account_amounts(graph, batches(made, a=(1, "t"), b=(3000, "kg")), {"m1": [EVEN] * 4})
    assert by_account(known)["batch", "a", "idle"] == 250
    assert by_account(known)["batch", "b", "idle"] == 750
    unknown = account_amounts(graph, batches(made, a=(1, "t"), b=(3000, "m2")), {"m1": [EVEN] * 4})
    assert by_account(unknown)["batch", "a", "idle"] == 1000
    assert [(i.code, i.place) for i in unknown[3].issues] == [("driver-missing", "b")]


def test_idle_divided_equally_and_by_no_processing_at_all() -> None:
    graph = plant(idle={**FOUR_HOURS["idle"], "driver": "equal"})
    made = production(job("a", "u1", 60, 120), job("b", "u1", 120, 150))
    assert by_account(account_amounts(graph, made, {"m1": [EVEN] * 4}))["batch", "b-b", "idle"] == 500
    paused = production(*made.jobs, state("u1", "fault", 0, None))
    accounts = account_amounts(plant(), paused, {"m1": [EVEN] * 4})
    assert by_account(accounts) == {("batch", "b-a", "idle"): 800, ("batch", "b-b", "idle"): 800}


def test_what_was_missing_while_idle_makes_the_windows_batches_incomplete() -> None:
    graph, made = plant(), production(job("a", "u1", 180, 240))
    carry = EMPTY_CARRY
    for number in range(4):
        gone = {"m1": [M, M, 0, M]} if number == 1 else {}
        hours = meter_hours(graph, {"m1": EVEN}, gone)
        account = account_meters(graph, made, HOUR + number * HOUR_MS, hours, (), carry, HOUR + 4 * HOUR_MS)
        carry = account.carry
    assert account.missing_ms == {"b-a": 900_000}


def test_the_carry_of_an_open_window_survives_the_way_through_json() -> None:
    made = production(job("a", "u1", 60, 120), job("b", "u1", 120, 150))
    for account in account_amounts(plant(), made, {"m1": [EVEN] * 4}):
        assert Carry.from_json(account.carry.to_json()) == account.carry


BUS = [("grid", "bus", "main"), ("bus", "u1", "m1"), ("bus", "u2", "m2"), ("bus", "unmetered", "rest")]


def with_disposition(**fields: str) -> PlantGraph:
    more: dict[Any, dict[str, Any]] = {"plant": FOUR_HOURS, ("bus", "unmetered"): fields}
    return make_graph(BUS, pools={"bus": "conserving"}, work_units=["u1", "u2"], more=more)


def test_unmetered_with_disposition_window_is_spread_over_all_jobs_behind_its_pool() -> None:
    made = production(job("a", "u1", 0, 60), job("b", "u2", 0, 180))
    amounts = {"main": [[100] * 4] * 4, "m1": [[20] * 4] * 4, "m2": [[40] * 4] * 4}
    accounts = account_amounts(with_disposition(disposition="window"), made, amounts)
    sums = by_account(accounts)
    assert by_account(accounts[:3])["unmetered", "bus", "direct"] == 480
    # Every hour 160 are unmetered: 1 : 3. Idle of u1 (3 x 80) goes to a, of u2 (160) to b.
    assert sums == {
        ("batch", "b-a", "direct"): 80,
        ("batch", "b-a", "idle"): 160 + 240,
        ("batch", "b-b", "direct"): 480,
        ("batch", "b-b", "idle"): 480 + 160,
    }


def test_losses_with_disposition_consumers_are_carried_by_the_other_takers() -> None:
    made = production(job("a", "u1", 0, 60), job("b", "u2", 0, 60))
    amounts = {"main": [[100] * 4], "m1": [[20] * 4], "m2": [[40] * 4]}
    accounts = account_amounts(with_disposition(disposition="consumers"), made, amounts)
    assert by_account(accounts) == {("batch", "b-a", "direct"): 133, ("batch", "b-b", "direct"): 267}


def test_what_is_outside_stays_on_its_account() -> None:
    made = production(job("a", "u1", 0, 60), job("b", "u2", 0, 60))
    amounts = {"main": [[100] * 4], "m1": [[20] * 4], "m2": [[40] * 4]}
    outside = account_amounts(with_disposition(disposition="outside", reason="the canteen"), made, amounts)
    assert by_account(outside)["unmetered", "bus", "direct"] == 160


def test_what_a_pool_could_not_hand_out_is_idle_of_it_at_its_windows_end() -> None:
    graph = make_graph(
        [("grid", "bus", "main"), ("bus", "u1", "m1")],
        pools={"bus": "conserving"}, work_units=["u1"], more={"plant": FOUR_HOURS},
    )  # fmt: skip
    amounts = {"main": [[0] * 4, [0] * 4, [0] * 4, [10] * 4], "m1": [[0] * 4] * 4}
    accounts = account_amounts(graph, production(job("a", "u1", 0, 60)), amounts)
    assert accounts[3].net == {
        PostingKey(HOUR + 3 * HOUR_MS, "batch", "b-a", "u1", "", "grid", HOUR + 3 * HOUR_MS, M, "idle"): 40
    }
    assert accounts[3].carry.stock == {}


def test_two_jobs_in_an_exclusive_step_are_a_conflict_that_the_hour_names() -> None:
    graph = make_graph([("grid", "u1", "m1")], work_units=["u1"], rules={"spin": "exclusive"})
    made = production(job("a", "u1", 0, 60, step="spin"), job("b", "u1", 30, 60, step="spin"))
    accounts = account_amounts(graph, made, {"m1": [EVEN]})
    assert by_account(accounts) == {("batch", "b-a", "direct"): 200, ("conflict", "u1", "direct"): 200}
    assert [(issue.code, issue.place) for issue in accounts[0].issues] == [("conflict", "u1")]
