"""Every posting of `plantprint account` against a second accounting written from the definition alone (tests/oracle)."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from oracle.oracle_account import account_document
from oracle.oracle_compare import assert_agrees, leave, plain, product_hours, tried
from oracle.oracle_documents import documents
from oracle.oracle_feeds import Feeds, seeded
from oracle.oracle_meters import Hour
from oracle.oracle_numbers import HOUR_MS
from oracle.oracle_plant import Plant
from oracle.oracle_readings import meter_hour, streams
from oracle.oracle_time import instant

from plantprint.ledger import Posting, corrections, net
from plantprint.times import format_instant

# Found by these tests: a store that lets an hour pass through it kept some, and the next hour did not know of it.
KEPT = Path(__file__).resolve().parents[1] / "data" / "passing_store_keeps.facts.json"
EXAMPLES = Path(__file__).resolve().parents[2] / "docs" / "examples"
Body = dict[str, Any]


def test_what_a_passing_store_kept_is_given_out_when_it_passes_again() -> None:
    assert_agrees(json.loads(KEPT.read_text(encoding="utf-8")))


@tried()
@given(documents())
def test_postings_and_missing_time_equal_those_of_the_oracle_digit_for_digit(document: Body) -> None:
    assert_agrees(document)


@tried(0.25)
@given(documents(large=True))
def test_huge_amounts_are_exact_too(document: Body) -> None:
    """Registers near the most that is believed, hours up to 2^53 millionths and beyond."""
    assert_agrees(document)


@tried(0.15)
@given(documents(hours=26, small=True))
def test_windows_of_days_are_closed_alike_over_clock_changes_and_months(document: Body) -> None:
    assert_agrees(document)


@tried(0.15)
@given(documents(known=True))
def test_late_facts_end_in_the_ledger_from_scratch_and_what_was_known_before_stays_readable(document: Body) -> None:
    """Facts become known in any order; after each time the ledger, only ever added to, is the oracle's of what is known."""
    ledger: dict[int, list[Posting]] = {}
    for known_at in _told(document):
        hours, wanted = product_hours(document, known_at), account_document(document, known_at)
        for hour in hours:
            postings = ledger.setdefault(hour.hour_ms, [])
            postings += corrections(net(postings), hour.net, known_at)
        for gone in ledger.keys() - {hour.hour_ms for hour in hours}:
            ledger[gone] += corrections(net(ledger[gone]), {}, known_at)
        sums = {hour_ms: plain(net(postings)) for hour_ms, postings in ledger.items()}
        assert {h: s for h, s in sums.items() if s} == {hour.hour_ms: hour.net for hour in wanted if hour.net}
    assert_agrees(document)


def _told(document: Body) -> list[str]:
    """Every second of the instants at which facts became known, from the first on which there is a reading."""
    first = min(str(block["known_at"]) for block in document["readings"])
    told = {str(fact["known_at"]) for fact in (*document["readings"], *document["events"])}
    return [*sorted(known_at for known_at in told if known_at >= first)[::2], max(told)]


def one_meter(chance_seed: int) -> Body:
    """A document of one meter and what it feeds."""
    start_ms, chance = instant("2026-03-28T22:00:00Z"), seeded(chance_seed)
    unit = chance.choice(("kWh", "kg", "Nm3"))
    model: Body = {
        "plantprint": 1,
        "site": {"id": "site", "name": {"en": "site"}},
        "bucket_s": chance.choice((300, 900, 1800)),
        "work_centers": [{"id": "l", "name": {"en": "l"}, "work_units": [{"id": "u", "name": {"en": "u"}}]}],
        "sources": [
            {"id": "s", "name": {"en": "s"}, "unit": unit, "kind": "purchased", "factor": "factor.s", "scope": 3}
        ],
        "meters": [{"id": "m", "name": {"en": "m"}, "unit": unit, "bindings": [{"channel": "gw/m"}]}],
        "flows": [{"from": "s", "to": "u", "amount": "m"}],
    }
    channels, readings = Feeds(chance, start_ms, 5, large=not chance.randrange(4)).of({**model, "stores": []})
    until = format_instant(start_ms + 5 * HOUR_MS)
    return {
        "plantprint_facts": 1,
        "plants": [{"model": model}],
        "channels": channels,
        "readings": readings,
        "until": until,
    }


@tried()
@given(st.integers(0, 2**40).map(one_meter))
def test_a_meters_buckets_equal_those_of_the_oracle(document: Body) -> None:
    """Amount, quality and missing time; the product sees an hour, its carry and LOOKAHEAD, the oracle all readings."""
    model, until_ms = document["plants"][0]["model"], instant(document["until"])
    known = streams(document)
    bucket_ms, plant = model["bucket_s"] * 1000, Plant(model)
    with leave(document):
        for hour in product_hours(document):
            told = meter_hour(plant, model["meters"][0], known, Hour(hour.hour_ms, bucket_ms, until_ms), set())
            buckets = hour.meters["m"]
            assert buckets.amount.tolist() == [bucket.amount for bucket in told]
            assert buckets.quality.tolist() == [bucket.quality for bucket in told]
    assert_agrees(document)


@pytest.mark.parametrize("name", ["one-hour", "steam"])
def test_the_hours_of_the_method_page_equal_the_oracle_too(name: str) -> None:
    assert_agrees(json.loads((EXAMPLES / f"{name}.facts.json").read_text(encoding="utf-8")))
