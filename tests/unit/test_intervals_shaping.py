"""A coarse counter is spread by its device's power within its steps; the counter alone says how much it is."""

from dataclasses import replace
from decimal import Decimal

import pytest
from coarse_meters import KWH, METER, POWER, PULSE, powers, pulses, shaped_hours
from strategies import HOUR_0, at

from plantprint.facts import Quality
from plantprint.intervals import MeterSeries, meter_hour
from plantprint.times import HOUR_MS


def test_energy_inside_a_step_goes_where_the_power_was() -> None:
    """6 kW for the first 20 minutes, then nothing: two kWh, not a burst at each tick."""
    kw = [(0, 6.0), (1200, 0.0)]
    [(hour, _, issues)] = shaped_hours(pulses(kw, 4000), powers(kw, 4000))
    assert hour.amount.tolist() == pytest.approx([KWH, KWH, 0, 0, 0, 0], abs=1)
    assert hour.quality.tolist() == [Quality.MEASURED] * 6
    assert not issues


def test_a_step_that_takes_an_hour_is_spread_over_it_and_its_rest_comes_with_the_tick() -> None:
    """0.8 kW: the register ticks after 75 minutes. What power told before counts at once, the tick brings only the rest."""
    kw = [(0, 0.8), (4500, 0.0)]
    (first, at_end, _), (second, _, _) = shaped_hours(pulses(kw, 7600), powers(kw, 7600), 2)
    assert at_end is not None
    assert first.amount.sum() == at_end.ahead == pytest.approx(800_000, abs=2)
    assert first.amount.tolist() == pytest.approx([133_333] * 6, abs=2)
    assert second.amount.tolist() == pytest.approx([133_333, 66_667, 0, 0, 0, 0], abs=2)


def test_power_never_counts_more_than_the_step_that_the_register_is_short_of() -> None:
    """The power says 5 kW, but the register stands: its scale is wrong, or the counter is dead."""
    counter, power = at(*((s, 100) for s in range(-600, 7300, 60))), powers([(0, 5.0)], 7300)
    (first, _, _), (second, _, _) = shaped_hours(counter, power, 2)
    assert first.amount.sum() == pytest.approx(KWH, abs=1)
    assert second.amount.sum() == 0


def test_where_the_power_is_unknown_steps_are_spread_evenly_and_marked_recovered() -> None:
    kw = [(0, 3.0)]
    counter = pulses(kw, 4000)
    power = tuple(r for r in powers(kw, 4000) if not HOUR_0 + 1300_000 < r.t_ms < HOUR_0 + 2300_000)
    [(hour, _, _)] = shaped_hours(counter, power)
    assert hour.amount.tolist() == [KWH // 2] * 6
    assert hour.quality.tolist() == [3, 3, 2, 2, 3, 3]
    [(alone, state, _)] = shaped_hours(counter, None)
    assert alone.amount.tolist() == [KWH // 2] * 6
    assert set(alone.quality.tolist()) == {Quality.RECOVERED}
    assert state is not None
    assert state.ahead == 0


def test_a_power_channel_that_is_no_gauge_is_an_issue_and_the_amounts_stay() -> None:
    kw = [(0, 3.0)]
    series = MeterSeries(PULSE, METER, Decimal(1), pulses(kw, 3600)[10:])
    wrong = replace(series, beside={"power": MeterSeries(PULSE, METER, Decimal(1), pulses(kw, 3600))})
    hour, _, issues = meter_hour(wrong, HOUR_0, 600, None, HOUR_0 + HOUR_MS)
    assert hour.amount.sum() == 3 * KWH
    assert [(issue.code, "only a gauge" in issue.message) for issue in issues] == [("channel-unusable", True)]


def test_a_register_that_starts_anew_keeps_what_was_counted_ahead_of_it() -> None:
    """It had 0.4 kWh towards its next tick when the device was reset to 0: nothing is taken back, nothing counted twice."""
    before = at(*((s, 100) for s in range(-600, 1801, 60)))
    after = at(*((s, 0 if s < 2700 else 1) for s in range(1860, 4000, 60)))
    power = powers([(0, 0.8), (1800, 0.0), (2400, 2.0), (3000, 0.0)], 4000)
    [(hour, state, issues)] = shaped_hours((*before, *after), power)
    assert [issue.code for issue in issues] == ["counter-reset"]
    assert hour.missing_ms.tolist() == [0, 0, 0, 60_000, 0, 0]
    assert hour.amount[:3].sum() == pytest.approx(400_000, abs=2)
    # The tick at 2700 s tells a kWh, which the power puts after 2400 s; the five minutes of 2 kW after it count at once.
    assert hour.amount[3:].tolist() == pytest.approx([0, KWH + 166_667, 0], abs=2)
    assert state is not None
    assert state.ahead == pytest.approx(166_667, abs=2)


def test_a_coarse_counter_without_a_reading_is_missing() -> None:
    series = MeterSeries(PULSE, METER, Decimal(1), (), beside={"power": MeterSeries(POWER, METER, Decimal(1), ())})
    hour, state, issues = meter_hour(series, HOUR_0, 600, None, HOUR_0 + HOUR_MS)
    assert (int(hour.amount.sum()), state, issues) == (0, None, [])
    assert set(hour.quality.tolist()) == {Quality.MISSING}
