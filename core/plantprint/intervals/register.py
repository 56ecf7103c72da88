"""Following a register through what devices do to it: momentary zeros, dips, wraps, resets and absurd jumps.

A reading that leaves the register's course is held until the readings after it confirm or refute it, LOOKAHEAD at most.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import NamedTuple

from plantprint.facts import Quality, Reading
from plantprint.intervals.findings import Finding
from plantprint.intervals.series import LOOKAHEAD, CounterState, MeterSeries, rated_micro
from plantprint.quantities import MICRO, round_half_even
from plantprint.times import HOUR_MS


@dataclass(frozen=True, slots=True)
class Rules:
    """What a register can do, in its own steps: its modulus, how fast it may rise (steps per ms), its largest value."""

    modulus: int | None
    rise_per_ms: Fraction | None
    value_max: int

    def can_hold(self, fact: Reading) -> bool:
        return 0 <= fact.value <= self.value_max

    def believable(self, value: int, since_ms: int, fact: Reading) -> bool:
        """Could the register have come from `value`, reached at `since_ms`, to this reading?

        Time runs from when the register last moved, so that a coarse counter may tick; one step is always free.
        """
        if fact.value < value:
            return False
        rise = self.rise_per_ms
        return rise is None or (fact.value - value - 1) * rise.denominator <= rise.numerator * (fact.t_ms - since_ms)


class Accepted(NamedTuple):
    """A good reading; `level` is how well the stretch before it is known (MISSING: not at all)."""

    state: CounterState
    level: int


@dataclass(frozen=True, slots=True)
class Course:
    """The good readings of a register, what was found on the way, and the readings at the end not decided yet."""

    accepted: list[Accepted]
    findings: list[Finding]
    held: list[Reading]


class _Step(NamedTuple):
    """A decision about the first `consumed` readings: the good one among them (if any), or how they are called."""

    consumed: int
    accepted: Accepted | None = None
    code: str = ""


def rules_of(series: MeterSeries, micro_per_step: Fraction) -> Rules:
    meter = series.meter
    modulus = rise = None
    if meter.wrap is not None:
        steps = Fraction(meter.wrap) * MICRO / micro_per_step
        modulus = round_half_even(steps.numerator, steps.denominator)
    if meter.rated_per_hour is not None:
        rise = rated_micro(meter.rated_per_hour) / micro_per_step / HOUR_MS
    return Rules(modulus, rise, series.values.most)


def follow(rules: Rules, base: CounterState | None, facts: Sequence[Reading], channel: str) -> Course:
    """The course of a register from `base` (None: the first reading is it) through facts in order of time."""
    possible = [fact for fact in facts if rules.can_hold(fact)]
    course = Course([], [_finding("reading-impossible", f, base) for f in facts if not rules.can_hold(f)], [])
    at = 0
    while at < len(possible):
        step = _decide(rules, base, possible[at : at + LOOKAHEAD], channel)
        if not step.consumed:
            course.held.extend(possible[at:])
            break
        if step.code:
            course.findings.extend(_finding(step.code, f, base) for f in possible[at : at + step.consumed])
        if step.accepted is not None:
            course.accepted.append(step.accepted)
            base = step.accepted.state
        at += step.consumed
    return course


def _finding(code: str, fact: Reading, base: CounterState | None) -> Finding:
    came_from = "" if base is None else f"{base.value} → "
    return Finding(code, fact.t_ms, f"{came_from}{fact.value} in steps of the channel")


def _decide(rules: Rules, base: CounterState | None, window: Sequence[Reading], channel: str) -> _Step:
    fact = window[0]
    if base is None:
        first = CounterState(fact.t_ms, fact.value, since_ms=fact.t_ms, quality=fact.quality, channel=channel)
        return _Step(1, Accepted(first, Quality.MISSING))
    if base.before is not None and _has_returned(rules, base, base.before, fact):
        _, value, offset = base.before
        back = replace(_advance(base, replace(fact, value=max(value, fact.value))), offset=offset)
        return _Step(1, Accepted(back, Quality.RECOVERED), "counter-returned")
    if rules.believable(base.value, base.since_ms, fact):
        return _grow(rules, base, fact, window[1] if len(window) > 1 else None)
    if fact.value < base.value and not _is_small_part(fact.value, base.value):
        return _Step(1, Accepted(replace(base, t_ms=fact.t_ms, quality=fact.quality), Quality.RECOVERED), "counter-dip")
    return _resolve(rules, base, window)


def _grow(rules: Rules, base: CounterState, fact: Reading, follower: Reading | None) -> _Step:
    """A reading that may well be right, unless the one after it tells otherwise."""
    if follower is not None and base.value <= follower.value and _is_small_part(follower.value, fact.value):
        return _Step(1, None, "counter-momentary")
    if follower is not None and _is_false_start(rules, base, fact, follower):
        return _Step(1, Accepted(_restart(base, fact), Quality.MISSING), "counter-start")
    return _Step(1, Accepted(_advance(base, fact), Quality.MEASURED))


def _resolve(rules: Rules, base: CounterState, window: Sequence[Reading]) -> _Step:
    """What to make of a suspicious reading, the window's first, by those after it."""
    suspect = window[0]
    for count, fact in enumerate(window[1:], start=1):
        below = fact.value < base.value and not _is_small_part(fact.value, base.value)
        if below or rules.believable(base.value, base.since_ms, fact):
            return _Step(count, None, "counter-momentary")
        if fact.value == suspect.value == 0:
            continue  # a device that cannot read repeats its zero: that confirms nothing yet
        if rules.believable(suspect.value, suspect.t_ms, fact):
            return _confirm(rules, base, suspect)
        return _Step(count, None, "counter-noise")
    return _Step(0) if len(window) < LOOKAHEAD else _confirm(rules, base, suspect)


def _confirm(rules: Rules, base: CounterState, fact: Reading) -> _Step:
    """The register really is there: a wrap, a reset or exchange, or a rise that no rated power explains."""
    if rules.modulus is not None and fact.value < base.value and 20 * base.value > 19 * rules.modulus:
        through = replace(fact, value=fact.value + rules.modulus)
        possible = rules.believable(base.value, base.since_ms, through)
        if possible and (rules.rise_per_ms is not None or 2 * (through.value - base.value) <= rules.modulus):
            state = replace(_advance(base, through), value=fact.value, offset=base.offset + rules.modulus)
            return _Step(1, Accepted(state, Quality.MEASURED), "counter-wrap")
    state = _restart(base, fact)
    if fact.value > base.value:
        return _Step(1, Accepted(state, Quality.MISSING), "counter-jump")
    if fact.value == 0:
        state = replace(state, before=(base.t_ms, base.value, base.offset))
    return _Step(1, Accepted(state, Quality.MISSING), "counter-reset")


def _advance(base: CounterState, fact: Reading) -> CounterState:
    moved = fact.value > base.value
    return replace(
        base,
        t_ms=fact.t_ms,
        value=fact.value,
        held=(),
        since_ms=fact.t_ms if moved else base.since_ms,
        quality=fact.quality,
        before=None if moved else base.before,
    )


def _restart(base: CounterState, fact: Reading) -> CounterState:
    """A new base that counts nothing for the way to it: the total goes on from where it was."""
    moved = replace(base, t_ms=fact.t_ms, value=fact.value, held=(), since_ms=fact.t_ms, quality=fact.quality)
    return replace(moved, offset=base.total - fact.value, before=None)


def _is_small_part(value: int, of: int) -> bool:
    """Below nine tenths: a fall that no rounding explains."""
    return 10 * value < 9 * of


def _has_returned(rules: Rules, base: CounterState, before: tuple[int, int, int], fact: Reading) -> bool:
    """Is a register that fell to zero, and counted nothing since, back where it was?"""
    t_ms, value, _ = before
    if base.value or _is_small_part(fact.value, value) or fact.value >= 2 * value:
        return False
    return fact.value <= value or rules.believable(value, t_ms, fact)


def _is_false_start(rules: Rules, base: CounterState, fact: Reading, follower: Reading) -> bool:
    """Did a register that was never seen but at 0 leap, a thousand times faster than it moves on?"""
    if rules.rise_per_ms is not None or base.value or base.offset or not fact.value:
        return False
    pace = max(follower.value - fact.value, 1) * (fact.t_ms - base.t_ms)
    return fact.value * (follower.t_ms - fact.t_ms) > 1000 * pace
