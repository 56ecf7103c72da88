"""How the pages write numbers, ages, times and bars."""

from datetime import UTC
from itertools import pairwise
from typing import Any

import pytest
from fixtures_api import plant

from plantprint_api.pages.view import UNKNOWN, View, budget_bar, zone

EN = View("en", plant(), zone("Asia/Shanghai"))
ZH = View("zh", plant(), zone("Asia/Shanghai"))


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("123.44", "123.4"),
        ("1234.5", "1,235"),
        ("0.25", "0.3"),
        (None, UNKNOWN),
        ("x", UNKNOWN),
        ("NaN", UNKNOWN),
        (0, "0.0"),
        ("-0.04", "0.0"),
        ("-0.06", "-0.1"),
    ],
)
def test_rates(value: Any, text: str) -> None:
    assert EN.rate(value) == text


@pytest.mark.parametrize(("value", "text"), [("9999.994", "9,999.99"), ("12345.67", "12,345.7"), (None, UNKNOWN)])
def test_masses(value: Any, text: str) -> None:
    assert EN.mass(value) == text


@pytest.mark.parametrize(
    ("age_s", "en", "zh"),
    [
        (0.84, "0.8 s", "0.8 秒"),
        (119.9, "119 s", "119 秒"),
        (120, "2 min", "2 分钟"),
        (7300, "2 h", "2 小时"),
        (200_000, "2 d", "2 天"),
        (None, UNKNOWN, UNKNOWN),
    ],
)
def test_ages(age_s: float | None, en: str, zh: str) -> None:
    assert (EN.age(age_s), ZH.age(age_s)) == (en, zh)


def test_times_are_the_sites() -> None:
    assert EN.full_time("2026-11-24T16:30:05Z") == "2026-11-25 00:30:05 UTC+8"
    assert EN.time("2026-11-24T16:30:05Z") == "11-25 00:30"
    assert EN.brief("2026-11-24T08:30:00Z", "2026-11-24T16:30:00Z") == "16:30"
    assert EN.brief("2026-11-22T08:30:00Z", "2026-11-24T16:30:00Z") == "11-22 16:30"
    assert EN.full_time(None) == UNKNOWN


def test_an_unknown_time_zone_is_utc() -> None:
    assert zone("Mars/Olympus") is UTC
    assert View("en", None, UTC).full_time("2026-11-24T16:30:05Z").endswith(" UTC")


def test_steps_keep_the_order_and_colours_of_the_model_and_fill_the_bar() -> None:
    segments = ZH.steps({"dyeing": "30", "desizing": "10", "shared": "5", "new-step": "5"})
    assert [(s.id, s.css) for s in segments] == [
        ("desizing", "c0"),
        ("dyeing", "c2"),
        ("new-step", "cx"),
        ("shared", "cx"),
    ]
    assert [s.label for s in segments] == ["退浆", "染色", "new-step", "损耗与未计量"]
    assert sum(s.width for s in segments) == pytest.approx(100)
    assert all(a.start + a.width == pytest.approx(b.start) for a, b in pairwise(segments))


def test_bars_give_no_width_to_what_is_unknown_or_negative() -> None:
    assert [s.width for s in EN.steps({"desizing": None, "dyeing": "-3"})] == [0, 0]
    assert [s.text for s in EN.quality({})] == [UNKNOWN] * 4
    assert [s.text for s in EN.quality({"measured": 1.0})] == ["100 %", "0 %", "0 %", "0 %"]


def test_sources_are_measured_against_the_largest() -> None:
    assert [(s.id, s.width) for s in EN.sources({"grid": "20", "gas": "40", "stack-co2": "0"})] == [
        ("gas", 100.0),
        ("grid", 50.0),
        ("stack-co2", 0.0),
    ]


@pytest.mark.parametrize(
    ("rate", "limit", "width"),
    [("50", "100", 40.0), ("100", "100", 80.0), ("900", "100", 100.0), (None, "100", 0), ("5", None, 0)],
)
def test_the_limit_of_a_budget_stands_at_eighty_percent(rate: str | None, limit: str | None, width: float) -> None:
    assert budget_bar(rate, limit) == pytest.approx(width)


@pytest.mark.parametrize(
    ("cause", "en", "zh"),
    [
        ("settled", "hour settled", "小时结算"),
        ("reversal: shipment", "reversal: posted at shipment", "冲销：发货时入账"),
        ("event job_end", "corrected: event job_end", "修正：event job_end"),
    ],
)
def test_why_a_posting_was_made(cause: str, en: str, zh: str) -> None:
    assert (EN.cause(cause), ZH.cause(cause)) == (en, zh)


def test_why_a_factor_was_taken() -> None:
    reason = "named for grid in the plant model; data of 2023; converted from per MJ to per m3; of another kind"
    assert EN.factor_reason(reason) == reason
    assert ZH.factor_reason(reason) == "由工厂模型指定；2023 年数据；单位由每 MJ 换算为每 m³；of another kind"


def test_differences_have_a_sign_and_nothing_is_0() -> None:
    assert [EN.signed(value, 3) for value in ("1234.5", "-0.25", "0E-9", None)] == [
        "+1,234.500",
        "-0.250",
        "0",
        UNKNOWN,
    ]
    assert EN.exact("1E-9") == "0.000000001"


def test_units_and_gases_as_people_write_them() -> None:
    assert [EN.unit(unit) for unit in ("Nm3", "m3", "kWh", "", None)] == ["Nm³", "m³", "kWh", "", ""]
    assert [EN.gas_name(gas) for gas in ("co2_fossil", "unsplit", "xe")] == [
        "CO₂, fossil",
        "Not split by its publisher",
        "xe",
    ]
    assert (EN.source_unit("grid"), EN.source_unit("gone")) == ("kWh", "")


@pytest.mark.parametrize(
    ("start", "end", "text"),
    [
        ("2026-11-24T00:30:10Z", "2026-11-24T02:00:00Z", "11-24 08:30–10:00"),
        ("2026-11-24T15:30:00Z", "2026-11-24T16:00:00Z", "11-24 23:30–11-25 00:00"),
        ("2026-11-24T00:30:10Z", "2026-11-24T00:30:50Z", "11-24 08:30"),
        ("2026-11-24T00:30:10Z", None, "11-24 08:30–"),
        (None, None, UNKNOWN),
    ],
)
def test_spans_name_the_second_day_only_where_it_is_another(start: str | None, end: str | None, text: str) -> None:
    assert EN.span(start, end) == text


def test_what_is_too_little_to_show_is_not_nothing() -> None:
    assert [EN.mass(v) for v in ("0", "0.0099", "0.01")] == ["0.00", "<0.01", "0.01"]
