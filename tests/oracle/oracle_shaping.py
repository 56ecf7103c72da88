"""Oracle: a counter that moves in coarse steps, spread by the power of the same device (decision 8), hour after hour.

What the register counts between two readings at which it moved flowed like the power in between. What has flowed since it last
moved is told by power alone, one step at most; the next movement brings the rest of it.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from math import gcd

from oracle.oracle_meters import Bucket, Hour, Span, gauge_hour, known_buckets, register_spans
from oracle.oracle_numbers import MISSING, RECOVERED, half_even
from oracle.oracle_register import Point, Value

TEN_S = 10_000


@dataclass(frozen=True)
class Power:
    """The readings of the device's power, and how many millionths of the meter's unit one step of them is in an hour."""

    values: Sequence[Value]
    step: Fraction
    max_gap_ms: int


@dataclass
class _Course:
    """The total at some instants of an hour, and what flowed until any instant by power."""

    fine: list[Bucket]
    start_ms: int
    fine_ms: int
    told: list[tuple[int, int]] = field(default_factory=list)
    unsure: list[Span] = field(default_factory=list)

    def flowed(self, from_ms: int, to_ms: int) -> Fraction:
        """Evenly inside ten seconds."""
        total = Fraction(0)
        for k, bucket in enumerate(self.fine):
            start = self.start_ms + k * self.fine_ms
            shared = min(to_ms, start + self.fine_ms) - max(from_ms, start)
            total += Fraction(bucket.amount * max(0, shared), self.fine_ms)
        return total

    def is_known(self, from_ms: int, to_ms: int) -> bool:
        """Through every ten seconds that are touched."""
        for k, bucket in enumerate(self.fine):
            start = self.start_ms + k * self.fine_ms
            if start < to_ms and start + self.fine_ms > from_ms and (bucket.quality < RECOVERED or bucket.missing_ms):
                return False
        return True


def shaped_hour(
    points: Sequence[Point], step: Fraction, size: int, power: Power | None, ahead: int, max_gap_ms: int, hour: Hour
) -> tuple[list[Bucket], int]:
    """The hour's buckets, and how much more than the register is counted at its end; `ahead` is that of its start."""
    fine_ms = gcd(hour.bucket_ms, TEN_S)
    fine = [Bucket(0, MISSING, fine_ms) for _ in range((hour.end_ms - hour.start_ms) // fine_ms)]
    if power is not None:
        fine = gauge_hour(power.values, power.step, power.max_gap_ms, Hour(hour.start_ms, fine_ms, hour.until_ms))
    course = _Course(fine, hour.start_ms, fine_ms)
    if not points or points[0].t_ms > hour.end_ms:
        return known_buckets(lambda _: 0, [], hour), ahead
    before = [n for n, point in enumerate(points) if point.t_ms <= hour.start_ms]
    base = before[-1] if before else 0
    inside = [n for n, point in enumerate(points) if n > base and point.t_ms <= hour.end_ms]
    total = {n: half_even(points[n].total * step) for n in range(base, (inside or [base])[-1] + 1)}
    starts = [n for n in range(base + 1) if n == 0 or points[n].way == MISSING]  # There it has moved too.
    moved = max(n for n in range(base + 1) if n in starts or points[n].total != points[n - 1].total)
    at_ms, counted, register = max(points[base].t_ms, hour.start_ms), total[base] + ahead, total[base]
    kept = 0  # What was counted ahead of a register that then started anew stays counted.
    course.told.append((at_ms, counted))
    for n in inside:
        if points[n].way == MISSING:
            _trail(course, hour, at_ms, counted, points[n - 1].t_ms, size - (counted - register - kept))
            counted = course.told[-1][1]
            kept = counted - register
            at_ms, register, moved = points[n].t_ms, total[n], n
            course.told.append((at_ms, counted))
        elif total[n] > register:
            end = max(counted, total[n] + kept)
            _between(course, hour, (at_ms, counted), (max(at_ms, points[n].t_ms), end), is_next=n - moved == 1)
            at_ms, counted, register, moved = max(at_ms, points[n].t_ms), end, total[n], n
    last = (inside or [base])[-1]
    goes_on = last + 1 < len(points) and points[last + 1].way != MISSING
    until_ms = hour.end_ms if goes_on else points[last].t_ms
    _trail(course, hour, at_ms, counted, until_ms, size - (counted - register - kept))
    ahead = course.told[-1][1] - register - kept
    spans = [*register_spans(points, max_gap_ms), *course.unsure]
    return known_buckets(lambda t_ms: _at(course.told, t_ms), spans, hour), ahead


def _at(told: Sequence[tuple[int, int]], t_ms: int) -> int:
    """It is told at every edge of a bucket that lies in what is known; before and after that it stands still."""
    return next((total for at_ms, total in reversed(told) if at_ms <= t_ms), told[0][1])


def _between(course: _Course, hour: Hour, begin: tuple[int, int], end: tuple[int, int], *, is_next: bool) -> None:
    (from_ms, start), (to_ms, whole) = begin, end
    flowed = course.flowed(from_ms, to_ms)
    is_shaped = flowed > 0 and course.is_known(from_ms, to_ms)
    if not is_shaped and not is_next and whole > start:
        course.unsure.append(Span(from_ms, to_ms, RECOVERED))
    for edge in hour.edges:
        if from_ms < edge <= to_ms:
            part = course.flowed(from_ms, edge) / flowed if is_shaped else Fraction(edge - from_ms, to_ms - from_ms)
            course.told.append((edge, start + half_even((whole - start) * part)))
    course.told.append((to_ms, whole))


def _trail(course: _Course, hour: Hour, from_ms: int, start: int, to_ms: int, room: int) -> None:
    if to_ms <= from_ms:
        return
    if not course.is_known(from_ms, to_ms):
        course.unsure.append(Span(from_ms, to_ms, RECOVERED))
    for edge in [*(edge for edge in hour.edges if from_ms < edge < to_ms), to_ms]:
        course.told.append((edge, start + min(max(0, room), half_even(course.flowed(from_ms, edge)))))
