"""Starts real TimescaleDB code for tests: the WASM build from npm behind `timescale_wasm/server.mjs`."""

import contextlib
import fcntl
import json
import re
import select
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import pytest
from parts import missing

FOLDER = Path(__file__).parent / "timescale_wasm"
NODE_MAJOR_MIN = 20
# Quiet machine: 2 to 5 s. A loaded one took 25 s.
START_SECONDS_MAX = 120
INSTALL_SECONDS_MAX = 300
STOP_SECONDS_MAX = 10


class TimescaleUnavailableError(RuntimeError):
    """Node, npm or the package is missing, so this machine cannot run TimescaleDB."""


@dataclass(frozen=True)
class TimescaleServer:
    port: int
    pid: int

    @property
    def dsn(self) -> str:
        # The server has one database and one user; it takes any name for both, and these are the true ones.
        return f"postgresql://postgres@127.0.0.1:{self.port}/template1"


@contextlib.contextmanager
def timescale_server(limits: Mapping[str, int] | None = None) -> Iterator[TimescaleServer]:
    """Serves an empty database until the block ends; `limits` are the options of `server.mjs` by name."""
    node = _node()
    _install()
    arguments = [f"--{name}={value}" for name, value in (limits or {}).items()]
    with tempfile.TemporaryFile() as errors:
        process = subprocess.Popen(
            [node, "server.mjs", "--watch-stdin", *arguments],
            cwd=FOLDER,
            stdin=subprocess.PIPE,  # held open: the server ends when this process does, however it ends
            stdout=subprocess.PIPE,
            stderr=errors,
        )
        with process:
            try:
                yield TimescaleServer(_port(process, errors), process.pid)
                if process.poll() is not None:
                    raise RuntimeError(f"the TimescaleDB server ended during the test: {_tail(errors)}")
            finally:
                _stop(process)


@contextlib.contextmanager
def available_timescale(limits: Mapping[str, int] | None = None) -> Iterator[TimescaleServer]:
    """`timescale_server` for a test: without Node it is skipped, in CI (PLANTPRINT_CI=1) it fails."""
    with contextlib.ExitStack() as stack:
        try:
            server = stack.enter_context(timescale_server(limits))
        except TimescaleUnavailableError as error:
            missing(str(error))
        yield server


@pytest.fixture(scope="session")
def timescale() -> Iterator[TimescaleServer]:
    """One server for the whole run."""
    with available_timescale() as server:
        yield server


def _node() -> str:
    node = shutil.which("node")
    if node is None:
        raise TimescaleUnavailableError(f"Node {NODE_MAJOR_MIN} or newer is not installed")
    answer = subprocess.run([node, "--version"], capture_output=True, text=True, check=False, timeout=30)
    match = re.match(r"v(\d+)\.", answer.stdout)
    if match is None or int(match[1]) < NODE_MAJOR_MIN:
        raise TimescaleUnavailableError(f"Node {NODE_MAJOR_MIN} or newer is needed, not {answer.stdout.strip()!r}")
    return node


def _install() -> None:
    with (FOLDER / "package.json").open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # parallel test runs install once
        # npm writes this file last, so a broken-off install is repeated.
        if (FOLDER / "node_modules" / ".package-lock.json").exists():
            return
        npm = shutil.which("npm")
        if npm is None:
            raise TimescaleUnavailableError("npm is not installed")
        command = [npm, "ci", "--no-audit", "--no-fund", "--ignore-scripts", "--loglevel=error"]
        try:
            subprocess.run(command, cwd=FOLDER, check=True, capture_output=True, text=True, timeout=INSTALL_SECONDS_MAX)
        except subprocess.CalledProcessError as error:
            raise TimescaleUnavailableError(f"npm ci failed: {error.stderr.strip()[-500:]}") from error
        except subprocess.TimeoutExpired as error:
            raise TimescaleUnavailableError(f"npm ci took more than {INSTALL_SECONDS_MAX} s") from error


def _port(process: subprocess.Popen[bytes], errors: IO[bytes]) -> int:
    assert process.stdout is not None
    ready, _, _ = select.select([process.stdout], [], [], START_SECONDS_MAX)
    line = process.stdout.readline() if ready else b""
    if not line:
        what = "ended at start" if ready else f"was not ready after {START_SECONDS_MAX} s"
        raise RuntimeError(f"the TimescaleDB server {what}: {_tail(errors)}")
    return int(json.loads(line)["port"])


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(STOP_SECONDS_MAX)
    except subprocess.TimeoutExpired:
        process.kill()


def _tail(errors: IO[bytes]) -> str:
    errors.seek(0)
    return errors.read().decode(errors="replace")[-2000:]
