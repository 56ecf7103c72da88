"""What comes out of pools against what comes in: how much of a difference measuring explains, and outflow from nothing."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from fractions import Fraction
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from plantprint.divide_arrays import Ints
from plantprint.efficiency import converters
from plantprint.facts import Issue
from plantprint.plant.graph import Edge, PlantGraph
from plantprint.plant.model import Meter
from plantprint.quantities import MICRO, conversion, decimal_text
from plantprint.steam import STEAM_MJ_PER_KG_MAX
from plantprint.times import HOUR_MS

MORE_OUT = "more-out-than-in"
_REMEDY = "check the meters of this pool against each other: ratio, missing inflow, a meter counted twice"


def explained(graph: PlantGraph, amounts: Mapping[str, int], edges: Iterable[Edge]) -> int:
    """By how much flows of an hour may be off because their meters are: limits of error and one step of each, added up.

    `amounts` by meter of that hour and the result are in millionths. A rest is off by all that it was made of.
    """
    total, seen = Fraction(0), set[int]()
    waiting = list(edges)
    while waiting:
        edge = waiting.pop()
        if edge.index in seen:
            continue
        seen.add(edge.index)
        for _, meter in edge.terms:
            node = graph.meters[meter]
            total += node.likely_error * abs(amounts[meter]) + _step(node) * MICRO
        if edge.is_rest and edge.giver in graph.pools:
            waiting += graph.inflows[edge.giver]
            waiting += [other for other in graph.outflows[edge.giver] if not other.is_rest]
    return int(total)


def _step(meter: Meter) -> Fraction:
    """One step of its register; of a mass as much heat as it can hold."""
    step = Fraction(meter.resolution or 0)
    if meter.heat is None:
        return step
    return step * conversion(meter.heat.mass_unit, "kg") * STEAM_MJ_PER_KG_MAX * conversion("MJ", meter.unit)


class _Balance(NamedTuple):
    """The edges of a pool by position. With `is_conserving` no more can come out than in, else only nothing of nothing."""

    pool: str
    ins: list[int]
    outs: list[int]
    is_conserving: bool


@lru_cache(maxsize=8)
def _balances(graph: PlantGraph) -> tuple[_Balance, ...]:
    """Pools of which no rest and no efficiency tells it, and groups of pools that feed each other, named by their first."""
    told = {converter.pool for converter in converters(graph)}
    found: list[_Balance] = []
    for pool, node in graph.pools.items():
        outs = [edge for edge in graph.outflows[pool] if edge.recovery != "cut-off"]
        if pool not in told and (node.converts or not any(edge.is_rest for edge in outs)):
            ins = [edge.index for edge in graph.inflows[pool]]
            found.append(_Balance(pool, ins, [edge.index for edge in outs], not node.converts))
    for group in graph.groups:
        if group.is_cyclic:
            inner = {*group.pools}
            ins = [e.index for pool in group.pools for e in graph.inflows[pool] if e.giver not in inner]
            ways_out = [e.index for pool in group.pools for e in graph.outflows[pool] if e.taker not in inner]
            found.append(_Balance(group.pools[0], ins, ways_out, is_conserving=False))
    return tuple(found)


def more_out_than_in(
    graph: PlantGraph,
    amount: Ints,
    missing_ms: Ints,
    by_meter: Callable[[int, int], Mapping[str, int]],
    start_ms: int,
) -> Iterator[Issue]:
    """Pools out of which more came in an hour than went in, beyond what their meters explain; what is unknown excuses.

    `amount` and `missing_ms` are [edge, bucket] of consecutive hours; `by_meter` of the number of one of them, and the
    buckets of each, gives its amounts. A pool that still held something may give it out: see `without_stock`.
    """
    for pool, ins, outs, is_conserving in _balances(graph):
        into = _by_hour(amount, ins, graph.buckets)
        if not is_conserving and into.all():
            continue
        out = _by_hour(amount, outs, graph.buckets)
        suspect = out > into if is_conserving else (into == 0) & (out > 0)
        for hour in np.flatnonzero(suspect).tolist():
            part = slice(hour * graph.buckets, (hour + 1) * graph.buckets)
            if missing_ms[ins, part].any():
                continue
            came, went = int(into[hour]), int(out[hour])
            amounts = by_meter(hour, graph.buckets)
            # Between kinds of energy nothing but nothing can be compared, and nothing has no error.
            edges = [graph.edges[index] for index in (*ins, *outs)] if is_conserving else []
            if went - came > explained(graph, amounts, edges) + len(ins) + len(outs):
                unit = graph.pools[pool].unit
                what = f"{decimal_text(went)} {unit} came out of it and {decimal_text(came) if came else 'nothing'} went in"
                carried = "they share what went in" if came else "what came out carries nothing"
                at_ms = start_ms + hour * HOUR_MS
                yield Issue(MORE_OUT, pool, f"{what}; {carried}", _REMEDY, at_ms, contradicts=True)


def without_stock(graph: PlantGraph, issues: Iterable[Issue], held: Iterable[str]) -> list[Issue]:
    """The issues without those of pools that gave out what they, or their group, `held` from earlier hours."""
    excused = {pool for group in graph.groups if {*group.pools} & {*held} for pool in group.pools}
    return [issue for issue in issues if issue.code != MORE_OUT or issue.place not in excused]


def _by_hour(amount: Ints, edges: list[int], buckets: int) -> Ints:
    totals: Ints = amount[edges].sum(axis=0).reshape(-1, buckets).sum(axis=1)
    return totals
