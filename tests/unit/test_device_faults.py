"""The twenty faults that real meters and gateways show, and where each is tested; those of a counter's course also here."""

import ast
from dataclasses import replace
from decimal import Decimal
from functools import cache
from pathlib import Path

import pytest
from coarse_meters import POWER, powers
from strategies import HOUR_0, a_counter, a_meter, at, hours

from plantprint.facts import Quality, Reading
from plantprint.intervals import MeterSeries, meter_hour
from plantprint.times import HOUR_MS

TESTS = Path(__file__).resolve().parents[1]

# Number and name of the fault: the tests that show what becomes of it, as file under tests/ and function.
COVERED: dict[str, tuple[str, ...]] = {
    "1 all ones read as a number": (
        "unit/test_edge_decode.py::test_sentinels_are_missing_and_zero_is_not",
        "unit/test_intervals_counters.py::test_all_ones_without_a_rated_power_never_becomes_energy",
    ),
    "2 zero for a moment": (
        "unit/test_intervals_counters.py::test_momentary_zero_is_dropped_and_nothing_is_lost",
        "unit/test_intervals_counters.py::test_many_zeros_count_as_a_reset_until_the_register_returns",
    ),
    "3 small step back": (
        "unit/test_intervals_counters.py::test_dip_keeps_the_maximum",
        "unit/test_intervals_counters.py::test_older_value_restored_is_not_counted_twice",
    ),
    "4 true reset": ("unit/test_intervals_counters.py::test_reset_marks_its_gap_and_counts_on_from_the_new_base",),
    "5 derived counter reset by software": (
        "unit/test_device_faults.py::test_a_counter_that_software_resets_every_day_loses_one_stretch_a_day_and_says_so",
    ),
    "6 wrap": (
        "unit/test_intervals_counters.py::test_wrap_goes_on_through_the_modulus",
        "unit/test_intervals_counters.py::test_wrap_that_rated_power_cannot_explain_is_a_reset",
    ),
    "7 word order": ("integration/test_edge_probe.py::test_words_in_the_other_order_are_noticed",),
    "8 scale wrong by ten or a thousand": (
        "unit/test_device_faults.py::test_a_scale_that_is_wrong_by_tens_shows_against_the_power",
        "integration/test_edge_probe.py::test_wrong_scales_are_noticed",
    ),
    "9 wrong map for the model": (
        "unit/test_edge_decode.py::test_every_device_of_the_library_can_be_read",
        "integration/test_edge_probe.py::test_a_scan_finds_units_and_what_they_look_like",
    ),
    "10 late reply taken for another": (
        "integration/test_edge_modbus.py::test_a_late_reply_is_never_taken_for_another",
        "integration/test_edge_modbus_lines.py::test_a_late_reply_is_no_answer_to_anyone",
    ),
    "11 corrupted frame passes the check": (
        "unit/test_intervals_counters.py::test_spike_above_rated_power_is_held_and_refuted",
        "unit/test_intervals_counters.py::test_jump_above_rated_power_that_stays_is_not_counted",
    ),
    "12 frozen value with fresh time": (
        "unit/test_intervals_gauges.py::test_rate_that_never_moves_is_suspicious",
        "unit/test_device_faults.py::test_a_counter_that_stands_while_power_flows_is_told",
        "unit/test_intervals_repeats.py::test_the_day_before_and_the_week_before_are_recognised",
    ),
    "13 failed read reported as 0": (
        "integration/test_edge_modbus.py::test_missing_values_are_no_readings",
        "unit/test_intervals_counters.py::test_time_before_the_first_and_after_the_last_reading_is_missing",
    ),
    "14 dead meter blocks the bus": (
        "integration/test_edge_modbus.py::test_a_dead_device_delays_no_other",
        "integration/test_edge_modbus_lines.py::test_dead_units_take_a_bounded_share_of_the_line",
    ),
    "15 wrong clock after boot": (
        "integration/test_edge_modbus.py::test_a_clock_that_steps_back_a_little_is_waited_for",
        "integration/test_intake.py::test_impossible_times_are_told_by_the_clock_of_the_site",
    ),
    "16 clock change": (
        "unit/test_edge_replay.py::test_both_clock_changes_of_the_pv_year_leave_no_gap_and_no_double",
        "property/test_windows.py::",
    ),
    "17 duplicates after a reconnect": (
        "integration/test_intake.py::test_redelivered_and_out_of_order_chunks_count_once",
        "unit/test_device_faults.py::test_the_same_reading_twice_is_one_fact",
    ),
    "18 out of order after a reconnect": (
        "integration/test_intake.py::test_the_winner_does_not_depend_on_the_order",
        "integration/test_accountant_order.py::",
    ),
    "19 late rows": (
        "integration/test_accountant_settling.py::",
        "unit/test_intervals_counters.py::test_held_reading_is_decided_by_the_next_hour",
    ),
    "20 gap spread or lost": (
        "unit/test_intervals_counters.py::test_a_long_pause_is_recovered_with_the_exact_amount",
        "unit/test_device_faults.py::test_days_of_silence_are_spread_and_every_hour_adds_up_to_the_register",
    ),
}


@cache
def functions(file: str) -> frozenset[str]:
    tree = ast.parse((TESTS / file).read_text(encoding="utf-8"))
    found = [n.name for n in ast.walk(tree) if isinstance(n, ast.FunctionDef | ast.AsyncFunctionDef)]
    return frozenset(name for name in found if name.startswith("test_"))


@pytest.mark.parametrize("fault", COVERED)
def test_every_fault_has_its_tests(fault: str) -> None:
    for place in COVERED[fault]:
        file, _, name = place.partition("::")
        assert functions(file), f"{file} has no tests"
        assert not name or name in functions(file), f"{place} is gone; say which test covers fault {fault} now"


def test_the_list_is_whole() -> None:
    assert [int(fault.split()[0]) for fault in COVERED] == list(range(1, 21))


def test_a_counter_that_software_resets_every_day_loses_one_stretch_a_day_and_says_so() -> None:
    """A derived counter falls to 0 at midnight: what it counted before stays, the stretch over the reset is unknown."""
    counted = [5000, 5100, 5200, 5300, 40, 140, 240]
    readings = at(*((600 * n, value) for n, value in enumerate(counted)))
    [(hour, _, issues)] = hours(a_counter(), a_meter(max_gap_s=900), readings, bucket_s=600)
    assert hour.amount.tolist() == [100_000, 100_000, 100_000, 0, 100_000, 100_000]
    assert hour.missing_ms.tolist() == [0, 0, 0, 600_000, 0, 0]
    assert [issue.code for issue in issues] == ["counter-reset"]


def power_codes(counter: tuple[Reading, ...], kw: float) -> list[str]:
    """Issues of an hour of a counter in Wh next to a constant power."""
    power = tuple(replace(r, value=round(kw * 1000)) for r in powers([(-1000, 0.0)], 4000))
    series = MeterSeries(a_counter(), a_meter(), Decimal(1), counter)
    channel = replace(POWER, decimals=3)
    series = replace(series, beside={"power": MeterSeries(channel, a_meter(), Decimal(1), power)})
    _, _, issues = meter_hour(series, HOUR_0, 600, None, HOUR_0 + HOUR_MS)
    return [issue.code for issue in issues]


@pytest.mark.parametrize("factor", [1000, 100, 10, 0.1, 0.01, 0.001])
def test_a_scale_that_is_wrong_by_tens_shows_against_the_power(factor: float) -> None:
    counter = at(*((s, 10**6 + round(s * 40_000 / 3600)) for s in range(0, 4000, 60)))
    assert power_codes(counter, 40.0) == []
    assert power_codes(counter, 44.0) == []
    assert power_codes(counter, 40.0 * factor) == ["counter-scale"]


def test_a_counter_that_stands_while_power_flows_is_told() -> None:
    counter = at(*((s, 10**6) for s in range(0, 4000, 60)))
    assert power_codes(counter, 40.0) == ["counter-still"]
    assert power_codes(counter, 0.0) == []


def test_the_same_reading_twice_is_one_fact() -> None:
    """Repeats are one reading by their identity; a second value of an instant loses by its rank, in any order."""
    good, worse = Reading(HOUR_0 + 600_000, 2000), Reading(HOUR_0 + 600_000, 1900)
    assert max([good, worse, good], key=lambda r: r.rank) == max([worse, good], key=lambda r: r.rank) == good


def test_days_of_silence_are_spread_and_every_hour_adds_up_to_the_register() -> None:
    readings = at((-1800, 1_000), (1800, 2_000), (3600 * 49 + 7, 50_123), (3600 * 50 + 1, 51_000))
    found = list(hours(a_counter(), a_meter(), readings, count=50))
    assert sum(int(hour.amount.sum()) for hour, _, _ in found) == pytest.approx((51_000 - 1_500) * 1000, abs=500)
    assert all(hour.amount.sum() > 0 for hour, _, _ in found)
    assert {int(q) for hour, _, _ in found[2:48] for q in hour.quality} == {Quality.RECOVERED}
