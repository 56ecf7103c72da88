"""Two product footprints as activities: everything in them is in the comparison, whatever left on the way."""

from fractions import Fraction

import pytest
from product_cases import EVENTS, NETS, event, posting, product, valuing

from plantprint.compare import compare
from plantprint.explain import explain_comparison, meters_of
from plantprint.plant.graph import compile_plant
from plantprint.product_compare import side_of

LESS = {**NETS, "B": posting("B", "grid", "6") | posting("B", "gas", "2")}
REWORK = (
    event("9", "output", 32, batch="B", kind="rework", quantity=5),
    event("10", "output", 2, batch="B", kind="co-product", quantity=10, unit="kg", as_lot="RAGS"),
)


def test_the_difference_is_told_by_step_and_source_and_adds_up() -> None:
    before, after = product(), product(nets=LESS)
    found = compare(side_of(before, NETS["B"]), side_of(after, LESS["B"]))
    assert found.before == Fraction(before.kg, 10**18) / 95
    assert found.difference == Fraction(after.kg - before.kg, 10**18) / 95
    assert {(effect.step, effect.source) for effect in found.effects if effect.total} == {("dyeing", "grid")}
    assert found.by_cause()["activity"] == found.difference


def test_another_dyestuff_in_the_place_of_one_goes_and_comes() -> None:
    other = event("l", "lot", lot="DYE-9", quantity=50, unit="kg", pcf_kg_co2e="5")
    used = event("2", "material_use", 5, 1, batch="B", lot="DYE-9", quantity=5, unit="kg", step="dyeing")
    before, after = product(), product(events=(*EVENTS, other, used))
    found = compare(side_of(before, NETS["B"]), side_of(after, NETS["B"]))
    assert found.difference == Fraction(-17, 95)
    moved = {effect.source for effect in found.effects if effect.total}
    assert moved == {"dye", "DYE-9"}
    assert found.by_cause()["activity"] == found.difference
    words = explain_comparison(compile_plant(valuing().plant), found)
    assert "Dyestuff" in words[1].en or "Dyestuff" in words[2].en


def test_another_lot_of_one_material_is_another_factor() -> None:
    other = event("l", "lot", lot="DYE-9", material="dye", quantity=50, unit="kg", pcf_kg_co2e="5")
    used = event("2", "material_use", 5, 1, batch="B", lot="DYE-9", quantity=5, unit="kg", step="dyeing")
    before, after = product(), product(events=(*EVENTS, other, used))
    found = compare(side_of(before, NETS["B"]), side_of(after, NETS["B"]))
    assert found.by_cause() == {"activity": 0, "mix": 0, "factor": Fraction(-17, 95)}
    assert {effect.source for effect in found.effects if effect.total} == {"dye"}


@pytest.mark.parametrize("extra", [REWORK[:1], REWORK[1:], REWORK])
def test_what_rework_and_co_products_take_is_in_no_side(extra: tuple[object, ...]) -> None:
    one = product(events=(*EVENTS, *extra))
    side = side_of(one, NETS["B"])
    assert sum(sum(part.emission.values()) for part in side.activities) == one.kg


def test_meters_behind_a_figure_come_nearest_first() -> None:
    graph = compile_plant(valuing().plant)
    assert meters_of(graph, ["u"], ["grid"]) == ("m",)
    assert meters_of(graph, ["u", "unknown"], ["gas"]) == ()
