"""What tests of Modbus sources need: serial lines written by hand, and polling."""

import asyncio
import struct
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from dataclasses import dataclass, field

from line_rig import Rows, on_pty, over_tcp, polling

from plantprint.times import SiteClock
from plantprint_edge.clock import Clock
from plantprint_edge.config import ModbusSource
from plantprint_edge.sources import SourceCounts
from plantprint_edge.sources.modbus import ModbusReader
from plantprint_edge.sources.modbus_line import Lines


async def reading_once(of: ModbusSource, rows: Rows) -> SourceCounts:
    """One round of polling; trouble with the device raises."""
    reader = ModbusReader(of, 0, rows, Clock(SiteClock()))
    try:
        await reader.poll()
    finally:
        reader._line.release()
    return reader.counts


Answer = Callable[[int, int, int, int], Awaitable[list[bytes]]]


def crc(frame: bytes) -> bytes:
    """CRC-16/MODBUS bit by bit, low byte first."""
    value = 0xFFFF
    for byte in frame:
        value ^= byte
        for _ in range(8):
            value = value >> 1 ^ (0xA001 if value & 1 else 0)
    return struct.pack("<H", value)


def frame(unit: int, fc: int, words: Sequence[int]) -> bytes:
    body = struct.pack(f">BBB{len(words)}H", unit, fc, 2 * len(words), *words)
    return body + crc(body)


def refusal(unit: int, fc: int, code: int) -> bytes:
    body = bytes([unit, fc | 0x80, code])
    return body + crc(body)


@dataclass
class RtuLine:
    """A serial line with devices, written by hand: `answer(unit, fc, addr, count)` gives the frames to send.

    `busy` is True while a request is being answered; a request meanwhile is a collision on a real line.
    """

    answer: Answer
    requests: list[tuple[float, int, int, int, int]] = field(default_factory=list)
    collisions: int = 0
    connections: int = 0
    busy: bool = False
    port: int = 0
    path: str = ""

    async def take(self, request: bytes) -> list[bytes]:
        unit, fc, addr, count = struct.unpack(">BBHH", request[:6])
        assert crc(request[:6]) == request[6:], "the request is whole"
        self.collisions += self.busy
        self.busy = True
        self.requests.append((asyncio.get_running_loop().time(), unit, fc, addr, count))
        try:
            return await self.answer(unit, fc, addr, count)
        finally:
            self.busy = False

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        with suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                for answer in await self.take(await reader.readexactly(8)):
                    writer.write(answer)
        writer.close()


def rtu_over_tcp(answer: Answer) -> AbstractAsyncContextManager[RtuLine]:
    return over_tcp(RtuLine(answer))


@asynccontextmanager
async def rtu_on_pty(answer: Answer) -> AsyncIterator[RtuLine]:
    line = RtuLine(answer)
    async with on_pty(line.take, lambda _: 8) as line.path:
        yield line


@asynccontextmanager
async def polling_all(sources: Sequence[ModbusSource]) -> AsyncIterator[list[tuple[ModbusReader, Rows]]]:
    """All sources polled as an agent does it: those on one line share it."""
    lines, made = Lines(), []
    for of in sources:
        rows = Rows()
        made.append((ModbusReader(of, 0, rows, Clock(SiteClock()), lines.of(of)), rows))
    async with polling([reader for reader, _ in made]):
        yield made
