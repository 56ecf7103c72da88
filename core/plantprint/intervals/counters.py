"""Hours of counters: the register interpolated at bucket edges, rounded there, then differenced: sums telescope."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray

from plantprint.facts import Issue, Quality, Reading
from plantprint.intervals.findings import Finding, issues_of
from plantprint.intervals.grid import Grid, Stretches, assemble, rounded, unknown_besides, whole
from plantprint.intervals.register import Course, Rules, follow, rules_of
from plantprint.intervals.series import CounterState, MeterHour, MeterSeries
from plantprint.intervals.shaping import Step, shape
from plantprint.quantities import round_half_even


@dataclass(frozen=True, eq=False)
class _Track:
    """Good readings as arrays: instant, rise of the total above `origin`, and how well each stretch between is known.

    `state` is the last good reading up to the hour's end, with what is held after it.
    """

    t_ms: NDArray[np.int64]
    origin: int
    rise: NDArray[Any]
    level: NDArray[np.int8]
    state: CounterState | None
    findings: Sequence[Finding]


def counter_hour(
    series: MeterSeries,
    micro_per_step: Fraction,
    grid: Grid,
    base: CounterState | None,
    until_ms: int,
    step: Step | None = None,
) -> tuple[MeterHour, CounterState | None, list[Issue]]:
    """The hour of a register; one that moves in coarse steps is spread within them, as `step` says."""
    rules = rules_of(series, micro_per_step)
    facts: list[Reading] = []
    after_ms = -1
    if base is not None:
        facts.extend(Reading(*held) for held in base.held)
        after_ms = base.held[-1][0] if base.held else base.t_ms
        base = replace(base, held=())
    facts.extend(r for r in series.readings if r.quality > Quality.MISSING and r.t_ms > after_ms)
    track = _plain_track(rules, base, facts, grid.end_ms) if base else None
    if track is None:
        course = follow(rules, base, facts, series.channel_mark)
        track = _course_track(course, base, grid.end_ms)
    state = track.state
    unsure: Sequence[tuple[int, int]] = ()
    if step is None or not track.t_ms.size:
        edges = _registers(track, micro_per_step, grid)
    else:
        stood = base is not None and base.since_ms < base.t_ms
        ahead = 0 if base is None else base.ahead
        shaped = shape(track.t_ms, _totals(track, micro_per_step), track.level, ahead, step, grid, stood=stood)
        edges, unsure = shaped.edges, shaped.unsure
        state = None if state is None else replace(state, ahead=shaped.ahead)
    hour = _hour(track, edges, unsure, grid, series.max_gap_ms, until_ms)
    return hour, state, issues_of(track.findings, series.meter.id, grid)


def _plain_track(rules: Rules, base: CounterState, facts: Sequence[Reading], end_ms: int) -> _Track | None:
    """The track of a register that only does what it should, which nearly all do; None when a closer look is needed."""
    values = [base.value, *(fact.value for fact in facts)]
    if base.before is not None or not base.value or max(values) > rules.value_max or min(values) < 0:
        return None
    value = np.array(values, dtype=np.int64)
    t_ms = np.array([base.t_ms, *(fact.t_ms for fact in facts)], dtype=np.int64)
    quality = np.array([base.quality, *(fact.quality for fact in facts)], dtype=np.int8)
    step = np.diff(value)
    if (step < 0).any():
        return None
    # Where the register came to its value: the last index at which it moved, or the base.
    moved_at = np.maximum.accumulate(np.where(np.append(0, step) > 0, np.arange(len(value)), 0))
    since_ms = np.where(moved_at > 0, t_ms[moved_at], base.since_ms)
    if rules.rise_per_ms is not None and not _all_believable(rules.rise_per_ms, step, t_ms[1:] - since_ms[:-1]):
        return None
    last = int(np.searchsorted(t_ms, end_ms, side="right")) - 1
    state = replace(
        base,
        t_ms=int(t_ms[last]),
        value=int(value[last]),
        held=(),
        since_ms=int(since_ms[last]),
        quality=int(quality[last]),
    )
    return _Track(t_ms, base.total, value - base.value, np.minimum(quality[:-1], quality[1:]), state, ())


def _all_believable(rise_per_ms: Fraction, step: NDArray[np.int64], elapsed_ms: NDArray[np.int64]) -> bool:
    """`Rules.believable` for a whole array of steps upwards."""
    if not len(step):
        return True
    rise, per = rise_per_ms.numerator, rise_per_ms.denominator
    bound = max(int(step.max()) * per, int(elapsed_ms.max()) * rise)
    believed = (whole(step, bound) - 1) * per <= whole(elapsed_ms, bound) * rise
    return bool((believed | (step == 0)).all())


def _course_track(course: Course, base: CounterState | None, end_ms: int) -> _Track:
    states = [accepted.state for accepted in course.accepted]
    levels = [accepted.level for accepted in course.accepted]
    if base is not None:
        states.insert(0, base)
    else:
        levels = levels[1:]
    origin = states[0].total if states else 0
    rises = [state.total - origin for state in states]
    quality = np.array([state.quality for state in states], dtype=np.int8)
    level = np.minimum(np.array(levels, dtype=np.int8), np.minimum(quality[:-1], quality[1:]))
    state = next((s for s in reversed(states) if s.t_ms <= end_ms), None)
    if state is not None:
        state = replace(state, held=tuple((r.t_ms, r.value, r.quality) for r in course.held if r.t_ms <= end_ms))
    t_ms = np.array([s.t_ms for s in states], dtype=np.int64)
    return _Track(t_ms, origin, whole(rises, max(rises, default=0)), level, state, course.findings)


def _totals(track: _Track, micro_per_step: Fraction) -> list[int]:
    """The total at each good reading, in millionths of the meter's unit."""
    numerator, denominator = micro_per_step.numerator, micro_per_step.denominator
    return [round_half_even((track.origin + rise) * numerator, denominator) for rise in track.rise.tolist()]


def _hour(
    track: _Track,
    edges: NDArray[Any],
    unsure: Sequence[tuple[int, int]],
    grid: Grid,
    max_gap_ms: int,
    until_ms: int,
) -> MeterHour:
    if len(track.t_ms) < 2:
        nothing = np.zeros(grid.buckets, dtype=np.int64)
        return assemble(grid, nothing, unknown_besides((), grid), (), until_ms)
    starts, ends = track.t_ms[:-1], track.t_ms[1:]
    level = np.where(ends - starts > max_gap_ms, np.minimum(track.level, Quality.RECOVERED), track.level)
    unknown = unknown_besides([(int(track.t_ms[0]), int(track.t_ms[-1]))], grid)
    lost = (level == Quality.MISSING) & (ends > grid.start_ms) & (starts < grid.end_ms)
    unknown += [(int(start), int(end)) for start, end in zip(starts[lost], ends[lost], strict=True)]
    lowered: list[Stretches] = [
        (starts[level == quality], ends[level == quality], quality)
        for quality in (Quality.ESTIMATED, Quality.RECOVERED)
    ]
    if unsure:
        begin, end = np.array(unsure, np.int64).T
        lowered.append((begin, end, Quality.RECOVERED))
    return assemble(grid, np.diff(edges), unknown, lowered, until_ms)


def _registers(track: _Track, micro_per_step: Fraction, grid: Grid) -> NDArray[Any]:
    """The total at the bucket edges in millionths of the meter's unit, less an even whole number.

    Outside of what is known it stands still, and before anything is known it is nothing. What is taken off is even, so
    each edge rounds as the whole total would.
    """
    if len(track.t_ms) < 2:
        return np.zeros(grid.buckets + 1, dtype=np.int64)
    at = np.clip(grid.edges, track.t_ms[0], track.t_ms[-1])
    left = np.clip(np.searchsorted(track.t_ms, at, side="right") - 1, 0, len(track.t_ms) - 2)
    numerator, denominator = micro_per_step.numerator, micro_per_step.denominator
    span = track.t_ms[left + 1] - track.t_ms[left]
    # track.origin x micro_per_step = an even whole number + offset / denominator
    offset = track.origin * numerator % (2 * denominator)
    bound = 4 * int(span.max()) * (denominator + numerator * int(track.rise[-1]) + offset)
    span, passed = whole(span, bound), whole(at - track.t_ms[left], bound)
    low, high = whole(track.rise[left], bound), whole(track.rise[left + 1], bound)
    return rounded(offset * span + numerator * (low * span + (high - low) * passed), denominator * span)
