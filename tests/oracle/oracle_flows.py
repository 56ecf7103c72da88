"""Oracle: the amount of every edge in every bucket, in the giver's unit (section 2), edge after edge in plain loops."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from oracle.oracle_meters import Bucket
from oracle.oracle_numbers import ESTIMATED, MEASURED, MISSING, r1

from plantprint.plant.graph import Edge, PlantGraph


@dataclass
class EdgeHour:
    """One edge's hour by bucket: amount, worst quality of what is known, milliseconds in which a meter is unknown."""

    amount: list[int]
    quality: list[int]
    missing_ms: list[int]


def taker_order(edge: Edge) -> tuple[str, str, int]:
    """Canonical account order: kind, then id."""
    return (edge.taker_kind, edge.taker, edge.index)


def edge_hours(graph: PlantGraph, meters: Mapping[str, Sequence[Bucket]]) -> dict[int, EdgeHour]:
    """By edge index. A rest comes after everything that feeds its pool."""
    hours: dict[int, EdgeHour] = {}
    for edge in graph.edges:
        if not edge.is_rest:
            hours[edge.index] = _metered(edge, meters, graph.buckets)
    waiting = {edge.giver for edge in graph.edges if edge.is_rest}
    while waiting:
        pool = next(p for p in sorted(waiting) if all(e.index in hours for e in graph.edges if e.taker == p))
        _rests(graph, pool, hours)
        waiting.remove(pool)
    return hours


def _metered(edge: Edge, meters: Mapping[str, Sequence[Bucket]], buckets: int) -> EdgeHour:
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
    if any(amount < 0 for amount in hour.amount):
        hour.amount = spread_like(sum(hour.amount), hour.amount)
    return hour


def spread_like(whole: int, course: Sequence[int]) -> list[int]:
    """A balance of the hour: over its buckets like what is above zero in them; nothing if the hour is short."""
    if whole <= 0:
        return [0 for _ in course]
    return r1(whole, [max(0, amount) for amount in course])


def _rests(graph: PlantGraph, pool: str, hours: dict[int, EdgeHour]) -> None:
    feeding = [hours[edge.index] for edge in graph.edges if edge.taker == pool]
    metered = [hours[edge.index] for edge in graph.edges if edge.giver == pool and not edge.is_rest]
    rests = sorted((edge for edge in graph.edges if edge.giver == pool and edge.is_rest), key=taker_order)
    left, quality, missing = [], [], []
    for k in range(graph.buckets):
        left.append(sum(hour.amount[k] for hour in feeding) - sum(hour.amount[k] for hour in metered))
        missing.append(max(hour.missing_ms[k] for hour in (*feeding, *metered)))
        worst = min(hour.quality[k] for hour in (*feeding, *metered))
        quality.append(min(worst, ESTIMATED) if missing[k] else worst)
    shares = r1(max(0, sum(left)), [edge.weight for edge in rests])
    for edge, share in zip(rests, shares, strict=True):
        hours[edge.index] = EdgeHour(spread_like(share, left), list(quality), list(missing))
