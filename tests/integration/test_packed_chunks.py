"""Packed chunks from an agent through a broker and the collector into PostgreSQL, among plain ones."""

import csv
import json
import os
import sqlite3
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from collector_harness import READINGS, metric, running, settings
from edge_support import config
from fake_agent import query, wait_until

pytestmark = pytest.mark.integration

MINUTES = 2000
BEGIN = datetime(2026, 3, 1, tzinfo=UTC)
RUN = "import sys; from pathlib import Path; from plantprint_edge.agent import run_file; sys.exit(run_file(Path(sys.argv[1])))"
SOURCE = """
  - source: replay
    name: hall
    file: {file}
    time_column: at
    time_format: "%Y-%m-%dT%H:%M:%S"
    timezone: UTC
    stamp: end
    period_s: 60
    columns:
      - {{name: energy, column: energy, unit: kWh, decimals: 3}}
      - {{name: steam, column: steam, unit: kg, decimals: 1}}
"""


def recording(file: Path) -> list[tuple[str, int, int]]:
    """A recording of `MINUTES` minutes; returns what must be stored of it as (channel, t_ms, value)."""
    expected = []
    with file.open("w", encoding="utf-8", newline="") as out:
        writer = csv.writer(out)
        writer.writerow(("at", "energy", "steam"))
        for minute in range(MINUTES):
            at = BEGIN + timedelta(minutes=minute)
            energy, steam = 1000 + 7919 * minute % 6007, 400 + minute % 17
            writer.writerow((f"{at:%Y-%m-%dT%H:%M:%S}", f"{energy / 1000:.3f}", f"{steam / 10:.1f}"))
            t_ms = int(at.timestamp() * 1000)
            expected += [("energy", t_ms, energy), ("steam", t_ms, steam)]
    return sorted(expected)


def packings(outbox: Path) -> list[str]:
    """How every chunk of readings was packed that an agent committed."""
    connection = sqlite3.connect(outbox)
    rows = connection.execute("select bytes from chunk join payload using (id) where kind = 'readings'").fetchall()
    connection.close()
    return [json.loads(payload.partition(b"\n")[0])["packing"] for (payload,) in rows]


def test_what_an_agent_packs_is_stored_to_the_last_reading(
    tmp_path: Path, database_url: str, broker_url: str, site: str
) -> None:
    expected = recording(tmp_path / "hall.csv")
    outbox = "size_mb_max: 16, ballast_mb: 8, reserve_mb: 1, packing: zstd"
    source = SOURCE.format(file=tmp_path / "hall.csv")
    config(tmp_path, source, "exit_when_done: true", site=site, url=broker_url, outbox=outbox)
    with running(settings(database_url, broker_url, site)) as intake:
        command = [sys.executable, "-c", RUN, str(tmp_path / "agent.yaml")]
        # It ends when all of it is acknowledged.
        done = subprocess.run(
            command, env={**os.environ, "PLANTPRINT_CLOCK": '{"kind": "data"}'}, capture_output=True, text=True,
            timeout=60, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr
        wait_until(lambda: metric(intake, "rows_total") >= len(expected), "all rows stored")
    stored = [(name, t_ms, value) for name, t_ms, value, _, _ in query(database_url, READINGS)]
    assert stored == expected
    assert set(packings(tmp_path / "outbox.db")) == {"zstd"}
    kept = query(database_url, "select (select count(*) from dead_letter), (select count(*) from rejected_reading)")
    assert kept == [(0, 0)]
