"""Readings → chunks: rows gather per channel table until a chunk is full or its first row has waited long enough.

Rows that were read before the machine knew the time wait in memory, and are dated as soon as it does.
"""

import asyncio
from collections import deque
from collections.abc import Container, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from typing import NamedTuple

import structlog

from plantprint.wire import TABLE_CHANNELS_MAX
from plantprint.wire.chunk import Row, encode_rows
from plantprint_edge.channels import Table
from plantprint_edge.clock import Clock
from plantprint_edge.committer import Committer, OutboxUnusableError
from plantprint_edge.config import ChunkLimits
from plantprint_edge.records import Draft

log = structlog.get_logger(__name__)

# Ten years: longer than a machine runs without a restart, and earlier than any time of day.
UNDATED_MS_MAX = 315_360_000_000


class _Key(NamedTuple):
    """What rows of one chunk have in common: channel table, revision, and whether their times are still to be dated."""

    number: int
    revision: int
    undated: bool


_NO_KEY = _Key(-1, 0, undated=False)


@dataclass(slots=True)
class _Open:
    """A chunk in the making; `committed` becomes True on disk, False when it was lost and counted."""

    committed: asyncio.Future[bool]
    timer: asyncio.TimerHandle
    rows: list[Row] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class _Waiting:
    """A full chunk that waits for the time."""

    chunk: _Open
    table: str
    revision: int


class Chunker:
    """Where all sources put their readings, each through a `Port`."""

    def __init__(self, committer: Committer, tables: Sequence[Table], limits: ChunkLimits, clock: Clock) -> None:
        self._committer = committer
        self._tables = tables
        self._limits = limits
        self._clock = clock
        self._open: dict[_Key, _Open] = {}
        self._waiting: deque[_Waiting] = deque()
        self.readings = 0
        # Read before the machine knew the time: those that wait for it, and those for which there was no room or no time.
        self.undated_rows = 0
        self.undated_rows_lost = 0

    def port(self, first: int) -> "Port":
        """Where the source whose first channel is the agent's channel `first` puts its readings."""
        return Port(self, self._committer, first)

    def add(self, rows: Sequence[Row], first: int, revision: int = 0) -> list[asyncio.Future[bool]]:
        """Put rows, whose channels count from `first`, into chunks; returns a future per chunk touched."""
        touched: dict[asyncio.Future[bool], None] = {}
        undated = not self._clock.dates
        if self._waiting and not undated:
            self._date()
        key, chunk, held, shift, rows_max = _NO_KEY, None, False, 0, self._limits.rows_max
        for index, t_ms, value, quality in rows:
            place = index + shift
            # What a device or file dates by itself needs no clock of ours.
            waits = undated and t_ms < UNDATED_MS_MAX
            if chunk is None or not 0 <= place < TABLE_CHANNELS_MAX or waits != held:
                number, place = divmod(first + index, TABLE_CHANNELS_MAX)
                shift, held = place - index, waits
                key = _Key(number, revision, waits)
                chunk = self._open.get(key) or self._begin(key)
                touched[chunk.committed] = None
            chunk.rows.append((place, t_ms, value, quality))
            if len(chunk.rows) >= rows_max:
                self._seal(key)
                chunk = None
        self._clock.saw(max((row[1] for row in rows), default=0))
        self.readings += len(rows)
        return list(touched)

    def close(self, chunks: Container[asyncio.Future[bool]]) -> None:
        """Close those of these chunks that are still open: somebody waits for them."""
        for key in [key for key, chunk in self._open.items() if chunk.committed in chunks]:
            self._seal(key)

    def exchange(self, tables: Sequence[Table], limits: ChunkLimits) -> None:
        """Go on with other channel tables, which have been declared; what was put before keeps its own."""
        for key in list(self._open):
            self._seal(key)
        self._tables, self._limits = tables, limits

    async def flush(self) -> None:
        """Close every open chunk and wait until all are on disk or counted as lost."""
        for key in list(self._open):
            self._seal(key)
        self._date()
        # The outbox works in order of arrival, so this comes back after everything before it.
        with suppress(OutboxUnusableError):
            await self._committer.call(lambda _: None)

    def _begin(self, key: _Key) -> _Open:
        loop = asyncio.get_running_loop()
        timer = loop.call_later(self._limits.age_ms_max / 1000, self._seal, key)
        chunk = self._open[key] = _Open(loop.create_future(), timer)
        return chunk

    def _seal(self, key: _Key) -> None:
        chunk = self._open.pop(key)
        chunk.timer.cancel()
        table = self._tables[key.number].hash
        if not key.undated:
            self._store(chunk, chunk.rows, table, key.revision)
            return
        self._waiting.append(_Waiting(chunk, table, key.revision))
        self.undated_rows += len(chunk.rows)
        while self.undated_rows > self._limits.undated_rows_max:
            self._lose(self._waiting.popleft().chunk)

    def _date(self) -> None:
        """Store what waited, at the times that it was read at; what is never dated is lost and counted."""
        offset_ms = self._clock.offset_ms
        waiting, self._waiting = self._waiting, deque()
        for one in waiting:
            if offset_ms is None:
                self._lose(one.chunk)
                continue
            self.undated_rows -= len(one.chunk.rows)
            rows = [(place, t_ms + offset_ms, value, quality) for place, t_ms, value, quality in one.chunk.rows]
            self._store(one.chunk, rows, one.table, one.revision)

    def _lose(self, chunk: _Open) -> None:
        self.undated_rows -= len(chunk.rows)
        self.undated_rows_lost += len(chunk.rows)
        log.error(
            "undated_readings_lost",
            rows=len(chunk.rows),
            remedy="give this machine the time: a clock with a battery, or a time server it can reach",
        )
        chunk.committed.set_result(False)

    def _store(self, chunk: _Open, rows: Sequence[Row], table: str, revision: int) -> None:
        times = [row[1] for row in rows]
        stored = self._committer.append(
            Draft(
                "readings",
                encode_rows(rows),
                len(rows),
                table=table,
                from_ms=min(times),
                to_ms=max(times),
                revision=revision,
            )
        )
        stored.add_done_callback(partial(_committed, chunk))


def _committed(chunk: _Open, stored: "asyncio.Future[int | None]") -> None:
    # Whoever waited for it may have been cancelled, and the future with him.
    if not chunk.committed.done():
        chunk.committed.set_result(stored.result() is not None)


@dataclass(slots=True)
class Port:
    """The intake of one source; `first` moves when the channel tables change."""

    _chunker: Chunker
    _committer: Committer
    first: int

    async def put(
        self, rows: Sequence[Row], backlog_chunks_max: int | None = None, *, revision: int = 0
    ) -> list[asyncio.Future[bool]]:
        """See `Intake.put`; rows of a higher `revision` win over earlier ones of the same channel and instant."""
        await self._committer.room(backlog_chunks_max)
        return self._chunker.add(rows, self.first, revision)

    def close(self, chunks: Container[asyncio.Future[bool]]) -> None:
        """See `Chunker.close`."""
        self._chunker.close(chunks)
