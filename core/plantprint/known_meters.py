"""What all meters of a plant told in consecutive hours: missing where one is silent, not believed or not there yet."""

from collections.abc import Mapping
from functools import lru_cache

import numpy as np

from plantprint.facts import Issue, Quality
from plantprint.flows import Durations, Known, believable_hours
from plantprint.intervals import MeterHour
from plantprint.plant.graph import PlantGraph
from plantprint.plant.model import Meter
from plantprint.times import HOUR_MS


def followed_meters(graph: PlantGraph, later: PlantGraph) -> tuple[Meter, ...]:
    """The meters that are read in an hour: the plant's, and those of flows that come with the plant of the hour after.

    As with a channel that comes, the first stretch of a meter that comes begins at its first instant.
    """
    coming = (m for m in later.plant.meters if m.id not in graph.meters and m.id not in later.levels)
    return (*graph.plant.meters, *coming)


def known_meters(
    graph: PlantGraph,
    start_ms: int,
    meters: Mapping[str, MeterHour],
    until_ms: int,
    since_ms: Mapping[str, int],
    hours: int = 1,
) -> tuple[Known, list[Issue]]:
    """Hours of every meter of a flow; before its first reading (`since_ms`) a meter is not missing.

    One that is not in `meters`, or cannot be believed in an hour, is missing until `until_ms`.
    """
    passed_ms = _passed_ms(graph, hours, start_ms, until_ms).astype(np.int32)
    silent = MeterHour(np.zeros(passed_ms.size, np.int64), np.full(passed_ms.size, Quality.MISSING, np.int8), passed_ms)
    flowing = [meter for meter in graph.meters if meter not in graph.levels]
    if isinstance(meters, Known) and list(meters.number) == flowing:
        known = meters
    else:
        known = Known.of({meter: meters.get(meter, silent) for meter in flowing})
    unbelieved = np.argwhere(~believable_hours(known, hours)).tolist()
    began = [
        (known.number[meter], since) for meter, since in since_ms.items() if since > start_ms and meter in known.number
    ]
    if known is meters and unbelieved:
        known = Known(known.number, known.amount.copy(), known.quality.copy(), known.missing_ms.copy())
    elif known is meters and began:
        known = Known(known.number, known.amount, known.quality, known.missing_ms.copy())
    issues: list[Issue] = []
    for number, hour in unbelieved:
        part = slice(hour * graph.buckets, (hour + 1) * graph.buckets)
        known.amount[number, part], known.quality[number, part] = 0, Quality.MISSING
        known.missing_ms[number, part] = passed_ms[part]
        message = "its readings make an amount beyond any meter; the hour was taken as missing"
        remedy = "check the register and its decimals, and set rated_per_hour for this meter"
        place = flowing[number]
        issues.append(Issue("amount-impossible", place, message, remedy, start_ms + hour * HOUR_MS))
    if began:
        late, since = np.array(began, np.int64).T
        # Before the last of them began, and only there, is there anything to take off.
        upto = min(-(-(int(since.max()) - start_ms) // (HOUR_MS // graph.buckets)), passed_ms.size)
        before_ms = _passed_ms(graph, hours, start_ms, since[:, None], upto)
        known.missing_ms[late, :upto] = np.maximum(known.missing_ms[late, :upto] - before_ms, 0)
    return known, issues


def commissioning(graph: PlantGraph, hour_ms: int, since_ms: Mapping[str, int]) -> dict[str, int]:
    """Per work unit the ms from the hour's start until the last of the meters upstream of it was there, where above 0."""
    late = {meter: since for meter, since in since_ms.items() if since > hour_ms}
    if not late:
        return {}
    begins = {unit: max((late.get(m, 0) for m in upstream_meters(graph, unit)), default=0) for unit in graph.work_units}
    return {unit: min(begin - hour_ms, HOUR_MS) for unit, begin in begins.items() if begin}


@lru_cache(maxsize=1024)
def upstream_meters(graph: PlantGraph, node: str) -> frozenset[str]:
    """The meters of every flow by which anything can come to `node`."""
    meters: set[str] = set()
    seen, waiting = {node}, [node]
    while waiting:
        for edge in graph.inflows.get(waiting.pop(), ()):
            meters |= {meter for _, meter in edge.terms}
            if edge.giver not in seen:
                seen.add(edge.giver)
                waiting.append(edge.giver)
    return frozenset(meters)


def _passed_ms(
    graph: PlantGraph, hours: int, start_ms: int, until_ms: int | Durations, upto: int | None = None
) -> Durations:
    """Per bucket, of the first `upto` or all, the time before an instant."""
    bucket_ms = HOUR_MS // graph.buckets
    starts = np.arange(hours * graph.buckets if upto is None else upto, dtype=np.int64) * bucket_ms
    return np.clip(until_ms - start_ms - starts, 0, bucket_ms)
