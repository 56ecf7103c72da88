"""The invariants of the accounting on random plants and random facts, over several hours with what they carry."""

import random

from accounting_cases import HOUR, HOUR_MS, account_hours, make_graph
from hypothesis import given, settings
from hypothesis import strategies as st
from random_plants import HOURS, UNHURRIED, Facts, courses, facts, productions

from plantprint.account import HourAccount
from plantprint.facts import Reading
from plantprint.production_book import reduce_events
from plantprint.stores import contents


def account_all(case: Facts) -> list[HourAccount]:
    return account_hours(case.graph, reduce_events(case.events, case.graph), case.readings, HOURS + 1, first=-1)


@settings(UNHURRIED)
@given(facts())
def test_conservation_is_exact_per_source_and_hour(case: Facts) -> None:
    stock: dict[str, int] = {}
    for account in account_all(case):
        posted: dict[str, int] = {}
        stocked: dict[str, int] = {}
        for key, amount in account.net.items():
            posted[key.source] = posted.get(key.source, 0) + amount
            if key.account_kind == "stock":
                stocked[key.source] = stocked.get(key.source, 0) + amount
        used: dict[str, int] = {}
        for use in account.uses:
            used[use.source] = used.get(use.source, 0) + int(use.amount.sum())
        for edge in case.graph.edges:
            if edge.giver_kind == "source":
                entered = sum(sign * int(account.meters[meter].amount.sum()) for sign, meter in edge.terms)
                posted[edge.giver] = posted.get(edge.giver, 0) - max(entered, 0)
        assert not any(posted.values())
        after: dict[str, int] = {}
        for layers in [*account.carry.stock.values(), *map(contents, account.carry.stores.values())]:
            for source, _, _, amount in layers:
                after[source] = after.get(source, 0) + amount
        for source in case.graph.sources:
            assert stocked.get(source, 0) == after.get(source, 0) - stock.get(source, 0)
            assert used.get(source, 0) == sum(
                amount for key, amount in account.net.items() if key.source == source and key.account_kind != "stock"
            )
        stock = after


@settings(UNHURRIED, max_examples=50)
@given(facts(), st.randoms(use_true_random=False))
def test_the_order_of_facts_and_their_repetition_change_nothing(case: Facts, shuffler: random.Random) -> None:
    events = [*case.events, *case.events[::2]]
    readings = {meter: [*course, *course[::3]] for meter, course in case.readings.items()}
    meters = list(readings)
    shuffler.shuffle(events)
    shuffler.shuffle(meters)
    for course in readings.values():
        shuffler.shuffle(course)
    other = account_all(Facts(case.graph, {meter: readings[meter] for meter in meters}, events))
    for one, two in zip(account_all(case), other, strict=True):
        assert one.net == two.net
        assert one.carry == two.carry
        assert one.issues == two.issues
        assert (one.missing_ms, one.missing_ms_by_work_unit) == (two.missing_ms, two.missing_ms_by_work_unit)


ONE = [("grid", "bus", "main"), ("bus", "u1", "m1"), ("bus", "u2", "m2"), ("bus", "unmetered", "rest")]
TWO = [(giver, taker, "m1 + m1b" if amount == "m1" else amount) for giver, taker, amount in ONE]


@settings(UNHURRIED, max_examples=40)
@given(st.lists(st.integers(0, 5_000_000), min_size=30, max_size=30), st.data())
def test_a_meter_split_in_two_changes_nothing_beyond_a_unit_per_division(steps: list[int], data: st.DataObject) -> None:
    pools, units = {"bus": "conserving"}, ["u1", "u2"]
    one = make_graph(ONE, pools=pools, work_units=units)
    two = make_graph(TWO, pools=pools, work_units=units)
    cuts = [data.draw(st.integers(0, step)) for step in steps[:8]] + steps[8:]
    other = data.draw(courses())
    total, part, rest = 10**9, 10**9, 10**9  # A register that leaves zero has a rule of its own.
    m1, m1a, m1b, main = [], [], [], []
    for number, (step, cut) in enumerate(zip(steps, cuts, strict=True)):
        total, part, rest = total + step, part + cut, rest + step - cut
        t_ms = HOUR - HOUR_MS + number * 457_001
        m1.append(Reading(t_ms, total))
        m1a.append(Reading(t_ms, part))
        m1b.append(Reading(t_ms, rest))
        main.append(Reading(t_ms, total * 3))
    events = data.draw(productions())
    plain = account_all(Facts(one, {"main": main, "m1": m1, "m2": other}, events))
    split = account_all(Facts(two, {"main": main, "m1": m1a, "m1b": m1b, "m2": other}, events))
    for a, b in zip(plain, split, strict=True):
        for key in a.net.keys() | b.net.keys():
            # One unit where the registers are rounded, one per division: pool, buckets of the hour, cuts, jobs.
            assert abs(a.net.get(key, 0) - b.net.get(key, 0)) <= 12
