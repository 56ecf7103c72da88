"""Counters: sums telescope exactly, and hours worked one by one equal the whole course worked at once."""

from collections.abc import Sequence
from fractions import Fraction
from itertools import pairwise

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies import BUCKETS_S, HOUR_0, a_counter, a_meter, faulty_registers, hours, registers

from plantprint.facts import Quality, Reading
from plantprint.intervals import CounterState, MeterSeries, counters
from plantprint.intervals.register import Accepted, follow, rules_of
from plantprint.intervals.series import micro_per_step
from plantprint.quantities import round_half_even
from plantprint.times import HOUR_MS

HOURS = 3
UNITS = st.sampled_from((("kWh", 3, "1"), ("Wh", 0, "1"), ("MWh", 6, "0.333"), ("GJ", 4, "7.77777")))


def series_of(unit: tuple[str, int, str], readings: Sequence[Reading], max_gap_s: int = 300) -> MeterSeries:
    return MeterSeries(a_counter(*unit[:2]), a_meter(max_gap_s=max_gap_s), unit[2], tuple(readings))  # type: ignore[arg-type]


def course_at_once(series: MeterSeries) -> list[Accepted]:
    facts = [r for r in series.readings if r.quality > Quality.MISSING]
    return follow(rules_of(series, micro_per_step(series)), None, facts, series.channel_mark).accepted


def register_at(course: Sequence[Accepted], t_ms: int, scale: Fraction) -> int:
    """The rounded total at an instant, in plain fractions; it stands still before the first and after the last one."""
    t_ms = min(max(t_ms, course[0].state.t_ms), course[-1].state.t_ms)
    for (low, _), (high, _) in pairwise(course):
        if low.t_ms <= t_ms <= high.t_ms:
            total = low.total + Fraction((high.total - low.total) * (t_ms - low.t_ms), high.t_ms - low.t_ms)
            exact = total * scale
            return round_half_even(exact.numerator, exact.denominator)
    exact = course[0].state.total * scale
    return round_half_even(exact.numerator, exact.denominator)


@given(registers(HOURS), UNITS, st.sampled_from(BUCKETS_S))
@settings(max_examples=60)
def test_every_bucket_is_the_difference_of_the_rounded_register(
    readings: list[Reading], unit: tuple[str, int, str], bucket_s: int
) -> None:
    series = series_of(unit, readings)
    course = course_at_once(series)
    assert len(course) == len(readings)
    scale = micro_per_step(series)
    done = hours(series.channel, series.meter, readings, count=HOURS, bucket_s=bucket_s, ratio=unit[2])
    for number, (hour, _, issues) in enumerate(done):
        edges = range(HOUR_0 + number * HOUR_MS, HOUR_0 + (number + 1) * HOUR_MS + 1, bucket_s * 1000)
        registers_at = [register_at(course, edge, scale) for edge in edges]
        assert hour.amount.tolist() == [after - before for before, after in pairwise(registers_at)]
        assert issues == []


@given(registers(HOURS), UNITS)
@settings(max_examples=60)
def test_total_telescopes_and_missing_is_what_no_stretch_covers(
    readings: list[Reading], unit: tuple[str, int, str]
) -> None:
    series = series_of(unit, readings)
    done = list(hours(series.channel, series.meter, readings, count=HOURS, ratio=unit[2]))
    end_ms = HOUR_0 + HOURS * HOUR_MS
    course, scale = course_at_once(series), micro_per_step(series)
    assert sum(int(hour.amount.sum()) for hour, _, _ in done) == (
        register_at(course, end_ms, scale) - register_at(course, HOUR_0, scale)
    )
    known_ms = max(0, min(readings[-1].t_ms, end_ms) - max(readings[0].t_ms, HOUR_0))
    assert sum(int(hour.missing_ms.sum()) for hour, _, _ in done) == HOURS * HOUR_MS - known_ms


@given(faulty_registers(HOURS), st.sampled_from(BUCKETS_S), st.none() | st.just("40"))
@settings(max_examples=120)
def test_hour_by_hour_equals_all_at_once_whatever_the_faults(
    readings: list[Reading], bucket_s: int, rated: str | None
) -> None:
    meter = a_meter(max_gap_s=300, rated_per_hour=rated)
    series = MeterSeries(a_counter(), meter, 1, tuple(readings))  # type: ignore[arg-type]
    course, scale = course_at_once(series), micro_per_step(series)
    for number, (hour, state, _) in enumerate(hours(series.channel, meter, readings, count=HOURS, bucket_s=bucket_s)):
        start_ms, end_ms = HOUR_0 + number * HOUR_MS, HOUR_0 + (number + 1) * HOUR_MS
        edges = range(start_ms, end_ms + 1, bucket_s * 1000)
        registers_at = [register_at(course, edge, scale) for edge in edges] if course else [0] * len(edges)
        assert hour.amount.tolist() == [after - before for before, after in pairwise(registers_at)]
        assert (hour.amount >= 0).all()
        unknown = [(HOUR_0 - 2 * HOUR_MS, course[0].state.t_ms), (course[-1].state.t_ms, end_ms)] if course else []
        unknown += [(a.state.t_ms, b.state.t_ms) for a, b in pairwise(course) if b.level == Quality.MISSING]
        overlap = sum(max(0, min(end, end_ms) - max(start, start_ms)) for start, end in unknown)
        assert int(hour.missing_ms.sum()) == (overlap if course else HOUR_MS)
        last = next((a.state for a in reversed(course) if a.state.t_ms <= end_ms), None)
        assert state is None or state.held or state == last


@given(registers(2), st.integers(0, 2**40), st.none() | st.just("100000"))
@settings(max_examples=60)
def test_the_quick_way_equals_the_close_look(readings: list[Reading], offset: int, rated: str | None) -> None:
    first, *rest = readings
    base = CounterState(first.t_ms, first.value, offset, since_ms=first.t_ms, quality=first.quality)
    series = MeterSeries(a_counter(), a_meter(rated_per_hour=rated), 1, tuple(rest))  # type: ignore[arg-type]
    rules = rules_of(series, micro_per_step(series))
    end_ms = HOUR_0 + HOUR_MS
    close = counters._course_track(follow(rules, base, rest, ""), base, end_ms)
    quick = counters._plain_track(rules, base, rest, end_ms)
    assert quick is not None or rated is not None
    if quick is not None and base.t_ms <= end_ms:
        assert (quick.origin, quick.state) == (close.origin, close.state)
        for name in ("t_ms", "rise", "level"):
            assert np.array_equal(getattr(quick, name), getattr(close, name))


@given(faulty_registers(HOURS))
@settings(max_examples=30)
def test_carried_state_survives_json(readings: list[Reading]) -> None:
    for _, state, _ in hours(a_counter(), a_meter(), readings, count=HOURS):
        if state is not None:
            assert CounterState.from_json(state.to_json()) == state
