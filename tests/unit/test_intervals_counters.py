"""Counters: what each fault of a real device becomes, by the table of faults in the device reference."""

import pytest
from strategies import HOUR_0, a_counter, a_meter, at, hours

from plantprint.facts import Channel, Quality, Reading
from plantprint.intervals import CounterState, MeterHour
from plantprint.plant.model import Meter
from plantprint.times import HOUR_MS

FAR = (3700, 10**6)  # a reading after the hour that decides its edge


def one_hour(
    *readings: tuple[float, int], channel: Channel | None = None, meter: Meter | None = None, bucket_s: int = 900
) -> tuple[MeterHour, CounterState, list[str]]:
    done = list(hours(channel or a_counter(), meter or a_meter(max_gap_s=3600), at(*readings), bucket_s=bucket_s))
    hour, state, issues = done[0]
    assert state is not None
    return hour, state, [issue.code for issue in issues]


def test_register_is_interpolated_at_bucket_edges() -> None:
    hour, _, codes = one_hour((-100, 10_000), (1700, 28_000), (3500, 64_000), (5300, 82_000))
    assert hour.amount.tolist() == [9_000_000, 10_000_000, 18_000_000, 17_000_000]
    assert hour.quality.tolist() == [Quality.MEASURED] * 4
    assert hour.missing_ms.sum() == 0
    assert codes == []


def test_time_before_the_first_and_after_the_last_reading_is_missing() -> None:
    hour, state, _ = one_hour((600, 1_000), (1200, 2_000))
    assert hour.amount.tolist() == [500_000, 500_000, 0, 0]
    assert hour.missing_ms.tolist() == [600_000, 600_000, 900_000, 900_000]
    assert hour.quality.tolist() == [Quality.MEASURED, Quality.MEASURED, Quality.MISSING, Quality.MISSING]
    assert (state.t_ms, state.value) == (HOUR_0 + 1_200_000, 2_000)


def test_the_future_is_not_missing() -> None:
    readings = at((0, 1_000), (1200, 2_000))
    now_ms = HOUR_0 + 1_300_000
    ((hour, _, _),) = hours(a_counter(), a_meter(max_gap_s=3600), readings, until_ms=now_ms)
    assert hour.missing_ms.tolist() == [0, 100_000, 0, 0]
    assert hour.quality.tolist() == [Quality.MEASURED, Quality.MEASURED, Quality.MISSING, Quality.MISSING]


def test_a_long_pause_is_recovered_with_the_exact_amount() -> None:
    hour, _, _ = one_hour((0, 0), (300, 600), (3300, 3_600), FAR, meter=a_meter(max_gap_s=300))
    assert hour.amount[1:3].tolist() == [900_000, 900_000]
    assert hour.quality.tolist() == [Quality.RECOVERED] * 4
    hour, _, _ = one_hour((0, 0), (300, 600), (600, 700), (900, 800), (3300, 900), meter=a_meter(max_gap_s=300))
    assert hour.quality.tolist() == [Quality.MEASURED, *[Quality.RECOVERED] * 3]


@pytest.mark.parametrize(
    ("unit", "decimals", "meter_unit", "step_micro"),
    [("Wh", 0, "kWh", 1_000), ("MWh", 3, "kWh", 1_000_000), ("GJ", 2, "GJ", 10_000), ("t", 1, "kg", 100_000_000)],
)
def test_units_convert_exactly(unit: str, decimals: int, meter_unit: str, step_micro: int) -> None:
    channel, meter = a_counter(unit, decimals), a_meter(meter_unit, max_gap_s=7200)
    hour, _, _ = one_hour((0, 500), (3600, 577), channel=channel, meter=meter)
    assert hour.amount.sum() == 77 * step_micro


def test_ratio_multiplies_and_thirds_do_not_get_lost() -> None:
    done = list(
        hours(a_counter("kWh", 1), a_meter(max_gap_s=9000), at((0, 0), (7200, 10)), count=2, ratio="0.333333333")
    )
    assert sum(int(hour.amount.sum()) for hour, _, _ in done) == 333_333
    assert [hour.amount.sum() for hour, _, _ in done] == [166_667, 166_666]


def test_momentary_zero_is_dropped_and_nothing_is_lost() -> None:
    readings = ((0, 100_000), (900, 101_000), (1000, 0), (1100, 0), (1800, 102_000), (3600, 104_000))
    hour, _, codes = one_hour(*readings)
    assert hour.amount.tolist() == [1_000_000, 1_000_000, 1_000_000, 1_000_000]
    assert hour.missing_ms.sum() == 0
    assert codes == ["counter-momentary"]


def test_many_zeros_count_as_a_reset_until_the_register_returns() -> None:
    zeros = tuple((1000 + 10 * n, 0) for n in range(30))
    hour, state, codes = one_hour((0, 100_000), (900, 101_000), *zeros, (1800, 102_000), (3600, 104_000))
    assert hour.amount.sum() == 4_000_000
    assert hour.missing_ms.tolist() == [0, 100_000, 0, 0]
    assert hour.quality[1] == Quality.RECOVERED
    assert codes == ["counter-reset", "counter-returned"]
    assert state.before is None


def test_dip_keeps_the_maximum() -> None:
    readings = ((0, 100_000), (900, 101_000), (1000, 100_900), (1800, 100_950), (2700, 101_100), (3600, 101_200))
    hour, state, codes = one_hour(*readings)
    assert hour.amount.tolist() == [1_000_000, 0, 100_000, 100_000]
    assert codes == ["counter-dip"]
    assert (state.value, state.offset) == (101_200, 0)


def test_older_value_restored_is_not_counted_twice() -> None:
    hour, state, _ = one_hour((0, 100_000), (900, 110_000), (910, 105_000), (1000, 106_000), (2000, 110_000), FAR)
    assert hour.amount[:1].sum() == 10_000_000
    assert hour.amount[1] == 0
    assert state.value == 110_000


def test_reset_marks_its_gap_and_counts_on_from_the_new_base() -> None:
    readings = ((0, 100_000), (900, 101_000), (960, 50), (1800, 890), (2700, 1_790), (3600, 2_690))
    hour, state, codes = one_hour(*readings)
    assert hour.amount.tolist() == [1_000_000, 840_000, 900_000, 900_000]
    assert hour.missing_ms.tolist() == [0, 60_000, 0, 0]
    assert codes == ["counter-reset"]
    assert state.total == 101_000 + 2_690 - 50


def test_exchange_over_a_long_pause_leaves_whole_buckets_missing() -> None:
    hour, _, codes = one_hour((0, 100_000), (900, 101_000), (2700, 7_000), (3600, 7_900))
    assert hour.amount.tolist() == [1_000_000, 0, 0, 900_000]
    assert hour.missing_ms.tolist() == [0, 900_000, 900_000, 0]
    assert hour.quality.tolist() == [Quality.MEASURED, Quality.MISSING, Quality.MISSING, Quality.MEASURED]
    assert codes == ["counter-reset"]


def test_wrap_goes_on_through_the_modulus() -> None:
    meter = a_meter(max_gap_s=3600, wrap="6553.6")
    readings = ((0, 65_500), (1800, 65_530), (2700, 4), (3600, 14))
    hour, state, codes = one_hour(*readings, channel=a_counter("kWh", 1), meter=meter)
    assert hour.amount.sum() == 50 * 100_000
    assert hour.missing_ms.sum() == 0
    assert codes == ["counter-wrap"]
    assert (state.value, state.offset) == (14, 65_536)


def test_fall_far_from_the_modulus_is_a_reset() -> None:
    meter = a_meter(max_gap_s=3600, wrap="6553.6")
    readings = ((0, 50_000), (1800, 50_030), (2700, 4), (3600, 14))
    _, _, codes = one_hour(*readings, channel=a_counter("kWh", 1), meter=meter)
    assert codes == ["counter-reset"]


def test_wrap_that_rated_power_cannot_explain_is_a_reset() -> None:
    meter = a_meter(max_gap_s=3600, wrap="6553.6", rated_per_hour="100")
    readings = ((0, 65_500), (1800, 65_530), (2700, 3_000), (3600, 3_010))
    hour, _, codes = one_hour(*readings, channel=a_counter("kWh", 1), meter=meter)
    assert codes == ["counter-reset"]
    assert hour.missing_ms.sum() == 900_000


def test_spike_above_rated_power_is_held_and_refuted() -> None:
    meter = a_meter(max_gap_s=3600, rated_per_hour="10")
    readings = ((0, 100_000), (900, 102_000), (1000, 900_000), (1800, 104_000), (3600, 108_000))
    hour, _, codes = one_hour(*readings, meter=meter)
    assert hour.amount.tolist() == [2_000_000] * 4
    assert codes == ["counter-momentary"]


def test_jump_above_rated_power_that_stays_is_not_counted() -> None:
    meter = a_meter(max_gap_s=3600, rated_per_hour="10")
    readings = ((0, 100_000), (900, 102_000), (1000, 900_000), (1900, 902_000), (3700, 906_000))
    hour, _, codes = one_hour(*readings, meter=meter)
    assert hour.amount[0] == 2_000_000
    assert hour.amount.sum() < 8_000_000
    assert hour.missing_ms.tolist() == [0, 100_000, 0, 0]
    assert codes == ["counter-jump"]


def test_rated_power_set_too_low_is_said_and_nothing_is_counted() -> None:
    meter = a_meter(max_gap_s=3600, rated_per_hour="0.001")
    hour, _, codes = one_hour(*((100 * n, 100_000 + 1_000 * n) for n in range(37)), meter=meter)
    assert hour.amount.sum() == 0
    assert codes == ["counter-noise"]


def test_coarse_counter_may_tick_faster_than_its_rated_power() -> None:
    meter = a_meter(max_gap_s=3600, rated_per_hour="100")
    ticks = tuple((float(t), 5_000 + 1_000 * (t // 40)) for t in range(3601))
    hour, _, codes = one_hour(*ticks, meter=meter)
    assert hour.amount.sum() == 90_000_000
    assert codes == []


def test_all_ones_without_a_rated_power_never_becomes_energy() -> None:
    readings = ((0, 100_000), (900, 101_000), (1000, 4_294_967_295), (1800, 102_000), (3600, 104_000))
    hour, _, codes = one_hour(*readings)
    assert hour.amount.sum() == 4_000_000
    assert codes == ["counter-momentary"]
    hour, _, codes = one_hour((0, 100_000), (900, 2**64 - 1), (1800, 102_000), (3600, 104_000))
    assert hour.amount.sum() == 4_000_000
    assert codes == ["reading-impossible"]


def test_negative_value_is_not_available() -> None:
    hour, _, codes = one_hour((0, 100_000), (900, -1), (1800, 102_000), (3600, 104_000))
    assert hour.amount.sum() == 4_000_000
    assert codes == ["reading-impossible"]


def test_zero_before_the_first_real_value_is_no_base() -> None:
    hour, _, codes = one_hour((0, 0), (10, 53_700_000), (20, 53_700_010), (3600, 53_703_590))
    assert hour.amount.sum() == 3_590_000
    assert codes == ["counter-start"]


def test_new_meter_counts_from_zero() -> None:
    hour, _, codes = one_hour(*((10 * n, 5 * n) for n in range(361)))
    assert hour.amount.sum() == 1_800_000
    assert codes == []


def test_withdrawn_reading_is_no_fact() -> None:
    readings = [*at((0, 100_000), (3600, 104_000)), Reading(HOUR_0 + 900_000, 103_999, Quality.MISSING, 1)]
    ((hour, _, codes),) = hours(a_counter(), a_meter(max_gap_s=3600), sorted(readings))
    assert hour.amount.tolist() == [1_000_000] * 4
    assert codes == []


def test_estimated_reading_lowers_both_stretches_beside_it() -> None:
    readings = [
        *at((0, 100), (900, 200), (2700, 400), (3600, 500)),
        Reading(HOUR_0 + 1_800_000, 300, Quality.ESTIMATED),
    ]
    ((hour, _, _),) = hours(a_counter(), a_meter(max_gap_s=3600), sorted(readings))
    levels = [Quality.MEASURED, Quality.ESTIMATED, Quality.ESTIMATED, Quality.MEASURED]
    assert hour.quality.tolist() == levels


def test_suspicious_reading_at_the_live_edge_is_held_in_the_state() -> None:
    hour, state, codes = one_hour((0, 100_000), (900, 101_000), (1000, 0))
    assert hour.amount.tolist() == [1_000_000, 0, 0, 0]
    assert state.held == ((HOUR_0 + 1_000_000, 0, Quality.MEASURED),)
    assert (state.t_ms, state.value) == (HOUR_0 + 900_000, 101_000)
    assert codes == []
    assert CounterState.from_json(state.to_json()) == state


def test_held_reading_is_decided_by_the_next_hour() -> None:
    first, second = hours(
        a_counter(), a_meter(max_gap_s=7200), at((0, 100_000), (3500, 101_000), (3590, 0), (3700, 102_000)), count=2
    )
    assert first[0].amount.sum() + second[0].amount.sum() == 2_000_000
    assert [issue.code for issue in first[2]] == ["counter-momentary"]
    assert second[2] == []


def test_another_channel_is_a_new_base() -> None:
    meter = a_meter(max_gap_s=7200)
    _, state, _ = one_hour((0, 100_000), (3600, 104_000), meter=meter)
    readings = at((3700, 5), (7200, 3_505))
    ((_, after, _),) = list(hours(a_counter("Wh", 0), meter, readings, state=state))[:1]
    assert after is None
    (_, (hour, after, issues)) = hours(a_counter("Wh", 0), meter, readings, count=2, state=state)
    assert (hour.amount.sum(), hour.missing_ms.sum()) == (3_500_000, 100_000)
    assert after is not None
    assert after.channel == "gw-1/m1 counter Wh 0"
    assert issues == []


def test_unit_that_does_not_convert_is_an_issue_and_missing() -> None:
    ((hour, state, issues),) = hours(a_counter("kg", 0), a_meter("kWh"), at((0, 1), (3600, 2)))
    assert [issue.code for issue in issues] == ["channel-unusable"]
    assert "'kg' cannot be converted to 'kWh'" in issues[0].message
    assert hour.missing_ms.sum() == HOUR_MS
    assert state is None


def test_huge_values_stay_exact() -> None:
    big = 10**15 + 1
    channel = a_counter("Wh", 0)
    hour, _, _ = one_hour((0, big), (1800, big + 3), (3600, big + 10**9 + 1), channel=channel, bucket_s=3600)
    assert hour.amount.tolist() == [(10**9 + 1) * 1_000]
