"""The instance folder of an all-in-one run: one owner at a time, its state, its ports, its logs."""

import contextlib
import json
import logging
import os
import shutil
import stat
import tempfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self

from plantprint_cli.embedded.children import Account
from plantprint_cli.embedded.errors import InstanceError, require_posix
from plantprint_cli.embedded.folders import (
    default_path,
    find_account,
    lock_folder,
    make_dir,
    refuse_full_disk,
    refuse_unreachable,
    short_dir,
    unusable,
    write_durably,
)
from plantprint_cli.embedded.logs import SizeLimitedLog
from plantprint_cli.embedded.ports import find_free_port, is_port_free
from plantprint_cli.embedded.processes import ProcessIdentity

logger = logging.getLogger("plantprint.embedded")

# sockaddr_un holds 108 bytes with the final zero; macOS 104. Room for the longest name we put there.
_SOCKET_PATH_BYTES_MAX = 103
_SOCKET_NAME_LONGEST = ".s.PGSQL.65535.lock"


@dataclass(frozen=True)
class InstanceSettings:
    """Limits of the folder and the user its database runs as when we are root."""

    disk_free_mb_min: int = 200
    log_mb_max: float = 10
    unprivileged_user: str = "nobody"


@dataclass(frozen=True, slots=True)
class ChildRecord:
    """A started child, as the next start needs it to end what an unclean end left behind."""

    process: ProcessIdentity
    stop_signal: int
    stop_timeout_s: float


class Instance:
    """An opened and locked instance folder; close it, or leave its `with` block, to let others in."""

    def __init__(self, path: Path, settings: InstanceSettings, account: Account | None, lock: int) -> None:
        self.path = path
        self.settings = settings
        # Who owns the database files; None when we are an ordinary user and own them ourselves.
        self.account = account
        self._lock: int | None = lock
        self._state = _read_state(path / "state.json")
        self.logs_dir = make_dir(path / "logs", 0o700)
        self.run_dir = make_dir(path / "run", 0o700)
        self.socket_dir = self._make_socket_dir()

    @classmethod
    def open(cls, path: Path | None = None, settings: InstanceSettings | None = None) -> Self:
        """Create or open a folder and lock it; InstanceError tells what is in the way."""
        require_posix()
        settings = settings or InstanceSettings()
        folder = (path or default_path()).expanduser().absolute()
        account = find_account(settings.unprivileged_user) if os.geteuid() == 0 else None
        try:
            make_dir(folder, 0o711 if account else 0o700, parents=True)
            folder = folder.resolve()
            if account:
                refuse_unreachable(folder, account)
            lock = lock_folder(folder)
        except OSError as error:
            raise unusable(folder, error) from error
        try:
            refuse_full_disk(folder, settings.disk_free_mb_min)
            return cls(folder, settings, account, lock)
        except OSError as error:
            os.close(lock)
            raise unusable(folder, error) from error
        except BaseException:
            os.close(lock)
            raise

    def close(self) -> None:
        """Let another process open the folder."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def postgres_data_dir(self, major: int) -> Path:
        """Where the data of one PostgreSQL major version lives."""
        return self.path / f"postgres-{major}"

    def log(self, name: str) -> SizeLimitedLog:
        """The size-limited log file of one child."""
        return SizeLimitedLog(self.logs_dir / f"{name}.log", int(self.settings.log_mb_max * 1_000_000))

    def port(self, name: str) -> int:
        """A loopback port that is free now, the one used before if possible; recorded under `name`."""
        ports: dict[str, int] = self._state["ports"]
        known = ports.get(name)
        taken = {number for other, number in ports.items() if other != name}
        if known is None or not is_port_free(known):
            known = find_free_port(taken)
            ports[name] = known
            self._write_state()
        return known

    def record_child(self, name: str, record: ChildRecord) -> None:
        """Remember a started child until it is forgotten."""
        self._state["children"][name] = asdict(record)
        self._write_state()

    def forget_child(self, name: str) -> None:
        """A child has ended and was waited for."""
        if self._state["children"].pop(name, None) is not None:
            self._write_state()

    def recorded_children(self) -> dict[str, ChildRecord]:
        """Children of this or, right after opening, of an earlier run that did not end cleanly."""
        found = {}
        for name, entry in self._state["children"].items():
            with contextlib.suppress(KeyError, TypeError):
                process = ProcessIdentity(**entry["process"])
                found[name] = ChildRecord(process, int(entry["stop_signal"]), float(entry["stop_timeout_s"]))
        return found

    def _write_state(self) -> None:
        write_durably(self.path / "state.json", json.dumps(self._state, indent=2) + "\n")

    def _make_socket_dir(self) -> Path:
        """A 0700 folder whose socket paths fit the kernel's limit, owned by the database's user."""
        folder = self.run_dir.parent / "sockets"
        if len(os.fsencode(folder / _SOCKET_NAME_LONGEST)) > _SOCKET_PATH_BYTES_MAX:
            folder = short_dir(self.path)
        with contextlib.suppress(FileExistsError):
            folder.mkdir(mode=0o700)
        owner = self.account.uid if self.account else os.geteuid()
        found = folder.lstat()
        # In a shared folder such as /tmp somebody else may have put a folder or a link of this name.
        if not stat.S_ISDIR(found.st_mode) or found.st_uid not in (owner, os.geteuid()):
            raise InstanceError(f"{folder} is not a folder of ours. Remove it, or choose a shorter instance folder.")
        if self.account:
            os.chown(folder, self.account.uid, self.account.gid)
        folder.chmod(0o700)
        if self._state.get("socket_dir") != str(folder):
            self._state["socket_dir"] = str(folder)
            self._write_state()
        return folder


@contextlib.contextmanager
def temporary_instance(settings: InstanceSettings | None = None) -> Iterator[Instance]:
    """An instance in a new folder that an unprivileged user can reach, removed afterwards: for tests and demos."""
    folder = Path(tempfile.mkdtemp(prefix="plantprint-"))
    try:
        folder.chmod(0o711)
        with Instance.open(folder, settings) as instance:
            try:
                yield instance
            finally:
                shutil.rmtree(instance.socket_dir, ignore_errors=True)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _read_state(path: Path) -> dict[str, Any]:
    state: dict[str, Any] = {"version": 1, "ports": {}, "children": {}}
    try:
        read = json.loads(path.read_text(encoding="utf-8"))
        state["ports"] = {str(name): int(port) for name, port in read["ports"].items()}
        state["children"] = dict(read["children"])
        state["socket_dir"] = read.get("socket_dir")
    except FileNotFoundError:
        pass
    except (ValueError, KeyError, TypeError, AttributeError):
        aside = path.with_name("state.json.unreadable")
        logger.warning("%s is unreadable; it is kept as %s and a new one begun", path, aside.name)
        path.replace(aside)
    return state
