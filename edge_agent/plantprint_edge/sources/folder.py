"""A folder of CSV files: what is new in them becomes readings, what changed becomes corrections, what is wrong is told.

A file counts as read only when its readings are on our disk. Until then, whatever happens, it is read again, and rows that
were delivered before are equal to themselves: nothing is lost, nothing counts twice.
"""

import asyncio
import hashlib
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Protocol

import apsw
import structlog

from plantprint.facts import Quality
from plantprint.wire.chunk import Row
from plantprint_edge.clock import wall_ms
from plantprint_edge.config.folder import FolderSource
from plantprint_edge.sources import SourceCounts
from plantprint_edge.sources.csv_values import CellError
from plantprint_edge.sources.folder_files import Entry, look
from plantprint_edge.sources.folder_pass import FileError, Pass
from plantprint_edge.sources.folder_state import DAY_MS, FileState, FolderState

log = structlog.get_logger(__name__)

FORGET_EVERY_S = 3600
TOLD_MAX = 10_000
# What decides what a line means: where one of these changes, all files are read again, as corrections.
MEANING = {
    "folder", "encoding", "delimiter", "decimal", "thousands", "header_line", "first_line", "time_columns", "time_format",
    "timezone", "stamp", "period_s", "midnight", "key_columns", "value_column", "missing", "channels",
}  # fmt: skip


class RevisedIntake(Protocol):
    """An intake that knows corrections: rows of a higher revision win over earlier ones of channel and instant."""

    async def put(
        self, rows: Sequence[Row], backlog_chunks_max: int | None = None, *, revision: int = 0
    ) -> list[asyncio.Future[bool]]: ...


class FolderReader:
    """Reads one folder; `state_path` is where it remembers what has been read."""

    def __init__(self, source: FolderSource, first_index: int, intake: RevisedIntake, state_path: Path) -> None:
        self.counts = SourceCounts(source.name, "folder")
        self._source = source
        self._first_index = first_index
        self._intake = intake
        self._state_path = state_path
        self._state: FolderState | None = None
        self._remembers = False
        self._files: dict[str, FileState] = {}
        # Since when, on the monotonic clock, a file has looked as it does now.
        self._seen: dict[str, tuple[tuple[int, int, int], float]] = {}
        self._told: set[tuple[str, str]] = set()
        self._trouble = ""
        self._forget_at_s = 0.0

    async def run(self) -> None:
        """Look and read until cancelled."""
        while True:
            try:
                await self.scan()
                self._trouble = ""
            except OSError as error:
                self._troubled("folder", str(error), "check the path, its mount and its rights")
            except apsw.Error as error:
                self._troubled("state", str(error), "check the disk beside the outbox; nothing is read without it")
                await self._close_state()
            await asyncio.sleep(self._source.scan_every_s)

    async def scan(self) -> None:
        """Read what is new in the folder; raises `OSError` and `apsw.Error` when that cannot be found out."""
        source = self._source
        state = await self._opened_state()
        entries, refused = await asyncio.to_thread(look, source.folder, source.pattern, source.files_max)
        for name, reason in refused.items():
            self._tell_once(name, reason, "only plain files of this folder are read, the newest files_max of them")
        self._watch(entries)
        due = [entry for entry in entries if self._is_due(entry)]
        for entry in due[: source.files_per_scan_max]:
            await self._read(state, entry)
        if time.monotonic() >= self._forget_at_s:
            self._forget_at_s = time.monotonic() + FORGET_EVERY_S
            names = {entry.name for entry in entries}
            await asyncio.to_thread(state.forget, names, wall_ms() - source.remember_days * DAY_MS)

    async def _opened_state(self) -> FolderState:
        if self._state is None:
            meaning = self._source.model_dump_json(include=MEANING)
            layout = hashlib.blake2b(meaning.encode(), digest_size=16).hexdigest()
            if self._trouble == "state" and self._remembers and not self._state_path.exists():
                raise apsw.CantOpenError(f"{self._state_path} is gone; is its disk mounted?")
            self._state = await asyncio.to_thread(FolderState, self._state_path, layout)
            self._files = await asyncio.to_thread(self._state.files)
            self._remembers = True
        if self._trouble == "state":
            # Nothing is read that could not be remembered.
            await asyncio.to_thread(self._state.check)
        return self._state

    async def _close_state(self) -> None:
        """After trouble: a file that is held open keeps its disk from being repaired, and never sees the repaired one."""
        state, self._state = self._state, None
        if state is not None:
            with suppress(apsw.Error):
                await asyncio.to_thread(state.close)

    def _watch(self, entries: Sequence[Entry]) -> None:
        now_s = time.monotonic()
        before = self._seen
        self._seen = {
            entry.name: known if (known := before.get(entry.name)) and known[0] == entry.key else (entry.key, now_s)
            for entry in entries
        }

    def _still_s(self, entry: Entry) -> float:
        """How long a file has not changed: as far as we have seen, or as its own time tells where clocks agree."""
        seen_s = time.monotonic() - self._seen[entry.name][1]
        return max(seen_s, (wall_ms() - entry.mtime_ns // 1_000_000) / 1000)

    def _is_due(self, entry: Entry) -> bool:
        state = self._files.get(entry.name)
        if state is None or not state.is_of(*entry.key):
            return True
        return state.waiting and self._still_s(entry) >= self._source.last_line_after_s

    async def _read(self, state: FolderState, entry: Entry) -> None:
        """Read one file as far as it goes, and remember that once all is on disk."""
        reading = Pass(
            self._source, state, self._known(entry),
            is_settled=self._still_s(entry) >= self._source.settle_s,
            takes_last_line=self._still_s(entry) >= self._source.last_line_after_s,
        )  # fmt: skip
        try:
            if not await asyncio.to_thread(reading.open, self._source.folder / entry.name):
                return
            stored = await self._deliver(reading)
        except (FileError, CellError) as error:
            reason = error.reason if isinstance(error, FileError) else "header"
            self._tell_once(entry.name, reason, str(error), entry)
            await self._remember(state, reading, reading.refused(entry))
            return
        except OSError as error:
            # It may be there next time; and a folder that is gone is told by the next look.
            self._tell_once(entry.name, "file", str(error), entry)
            return
        finally:
            reading.close()
        if not stored:
            self.counts.errors["not stored"] += 1
            return
        if reading.problem:
            self._tell_once(entry.name, reading.problem.reason, str(reading.problem), entry)
        await self._remember(state, reading, reading.state())

    def _known(self, entry: Entry) -> FileState | None:
        """What was read of this file, also where it had another name."""
        known = self._files.get(entry.name)
        if known is None:
            same = (one for one in self._files.values() if one.inode == entry.inode and one.size <= entry.size)
            known = next((one for one in same if self._is_gone(one)), None)
        return known

    def _is_gone(self, file: FileState) -> bool:
        """Whether there is no file of this name any more, or another one."""
        seen = self._seen.get(file.name)
        return seen is None or seen[0][2] != file.inode

    async def _deliver(self, reading: Pass) -> bool:
        """Put all readings of a pass into the intake; whether all of them are on disk."""
        waiting: list[asyncio.Future[bool]] = []
        stored = True
        while (batch := await asyncio.to_thread(reading.batch)) is not None:
            for revision, values in batch.values.items():
                rows: list[Row] = [(self._first_index + i, t_ms, v, Quality.MEASURED) for i, t_ms, v in values]
                waiting += await self._intake.put(rows, self._source.backlog_chunks_max, revision=revision)
                self.counts.readings += len(rows)
                self.counts.last_good_ms = max(self.counts.last_good_ms or 0, *(row[1] for row in rows))
            self.counts.polls += batch.lines
            self.counts.missing += batch.missing
            self._tell_lines(reading, batch.errors)
            for key in batch.unknown_keys:
                self._tell_once(key, "unknown key", "no channel has this key; add one, or ignore this")
            stored = stored and all(future.result() for future in waiting if future.done())
            waiting = [future for future in waiting if not future.done()]
        # Others may wait for the same chunks, and `gather` would cancel them with us.
        if waiting:
            await asyncio.wait(waiting)
        return stored and all(future.result() for future in waiting)

    async def _remember(self, state: FolderState, reading: Pass, file: FileState) -> None:
        await asyncio.to_thread(reading.remember, file, wall_ms())
        old = reading.known.name if reading.known else file.name
        if old != file.name:
            del self._files[old]
        self._files[file.name] = file
        assert state is self._state, "one reader has one state"

    def _tell_lines(self, reading: Pass, errors: Sequence[tuple[int, str]]) -> None:
        for line, error in errors:
            self.counts.errors["line"] += 1
            reading.errors += 1
            if reading.errors <= self._source.bad_lines_logged_max:
                place = f"{self._source.folder / reading.name}:{line}"
                remedy = "correct the file; the rest of it counts. Further lines of this file are only counted"
                log.warning("line_set_aside", source=self._source.name, place=place, reason=error, remedy=remedy)

    def _tell_once(self, name: str, reason: str, detail: str, entry: Entry | None = None) -> None:
        """Count and log a file that cannot be used, once as long as it looks as it does."""
        told = (f"{name} {entry.key if entry else ''}", reason)
        if told in self._told:
            return
        if len(self._told) >= TOLD_MAX:
            self._told.clear()
        self._told.add(told)
        self.counts.errors[reason] += 1
        log.warning("file_refused", source=self._source.name, name=name[:200], reason=reason, detail=detail[:500])

    def _troubled(self, reason: str, detail: str, remedy: str) -> None:
        self.counts.errors[reason] += 1
        if self._trouble != reason:
            self._trouble = reason
            log.warning("folder_failing", source=self._source.name, reason=reason, detail=detail, remedy=remedy)
