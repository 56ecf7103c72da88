"""The ledger only grows: corrections lead to the wanted net, late facts to the one from scratch."""

import json

from accounting_cases import HOUR, HOUR_MS, hour_series
from hypothesis import given, settings
from hypothesis import strategies as st
from random_plants import HOURS, UNHURRIED, Facts, facts

from plantprint.account import EMPTY_CARRY, Carry, account_hour
from plantprint.facts import Reading
from plantprint.ledger import Net, Posting, PostingKey, corrections, net
from plantprint.production_book import reduce_events

NOW = HOUR + HOURS * HOUR_MS

keys = st.builds(
    lambda batch, quality: PostingKey(HOUR, "batch", batch, "u", "", "grid", HOUR, quality),
    st.sampled_from("abc"),
    st.integers(1, 3),
)
nets = st.dictionaries(keys, st.integers(-(10**20), 10**20).filter(bool), max_size=6)


@given(st.lists(nets, min_size=1, max_size=5))
def test_corrections_lead_from_any_net_to_any_other_and_each_stays_readable(wanted: list[Net]) -> None:
    postings: list[Posting] = []
    marks: list[int] = []
    for number, one in enumerate(wanted):
        postings += corrections(net(postings), one, f"pass {number}")
        marks.append(len(postings))
        assert not corrections(net(postings), one, "again")
    assert [net(postings[:mark]) for mark in marks] == wanted
    assert all(posting.amount for posting in postings)


@given(nets, nets)
def test_a_correction_is_a_reversal_of_all_that_was_known_and_a_new_posting(known: Net, wanted: Net) -> None:
    for posting in corrections(known, wanted, "late reading"):
        if posting.cause.startswith("reversal: "):
            assert posting.amount == -known[posting.key]
        else:
            assert posting.amount == wanted[posting.key]


class Ledger:
    """A small accountant: append-only postings, hours recomputed only where their facts or their carry changed."""

    def __init__(self) -> None:
        self.postings: list[Posting] = []
        self.carries: dict[int, str] = {}
        self.seen: dict[int, tuple[object, ...]] = {}
        self.recomputed = 0

    def work(self, case: Facts, cause: str) -> None:
        made = reduce_events(case.events, case.graph)
        carry = json.dumps(EMPTY_CARRY.to_json())
        for number in range(-1, HOURS):
            hour_ms = HOUR + number * HOUR_MS
            series = hour_series(case.graph, case.readings, hour_ms)
            around = (series, made.jobs, made.states, carry)
            if self.seen.get(hour_ms) != around:
                self.seen[hour_ms] = around
                account = account_hour(case.graph, made, hour_ms, series, Carry.from_json(json.loads(carry)), NOW)
                known = {key: amount for key, amount in net(self.postings).items() if key.hour_ms == hour_ms}
                self.postings += corrections(known, account.net, cause)
                self.carries[hour_ms] = json.dumps(account.carry.to_json())
                self.recomputed += 1
            carry = self.carries[hour_ms]


@settings(UNHURRIED, max_examples=40)
@given(facts(), st.data())
def test_late_facts_end_in_the_same_net_ledger_and_the_past_stays_readable(case: Facts, data: st.DataObject) -> None:
    def some(kept: list[Reading]) -> list[Reading]:
        late = data.draw(st.sets(st.integers(0, max(len(kept) - 1, 0)), max_size=3))
        return [reading for number, reading in enumerate(kept) if number not in late]

    early = Facts(
        case.graph, {m: some(course) for m, course in case.readings.items()}, case.events[: len(case.events) // 2]
    )
    ledger = Ledger()
    ledger.work(early, "settled")
    first = list(ledger.postings)
    ledger.work(case, "late facts")
    scratch = Ledger()
    scratch.work(case, "settled")
    assert net(ledger.postings) == net(scratch.postings)
    assert ledger.carries == scratch.carries
    assert ledger.postings[: len(first)] == first
    at_first = Ledger()
    at_first.work(early, "settled")
    assert net(ledger.postings[: len(first)]) == net(at_first.postings)
    assert all(posting.cause.endswith("late facts") for posting in ledger.postings[len(first) :])


@settings(UNHURRIED, max_examples=20)
@given(facts())
def test_nothing_new_is_nothing_to_do(case: Facts) -> None:
    ledger = Ledger()
    ledger.work(case, "settled")
    before, worked = len(ledger.postings), ledger.recomputed
    ledger.work(case, "again")
    assert (len(ledger.postings), ledger.recomputed) == (before, worked)
