"""One child process: started in a session of its own, tied to our life, stopped within a limit."""

import contextlib
import errno
import logging
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from plantprint_cli.embedded.errors import ChildError, require_posix
from plantprint_cli.embedded.logs import SizeLimitedLog
from plantprint_cli.embedded.processes import ProcessIdentity, find_identity

logger = logging.getLogger("plantprint.embedded")

_LAUNCHER = Path(__file__).with_name("launcher.py")
_POLL_S = 0.02
_TAIL_LINES = 20


@dataclass(frozen=True, slots=True)
class Account:
    """The user a child runs as."""

    name: str
    uid: int
    gid: int


@dataclass(frozen=True)
class Command:
    """What to execute, and how it is asked to end."""

    argv: Sequence[str]
    env: Mapping[str, str] | None = None
    cwd: Path | None = None
    account: Account | None = None
    stop_signal: signal.Signals = signal.SIGTERM
    # Sent by the kernel when we die, kill -9 included.
    death_signal: signal.Signals = signal.SIGTERM


def spawn(command: Command, output: int | None = None) -> subprocess.Popen[bytes]:
    """Start a command; `output` is a file descriptor for its standard output and error, else ours are shared.

    Main thread only: the kernel sends the death signal when the *thread* that started the child ends.
    """
    require_posix()
    if threading.current_thread() is not threading.main_thread():
        raise RuntimeError("children are started from the main thread, whose end is the end of the process")
    # Searched here: after the launcher has changed its user, Python's own files may be out of its reach.
    program = shutil.which(command.argv[0], path=None if command.env is None else command.env.get("PATH"))
    if program is None:
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), command.argv[0])
    uid, gid = (command.account.uid, command.account.gid) if command.account else (-1, -1)
    arguments = [str(int(number)) for number in (command.death_signal, os.getpid(), uid, gid)]
    return subprocess.Popen(
        [sys.executable, "-I", "-S", "-B", str(_LAUNCHER), *arguments, program, *command.argv[1:]],
        env=None if command.env is None else dict(command.env),
        cwd=command.cwd,
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=output,
        start_new_session=True,
    )


class Child:
    """A process that can be started again after it ended; subclasses tell readiness and kill their own way."""

    def __init__(self, name: str, command: Command | Callable[[], Command], log: SizeLimitedLog | None = None) -> None:
        self.name = name
        self.log = log
        self.stop_signal = signal.SIGTERM
        self._command = command
        self._process: subprocess.Popen[bytes] | None = None
        self._log_start = 0

    def __enter__(self) -> Self:
        try:
            self.start()
            self.wait_ready()
        except BaseException:
            self.kill()
            raise
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.stop()

    @property
    def pid(self) -> int | None:
        """Process id of the last start; None before the first."""
        return self._process.pid if self._process else None

    @property
    def exit_code(self) -> int | None:
        """Exit code (negative: the signal) of the last run; None while it runs or before the first."""
        return self._process.poll() if self._process else None

    def identity(self) -> ProcessIdentity | None:
        """The running process, for the record that lets a later start find it; None when it does not run."""
        return find_identity(self._process.pid) if self._process and self.is_alive() else None

    def start(self) -> None:
        """Spawn the process and return without waiting for it to be ready."""
        if self.is_alive():
            raise RuntimeError(f"{self.name} already runs")
        output = None
        try:
            command = self._command() if callable(self._command) else self._command
            self.stop_signal = command.stop_signal
            if self.log:
                output = self.log.open_for_child()
                self._log_start = self.log.size()
            self._process = spawn(command, output)
        except OSError as error:
            raise self._error(f"{self.name} cannot be started: {error}") from error
        finally:
            if output is not None:
                os.close(output)

    def is_alive(self) -> bool:
        """Whether the process runs."""
        return self._process is not None and self._process.poll() is None

    def is_ready(self) -> bool:
        """Whether it can do its work; cheap enough to be asked many times a second."""
        return self.is_alive()

    def wait_ready(self, timeout_s: float = 60.0) -> None:
        """Block until ready; ChildError with the end of the log when it ends first or the limit passes."""
        deadline = time.monotonic() + timeout_s
        while not self.is_ready():
            if not self.is_alive():
                raise self.failure(f"ended with code {self.exit_code} before it was ready")
            if time.monotonic() >= deadline:
                raise self.failure(f"was not ready within {timeout_s:g} s")
            time.sleep(_POLL_S)

    def request_stop(self) -> None:
        """Send the stop signal and return at once."""
        if self._process and self.is_alive():
            with contextlib.suppress(ProcessLookupError):
                self._process.send_signal(self.stop_signal)

    def kill(self) -> None:
        """End the process and its whole session now."""
        process = self._process
        if process is None or process.poll() is not None:
            return
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()

    def stop(self, timeout_s: float = 10.0) -> bool:
        """Ask it to stop, kill it at the limit; True when it went by itself."""
        if not self.is_alive() or self._process is None:
            return True
        self.request_stop()
        try:
            self._process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            logger.warning("%s did not stop within %g s and is killed", self.name, timeout_s)
            self.kill()
            return False
        return True

    def failure(self, what: str) -> ChildError:
        """An error of this child's kind that shows what it logged last."""
        tail = self.log.tail(_TAIL_LINES, self._log_start) if self.log else ""
        shown = f"\nLast lines of {self.log.path}:\n{tail}" if self.log and tail else ""
        return self._error(f"{self.name} {what}.{shown}")

    def _error(self, message: str) -> ChildError:
        return ChildError(message)
