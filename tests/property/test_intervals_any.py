"""Any meter: whatever a device sends, an hour of it is sound, repeatable, and says what it does not know."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies import HOUR_0, a_counter, a_gauge, a_meter, an_amount, hours, instants

from plantprint.facts import Channel, Quality, Reading
from plantprint.intervals.findings import KINDS
from plantprint.plant.model import Meter
from plantprint.times import HOUR_MS

HOURS = 3
VALUES = st.integers(0, 2000) | st.integers(-5, 5) | st.integers(-(2**63), 2**64) | st.just(2**32 - 1)
CHANNELS = st.sampled_from((a_counter(), a_counter("Wh", 0), a_counter("MWh", 9), a_gauge(), a_gauge("W", 0)))
METERS = st.sampled_from(
    (a_meter(), a_meter("GJ", max_gap_s=1), a_meter(wrap="2", rated_per_hour="3"), a_meter(rated_per_hour="0.001"))
)


@st.composite
def anything(draw: st.DrawFn) -> list[Reading]:
    quality = st.sampled_from(tuple(Quality))
    return [Reading(t_ms, draw(VALUES), draw(quality)) for t_ms in draw(instants(HOURS))]


@given(anything(), CHANNELS | st.sampled_from((60, 900, 7200)).map(an_amount), METERS, st.sampled_from((60, 3600)))
@settings(max_examples=200)
def test_an_hour_is_sound_whatever_comes(
    readings: list[Reading], channel: Channel, meter: Meter, bucket_s: int
) -> None:
    done = list(hours(channel, meter, readings, count=HOURS, bucket_s=bucket_s))
    again = list(hours(channel, meter, readings, count=HOURS, bucket_s=bucket_s))
    for number, ((hour, state, issues), (same, same_state, same_issues)) in enumerate(zip(done, again, strict=True)):
        start_ms, end_ms = HOUR_0 + number * HOUR_MS, HOUR_0 + (number + 1) * HOUR_MS
        assert np.array_equal(hour.amount, same.amount)
        assert (state, issues) == (same_state, same_issues)
        assert (hour.amount >= 0).all()
        assert (hour.missing_ms >= 0).all()
        assert (hour.missing_ms <= bucket_s * 1000).all()
        unknown = hour.missing_ms == bucket_s * 1000
        assert np.array_equal(hour.quality == Quality.MISSING, unknown)
        assert not hour.amount[unknown].any()
        assert state is None or (state.t_ms <= end_ms and all(t_ms <= end_ms for t_ms, _, _ in state.held))
        assert all(issue.code in KINDS and start_ms <= issue.at_ms <= end_ms for issue in issues)
        # A reading as an hour begins belongs to the hour before; an overlap that goes on into an hour begins with it.
        assert all(issue.at_ms > start_ms for issue in issues if issue.code != "amount-overlap")
