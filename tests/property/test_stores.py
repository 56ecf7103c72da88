"""Stores over many hours: conservation with what is kept, late charges that stay local, bounds that always hold."""

from dataclasses import dataclass
from typing import Any

from accounting_cases import HOUR, HOUR_MS, NO_PRODUCTION, make_graph, meter_hours
from hypothesis import given, settings
from hypothesis import strategies as st
from random_plants import UNHURRIED

from plantprint.account import EMPTY_CARRY, Carry, HourAccount, account_meters
from plantprint.ledger import Posting, corrections, net
from plantprint.plant.graph import PlantGraph
from plantprint.stores import StoreLayer, contents, take

HOURS = 30
METERS = ("m-gas", "m-grid", "m-pv", "m-power", "m-heat", "m-in", "m-out", "m-tank-in", "m-tank-out", "m-u", "m-h")


def plant(kind: str, **battery: Any) -> PlantGraph:
    """A CHP and a roof on a bus with a battery, and a header with a tank behind it."""
    return make_graph(
        [
            ("gas", "chp", "m-gas"),
            ("chp", "bus", "m-power"),
            ("chp", "header", "m-heat"),
            ("grid", "bus", "m-grid"),
            ("pv", "bus", "m-pv"),
            ("bus", "battery", "m-in"),
            ("battery", "bus", "m-out"),
            ("header", "tank", "m-tank-in"),
            ("tank", "header", "m-tank-out"),
            ("bus", "u", "m-u"),
            ("bus", "export", "rest"),
            ("header", "h", "m-h"),
            ("header", "losses", "rest"),
        ],
        pools={"chp": "chp", "bus": "conserving", "header": "conserving"},
        sources={"gas": "fuel", "grid": "grid", "pv": "on_site"},
        units={"gas": "Nm3"},
        work_units=["u", "h"],
        stores={"battery": {"kind": kind, **battery}, "tank": {"kind": kind, "capacity": "0.00004"}},
        more={
            "chp": {
                "method": "efficiency",
                "products": [
                    {"id": "power", "unit": "kWh", "reference_efficiency": "0.45"},
                    {"id": "heat", "unit": "kWh", "reference_efficiency": "0.9"},
                ],
            },
            ("chp", "bus"): {"product": "power"},
            ("chp", "header"): {"product": "heat"},
        },
    )


Hours = dict[int, dict[str, int]]


@dataclass
class Ledger:
    """A small accountant: hours from the first touched one on, until the carry is what it was."""

    graph: PlantGraph
    postings: list[Posting]
    carries: dict[int, Carry]

    def work(self, hours: Hours, first: int, cause: str) -> int:
        """Accounts hours from `first` on; returns how many it took."""
        for number in range(first, HOURS):
            result = self.account(hours, number)
            known = {key: amount for key, amount in net(self.postings).items() if key.hour_ms == result.hour_ms}
            self.postings += corrections(known, result.net, cause)
            settled = self.carries.get(number) == result.carry
            self.carries[number] = result.carry
            if settled:
                return number - first + 1
        return HOURS - first

    def account(self, hours: Hours, number: int) -> HourAccount:
        hour_ms = HOUR + number * HOUR_MS
        amounts = {meter: [amount, 0, 0, amount] for meter, amount in hours.get(number, {}).items()}
        before = self.carries.get(number - 1, EMPTY_CARRY)
        meters = meter_hours(self.graph, amounts)
        return account_meters(self.graph, NO_PRODUCTION, hour_ms, meters, (), before, hour_ms + HOUR_MS)


amounts = st.dictionaries(st.sampled_from(METERS), st.integers(0, 40), max_size=len(METERS))
hours = st.dictionaries(st.integers(0, HOURS - 1), amounts, min_size=3, max_size=12)
kinds = st.sampled_from(["fifo", "mixed"])


@settings(UNHURRIED, max_examples=40)
@given(hours, kinds)
def test_what_entered_is_used_or_kept_over_all_hours(facts: Hours, kind: str) -> None:
    graph = plant(kind)
    ledger = Ledger(graph, [], {})
    ledger.work(facts, 0, "settled")
    last = ledger.carries[HOURS - 1]
    for source, meter in (("gas", "m-gas"), ("grid", "m-grid"), ("pv", "m-pv")):
        entered = sum(2 * amounts.get(meter, 0) for amounts in facts.values())
        kept = [*last.stock.values(), *map(contents, last.stores.values())]
        ended = net(ledger.postings)
        used = sum(n for key, n in ended.items() if key.source == source and key.account_kind != "stock")
        stock = sum(n for key, n in ended.items() if key.source == source and key.account_kind == "stock")
        assert used + stock == entered
        assert stock == sum(layer[3] for layers in kept for layer in layers if layer[0] == source)
    for layers in last.stores.values():
        assert all(layer.level > 0 and all(part[3] > 0 for part in layer.content) for layer in layers)
    assert sum(layer.level for layer in last.stores["tank"]) <= 40


@settings(UNHURRIED, max_examples=30)
@given(hours, kinds, st.integers(0, 20), st.integers(1, 40))
def test_a_late_charge_is_accounted_until_the_store_is_empty_and_no_further(
    facts: Hours, kind: str, late: int, amount: int
) -> None:
    # The battery is empty at 06:00, so nothing of it travels further.
    graph = plant(kind, empty_point="06:00+00:00")
    facts = {number: {m: n for m, n in amounts.items() if "tank" not in m} for number, amounts in facts.items()}
    ledger = Ledger(graph, [], {})
    ledger.work(facts, 0, "settled")
    first = list(ledger.postings)
    changed = {**facts, late: {**facts.get(late, {}), "m-in": amount, "m-grid": 40}}
    worked = ledger.work(changed, late, "late reading")
    scratch = Ledger(graph, [], {})
    scratch.work(changed, 0, "settled")
    assert net(ledger.postings) == net(scratch.postings)
    assert ledger.carries == scratch.carries
    assert ledger.postings[: len(first)] == first
    stocked = max((number for number, carry in scratch.carries.items() if carry.stock), default=-1)
    if stocked < late:  # Stock of a pool without a way out has no such end.
        assert worked <= (5 - late) % 24 + 2


layers = st.lists(
    st.builds(
        StoreLayer,
        st.integers(0, 5),
        st.integers(1, 10**12),
        st.lists(st.tuples(st.just("gas"), st.integers(0, 3), st.just(3), st.integers(1, 10**12)), max_size=3).map(
            tuple
        ),
    ),
    max_size=4,
).map(tuple)


@given(layers, st.integers(0, 4 * 10**12))
def test_taking_splits_every_layer_and_loses_nothing(full: tuple[StoreLayer, ...], amount: int) -> None:
    taken, kept = take(full, amount)
    held = sum(layer.level for layer in full)
    assert sum(layer.level for layer in kept) == max(0, held - amount)
    inside = sum(part[3] for layer in full for part in layer.content)
    assert sum(part[3] for part in taken) + sum(part[3] for part in contents(kept)) == inside
    assert len([layer for layer, was in zip(kept, full[-len(kept) :], strict=False) if layer != was]) <= 1
