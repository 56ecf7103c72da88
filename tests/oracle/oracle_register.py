"""Oracle: what a register really counted, from all its readings at once: faults of devices seen through.

`reference`: a fall is believed when the register goes on from there. Until then it is a moment (zero, time-out) or a dip.
"""

from collections.abc import Sequence
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


def course(values: Sequence[Value], believed: Believed) -> list[Point]:
    """The good readings. Only stories in which a fault is over after three readings can be told apart here."""
    points: list[Point] = []
    base, total, moved_ms = -1, 0, 0
    for number, value in enumerate(values):
        after = values[number + 1 : number + 4]
        if base < 0:
            points.append(Point(value.t_ms, value.value, value.quality))
            base, total, moved_ms = value.value, value.value, value.t_ms
        elif value.value >= base and _can_rise(base, moved_ms, value, believed):
            if after and base <= after[0].value < Fraction(9, 10) * value.value:
                continue  # a single reading far above its neighbours
            total += value.value - base
            moved_ms = value.t_ms if value.value > base else moved_ms
            points.append(Point(value.t_ms, total, value.quality))
            base = value.value
        elif Fraction(9, 10) * base <= value.value < base:
            points.append(Point(value.t_ms, total, value.quality, RECOVERED))
        elif any(
            later.value >= Fraction(9, 10) * base and _can_rise(base, moved_ms, later, believed) for later in after
        ):
            continue  # it is back soon
        elif not after:
            break  # nothing confirms it yet
        else:
            steps = _through(base, value.value, believed)
            total += steps or 0
            points.append(Point(value.t_ms, total, value.quality, MISSING if steps is None else MEASURED))
            base, moved_ms = value.value, value.t_ms
    return points


def _can_rise(base: int, moved_ms: int, value: Value, believed: Believed) -> bool:
    """One step is always free, because a coarse counter may tick; else no more than the time allows."""
    if believed.per_hour is None or value.value <= base:
        return True
    return value.value - base - 1 <= believed.per_hour * (value.t_ms - moved_ms) / HOUR_MS


def _through(base: int, value: int, believed: Believed) -> int | None:
    """How far a register went that started over at its modulus; None where it was reset, or jumped."""
    if believed.modulus is None or value >= base or 20 * base <= 19 * believed.modulus:
        return None
    steps = value + believed.modulus - base
    return steps if believed.per_hour is not None or 2 * steps <= believed.modulus else None
