"""What tests of Modbus sources need: an intake that keeps rows, and a device that is read once."""

import asyncio
from collections.abc import Sequence

from plantprint.times import SiteClock
from plantprint.wire.chunk import Row
from plantprint_edge.clock import Clock
from plantprint_edge.config import ModbusSource
from plantprint_edge.sources import SourceCounts
from plantprint_edge.sources.modbus import ModbusReader


class Rows(list[Row]):
    """An intake that keeps what it is given."""

    async def put(self, rows: Sequence[Row], backlog_chunks_max: int | None = None) -> list[asyncio.Future[bool]]:
        self += rows
        return []


async def reading_once(of: ModbusSource, rows: Rows) -> SourceCounts:
    """One round of polling; trouble with the device raises."""
    reader = ModbusReader(of, 0, rows, Clock(SiteClock()))
    try:
        await reader._round()
    finally:
        reader._line.release()
    return reader.counts
