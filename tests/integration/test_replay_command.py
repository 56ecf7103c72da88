"""Recorded years through the real path: exact to the last digit, repeatable, and plain about a bad file."""

import csv
import gzip
import json
import subprocess
import sys
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import psycopg
import pytest
from plant_rig import reachable_folder

from plantprint_cli.embedded import EmbeddedPostgres, Instance
from plantprint_simulators.plants import recorded_file

pytestmark = [pytest.mark.integration, pytest.mark.timeout(240)]

STEEL = {
    "site": "steel",
    "sources": [{"id": "grid", "amount": "959636.71", "unit": "kWh"}],
    "emissions_kg_co2e": {"location": "439993.431535"},
}


def replay(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "plantprint_cli", "replay", *arguments, "--json"]
    return subprocess.run(command, capture_output=True, text=True, timeout=200, check=False)


def result(*arguments: str) -> Any:
    done = replay(*arguments)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def ledger(folder: Path) -> list[Any]:
    with Instance.open(folder) as instance, EmbeddedPostgres(instance) as server, psycopg.connect(server.dsn) as conn:
        return [
            conn.execute("select count(*), sum(value) from reading").fetchone(),
            conn.execute("select count(*), sum(amount) from posting").fetchone(),
        ]


def test_a_year_of_steel_is_exact_and_repeating_it_changes_nothing() -> None:
    with reachable_folder() as parent:
        folder = parent / "steel"
        assert result("steel", "--speed", "max", "--instance", str(folder)) == STEEL
        before = ledger(folder)
        assert result("steel", "--speed", "max", "--instance", str(folder)) == STEEL
        assert ledger(folder) == before
        assert before[0][0] == 35_040


def test_rounding_row_by_row_is_the_mistake_not_made() -> None:
    with gzip.open(recorded_file("steel"), "rt", encoding="utf-8-sig") as file:
        rows = list(csv.DictReader(file))
    rounded = sum(Decimal(row["CO2(tCO2)"]) for row in rows)
    exact = sum(Decimal(row["Usage_kWh"]) for row in rows) * Decimal("0.4585")
    assert rounded == Decimal("403.81")
    assert exact == Decimal("439993.431535")


def test_the_pv_site_is_balanced_in_every_interval() -> None:
    found = result("pv")
    assert found["balance"] == {"intervals": 35_040, "unbalanced": 0}
    amounts = {line["id"]: Decimal(line["amount"]) for line in found["sources"]}
    assert amounts == {"grid": Decimal("20507.222"), "pv": Decimal("62437.518")}
    own = Decimal(found["accounts"]["idle"]["pv"])
    assert own + Decimal(found["accounts"]["export"]["pv"]) == amounts["pv"]
    assert found["accounts"]["export"].keys() == {"pv"}


def _cut(data: bytes) -> bytes:
    return gzip.compress(data)[:50_000]


def _swap(data: bytes) -> bytes:
    lines = data.split(b"\n")
    lines[99], lines[100] = lines[100], lines[99]
    return gzip.compress(b"\n".join(lines))


def _no_column(data: bytes) -> bytes:
    return gzip.compress(data.replace(b"Usage_kWh", b"Usage", 1))


def _no_number(data: bytes) -> bytes:
    lines = data.split(b"\n")
    lines[50] = lines[50].replace(b",", b",x", 1)
    return gzip.compress(b"\n".join(lines))


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (_cut, ["cut off", "copy it again"]),
        (_swap, [":101:", "before the row above", "sort"]),
        (_no_column, ["Usage_kWh"]),
        (_no_number, [":51:"]),
    ],
    ids=["truncated", "out of order", "missing column", "not a number"],
)
def test_a_bad_file_is_refused_with_line_and_remedy(
    tmp_path: Path, spoil: Callable[[bytes], bytes], words: list[str]
) -> None:
    file = tmp_path / recorded_file("steel").name
    file.write_bytes(spoil(gzip.decompress(recorded_file("steel").read_bytes())))
    done = replay("steel", "--data", str(tmp_path))
    assert done.returncode == 2
    assert all(word in done.stderr for word in [file.name, *words]), done.stderr
    assert "Traceback" not in done.stderr


def test_a_missing_file_is_said_before_anything_starts(tmp_path: Path) -> None:
    done = replay("steel", "--data", str(tmp_path))
    assert done.returncode == 2
    assert f"{tmp_path} holds no {recorded_file('steel').name}" in done.stderr
