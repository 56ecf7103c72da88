"""Hours of amounts: each quantity spread evenly over the period in which it was used."""

from collections.abc import Iterator, Sequence
from fractions import Fraction
from itertools import accumulate
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from plantprint.facts import Issue, Quality
from plantprint.intervals.findings import Finding, grouped, issues_of
from plantprint.intervals.grid import Grid, assemble, unknown_besides
from plantprint.intervals.series import REGISTER_MAX, MeterHour, MeterSeries, rated_micro
from plantprint.plant.model import Meter
from plantprint.quantities import round_half_even
from plantprint.times import HOUR_MS


class Quantity(NamedTuple):
    """What was used from `start_ms` until `end_ms`, in millionths of the meter's unit; `quality` MISSING: withdrawn."""

    start_ms: int
    end_ms: int
    micro: Fraction
    quality: int


def amount_hour(
    series: MeterSeries, micro_per_step: Fraction, grid: Grid, until_ms: int
) -> tuple[MeterHour, list[Issue]]:
    """The hour of [t - period, t) amounts; a period whose reading is withdrawn or not believed stays unknown."""
    period_ms = series.channel.period_s * 1000
    quantities = [Quantity(r.t_ms - period_ms, r.t_ms, r.value * micro_per_step, r.quality) for r in series.readings]
    return quantities_hour(quantities, series.meter, grid, until_ms)


def quantities_hour(
    quantities: Sequence[Quantity], meter: Meter, grid: Grid, until_ms: int
) -> tuple[MeterHour, list[Issue]]:
    """The hour of quantities in order of their ends; what is withdrawn or not believed stays unknown.

    Where two overlap both count, and an issue says so.
    """
    findings: list[Finding] = []
    counted = [q for q in quantities if q.quality > Quality.MISSING and _counts(q, meter, findings)]
    amount = np.zeros(grid.buckets, dtype=np.int64)
    for quantity in counted:
        _spread(amount, quantity, grid)
    lowered = [
        (np.array([q.start_ms]), np.array([q.end_ms]), q.quality) for q in counted if q.quality < Quality.MEASURED
    ]
    known = sorted((q.start_ms, q.end_ms) for q in counted)
    hour = assemble(grid, amount, unknown_besides(known, grid), lowered, until_ms)
    return hour, [*issues_of(findings, meter.id, grid), *grouped(_overlaps(counted, grid), meter.id)]


def _overlaps(quantities: Sequence[Quantity], grid: Grid) -> Iterator[Finding]:
    """Quantities that begin before one that began earlier has ended; at the first instant of the hour that both claim."""
    ordered = sorted(quantities)
    for other, claimed_ms in zip(ordered[1:], accumulate((one.end_ms for one in ordered), max), strict=False):
        both_ms = min(claimed_ms, other.end_ms)
        at_ms = max(other.start_ms, grid.start_ms)
        if at_ms < min(both_ms, grid.end_ms):
            text = f"{both_ms - other.start_ms} ms of {other.end_ms - other.start_ms} ms"
            yield Finding("amount-overlap", at_ms, text, contradicts=True)


def _counts(quantity: Quantity, meter: Meter, findings: list[Finding]) -> bool:
    per_hour = quantity.micro * HOUR_MS / (quantity.end_ms - quantity.start_ms)
    code = ""
    if not 0 <= per_hour <= REGISTER_MAX:
        code = "reading-impossible"
    elif meter.rated_per_hour is not None and per_hour > rated_micro(meter.rated_per_hour):
        code = "amount-over-rated"
    if code:
        findings.append(Finding(code, quantity.end_ms, f"{float(quantity.micro) / 1e6:g} {meter.unit}"))
    return not code


def _spread(amount: NDArray[np.int64], quantity: Quantity, grid: Grid) -> None:
    """Adds the part of a quantity that falls into each bucket, rounded cumulatively from the start of its period."""
    start = quantity.start_ms
    first = max(start, grid.start_ms)
    last = min(quantity.end_ms, grid.end_ms)
    numerator = quantity.micro.numerator
    denominator = quantity.micro.denominator * (quantity.end_ms - start)
    at, before = first, round_half_even(numerator * (first - start), denominator)
    while at < last:
        bucket = (at - grid.start_ms) // grid.bucket_ms
        at = min(grid.start_ms + (bucket + 1) * grid.bucket_ms, last)
        upto = round_half_even(numerator * (at - start), denominator)
        amount[bucket] += upto - before
        before = upto
