"""Oracle: the amount of every edge in every bucket, in the giver's unit (section 2), edge after edge in plain loops."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction

from oracle.oracle_events import Production
from oracle.oracle_jobs import Slice
from oracle.oracle_meters import Bucket
from oracle.oracle_numbers import ESTIMATED, MEASURED, MISSING, half_even, r1
from oracle.oracle_plant import METHODS, Edge, Plant

DRIVER_UNITS = {"mass": "kg", "pieces": "piece", "area": "m2"}


@dataclass
class EdgeHour:
    """One edge's hour by bucket: amount, worst quality of what is known, milliseconds in which a meter is unknown."""

    amount: list[int]
    quality: list[int]
    missing_ms: list[int]


def edge_hours(
    plant: Plant,
    meters: Mapping[str, Sequence[Bucket]],
    ran: Mapping[str, Sequence[Slice]],
    made: Production,
    hour_ms: int,
    wrong: set[tuple[str, str]],
) -> dict[int, EdgeHour]:
    """By edge index. A rest comes after everything that feeds its pool. `ran` is what each work unit did in the hour."""
    hours: dict[int, EdgeHour] = {}
    for edge in plant.edges:
        if not edge.is_rest:
            hours[edge.index] = _metered(edge, meters, plant.buckets, wrong)
    waiting = {edge.giver for edge in plant.edges if edge.is_rest}
    while waiting:
        pool = next(p for p in sorted(waiting) if all(e.index in hours for e in plant.network.taken(p)))
        _rests(plant, pool, hours, _weights(plant, pool, ran, made, hour_ms, wrong), wrong)
        waiting.remove(pool)
    return hours


def _metered(edge: Edge, meters: Mapping[str, Sequence[Bucket]], buckets: int, wrong: set[tuple[str, str]]) -> EdgeHour:
    hour = EdgeHour([0] * buckets, [MEASURED] * buckets, [0] * buckets)
    for k in range(buckets):
        for sign, meter in edge.terms:
            bucket = meters[meter][k]
            hour.amount[k] += sign * bucket.amount
            hour.missing_ms[k] = max(hour.missing_ms[k], bucket.missing_ms)
            if bucket.quality != MISSING:
                hour.quality[k] = min(hour.quality[k], bucket.quality)
        is_difference = any(sign < 0 for sign, _ in edge.terms)
        if is_difference and hour.missing_ms[k] and hour.amount[k]:
            hour.quality[k] = min(hour.quality[k], ESTIMATED)
    if sum(hour.amount) < -len(edge.terms):  # Each meter may be rounded by one.
        wrong.add(("flow-negative", f"{edge.giver} to {edge.taker}"))
    if any(amount < 0 for amount in hour.amount):
        hour.amount = spread_like(sum(hour.amount), hour.amount)
    return hour


def spread_like(whole: int, course: Sequence[int]) -> list[int]:
    """A balance of the hour: over its buckets like what is above zero in them; nothing if the hour is short."""
    if whole <= 0:
        return [0 for _ in course]
    return r1(whole, [max(0, amount) for amount in course])


def _rests(
    plant: Plant,
    pool: str,
    hours: dict[int, EdgeHour],
    weights: Mapping[int, list[int]],
    wrong: set[tuple[str, str]],
) -> None:
    feeding, given = plant.network.taken(pool), plant.network.given(pool)
    metered = [edge for edge in given if not edge.is_rest and edge.recovery != "cut-off"]
    rests = sorted((edge for edge in given if edge.is_rest), key=lambda edge: edge.order)
    behind = [hours[edge.index] for edge in (*feeding, *metered)]
    left, quality, missing = [], [], []
    for k in range(plant.buckets):
        left.append(_left(feeding, metered, rests[0], hours, k))
        missing.append(max(hour.missing_ms[k] for hour in behind))
        worst = min(hour.quality[k] for hour in behind)
        quality.append(min(worst, ESTIMATED) if missing[k] else worst)
    if sum(left) < -len(plant.edges):  # More is consumed than comes in, beyond what rounding does.
        wrong.add(("disagreement", pool))
    if rests[0].driver == "fixed":
        shares = r1(max(0, sum(left)), [edge.weight for edge in rests])
        parts = [spread_like(share, left) for share in shares]
    else:
        parts = _by_driver(spread_like(sum(left), left), rests, weights)
    for edge, part in zip(rests, parts, strict=True):
        hours[edge.index] = EdgeHour(part, list(quality), list(missing))


def _left(feeding: Sequence[Edge], metered: Sequence[Edge], rest: Edge, hours: Mapping[int, EdgeHour], k: int) -> int:
    """What came in less what is metered; of a machine that hands heat back, the energy that recovery leaves."""
    if not any(edge.recovery in METHODS for edge in metered):
        return sum(hours[e.index].amount[k] for e in feeding) - sum(hours[e.index].amount[k] for e in metered)
    energy = Fraction(0)
    for sign, edges in ((1, feeding), (-1, metered)):
        for edge in edges:
            assert edge.kwh is not None
            energy += sign * edge.kwh * hours[edge.index].amount[k]
    assert rest.kwh is not None
    return half_even(energy / rest.kwh)


def _by_driver(left: Sequence[int], rests: Sequence[Edge], weights: Mapping[int, list[int]]) -> list[list[int]]:
    """Bucket by bucket by what runs behind each; where nothing does by the hour's sums, else by the fixed weights."""
    parts: list[list[int]] = [[] for _ in rests]
    hour = [sum(weights[edge.index]) for edge in rests]
    for k, amount in enumerate(left):
        now = [weights[edge.index][k] for edge in rests]
        weigh = now if any(now) else hour if any(hour) else [edge.weight for edge in rests]
        for part, share in zip(parts, r1(amount, weigh), strict=True):
            part.append(share)
    return parts


def _weights(
    plant: Plant,
    pool: str,
    ran: Mapping[str, Sequence[Slice]],
    made: Production,
    hour_ms: int,
    wrong: set[tuple[str, str]],
) -> dict[int, list[int]]:
    """By edge that takes a rest under a driver and bucket: running time, or the jobs' quantity x time, x its weight."""
    found: dict[int, list[int]] = {}
    for edge in plant.network.given(pool):
        if not edge.is_rest or edge.driver == "fixed":
            continue
        weights = [0] * plant.buckets
        for unit in plant.units_behind(edge.taker):
            for part in ran[unit]:
                rate = 1
                if edge.driver != "running_time":
                    known = [made.quantity(job.batch, DRIVER_UNITS[edge.driver]) for job in part.jobs]
                    rate = sum(quantity or 0 for quantity in known)
                    unknown = {job.batch for job, q in zip(part.jobs, known, strict=True) if q is None}
                    wrong |= {("driver-missing", batch) for batch in unknown if part.is_processing}
                for k in range(plant.buckets) if part.is_processing else ():
                    start = hour_ms + k * plant.bucket_ms
                    time_ms = min(part.to_ms, start + plant.bucket_ms) - max(part.from_ms, start)
                    weights[k] += max(0, time_ms) * rate * edge.weight
        found[edge.index] = weights
    return found
