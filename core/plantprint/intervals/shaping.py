"""Coarse counters: what a register counts in one of its steps is spread like the device's power over the step's time.

Knots are the readings at which the register moved. Between two of them the amount is the register's, its course that of the
power; since the last one power alone tells what has flowed, one step at most, and the next knot brings only the rest of it.
So every span of time adds up to the register, less than a step apart.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from plantprint.facts import Quality
from plantprint.intervals.grid import Grid, span_grid
from plantprint.intervals.series import MeterHour
from plantprint.quantities import round_half_even

Stretch = tuple[int, int]
_FINE_S = 10


@dataclass(frozen=True, slots=True)
class Step:
    """How coarse a register is, in millionths of the meter's unit, and what the device's power says, if it is known.

    `fine` are the buckets of the power: knots lie inside those of the meter, which may be long.
    """

    size: int
    power: MeterHour | None
    fine: Grid


def fine_grid(grid: Grid) -> Grid:
    """The same span in buckets of ten seconds, or of a divisor that fits."""
    return span_grid(grid.start_ms, grid.end_ms, math.gcd(grid.bucket_ms // 1000, _FINE_S))


@dataclass(frozen=True, slots=True, eq=False)
class Shaped:
    """The total at the edges of buckets, how much of it the register has not told at the end, and uncertain stretches."""

    edges: NDArray[np.int64]
    ahead: int
    unsure: Sequence[Stretch]


@dataclass(frozen=True, slots=True)
class _Knot:
    t_ms: int
    total: int


def shape(
    t_ms: NDArray[np.int64],
    register: Sequence[int],
    level: NDArray[np.int8],
    ahead: int,
    step: Step,
    grid: Grid,
    *,
    stood: bool = False,
) -> Shaped:
    """A register at its good readings, with how well each stretch between is known, as a course over the grid.

    The first reading may lie before the grid: then `ahead` is what was counted up to the grid's start without it, and
    `stood` whether the register had not moved at that reading.
    """
    course = _Course(step, grid, register[0] + ahead)
    inside = int(np.searchsorted(t_ms, grid.end_ms, side="right"))
    if not inside:
        return Shaped(course.edges(), ahead, ())
    last, register_last = -1 if stood else 0, register[0]
    begin = _Knot(max(int(t_ms[0]), grid.start_ms), register[0] + ahead)
    extra = 0  # What was counted ahead of a register that then started anew: it stays counted.
    for at in range(1, inside):
        if level[at - 1] == Quality.MISSING:
            begin = course.trail(begin, int(t_ms[at - 1]), register_last + extra)
            extra = begin.total - register_last
            register_last, last = register[at], at
            begin = _Knot(int(t_ms[at]), register_last + extra)
        elif register[at] > register_last:
            end = _Knot(max(begin.t_ms, int(t_ms[at])), max(begin.total, register[at] + extra))
            course.between(begin, end, readings=at - last)
            begin, register_last, last = end, register[at], at
    goes_on = inside < len(t_ms) and level[inside - 1] != Quality.MISSING
    known_ms = grid.end_ms if goes_on else int(t_ms[inside - 1])
    end = course.trail(begin, known_ms, register_last + extra)
    return Shaped(course.edges(), end.total - register_last - extra, course.unsure)


class _Course:
    """The total over time, put together from stretches in order."""

    def __init__(self, step: Step, grid: Grid, start: int) -> None:
        self._step, self._grid = step, grid
        self._edges = np.full(grid.buckets + 1, start, np.int64)
        self._at = 1  # The first edge that is not decided yet.
        self._total = start
        self.unsure: list[Stretch] = []
        power = step.power
        self._fine = step.fine
        amounts = [0] * step.fine.buckets if power is None else power.amount.tolist()
        self._upto: list[int] = [0, *np.cumsum(np.array(amounts, object)).tolist()]
        known = np.zeros(step.fine.buckets, np.bool_) if power is None else power.quality >= Quality.RECOVERED
        self._known = known if power is None else known & (power.missing_ms == 0)

    def between(self, begin: _Knot, end: _Knot, *, readings: int) -> None:
        """An amount that the register tells, over the time that it took."""
        whole, amount = self._weight(begin.t_ms, end.t_ms), end.total - begin.total
        shaped = whole > 0 and self._is_known(begin.t_ms, end.t_ms)
        if not shaped and readings > 1 and amount:
            self.unsure.append((begin.t_ms, end.t_ms))
        self._stand_until(begin.t_ms)
        for place, t_ms in self._edges_until(end.t_ms):
            part = (
                self._weight(begin.t_ms, t_ms) / whole if shaped else Fraction(t_ms - begin.t_ms, end.t_ms - begin.t_ms)
            )
            self._edges[place] = begin.total + _rounded(amount * part)
        self._total = end.total

    def trail(self, begin: _Knot, end_ms: int, register: int) -> _Knot:
        """What power tells since the last knot, as far as the register may be short of it."""
        most = max(0, self._step.size - (begin.total - register))
        if end_ms > begin.t_ms and not self._is_known(begin.t_ms, end_ms):
            self.unsure.append((begin.t_ms, end_ms))
        self._stand_until(begin.t_ms)
        for place, t_ms in self._edges_until(end_ms):
            self._edges[place] = begin.total + min(most, _rounded(self._weight(begin.t_ms, t_ms)))
        end_ms = max(begin.t_ms, end_ms)
        self._total = begin.total + min(most, _rounded(self._weight(begin.t_ms, end_ms)))
        return _Knot(end_ms, self._total)

    def edges(self) -> NDArray[np.int64]:
        self._edges[self._at :] = self._total
        return self._edges

    def _stand_until(self, t_ms: int) -> None:
        """Nothing is known of the time before a stretch."""
        for place, _ in self._edges_until(t_ms):
            self._edges[place] = self._total

    def _edges_until(self, t_ms: int) -> Iterator[tuple[int, int]]:
        """The undecided edges up to an instant."""
        while self._at <= self._grid.buckets and (edge_ms := int(self._grid.edges[self._at])) <= t_ms:
            yield self._at, edge_ms
            self._at += 1

    def _weight(self, begin_ms: int, end_ms: int) -> Fraction:
        """What flowed between two instants by the power, evenly inside a bucket of it."""
        return self._gathered(end_ms) - self._gathered(begin_ms) if end_ms > begin_ms else Fraction(0)

    def _gathered(self, t_ms: int) -> Fraction:
        bucket, passed_ms = divmod(t_ms - self._fine.start_ms, self._fine.bucket_ms)
        if bucket >= self._fine.buckets:
            return Fraction(self._upto[-1])
        before, after = self._upto[bucket], self._upto[bucket + 1]
        return Fraction(before * self._fine.bucket_ms + (after - before) * passed_ms, self._fine.bucket_ms)

    def _is_known(self, begin_ms: int, end_ms: int) -> bool:
        first = (begin_ms - self._fine.start_ms) // self._fine.bucket_ms
        last = -((self._fine.start_ms - end_ms) // self._fine.bucket_ms)
        return bool(self._known[first:last].all())


def _rounded(exact: Fraction) -> int:
    return round_half_even(exact.numerator, exact.denominator)
