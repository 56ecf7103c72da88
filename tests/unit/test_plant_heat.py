"""Steam and condensate in a plant file: every block that cannot work has its line, its reason and a remedy."""

import json
import sys
from typing import Any

import pytest

from plantprint.balance import explained
from plantprint.explain import explain_accounts
from plantprint.ledger import PostingKey
from plantprint.plant.check import check_plant
from plantprint.plant.graph import compile_plant
from plantprint.plant.load import inspect_plant, load_plant, plant_json_schema
from plantprint.plant.model import Plant
from plantprint_cli import model_show

PLANT = """\
plantprint: 1
site: {id: mill, name: {en: Mill}}
bucket_s: 60
work_centers:
  - {id: line, name: {en: Line}, work_units: [{id: u1, name: {en: Unit 1}}]}
sources:
  - {id: heat, name: {en: Purchased steam}, unit: GJ, kind: purchased, factor: cn.heat.default, scope: 2}
meters:
  - id: steam
    name: {en: Steam}
    unit: GJ
    steam: {}
    bindings:
      - {channel: gw/t, pressure: gw/mpa, temperature: gw/degc}
  - id: back
    name: {en: Condensate}
    unit: GJ
    condensate: {}
    bindings:
      - {channel: gw/back, temperature: gw/back-degc}
flows:
  - {from: heat, to: u1, amount: steam - back}
"""
STEAM, BACK = "steam: {}", "condensate: {}"
READS, BACK_READS = ", pressure: gw/mpa, temperature: gw/degc", ", temperature: gw/back-degc"


def changed(*changes: tuple[str, str]) -> str:
    text = PLANT
    for old, new in changes:
        assert text.count(old) == 1
        text = text.replace(old, new)
    return text


@pytest.mark.parametrize(
    "changes",
    [
        (),
        ((READS, ""), (STEAM, "steam: {pressure: 0.7}")),
        ((READS, ""), (STEAM, "steam: {pressure: 0.6, pressure_is: gauge, dryness: 0.97}")),
        ((READS, ", pressure: gw/mpa"), (STEAM, "steam: {temperature: 200, mass_unit: kg}")),
        ((BACK_READS, ""), (BACK, "condensate: {temperature: 90}")),
    ],
)
def test_what_can_work_is_accepted(changes: tuple[tuple[str, str], ...]) -> None:
    _, issues = inspect_plant(changed(*changes))
    assert issues == ()


@pytest.mark.parametrize(
    ("changes", "line", "path", "message"),
    [
        (((STEAM, "steam: {dryness: 0.97}"),), 12, "meters.0.steam.dryness", "a dryness and a temperature"),
        (((READS, ""), (STEAM, "steam: {pressure: 0.7, temperature: 200, dryness: 0.9}")), 12, "meters.0.steam.dryness", "a dry"),
        (((STEAM, "steam: {pressure: 0.7}"),), 12, "meters.0.steam.pressure", "is fixed at 0.7 and read from a channel"),
        (((READS, ", temperature: gw/degc"),), 12, "meters.0.steam", "nothing says the pressure of meter 'steam'"),
        (((BACK_READS, ""),), 18, "meters.1.condensate", "nothing says the temperature of meter 'back'"),
        (((BACK_READS, ", pressure: gw/mpa, temperature: gw/d"),), 20, "meters.1.bindings.0.pressure", "needs no pressure"),
        (((READS, ""), (STEAM, "steam: {pressure: 0.7, temperature: 120}")), 12, "meters.0.steam.pressure", "is water"),
        (((READS, ""), (STEAM, "steam: {pressure: 30}")), 12, "meters.0.steam.pressure", "has no boiling point"),
        (((STEAM, "steam: {}\n    condensate: {}"),), 13, "meters.0.condensate", "steam and condensate"),
        ((("unit: GJ\n    steam", "unit: t\n    steam"),), 11, "meters.0.unit", "which is not counted in t"),
        ((("    steam: {}\n", ""),), 13, "meters.0.bindings.0.pressure", "a pressure says nothing about it"),
        (((READS, ", pressure: gw/t"),), 14, "meters.0.bindings.0.pressure", "gw/t cannot be the pressure of itself"),
        (((READS, ", pressure: gw/p, temperature: gw/p"),), 14, "meters.0.bindings.0.temperature", "gw/p cannot be the temp"),
        (((BACK, "condensate: {base_kj_per_kg: 0}"),), 22, "flows.0.amount", "different water: steam from 83.74 kJ/kg, back"),
        (((STEAM, "steam: {dryness: 1.2}"),), 12, "meters.0.steam.dryness", "less than or equal to 1"),
        (((STEAM, "steam: {presure: 0.7}"),), 12, "meters.0.steam.presure", "not"),
        (((STEAM, "steam: {hold_s: 0}"),), 12, "meters.0.steam.hold_s", "greater than 0"),
    ],
)  # fmt: skip
def test_what_cannot_work_is_said_with_its_line(
    changes: tuple[tuple[str, str], ...], line: int, path: str, message: str
) -> None:
    _, issues = inspect_plant(changed(*changes))
    found = [issue for issue in issues if issue.path == path and message in issue.message]
    assert [issue.line for issue in found] == [line], issues
    assert found[0].remedy


def test_a_gauge_read_under_one_of_two_bindings_and_heat_of_a_level_are_errors() -> None:
    at = "2026-01-01T00:00:00Z"
    one = f"{{channel: gw/t, pressure: gw/mpa, valid_to: '{at}'}}\n      - {{channel: gw/t2, valid_from: '{at}'}}"
    _, issues = inspect_plant(changed(("{channel: gw/t, pressure: gw/mpa, temperature: gw/degc}", one)))
    assert [(i.line, i.path) for i in issues] == [(15, "meters.0.bindings.1")]
    body: dict[str, Any] = load_plant(PLANT, "plant.yaml").model_dump(mode="json", by_alias=True)
    body["stores"] = [{"id": "tank", "name": {"en": "Tank"}, "unit": "GJ", "level": "back"}]
    told = [i.message for i in check_plant(Plant.model_validate(body))]
    assert "meter 'back' tells the level of a store, through which nothing flows" in told


def test_the_schema_knows_the_blocks() -> None:
    schema = plant_json_schema()
    assert schema["$defs"]["Steam"]["properties"].keys() >= {"pressure", "temperature", "dryness", "base_kj_per_kg"}
    assert "hold_s" in schema["$defs"]["Condensate"]["properties"]


def test_the_drawing_and_the_rules_say_whose_heat_it_is() -> None:
    graph = compile_plant(load_plant(PLANT, "plant.yaml"))
    assert model_show.as_json(graph)["flows"][0]["heat"] == {"steam": "steam", "back": "condensate"}
    drawn = json.dumps([str(branch.label) for source in model_show.tree(graph).children for branch in source.children])
    assert "steam - back (steam: heat of steam, back: heat of condensate)" in drawn
    key = PostingKey(0, "batch", "b", "u1", "", "heat", 0, 3)
    (told,) = explain_accounts(graph, {key: 1}).values()
    assert "Steam [steam, heat of its mass above 83.74 kJ/kg] - Condensate [back, heat" in told[0].en


def test_a_coarse_step_of_mass_excuses_as_much_heat_as_it_can_hold() -> None:
    text = changed((STEAM, "steam: {}\n    resolution: 0.1\n    accuracy_class: 1"))
    graph = compile_plant(load_plant(text, "plant.yaml"))
    # 1 % of 10 GJ, 2 % of nothing, and 0.1 t x 4.2 GJ/t.
    assert explained(graph, {"steam": 10_000_000, "back": 0}, graph.edges) == 100_000 + 420_000


def test_a_gateway_without_steam_tables_checks_all_but_fixed_steam(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "plantprint.steam", None)  # as if seuif97 were not installed
    _, issues = inspect_plant(PLANT)
    assert issues == ()
    _, issues = inspect_plant(changed((READS, ""), (STEAM, "steam: {pressure: 30}")))
    assert [(issue.severity, issue.path) for issue in issues] == [("warning", "meters.0.steam.pressure")]
