"""A whole `plantprint run` as a process for tests: started, asked over HTTP, its children found, stopped or killed."""

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import auditing
import httpx

from plantprint_cli.embedded import EmbeddedPostgres, Instance
from plantprint_cli.embedded.ports import find_free_port


class RunningPlant:
    """One run: `get` answers of its API, `pid` of its children, `stop` as Ctrl-C does."""

    def __init__(self, folder: Path, *arguments: str) -> None:
        self.folder = folder
        self.port = find_free_port(set())
        self.url = f"http://127.0.0.1:{self.port}"
        self.log = folder.parent / f"{folder.name}.log"
        command = [
            sys.executable,
            "-m",
            "plantprint_cli",
            "run",
            "--port",
            str(self.port),
            "--instance",
            str(folder),
            *arguments,
        ]
        env = {k: v for k, v in os.environ.items() if k not in ("PLANTPRINT_DATABASE_URL", "PLANTPRINT_MQTT_URL")}
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=log, env=env)

    def get(self, path: str) -> Any:
        answer = httpx.get(self.url + path, timeout=10)
        answer.raise_for_status()
        return answer.json()

    def wait(self, what: str, condition: Callable[[], Any], timeout_s: float = 60.0) -> Any:
        """The first true value of `condition`, errors of a page that is not there yet counting as none."""
        deadline = time.monotonic() + timeout_s
        while time.monotonic() < deadline:
            with contextlib.suppress(httpx.HTTPError, FileNotFoundError, KeyError):
                if found := condition():
                    return found
            if self.process.poll() is not None:
                break
            time.sleep(0.2)
        raise AssertionError(f"{what}: not within {timeout_s} s; the run said:\n{self.said()}")

    def said(self) -> str:
        """The ends of the run's output and of each part's log, for a failure that has to be understood from afar."""
        logs = [self.log, *sorted((self.folder / "logs").glob("*.log"))]
        return "\n".join(f"-- {log.name}\n{log.read_text(errors='replace')[-3000:]}" for log in logs)

    def wait_live(self) -> None:
        """Until readings are on the page."""
        self.wait("live", lambda: self.get("/v1/work-centers/line-1/live").get("status") == "live")

    def pid(self, part: str) -> int:
        state = json.loads((self.folder / "state.json").read_text())
        return int(state["children"][part]["process"]["pid"])

    def pids(self) -> dict[str, int]:
        state = json.loads((self.folder / "state.json").read_text())
        return {name: int(child["process"]["pid"]) for name, child in state["children"].items()}

    def stop(self, timeout_s: float = 60.0) -> int:
        """Ctrl-C; the exit code."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
        return self.process.wait(timeout_s)


@contextlib.contextmanager
def database_of(folder: Path) -> Iterator[str]:
    """The DSN of the database that a run has left in its folder, audited at the end of the block."""
    with Instance.open(folder) as instance, EmbeddedPostgres(instance) as server:
        yield server.dsn
        found = auditing.findings(server.dsn)
        assert not found, found


def audit(folder: Path) -> None:
    """What a run has left contradicts nothing."""
    with database_of(folder):
        pass


@contextlib.contextmanager
def reachable_folder() -> Iterator[Path]:
    """A folder that the database's unprivileged user can reach, unlike pytest's own."""
    folder = Path(tempfile.mkdtemp(prefix="plantprint-test-"))
    folder.chmod(0o711)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def running_plant(folder: Path, *arguments: str) -> Iterator[RunningPlant]:
    """A run that is certainly gone afterwards."""
    plant = RunningPlant(folder, *arguments)
    try:
        yield plant
    finally:
        try:
            plant.stop()
        except subprocess.TimeoutExpired:
            plant.process.kill()
            plant.process.wait()
