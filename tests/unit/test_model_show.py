"""The plant graph drawn: every node and flow is in it, in each form and language."""

import json
import re
from pathlib import Path

import pytest
from typer.testing import CliRunner

from plantprint.plant.graph import PlantGraph, compile_plant
from plantprint.plant.load import load_plant
from plantprint_cli import model_show
from plantprint_cli.__main__ import app
from plantprint_simulators.plants import plant_file

PLANT = Path(str(plant_file("dyehouse")))


@pytest.fixture(scope="module")
def graph() -> PlantGraph:
    return compile_plant(load_plant(PLANT.read_text(encoding="utf-8"), str(PLANT)))


def shown(*arguments: str) -> str:
    result = CliRunner().invoke(app, ["model", "show", str(PLANT), *arguments])
    assert result.exit_code == 0, result.output
    return result.output


def test_the_tree_draws_each_flow_once_and_a_pool_s_takers_where_it_comes_first(graph: PlantGraph) -> None:
    text = shown()
    assert len(re.findall(" → ", text)) == len(graph.edges)
    assert text.count("(see above)") == 2
    assert max(len(line) for line in text.splitlines()) > 120  # a file is not cut at a terminal's width
    for unit in graph.work_units:
        assert f"({unit})" in text


def test_chinese_names_are_used_where_there_are_some() -> None:
    assert "低压母线 (bus)" in shown("--lang", "zh")
    assert "未计量" in shown("--lang", "zh")


def test_json_holds_every_node_and_flow(graph: PlantGraph) -> None:
    body = json.loads(shown("--json"))
    assert {node["id"] for node in body["nodes"]} == {
        *graph.sources,
        *graph.pools,
        *graph.stores,
        *graph.work_units,
    }
    assert [(f["from"], f["to"]) for f in body["flows"]] == [(e.giver, e.taker) for e in graph.edges]
    assert body["flows"][0]["meters"] == ["incomer"]
    assert body["cycles"] == []


@pytest.mark.parametrize(("form", "arrow"), [("mermaid", "-->"), ("dot", "->")])
def test_drawings_for_documents_hold_every_flow(graph: PlantGraph, form: str, arrow: str) -> None:
    text = shown("--format", form)
    assert text.count(f" {arrow}") == len(graph.edges)
    assert text.count("{") == text.count("}")


def test_a_quote_in_a_name_breaks_no_drawing(graph: PlantGraph) -> None:
    source = graph.plant.sources[0]
    named = source.model_copy(update={"name": source.name.model_copy(update={"en": 'the "main" grid'})})
    plant = graph.plant.model_copy(update={"sources": (named, *graph.plant.sources[1:])})
    assert '"the #quot;main#quot; grid"' in model_show.drawing(compile_plant(plant), "mermaid")
    assert r'label="the \"main\" grid"' in model_show.drawing(compile_plant(plant), "dot")
