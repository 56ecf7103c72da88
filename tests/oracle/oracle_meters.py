"""Oracle: what a meter counted in each bucket of an hour, from all readings of its channel at once, without carried state."""

from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise

from oracle.oracle_numbers import ESTIMATED, HOUR_MS, MEASURED, MISSING, RECOVERED, differences, half_even
from oracle.oracle_register import Point, Value


@dataclass(frozen=True)
class Bucket:
    """A meter's bucket: millionths of its unit, worst quality behind them, milliseconds that nobody knows."""

    amount: int
    quality: int
    missing_ms: int


@dataclass(frozen=True)
class Hour:
    """Which hour, in which buckets, and the site's now: what lies after it is not missing."""

    start_ms: int
    bucket_ms: int
    until_ms: int

    @property
    def end_ms(self) -> int:
        return self.start_ms + HOUR_MS

    @property
    def edges(self) -> list[int]:
        return list(range(self.start_ms, self.end_ms + 1, self.bucket_ms))


@dataclass(frozen=True)
class Span:
    """A stretch of time of which all is known in one quality."""

    start_ms: int
    end_ms: int
    quality: int


def counter_hour(points: Sequence[Point], step: Fraction, max_gap_ms: int, hour: Hour) -> list[Bucket]:
    """The total is interpolated at the edges, rounded there, differenced."""
    spans = register_spans(points, max_gap_ms)

    def register(t_ms: int) -> int:
        """Before the first and after the last reading it stands still."""
        after = bisect_right(points, t_ms, key=lambda point: point.t_ms)
        a, b = points[max(0, after - 1)], points[min(after, len(points) - 1)]
        part = Fraction(t_ms - a.t_ms, b.t_ms - a.t_ms) if a.t_ms < t_ms < b.t_ms else Fraction(0)
        return half_even((a.total + (b.total - a.total) * part) * step)

    if not points:
        return known_buckets(lambda _: 0, spans, hour)

    return known_buckets(register, spans, hour)


def register_spans(points: Sequence[Point], max_gap_ms: int) -> list[Span]:
    spans = []
    for a, b in pairwise(points):
        timing = RECOVERED if b.t_ms - a.t_ms > max_gap_ms else MEASURED  # the amount is right, when it flowed is not
        if b.way != MISSING:
            spans.append(Span(a.t_ms, b.t_ms, min(a.quality, b.quality, b.way, timing)))
    return spans


def gauge_hour(values: Sequence[Value], step: Fraction, max_gap_ms: int, hour: Hour) -> list[Bucket]:
    """Per pair a trapezoid; a pair too far apart: each value holds half of `max_gap`, the middle is missing."""
    spans: list[Span] = []
    half = max_gap_ms // 2
    for a, b in pairwise(values):
        if b.t_ms - a.t_ms <= max_gap_ms:
            spans.append(Span(a.t_ms, b.t_ms, min(a.quality, b.quality)))
        else:
            spans.append(Span(a.t_ms, a.t_ms + half, min(a.quality, ESTIMATED)))
            spans.append(Span(b.t_ms - half, b.t_ms, min(b.quality, ESTIMATED)))

    def gathered(t_ms: int) -> int:
        """All pairs that touch the hour, until `t_ms`; each, and each half of one too far apart, is rounded anew."""
        total = 0
        for a, b in pairwise(values):
            if b.t_ms > hour.start_ms and a.t_ms < t_ms:
                total += sum(half_even(part * step / HOUR_MS) for part in _pair(a, b, min(t_ms, b.t_ms), max_gap_ms))
        return total

    return known_buckets(gathered, spans, hour)


def _pair(a: Value, b: Value, t_ms: int, max_gap_ms: int) -> list[Fraction]:
    """Value × milliseconds from `a` until `t_ms`, which is not after `b`, in the parts that are rounded apart.

    A flow runs one way: a negative rate counts as zero.
    """
    gap, passed, low, high = b.t_ms - a.t_ms, t_ms - a.t_ms, max(0, a.value), max(0, b.value)
    if gap <= max_gap_ms:
        return [(low + low + Fraction((high - low) * passed, gap)) / 2 * passed]
    half = max_gap_ms // 2
    return [Fraction(low * min(passed, half)), Fraction(high * max(0, t_ms - (b.t_ms - half)))]


def amount_hour(values: Sequence[Value], step: Fraction, period_ms: int, hour: Hour) -> list[Bucket]:
    """Quantities over [t − period, t): each spread evenly, rounded cumulatively from its start."""
    spans = [Span(value.t_ms - period_ms, value.t_ms, value.quality) for value in values]

    def gathered(t_ms: int) -> int:
        total = 0
        for value in (value for value in values if value.t_ms > hour.start_ms):
            passed = min(max(t_ms - (value.t_ms - period_ms), 0), period_ms)
            total += half_even(value.value * step * passed / period_ms)
        return total

    return known_buckets(gathered, spans, hour)


def known_buckets(gathered: Callable[[int], int], spans: Sequence[Span], hour: Hour) -> list[Bucket]:
    buckets = []
    for amount, (start, end) in zip(
        differences([gathered(edge) for edge in hour.edges]), pairwise(hour.edges), strict=True
    ):
        here = [span for span in spans if span.start_ms < end and span.end_ms > start]
        # What is known in a bucket is one set of times, however many stretches say so.
        cuts = sorted({start, end, min(end, max(start, hour.until_ms))} | _inside(here, start, end))
        unknown = [
            (a, b) for a, b in pairwise(cuts) if not any(span.start_ms <= a and b <= span.end_ms for span in here)
        ]
        is_blank = sum(b - a for a, b in unknown) == end - start
        quality = MISSING if is_blank else min((span.quality for span in here), default=MEASURED)
        buckets.append(Bucket(amount, quality, sum(b - a for a, b in unknown if b <= hour.until_ms)))
    return buckets


def _inside(spans: Sequence[Span], start_ms: int, end_ms: int) -> set[int]:
    edges = {edge for span in spans for edge in (span.start_ms, span.end_ms)}
    return {edge for edge in edges if start_ms < edge < end_ms}
