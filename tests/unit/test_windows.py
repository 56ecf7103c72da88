"""Idle windows as instants: shifts, days and weeks of a site, over clock changes and the ends of months."""

import pytest

from plantprint.times import HOUR_MS, format_instant, parse_instant
from plantprint.windows import Calendar

ZURICH_DAY = Calendar("Europe/Zurich", "day", (0,))


@pytest.mark.parametrize(
    ("at", "start", "end", "hours"),
    [
        ("2026-03-29T05:00:00Z", "2026-03-28T23:00:00Z", "2026-03-29T22:00:00Z", 23),
        ("2026-10-25T05:00:00Z", "2026-10-24T22:00:00Z", "2026-10-25T23:00:00Z", 25),
        ("2026-06-15T22:00:00Z", "2026-06-15T22:00:00Z", "2026-06-16T22:00:00Z", 24),
    ],
)
def test_a_day_has_23_24_or_25_hours(at: str, start: str, end: str, hours: int) -> None:
    window = ZURICH_DAY.window_at(parse_instant(at))
    assert (format_instant(window.start_ms), format_instant(window.end_ms)) == (start, end)
    assert window.end_ms - window.start_ms == hours * HOUR_MS


def test_the_end_of_a_local_month_ends_a_window() -> None:
    night = Calendar("Asia/Shanghai", "shift", (6 * 60, 14 * 60, 22 * 60))
    before = night.window_at(parse_instant("2026-11-30T23:30:00+08:00"))
    after = night.window_at(parse_instant("2026-12-01T00:00:00+08:00"))
    assert format_instant(before.end_ms) == "2026-11-30T16:00:00Z"
    assert before.ends_month
    assert (after.start_ms, after.ends_month) == (before.end_ms, False)
    assert format_instant(after.end_ms) == "2026-11-30T22:00:00Z"


def test_a_week_begins_on_monday() -> None:
    week = Calendar("Europe/Zurich", "week", (360,))
    window = week.window_at(parse_instant("2026-03-25T12:00:00Z"))
    assert (format_instant(window.start_ms), format_instant(window.end_ms)) == (
        "2026-03-23T05:00:00Z",
        "2026-03-30T04:00:00Z",
    )
    assert (window.end_ms - window.start_ms) // HOUR_MS == 167


def test_times_that_a_clock_change_skips_or_repeats_are_one_instant_each() -> None:
    early = Calendar("Europe/Zurich", "shift", (150, 600))
    spring = early.window_at(parse_instant("2026-03-29T06:00:00Z"))
    autumn = early.window_at(parse_instant("2026-10-25T06:00:00Z"))
    assert format_instant(spring.start_ms) == "2026-03-29T01:30:00Z"
    assert format_instant(autumn.start_ms) == "2026-10-25T00:30:00Z"


def test_parts_cover_a_span_without_gap() -> None:
    half = Calendar("Asia/Kolkata", "day", (0,))
    start_ms = parse_instant("2026-05-01T18:00:00Z")
    parts = list(half.parts(start_ms, start_ms + HOUR_MS))
    assert [(low - start_ms, high - start_ms) for low, high, _ in parts] == [(0, HOUR_MS // 2), (HOUR_MS // 2, HOUR_MS)]
    assert parts[0][2].end_ms == parts[1][2].start_ms == start_ms + HOUR_MS // 2
