"""Gauges and amounts: every pair of samples and every period keeps its exact total across buckets and hours."""

from fractions import Fraction
from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st
from strategies import BUCKETS_S, HOUR_0, a_gauge, a_meter, an_amount, hours, rates

from plantprint.facts import Reading
from plantprint.quantities import round_half_even
from plantprint.times import HOUR_MS

HOURS = 3
END = HOUR_0 + HOURS * HOUR_MS


def piece_upto(piece: tuple[int, int, int, int], t_ms: int) -> int:
    """Millionths of a kWh from the start of a straight piece in W up to an instant, in plain fractions."""
    start, end, low, high = piece
    passed = min(max(t_ms, start), end) - start
    area = Fraction(low * passed) + Fraction((high - low) * passed * passed, 2 * (end - start))
    exact = area * 1000 / HOUR_MS
    return round_half_even(exact.numerator, exact.denominator)


def pieces_of(readings: list[Reading], max_gap_ms: int) -> list[tuple[int, int, int, int]]:
    pieces = []
    for one, two in pairwise(readings):
        if two.t_ms - one.t_ms <= max_gap_ms:
            pieces.append((one.t_ms, two.t_ms, one.value, two.value))
        else:
            half = max_gap_ms // 2
            pieces.append((one.t_ms, one.t_ms + half, one.value, one.value))
            pieces.append((two.t_ms - half, two.t_ms, two.value, two.value))
    return pieces


@given(rates(HOURS), st.sampled_from(BUCKETS_S), st.sampled_from((10, 300, 3600, 86_400)))
@settings(max_examples=100)
def test_buckets_are_the_rounded_areas_of_straight_pieces(readings: list[Reading], bucket_s: int, gap_s: int) -> None:
    pieces = pieces_of(readings, gap_s * 1000)
    done = list(hours(a_gauge(), a_meter(max_gap_s=gap_s), readings, count=HOURS, bucket_s=bucket_s))
    edges = range(HOUR_0, END + 1, bucket_s * 1000)
    expected = [sum(piece_upto(p, high) - piece_upto(p, low) for p in pieces) for low, high in pairwise(edges)]
    assert [int(amount) for hour, _, _ in done for amount in hour.amount] == expected
    known_ms = sum(max(0, min(end, END) - max(start, HOUR_0)) for start, end, _, _ in pieces)
    assert sum(int(hour.missing_ms.sum()) for hour, _, _ in done) == HOURS * HOUR_MS - known_ms


@given(
    st.lists(st.tuples(st.integers(0, 3_000_000), st.integers(0, 10**6)), min_size=1, max_size=12),
    st.sampled_from((60, 900, 3600, 7200)),
    st.sampled_from(BUCKETS_S),
)
@settings(max_examples=100)
def test_periods_inside_keep_their_exact_sum(
    gaps_and_values: list[tuple[int, int]], period_s: int, bucket_s: int
) -> None:
    readings, t_ms = [], HOUR_0
    for gap_ms, value in gaps_and_values:
        t_ms += period_s * 1000 + gap_ms
        readings.append(Reading(t_ms, value))
    count = -(-(t_ms - HOUR_0) // HOUR_MS)
    channel = an_amount(period_s, "Wh", 1)
    done = list(hours(channel, a_meter(), readings, count=count, bucket_s=bucket_s))
    assert sum(int(hour.amount.sum()) for hour, _, _ in done) == sum(r.value for r in readings) * 100
    known_ms = len(readings) * period_s * 1000
    assert sum(int(hour.missing_ms.sum()) for hour, _, _ in done) == count * HOUR_MS - known_ms
    assert all(issues == [] for _, _, issues in done)
