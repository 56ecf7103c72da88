"""What flowed over every edge of the plant in each bucket of an hour, from meters: signed sums first, then the rests.

Amounts are in millionths of the giver's unit. A sum of meters that comes out negative in a bucket is balanced over
the hour, because coarse submeters make short spans meaningless; so is a rest. Nothing is ever below zero: what even
the hour cannot balance becomes an issue.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from plantprint.divide_arrays import Ints, divide_arrays
from plantprint.efficiency import Contents, balance_left, efficiency_issues, recovery_balance
from plantprint.facts import Issue, Quality
from plantprint.intervals import MeterHour
from plantprint.plant.graph import Edge, PlantGraph
from plantprint.quantities import decimal_text, divide

Qualities = NDArray[np.int8]
Durations = NDArray[np.int64]
Weights = NDArray[Any]
"""What an edge weighs in each bucket of an hour: not negative, Python's integers where they may be large."""

# Nine billion units in an hour: a meter that says so is broken, and below it the sums of 500 meters fit in 64 bits.
_LIMIT = 2**53
_GUESS = np.int8(Quality.ESTIMATED)
_NO_WEIGHTS: Mapping[int, Weights] = {}


@dataclass(frozen=True, slots=True, eq=False)
class Flows:
    """Arrays [edge, bucket] in the order of the graph's edges.

    `quality` is the worst of the meters behind an amount (MEASURED where nothing flowed), `missing_ms` the time in
    which one of them was unknown: missing has no amount, so it is never a quality here.
    """

    amount: Ints
    quality: Qualities
    missing_ms: Durations
    issues: tuple[Issue, ...]


@dataclass(frozen=True, slots=True)
class _RestPlan:
    """A pool with rests, and its other edges by position. A converting pool has no metered ones: there a rest is only
    a weight, the sum of whatever comes in; but where heat is recovered from it by a share, `balance` leaves its rest.
    """

    pool: str
    inflows: list[int]
    metered: list[int]
    rests: list[Edge]
    balance: tuple[Contents, Fraction] | None


def hour_flows(
    graph: PlantGraph,
    meters: Mapping[str, MeterHour],
    hour_ms: int,
    driver_weights: Mapping[int, Weights] = _NO_WEIGHTS,
) -> Flows:
    """The flows of the hour; every meter that an edge names must be in `meters`.

    `driver_weights` are by index those of edges that take a rest under a driver, all of a pool or none.
    """
    shape = (len(graph.edges), graph.buckets)
    flows = Flows(np.zeros(shape, np.int64), np.full(shape, Quality.MEASURED, np.int8), np.zeros(shape, np.int64), ())
    issues: list[Issue] = []
    for edge in graph.edges:
        if edge.terms:
            _fill_metered(edge, meters, flows)
    for index in np.flatnonzero((flows.amount < 0).any(axis=1)).tolist():
        _balance_edge(graph.edges[index], flows, hour_ms, issues)
    for plan in _rest_plans(graph):
        _fill_rests(plan, flows, graph.pools[plan.pool].unit, hour_ms, issues, driver_weights)
    issues += efficiency_issues(graph, flows.amount, flows.missing_ms, hour_ms)
    return Flows(flows.amount, flows.quality, flows.missing_ms, tuple(issues))


def carried_by_consumers(graph: PlantGraph, flows: Flows) -> Flows:
    """The flows by which pools are shared: what residuals of disposition `consumers` took goes with the other takers."""
    carried = [edge.index for edge in graph.edges if edge.disposition == "consumers"]
    if not carried:
        return flows
    amount = flows.amount.copy()
    amount[carried] = 0
    return replace(flows, amount=amount)


def believable(hour: MeterHour) -> bool:
    """Whether an hour of a meter can be counted with at all: sums of such amounts stay within 64 bits."""
    return bool(np.abs(hour.amount).max(initial=0) < _LIMIT // max(1, hour.amount.size))


def _fill_metered(edge: Edge, meters: Mapping[str, MeterHour], flows: Flows) -> None:
    hours = [meters[meter] for _, meter in edge.terms]
    amount, quality = flows.amount[edge.index], flows.quality[edge.index]
    for (sign, _), hour in zip(edge.terms, hours, strict=True):
        amount += hour.amount if sign > 0 else -hour.amount
        known = hour.quality != Quality.MISSING
        np.minimum(quality, hour.quality, out=quality, where=known)
        np.maximum(flows.missing_ms[edge.index], hour.missing_ms, out=flows.missing_ms[edge.index])
    if any(sign < 0 for sign, _ in edge.terms):
        # With one of its meters missing a difference is a guess; a sum is only short of what is missing.
        np.minimum(quality, _GUESS, out=quality, where=(flows.missing_ms[edge.index] > 0) & (amount != 0))


def _balance_edge(edge: Edge, flows: Flows, hour_ms: int, issues: list[Issue]) -> None:
    amount = flows.amount[edge.index]
    total = int(amount.sum())
    if total < -len(edge.terms):  # Each meter's rounding may move the total by one unit.
        terms = " ".join(f"{'+' if sign > 0 else '-'} {meter}" for sign, meter in edge.terms)
        message = f"{terms} came out as {decimal_text(total)} over the hour and was taken as nothing"
        remedy = "check these meters against each other: a child above its parent, a swapped CT, a ratio"
        issues.append(Issue("flow-negative", f"{edge.giver} to {edge.taker}", message, remedy, hour_ms))
    flows.amount[edge.index] = _balanced(amount, total)


def _balanced(amount: Ints, total: int) -> Ints:
    """`total` spread over buckets like the positive part of `amount`; nothing where the total is not above zero."""
    if total <= 0:
        return np.zeros_like(amount)
    return divide_arrays(np.array(total), np.maximum(amount, 0))


@lru_cache(maxsize=8)
def _rest_plans(graph: PlantGraph) -> tuple[_RestPlan, ...]:
    """Pools with rests in an order in which each finds its inflows known."""
    waiting = {pool: edges for pool in graph.pools if (edges := [e for e in graph.outflows[pool] if e.is_rest])}
    plans: list[_RestPlan] = []
    while waiting:
        open_edges = {edge.index for edges in waiting.values() for edge in edges}
        ready = [pool for pool in waiting if not any(edge.index in open_edges for edge in graph.inflows[pool])]
        assert ready, f"rests of {sorted(waiting)} depend on each other; the plant check refuses that"
        for pool in ready:
            rests = sorted(waiting.pop(pool), key=canonical)
            inflows = [edge.index for edge in graph.inflows[pool]]
            metered = [edge.index for edge in graph.outflows[pool] if not edge.is_rest and edge.recovery != "cut-off"]
            plans.append(_RestPlan(pool, inflows, metered, rests, recovery_balance(graph, pool)))
    return tuple(plans)


def canonical(edge: Edge) -> tuple[str, str, int]:
    """Rule R1 goes through the takers of a pool in this order."""
    return (edge.taker_kind, edge.taker, edge.index)


def _fill_rests(
    plan: _RestPlan,
    flows: Flows,
    unit: str,
    hour_ms: int,
    issues: list[Issue],
    driver_weights: Mapping[int, Weights],
) -> None:
    if plan.balance is None:
        left: Ints = flows.amount[plan.inflows].sum(axis=0) - flows.amount[plan.metered].sum(axis=0)
    else:
        left = balance_left(flows.amount, plan.balance)
    total = int(left.sum())
    if total < -len(flows.amount):  # Rounding moves a total by less than one unit per edge.
        message = f"metered outflows are {decimal_text(-total)} {unit} more than what came in; they share what came in"
        remedy = "check the meters of this pool against each other: ratio, missing inflow, a meter counted twice"
        issues.append(Issue("disagreement", plan.pool, message, remedy, hour_ms))
    behind = [*plan.inflows, *plan.metered]
    quality, missing_ms = flows.quality[behind].min(axis=0), flows.missing_ms[behind].max(axis=0)
    np.minimum(quality, _GUESS, out=quality, where=missing_ms > 0)
    if all(edge.index in driver_weights for edge in plan.rests):
        parts = _by_driver(_balanced(left, total), plan.rests, [driver_weights[edge.index] for edge in plan.rests])
    else:
        shares = divide(max(total, 0), [edge.weight for edge in plan.rests])
        parts = [_balanced(left, share) for share in shares]
    for edge, part in zip(plan.rests, parts, strict=True):
        flows.amount[edge.index] = part
        flows.quality[edge.index] = quality
        flows.missing_ms[edge.index] = missing_ms


def _by_driver(left: Ints, rests: Sequence[Edge], weights: Sequence[Weights]) -> list[Ints]:
    """A rest by bucket divided by what its takers weigh then; where none does by the hour's weights, else the fixed."""
    parts = [np.zeros_like(left) for _ in rests]
    hour = [int(weight.sum()) for weight in weights]
    idle = hour if any(hour) else [edge.weight for edge in rests]
    for bucket in np.flatnonzero(left).tolist():
        now = [int(weight[bucket]) for weight in weights]
        for part, share in zip(parts, divide(int(left[bucket]), now if any(now) else idle), strict=True):
            part[bucket] = share
    return parts
