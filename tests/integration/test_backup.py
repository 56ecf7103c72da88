"""The backup drill: a dump is restored, and agents bring again what the database had acknowledged since."""

import asyncio
import gzip
import subprocess
from pathlib import Path
from urllib.parse import urlsplit

import psycopg
import pytest
from collector_harness import READINGS, running, settings
from edge_support import STEEL, config
from fake_agent import query
from typer.testing import CliRunner

from plantprint.times import SiteClock
from plantprint_cli.__main__ import app
from plantprint_cli.embedded.postgres_install import find_install
from plantprint_collector import store
from plantprint_edge.agent import Agent

pytestmark = pytest.mark.integration

LINES = 1200


def deliver(folder: Path, broker_url: str, site: str, name: str, lines: slice) -> None:
    """One life of the agent: a recorded file into the outbox of the folder, until everything is acknowledged."""
    header, *rows = gzip.decompress(STEEL.read_bytes()).decode("utf-8-sig").splitlines()
    file = folder / f"{name}.csv"
    file.write_text("\n".join([header, *rows[lines]]) + "\n", encoding="utf-8")
    source = f"""
  - source: replay
    name: {name}
    file: {file}
    time_column: date
    time_format: "%d/%m/%Y %H:%M"
    timezone: Asia/Seoul
    stamp: end
    midnight: day_end
    period_s: 900
    columns:
      - {{name: {name}.usage, column: Usage_kWh, unit: kWh, decimals: 2}}
"""
    agent = Agent(config(folder, source, "exit_when_done: true", site=site, url=broker_url), SiteClock("data"))
    assert asyncio.run(agent.run()) == 0


def run(program: str, dsn: str, *arguments: str) -> None:
    """One of PostgreSQL's programs, of the server's version where Debian has it: a newer one sets what the older lacks."""
    with psycopg.connect(dsn) as conn:
        debian = Path(f"/usr/lib/postgresql/{conn.info.server_version // 10_000}/bin")
    bin_dir = debian if debian.exists() else find_install().bin_dir
    command = [str(bin_dir / program), "--dbname", dsn, *arguments]
    subprocess.run(command, check=True, capture_output=True, timeout=120)


def restore_into_the_same_server(dsn: str, dump: Path) -> None:
    """As an operator would: the lost database made again under its name."""
    name = urlsplit(dsn).path.removeprefix("/")
    with psycopg.connect(dsn.replace(name, "postgres"), autocommit=True) as conn:
        conn.execute(f'drop database "{name}" with (force)')
        conn.execute(f'create database "{name}" template template0')
    run("pg_restore", dsn, str(dump))


def test_agents_bring_again_what_a_restored_dump_lacks(
    database_url: str, broker_url: str, site: str, tmp_path: Path
) -> None:
    dump = tmp_path / "backup.dump"
    with running(settings(database_url, broker_url, site)):
        deliver(tmp_path, broker_url, site, "before", slice(0, LINES))
        run("pg_dump", database_url, "--format=custom", "--file", str(dump))
        deliver(tmp_path, broker_url, site, "after", slice(LINES, 2 * LINES))
    complete = query(database_url, READINGS)
    assert len(complete) == 2 * LINES

    restore_into_the_same_server(database_url, dump)
    assert len(query(database_url, READINGS)) == LINES
    with running(settings(database_url, broker_url, site)):
        deliver(tmp_path, broker_url, site, "later", slice(2 * LINES, 2 * LINES + 1))
    found = query(database_url, READINGS)
    assert [row for row in found if row[0] != "later.usage"] == complete
    assert len(found) == 2 * LINES + 1


def test_a_store_is_another_after_a_restored_dump_and_when_it_is_told_so(database_url: str, tmp_path: Path) -> None:
    def store_id() -> str:
        with psycopg.connect(database_url) as conn:
            return store.store_id(conn)

    before = store_id()
    assert store_id() == before
    dump = tmp_path / "backup.dump"
    run("pg_dump", database_url, "--format=custom", "--file", str(dump))
    assert store_id() == before
    restore_into_the_same_server(database_url, dump)
    restored = store_id()
    assert restored != before
    said = CliRunner().invoke(app, ["restored", "--database-url", database_url])
    assert said.exit_code == 0, said.output
    assert store_id() not in (before, restored)
    assert store_id() in said.output
