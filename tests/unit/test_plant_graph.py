"""The compiled plant: edges, groups upstream first, and mix windows."""

from accounting_cases import make_graph
from hypothesis import given, settings
from hypothesis import strategies as st

from plantprint.plant.graph import Edge, Group, Place, PlantGraph


def order_of(graph: PlantGraph) -> dict[str, int]:
    return {pool: number for number, group in enumerate(graph.groups) for pool in group.pools}


def test_edges_keep_the_order_of_the_file_and_know_their_ends() -> None:
    graph = make_graph(
        [("grid", "bus", "in"), ("bus", "u1", "a + b"), ("bus", "export", "out"), ("bus", "unmetered", "rest", 3)],
        pools={"bus": "conserving"},
        work_units=["u1"],
        bucket_s=60,
    )
    assert graph.edges[1] == Edge(1, "bus", "pool", "u1", "work_unit", ((1, "a"), (1, "b")), 1)
    assert graph.edges[3].is_rest
    assert graph.edges[3].weight == 3
    assert [edge.taker for edge in graph.outflows["bus"]] == ["u1", "export", "unmetered"]
    assert [edge.giver for edge in graph.inflows["u1"]] == ["bus"]
    assert graph.outflows["u1"] == ()
    assert graph.work_units == {"u1": Place("u1", "line-u1", "")}
    assert graph.buckets == 60


def test_groups_come_upstream_first_and_share_their_longest_window() -> None:
    graph = make_graph(
        [
            ("grid", "bus", "in"),
            ("bus", "chp", "to-chp"),
            ("chp", "bus", "from-chp"),
            ("bus", "air", "compressor"),
            ("air", "u1", "air-u1"),
            ("bus", "u1", "u1"),
        ],
        pools={"air": "converting", "chp": "converting", "bus": "conserving"},
        work_units=["u1"],
    )
    assert graph.groups == (Group(("bus", "chp"), "hour"), Group(("air",), "hour"))
    assert [group.is_cyclic for group in graph.groups] == [True, False]
    assert graph.windows == {"bus": "hour", "chp": "hour", "air": "hour"}


def test_window_is_a_bucket_where_nothing_converts_or_is_left() -> None:
    flows = [("grid", "b1", "in"), ("b1", "b2", "mid"), ("b2", "u1", "a"), ("b2", "losses", "rest")]
    graph = make_graph(flows, pools={"b1": "conserving", "b2": "conserving"}, work_units=["u1"])
    assert graph.windows == {"b1": "bucket", "b2": "hour"}
    graph = make_graph(flows, pools={"b1": "conserving hour", "b2": "conserving bucket"}, work_units=["u1"])
    assert graph.windows == {"b1": "hour", "b2": "bucket"}


@given(st.sets(st.tuples(st.integers(0, 6), st.integers(0, 6)), max_size=14))
@settings(max_examples=80)
def test_groups_are_strongly_connected_and_in_order(links: set[tuple[int, int]]) -> None:
    pools = {f"p{n}": "conserving" for n in range(7)}
    flows = [("grid", pool, f"in-{pool}") for pool in pools] + [(pool, "u1", f"out-{pool}") for pool in pools]
    between = [(f"p{a}", f"p{b}") for a, b in sorted(links) if a != b]
    graph = make_graph(flows + [(a, b, f"{a}-{b}") for a, b in between], pools=pools, work_units=["u1"])

    reach = {pool: {pool} for pool in pools}
    for _ in pools:
        for a, b in between:
            for found in reach.values():
                if a in found:
                    found.add(b)
    place = order_of(graph)
    assert place.keys() == pools.keys()
    for a in pools:
        for b in pools:
            assert (place[a] == place[b]) == (b in reach[a] and a in reach[b])
            if b in reach[a]:
                assert place[a] <= place[b]
