"""The backup drill: a dump or a base backup is restored, and agents bring again what was acknowledged since."""

import asyncio
import contextlib
import gzip
import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote, urlsplit

import psycopg
import pytest
import yaml
from collector_harness import READINGS, running, settings
from edge_support import STEEL, config
from fake_agent import query, wait_until
from ledger_rig import Rig
from parts import missing
from typer.testing import CliRunner

from plantprint.times import SiteClock
from plantprint_cli.__main__ import app
from plantprint_cli.embedded import Child, Command, Instance, temporary_instance
from plantprint_cli.embedded.postgres_install import find_install
from plantprint_collector import store
from plantprint_collector.audit import audit_database
from plantprint_edge.agent import Agent

pytestmark = pytest.mark.integration

LINES = 1200
LEDGER = (
    "select hour_at, account_kind, account_id, source, sum(amount)::bigint from posting"
    " group by 1, 2, 3, 4 having sum(amount) <> 0 order by 1, 2, 3, 4"
)


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
      - {{name: usage, column: Usage_kWh, unit: kWh, decimals: 2}}
"""
    agent = Agent(config(folder, source, "exit_when_done: true", site=site, url=broker_url), SiteClock("data"))
    assert asyncio.run(agent.run()) == 0


def programs(dsn: str) -> Path:
    """The server's own, where it runs on this machine: a newer `pg_restore` sets what an older server lacks."""
    ((folder,),) = query(dsn, "select setting from pg_config where name = 'BINDIR'")
    return Path(folder) if Path(folder, "pg_restore").exists() else find_install().bin_dir


def run(program: str, dsn: str, *arguments: str) -> None:
    command = [str(programs(dsn) / program), "--dbname", dsn, *arguments]
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
    assert found[:-1] == complete
    assert len(found) == 2 * LINES + 1


def steel_works(site: str) -> dict[str, object]:
    body = yaml.safe_load(STEEL.with_name("plant.yaml").read_text(encoding="utf-8"))
    body["site"]["id"] = site
    body["meters"][0]["bindings"] = [{"channel": "gw-1/usage"}]
    assert isinstance(body, dict)
    return body


@contextlib.contextmanager
def started(data: Path, instance: Instance, lost_dsn: str) -> Iterator[str]:
    """The restored files under the programs that wrote them; the database's URL on the new server."""
    if instance.account:
        for path in (data, *data.rglob("*")):
            os.chown(path, instance.account.uid, instance.account.gid)
    ((preloaded,),) = query(lost_dsn, "show shared_preload_libraries")
    chosen = {"listen_addresses": "", "unix_socket_directories": str(instance.socket_dir), "port": "5432",
              "shared_preload_libraries": preloaded, "fsync": "off"}  # fmt: skip
    options = [part for name, value in chosen.items() for part in ("-c", f"{name}={value}")]
    command = Command(
        [str(programs(lost_dsn) / "postgres"), "-D", str(data), *options],
        env={"LC_ALL": "C"}, cwd=Path("/"), account=instance.account, stop_signal=signal.SIGINT,
    )  # fmt: skip
    lost = urlsplit(lost_dsn)
    dsn = f"postgresql://{lost.username}@{lost.path}?host={quote(str(instance.socket_dir), safe='')}"
    with Child("restored", command, instance.log("restored")):
        wait_until(lambda: is_there(dsn), "the restored server accepts connections", timeout_s=60)
        yield dsn


def is_there(dsn: str) -> bool:
    with contextlib.suppress(psycopg.OperationalError):
        return query(dsn, "select 1") == [(1,)]
    return False


def test_agents_bring_again_what_a_base_backup_lacks_once_it_is_told_so(
    database_url: str, broker_url: str, site: str, tmp_path: Path
) -> None:
    if not (programs(database_url) / "pg_basebackup").exists():
        missing("the programs of the database server are not on this machine")
    with temporary_instance() as other:
        copy = other.path / "copy"
        with Rig(database_url, site) as rig, running(settings(database_url, broker_url, site)):
            rig.apply(steel_works(site))
            deliver(tmp_path, broker_url, site, "before", slice(0, 100))
            rig.run()
            run("pg_basebackup", database_url, "--pgdata", str(copy), "--checkpoint=fast")
            deliver(tmp_path, broker_url, site, "after", slice(100, 200))
            rig.run()
            lost_id = store.store_id(rig.conn)
        readings, ledger = query(database_url, READINGS), query(database_url, LEDGER)
        assert len(readings) == 200
        with started(copy, other, database_url) as dsn:
            assert len(query(dsn, READINGS)) == 100
            with psycopg.connect(dsn) as conn:
                assert store.store_id(conn) == lost_id, "docs/backup.md: a copied disk is not noticed"
            assert CliRunner().invoke(app, ["restored", "--database-url", dsn]).exit_code == 0
            with running(settings(dsn, broker_url, site)):
                deliver(tmp_path, broker_url, site, "later", slice(200, 201))
            assert query(dsn, READINGS)[:-1] == readings
            with Rig(dsn, site) as rig:
                rig.run()
            assert query(dsn, LEDGER) == ledger
            audit = audit_database(dsn)
            assert audit.clean, list(audit.lines())
            assert [one.hours for one in audit.sites if one.site == site] == [50]


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
