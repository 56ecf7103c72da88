"""Energy in and out of converters, where it is known: whether an efficiency is believable, what a recovery leaves."""

from collections.abc import Iterator
from fractions import Fraction
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from plantprint.converters import EFFICIENCY_MAX, energy_content
from plantprint.divide_arrays import Ints
from plantprint.facts import Issue
from plantprint.plant.graph import Edge, PlantGraph
from plantprint.quantities import round_half_even

Contents = tuple[tuple[int, Fraction], ...]
"""Edges by index with the kWh in one unit of each."""


class Converter(NamedTuple):
    """A pool of which the energy of everything that comes in and goes out is known, and the most that is believed."""

    pool: str
    most: Fraction
    ins: Contents
    outs: Contents


@lru_cache(maxsize=8)
def converters(graph: PlantGraph) -> tuple[Converter, ...]:
    """The pools whose efficiency can be checked."""
    found: list[Converter] = []
    for pool, node in graph.pools.items():
        most = node.efficiency_max or EFFICIENCY_MAX.get(node.kind)
        ins, outs = _contents(graph, graph.inflows[pool]), _contents(graph, graph.outflows[pool])
        if node.converts and most is not None and ins is not None and outs is not None:
            found.append(Converter(pool, Fraction(most), ins, outs))
    return tuple(found)


def _contents(graph: PlantGraph, edges: tuple[Edge, ...]) -> Contents | None:
    known = [(edge.index, content) for edge in edges if (content := edge_content(graph, edge)) is not None]
    return tuple(known) if len(known) == len(edges) else None


def edge_content(graph: PlantGraph, edge: Edge) -> Fraction | None:
    """How many kWh are in one unit of what an edge carries; None where nobody says."""
    if edge.giver in graph.sources:
        source = graph.sources[edge.giver]
        return energy_content(source.unit, source.kwh_per_unit)
    if edge.giver in graph.stores:
        return energy_content(graph.stores[edge.giver].unit, None)
    pool = graph.pools[edge.giver]
    product = pool.product(edge.product)
    node = pool if product is None else product
    return energy_content(node.unit, node.kwh_per_unit)


def efficiency_issues(graph: PlantGraph, amount: Ints, missing_ms: Ints, hour_ms: int) -> Iterator[Issue]:
    """Converters out of which more energy came in the hour than their kind can make of what went in."""
    for pool, most, ins, outs in converters(graph):
        edges = [index for index, _ in (*ins, *outs)]
        if missing_ms[edges].any():
            continue  # What is unknown is told as missing.
        into, out = _energy(amount, ins), _energy(amount, outs)
        if out > into * most + len(edges):
            made = f"{float(out / into):.3g} times the energy" if into else "energy out of nothing"
            message = f"it made {made}, more than the {float(most):g} that is believed"
            remedy = "check its meters and their units, kwh_per_unit of its inputs and outputs, or set efficiency_max"
            yield Issue("efficiency-implausible", pool, message, remedy, hour_ms, contradicts=True)


def _energy(amount: Ints, contents: Contents) -> Fraction:
    return sum((int(amount[index].sum()) * content for index, content in contents), Fraction(0))


@lru_cache(maxsize=64)
def recovery_balance(graph: PlantGraph, pool: str) -> tuple[Contents, Fraction] | None:
    """For a pool whose rest is what a recovery leaves: contents in, and out with a minus; and of a unit of the rest.

    None where the pool recovers nothing, or cuts it off: then its rest is only a weight.
    """
    outflows = graph.outflows[pool]
    recovered = [edge for edge in outflows if edge.recovery in ("energy", "exergy")]
    rests = [edge for edge in outflows if edge.is_rest]
    if not recovered or not rests:
        return None
    ins, outs = _contents(graph, graph.inflows[pool]), _contents(graph, tuple(recovered))
    own = edge_content(graph, rests[0])
    if ins is None or outs is None or own is None:
        raise AssertionError(f"{pool}: the plant check asks for the energy of all that comes in and is recovered")
    return (*ins, *((index, -content) for index, content in outs)), own


def balance_left(amount: Ints, balance: tuple[Contents, Fraction]) -> Ints:
    """Per bucket what the balance leaves, in millionths of the rest's unit."""
    contents, own = balance
    columns = amount[[index for index, _ in contents]].T.tolist()
    factors = [content / own for _, content in contents]
    exact = [sum((n * factor for n, factor in zip(column, factors, strict=True)), Fraction(0)) for column in columns]
    return np.array([round_half_even(part.numerator, part.denominator) for part in exact], np.int64)
