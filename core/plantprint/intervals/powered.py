"""A counter and the power of the same device: power spreads what a coarse register counts, and shows one that is wrong."""

from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction

from plantprint.facts import Issue, Quality
from plantprint.intervals.counters import counter_hour
from plantprint.intervals.findings import Finding, issues_of, unusable_channel
from plantprint.intervals.gauges import gauge_hour
from plantprint.intervals.grid import Grid
from plantprint.intervals.series import CounterState, MeterHour, MeterSeries, micro_per_step
from plantprint.intervals.shaping import Step, fine_grid
from plantprint.quantities import MICRO, UnitError, decimal_text
from plantprint.times import HOUR_MS

# Fewer steps of the register than this say little about its scale.
_STEPS_MIN = 20
_TOLERANCE = Fraction(15, 100)
_FACTORS = tuple(Fraction(10) ** exponent for exponent in (-3, -2, -1, 1, 2, 3))


def powered_counter(
    series: MeterSeries, micro_per_register_step: Fraction, grid: Grid, base: CounterState | None, until_ms: int
) -> tuple[MeterHour, CounterState | None, list[Issue]]:
    """The hour of a counter with a power channel, or with a resolution: what it counts is the register's in any case."""
    fine = fine_grid(grid)
    power, sample, issues = _power(series, fine, None if base is None else base.power, until_ms)
    size, step = micro_per_register_step, None
    if series.meter.resolution is not None:
        size = Fraction(series.meter.resolution) * MICRO
        step = Step(round(size), power, fine)
    hour, after, found = counter_hour(series, micro_per_register_step, grid, base, until_ms, step)
    if power is not None:
        issues += issues_of(power_findings(hour, power, size, grid), series.meter.id, grid)
    return hour, after and replace(after, power=sample), [*issues, *found]


def _power(
    series: MeterSeries, fine: Grid, state: CounterState | None, until_ms: int
) -> tuple[MeterHour | None, CounterState | None, list[Issue]]:
    """What flowed by the power, its last sample, and what is wrong with its channel."""
    power = series.beside.get("power")
    if power is None:
        return None, None, []
    if power.channel.kind != "gauge":
        reason = f"it is a {power.channel.kind}, and only a gauge spreads what a counter counts"
        return None, None, [unusable_channel(power, reason, fine.start_ms)]
    if state is not None and state.channel != power.channel_mark:
        state = None
    try:
        hour, after, _ = gauge_hour(power, micro_per_step(power), fine, state, until_ms)
    except UnitError as error:
        return None, None, [unusable_channel(power, str(error), fine.start_ms)]
    return hour, after, []


def power_findings(hour: MeterHour, power: MeterHour, step: Fraction, grid: Grid) -> Iterator[Finding]:
    """What a whole hour of both, known throughout, says; `step` is the register's, in millionths of the meter's unit."""
    known = all((part.quality >= Quality.RECOVERED).all() and not part.missing_ms.any() for part in (hour, power))
    told, flowed = int(hour.amount.sum()), int(power.amount.sum())
    if grid.end_ms - grid.start_ms != HOUR_MS or not known or max(told, flowed) < _STEPS_MIN * step:
        return
    detail = f"{decimal_text(told)} by the counter, {decimal_text(flowed)} by the power"
    if not told:
        yield Finding("counter-still", grid.end_ms, detail)
    elif any(abs(flowed / factor / told - 1) <= _TOLERANCE for factor in _FACTORS):
        yield Finding("counter-scale", grid.end_ms, detail)
