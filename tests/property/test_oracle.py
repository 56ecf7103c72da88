"""Every posting of `plantprint account` against a second accounting written from the definition alone (tests/oracle)."""

import json
from pathlib import Path
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from oracle.oracle_compare import assert_agrees, product_hours, tried
from oracle.oracle_documents import documents
from oracle.oracle_feeds import Feeds, seeded
from oracle.oracle_meters import Hour
from oracle.oracle_numbers import HOUR_MS
from oracle.oracle_readings import meter_hour, streams
from oracle.oracle_time import instant

from plantprint.times import format_instant

EXAMPLE = Path(__file__).resolve().parents[2] / "docs" / "examples" / "one-hour.facts.json"
Body = dict[str, Any]


@tried()
@given(documents())
def test_postings_and_missing_time_equal_those_of_the_oracle_digit_for_digit(document: Body) -> None:
    assert_agrees(document)


@tried(0.25)
@given(documents(large=True))
def test_huge_amounts_are_exact_too(document: Body) -> None:
    """Registers near the most that is believed, hours up to 2^53 millionths and beyond."""
    assert_agrees(document)


@tried(0.2)
@given(documents(hours=30, small=True))
def test_windows_of_days_are_closed_alike_over_clock_changes_and_months(document: Body) -> None:
    assert_agrees(document)


@tried(0.2)
@given(documents(known=True), st.data())
def test_what_was_known_at_an_instant_is_accounted_as_if_there_were_no_more(
    document: Body, data: st.DataObject
) -> None:
    told = sorted({str(fact["known_at"]) for fact in (*document["readings"], *document["events"])})
    assert_agrees(document, data.draw(st.sampled_from(told)))


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
    bucket_ms = model["bucket_s"] * 1000
    for hour in product_hours(document):
        told = meter_hour(model["meters"][0], known, Hour(hour.hour_ms, bucket_ms, until_ms))
        buckets = hour.meters["m"]
        assert buckets.amount.tolist() == [bucket.amount for bucket in told]
        assert buckets.quality.tolist() == [bucket.quality for bucket in told]
    assert_agrees(document)


def test_the_hour_of_the_method_page_equals_the_oracle_too() -> None:
    assert_agrees(json.loads(EXAMPLE.read_text(encoding="utf-8")))
