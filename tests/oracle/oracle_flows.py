"""Oracle: the amount of every edge in every bucket, in the giver's unit (section 2), edge after edge in plain loops."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction

from oracle.oracle_meters import Bucket
from oracle.oracle_numbers import MEASURED, MISSING, r1
from plantprint.plant.graph import Edge, PlantGraph


@dataclass
class EdgeHour:
    """One edge's hour: amount and worst quality per bucket."""

    amount: list[int]
    quality: list[int]


def taker_order(edge: Edge) -> tuple[str, str]:
    """Canonical account order: kind, then id."""
    return (edge.taker_kind, edge.taker)


def edge_hours(graph: PlantGraph, meters: Mapping[str, Sequence[Bucket]]) -> dict[int, EdgeHour]:
    """By edge index. Rests come after what feeds their pool, so pools are worked upstream first."""
    hours: dict[int, EdgeHour] = {}
    for edge in graph.edges:
        if not edge.is_rest:
            hours[edge.index] = _metered(edge, meters, graph.buckets)
    waiting = {edge.giver for edge in graph.edges if edge.is_rest}
    while waiting:
        for pool in sorted(waiting):
            feeding = [edge for edge in graph.edges if edge.taker == pool]
            if all(edge.index in hours for edge in feeding):
                _rests(graph, pool, feeding, hours)
                waiting.remove(pool)
                break
        else:
            raise AssertionError("rests in a circle")
    return hours


def _metered(edge: Edge, meters: Mapping[str, Sequence[Bucket]], buckets: int) -> EdgeHour:
    sums, qualities = [0] * buckets, [MEASURED] * buckets
    for sign, meter in edge.terms:
        for k, bucket in enumerate(meters[meter]):
            sums[k] += sign * bucket.amount
            qualities[k] = min(qualities[k], bucket.quality)
    return EdgeHour(balanced(sums), qualities)


def balanced(sums: Sequence[int]) -> list[int]:
    """A difference balanced over the hour: its sum is that of the hour (none if short), no bucket is below zero."""
    if all(amount >= 0 for amount in sums):
        return list(sums)
    whole = sum(sums)
    if whole <= 0:
        return [0] * len(sums)
    return r1(whole, [max(0, amount) for amount in sums])


def _rests(graph: PlantGraph, pool: str, feeding: Sequence[Edge], hours: dict[int, EdgeHour]) -> None:
    leaving = [edge for edge in graph.edges if edge.giver == pool]
    takers = sorted((edge for edge in leaving if edge.is_rest), key=taker_order)
    if graph.pools[pool].converts:  # nothing is metered here: every taker takes by weight of what comes in
        left, qualities = _sum(feeding, hours, graph.buckets)
    else:
        came, came_quality = _sum(feeding, hours, graph.buckets)
        went, went_quality = _sum([edge for edge in leaving if not edge.is_rest], hours, graph.buckets)
        left = balanced([a - b for a, b in zip(came, went, strict=True)])
        qualities = [min(a, b) for a, b in zip(came_quality, went_quality, strict=True)]
    shares = [r1(amount, [Fraction(edge.weight) for edge in takers]) for amount in left]
    for n, edge in enumerate(takers):
        hours[edge.index] = EdgeHour([shares[k][n] for k in range(graph.buckets)], list(qualities))


def _sum(some: Sequence[Edge], hours: Mapping[int, EdgeHour], buckets: int) -> tuple[list[int], list[int]]:
    sums, qualities = [0] * buckets, [MEASURED] * buckets
    for edge in some:
        for k in range(buckets):
            sums[k] += hours[edge.index].amount[k]
            qualities[k] = min(qualities[k], hours[edge.index].quality[k])
    return sums, [quality if quality != MISSING else quality for quality in qualities]
