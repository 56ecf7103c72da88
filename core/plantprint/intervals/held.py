"""Pressure and temperature beside a meter: a reading holds until the next one, estimated after a while, not for ever.

Nothing after an instant says anything about it, so that a late reading reaches forward only, to the next one.
"""

from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray

from plantprint.facts import Quality, Reading
from plantprint.intervals.findings import Finding
from plantprint.intervals.grid import Grid, whole
from plantprint.intervals.series import CounterState, MeterSeries
from plantprint.quantities import round_half_even
from plantprint.steam import STATE_UNITS


@dataclass(frozen=True, eq=False)
class Held:
    """Per bucket the sum of values x milliseconds that are known, these milliseconds, and the worst quality of them.

    Of a bucket that is known in part it is estimated, of one that is not it is missing. `fine` is how many Pa or thousandths
    of a °C a step of the values is, `last` the last reading.
    """

    fine: Fraction
    sums: NDArray[Any]
    known_ms: NDArray[np.int64]
    quality: NDArray[np.int8]
    last: CounterState | None
    findings: list[Finding]

    def mean(self, bucket: int) -> int:
        """Over what is known of a bucket, in Pa or thousandths of a °C, half to even."""
        above, below = self.fine.numerator * int(self.sums[bucket]), self.fine.denominator * int(self.known_ms[bucket])
        return round_half_even(above, below)


def hold(series: MeterSeries, base: CounterState | None, grid: Grid, hold_ms: int) -> Held:
    """The course of a pressure or temperature, from its readings and the last one before them, `base`.

    Its channel must be one that can tell it.
    """
    channel = series.channel
    assert series.tells is not None, "it tells a pressure or a temperature"
    fine = Fraction(STATE_UNITS[series.tells][channel.unit], 10**channel.decimals)
    if base is not None and base.channel != series.channel_mark:
        base = None
    after_ms, values = -1 if base is None else base.t_ms, series.values
    given = [r for r in series.readings if r.quality > Quality.MISSING and after_ms < r.t_ms <= grid.end_ms]
    good = [r for r in given if values.counts(r)]
    findings = [
        Finding("reading-impossible", r.t_ms, f"{r.value} in steps of {channel.key}")
        for r in given
        if not values.counts(r)
    ]
    if base is not None:
        good.insert(0, Reading(base.t_ms, base.value, base.quality))
    last = None
    if good:
        last = CounterState(good[-1].t_ms, good[-1].value, quality=good[-1].quality, channel=series.channel_mark)
    return Held(fine, *_buckets(good, series.max_gap_ms, hold_ms, grid), last, findings)


def _buckets(
    good: list[Reading], max_gap_ms: int, hold_ms: int, grid: Grid
) -> tuple[NDArray[Any], NDArray[np.int64], NDArray[np.int8]]:
    known_ms = np.zeros(grid.buckets, np.int64)
    quality = np.full(grid.buckets, Quality.MEASURED, np.int8)
    t_ms = np.array([r.t_ms for r in good], np.int64)
    stale_ms, ends = t_ms + max_gap_ms, np.minimum(np.append(t_ms[1:], grid.end_ms), t_ms + hold_ms)
    cuts = np.unique(np.concatenate((grid.edges, t_ms, stale_ms, ends)))
    cuts = cuts[(cuts >= grid.start_ms) & (cuts <= grid.end_ms)]
    begin, end = cuts[:-1], cuts[1:]
    held = np.searchsorted(t_ms, begin, side="right") - 1
    covered = held >= 0
    covered[covered] = end[covered] <= ends[held[covered]]
    held, begin, length = held[covered], begin[covered], (end - begin)[covered]
    bucket = (begin - grid.start_ms) // grid.bucket_ms
    most = max((abs(r.value) for r in good), default=0)
    value = whole([r.value for r in good], most * (grid.end_ms - grid.start_ms))
    sums = np.zeros(grid.buckets, value.dtype)
    np.add.at(sums, bucket, value[held] * length)
    np.add.at(known_ms, bucket, length)
    told = np.array([r.quality for r in good], np.int8)[held]
    told = np.where(begin >= stale_ms[held], np.minimum(told, Quality.ESTIMATED), told).astype(np.int8)
    np.minimum.at(quality, bucket, told)
    quality[known_ms < grid.bucket_ms] = np.minimum(quality[known_ms < grid.bucket_ms], Quality.ESTIMATED)
    quality[known_ms == 0] = Quality.MISSING
    return sums, known_ms, quality
