"""The generated Grafana files: up to date, complete, and within the house rules for boards."""

import ast
import itertools
import json
import re
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest
import yaml
from grafana_foundation_sdk.cog.encoder import JSONEncoder

from plantprint_dashboards import build, check, queries
from plantprint_dashboards.builders import DATASOURCE_TYPE, DATASOURCE_UID, TAG
from plantprint_dashboards.provisioning import BOARDS_PATH

ROOT = Path(__file__).resolve().parents[2]
GRAFANA = ROOT / "dashboards" / "grafana"
BOARDS = sorted((GRAFANA / "dashboards").glob("*.json"))
CORE_PANELS = {"stat", "bargauge", "timeseries", "table"}
SOURCE = {"type": DATASOURCE_TYPE, "uid": "${datasource}"}
PANELS = [
    pytest.param(board, panel, id=f"{board.stem}: {panel['title']}")
    for board in BOARDS
    for panel in json.loads(board.read_text())["panels"]
]


def _by_sql() -> dict[str, Any]:
    return {query.sql: query for query in queries()}


def _sql_in(board: dict[str, Any]) -> list[str]:
    targets = [target for panel in board["panels"] for target in panel["targets"]]
    targets += [each["target"] for each in board["annotations"]["list"]]
    listed = [each["query"] for each in board["templating"]["list"] if each["type"] == "query"]
    return [target["rawSql"] for target in targets] + listed


def test_the_committed_files_are_what_the_builders_write() -> None:
    assert check(GRAFANA) == [], "run `plantprint dashboards build --out dashboards/grafana`"


def test_building_again_changes_nothing(tmp_path: Path) -> None:
    first = build(tmp_path)
    before = {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in first}
    assert build(tmp_path) == first
    assert {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in first} == before


def test_check_names_every_kind_of_difference(tmp_path: Path) -> None:
    paths = build(tmp_path)
    assert check(tmp_path) == []
    paths[0].write_text("{}")
    paths[1].unlink()
    (tmp_path / "dashboards" / "old.json").write_text("{}")
    complaints = check(tmp_path)
    assert [line.rsplit(": ", 1)[1] for line in complaints] == [
        "missing",
        "nothing generates this file",
        "not up to date",
    ]
    assert all(line.startswith(str(tmp_path)) for line in complaints)


@pytest.mark.parametrize("path", BOARDS, ids=lambda path: path.stem)
def test_a_board_is_addressable_and_polite(path: Path) -> None:
    board = json.loads(path.read_text())
    assert re.fullmatch(r"plantprint-[a-z0-9-]{1,29}", board["uid"])
    assert board["title"]
    assert board["description"]
    assert board["tags"] == [TAG]
    assert [link["tags"] for link in board["links"]] == [[TAG]]
    assert board["editable"] is False
    assert int(re.fullmatch(r"(\d+)s", board["refresh"])[1]) >= 5  # type: ignore[index]
    assert board["time"] == {"from": "now-24h", "to": "now"}
    assert len(board["panels"]) <= 12


@pytest.mark.parametrize("path", BOARDS, ids=lambda path: path.stem)
def test_the_sdk_knows_every_key_of_a_board(path: Path) -> None:
    """Its decoder drops unknown keys, so what survives a round trip is what the schema has."""
    from grafana_foundation_sdk.models.dashboard import Dashboard

    board = json.loads(path.read_text())
    assert json.loads(json.dumps(Dashboard.from_json(board), cls=JSONEncoder)) == board


@pytest.mark.parametrize("path", BOARDS, ids=lambda path: path.stem)
def test_ids_are_unique_and_panels_do_not_overlap(path: Path) -> None:
    panels = json.loads(path.read_text())["panels"]
    ids = [panel["id"] for panel in panels]
    assert len(set(ids)) == len(ids)
    for one, other in itertools.combinations([panel["gridPos"] for panel in panels], 2):
        apart_x = one["x"] + one["w"] <= other["x"] or other["x"] + other["w"] <= one["x"]
        apart_y = one["y"] + one["h"] <= other["y"] or other["y"] + other["h"] <= one["y"]
        assert apart_x or apart_y


@pytest.mark.parametrize("path", BOARDS, ids=lambda path: path.stem)
def test_variables_choose_the_data_source_site_and_lines(path: Path) -> None:
    variables = {each["name"]: each for each in json.loads(path.read_text())["templating"]["list"]}
    assert list(variables) == ["datasource", "site", "line"]
    assert variables["datasource"]["type"] == "datasource"
    assert variables["datasource"]["query"] == DATASOURCE_TYPE
    assert variables["datasource"]["current"]["value"] == DATASOURCE_UID
    assert (variables["line"]["multi"], variables["line"]["includeAll"]) == (True, True)
    assert variables["line"]["allValue"] == "'*'"
    assert all(variables[name]["datasource"] == SOURCE for name in ("site", "line"))


@pytest.mark.parametrize(("path", "panel"), PANELS)
def test_a_panel_says_what_it_shows(path: Path, panel: dict[str, Any]) -> None:
    defaults = panel["fieldConfig"]["defaults"]
    assert panel["type"] in CORE_PANELS
    assert panel["title"]
    assert re.search(r"Source: report_\w+", panel["description"])
    assert defaults["unit"]
    assert defaults["noValue"]
    assert not re.search(r"suffix: |mass", json.dumps(panel)), "suffix: adds its own space; mass units show Mg"
    assert panel["datasource"] == SOURCE
    assert panel["gridPos"]["x"] + panel["gridPos"]["w"] <= 24
    assert panel["targets"]
    assert len({target["refId"] for target in panel["targets"]}) == len(panel["targets"])
    for target in panel["targets"]:
        assert target["datasource"] == SOURCE
        assert target["format"] == _by_sql()[target["rawSql"]].shape


@pytest.mark.parametrize(("path", "panel"), PANELS)
def test_fields_that_a_panel_names_are_columns_of_its_query(path: Path, panel: dict[str, Any]) -> None:
    columns = {name for target in panel["targets"] for name in _by_sql()[target["rawSql"]].columns}
    matchers = [override["matcher"] for override in panel["fieldConfig"]["overrides"]]
    named = {matcher["options"] for matcher in matchers if matcher["id"] == "byName"}
    for transformation in panel.get("transformations", []):
        named |= {value for key, value in transformation["options"].items() if key.endswith("Field")}
    assert named <= columns
    assert {m["options"] for m in matchers if m["id"] == "byFrameRefID"} <= {t["refId"] for t in panel["targets"]}


def test_queries_lists_exactly_the_sql_of_all_boards() -> None:
    shipped = {sql for path in BOARDS for sql in _sql_in(json.loads(path.read_text()))}
    assert shipped == {query.sql for query in queries()}
    names = [query.name for query in queries()]
    assert len(set(names)) == len(names)


@pytest.mark.parametrize("query", queries(), ids=lambda query: query.name)
def test_a_query_has_no_fixed_time(query: Any) -> None:
    assert not re.search(r"\b20\d\d-", query.sql)


def test_only_one_module_touches_the_sdk() -> None:
    users = []
    for path in sorted((ROOT / "dashboards" / "plantprint_dashboards").glob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            users += [path.name for name in names if name.startswith("grafana_foundation_sdk")]
    assert set(users) == {"builders.py"}


def test_the_sdk_is_the_maintained_line() -> None:
    """Releases with an epoch outrank it, so that anything but an exact pin gets a build for Grafana 10."""
    assert metadata.version("grafana-foundation-sdk").removeprefix("v") == "0.0.21"


def test_provisioning_has_fixed_uids_and_no_secret() -> None:
    sources = yaml.safe_load((GRAFANA / "provisioning" / "datasources" / "plantprint.yaml").read_text())
    (source,) = sources["datasources"]
    assert (source["uid"], source["type"], source["editable"]) == (DATASOURCE_UID, DATASOURCE_TYPE, False)
    settings = [source["url"], source["user"], source["jsonData"]["database"], source["jsonData"]["sslmode"]]
    for value in [*settings, *source["secureJsonData"].values()]:
        assert re.fullmatch(r"\$PLANTPRINT_GRAFANA_DB_[A-Z]+", value)
    boards = yaml.safe_load((GRAFANA / "provisioning" / "dashboards" / "plantprint.yaml").read_text())
    (provider,) = boards["providers"]
    assert (provider["folderUid"], provider["options"]["path"]) == (TAG, BOARDS_PATH)


def test_the_page_explains_every_variable_of_grafana() -> None:
    page = (ROOT / "docs" / "grafana.md").read_text()
    text = (GRAFANA / "provisioning" / "datasources" / "plantprint.yaml").read_text()
    for name in {*re.findall(r"\$(PLANTPRINT_\w+)", text), BOARDS_PATH, DATASOURCE_UID}:
        assert name in page
