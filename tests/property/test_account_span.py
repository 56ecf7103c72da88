"""Consecutive hours accounted at once come out as one by one: traced together, kept apart where something is held."""

import numpy as np
from accounting_cases import HOUR, HOUR_MS, make_graph, meter_hours
from hypothesis import given, settings
from hypothesis import strategies as st
from random_plants import UNHURRIED, Windowed, amounts, plants, productions, windowed

from plantprint.account import EMPTY_CARRY, HourAccount, account_meters, account_span
from plantprint.facts import ProductionEvent, Quality
from plantprint.intervals import MeterHour
from plantprint.plant.graph import PlantGraph
from plantprint.production import Production
from plantprint.production_book import reduce_events

Hours = list[dict[str, MeterHour]]
qualities = st.sampled_from([Quality.MEASURED] * 5 + [Quality.ESTIMATED, Quality.MISSING])


@settings(UNHURRIED, max_examples=35)
@given(plants(), productions(), st.data())
def test_hours_at_once_are_the_hours_one_by_one(
    graph: PlantGraph, events: list[ProductionEvent], data: st.DataObject
) -> None:
    flowing = [meter for meter in graph.meters if meter not in graph.levels]
    hours: Hours = []
    for _ in range(4):
        amount = {meter: [data.draw(amounts) for _ in range(graph.buckets)] for meter in flowing}
        quality = {meter: [data.draw(qualities) for _ in range(graph.buckets)] for meter in flowing}
        hours.append({meter: meter_hours(graph, amount, quality)[meter] for meter in flowing})
    assert_alike(graph, reduce_events(events, graph), HOUR, hours)


@settings(UNHURRIED, max_examples=10)
@given(windowed())
def test_windows_end_alike_in_hours_at_once(case: Windowed) -> None:
    graph = case.graph
    count = len(next(iter(case.amounts.values())))
    hours = [meter_hours(graph, {m: rows[number] for m, rows in case.amounts.items()}) for number in range(count)]
    assert_alike(graph, reduce_events(case.events, graph), case.start_ms, hours)


def test_only_the_hours_that_are_tied_are_traced_one_by_one() -> None:
    """A bus keeps what nobody takes in the second hour; the third gives it out."""
    graph = make_graph([("grid", "bus", "m"), ("bus", "a", "m-a")], pools={"bus": "conserving"}, work_units=["a"])
    taken = [[5] * 4, [0] * 4, [5] * 4, [5] * 4, [5] * 4]
    hours = [meter_hours(graph, {"m": [5] * 4, "m-a": amount}) for amount in taken]
    accounts = assert_alike(graph, reduce_events([], graph), HOUR, hours)
    assert [bool(account.carry.stock) for account in accounts] == [False, True, False, False, False]


def assert_alike(graph: PlantGraph, made: Production, start_ms: int, hours: Hours) -> list[HourAccount]:
    end_ms = start_ms + len(hours) * HOUR_MS
    names = MeterHour.__slots__
    span = {m: MeterHour(*(np.concatenate([getattr(h[m], name) for h in hours]) for name in names)) for m in hours[0]}
    several = list(account_span(graph, made, start_ms, len(hours), span, EMPTY_CARRY, end_ms))
    carry = EMPTY_CARRY
    for number, (hour, got) in enumerate(zip(hours, several, strict=True)):
        alone = account_meters(graph, made, start_ms + number * HOUR_MS, hour, (), carry, end_ms)
        carry = alone.carry
        assert (got.hour_ms, got.net, got.carry, got.issues) == (alone.hour_ms, alone.net, alone.carry, alone.issues)
        assert (got.missing_ms, got.closed, got.inferred) == (alone.missing_ms, alone.closed, alone.inferred)
        for one, other in zip(got.uses, alone.uses, strict=True):
            assert (one.account_id, one.source, one.amount.tolist()) == (
                other.account_id,
                other.source,
                other.amount.tolist(),
            )
    return several
