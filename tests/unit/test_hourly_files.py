"""Files of hourly grid intensity beside plant.yaml: read with it, and everything wrong with them told at its line."""

from pathlib import Path

import pytest
import yaml
from ledger_rig import mill
from typer.testing import CliRunner

from plantprint.hourly_files import load_site
from plantprint.plant.check import PlantError
from plantprint.times import HOUR_MS, parse_instant
from plantprint_cli.__main__ import app

HEAD = "datetime_utc,zone,ci_direct_g_per_kwh,ci_lifecycle_g_per_kwh,estimated\n"
ROWS = "2026-01-01 00:00:00,CN-ZJ,500,600,0\n2026-01-01 01:00:00,CN-ZJ,510,610,0\n"


def plant(source: int = 0, purpose: str = "inventory", file: str = "grid.csv") -> str:
    body = mill()
    body["sources"][source]["hourly"] = {"file": file, "purpose": purpose}
    return yaml.safe_dump(body, sort_keys=False)


def line_of(text: str, part: str) -> int:
    return next(number for number, line in enumerate(text.splitlines(), start=1) if part in line)


def wrong(text: str, files: dict[str, str]) -> list[str]:
    def read(name: str) -> str:
        if name not in files:
            raise FileNotFoundError(2, "No such file or directory")
        return files[name]

    try:
        found = load_site(text, "plant.yaml", read)
    except PlantError as error:
        return str(error).splitlines()
    return [f"{one.severity} {one.line}: {one.path}: {one.message}" for one in found.warnings if "hourly" in one.path]


def test_a_plant_comes_with_the_hours_of_its_files() -> None:
    found = load_site(plant(), "plant.yaml", {"grid.csv": HEAD + ROWS}.__getitem__)
    series = found.series["grid.csv"]
    assert (series.factor_id, series.geography, series.source, series.purpose) == (
        "grid.csv",
        "CN-ZJ",
        "grid.csv",
        "inventory",
    )
    assert sorted(series.hours) == [parse_instant("2026-01-01T00:00:00Z") + n * HOUR_MS for n in range(2)]
    assert not wrong(plant(), {"grid.csv": HEAD + ROWS})


@pytest.mark.parametrize(
    ("text", "files", "complaint"),
    [
        (
            plant(),
            {},
            "sources.0.hourly.file: grid.csv cannot be read: [Errno 2] No such file or directory; put it there",
        ),
        (
            plant(),
            {"grid.csv": HEAD + ROWS + "2026-01-01 02:00:00,CN-ZJ,x,600,0\n"},
            "sources.0.hourly.file: grid.csv:4: ci_direct_g_per_kwh 'x' is no number; correct the file",
        ),
        (plant(source=1), {"grid.csv": HEAD + ROWS}, "sources.1.hourly: an intensity is per kWh, and Nm3 cannot be"),
        (plant(file="../grid.csv"), {}, "sources.0.hourly.file: string should match pattern"),
        (plant(purpose="both"), {}, "sources.0.hourly.purpose: input should be 'footprint' or 'inventory', not 'both'"),
    ],
)
def test_what_cannot_be_used_is_an_error_at_its_line(text: str, files: dict[str, str], complaint: str) -> None:
    (found,) = wrong(text, files)
    assert complaint in found
    place = complaint.split(":", maxsplit=1)[0].rsplit(".", 1)[-1]
    assert found.startswith(f"plant.yaml:{line_of(text, place + ':')}:")


def test_all_lines_of_a_file_are_told() -> None:
    found = wrong(plant(), {"grid.csv": HEAD + "a,b,1,1,0\n" + ROWS + "c,CN-ZJ,1,1,0\n"})
    assert [line.split("grid.csv:")[1][:2] for line in found] == ["2:", "5:"]


def test_holes_and_a_stand_in_for_another_purpose_are_warnings() -> None:
    late = "2026-01-01 05:00:00,CN-ZJ,500,600,0\n"
    (hole,) = wrong(plant(), {"grid.csv": HEAD + ROWS + late})
    assert hole.startswith("warning")
    assert "grid.csv lacks 3 hours from 2026-01-01T02:00:00Z, for which the source's factor stands in" in hole
    (other,) = wrong(plant(purpose="footprint"), {"grid.csv": HEAD + ROWS})
    assert "cn.grid.2023.zhejiang serves the inventory, not the footprint" in other


def test_model_check_says_what_is_wrong_and_what_is_there(tmp_path: Path) -> None:
    path = tmp_path / "plant.yaml"
    path.write_text(plant(), encoding="utf-8")
    (tmp_path / "grid.csv").write_text(HEAD + ROWS, encoding="utf-8")
    done = CliRunner().invoke(app, ["model", "check", str(path)])
    assert (done.exit_code, done.stdout.splitlines()[1]) == (0, "grid.csv: good; 2 hours, zone CN-ZJ")
    (tmp_path / "grid.csv").write_text(HEAD + ROWS.replace("510", "-1"), encoding="utf-8")
    done = CliRunner().invoke(app, ["model", "check", str(path)])
    assert done.exit_code != 0
