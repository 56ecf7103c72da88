"""Whatever events say of lots, something comes of it: issues, and lines that add up; never an exception."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from product_cases import posting, product

from plantprint.ancestry import EventIndex
from plantprint.facts import ProductionEvent
from plantprint.lots import Vector, add
from plantprint.material_events import KINDS
from plantprint.product_json import product_json
from plantprint.product_lines import CO2E, of_measure

NAMES = ("a", "b", "c", "d")
numbers = st.one_of(
    st.integers(-3, 40), st.sampled_from(["7.5", "", "x", "1e400", "NaN"]), st.none(), st.floats(-5, 50)
)
names = st.one_of(st.sampled_from(NAMES), st.sampled_from(["", " a "]), st.none(), st.integers(0, 2))
bodies = st.fixed_dictionaries(
    {"quantity": numbers},
    optional={
        "batch": names, "lot": names, "as_lot": names, "material": st.sampled_from(["salt", "dye", "gold", ""]),
        "kind": st.sampled_from(["good", "rework", "co-product", "purchased", "opening", "return", "made", ""]),
        "unit": st.sampled_from(["kg", "t", "kWh", "", "bolt"]), "pcf_kg_co2e": numbers, "primary_share": numbers,
        "pcf_fossil_kg_co2e": numbers, "unit_price": numbers, "physical": numbers, "displaced_kg_co2e": numbers,
        "technological_dqr": numbers, "event_id": st.sampled_from(["0", "1", "2"]), "step": st.just("dyeing"),
    },
)  # fmt: skip
events = st.builds(
    ProductionEvent,
    st.just("mes"),
    st.sampled_from([str(number) for number in range(8)]),
    st.integers(0, 1),
    st.sampled_from(sorted([*KINDS, "withdraw"])),
    st.integers(0, 50),
    bodies,
)


@given(st.lists(events, max_size=14))
def test_any_events_give_a_footprint_whose_parts_add_up(several: list[ProductionEvent]) -> None:
    nets: dict[str, Any] = {"a": posting("a", "grid", "10"), "b": posting("b", "gas", "2")}
    for lot in NAMES[:2]:
        found = product(lot, several, nets)
        both: dict[Any, int] = dict(found.own)
        add(both, found.upstream)
        assert _nonzero(both) == _nonzero(found.total)
        assert sum(of_measure(found.total, CO2E).values()) == found.kg
        assert product_json(found)["incomplete"] == bool(found.reasons)


@given(st.lists(events, max_size=14), st.randoms(use_true_random=False))
def test_an_index_finds_the_same_in_any_order(several: list[ProductionEvent], shuffler: Any) -> None:
    distinct = list({(e.source, e.event_id, e.revision): e for e in several}.values())
    one, other = EventIndex(), EventIndex()
    one.add(distinct)
    shuffled = list(distinct)
    shuffler.shuffle(shuffled)
    for event in shuffled:
        other.add([event])
    for lot in NAMES:
        assert (one.givers(lot), one.takers(lot), one.loop_of(lot)) == (
            other.givers(lot), other.takers(lot), other.loop_of(lot),
        )  # fmt: skip


def _nonzero(lines: Vector) -> dict[Any, int]:
    return {key: kg for key, kg in lines.items() if kg}
