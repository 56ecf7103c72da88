"""What has been read of which file, on disk beside the outbox, so that nothing is read twice or lost over a restart.

It is written after the readings are in the outbox; only the revisions of corrections are taken before. Whatever happens
in between, the worst is that lines are read again, and equal rows count once.
"""

from array import array
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import apsw
import structlog

log = structlog.get_logger(__name__)

_SCHEMA = """
    create table if not exists meta (key text primary key, value text not null) without rowid;
    create table if not exists file (
        name text primary key, size integer not null, mtime_ns integer not null, inode integer not null,
        offset integer not null, lines integer not null, digest blob not null, waiting integer not null,
        looked_ms integer not null) without rowid;
    -- Digests of the lines that were read, eight bytes each, in the order of reading.
    create table if not exists part (name text not null, n integer not null, lines blob not null, primary key (name, n))
        without rowid;
    -- Per channel and UTC day: the newest instant that was delivered, and the highest revision so far.
    create table if not exists day (channel text not null, day integer not null, newest_ms integer not null,
        revision integer not null, primary key (channel, day)) without rowid;
"""
REVISION_MAX = 32_767
DAY_MS = 86_400_000


@dataclass(frozen=True, slots=True)
class FileState:
    """A file as it was when it was read last: `offset` bytes in `lines` whole lines with this digest are behind us.

    `waiting`: whether a last line without its end was left unread.
    """

    name: str
    size: int
    mtime_ns: int
    inode: int
    offset: int = 0
    lines: int = 0
    digest: bytes = b""
    waiting: bool = False

    def is_of(self, size: int, mtime_ns: int, inode: int) -> bool:
        return (self.size, self.mtime_ns, self.inode) == (size, mtime_ns, inode)


class Delivered:
    """Which revision a reading gets: 0 for what is new, and for what corrects an earlier one more than that had."""

    def __init__(self, store: "FolderState") -> None:
        self._store = store
        self._days: dict[tuple[str, int], tuple[int, int]] = {}
        self._now: dict[tuple[str, int], tuple[int, int]] = {}

    def revision(self, channel: str, t_ms: int) -> int:
        """The revision of a reading of `channel`, decided by what earlier files have delivered of its day."""
        key = (channel, t_ms // DAY_MS)
        before = self._days.get(key)
        if before is None:
            before = self._days[key] = self._store.day(*key)
        newest_ms, revision = self._now.get(key, before)
        mine = 0 if t_ms > before[0] else before[1] + 1
        if t_ms == newest_ms and newest_ms > before[0]:
            # The line before in the same file said something else of this instant: the later one counts.
            mine = revision + 1
        mine = min(mine, REVISION_MAX)
        self._now[key] = (max(newest_ms, t_ms), max(revision, mine))
        return mine

    def corrections(self) -> list[tuple[int, str, int]]:
        """Revisions that corrections have got so far, as (revision, channel, day)."""
        return [(revision, *key) for key, (_, revision) in self._now.items() if revision > 0]

    def changes(self) -> Iterator[tuple[str, int, int, int]]:
        """Rows of the table `day` to be stored."""
        return ((*key, *value) for key, value in self._now.items())


class FolderState:
    """The file. Raises `apsw.Error` when it cannot be read or written; a damaged one is set aside and begun anew."""

    def __init__(self, path: Path, layout: str) -> None:
        self._path = path
        try:
            self._open(layout)
        except (apsw.NotADBError, apsw.CorruptError) as error:
            aside = path.with_name(path.name + ".damaged")
            path.replace(aside)
            log.warning("folder_state_damaged", set_aside=str(aside), reason=str(error), remedy="files are read again")
            self._open(layout)

    def _open(self, layout: str) -> None:
        self._db = apsw.Connection(str(self._path))
        self._db.set_busy_timeout(1000)
        self._db.execute("pragma journal_mode = wal; pragma synchronous = normal; pragma journal_size_limit = 1048576")
        self._db.execute(_SCHEMA)
        known = self._db.execute("select value from meta where key = 'layout'").fetchone()
        if known != (layout,):
            with self._db:
                # Other columns, decimals or zones: what lines mean has changed.
                self._db.execute("delete from file; delete from part")
                self._db.execute("insert or replace into meta values ('layout', ?)", (layout,))

    def close(self) -> None:
        self._db.close()

    def files(self) -> dict[str, FileState]:
        """All files that were ever read and are not forgotten."""
        columns = "name, size, mtime_ns, inode, offset, lines, digest, waiting"
        states = (_state(*row) for row in self._db.execute(f"select {columns} from file"))
        return {state.name: state for state in states}

    def line_digests(self, name: str) -> "array[int]":
        """Of all lines of a file that were read, sorted."""
        digests = array("Q")
        for (part,) in self._db.execute("select lines from part where name = ?", (name,)):
            digests.frombytes(part)
        return array("Q", sorted(digests))

    def day(self, channel: str, day: int) -> tuple[int, int]:
        """The newest instant of a channel in a day, and the highest revision; before all time where there is none."""
        found = self._db.execute(
            "select newest_ms, revision from day where channel = ? and day = ?", (channel, day)
        ).fetchone()
        return (int(found[0]), int(found[1])) if found else (-(2**62), -1)

    def newest(self, channel: str) -> int | None:
        """The newest instant of a channel that was ever delivered, None where there is none."""
        row = self._db.execute("select max(newest_ms) from day where channel = ?", (channel,)).fetchone()
        return None if row is None or row[0] is None else int(row[0])

    def check(self) -> None:
        """Write something; raises `apsw.Error` where that is not possible."""
        self._db.execute("insert or replace into meta values ('checked', '')")

    def reserve(self, corrections: Iterable[tuple[int, str, int]]) -> None:
        """Never give these revisions again, also where what carries them is not remembered: what comes later wins."""
        with self._db:
            self._db.executemany(
                "update day set revision = max(revision, ?1) where channel = ?2 and day = ?3", corrections
            )

    def store(
        self, state: FileState, new_lines: "array[int]", delivered: Delivered, now_ms: int, *, afresh: bool
    ) -> None:
        """Remember that a file was read; `afresh`: `new_lines` are all of its lines."""
        with self._db:
            if afresh:
                self._db.execute("delete from part where name = ?", (state.name,))
            if new_lines:
                number = "(select coalesce(max(n) + 1, 0) from part where name = ?1)"
                self._db.execute(f"insert into part values (?1, {number}, ?2)", (state.name, new_lines.tobytes()))
            self._db.executemany("insert or replace into day values (?, ?, ?, ?)", delivered.changes())
            self._db.execute(
                "insert or replace into file values (?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (state.name, state.size, state.mtime_ns, state.inode, state.offset, state.lines, state.digest,
                 int(state.waiting), now_ms),
            )  # fmt: skip

    def rename(self, old: str, new: str) -> None:
        """A file has another name now."""
        with self._db:
            for table in ("file", "part"):
                self._db.execute(f"delete from {table} where name = ?", (new,))
                self._db.execute(f"update {table} set name = ? where name = ?", (new, old))

    def forget(self, there: Iterable[str], before_ms: int) -> None:
        """Forget files that are gone and were not read since `before_ms`, and the days before it."""
        with self._db:
            kept = set(there)
            old = self._db.execute("select name from file where looked_ms < ?", (before_ms,)).fetchall()
            for (name,) in old:
                if name not in kept:
                    self._db.execute("delete from file where name = ?", (name,))
                    self._db.execute("delete from part where name = ?", (name,))
            self._db.execute("delete from day where day < ?", (before_ms // DAY_MS,))


def _state(
    name: str, size: int, mtime_ns: int, inode: int, offset: int, lines: int, digest: bytes, waiting: int
) -> FileState:
    return FileState(name, size, mtime_ns, inode, offset, lines, digest, bool(waiting))
