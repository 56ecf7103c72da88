"""Servers for tests, as child processes that die with the test run: PostgreSQL and MQTT brokers."""

import contextlib
import os
import socket
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from parts import find_program, in_ci, need_program

from plantprint_cli.embedded import (
    Child,
    Command,
    EmbeddedBroker,
    EmbeddedPostgres,
    Instance,
    PostgresSettings,
)
from plantprint_cli.embedded.folders import find_account
from plantprint_cli.embedded.logs import SizeLimitedLog
from plantprint_cli.embedded.ports import find_free_port

MOSQUITTO_CONFIG = """\
listener {port} 127.0.0.1
allow_anonymous true
persistence false
max_queued_messages 1000000
max_inflight_messages 5000
max_packet_size 1048576
log_type error
log_type warning
"""


def apt_postgres() -> Path | None:
    """The newest of Debian's server packages."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"), key=lambda p: int(p.parents[1].name))
    return found[-1].parent if found else None


def full_timescale() -> str | None:
    """DSN of a whole server with TimescaleDB preloaded, by PLANTPRINT_TEST_TIMESCALE_URL: every test then runs on it."""
    return os.environ.get("PLANTPRINT_TEST_TIMESCALE_URL")


@contextlib.contextmanager
def postgres(instance: Instance) -> Iterator[str]:
    """DSN of a server's maintenance database, where databases may be created."""
    external = full_timescale() or os.environ.get("PLANTPRINT_TEST_DATABASE_URL")
    if external:
        yield external
        return
    bin_dir = None
    if os.environ.get("PLANTPRINT_TEST_POSTGRES") == "apt":
        bin_dir = apt_postgres()
        assert bin_dir is not None, "PLANTPRINT_TEST_POSTGRES=apt, but Debian's postgresql is not installed"
    settings = PostgresSettings(fsync=False, bin_dir=bin_dir, connections_max=100)
    with EmbeddedPostgres(instance, settings) as server:
        yield server.dsn


def find_mosquitto() -> str | None:
    """Its path; None, and the embedded broker will do, but never in CI, which promises the real one."""
    return need_mosquitto() if in_ci() else find_program("mosquitto")


def need_mosquitto(why: str = "") -> str:
    """Its path, for tests that only it can serve."""
    return need_program("mosquitto", "mosquitto", why)


@contextlib.contextmanager
def mosquitto(port: int | None = None) -> Iterator[str]:
    """URL of Debian's broker on a loopback port, with queues no test fills."""
    port = port or find_free_port(set())
    with tempfile.TemporaryDirectory(prefix="plantprint-mosquitto-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        config = folder / "mosquitto.conf"
        config.write_text(MOSQUITTO_CONFIG.format(port=port), encoding="utf-8")
        account = find_account("nobody") if os.geteuid() == 0 else None
        program = need_mosquitto()
        command = Command([program, "-c", str(config)], cwd=folder, account=account)
        with Child("mosquitto", command, SizeLimitedLog(folder / "log", 1_000_000)) as child:
            _wait_listening(child, port)
            yield f"mqtt://127.0.0.1:{port}"


@contextlib.contextmanager
def broker(instance: Instance) -> Iterator[str]:
    """Debian's mosquitto; where it is absent the embedded broker."""
    if find_mosquitto():
        with mosquitto() as url:
            yield url
        return
    with EmbeddedBroker(instance) as embedded:
        yield embedded.url


def _wait_listening(child: Child, port: int, timeout_s: float = 20.0) -> None:
    deadline_s = time.monotonic() + timeout_s
    while time.monotonic() < deadline_s:
        if not child.is_alive():
            raise child.failure("ended at start")
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
            return
        time.sleep(0.02)
    raise child.failure(f"does not listen after {timeout_s} s")
