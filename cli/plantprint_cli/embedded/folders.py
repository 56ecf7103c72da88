"""Folders of an instance: where they are, who can reach them, who holds them, how a file in them is replaced."""

import errno
import hashlib
import os
import shutil
import stat
import sys
from pathlib import Path

from plantprint_cli.embedded.children import Account
from plantprint_cli.embedded.errors import InstanceError

HOME_VARIABLE = "PLANTPRINT_HOME"
_ROOT_HOME = Path("/var/lib/plantprint")


def default_path() -> Path:
    """$PLANTPRINT_HOME, else a folder that suits the user: root's must be reachable by an unprivileged one."""
    named = os.environ.get(HOME_VARIABLE)
    if named:
        return Path(named)
    if os.geteuid() == 0:
        return _ROOT_HOME
    data_home = os.environ.get("XDG_DATA_HOME")
    return (Path(data_home) if data_home else Path.home() / ".local/share") / "plantprint"


def find_account(name: str) -> Account:
    """Look up the unprivileged user that owns the database when we are root."""
    import pwd

    try:
        entry = pwd.getpwnam(name)
    except KeyError:
        raise InstanceError(
            f"There is no user {name!r} to own the database: PostgreSQL refuses to run as root. "
            "Name an existing unprivileged user in unprivileged_user."
        ) from None
    if entry.pw_uid == 0:
        raise InstanceError(f"unprivileged_user is {name!r}, which is root: PostgreSQL refuses to run as root.")
    return Account(name, entry.pw_uid, entry.pw_gid)


def write_durably(path: Path, text: str) -> None:
    """Replace a file so that a crash leaves the old or the new text, never half of one."""
    temporary = path.with_name(path.name + ".new")
    with temporary.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def make_dir(path: Path, mode: int, *, parents: bool = False) -> Path:
    if not path.is_dir():
        if parents:
            path.parent.mkdir(parents=True, exist_ok=True)
        path.mkdir(mode=mode)
        # The umask may have taken away what another user needs to pass through.
        path.chmod(mode)
    return path


def lock_folder(folder: Path) -> int:
    import fcntl

    handle = os.open(folder / "instance.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        holder = os.read(handle, 32).decode("ascii", errors="replace").strip() or "unknown"
        os.close(handle)
        if error.errno not in (errno.EWOULDBLOCK, errno.EACCES):
            raise
        raise InstanceError(
            f"The instance folder {folder} is in use by process {holder}. Stop that one (Ctrl-C in its terminal, "
            f"or `kill {holder}`), use its database and broker, or choose another folder with {HOME_VARIABLE}."
        ) from None
    os.ftruncate(handle, 0)
    os.pwrite(handle, f"{os.getpid()}\n".encode("ascii"), 0)
    return handle


def refuse_unreachable(folder: Path, account: Account) -> None:
    for parent in reversed([folder, *folder.parents]):
        found = parent.stat()
        if found.st_uid == account.uid:
            passes = found.st_mode & stat.S_IXUSR
        elif found.st_gid == account.gid:
            passes = found.st_mode & stat.S_IXGRP
        else:
            passes = found.st_mode & stat.S_IXOTH
        if not passes:
            raise InstanceError(
                f"User {account.name!r}, who runs the database because PostgreSQL refuses to run as root, cannot "
                f"enter {parent} (mode {stat.S_IMODE(found.st_mode):04o}), so the instance folder {folder} is out of "
                f"its reach. Choose another folder with {HOME_VARIABLE} (default {_ROOT_HOME}), run plantprint as an "
                f"ordinary user, or allow passage with `chmod o+x {parent}`."
            )


def refuse_full_disk(folder: Path, free_mb_min: int) -> None:
    free_mb = shutil.disk_usage(folder).free // 1_000_000
    if free_mb < free_mb_min:
        raise InstanceError(
            f"Only {free_mb} MB are free on the disk of {folder}; at least {free_mb_min} MB are needed. Free some "
            f"space, choose a folder on another disk with {HOME_VARIABLE}, or lower disk_free_mb_min."
        )


def unusable(folder: Path, error: OSError) -> InstanceError:
    where = error.filename or folder
    return InstanceError(
        f"The instance folder {folder} cannot be used: {error.strerror or error} ({where}). "
        f"Choose a folder that you may write to with {HOME_VARIABLE}."
    )


def short_dir(instance_path: Path) -> Path:
    digest = hashlib.sha256(os.fsencode(instance_path)).hexdigest()[:12]
    if os.geteuid() == 0:
        return Path("/run" if sys.platform == "linux" else "/tmp") / f"plantprint-{digest}"  # noqa: S108
    runtime = os.environ.get("XDG_RUNTIME_DIR")
    if runtime and len(runtime) < 40 and os.access(runtime, os.W_OK | os.X_OK):
        return Path(runtime) / f"plantprint-{digest}"
    return Path(f"/tmp/plantprint-{os.geteuid()}-{digest}")  # noqa: S108  checked by the caller
