"""Tracing against a slow and obviously right solution in fractions, and conservation on any plant."""

from fractions import Fraction

from accounting_cases import HOUR, make_graph, meter_hours
from hypothesis import assume, given
from hypothesis import strategies as st
from random_plants import UNHURRIED, amounts, plants

from plantprint.flows import Flows, hour_flows
from plantprint.plant.graph import Edge, PlantGraph
from plantprint.stores import StoreLayer, contents
from plantprint.tracing import Traced, trace

Exact = dict[int | str, dict[str, Fraction]]
"""Amounts by source on an edge, by its index, and of what stays in a store, by its id."""


@UNHURRIED
@given(plants(bucket_s=3600, exports=False), st.data())
def test_shares_are_those_of_the_exact_solution_up_to_rounding(graph: PlantGraph, data: st.DataObject) -> None:
    flows = hour_flows(graph, meter_hours(graph, {meter: [data.draw(amounts)] for meter in graph.meters}), HOUR)
    exact = solve(graph, flows)
    traced = trace(graph, flows, {}, HOUR)
    # Each division rounds by less than one unit, and what it rounds goes downstream.
    slack = 2 * len(graph.edges)
    for edge in graph.edges:
        if edge.giver_kind in ("pool", "store") and edge.taker_kind not in ("pool", "store"):
            for row, (source, _) in enumerate(traced.rows):
                share = int(traced.parcels.amount[edge.index, row, 0])
                assert abs(share - exact[edge.index].get(source, Fraction(0))) <= slack
    for store, layers in traced.stores.items():
        for source in graph.sources:
            kept = [*contents(layers), *traced.lost.get(store, ())]
            assert abs(sum(layer[3] for layer in kept if layer[0] == source) - exact[store][source]) <= slack


def solve(graph: PlantGraph, flows: Flows) -> Exact:
    """Amounts by source on every edge out of a pool: through = direct + Σ through x share, for all pools at once.

    A store that held nothing is a pool of what comes in and goes out again in the hour; the rest of it stays.
    """
    nodes = sorted([*graph.pools, *graph.stores])
    amount = {edge.index: int(flows.amount[edge.index, 0]) for edge in graph.edges}
    weight = {edge.index: amount[edge.index] * content_of(graph, edge) for edge in graph.edges}
    out = {node: sum((weight[edge.index] for edge in graph.outflows[node]), Fraction(0)) for node in nodes}
    for store in graph.stores:
        charged = sum(amount[edge.index] for edge in graph.inflows[store])
        for edge in graph.outflows[store]:
            weight[edge.index] = min(Fraction(amount[edge.index]), Fraction(charged))
        out[store] = Fraction(charged)

    def share(edge: Edge) -> Fraction:
        return weight[edge.index] / out[edge.giver] if out[edge.giver] else Fraction(0)

    inner = [edge for edge in graph.edges if edge.giver in nodes and edge.taker in nodes]
    found: Exact = {edge.index: {} for edge in graph.edges} | {store: {} for store in graph.stores}
    for source in graph.sources:
        matrix = [[Fraction(int(row == column)) for column in nodes] for row in nodes]
        for edge in inner:
            matrix[nodes.index(edge.taker)][nodes.index(edge.giver)] -= share(edge)
        direct = [
            Fraction(sum(amount[edge.index] for edge in graph.inflows[node] if edge.giver == source)) for node in nodes
        ]
        through = dict(zip(nodes, gauss(matrix, direct), strict=True))
        for edge in graph.edges:
            if edge.giver in through:
                found[edge.index][source] = through[edge.giver] * share(edge)
        for store in graph.stores:
            found[store][source] = through[store] * (1 - sum(map(share, graph.outflows[store]), Fraction(0)))
    return found


def content_of(graph: PlantGraph, edge: Edge) -> Fraction:
    """What a unit of an edge counts at its giver, by the energy of its product."""
    pool = graph.pools.get(edge.giver)
    product = pool.product(edge.product) if pool else None
    return Fraction(product.kwh_per_unit or 1) if product else Fraction(1)


def gauss(matrix: list[list[Fraction]], right: list[Fraction]) -> list[Fraction]:
    size = len(right)
    rows = [[*matrix[n], right[n]] for n in range(size)]
    for column in range(size):
        pivots = [n for n in range(column, size) if rows[n][column]]
        assume(pivots)  # A cycle that nothing leaves has no solution: its content is stock, which other tests see.
        rows[column], rows[pivots[0]] = rows[pivots[0]], rows[column]
        for n in range(size):
            if n != column:
                factor = rows[n][column] / rows[column][column]
                rows[n] = [a - factor * b for a, b in zip(rows[n], rows[column], strict=True)]
    return [rows[n][size] / rows[n][n] for n in range(size)]


def in_and_out(graph: PlantGraph, flows: Flows, traced: Traced) -> tuple[dict[str, int], dict[str, int]]:
    """Per source: what entered, and what came to an end or is kept."""
    entered, ended = dict.fromkeys(graph.sources, 0), dict.fromkeys(graph.sources, 0)
    for edge in graph.edges:
        if edge.giver_kind == "source":
            entered[edge.giver] += int(flows.amount[edge.index].sum())
        if edge.taker_kind not in ("pool", "store"):
            for row, (source, _) in enumerate(traced.rows):
                ended[source] += int(traced.parcels.amount[edge.index, row].sum())
    kept = [*traced.stock.values(), *traced.lost.values(), *map(contents, traced.stores.values())]
    for layers in kept:
        for source, _, _, amount in layers:
            ended[source] += amount
    return entered, ended


@UNHURRIED
@given(plants(), st.data())
def test_every_source_ends_where_it_can_to_the_last_unit(graph: PlantGraph, data: st.DataObject) -> None:
    hours = {meter: [data.draw(amounts) for _ in range(4)] for meter in graph.meters}
    flows = hour_flows(graph, meter_hours(graph, hours), HOUR)
    stock = {pool: (("gas", HOUR - 3_600_000, 3, data.draw(st.integers(1, 10**6))),) for pool in graph.pools}
    full = {
        store: (StoreLayer(HOUR - 3_600_000, data.draw(st.integers(0, 10**9)), (("gas", HOUR - 3_600_000, 2, 10**6),)),)
        for store in graph.stores
        if data.draw(st.booleans())
    }
    traced = trace(graph, flows, stock, HOUR, full)
    entered, ended = in_and_out(graph, flows, traced)
    before = sum(layer[3] for layers in stock.values() for layer in layers) + 10**6 * len(full)
    assert ended == entered | {"gas": entered["gas"] + before}
    assert (traced.parcels.amount >= 0).all()
    assert (flows.amount >= 0).all()


@UNHURRIED
@given(plants(), st.data())
def test_export_leaves_at_the_mix_only_when_the_roof_is_used_up(graph: PlantGraph, data: st.DataObject) -> None:
    hours = {meter: [data.draw(amounts) for _ in range(4)] for meter in graph.meters}
    traced = trace(graph, flows := hour_flows(graph, meter_hours(graph, hours), HOUR), {}, HOUR)
    alone = {group.pools[0] for group in graph.groups if not group.is_cyclic and group.window == "hour"}
    for edge in graph.edges:
        if edge.taker_kind != "export" or edge.giver not in alone or graph.pools[edge.giver].kind == "converting":
            continue
        roofs = {e.giver for e in graph.inflows[edge.giver] if e.giver_kind == "source"} & {"pv", "wind"}
        made = [traced.rows.index((roof, HOUR)) for roof in sorted(roofs)]
        others = [e.index for e in graph.outflows[edge.giver] if e.index != edge.index]
        exported = traced.parcels.amount[edge.index].sum(axis=1)
        mixed = [row for row, (source, _) in enumerate(traced.rows) if source in ("gas", "grid") and exported[row]]
        if mixed and flows.amount[others].any():
            assert not traced.parcels.amount[others][:, made].any()


@UNHURRIED
@given(st.lists(amounts, min_size=2, max_size=2), st.lists(amounts, min_size=2, max_size=2))
def test_what_a_converter_made_leaves_at_its_mix_with_or_without_a_header_behind_it(
    entered: list[int], left: list[int]
) -> None:
    """PV and grid in a compressor: neither kWh compared with Nm3 nor a pipe more decides what an export carries."""
    inputs = {"m-grid": [entered[0]], "m-pv": [entered[1]], "m-air": [sum(left)], "m-out": [left[0]], "m-u1": [left[1]]}
    exported = []
    for behind in ("comp", "air"):
        flows = [
            ("grid", "comp", "m-grid"),
            ("pv", "comp", "m-pv"),
            (behind, "export", "m-out"),
            (behind, "u1", "m-u1"),
        ]
        pools = {"comp": "compressor"}
        if behind == "air":
            flows.append(("comp", "air", "m-air"))
            pools["air"] = "conserving hour"
        graph = make_graph(
            flows,
            pools=pools,
            sources={"grid": "grid", "pv": "on_site"},
            units={"comp": "Nm3", "air": "Nm3"},
            work_units=["u1"],
            bucket_s=3600,
        )
        traced = trace(graph, hour_flows(graph, meter_hours(graph, inputs), HOUR), {}, HOUR)
        exported.append(traced.parcels.amount[2, :, 0].tolist())
    assert exported[0] == exported[1]


@UNHURRIED
@given(st.lists(amounts, min_size=3, max_size=3), amounts)
def test_a_roof_told_as_two_exports_the_same(entered: list[int], out: int) -> None:
    """Which of two on-site sources leaves first must not depend on what they are called."""
    grid, one, two = entered
    use = max(0, grid + one + two - out)
    sums = []
    for parts in ({"pv": one + two}, {"a-roof": one, "z-roof": two}):
        graph = make_graph(
            [
                ("grid", "bus", "m-grid"),
                *((roof, "bus", f"m-{roof}") for roof in parts),
                ("bus", "export", "m-out"),
                ("bus", "u1", "m-u1"),
            ],
            pools={"bus": "conserving"},
            sources={"grid": "grid"} | dict.fromkeys(parts, "on_site"),
            work_units=["u1"],
            bucket_s=3600,
        )
        inputs = {"m-grid": [grid], "m-out": [out], "m-u1": [use], **{f"m-{roof}": [n] for roof, n in parts.items()}}
        traced = trace(graph, hour_flows(graph, meter_hours(graph, inputs), HOUR), {}, HOUR)
        export = next(edge.index for edge in graph.edges if edge.taker == "export")
        by_source = {source: int(traced.parcels.amount[export, n].sum()) for n, (source, _) in enumerate(traced.rows)}
        sums.append((by_source.pop("grid"), sum(by_source.values())))
        if len(parts) == 2 and out <= one + two:
            assert abs(by_source["a-roof"] * (one + two) - one * out) <= one + two
    assert sums[0] == sums[1]
