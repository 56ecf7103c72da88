"""What tests of Modbus sources need: an intake that keeps rows, serial lines written by hand, and polling."""

import asyncio
import os
import struct
import tty
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field

from plantprint.times import SiteClock
from plantprint.wire.chunk import Row
from plantprint_edge.clock import Clock
from plantprint_edge.config import ModbusSource
from plantprint_edge.running import end_tasks
from plantprint_edge.sources import SourceCounts
from plantprint_edge.sources.modbus import ModbusReader
from plantprint_edge.sources.modbus_line import Lines


class Rows(list[Row]):
    """An intake that keeps what it is given."""

    async def put(self, rows: Sequence[Row], backlog_chunks_max: int | None = None) -> list[asyncio.Future[bool]]:
        self += rows
        return []


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


@asynccontextmanager
async def rtu_over_tcp(answer: Answer) -> AsyncIterator[RtuLine]:
    line = RtuLine(answer)
    server = await asyncio.start_server(line.serve, "127.0.0.1", 0)
    line.port = server.sockets[0].getsockname()[1]
    try:
        yield line
    finally:
        server.close()


@asynccontextmanager
async def rtu_on_pty(answer: Answer) -> AsyncIterator[RtuLine]:
    """A pseudo-terminal whose far end is the line."""
    line = RtuLine(answer)
    near, far = os.openpty()
    tty.setraw(near)
    tty.setraw(far)
    line.path = os.ttyname(far)
    loop, received, tasks = asyncio.get_running_loop(), bytearray(), set[asyncio.Task[None]]()

    async def reply(request: bytes) -> None:
        for answer in await line.take(request):
            os.write(near, answer)

    def readable() -> None:
        with suppress(OSError):
            received.extend(os.read(near, 4096))
        while len(received) >= 8:
            tasks.add(loop.create_task(reply(bytes(received[:8]))))
            del received[:8]

    loop.add_reader(near, readable)
    try:
        yield line
    finally:
        loop.remove_reader(near)
        for task in tasks:
            task.cancel()
        os.close(near)
        os.close(far)


@asynccontextmanager
async def polling_all(sources: Sequence[ModbusSource]) -> AsyncIterator[list[tuple[ModbusReader, Rows]]]:
    """All sources polled as an agent does it: those on one line share it."""
    lines, made = Lines(), []
    for of in sources:
        rows = Rows()
        made.append((ModbusReader(of, 0, rows, Clock(SiteClock()), lines.of(of)), rows))
    tasks = [asyncio.create_task(reader.run()) for reader, _ in made]
    try:
        yield made
    finally:
        await end_tasks(tasks)
    assert all(task.cancelled() for task in tasks), "trouble with a device never ends its task"


async def until(condition: Callable[[], bool], timeout_s: float = 5) -> None:
    deadline = asyncio.get_running_loop().time() + timeout_s
    while not condition():
        assert asyncio.get_running_loop().time() < deadline
        await asyncio.sleep(0.01)
