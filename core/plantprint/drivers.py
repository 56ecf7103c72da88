"""What shared amounts are divided by: processing time, or the mass, pieces or area of the batches that ran."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from functools import lru_cache, partial

import numpy as np

from plantprint.allocation import Account, account_of
from plantprint.facts import Issue
from plantprint.flows import Weights
from plantprint.plant.graph import Edge, PlantGraph
from plantprint.production import Batch, Job, Production, StateSpan
from plantprint.quantities import UnitError, conversion, round_half_even
from plantprint.timelines import Slice, slices
from plantprint.times import HOUR_MS

Inferred = Mapping[str, Sequence[StateSpan]]
"""Inferred states by work unit."""

DRIVER_MISSING = "driver-missing"
_QUANTITY_UNIT = {"mass": "kg", "pieces": "piece", "area": "m2"}


@lru_cache(maxsize=4096)
def units_behind(graph: PlantGraph, node: str) -> tuple[str, ...]:
    """The work units to which what `node` gives can come, itself if it is one, all without a node; in canonical order."""
    if not node:
        return tuple(sorted(graph.work_units))
    seen, waiting = {node}, [node]
    while waiting:
        for edge in graph.outflows.get(waiting.pop(), ()):
            if edge.taker not in seen:
                seen.add(edge.taker)
                waiting.append(edge.taker)
    return tuple(sorted(seen & graph.work_units.keys()))


def processing(
    graph: PlantGraph,
    production: Production,
    units: Iterable[str],
    from_ms: int,
    to_ms: int,
    inferred: Inferred,
) -> dict[Account, int]:
    """By account the time in which its jobs were processing in a span of time; zero for jobs that ran, but did not."""
    found: dict[Account, int] = {}
    for unit in units:
        place = graph.work_units[unit]
        for part in slices(production, unit, from_ms, to_ms, inferred.get(unit, ())):
            time_ms = part.to_ms - part.from_ms if part.is_processing else 0
            for job in part.jobs:
                account = account_of(job, place)
                found[account] = found.get(account, 0) + time_ms
    return found


def window_weights(
    driver: str, worked: Mapping[Account, int], production: Production, hour_ms: int, shared: str
) -> tuple[dict[Account, int], list[Issue]]:
    """What each account of a window weighs under a driver; a batch without the quantity weighs nothing, which is said.

    `shared` says what is divided, in words.
    """
    if driver == "equal":
        return dict.fromkeys(worked, 1), []
    if driver == "processing_time":
        return dict(worked), []
    weights: dict[Account, int] = {}
    unknown: set[str] = set()
    for account in worked:
        quantity = _quantity(production.batches.get(account.id), driver)
        if quantity is None:
            unknown.add(account.id)
        weights[account] = quantity or 0
    issue = partial(_unknown_quantity, driver=driver, hour_ms=hour_ms, shared=shared)
    return weights, [issue(batch) for batch in sorted(unknown)]


def stream_weights(
    graph: PlantGraph, production: Production, hour_ms: int, inferred: Inferred
) -> tuple[dict[int, Weights], list[Issue]]:
    """By edge that takes a rest under a driver, what it weighs in each bucket of the hour, and what is not known.

    Running time counts a work unit as long as it processes; mass, pieces and area count each job that does, quantity x
    time. All are multiplied with the flow's weight.
    """
    weights: dict[int, Weights] = {}
    issues: set[Issue] = set()
    for edge in graph.edges:
        if edge.is_rest and edge.driver != "fixed":
            total: Weights = np.zeros(graph.buckets, object)
            for unit in units_behind(graph, edge.taker):
                parts = slices(production, unit, hour_ms, hour_ms + HOUR_MS, inferred.get(unit, ()))
                total = total + _unit_weights(parts, edge, production, graph.buckets, hour_ms, issues)
            weights[edge.index] = total
    return weights, sorted(issues)


def _unit_weights(
    parts: Iterable[Slice], edge: Edge, production: Production, buckets: int, hour_ms: int, issues: set[Issue]
) -> Weights:
    total: Weights = np.zeros(buckets, object)
    for part in parts:
        if not part.is_processing:
            continue
        rate = 1 if edge.driver == "running_time" else _rate(part.jobs, edge, production, hour_ms, issues)
        total = total + _by_bucket(part, buckets, hour_ms).astype(object) * (rate * edge.weight)
    return total


def _rate(jobs: Iterable[Job], edge: Edge, production: Production, hour_ms: int, issues: set[Issue]) -> int:
    rate = 0
    for job in jobs:
        quantity = _quantity(production.batches.get(job.batch), edge.driver)
        if quantity is None:
            issues.add(_unknown_rest(job.batch, edge, hour_ms))
        rate += quantity or 0
    return rate


def _by_bucket(part: Slice, buckets: int, hour_ms: int) -> Weights:
    bucket_ms = HOUR_MS // buckets
    starts = hour_ms + np.arange(buckets, dtype=np.int64) * bucket_ms
    return np.clip(part.to_ms - starts, 0, bucket_ms) - np.clip(part.from_ms - starts, 0, bucket_ms)


def _quantity(batch: Batch | None, driver: str) -> int | None:
    """A batch's quantity in millionths of a kg, a piece or a m2."""
    if batch is None or batch.quantity_micro is None:
        return None
    try:
        factor = conversion(batch.unit, _QUANTITY_UNIT[driver])
    except UnitError:
        return None
    return round_half_even(batch.quantity_micro * factor.numerator, factor.denominator)


def _unknown_rest(batch: str, edge: Edge, hour_ms: int) -> Issue:
    issue = _unknown_quantity(batch, edge.driver, hour_ms, f"what is left of {edge.giver}")
    return replace(issue, behind=edge.giver)


def _unknown_quantity(batch: str, driver: str, hour_ms: int, shared: str) -> Issue:
    message = (
        f"{shared} is divided by {driver}, and no order gives this batch a quantity of it: where others have one it takes "
        "nothing, where none has they are divided equally, or by the weights of the flows"
    )
    remedy = f"send its order with a quantity in a unit such as {_QUANTITY_UNIT[driver]}"
    return Issue(DRIVER_MISSING, batch, message, remedy, hour_ms, contradicts=True)
