"""What flowed over every edge of the plant in each bucket of some hours, from meters: signed sums first, then the rests.

Amounts are in millionths of the giver's unit. A sum of meters that comes out negative in a bucket is balanced over
the hour, because coarse submeters make short spans meaningless; so is a rest. Nothing is ever below zero: what even
the hour cannot balance becomes an issue.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from plantprint.balance import explained, more_out_than_in
from plantprint.divide_arrays import Ints, divide_arrays
from plantprint.efficiency import Contents, balance_left, efficiency_issues, recovery_balance
from plantprint.facts import Issue, Quality
from plantprint.intervals import MeterHour
from plantprint.plant.graph import Edge, PlantGraph
from plantprint.quantities import decimal_text, divide
from plantprint.times import HOUR_MS

Qualities = NDArray[np.int8]
Durations = NDArray[np.int64]
Weights = NDArray[Any]
"""What an edge weighs in each bucket of an hour: not negative, Python's integers where they may be large."""

# Nine billion units in an hour: a meter that says so is broken, and below it the sums of 500 meters fit in 64 bits.
_LIMIT = 2**53
_GUESS = np.int8(Quality.ESTIMATED)
_NO_WEIGHTS: Mapping[int, Weights] = {}


@dataclass(frozen=True, slots=True, eq=False)
class Known(Mapping[str, MeterHour]):
    """What meters told in consecutive hours: arrays [meter, bucket], `number` is a meter's place in them."""

    number: Mapping[str, int]
    amount: Ints
    quality: Qualities
    missing_ms: NDArray[np.int32]

    @staticmethod
    def of(meters: Mapping[str, MeterHour]) -> "Known":
        """`meters` tell of the same buckets; at least one."""
        if isinstance(meters, Known):
            return meters
        hours = meters.values()
        return Known(
            {meter: place for place, meter in enumerate(meters)},
            np.stack([hour.amount for hour in hours]),
            np.stack([hour.quality for hour in hours]),
            np.stack([hour.missing_ms for hour in hours]),
        )

    def __getitem__(self, meter: str) -> MeterHour:
        place = self.number[meter]
        return MeterHour(self.amount[place], self.quality[place], self.missing_ms[place])

    def __iter__(self) -> Iterator[str]:
        return iter(self.number)

    def __len__(self) -> int:
        return len(self.number)

    def hour(self, number: int, buckets: int) -> "Known":
        """One of the hours."""
        part = slice(number * buckets, (number + 1) * buckets)
        return Known(self.number, self.amount[:, part], self.quality[:, part], self.missing_ms[:, part])

    def sums(self, number: int, buckets: int) -> dict[str, int]:
        """By meter what it told in one of the hours."""
        part = self.amount[:, number * buckets : (number + 1) * buckets]
        return dict(zip(self.number, part.sum(axis=1).tolist(), strict=True))


@dataclass(frozen=True, slots=True, eq=False)
class Flows:
    """Arrays [edge, bucket] in the order of the graph's edges, over consecutive hours of as many buckets each.

    `quality` is the worst of the meters behind an amount (MEASURED where nothing flowed), `missing_ms` the time in
    which one of them was unknown: missing has no amount, so it is never a quality here. Issues bear their hour.
    """

    amount: Ints
    quality: Qualities
    missing_ms: Durations
    issues: tuple[Issue, ...]
    hours: int = 1

    def part(self, first: int, hours: int) -> "Flows":
        """Some of the hours, without issues."""
        buckets = self.amount.shape[1] // self.hours
        part = slice(first * buckets, (first + hours) * buckets)
        return Flows(self.amount[:, part], self.quality[:, part], self.missing_ms[:, part], (), hours)


def by_hour(values: Any, hours: int) -> Any:
    """[..., bucket] of several hours as [..., hour, bucket of the hour]."""
    return values.reshape(*values.shape[:-1], hours, -1)


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
    return span_flows(graph, Known.of(meters), hour_ms, driver_weights)


def span_flows(
    graph: PlantGraph, known: Known, start_ms: int, driver_weights: Mapping[int, Weights] = _NO_WEIGHTS
) -> Flows:
    """`hour_flows` of consecutive hours from `start_ms` on, each as if it were alone."""
    shape = (len(graph.edges), known.amount.shape[1])
    hours = shape[1] // graph.buckets
    flows = Flows(np.zeros(shape, np.int64), np.full(shape, Quality.MEASURED, np.int8), np.zeros(shape, np.int64), ())
    flows = replace(flows, hours=hours)
    issues: list[Issue] = []
    _fill_metered(graph, known, flows)
    for index, hour in np.argwhere((by_hour(flows.amount, hours) < 0).any(axis=2)).tolist():
        part = flows.amount[index, hour * graph.buckets : (hour + 1) * graph.buckets]
        edge, is_missing = graph.edges[index], by_hour(flows.missing_ms[index], hours)[hour].any()
        off = None if is_missing else explained(graph, known.sums(hour, graph.buckets), [edge])
        _balance_edge(edge, part, start_ms + hour * HOUR_MS, off, issues)
    for plan in _rest_plans(graph):
        _fill_rests(graph, plan, flows, known, start_ms, issues, driver_weights)
    issues += _efficiency(graph, flows, start_ms)
    issues += more_out_than_in(graph, flows.amount, flows.missing_ms, known.sums, start_ms)
    return replace(flows, issues=tuple(issues))


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


def believable_hours(known: Known, hours: int) -> NDArray[np.bool_]:
    """[meter, hour]: `believable` of each."""
    amount, most = by_hour(known.amount, hours), _LIMIT // max(1, known.amount.shape[1] // hours)
    believed: NDArray[np.bool_] = (amount.max(axis=2, initial=0) < most) & (amount.min(axis=2, initial=0) > -most)
    return believed


@lru_cache(maxsize=8)
def _terms(graph: PlantGraph, meters: tuple[str, ...]) -> tuple[tuple[list[int], list[int], list[int]], ...]:
    """Edges, meters and signs of all first terms, of all second ones, and so on."""
    number = {meter: place for place, meter in enumerate(meters)}
    found = []
    for position in range(max((len(edge.terms) for edge in graph.edges), default=0)):
        edges = [edge for edge in graph.edges if len(edge.terms) > position]
        terms = [edge.terms[position] for edge in edges]
        found.append(([e.index for e in edges], [number[meter] for _, meter in terms], [sign for sign, _ in terms]))
    return tuple(found)


def _fill_metered(graph: PlantGraph, known: Known, flows: Flows) -> None:
    told = known.quality.copy()
    told[told == Quality.MISSING] = Quality.MEASURED
    is_missing = bool(known.missing_ms.any())
    for position, (edges, meters, signs) in enumerate(_terms(graph, tuple(known.number))):
        amount, quality = known.amount[meters], told[meters]
        amount = amount if min(signs) > 0 else amount * np.array(signs)[:, None]
        # At first every edge is empty.
        flows.amount[edges] = flows.amount[edges] + amount if position else amount
        flows.quality[edges] = np.minimum(flows.quality[edges], quality) if position else quality
        if is_missing:
            flows.missing_ms[edges] = np.maximum(flows.missing_ms[edges], known.missing_ms[meters])
    differences = [edge.index for edge in graph.edges if any(sign < 0 for sign, _ in edge.terms)]
    if is_missing and differences:
        # With one of its meters missing a difference is a guess; a sum is only short of what is missing.
        guessed = (flows.missing_ms[differences] > 0) & (flows.amount[differences] != 0)
        quality = flows.quality[differences]
        flows.quality[differences] = np.where(guessed, np.minimum(quality, _GUESS), quality)


def _balance_edge(edge: Edge, amount: Ints, hour_ms: int, off: int | None, issues: list[Issue]) -> None:
    """Balances an edge's hour in place; its meters explain that it is `off` by so much, None while one is unknown."""
    total = int(amount.sum())
    if total < -len(edge.terms):  # Each meter's rounding may move the total by one unit.
        terms = " ".join(f"{'+' if sign > 0 else '-'} {meter}" for sign, meter in edge.terms)
        message = f"{terms} came out as {decimal_text(total)} over the hour and was taken as nothing"
        remedy = "check these meters against each other: a child above its parent, a swapped CT, a ratio"
        place, contradicts = f"{edge.giver} to {edge.taker}", off is not None and -total > off
        issues.append(Issue("flow-negative", place, message, remedy, hour_ms, contradicts))
    amount[:] = _balanced(amount, np.array(total))


def _balanced(amount: Ints, total: Ints) -> Ints:
    """Totals [...] spread over buckets [..., bucket] like the positive part; nothing where a total is not above zero."""
    return divide_arrays(np.maximum(total, 0), np.maximum(amount, 0))


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
    graph: PlantGraph,
    plan: _RestPlan,
    flows: Flows,
    known: Known,
    start_ms: int,
    issues: list[Issue],
    driver_weights: Mapping[int, Weights],
) -> None:
    if plan.balance is None:
        rest: Ints = flows.amount[plan.inflows].sum(axis=0) - flows.amount[plan.metered].sum(axis=0)
    else:
        rest = balance_left(flows.amount, plan.balance)
    left, unit = by_hour(rest, flows.hours), graph.pools[plan.pool].unit
    total = left.sum(axis=1)
    behind = [*plan.inflows, *plan.metered]
    quality, missing_ms = flows.quality[behind].min(axis=0), flows.missing_ms[behind].max(axis=0)
    for hour in np.flatnonzero(
        total < -len(flows.amount)
    ).tolist():  # Rounding moves it by less than one unit per edge.
        over = -int(total[hour])
        is_known = not by_hour(missing_ms, flows.hours)[hour].any()
        contradicts = is_known and over > explained(graph, known.sums(hour, graph.buckets), plan.rests)
        message = f"metered outflows are {decimal_text(over)} {unit} more than what came in; they share what came in"
        remedy = "check the meters of this pool against each other: ratio, missing inflow, a meter counted twice"
        issues.append(Issue("disagreement", plan.pool, message, remedy, start_ms + hour * HOUR_MS, contradicts))
    np.minimum(quality, _GUESS, out=quality, where=missing_ms > 0)
    rests = [edge.index for edge in plan.rests]
    if all(edge in driver_weights for edge in rests):
        weights = [by_hour(driver_weights[edge], flows.hours) for edge in rests]
        balanced = _balanced(left, total)
        parts = [_by_driver(course, plan.rests, [w[hour] for w in weights]) for hour, course in enumerate(balanced)]
        flows.amount[rests] = np.concatenate(parts, axis=1)
    else:
        shares = divide_arrays(np.maximum(total, 0), np.array([[edge.weight for edge in plan.rests]]))
        flows.amount[rests] = _balanced(left, shares.T).reshape(len(rests), -1)
    flows.quality[rests] = quality
    flows.missing_ms[rests] = missing_ms


def _by_driver(left: Ints, rests: Sequence[Edge], weights: Sequence[Weights]) -> Ints:
    """A rest by bucket divided by what its takers weigh then; where none does by the hour's weights, else the fixed."""
    parts = np.zeros((len(rests), len(left)), np.int64)
    hour = [int(weight.sum()) for weight in weights]
    idle = hour if any(hour) else [edge.weight for edge in rests]
    for bucket in np.flatnonzero(left).tolist():
        now = [int(weight[bucket]) for weight in weights]
        parts[:, bucket] = divide(int(left[bucket]), now if any(now) else idle)
    return parts


def _efficiency(graph: PlantGraph, flows: Flows, start_ms: int) -> Iterable[Issue]:
    for hour in range(flows.hours):
        part = flows.part(hour, 1)
        yield from efficiency_issues(graph, part.amount, part.missing_ms, start_ms + hour * HOUR_MS)
