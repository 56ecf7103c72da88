"""What the work units of a plant used in consecutive hours, cut at job and state edges and divided over their accounts."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from plantprint.allocation import Account, Segment, segments
from plantprint.divide_arrays import Ints
from plantprint.drivers import Inferred
from plantprint.facts import Quality
from plantprint.flows import Durations, Qualities, by_hour
from plantprint.plant.graph import PlantGraph
from plantprint.production import Production
from plantprint.segment_sums import Parts, allocate_totals
from plantprint.sharing import Bools, Parcels
from plantprint.times import HOUR_MS


class Shares(NamedTuple):
    """What accounts get in an hour, one share for each segment of theirs: sums and worst qualities [share, row].

    `from_ms` is when in the hour each share's segment begins.
    """

    accounts: list[Account]
    amount: Ints
    quality: Qualities
    from_ms: Ints


@dataclass(frozen=True, slots=True, eq=False)
class Used:
    """What came to each work unit in consecutive hours: [unit, row, bucket], `missing_ms` [unit, bucket].

    `place` is a work unit's place in the arrays, `is_missing` [unit, hour] where one of its meters was unknown.
    """

    place: Mapping[str, int]
    hours: int
    amount: Ints
    quality: Qualities
    missing_ms: Durations
    is_missing: Bools


class UnitHour(NamedTuple):
    """An hour of a work unit: its segments, and what came to it [row, bucket], `missing_ms` [bucket].

    `begin_ms` is the part of the hour before the last of its meters was there.
    """

    unit: str
    parts: list[Segment]
    amount: Ints
    quality: Qualities
    missing_ms: Durations
    begin_ms: int


@dataclass(frozen=True, slots=True, eq=False)
class UnitsHour:
    """One of the hours of the work units to which something came: what their accounts get, and what it was made of.

    `parts` are by work unit and hour, `begins_ms` (see `UnitHour`) by work unit.
    """

    shares: Shares
    hour: int
    parts: Mapping[str, list[list[Segment]]]
    begins_ms: Mapping[str, int]
    used: Used

    def units(self) -> Iterator[UnitHour]:
        return map(self._unit, self.parts)

    def incomplete(self) -> Iterator[UnitHour]:
        """Those of whose meters one was unknown or not there yet."""
        is_missing: Bools = self.used.is_missing[:, self.hour]
        if not self.begins_ms and not is_missing.any():
            return iter(())
        place = self.used.place
        return (self._unit(unit) for unit in self.parts if is_missing[place[unit]] or self.begins_ms.get(unit))

    def _unit(self, unit: str) -> UnitHour:
        used, number = self.used, self.used.place[unit]
        amount, quality = (by_hour(values[number], used.hours)[:, self.hour] for values in (used.amount, used.quality))
        missing_ms = by_hour(used.missing_ms[number], used.hours)[self.hour]
        return UnitHour(unit, self.parts[unit][self.hour], amount, quality, missing_ms, self.begins_ms.get(unit, 0))


def unit_hours(
    graph: PlantGraph,
    production: Production,
    parcels: Parcels,
    start_ms: int,
    inferred: Sequence[Inferred],
    begins_ms: Sequence[Mapping[str, int]],
) -> list[UnitsHour]:
    """By hour the work units to which something came, or of whose meters one was unknown.

    `inferred` and `begins_ms` (see `UnitHour`) are by hour and work unit.
    """
    used, hours = _used(graph, parcels, len(inferred)), len(inferred)
    is_active = np.logical_or(used.amount.any(axis=(1, 2)), used.is_missing.any(axis=1)).tolist()
    cut: dict[str, list[list[Segment]]] = {}
    for unit, number in used.place.items():
        if is_active[number] or any(unit in begins for begins in begins_ms):
            rule, states = graph.idle.get(unit), [state for hour in inferred for state in hour.get(unit, ())]
            calendar, place = rule.calendar if rule else None, graph.work_units[unit]
            cut[unit] = segments(production, graph.steps, place, start_ms, hours, calendar, states)
    flat = [
        (used.place[unit], hour, part)
        for hour in range(hours)
        for unit, several in cut.items()
        for part in several[hour]
    ]
    parts = Parts.of(flat)
    accounts = [account for _, _, part in flat for account, _ in part.shares]
    amount = allocate_totals(used.amount, HOUR_MS // graph.buckets, parts)
    quality = np.repeat(_worst(used, parts), parts.counts, axis=0)
    hour_of, from_ms = (np.repeat(values, parts.counts) for values in np.divmod(parts.from_ms, HOUR_MS))
    found: list[UnitsHour] = []
    for hour, (first, behind) in enumerate(pairwise(np.searchsorted(hour_of, range(hours + 1)).tolist())):
        of_hour = slice(first, behind)
        shares = Shares(accounts[of_hour], amount[of_hour], quality[of_hour], from_ms[of_hour])
        found.append(UnitsHour(shares, hour, cut, begins_ms[hour], used))
    return found


def _used(graph: PlantGraph, parcels: Parcels, hours: int) -> Used:
    rows, buckets = parcels.amount.shape[1:]
    shape = (len(graph.work_units), rows, buckets)
    amount = np.empty(shape, np.int64)
    quality: Qualities = np.broadcast_to(np.int8(Quality.MEASURED), shape)
    missing_ms: Durations = np.broadcast_to(np.int64(0), (shape[0], buckets))
    into = [[edge.index for edge in graph.inflows[unit]] for unit in graph.work_units]
    for number, edges in enumerate(into):
        amount[number] = parcels.amount[edges[0]] if edges else 0
        for edge in edges[1:]:
            amount[number] += parcels.amount[edge]
    guessed = np.flatnonzero((parcels.quality < Quality.MEASURED).any(axis=(0, 1)))
    if guessed.size:
        quality, worst = np.full(shape, Quality.MEASURED, np.int8), parcels.quality[..., guessed]
        quality[..., guessed] = [worst[edges].min(axis=0, initial=Quality.MEASURED) for edges in into]
    if parcels.missing_ms.any():
        missing_ms = np.stack([parcels.missing_ms[edges].max(axis=0, initial=0) for edges in into])
    place = {unit: number for number, unit in enumerate(graph.work_units)}
    return Used(place, hours, amount, quality, missing_ms, by_hour(missing_ms, hours).any(axis=2))


def _worst(used: Used, parts: Parts) -> Qualities:
    """Worst quality [part, row] in each of the parts."""
    quality = used.quality
    worst = np.full((len(parts.unit), quality.shape[1]), Quality.MEASURED, np.int8)
    if not quality.strides[0]:  # All of it is measured.
        return worst
    is_guessed = by_hour(quality, used.hours).min(axis=(1, 3)) < Quality.MEASURED
    bucket_ms = used.hours * HOUR_MS // quality.shape[2]
    first, behind = parts.from_ms // bucket_ms, -(-parts.to_ms // bucket_ms)
    for number in np.flatnonzero(is_guessed[parts.unit, parts.from_ms // HOUR_MS]).tolist():
        worst[number] = quality[parts.unit[number], :, first[number] : behind[number]].min(axis=1)
    return worst
