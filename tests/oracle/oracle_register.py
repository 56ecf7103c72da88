"""Oracle: what a register really counted, from all its readings at once: faults of devices seen through.

`reference`: a fall is believed when the register goes on from there. Until then it is a moment (zero, time-out) or a dip.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction

from oracle.oracle_numbers import HOUR_MS, MEASURED, MISSING, RECOVERED


@dataclass(frozen=True)
class Value:
    """A reading: when, the channel's integer, quality."""

    t_ms: int
    value: int
    quality: int = MEASURED


@dataclass(frozen=True)
class Point:
    """A good reading: what the register has counted in all until then; how well the way to it is known."""

    t_ms: int
    total: int
    quality: int
    way: int = MEASURED


@dataclass(frozen=True)
class Believed:
    """In steps of the channel: the register's modulus, if it has one, and the most it may rise in an hour."""

    modulus: int | None = None
    per_hour: Fraction | None = None


def course(values: Sequence[Value], beliefs: Callable[[int], Believed]) -> list[Point]:
    """The good readings. A reading that leaves the course is decided by the three after it; until then nothing is known.

    `beliefs` are those of an instant: a reading is judged, and a suspect decided, by those of its own.
    """
    first = values[0] if values else Value(0, 0)
    points = [Point(first.t_ms, first.value, first.quality) for _ in values[:1]]
    base, total, moved_ms, was_never_else, at = first.value, first.value, first.t_ms, True, 1
    old: tuple[int, int, int] | None = None  # value, total, time before a fall to zero, while nothing was counted since
    while at < len(values):
        value, after = values[at], values[at + 1 : at + 4]
        believed = beliefs(value.t_ms)
        at += 1
        if old is not None and _is_back(value, *old[::2], believed):
            total, base, moved_ms = old[1] + max(0, value.value - old[0]), max(old[0], value.value), value.t_ms
            points.append(Point(value.t_ms, total, value.quality, RECOVERED))
            old = None
        elif _can_rise(base, moved_ms, value, believed):
            if after and base <= after[0].value < NEARLY * value.value:
                continue  # a single reading far above its neighbours
            is_start = was_never_else and not base and _leaps(points[-1].t_ms, value, after, believed)
            was_never_else = was_never_else and not is_start  # If so it was never read before.
            total += 0 if is_start else value.value - base
            if value.value > base:
                moved_ms, old = value.t_ms, None
            points.append(Point(value.t_ms, total, value.quality, MISSING if is_start else MEASURED))
            base = value.value
        elif NEARLY * base <= value.value < base:
            points.append(Point(value.t_ms, total, value.quality, RECOVERED))
        else:
            skipped = _decided(base, moved_ms, value, after, believed)
            if skipped is None:
                break  # held
            at += max(0, skipped - 1)
            if skipped:
                continue
            steps = _through(base, moved_ms, value, believed)
            old = (base, total, points[-1].t_ms) if value.value == 0 and steps is None else None
            total += steps or 0
            points.append(Point(value.t_ms, total, value.quality, MISSING if steps is None else MEASURED))
            base, moved_ms, was_never_else = value.value, value.t_ms, False
    return points


NEARLY = Fraction(9, 10)


def _decided(base: int, moved_ms: int, suspect: Value, after: Sequence[Value], believed: Believed) -> int | None:
    """How many readings, from the suspect on, were wrong; 0 where it is right, None where nothing says so yet.

    The first that goes on from the base, from the suspect or from neither decides; zeros that repeat confirm nothing.
    """
    for count, later in enumerate(after, start=1):
        if NEARLY * base <= later.value < base or _can_rise(base, moved_ms, later, believed):
            return count
        if later.value == suspect.value == 0:
            continue
        return 0 if _can_rise(suspect.value, suspect.t_ms, later, believed) else count
    return 0 if len(after) == 3 else None


def _can_rise(base: int, moved_ms: int, value: Value, believed: Believed) -> bool:
    """One step is always free, because a coarse counter may tick; else no more than the time allows."""
    if value.value < base:
        return False
    if believed.per_hour is None:
        return True
    return value.value - base - 1 <= believed.per_hour * (value.t_ms - moved_ms) / HOUR_MS


def _is_back(value: Value, was: int, was_ms: int, believed: Believed) -> bool:
    """A register that fell to zero, and counted nothing since, where it was before."""
    is_near = NEARLY * was <= value.value < 2 * was
    return is_near and (value.value <= was or _can_rise(was, was_ms, value, believed))


def _leaps(before_ms: int, value: Value, after: Sequence[Value], believed: Believed) -> bool:
    """From zero, a thousand times faster than it goes on."""
    if believed.per_hour is not None or not value.value or not after:
        return False
    pace = max(after[0].value - value.value, 1) * (value.t_ms - before_ms)
    return value.value * (after[0].t_ms - value.t_ms) > 1000 * pace


def _through(base: int, moved_ms: int, value: Value, believed: Believed) -> int | None:
    """How far a register went that started over at its modulus; None where it was reset, or jumped."""
    if believed.modulus is None or value.value >= base or 20 * base <= 19 * believed.modulus:
        return None
    steps = value.value + believed.modulus - base
    if not _can_rise(base, moved_ms, Value(value.t_ms, value.value + believed.modulus), believed):
        return None
    return steps if believed.per_hour is not None or 2 * steps <= believed.modulus else None
