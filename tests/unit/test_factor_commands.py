"""The factor commands as somebody types them on a fresh install, mistakes included."""

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from plantprint.factors import FactorError
from plantprint_cli.__main__ import app
from plantprint_cli.errors import CommandError

RUN = CliRunner()


def said(*words: str) -> str:
    done = RUN.invoke(app, ["factors", *words])
    assert done.exit_code == 0, (done.output, done.exception)
    return done.output


def wrong(*words: str) -> str:
    """What a mistake is answered with: the text of the error, or of the usage."""
    done = RUN.invoke(app, ["factors", *words])
    assert done.exit_code != 0
    if isinstance(done.exception, CommandError | FactorError):
        return str(done.exception)
    assert isinstance(done.exception, SystemExit), done.exception
    return " ".join(done.output.replace("│", " ").split())


def table(tmp_path: Path, rows: str) -> str:
    path = tmp_path / "table.csv"
    path.write_text(rows, encoding="utf-8")
    return str(path)


def test_list_finds_by_name_place_and_purpose_and_marks_what_expired() -> None:
    lines = said("list", "zhejiang", "--geography", "CN-ZJ").splitlines()
    assert [line.split()[0] for line in lines] == [f"cn.grid.{year}.zhejiang" for year in (2021, 2022, 2023)]
    assert [line.endswith("expired") for line in lines] == [True, True, False]
    rows = json.loads(said("list", "cn.grid", "--purpose", "footprint", "--json"))
    assert {row["purpose"] for row in rows} <= {"footprint", "any"}
    assert "no factor fits" in said("list", "nothing-such")


def test_list_tells_what_ends_soon_and_nothing_follows() -> None:
    every = [line.split()[0] for line in said("list").splitlines()]
    soon = said("list", "--expires-within", "36500d").splitlines()
    ends = {row["factor"]: row["valid_to"] for row in json.loads(said("list", "--expires-within", "36500d", "--json"))}
    assert 0 < len(soon) < len(every)
    assert all(ends.values())
    assert all(line.endswith(("expired", f"ends {ends[line.split()[0]]}")) for line in soon)
    over = {row["factor"] for row in json.loads(said("list", "--expires-within", "0d", "--json"))}
    assert "uk2025.electricity" in over < ends.keys() | {""}
    assert "no duration" in wrong("list", "--expires-within", "soon")


def test_explain_prints_every_column_and_version() -> None:
    text = said("explain", "cn.grid.2023.zhejiang")
    assert "value            0.4974\n" in text
    assert "versions         version 1, value 0.4974, known_from 2025-12-31" in text
    assert json.loads(said("explain", "cn.grid.2023.zhejiang", "--json"))["factor_id"] == "cn.grid.2023.zhejiang"


def test_choose_shows_each_step() -> None:
    text = said("choose", "electricity.grid", "--unit", "kWh", "--geography", "CN-ZJ", "--at", "2026-03-01T00:00:00Z")
    steps = [line.split(maxsplit=1)[1] for line in text.splitlines() if line.startswith("steps")]
    assert steps[:2] == ["CN-ZJ: none", "CN-grid-east: none"]
    assert steps[2].startswith("CN: cn.gridfp.2024.average")
    inventory = ("--purpose", "inventory", "--at", "2024-03-01T00:00:00Z", "--json")
    chosen = json.loads(said("choose", "electricity.grid", "--unit", "kWh", "--geography", "CN-ZJ", *inventory))
    assert chosen["factor"] == "cn.grid.2023.zhejiang"


def test_diff_tells_what_came_went_and_changed(tmp_path: Path) -> None:
    head = (
        "factor_id,version,name,name_zh,value,unit,gases,co2_fossil_kg,co2_biogenic_kg,ch4_kg,n2o_kg,gwp_set,geography,"
    )
    head += "data_year,published_on,valid_from,valid_to,stage,basis,source,source_table,verification,notes\n"
    row = "f,1,F,,{value},kWh,CO2e,,,,,AR5,GLO,,,,,,published,doc,,,\n"
    old = table(tmp_path, head + row.format(value="0.5") + row.format(value="1").replace("f,1", "gone,1"))
    new = tmp_path / "new.csv"
    new.write_text(head + row.format(value="0.4") + row.format(value="1").replace("f,1", "came,1"), encoding="utf-8")
    words = [line.split()[:2] for line in said("diff", old, str(new)).splitlines()]
    assert words == [["added", "came"], ["removed", "gone"], ["changed", "f"]]
    assert "0.5 → 0.4 (-20 %)" in said("diff", old, str(new))


MISTAKES: list[tuple[tuple[str, ...], str]] = [
    (("list", "--purpose", "foot"), "'--purpose'"),
    (("explain", "cn.grid.2023.zheijang"), "did you mean cn.grid.2023.zhejiang?"),
    (("choose", "electricity.grid", "--unit", "kwh", "--geography", "CN"), "--unit: 'kwh' is not a known unit"),
    (
        ("choose", "electricity.grid", "--unit", "kWh", "--geography", "CN", "--at", "monday"),
        "--at: 'monday' is not an RFC 3339 time",
    ),
    (
        ("choose", "electricity.gird", "--unit", "kWh", "--geography", "CN"),
        "factor-missing: no factor for electricity.gird",
    ),
    (("choose", "electricity.grid", "--unit", "kWh"), "Missing option '--geography'"),
    (("add", "nowhere.json", "--database-url", "x"), "does not exist"),
]


@pytest.mark.parametrize(("words", "message"), MISTAKES, ids=[" ".join(words) for words, _ in MISTAKES])
def test_a_mistake_is_answered_in_words(words: tuple[str, ...], message: str) -> None:
    assert message in wrong(*words)


FACTOR: dict[str, Any] = {"factor_id": "own.steam", "value": "0.3", "unit": "kg", "source": "letter"}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", ":1: Expecting property name"),
        ("[1]", "one factor is an object of its columns"),
        (json.dumps({**FACTOR, "source": ""}), "a factor needs source"),
        (json.dumps({**FACTOR, "unti": "kg"}), "a factor has no unti; did you mean unit?"),
        (json.dumps({**FACTOR, "unit": "barrel"}), "a known unit, not 'barrel'"),
        (json.dumps({**FACTOR, "value": "much"}), "own.steam: Invalid decimal string"),
        (json.dumps({**FACTOR, "parts": "generation:0.1"}), "do not add up to its value"),
        (json.dumps({**FACTOR, "valid_to": "soon"}), "has a date 'soon'"),
        (json.dumps({**FACTOR, "kind": "mean"}), "own.steam: Invalid enum value 'mean'"),
    ],
)
def test_an_own_factor_that_cannot_be_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, message: str
) -> None:
    monkeypatch.setattr("plantprint_cli.factor_commands.library", lambda _: [])
    path = tmp_path / "factor.json"
    path.write_text(text, encoding="utf-8")
    assert message in wrong("add", str(path), "--database-url", "unused")


def test_another_file_is_no_table_of_factors(tmp_path: Path) -> None:
    assert "this is no table of factors" in wrong("diff", table(tmp_path, "a,b\n1,2\n"))
