"""`plantprint factors add` on a database: versions of an own factor, seen by list, explain and choose."""

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from plantprint_cli.__main__ import app

pytestmark = pytest.mark.integration


def test_own_factors_get_versions_and_come_before_published_ones(database_url: str, tmp_path: Path) -> None:
    def said(*words: str) -> str:
        done = CliRunner().invoke(app, ["factors", *words, "--database-url", database_url])
        assert done.exit_code == 0, (done.output, done.exception)
        return done.output

    def add(**columns: Any) -> str:
        path = tmp_path / "factor.json"
        body = {"factor_id": "own.grid", "unit": "kWh", "source": "supplier's letter", **columns}
        path.write_text(json.dumps(body), encoding="utf-8")
        return said("add", str(path))

    asked = {"subject": "electricity.grid", "geography": "CN-ZJ", "purpose": "footprint"}
    assert add(value="0.61", **asked) == "own.grid version 1: 0.61 kg CO2e/kWh\n"
    assert add(value="0.6", **asked) == "own.grid version 2: 0.6 kg CO2e/kWh\n"
    (row,) = json.loads(said("list", "own.grid", "--json"))
    assert (row["version"], row["value"], row["own"]) == (2, "0.6", True)
    assert [one["value"] for one in json.loads(said("explain", "own.grid", "--json"))["versions"]] == ["0.61", "0.6"]
    chosen = json.loads(said("choose", "electricity.grid", "--unit", "kWh", "--geography", "CN-ZJ", "--json"))
    assert (chosen["factor"], chosen["version"]) == ("own.grid", 2)
