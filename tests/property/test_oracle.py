"""Every posting of `account_hour` against a second accounting written from the definition alone (tests/oracle)."""

import json
from decimal import Decimal
from fractions import Fraction
from pathlib import Path

from accounting_cases import HOUR, HOUR_MS, NO_PRODUCTION, make_graph
from hypothesis import given, settings
from hypothesis import strategies as st
from oracle.oracle_cases import (
    END_MS,
    EXAMPLES,
    ORACLE,
    Facts,
    Fed,
    best,
    cases,
    feeds,
    meter_buckets,
    oracle_hours,
    plain,
    product_hours,
    without_quality,
)
from oracle.oracle_hour import NOTHING_HELD, oracle_hour
from oracle.oracle_meters import Value, counter_hour

from plantprint import neutral
from plantprint.intervals import LOOKAHEAD, CounterState, MeterSeries, meter_hour
from plantprint.times import parse_instant

EXAMPLE = Path(__file__).resolve().parents[2] / "docs" / "examples" / "one-hour.facts.json"
ONE_METER = make_graph([("grid", "u1", "m")], work_units=["u1"], bucket_s=900)


@ORACLE
@given(cases())
def test_postings_equal_those_of_the_oracle_digit_for_digit(facts: Facts) -> None:
    got, wanted = product_hours(facts), oracle_hours(facts)
    assert [without_quality(net) for net in got] == [without_quality(net) for net in wanted]
    assert got == wanted


@settings(ORACLE, max_examples=max(1, EXAMPLES // 3))
@given(cases(large=True))
def test_huge_amounts_are_exact_too(facts: Facts) -> None:
    assert product_hours(facts) == oracle_hours(facts)


@ORACLE
@given(st.booleans().flatmap(lambda large: feeds(large=large)))
def test_a_meters_buckets_equal_those_of_the_oracle(fed: Fed) -> None:
    """Amount, quality and missing time; the product sees an hour, its carry and LOOKAHEAD, the oracle all readings."""
    facts = Facts(ONE_METER, {"m": fed}, NO_PRODUCTION)
    state: CounterState | None = None
    for hour_ms in range(HOUR - HOUR_MS, END_MS, HOUR_MS):
        readings = [reading for reading in best(fed.facts) if reading.t_ms > hour_ms]
        within = sum(reading.t_ms <= hour_ms + HOUR_MS for reading in readings)
        chosen = tuple(readings[: within + LOOKAHEAD])
        series = MeterSeries(fed.channel, ONE_METER.meters["m"], fed.ratio, chosen)
        hour, state, _ = meter_hour(series, hour_ms, 900, state, END_MS)
        got = list(zip(hour.amount.tolist(), hour.quality.tolist(), hour.missing_ms.tolist(), strict=True))
        wanted = meter_buckets(facts, "m", hour_ms, END_MS)
        assert got == [(bucket.amount, bucket.quality, bucket.missing_ms) for bucket in wanted]


def test_the_hour_of_the_method_page_equals_the_oracle_too() -> None:
    text = EXAMPLE.read_text(encoding="utf-8")
    body, accounts = json.loads(text), neutral.account_facts(neutral.parse_facts(text))
    rows = {channel["channel"]: channel["rows"] for channel in body["readings"]}
    until_ms = parse_instant(body["until"])
    stock = NOTHING_HELD
    for account in accounts.hours:
        meters = {}
        for meter in accounts.graph.plant.meters:
            read = [
                Value(parse_instant(at), int(Decimal(text) * 100)) for at, text, *_ in rows[meter.bindings[0].channel]
            ]
            gap_ms = meter.max_gap_s * 1000
            meters[meter.id] = counter_hour(read, Fraction(10**4), gap_ms, account.hour_ms, 60, until_ms)
        hour = oracle_hour(accounts.graph, accounts.production, account.hour_ms, meters, stock)
        stock = hour.stock
        assert plain(account.net) == hour.net
    assert len(accounts.net) >= 7
