"""Oracle: what a meter counted in each bucket of an hour, from all readings of its channel at once.

Plain cases of section 1 only: registers that never fall for longer than a reading,
gauges, amounts that do not overlap. The oracle knows no carried
state: it looks at every reading there is, whenever it was taken.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise

from oracle.oracle_numbers import ESTIMATED, HOUR_MS, MEASURED, MISSING, RECOVERED, differences, half_even


@dataclass(frozen=True)
class Value:
    """A reading: when, the channel's integer, quality; whether the register had fallen a little just then."""

    t_ms: int
    value: int
    quality: int = MEASURED
    is_dip: bool = False


@dataclass(frozen=True)
class Bucket:
    """A meter's bucket: millionths of its unit, worst quality behind them, milliseconds that nobody knows."""

    amount: int
    quality: int
    missing_ms: int


@dataclass(frozen=True)
class _Span:
    """A stretch of time of which all is known in one quality (MISSING: nothing)."""

    start_ms: int
    end_ms: int
    quality: int


def winners(facts: Sequence[tuple[int, int, int, int]]) -> list[Value]:
    """(t, value, quality, revision) in any order, repeated or not → one reading per instant: the highest rank counts."""
    best: dict[int, tuple[int, int, int]] = {}
    for t_ms, value, quality, revision in facts:
        rank = (revision, quality, value)
        if t_ms not in best or rank > best[t_ms]:
            best[t_ms] = rank
    return [Value(t_ms, value, quality) for t_ms, (_, quality, value) in sorted(best.items())]


def without_dips(values: Sequence[Value]) -> list[Value]:
    """A register that falls for one reading and is back with the next has not fallen.

    Down to nine tenths it jitters: it stood still, its base stays at the highest. Below that the reading is a bad one.
    """
    good: list[Value] = []
    for number, value in enumerate(values):
        base = good[-1].value if good else value.value
        back = number + 1 < len(values) and values[number + 1].value >= base
        if value.value >= base or not back:
            good.append(value)
        elif 10 * value.value >= 9 * base:
            good.append(Value(value.t_ms, base, value.quality, is_dip=True))
    return good


def edges(hour_ms: int, bucket_s: int) -> list[int]:
    return [hour_ms + k * bucket_s * 1000 for k in range(3600 // bucket_s + 1)]


def counter_hour(
    values: Sequence[Value], step: Fraction, max_gap_ms: int, hour_ms: int, bucket_s: int, until_ms: int
) -> list[Bucket]:
    """A register that never falls: interpolated at the edges, rounded there, differenced."""
    spans = []
    for a, b in pairwise(values):
        unsure = b.is_dip or b.t_ms - a.t_ms > max_gap_ms  # the amount is right, when it flowed is not
        spans.append(_Span(a.t_ms, b.t_ms, min(a.quality, b.quality, RECOVERED if unsure else MEASURED)))

    def register(t_ms: int) -> int:
        if not values:
            return 0
        if t_ms <= values[0].t_ms:
            return half_even(values[0].value * step)
        for a, b in pairwise(values):
            if a.t_ms <= t_ms <= b.t_ms:
                part = Fraction(t_ms - a.t_ms, b.t_ms - a.t_ms)
                return half_even((a.value + (b.value - a.value) * part) * step)
        return half_even(values[-1].value * step)

    return _buckets(register, spans, hour_ms, bucket_s, until_ms)


def gauge_hour(
    values: Sequence[Value], step: Fraction, max_gap_ms: int, hour_ms: int, bucket_s: int, until_ms: int
) -> list[Bucket]:
    """Per pair a trapezoid; a pair too far apart: each value holds half of `max_gap`, the middle is missing."""
    spans: list[_Span] = []
    for a, b in pairwise(values):
        worst = min(a.quality, b.quality)
        if b.t_ms - a.t_ms <= max_gap_ms:
            spans.append(_Span(a.t_ms, b.t_ms, worst))
        else:
            left, right = a.t_ms + max_gap_ms // 2, b.t_ms - max_gap_ms // 2
            spans += [_Span(a.t_ms, left, min(a.quality, ESTIMATED)), _Span(right, b.t_ms, min(b.quality, ESTIMATED))]

    def gathered(t_ms: int) -> int:
        """Everything until `t_ms`; each pair, and each half of a pair too far apart, is rounded anew."""
        total = 0
        for a, b in pairwise(values):
            if a.t_ms < t_ms:
                total += sum(half_even(part * step / HOUR_MS) for part in _pair(a, b, min(t_ms, b.t_ms), max_gap_ms))
        return total

    return _buckets(gathered, spans, hour_ms, bucket_s, until_ms)


def _pair(a: Value, b: Value, t_ms: int, max_gap_ms: int) -> list[Fraction]:
    """Value × milliseconds from `a` until `t_ms`, which is not after `b`, in the parts that are rounded apart."""
    gap, passed = b.t_ms - a.t_ms, t_ms - a.t_ms
    if gap <= max_gap_ms:
        there = a.value + Fraction((b.value - a.value) * passed, gap)
        return [(a.value + there) / 2 * passed]
    half = max_gap_ms // 2
    return [Fraction(a.value * min(passed, half)), Fraction(b.value * max(0, t_ms - (b.t_ms - half)))]


def amount_hour(
    values: Sequence[Value], step: Fraction, period_ms: int, hour_ms: int, bucket_s: int, until_ms: int
) -> list[Bucket]:
    """Quantities over [t − period, t) that do not overlap: spread evenly, cumulative rounding."""
    spans = [_Span(value.t_ms - period_ms, value.t_ms, value.quality) for value in values]

    def gathered(t_ms: int) -> int:
        total = 0
        for value in values:
            passed = min(max(t_ms - (value.t_ms - period_ms), 0), period_ms)
            total += half_even(value.value * step * passed / period_ms)
        return total

    return _buckets(gathered, spans, hour_ms, bucket_s, until_ms)


def _buckets(
    gathered: Callable[[int], int], spans: Sequence[_Span], hour_ms: int, bucket_s: int, until_ms: int
) -> list[Bucket]:
    at = edges(hour_ms, bucket_s)
    amounts = differences([gathered(edge) for edge in at])
    buckets = []
    for amount, start, end in zip(amounts, at, at[1:], strict=False):
        known, qualities = 0, []
        for span in spans:
            shared = min(span.end_ms, end) - max(span.start_ms, start)
            if shared > 0 and span.quality != MISSING:
                known += shared
                qualities.append(span.quality)
        past = max(0, min(end, until_ms) - start)
        missing = max(0, past - known)
        buckets.append(Bucket(amount, min(qualities, default=MISSING), missing))
    return buckets
