"""One SQLite file under one exclusive connection, with a size cap, a ballast for full disks, and damage set aside.

Durability is `synchronous=full`: a commit that returned survives a power cut. SQLite cannot even delete on a full
disk, hence the ballast: a file given up in that moment.
"""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn

import apsw
import structlog

log = structlog.get_logger(__name__)

MB = 1 << 20
PAGE_BYTES = 4096
WAL_PAGES = 1000
WAL_BYTES_MAX = 16 * MB
# A full disk is usable again with room for so many ballasts: with one alone it would be full again within a minute.
ROOM_BALLASTS = 3
DAMAGE = (apsw.CorruptError, apsw.NotADBError)


class OutboxLockedError(RuntimeError):
    """Another process holds the file."""


class DamagedError(RuntimeError):
    """The file is no intact SQLite database."""


class DiskFile:
    """The open file; apsw's errors pass through, except that damage is always a `DamagedError`."""

    def __init__(self, path: Path, schema: str, pages_max: int, ballast_bytes: int) -> None:
        self.path = path
        self._schema = schema
        self._pages_max = pages_max
        self._ballast = path.with_name(path.name + ".ballast")
        self._ballast_bytes = ballast_bytes
        self._connection: apsw.Connection | None = None

    def open(self, check_bytes_max: int = 0, *, create: bool = True) -> None:
        """Open or create; files up to `check_bytes_max` are checked. Raises `OutboxLockedError` and `DamagedError`.

        Without `create` a file that is gone is an `OSError`: on a disk that is not mounted no new one may begin.
        """
        if create:
            self.path.parent.mkdir(parents=True, exist_ok=True)
        # SQLite does not say why it cannot write to a file.
        self.path.open("ab" if create else "rb+").close()
        self._connection = apsw.Connection(str(self.path))
        try:
            self._prepare(check=self.path.stat().st_size <= check_bytes_max)
        except apsw.BusyError as error:
            self.close()
            raise OutboxLockedError(f"{self.path} is in use by another agent: stop it or give each its own") from error
        except DAMAGE as error:
            self.close()
            raise DamagedError(str(error)) from error
        except BaseException:
            self.close()
            raise

    def _prepare(self, *, check: bool) -> None:
        # Exclusive: one process and one connection, clear of SQLite's trouble with several writers to one log.
        for pragma in (
            f"page_size = {PAGE_BYTES}",
            "locking_mode = exclusive",
            "journal_mode = wal",
            "synchronous = full",
            f"wal_autocheckpoint = {WAL_PAGES}",
            f"journal_size_limit = {WAL_BYTES_MAX}",
            "cache_size = -2000",
            f"max_page_count = {self._pages_max}",
        ):
            self.run(f"pragma {pragma}")
        if check and (verdict := self.value("pragma quick_check(1)")) != "ok":
            raise apsw.CorruptError(str(verdict))
        assert self._connection is not None, "open() has just connected"
        self._connection.execute(self._schema)

    def close(self) -> None:
        """Close, if open; a failing close is no reason to keep the file."""
        if self._connection is not None:
            self._connection.close(True)
            self._connection = None

    def checkpoint(self) -> None:
        """Move the whole log into the file and force both to the disk."""
        self.run("pragma wal_checkpoint(truncate)")

    def set_aside(self, stamp: str) -> Path:
        """Close the file and rename it and its log; the next `open` begins a new one. Returns the new path."""
        self.close()
        aside = self.path.with_name(f"{self.path.name}.damaged-{stamp}")
        for suffix in ("", "-wal"):
            part = self.path.with_name(self.path.name + suffix)
            if part.exists():
                part.rename(aside.with_name(aside.name + suffix))
        return aside

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """All or nothing."""
        self.run("begin immediate")
        try:
            yield
            self.run("commit")
        except BaseException:
            # SQLite has undone some failures by itself already.
            if self._connection is not None and self._connection.in_transaction:
                self.run("rollback")
            raise

    # --- statements ---------------------------------------------------------------------------------------------------

    def run(self, sql: str, arguments: Sequence[Any] = ()) -> int:
        """Execute a statement, or several, and return how many rows the last one changed."""
        connection = self._connection or self._closed()
        try:
            connection.execute(sql, arguments)
            return connection.changes()
        except DAMAGE as error:
            raise DamagedError(str(error)) from error

    def rows(self, sql: str, arguments: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        connection = self._connection or self._closed()
        try:
            return list(connection.execute(sql, arguments))
        except DAMAGE as error:
            raise DamagedError(str(error)) from error

    def value(self, sql: str, arguments: Sequence[Any] = ()) -> Any:
        """The first column of the first row, None without a row."""
        rows = self.rows(sql, arguments)
        return rows[0][0] if rows else None

    def used_pages(self) -> int:
        """Pages that hold something; freed ones are used again."""
        return int(self.value("pragma page_count")) - int(self.value("pragma freelist_count"))

    def _closed(self) -> NoReturn:
        raise apsw.CantOpenError("the outbox file is closed")

    # --- ballast ------------------------------------------------------------------------------------------------------

    def drop_ballast(self) -> None:
        self._ballast.unlink(missing_ok=True)

    def has_room(self) -> bool:
        """Whether there is room for `ROOM_BALLASTS` ballasts on the disk and in the file's free pages together."""
        disk = os.statvfs(self.path)
        pages = int(self.value("pragma freelist_count"))
        return disk.f_bavail * disk.f_frsize + pages * PAGE_BYTES >= ROOM_BALLASTS * self._ballast_bytes

    def fill_ballast(self) -> bool:
        """Reserve the ballast on the disk; False when there is no room for it."""
        try:
            with self._ballast.open("ab") as file:
                os.posix_fallocate(file.fileno(), 0, self._ballast_bytes)
        except OSError as error:
            self._ballast.unlink(missing_ok=True)
            log.warning(
                "outbox_ballast_missing",
                reason=str(error),
                remedy=f"free {self._ballast_bytes // MB} MB on the disk of {self.path}",
            )
            return False
        return True
