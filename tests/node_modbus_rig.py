"""Starts the independent Modbus servers of `node_modbus` with register images that a test describes."""

import contextlib
import fcntl
import json
import select
import shutil
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from parts import missing

from plantprint_cli.embedded.ports import find_free_port

FOLDER = Path(__file__).parent / "node_modbus"
NODE_MAJOR_MIN = 20
INSTALL_SECONDS_MAX = 300
START_SECONDS_MAX = 60
# {unit: [{"addr", "type", "order", "value"}]}
Units = Mapping[int, Sequence[Mapping[str, Any]]]


@contextlib.contextmanager
def node_modbus(units: Units) -> Iterator[int]:
    """The port of a `modbus-serial` server with these units; skips the test without Node, fails it in CI."""
    with _serving("server.mjs", units) as said:
        yield int(said["port"])


@contextlib.contextmanager
def node_jsmodbus(units: Units) -> Iterator[dict[int, int]]:
    """The ports of `jsmodbus` servers, one per unit; skips the test without Node, fails it in CI."""
    with _serving("server_jsmodbus.mjs", units) as said:
        yield {int(unit): int(port) for unit, port in said["ports"].items()}


@contextlib.contextmanager
def _serving(script: str, units: Units) -> Iterator[dict[str, Any]]:
    """What a server says when it listens."""
    node = _node()
    process = subprocess.Popen([node, script], cwd=FOLDER, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    with process:
        try:
            assert process.stdin is not None
            assert process.stdout is not None
            process.stdin.write(json.dumps({"units": units, "port": find_free_port(set())}) + "\n")
            process.stdin.flush()
            ready, _, _ = select.select([process.stdout], [], [], START_SECONDS_MAX)
            line = process.stdout.readline() if ready else ""
            assert line, "the Modbus server of Node did not start"
            yield json.loads(line)
            assert process.poll() is None, "the Modbus server of Node ended during the test"
        finally:
            process.terminate()


def _node() -> str:
    node, npm = shutil.which("node"), shutil.which("npm")
    problem = "Node or npm is not installed" if node is None or npm is None else _old(node) or _install(npm)
    if problem:
        missing(problem)
    assert node is not None
    return node


def _old(node: str) -> str | None:
    answer = subprocess.run([node, "--version"], capture_output=True, text=True, check=False, timeout=30).stdout
    major = answer.strip().removeprefix("v").partition(".")[0]
    return None if major.isdecimal() and int(major) >= NODE_MAJOR_MIN else f"Node {NODE_MAJOR_MIN} or newer is needed"


def _install(npm: str) -> str | None:
    with (FOLDER / "package.json").open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # parallel test runs install once
        # Written last, so that an install that broke off, or is one of other packages, is repeated.
        wanted, installed = FOLDER / "package-lock.json", FOLDER / "node_modules" / ".installed"
        if installed.exists() and installed.read_bytes() == wanted.read_bytes():
            return None
        # The optional part is a serial port driver in C++ that nobody needs here.
        command = [npm, "ci", "--no-audit", "--no-fund", "--ignore-scripts", "--omit=optional", "--loglevel=error"]
        try:
            subprocess.run(command, cwd=FOLDER, check=True, capture_output=True, text=True, timeout=INSTALL_SECONDS_MAX)
            installed.write_bytes(wanted.read_bytes())
        except subprocess.CalledProcessError as error:
            return f"npm ci failed: {error.stderr.strip()[-500:]}"
        except subprocess.TimeoutExpired:
            return f"npm ci took more than {INSTALL_SECONDS_MAX} s"
    return None
