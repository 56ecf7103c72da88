"""What the work units of a plant used in consecutive hours, cut at job and state edges and divided over their accounts."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from plantprint.allocation import Account, Segment, UnitPart, allocate_totals, segments
from plantprint.divide_arrays import Ints
from plantprint.drivers import Inferred
from plantprint.facts import Quality
from plantprint.flows import Durations, Qualities, by_hour
from plantprint.plant.graph import PlantGraph
from plantprint.production import Production
from plantprint.sharing import Parcels
from plantprint.times import HOUR_MS


class Share(NamedTuple):
    """Sums of an hour by row that go to `account`, and by row the worst quality behind them; from when on in the hour."""

    account: Account
    amount: list[int]
    quality: list[int]
    from_ms: int = 0


@dataclass(frozen=True, slots=True, eq=False)
class Used:
    """What came to each work unit in consecutive hours: [unit, row, bucket], `missing_ms` [unit, bucket]."""

    amount: Ints
    quality: Qualities
    missing_ms: Durations


class UnitHour(NamedTuple):
    """An hour of a work unit: its segments, what its accounts get, and where in `used` is what came to it.

    `begin_ms` is the part of the hour before the last of its meters was there; incomplete is an hour in which one of its
    meters was unknown.
    """

    unit: str
    parts: list[Segment]
    shares: list[Share]
    begin_ms: int
    is_incomplete: bool
    used: Used
    number: int
    buckets: slice

    @property
    def amount(self) -> Ints:
        """[row, bucket]."""
        return self.used.amount[self.number, :, self.buckets]

    @property
    def quality(self) -> Qualities:
        """[row, bucket]."""
        return self.used.quality[self.number, :, self.buckets]

    @property
    def missing_ms(self) -> Durations:
        """[bucket]."""
        return self.used.missing_ms[self.number, self.buckets]


def unit_hours(
    graph: PlantGraph,
    production: Production,
    parcels: Parcels,
    start_ms: int,
    inferred: Sequence[Inferred],
    begins_ms: Sequence[Mapping[str, int]],
) -> list[list[UnitHour]]:
    """By hour the work units to which something came, or of whose meters one was unknown.

    `inferred` and `begins_ms` (see `UnitHour`) are by hour and work unit.
    """
    used = _used(graph, parcels)
    hours, units = len(inferred), list(graph.work_units)
    is_missing = by_hour(used.missing_ms, hours).any(axis=2)
    is_active = (by_hour(used.amount, hours).any(axis=(1, 3)) | is_missing).tolist()
    parts: dict[tuple[int, int], list[Segment]] = {}
    for hour in range(hours):
        for number, unit in enumerate(units):
            if is_active[number][hour] or unit in begins_ms[hour]:
                rule = graph.idle.get(unit)
                calendar = rule.calendar if rule else None
                place, states = graph.work_units[unit], inferred[hour].get(unit, ())
                hour_ms = start_ms + hour * HOUR_MS
                parts[hour, number] = segments(production, graph.steps, place, hour_ms, calendar, states)
    flat = [UnitPart(number, hour, part) for (hour, number), several in parts.items() for part in several]
    bucket_ms = HOUR_MS // graph.buckets
    amounts = iter(allocate_totals(used.amount, bucket_ms, flat).tolist())
    worst = _worst(used.quality, bucket_ms, hours, flat)
    found: list[list[UnitHour]] = [[] for _ in range(hours)]
    for (hour, number), several in parts.items():
        span = slice(hour * graph.buckets, (hour + 1) * graph.buckets)
        shares = shares_of(several, amounts, worst)
        begin_ms = begins_ms[hour].get(units[number], 0)
        is_incomplete = bool(is_missing[number, hour]) or begin_ms > 0
        found[hour].append(UnitHour(units[number], several, shares, begin_ms, is_incomplete, used, number, span))
    return found


def shares_of(parts: Sequence[Segment], amounts: Iterator[list[int]], worst: Iterator[list[int]]) -> list[Share]:
    """The shares of an hour of a work unit; the next of `amounts` by row is of each share, of `worst` of each segment."""
    return [
        Share(account, next(amounts), quality, part.from_ms)
        for part, quality in zip(parts, worst, strict=False)
        for account, _ in part.shares
    ]


def _used(graph: PlantGraph, parcels: Parcels) -> Used:
    rows, buckets = parcels.amount.shape[1:]
    shape = (len(graph.work_units), rows, buckets)
    amount = np.zeros(shape, np.int64)
    quality: Qualities = np.broadcast_to(np.int8(Quality.MEASURED), shape)
    missing_ms: Durations = np.broadcast_to(np.int64(0), (shape[0], buckets))
    into = [[edge.index for edge in graph.inflows[unit]] for unit in graph.work_units]
    for number, edges in enumerate(into):
        for edge in edges:
            amount[number] += parcels.amount[edge]
    if (parcels.quality < Quality.MEASURED).any():
        quality = np.stack([parcels.quality[edges].min(axis=0, initial=Quality.MEASURED) for edges in into])
    if parcels.missing_ms.any():
        missing_ms = np.stack([parcels.missing_ms[edges].max(axis=0, initial=0) for edges in into])
    return Used(amount, quality, missing_ms)


def _worst(quality: Qualities, bucket_ms: int, hours: int, parts: Sequence[UnitPart]) -> Iterator[list[int]]:
    """By row the worst quality in each of the parts."""
    is_measured = by_hour(quality, hours).min(axis=(1, 3)) == Quality.MEASURED if quality.strides[0] else None
    measured = [int(Quality.MEASURED)] * quality.shape[1]
    buckets = quality.shape[2] // hours
    for unit, hour, part in parts:
        if is_measured is None or is_measured[unit, hour]:
            yield measured
        else:
            first = hour * buckets + part.from_ms // bucket_ms
            behind = hour * buckets - (-part.to_ms // bucket_ms)
            yield quality[unit, :, first:behind].min(axis=1).tolist()
