"""How far the meters behind a batch can move its emissions: the flows of its hours accounted again, each meter scaled.

Hour totals and proportional sharing in floats, which is exact but for the covariance of mix and load inside the hour: an
uncertainty needs no more digits. The part of a work unit that the batch got is held fixed; what pools and converters
hand out moves with every meter around them.
"""

from collections.abc import Collection, Iterable, Mapping

from plantprint.ledger import PostingKey
from plantprint.plant.graph import Edge, PlantGraph
from plantprint.quantities import EMISSION_SCALE
from plantprint.valuation import RateBook

Amounts = Mapping[str, float]  # by meter, of one hour, in its unit
Emissions = Mapping[tuple[str, str], float]  # by work unit and source, kg CO2e of the batch in the hour
HOURS_MAX = 24
_STEP = 0.01
_ROUNDS = 50
_CLOSE = 1e-9


def meter_slopes(
    graph: PlantGraph, hours: Iterable[tuple[Amounts, Emissions]], meters: Iterable[str]
) -> dict[str, dict[str, float]]:
    """By meter and source: kg CO2e by which the batch moves per relative unit of the meter, by central difference.

    Meters that move nothing are left out, and so is what the batch got from elsewhere than the flows of its work units.
    """
    slopes: dict[str, dict[str, float]] = {}
    asked = sorted(set(meters))
    for amounts, emissions in hours:
        units = {unit for unit, _ in emissions}
        known = _unit_sources(graph, amounts, units)
        for meter in asked:
            if not amounts.get(meter):
                continue
            up = _unit_sources(graph, {**amounts, meter: amounts[meter] * (1 + _STEP)}, units)
            down = _unit_sources(graph, {**amounts, meter: amounts[meter] * (1 - _STEP)}, units)
            for place, kg in emissions.items():
                if known.get(place) and kg:
                    slope = kg * (up.get(place, 0.0) - down.get(place, 0.0)) / (2 * _STEP * known[place])
                    if abs(slope) > _CLOSE:
                        by_source = slopes.setdefault(meter, {})
                        by_source[place[1]] = by_source.get(place[1], 0.0) + slope
    return slopes


def sampled_hours(net: Mapping[PostingKey, int]) -> list[int]:
    """Hours of the postings to look at, evenly spread where there are more than enough of them."""
    hours = sorted({key.hour_ms for key in net})
    step = -(-len(hours) // HOURS_MAX) if hours else 1
    return hours[::step]


def kg_by_hour(
    net: Mapping[PostingKey, int], book: RateBook, hours: Collection[int]
) -> dict[int, dict[tuple[str, str], float]]:
    """Kg CO2e of postings on work units by hour, work unit and source, of the hours asked for."""
    found: dict[int, dict[tuple[str, str], float]] = {}
    for key, amount in net.items():
        rate = book.rate(key.source, key.entered_ms)
        if rate is not None and key.work_unit and key.hour_ms in hours:
            places, place = found.setdefault(key.hour_ms, {}), (key.work_unit, key.source)
            places[place] = places.get(place, 0.0) + amount * rate.co2e / EMISSION_SCALE
    return found


def _unit_sources(graph: PlantGraph, amounts: Amounts, units: Iterable[str]) -> dict[tuple[str, str], float]:
    """What each work unit takes of every source."""
    flows = _flows(graph, amounts)
    shares = _pool_shares(graph, flows)
    found: dict[tuple[str, str], float] = {}
    for unit in units:
        for edge in graph.inflows.get(unit, ()):
            for source, part in _through(edge, flows, shares).items():
                found[unit, source] = found.get((unit, source), 0.0) + part
    return found


def _flows(graph: PlantGraph, amounts: Amounts) -> list[float]:
    """By edge; a rest is what conserving pools have left, and of a converting one nothing."""
    flows = [max(sum(sign * amounts.get(meter, 0.0) for sign, meter in edge.terms), 0.0) for edge in graph.edges]
    for group in graph.groups:
        for pool in group.pools:
            rests = [edge for edge in graph.outflows[pool] if edge.is_rest]
            if not rests or graph.pools[pool].converts:
                continue
            inside = sum(flows[edge.index] for edge in graph.inflows[pool])
            out = sum(flows[edge.index] for edge in graph.outflows[pool] if not edge.is_rest)
            weights = sum(edge.weight for edge in rests)
            for edge in rests:
                flows[edge.index] = max(inside - out, 0.0) * edge.weight / weights
    return flows


def _pool_shares(graph: PlantGraph, flows: list[float]) -> dict[str, dict[str, float]]:
    """Of each source what one weighed unit out of a pool or store carries; pools that feed each other by going around."""
    shares: dict[str, dict[str, float]] = {node: {} for node in (*graph.pools, *graph.stores)}
    order = [*(pool for group in graph.groups for pool in group.pools), *graph.stores]
    for _ in range(_ROUNDS):
        furthest = 0.0
        for node in order:
            out = sum(
                flows[edge.index] * edge.share for edge in graph.outflows[node] if edge.disposition != "consumers"
            )
            entering: dict[str, float] = {}
            for edge in graph.inflows[node]:
                for source, part in _through(edge, flows, shares).items():
                    entering[source] = entering.get(source, 0.0) + part
            fresh = {source: part / out for source, part in entering.items()} if out else {}
            furthest = max([furthest, *(abs(v - shares[node].get(s, 0.0)) for s, v in fresh.items())])
            shares[node] = fresh
        if furthest < _CLOSE:
            break
    return shares


def _through(edge: Edge, flows: list[float], shares: Mapping[str, Mapping[str, float]]) -> dict[str, float]:
    """What an edge carries of each source."""
    amount = flows[edge.index]
    if edge.giver_kind == "source":
        return {edge.giver: amount}
    return {source: part * amount * edge.share for source, part in shares.get(edge.giver, {}).items()}
