"""Decimal text, instants and cursors."""

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plantprint_api.problems import ProblemError
from plantprint_api.rows import decimal, decode_cursor, encode_cursor, instant, parse_time

AT = datetime(2026, 11, 24, 8, 30, 0, 250_000, tzinfo=UTC)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (Decimal("1200.000"), "1200"),
        (Decimal("1E+3"), "1000"),
        (Decimal("0.10"), "0.1"),
        (1200, "1200"),
        ("12.50", "12.5"),
        ("much", None),
        ("NaN", None),
        (Decimal("Infinity"), None),
        (None, None),
    ],
)
def test_decimals_are_plain_text(value: Any, text: str | None) -> None:
    assert decimal(value) == text


def test_instants_end_in_z() -> None:
    assert instant(AT) == "2026-11-24T08:30:00.250Z"
    assert instant(None) is None


def test_times_come_as_text_or_milliseconds() -> None:
    assert parse_time("2026-11-24T16:30:00.25+08:00", place="query: from") == AT
    assert parse_time("1795509000250", place="query: from") == AT


@pytest.mark.parametrize("text", ["", "yesterday", "2026-11-24T08:30:00", "999999999999999", "-999999999999999"])
def test_a_bad_time_says_where_it_stood(text: str) -> None:
    with pytest.raises(ProblemError) as caught:
        parse_time(text, place="query: from")
    assert caught.value.problem.status == 422
    assert caught.value.problem.place == "query: from"


@given(st.text(max_size=30), st.text(max_size=30))
def test_a_cursor_holds_any_names(site: str, batch: str) -> None:
    try:
        site.encode(), batch.encode()
    except UnicodeEncodeError:
        return  # no such text reaches us: the database has none
    assert decode_cursor(encode_cursor([AT, site, batch]), 3) == [AT.isoformat(), site, batch]


@pytest.mark.parametrize(
    "text", ["", "abc", "!!!", encode_cursor([AT]), encode_cursor(["x", "y"]), "W10", "eyJhIjoxfQ"]
)
def test_a_foreign_cursor_is_refused(text: str) -> None:
    with pytest.raises(ProblemError) as caught:
        decode_cursor(text, 2)
    assert caught.value.problem.place == "query: cursor"


def test_no_cursor_is_the_start() -> None:
    assert decode_cursor(None, 3) == [None, None, None]
