"""Idle windows on random plants and events: nothing is lost, order does not matter, and late events end in the same ledger."""

import random
from collections.abc import Sequence

from accounting_cases import HOUR_MS, account_amounts, meter_hours
from hypothesis import given, settings
from hypothesis import strategies as st
from random_plants import UNHURRIED, WINDOWED_HOURS, Windowed, windowed

from plantprint.account import EMPTY_CARRY, HourAccount, account_meters
from plantprint.facts import ProductionEvent
from plantprint.production import Production
from plantprint.production_book import ProductionBook, reduce_events
from plantprint.production_events import EventBook
from plantprint.settlement import reaches_back_ms, touched_spans
from plantprint.times import hour_floor

FAR_MS = 2**50


def account_all(case: Windowed, events: Sequence[ProductionEvent]) -> list[HourAccount]:
    return account_amounts(case.graph, reduce_events(events, case.graph), case.amounts, start_ms=case.start_ms)


@settings(UNHURRIED, max_examples=25)
@given(windowed())
def test_every_hour_adds_up_and_what_waits_is_on_its_account(case: Windowed) -> None:
    made = reduce_events(case.events, case.graph)
    waiting: dict[tuple[str, str, str], int] = {}
    for number, account in enumerate(account_all(case, case.events)):
        posted: dict[str, int] = {}
        for key, amount in account.net.items():
            posted[key.source] = posted.get(key.source, 0) + amount
            assert key.portion == "direct" or key.account_kind == "batch"
            if key.account_id in case.graph.idle and key.account_kind in {"idle", "unmetered"}:
                place = (key.account_kind, key.account_id, key.source)
                waiting[place] = waiting.get(place, 0) + amount
        meters = {meter: sum(rows[number]) for meter, rows in case.amounts.items()}
        activities = sum(a.amount for a in made.activities if a.hour_ms == account.hour_ms)
        assert posted.get("grid", 0) == meters["main"] + meters["a"]
        assert posted.get("gas", 0) == meters["g1"] + activities
        held: dict[tuple[str, str, str], int] = {}
        for name, wait in account.carry.pending.waiting.items():
            for source, _, _, amount in wait.layers:
                held[name.kind, name.id, source] = held.get((name.kind, name.id, source), 0) + amount
        spread = {place: amount for place, amount in waiting.items() if amount}
        if any(edge.taker_kind == "unmetered" and edge.disposition != "window" for edge in case.graph.edges):
            spread = {place: amount for place, amount in spread.items() if place[0] == "idle"}
        assert spread == {place: amount for place, amount in held.items() if amount}


@settings(UNHURRIED, max_examples=25)
@given(windowed())
def test_each_window_ends_once_and_leaves_nothing_behind_where_jobs_ran(case: Windowed) -> None:
    closed = [window for account in account_all(case, case.events) for window in account.closed]
    end_ms = case.start_ms + WINDOWED_HOURS * HOUR_MS
    for place, rule in case.graph.idle.items():
        ends = [window.end_ms for window in closed if window.place == place]
        assert ends == [w.end_ms for _, _, w in rule.calendar.parts(case.start_ms, end_ms) if w.end_ms <= end_ms]
    assert all(window.outcome != "carried" for window in closed if _ends_month(case, window.place, window.end_ms))


def _ends_month(case: Windowed, place: str, end_ms: int) -> bool:
    return case.graph.idle[place].calendar.window_at(end_ms - 1).ends_month


@settings(UNHURRIED, max_examples=15)
@given(windowed(), st.randoms(use_true_random=False))
def test_the_order_of_events_changes_nothing(case: Windowed, shuffler: random.Random) -> None:
    events = [*case.events, *case.events[::2]]
    shuffler.shuffle(events)
    for one, two in zip(account_all(case, case.events), account_all(case, events), strict=True):
        assert (one.net, one.carry, one.issues, one.closed) == (two.net, two.carry, two.issues, two.closed)


class Live:
    """Hours kept up as events arrive, the way a collector does it."""

    def __init__(self, case: Windowed) -> None:
        self.case = case
        self.known: list[ProductionEvent] = []
        self.events, self.book = EventBook(), ProductionBook(case.graph)
        self.hours: dict[int, HourAccount] = {}

    @property
    def made(self) -> Production:
        return self.book.production

    def settle(self, hour_ms: int, until_ms: int) -> HourAccount:
        before = self.hours.get(hour_ms - HOUR_MS)
        number = (hour_ms - self.case.start_ms) // HOUR_MS
        meters = meter_hours(self.case.graph, {meter: rows[number] for meter, rows in self.case.amounts.items()})
        carry = before.carry if before else EMPTY_CARRY
        account = account_meters(self.case.graph, self.made, hour_ms, meters, (), carry, until_ms)
        self.hours[hour_ms] = account
        return account

    def learn(self, late: Sequence[ProductionEvent], *, restarted: bool) -> None:
        """Works late events in: only touched hours, and on from each until its carry equals the one there was."""
        old, self.known = self.made, [*self.known, *late]
        difference = self.book.follow(self.events, self.events.add(late))
        spans = touched_spans(self.case.graph, old, self.made, difference, FAR_MS)
        if restarted and late:
            span = (min(event.at_ms for event in late), max(event.at_ms for event in late))
            spans = [(reaches_back_ms(self.case.graph, self.made, self.known, span), FAR_MS)]
        waiting = {h for h in self.hours if any(hour_floor(low) <= h <= high for low, high in spans)}
        until_ms = max(self.hours, default=0) + HOUR_MS
        while waiting:
            hour_ms = min(waiting)
            waiting.discard(hour_ms)
            stored = self.hours[hour_ms].carry
            if self.settle(hour_ms, until_ms).carry != stored and hour_ms + HOUR_MS in self.hours:
                waiting.add(hour_ms + HOUR_MS)


@settings(UNHURRIED, max_examples=25)
@given(windowed(), st.data())
def test_late_events_end_in_the_ledger_that_a_recompute_gives(case: Windowed, data: st.DataObject) -> None:
    events = data.draw(st.permutations(case.events))
    arrivals = data.draw(st.lists(st.integers(0, WINDOWED_HOURS), min_size=len(events), max_size=len(events)))
    restarts = data.draw(st.sets(st.integers(0, WINDOWED_HOURS)))
    live = Live(case)
    for number in range(WINDOWED_HOURS + 1):
        live.learn(
            [e for e, hour in zip(events, arrivals, strict=True) if hour == number], restarted=number in restarts
        )
        if number < WINDOWED_HOURS:
            hour_ms = case.start_ms + number * HOUR_MS
            live.settle(hour_ms, hour_ms + HOUR_MS)
    for whole in account_all(case, case.events):
        kept = live.hours[whole.hour_ms]
        assert kept.net == whole.net
        assert kept.carry == whole.carry
