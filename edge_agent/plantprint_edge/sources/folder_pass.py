"""One pass over one file: from the first line that was not read before to the last whole one, batch by batch.

All of it runs in a thread, one call after the other; the disk may be a share that takes its time.
"""

import hashlib
from array import array
from bisect import bisect_left
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from plantprint_edge.config.folder import FolderSource
from plantprint_edge.sources.csv_values import CellError
from plantprint_edge.sources.folder_files import Entry, Line, LineReader, opened
from plantprint_edge.sources.folder_rows import Lines, Table, Value
from plantprint_edge.sources.folder_state import Delivered, FileState, FolderState

BATCH_VALUES = 500
BATCH_LINES = 500
MB = 1_000_000


class FileError(ValueError):
    """A file that is not read as it is; `reason` is counted."""

    def __init__(self, reason: str, detail: str) -> None:
        self.reason = reason
        super().__init__(detail)


@dataclass(slots=True)
class Batch:
    """Readings by revision, and what else the lines held; errors as (line, what is wrong)."""

    values: dict[int, list[Value]] = field(default_factory=dict)
    lines: int = 0
    missing: int = 0
    errors: list[tuple[int, str]] = field(default_factory=list)
    unknown_keys: set[str] = field(default_factory=set)


class Pass:
    """Reads what is new since `known`; rows of lines that were read before, in whatever order, are left out.

    A rewritten file is left for later unless it `is_settled`; a last line without its end unless it is time for it.
    """

    def __init__(
        self,
        source: FolderSource,
        state: FolderState,
        known: FileState | None,
        *,
        is_settled: bool,
        takes_last_line: bool,
    ) -> None:
        self.known = known
        self.errors = 0
        self.name = ""
        self.problem: FileError | None = None
        self._source = source
        self._store = state
        self._is_settled = is_settled
        self._takes_last_line = takes_last_line
        self._delivered = Delivered(state)
        self._lines = Lines(source)
        self._file: BinaryIO | None = None
        self._afresh = False
        self._salt = b""
        self._old: array[int] = array("Q")
        self._new: array[int] = array("Q")

    def open(self, path: Path) -> bool:
        """Open and find the place to go on; False where it is too early. Raises `OSError`, `FileError`, `CellError`."""
        self._file, self._entry = opened(path)
        self.name = path.name
        if self._entry.size > self._source.file_mb_max * MB:
            raise FileError("too large", f"{self._entry.size / MB:.1f} MB; file_mb_max is {self._source.file_mb_max}")
        if not self._open_table():
            return False
        self._reader = LineReader(self._file, self._entry.size, self._source.line_bytes_max)
        known = self.known
        self._afresh = known is None or not self._reader.skip(known.offset, known.lines, known.digest)
        if known is not None and self._afresh:
            if known.name != self.name:
                # Another file that got the number of one that is gone.
                self.known = None
            elif not self._is_settled:
                return False
        if self.known is not None and (self._afresh or self._tail_was_taken(self.known)):
            self._old = self._store.line_digests(self.known.name)
        self._pending = iter(self._reader)
        return True

    def _tail_was_taken(self, known: FileState) -> bool:
        return known.size > known.offset and not known.waiting

    def _open_table(self) -> bool:
        """Read the header; False while it is not there yet."""
        assert self._file is not None, "opened"
        source, header = self._source, None
        if source.header_line:
            head = iter(LineReader(self._file, self._entry.size, source.line_bytes_max))
            line = next((line for line in head if line.number == source.header_line), None)
            self._file.seek(0)
            if line is None:
                return False
            self._salt = hashlib.blake2b(line.raw or b"").digest()
            header = self._lines.cells(line.raw)
        self._table = Table(source, header, self._store.newest)
        return True

    def batch(self) -> Batch | None:
        """What the next lines say, None at the end; `problem` says why that came early. Raises `OSError`."""
        batch = self._next_batch()
        if any(batch.values):
            self._store.reserve(self._delivered.corrections())
        return batch if batch.lines else None

    def _next_batch(self) -> Batch:
        batch, size = Batch(), 0
        for line in self._pending:
            if line.number > self._source.lines_max:
                self.problem = FileError("too many lines", f"more than {self._source.lines_max} (lines_max); split it")
                return batch
            size += self._take(batch, line)
            if batch.lines >= BATCH_LINES or size >= BATCH_VALUES:
                return batch
        if self._takes_last_line and self._reader.rest and not self.problem:
            line, self._reader.rest = Line(self._reader.lines + 1, self._reader.rest.removesuffix(b"\r")), b""
            self._take(batch, line)
        return batch

    def _take(self, batch: Batch, line: Line) -> int:
        """Add a line to the batch; returns how many values it has."""
        if line.number < self._source.data_line:
            return 0
        digest = self._digest(line.raw)
        at = bisect_left(self._old, digest)
        self._new.append(digest)
        if at < len(self._old) and self._old[at] == digest:
            return 0
        batch.lines += 1
        try:
            parsed = self._table.parse(self._lines.cells(line.raw))
        except CellError as error:
            batch.errors.append((line.number, str(error)))
            return 0
        batch.missing += parsed.missing
        batch.errors += [(line.number, error) for error in parsed.errors]
        if parsed.unknown_key:
            batch.unknown_keys.add(parsed.unknown_key)
        for value in parsed.values:
            revision = self._delivered.revision(self._source.channels[value[0]].name, value[1])
            batch.values.setdefault(revision, []).append(value)
        return len(parsed.values)

    def _digest(self, raw: bytes | None) -> int:
        # Under another header the same line says something else; without one the key is empty.
        return int.from_bytes(hashlib.blake2b(raw or b"", digest_size=8, key=self._salt).digest())

    def state(self) -> FileState:
        """The file as it has been read now."""
        reader, entry = self._reader, self._entry
        waiting = bool(reader.rest) and self.problem is None
        return FileState(
            entry.name, entry.size, entry.mtime_ns, entry.inode, reader.offset, reader.lines, reader.digest, waiting
        )

    def refused(self, entry: Entry) -> FileState:
        """The file as one that is not looked at again until it changes; what was read of it stays known."""
        self._afresh, self._new, self._delivered = False, array("Q"), Delivered(self._store)
        return FileState(entry.name, *entry.key)

    def remember(self, file: FileState, now_ms: int) -> None:
        """Store how far the file was read; raises `apsw.Error`."""
        if self.known is not None and self.known.name != file.name:
            self._store.rename(self.known.name, file.name)
        self._store.store(file, self._new, self._delivered, now_ms, afresh=self._afresh)

    def close(self) -> None:
        if self._file is not None:
            self._file.close()
