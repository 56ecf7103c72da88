"""Bindings that change at any edge of a bucket: each bucket is that of the channel in force, worked out in fractions."""

from bisect import bisect_right
from collections.abc import Sequence
from fractions import Fraction
from itertools import pairwise

from fed_meters import Channels, bound_meter, counter, fed_hours
from hypothesis import given
from hypothesis import strategies as st
from random_plants import UNHURRIED

from plantprint.facts import Quality, Reading
from plantprint.times import HOUR_MS

HOUR = 480_000 * HOUR_MS
HOURS = 3
BUCKET_S = 900
CUTS = range(HOUR + BUCKET_S * 1000, HOUR + HOURS * HOUR_MS, BUCKET_S * 1000)


@st.composite
def registers(draw: st.DrawFn) -> list[Reading]:
    """A register without faults that is never silent for long."""
    t_ms, value = HOUR - HOUR_MS + draw(st.integers(1, 600_000)), draw(st.integers(1, 10**7))
    readings = []
    while t_ms < HOUR + (HOURS + 1) * HOUR_MS:
        readings.append(Reading(t_ms, value))
        t_ms += draw(st.sampled_from([60_000, 299_999, 300_000, 754_321, 900_000]))
        value += draw(st.sampled_from([0, 1, 7, 12_345]))
    return readings


@st.composite
def changes(draw: st.DrawFn) -> list[tuple[str, int | None, int | None, str]]:
    """Bindings without a gap, from the beginning on."""
    cuts = sorted(draw(st.sets(st.sampled_from(CUTS), max_size=4)))
    bounds: list[int | None] = [None, *cuts, None]
    names, ratios = st.sampled_from(["gw/a", "gw/b"]), st.sampled_from(["1", "0.3", "40"])
    return [(draw(names), a, b, draw(ratios)) for a, b in pairwise(bounds)]


@UNHURRIED
@given(registers(), registers(), changes())
def test_every_bucket_is_that_of_the_channel_and_ratio_in_force(
    one: list[Reading], two: list[Reading], bindings: Sequence[tuple[str, int | None, int | None, str]]
) -> None:
    channels: Channels = {"gw/a": counter("gw/a", one), "gw/b": counter("gw/b", two)}
    end_ms = HOUR + HOURS * HOUR_MS
    got = fed_hours(bound_meter(*bindings), channels, HOUR, HOURS, BUCKET_S)
    for number, (hour, issues) in enumerate(got):
        hour_ms = HOUR + number * HOUR_MS
        assert not issues
        for bucket, amount in enumerate(hour.amount.tolist()):
            at_ms = hour_ms + bucket * BUCKET_S * 1000
            name, _, _, ratio = next(b for b in bindings if (b[1] or 0) <= at_ms < (b[2] or end_ms))
            wanted = plainly(channels[name][1], Fraction(ratio) * 1000, at_ms, at_ms + BUCKET_S * 1000)
            assert (amount, hour.quality[bucket], hour.missing_ms[bucket]) == wanted


def plainly(readings: Sequence[Reading], step: Fraction, start_ms: int, end_ms: int) -> tuple[int, int, int]:
    """Amount, quality and missing time between two instants of a register without faults, from all its readings."""
    times = [r.t_ms for r in readings]

    def total(t_ms: int) -> int:
        t_ms = min(max(t_ms, times[0]), times[-1])
        at = min(bisect_right(times, t_ms), len(times) - 1)
        a, b = readings[at - 1], readings[at]
        return round((a.value + Fraction((b.value - a.value) * (t_ms - a.t_ms), b.t_ms - a.t_ms)) * step)

    gaps = [b - a for a, b in pairwise(times) if a < end_ms and b > start_ms]
    known_ms = max(0, min(end_ms, times[-1]) - max(start_ms, times[0]))
    quality = Quality.MISSING if not gaps else Quality.RECOVERED if max(gaps) > 300_000 else Quality.MEASURED
    return total(end_ms) - total(start_ms), quality, end_ms - start_ms - known_ms
