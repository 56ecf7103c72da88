"""Facts about processes of this machine that stay true when process ids are reused."""

import contextlib
import functools
import os
import signal
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

_PROC = Path("/proc")
_POLL_S = 0.05


@dataclass(frozen=True, slots=True)
class ProcessIdentity:
    """One process, told apart from a later one with the same id by its start and the boot it belongs to."""

    pid: int
    start_ticks: int
    boot_id: str


def find_identity(pid: int) -> ProcessIdentity | None:
    """Identity of a process that runs now; None for a dead one, a zombie, or without /proc."""
    stat = _read_stat(pid)
    if stat is None or stat[0] in "ZX":
        return None
    return ProcessIdentity(pid, int(stat[19]), _boot_id())


def is_running(identity: ProcessIdentity) -> bool:
    """Whether exactly this process still runs."""
    return find_identity(identity.pid) == identity


def find_processes_inside(folder: Path) -> list[ProcessIdentity]:
    """Running processes whose working directory is exactly this folder."""
    try:
        wanted = folder.stat()
    except FileNotFoundError:
        return []
    found = []
    for pid in _pids():
        try:
            cwd = (_PROC / str(pid) / "cwd").stat()
        except OSError:
            # Gone meanwhile, a zombie, or another user's: none of those is a server of ours.
            continue
        if (cwd.st_dev, cwd.st_ino) == (wanted.st_dev, wanted.st_ino):
            identity = find_identity(pid)
            if identity is not None:
                found.append(identity)
    return found


def end_process(identity: ProcessIdentity, stop_signal: signal.Signals, timeout_s: float) -> bool:
    """Ask one process to stop, then kill its process group; True when it went without being killed."""
    if _send(identity, stop_signal) and not wait_gone(identity, timeout_s):
        _kill_group(identity)
        wait_gone(identity, timeout_s=10)
        return False
    return True


def wait_gone(identity: ProcessIdentity, timeout_s: float) -> bool:
    """Wait until a process that need not be a child of ours has ended; False at the limit."""
    deadline = time.monotonic() + timeout_s
    while is_running(identity):
        if time.monotonic() >= deadline:
            return False
        time.sleep(_POLL_S)
    return True


def _send(identity: ProcessIdentity, which: signal.Signals) -> bool:
    if not is_running(identity):
        return False
    with contextlib.suppress(ProcessLookupError):
        os.kill(identity.pid, which)
    return True


def _kill_group(identity: ProcessIdentity) -> None:
    if not is_running(identity):
        return
    with contextlib.suppress(ProcessLookupError):
        # Our children lead a session of their own; anything else must not take its group along.
        if os.getpgid(identity.pid) == identity.pid:
            os.killpg(identity.pid, signal.SIGKILL)
        else:
            os.kill(identity.pid, signal.SIGKILL)


def _read_stat(pid: int) -> list[str] | None:
    """Fields of /proc/PID/stat from the state on; the name before it may hold spaces and brackets."""
    try:
        text = (_PROC / str(pid) / "stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    return text.rpartition(")")[2].split()


def _pids() -> Iterator[int]:
    with contextlib.suppress(FileNotFoundError), os.scandir(_PROC) as entries:
        for entry in entries:
            if entry.name.isdigit():
                yield int(entry.name)


@functools.cache
def _boot_id() -> str:
    try:
        return (_PROC / "sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        return ""
