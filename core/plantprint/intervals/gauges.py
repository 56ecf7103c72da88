"""Hours of gauges: trapezoids between samples near each other, held values beside longer pauses, nothing in between."""

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray

from plantprint.facts import Issue, Quality, Reading
from plantprint.intervals.findings import Finding, issues_of
from plantprint.intervals.grid import Grid, Stretches, assemble, rounded, unknown_besides, whole
from plantprint.intervals.series import RATED_TIMES, CounterState, MeterHour, MeterSeries
from plantprint.times import HOUR_MS

# A measured rate that stays the same to the last digit over so many samples of one hour is a repeated one.
FROZEN_SAMPLES = 60


@dataclass(frozen=True, eq=False)
class _Pieces:
    """Stretches over which the rate goes straight from `start_rate` to `end_rate`, disjoint and in order of time."""

    starts: NDArray[np.int64]
    ends: NDArray[np.int64]
    start_rate: NDArray[np.int64]
    end_rate: NDArray[np.int64]
    level: NDArray[np.int8]


@dataclass(frozen=True, eq=False)
class _Samples:
    """The samples that count, in order of time."""

    t_ms: NDArray[np.int64]
    rate: NDArray[np.int64]
    quality: NDArray[np.int8]


def gauge_hour(
    series: MeterSeries, micro_per_step_hour: Fraction, grid: Grid, base: CounterState | None, until_ms: int
) -> tuple[MeterHour, CounterState | None, list[Issue]]:
    samples, findings = _samples(series, base, grid)
    findings.extend(_frozen(samples, grid))
    pieces = _pieces(samples, series.max_gap_ms)
    lowered: list[Stretches] = [
        (pieces.starts[pieces.level == quality], pieces.ends[pieces.level == quality], quality)
        for quality in (Quality.ESTIMATED, Quality.RECOVERED)
    ]
    amount = _amounts(pieces, micro_per_step_hour / HOUR_MS, grid)
    hour = assemble(grid, amount, unknown_besides(_merged(pieces), grid), lowered, until_ms)
    return hour, _last(samples, series, grid), issues_of(findings, series.meter.id, grid)


def _samples(series: MeterSeries, base: CounterState | None, grid: Grid) -> tuple[_Samples, list[Finding]]:
    """The samples that count, the carried one first, and what was wrong with others."""
    values = series.values
    after_ms = -1 if base is None else base.t_ms
    given = [r for r in series.readings if r.quality > Quality.MISSING and r.t_ms > after_ms]
    good = [r for r in given if values.counts(r)]
    findings: list[Finding] = []
    if len(good) < len(given):
        impossible = [r for r in given if abs(r.value) > -values.least]
        findings += [_finding("reading-impossible", r) for r in impossible]
        findings += [_finding("gauge-over-rated", r) for r in given if values.most < r.value <= -values.least]
    if any(r.value < 0 for r in good):
        zero = _zero(series, [r.value for r in good if grid.start_ms < r.t_ms <= grid.end_ms])
        findings += [_finding("gauge-negative", r)._replace(contradicts=-r.value > zero) for r in good if r.value < 0]
    if base is not None:
        good.insert(0, Reading(base.t_ms, base.value, base.quality))
    samples = _Samples(
        np.array([r.t_ms for r in good], dtype=np.int64),
        np.array([r.value for r in good], dtype=np.int64).clip(min=0),
        np.array([r.quality for r in good], dtype=np.int8),
    )
    return samples, findings


def _zero(series: MeterSeries, rates: Sequence[int]) -> Fraction:
    """Up to which rate below 0 a meter may still mean 0: its limit of error of the rated value, else of the hour's highest."""
    rated = (
        Fraction(series.values.most) / RATED_TIMES if series.meter.rated_per_hour is not None else max(rates, default=0)
    )
    return series.meter.likely_error * max(rated, 0)


def _finding(code: str, reading: Reading) -> Finding:
    return Finding(code, reading.t_ms, f"{reading.value} in steps of the channel")


def _frozen(samples: _Samples, grid: Grid) -> list[Finding]:
    inside = (samples.t_ms > grid.start_ms) & (samples.t_ms <= grid.end_ms)
    t_ms, rate = samples.t_ms[inside], samples.rate[inside]
    if len(rate) < FROZEN_SAMPLES or not rate[0] or (rate != rate[0]).any():
        return []
    return [Finding("gauge-frozen", int(t_ms[0]), f"{len(rate)} times {rate[0]} in steps of the channel")]


def _last(samples: _Samples, series: MeterSeries, grid: Grid) -> CounterState | None:
    last = int(np.searchsorted(samples.t_ms, grid.end_ms, side="right")) - 1
    if last < 0:
        return None
    t_ms, value, quality = int(samples.t_ms[last]), int(samples.rate[last]), int(samples.quality[last])
    return CounterState(t_ms, value, quality=quality, channel=series.channel_mark)


def _pieces(samples: _Samples, max_gap_ms: int) -> _Pieces:
    """Between two samples: one trapezoid, or each of them held for half of `max_gap_ms` when they are further apart."""
    t_ms, rate, quality = samples.t_ms, samples.rate, samples.quality
    far = np.diff(t_ms) > max_gap_ms
    held = np.minimum(quality, Quality.ESTIMATED)
    starts = np.concatenate((t_ms[:-1], t_ms[1:][far] - max_gap_ms // 2))
    order = np.argsort(starts, kind="stable")
    return _Pieces(
        starts[order],
        np.concatenate((np.where(far, t_ms[:-1] + max_gap_ms // 2, t_ms[1:]), t_ms[1:][far]))[order],
        np.concatenate((rate[:-1], rate[1:][far]))[order],
        np.concatenate((np.where(far, rate[:-1], rate[1:]), rate[1:][far]))[order],
        np.concatenate((np.where(far, held[:-1], np.minimum(quality[:-1], quality[1:])), held[1:][far]))[order],
    )


def _merged(pieces: _Pieces) -> list[tuple[int, int]]:
    """The stretches that pieces cover without a pause."""
    if not len(pieces.starts):
        return []
    pause = np.flatnonzero(pieces.starts[1:] > pieces.ends[:-1])
    starts = pieces.starts[np.append(0, pause + 1)]
    ends = pieces.ends[np.append(pause, len(pieces.ends) - 1)]
    return [(int(start), int(end)) for start, end in zip(starts, ends, strict=True)]


def _amounts(pieces: _Pieces, micro_per_step_ms: Fraction, grid: Grid) -> NDArray[Any]:
    """Amounts per bucket; each piece is rounded cumulatively from its own start at every bucket edge inside it."""
    if not len(pieces.starts):
        return np.zeros(grid.buckets, dtype=np.int64)
    cuts = np.unique(np.concatenate((grid.edges, pieces.starts, pieces.ends)))
    cuts = cuts[(cuts >= grid.start_ms) & (cuts <= grid.end_ms)]
    piece = np.searchsorted(pieces.starts, cuts[:-1], side="right") - 1
    covered = (piece >= 0) & (cuts[1:] <= pieces.ends[piece])
    if not covered.any():
        return np.zeros(grid.buckets, dtype=np.int64)
    piece, begin, end = piece[covered], cuts[:-1][covered], cuts[1:][covered]
    numerator, denominator = micro_per_step_ms.numerator, micro_per_step_ms.denominator
    length = pieces.ends[piece] - pieces.starts[piece]
    rates = (pieces.start_rate[piece], pieces.end_rate[piece])
    longest, highest = int(length.max()), int(np.maximum(*rates).max())
    bound = 4 * longest * (denominator + numerator * highest * longest)
    length, low, high = whole(length, bound), whole(rates[0], bound), whole(rates[1], bound)

    def upto(t_ms: NDArray[np.int64]) -> NDArray[Any]:
        passed = whole(t_ms - pieces.starts[piece], bound)
        return rounded(numerator * passed * (2 * low * length + (high - low) * passed), 2 * denominator * length)

    amount = np.zeros(grid.buckets, dtype=length.dtype)
    np.add.at(amount, (begin - grid.start_ms) // grid.bucket_ms, upto(end) - upto(begin))
    return amount
