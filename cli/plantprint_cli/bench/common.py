"""What every benchmark shares: servers of its own, facts of the machine, medians, CPU by process."""

import os
import platform
import shutil
import signal
import socket
import statistics
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self
from urllib.parse import urlsplit, urlunsplit

import psycopg

from plantprint_cli.embedded import Child, Command, EmbeddedBroker, EmbeddedPostgres, Instance, temporary_instance
from plantprint_collector.migrate import migrate

Json = dict[str, Any]
Conn = psycopg.Connection[tuple[Any, ...]]

# What a broker needs to hold a backlog; everything else is as Debian's package has it.
_MOSQUITTO = """\
listener {port} 127.0.0.1
allow_anonymous true
persistence false
max_queued_messages 0
max_inflight_messages 1000
log_type error
"""
_START_S = 20.0


class BenchError(RuntimeError):
    """A measurement could not be made; the message says which part failed."""


class Mosquitto(Child):
    """Debian's broker on a loopback port of the instance."""

    def __init__(self, instance: Instance, program: str) -> None:
        self._port = instance.port("mosquitto")
        self.url = f"mqtt://127.0.0.1:{self._port}"
        config = instance.path / "mosquitto.conf"
        config.write_text(_MOSQUITTO.format(port=self._port), encoding="utf-8")
        if instance.account is not None:
            shutil.chown(config, instance.account.uid)
        command = Command([program, "-c", str(config)], cwd=instance.path, account=instance.account)
        super().__init__("mosquitto", command, instance.log("mosquitto"))

    def is_ready(self) -> bool:
        """Whether it takes connections."""
        try:
            with socket.create_connection(("127.0.0.1", self._port), timeout=1):
                return self.is_alive()
        except OSError:
            return False


@dataclass(frozen=True)
class Servers:
    """A database server of our own with the settings that `plantprint run` gives it, and a broker."""

    instance: Instance
    postgres: EmbeddedPostgres
    broker: Mosquitto | EmbeddedBroker

    @property
    def broker_name(self) -> str:
        return "mosquitto" if isinstance(self.broker, Mosquitto) else "embedded (iotcore)"

    @classmethod
    @contextmanager
    def started(cls) -> Iterator[Self]:
        """Both in a temporary instance; mosquitto where it is installed, else the embedded broker."""
        # Debian puts it where ordinary users' PATH does not reach.
        program = shutil.which("mosquitto", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")
        with ExitStack() as stack:
            instance = stack.enter_context(temporary_instance())
            postgres = stack.enter_context(EmbeddedPostgres(instance))
            broker: Mosquitto | EmbeddedBroker = Mosquitto(instance, program) if program else EmbeddedBroker(instance)
            stack.enter_context(broker)
            yield cls(instance, postgres, broker)

    def environment(self, dsn: str, **more: str) -> dict[str, str]:
        """For parts of plantprint that run as processes of their own."""
        return {**os.environ, "PLANTPRINT_DATABASE_URL": dsn, "PLANTPRINT_MQTT_URL": self.broker.url, **more}


@contextmanager
def interruptible() -> Iterator[None]:
    """SIGTERM ends what runs here as Ctrl-C does, so that servers are stopped and folders removed."""
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


@contextmanager
def fresh_database(server_dsn: str) -> Iterator[str]:
    """DSN of a migrated database of its own, dropped afterwards; a checkpoint before it makes runs alike."""
    name = f"bench_{uuid.uuid4().hex[:12]}"
    with psycopg.connect(server_dsn, autocommit=True) as conn:
        conn.execute(f"create database {name}")
        try:
            dsn = urlunsplit(urlsplit(server_dsn)._replace(path=f"/{name}"))
            migrate(dsn)
            conn.execute("checkpoint")
            yield dsn
        finally:
            conn.execute(f"drop database if exists {name} with (force)")


def connect(dsn: str) -> Conn:
    return psycopg.connect(dsn, autocommit=True)


def scalar(conn: Conn, query: str, values: Sequence[Any] | Mapping[str, Any] = ()) -> Any:
    row = conn.execute(query.encode(), values).fetchone()
    return None if row is None else row[0]


def wait_until(what: str, done: Callable[[], bool], timeout_s: float, poll_s: float = 0.02) -> None:
    """Returns as soon as `done()`; raises `BenchError` that names what did not happen."""
    deadline = time.monotonic() + timeout_s
    while not done():
        if time.monotonic() > deadline:
            raise BenchError(f"{what}: not within {timeout_s:.0f} s")
        time.sleep(poll_s)


def machine(server_dsn: str | None) -> Json:
    """What a number depends on besides the program; the load average says who else was working."""
    version = None
    if server_dsn is not None:
        with connect(server_dsn) as conn:
            version = scalar(conn, "show server_version")
    return {
        "cpu": _cpu_name(),
        "cores": os.cpu_count(),
        "memory_gb": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.release()}",
        "postgresql": version,
        "load_average_before": round(os.getloadavg()[0], 2),
    }


def _cpu_name() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor()
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), "unknown")


def cpu_s(pid: int) -> float:
    """Processor time of a process and everything below it that runs, in seconds."""
    ticks = 0
    children = _children()
    waiting = [pid]
    while waiting:
        current = waiting.pop()
        waiting += children.get(current, [])
        try:
            fields = Path(f"/proc/{current}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
        except OSError:
            continue
        ticks += int(fields[11]) + int(fields[12])
        if current == pid:
            ticks += int(fields[13]) + int(fields[14])  # those it has waited for
    return ticks / os.sysconf("SC_CLK_TCK")


def _children() -> dict[int, list[int]]:
    found: dict[int, list[int]] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text(encoding="utf-8").rpartition(")")[2].split()
        except OSError:
            continue
        found.setdefault(int(fields[1]), []).append(int(stat.parent.name))
    return found


def median(values: Sequence[float], digits: int = 3) -> float:
    return round(statistics.median(values), digits)


def medians(runs: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """The median of each number over the runs."""
    return {key: median([run[key] for run in runs]) for key in runs[0]}
