"""Hours of amounts: each quantity spread evenly over the period that ends at its time stamp."""

from fractions import Fraction
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from plantprint.facts import Issue, Quality, Reading
from plantprint.intervals.findings import Finding, issues_of
from plantprint.intervals.grid import REGISTER_MAX, Grid, assemble, unknown_besides
from plantprint.intervals.series import MeterHour, MeterSeries, rated_micro
from plantprint.quantities import round_half_even


def amount_hour(
    series: MeterSeries, micro_per_step: Fraction, grid: Grid, until_ms: int
) -> tuple[MeterHour, list[Issue]]:
    """The hour of [t - period, t) amounts; a period whose reading is withdrawn or not believed stays unknown."""
    period_ms = series.channel.period_s * 1000
    findings: list[Finding] = []
    counted = [
        r for r in series.readings if r.quality > Quality.MISSING and _counts(r, series, micro_per_step, findings)
    ]
    amount = np.zeros(grid.buckets, dtype=np.int64)
    for reading in counted:
        _spread(amount, reading, period_ms, micro_per_step, grid)
    periods = [(reading.t_ms - period_ms, reading.t_ms) for reading in counted]
    for (_, before), (start, end) in pairwise(periods):
        if before > start:
            findings.append(Finding("amount-overlap", end, f"{before - start} ms of {period_ms} ms"))
    lowered = [
        (np.array([r.t_ms - period_ms]), np.array([r.t_ms]), r.quality) for r in counted if r.quality < Quality.MEASURED
    ]
    hour = assemble(grid, amount, unknown_besides(periods, grid), lowered, until_ms)
    return hour, issues_of(findings, series.meter.id, grid)


def _counts(reading: Reading, series: MeterSeries, micro_per_step: Fraction, findings: list[Finding]) -> bool:
    per_hour = reading.value * micro_per_step * 3600 / series.channel.period_s
    rated = series.meter.rated_per_hour
    code = ""
    if not 0 <= per_hour <= REGISTER_MAX:
        code = "reading-impossible"
    elif rated is not None and per_hour > rated_micro(rated):
        code = "amount-over-rated"
    if code:
        findings.append(Finding(code, reading.t_ms, f"{reading.value} in steps of the channel"))
    return not code


def _spread(amount: NDArray[np.int64], reading: Reading, period_ms: int, micro_per_step: Fraction, grid: Grid) -> None:
    """Adds the part of one amount that falls into each bucket, rounded cumulatively from the start of its period."""
    start, end = reading.t_ms - period_ms, reading.t_ms
    first = max(start, grid.start_ms)
    last = min(end, grid.end_ms)
    numerator = reading.value * micro_per_step.numerator
    denominator = micro_per_step.denominator * period_ms
    at, before = first, round_half_even(numerator * (first - start), denominator)
    while at < last:
        bucket = (at - grid.start_ms) // grid.bucket_ms
        at = min(grid.start_ms + (bucket + 1) * grid.bucket_ms, last)
        upto = round_half_even(numerator * (at - start), denominator)
        amount[bucket] += upto - before
        before = upto
