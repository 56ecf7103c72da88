"""Random plants for the oracle: those of the other tests without stores, and denser ones with cycles and rests."""

from typing import Any

from accounting_cases import make_graph
from hypothesis import strategies as st
from random_plants import RULES, SOURCES, WORK_UNITS, plants

from plantprint.plant.graph import PlantGraph


def base_plants() -> st.SearchStrategy[PlantGraph]:
    chains = st.sampled_from([900, 900, 300, 3600]).flatmap(lambda bucket_s: plants(bucket_s=bucket_s, stores=False))
    return st.one_of(chains, rings())


@st.composite
def rings(draw: st.DrawFn) -> PlantGraph:
    """Two to four pools of which any may feed any other, roofs on any, exports of any; one rest at the end of a chain."""
    names = [f"p{n + 1}" for n in range(draw(st.integers(2, 4)))]
    among, sources, pools = st.booleans(), st.sampled_from(sorted(SOURCES)), st.sampled_from(names)
    ends = st.sampled_from([*WORK_UNITS, "losses"])
    pairs = {(giver, taker) for giver in names for taker in names if giver != taker and draw(among)}
    pairs |= {(draw(sources), name) for name in names}
    pairs |= {("pv", draw(pools))}
    pairs |= {(name, draw(ends)) for name in names}
    if draw(among):
        pairs |= {(draw(pools), "export")}
    kinds = {name: draw(st.sampled_from(["conserving", "conserving", "converting"])) for name in names}
    flows: list[tuple[str, str, str, int]] = [(giver, taker, f"m-{giver}-{taker}", 1) for giver, taker in sorted(pairs)]
    if draw(among):
        flows += [(names[0], "bay", "m-bay", 1), *(("bay", u, "rest", draw(st.integers(1, 3))) for u in WORK_UNITS[1:])]
        flows += [("bay", "unmetered", "rest", 5)]
        if draw(among):
            flows += [("bay", "u1", "m-bay-u1", 1)]
        kinds["bay"] = "conserving"
    windows = {name: draw(st.sampled_from(["", " bucket", " hour"])) for name in kinds}
    more: dict[Any, dict[str, Any]] = {}
    losses = [(giver, taker) for giver, taker, _, _ in flows if taker == "losses"]
    for pair in losses:
        others = [taker for giver, taker, _, _ in flows if giver == pair[0] and taker in WORK_UNITS]
        if draw(among) and others:
            more[pair] = {"disposition": "consumers"}
    return make_graph(
        flows,
        pools={name: kind + windows[name] for name, kind in kinds.items()},
        sources=SOURCES,
        work_units=WORK_UNITS,
        rules=RULES,
        bucket_s=draw(st.sampled_from([900, 1800])),
        more=more,
    )
