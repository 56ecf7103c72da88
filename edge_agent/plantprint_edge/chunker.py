"""Readings → chunks: rows gather per channel table until a chunk is full or its first row has waited long enough."""

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field

from plantprint.wire import TABLE_CHANNELS_MAX
from plantprint.wire.chunk import Row, encode_rows
from plantprint_edge.channels import Table
from plantprint_edge.clock import Clock
from plantprint_edge.committer import Committer, OutboxUnusableError
from plantprint_edge.config import ChunkLimits
from plantprint_edge.records import Draft


@dataclass(slots=True)
class _Open:
    """A chunk in the making; `committed` becomes True on disk, False when it was lost and counted."""

    committed: asyncio.Future[bool]
    timer: asyncio.TimerHandle
    rows: list[Row] = field(default_factory=list)


class Chunker:
    """Where all sources put their readings."""

    def __init__(self, committer: Committer, tables: Sequence[Table], limits: ChunkLimits, clock: Clock) -> None:
        self._committer = committer
        self._tables = tables
        self._limits = limits
        self._clock = clock
        self._open: dict[int, _Open] = {}
        self.readings = 0

    async def put(self, rows: Sequence[Row], backlog_chunks_max: int | None = None) -> list[asyncio.Future[bool]]:
        """See `Intake.put`."""
        await self._committer.room(backlog_chunks_max)
        touched: dict[asyncio.Future[bool], None] = {}
        for index, t_ms, value, quality in rows:
            number = index // TABLE_CHANNELS_MAX
            chunk = self._open.get(number) or self._begin(number)
            chunk.rows.append((index % TABLE_CHANNELS_MAX, t_ms, value, quality))
            touched[chunk.committed] = None
            self._clock.saw(t_ms)
            if len(chunk.rows) >= self._limits.rows_max:
                self._seal(number)
        self.readings += len(rows)
        return list(touched)

    async def flush(self) -> None:
        """Close every open chunk and wait until all are on disk or counted as lost."""
        for number in list(self._open):
            self._seal(number)
        # The outbox works in order of arrival, so this comes back after everything before it.
        with suppress(OutboxUnusableError):
            await self._committer.call(lambda _: None)

    def _begin(self, number: int) -> _Open:
        loop = asyncio.get_running_loop()
        timer = loop.call_later(self._limits.age_ms_max / 1000, self._seal, number)
        chunk = self._open[number] = _Open(loop.create_future(), timer)
        return chunk

    def _seal(self, number: int) -> None:
        chunk = self._open.pop(number)
        chunk.timer.cancel()
        times = [row[1] for row in chunk.rows]
        stored = self._committer.append(
            Draft(
                "readings",
                encode_rows(chunk.rows),
                len(chunk.rows),
                table=self._tables[number].hash,
                from_ms=min(times),
                to_ms=max(times),
            )
        )
        stored.add_done_callback(lambda future: chunk.committed.set_result(future.result() is not None))
