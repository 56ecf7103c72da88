"""Gauges and amounts: trapezoids, held values beside pauses, periods spread evenly, and what is not believed."""

import pytest
from strategies import HOUR_0, a_gauge, a_meter, an_amount, at, hours

from plantprint.facts import Channel, Issue, Quality, Reading
from plantprint.intervals import CounterState, MeterHour
from plantprint.plant.model import Meter
from plantprint.times import HOUR_MS


def one_hour(
    channel: Channel, readings: tuple[Reading, ...], meter: Meter | None = None, bucket_s: int = 900
) -> tuple[MeterHour, CounterState | None, list[Issue]]:
    return next(hours(channel, meter or a_meter(max_gap_s=3600), readings, bucket_s=bucket_s))


def test_trapezoid_between_samples() -> None:
    hour, state, issues = one_hour(a_gauge(), at((0, 0), (1800, 100_000), (3600, 100_000)))
    assert hour.amount.tolist() == [6_250_000, 18_750_000, 25_000_000, 25_000_000]
    assert hour.quality.tolist() == [Quality.MEASURED] * 4
    assert state is not None
    assert (state.t_ms, state.value, issues) == (HOUR_0 + HOUR_MS, 100_000, [])


@pytest.mark.parametrize(
    ("unit", "decimals", "meter_unit", "micro_per_hour"),
    [("kW", 0, "kWh", 5_000_000), ("MW", 3, "kWh", 5_000_000), ("W", 0, "kWh", 5_000), ("t/h", 1, "kg", 500_000_000)],
)
def test_rates_integrate_to_the_meters_unit(unit: str, decimals: int, meter_unit: str, micro_per_hour: int) -> None:
    hour, _, _ = one_hour(a_gauge(unit, decimals), at((0, 5), (3600, 5)), a_meter(meter_unit, max_gap_s=3600))
    assert hour.amount.sum() == micro_per_hour


def test_beside_a_long_pause_each_value_holds_half_of_max_gap() -> None:
    hour, _, _ = one_hour(a_gauge(), at((0, 36_000), (3000, 72_000), (3600, 72_000)), a_meter(max_gap_s=600))
    assert hour.amount.tolist() == [3_000_000, 0, 0, 18_000_000]
    assert hour.missing_ms.tolist() == [600_000, 900_000, 900_000, 0]
    assert hour.quality.tolist() == [Quality.ESTIMATED, Quality.MISSING, Quality.MISSING, Quality.ESTIMATED]


def test_time_before_the_first_and_after_the_last_sample_is_missing() -> None:
    hour, _, _ = one_hour(a_gauge(), at((900, 36_000), (1800, 36_000)))
    assert hour.missing_ms.tolist() == [900_000, 0, 900_000, 900_000]
    assert hour.quality.tolist() == [Quality.MISSING, Quality.MEASURED, Quality.MISSING, Quality.MISSING]


def test_rate_above_the_rated_one_is_dropped() -> None:
    meter = a_meter(max_gap_s=3600, rated_per_hour="100")
    hour, _, issues = one_hour(a_gauge(), at((0, 100_000), (10, 130_000), (3600, 100_000)), meter)
    assert hour.amount.sum() == 100_000_000
    assert [issue.code for issue in issues] == ["gauge-over-rated"]


def test_negative_rate_counts_as_zero() -> None:
    hour, _, issues = one_hour(a_gauge(), at((0, -2_000), (1800, -2_000), (3600, -2_000)))
    assert hour.amount.sum() == 0
    assert hour.missing_ms.sum() == 0
    assert [issue.code for issue in issues] == ["gauge-negative"]


def test_impossible_rate_is_dropped() -> None:
    hour, _, issues = one_hour(a_gauge(), at((0, 10_000), (1800, 2**64 - 1), (3600, 10_000)))
    assert hour.amount.sum() == 10_000_000
    assert [issue.code for issue in issues] == ["reading-impossible"]


def test_rate_that_never_moves_is_suspicious() -> None:
    _, _, issues = one_hour(a_gauge(), at(*((60 * n, 10_000) for n in range(62))))
    assert [issue.code for issue in issues] == ["gauge-frozen"]
    _, _, issues = one_hour(a_gauge(), at(*((60 * n, 0) for n in range(62))))
    assert issues == []


def test_withdrawn_sample_is_no_fact() -> None:
    readings = (*at((0, 10_000)), Reading(HOUR_0 + 900_000, 99_000, Quality.MISSING), *at((3600, 10_000)))
    hour, _, _ = one_hour(a_gauge(), readings)
    assert hour.amount.sum() == 10_000_000


def test_amount_is_spread_over_the_period_before_its_time() -> None:
    hour, state, issues = one_hour(an_amount(1800), at((1800, 10_000), (3600, 20_001)), bucket_s=900)
    assert hour.amount.tolist() == [5_000_000, 5_000_000, 10_000_500, 10_000_500]
    assert (hour.missing_ms.sum(), state, issues) == (0, None, [])


def test_amount_reaches_back_over_the_hours_edge_without_loss() -> None:
    done = list(hours(an_amount(3600), a_meter(), at((1000, 1), (4600, 1), (8200, 1)), count=2, bucket_s=10))
    assert sum(int(hour.amount.sum()) for hour, _, _ in done) == 278 + 1_000 + 722
    assert sum(int(hour.missing_ms.sum()) for hour, _, _ in done) == 0


def test_withdrawn_amount_leaves_its_period_missing() -> None:
    readings = (*at((900, 1_000)), Reading(HOUR_0 + 1_800_000, 5, Quality.MISSING), *at((2700, 1_000)))
    hour, _, _ = one_hour(an_amount(900), readings)
    assert hour.amount.tolist() == [1_000_000, 0, 1_000_000, 0]
    assert hour.missing_ms.tolist() == [0, 900_000, 0, 900_000]


def test_daily_amount_reaches_every_hour_of_its_day() -> None:
    readings = at((20 * 3600, 24_000))
    done = list(hours(an_amount(86_400), a_meter(), readings, count=20))
    assert [int(hour.amount.sum()) for hour, _, _ in done] == [1_000_000] * 20


def test_amounts_that_overlap_both_count_and_are_reported() -> None:
    hour, _, issues = one_hour(an_amount(1800), at((1800, 1_000), (2700, 1_000), (4500, 0)))
    assert hour.amount.sum() == 2_000_000
    assert [issue.code for issue in issues] == ["amount-overlap"]


def test_amount_not_believed_leaves_its_period_missing() -> None:
    meter = a_meter(rated_per_hour="1")
    hour, _, issues = one_hour(an_amount(900), at((900, 250), (1800, 1_000), (2700, -1), (3600, 250)), meter)
    assert hour.amount.tolist() == [250_000, 0, 0, 250_000]
    assert [issue.code for issue in issues] == ["amount-over-rated", "reading-impossible"]


def test_amounts_without_a_period_cannot_be_counted() -> None:
    hour, _, issues = one_hour(an_amount(0), at((900, 250)))
    assert hour.missing_ms.sum() == HOUR_MS
    assert [issue.code for issue in issues] == ["channel-unusable"]


def test_estimated_amount_keeps_its_quality() -> None:
    readings = (Reading(HOUR_0 + 900_000, 1_000, Quality.ESTIMATED), *at((1800, 1_000)))
    hour, _, _ = one_hour(an_amount(900), readings)
    assert hour.quality.tolist() == [Quality.ESTIMATED, Quality.MEASURED, Quality.MISSING, Quality.MISSING]
