"""DL/T 645 meters for tests: a line written by hand that can do everything wrong, and the `dlt645` package as server."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

from edge_support import config
from line_rig import Rows, on_pty, over_tcp, polling

from plantprint.times import SiteClock
from plantprint_edge.clock import Clock
from plantprint_edge.config import Dlt645Source
from plantprint_edge.sources import SourceCounts
from plantprint_edge.sources.dlt645 import Dlt645Reader
from plantprint_edge.sources.dlt645_line import Dlt645Lines

# meter, control code, data without offset → the frames to send.
Answer = Callable[[str, int, bytes], Awaitable[list[bytes]]]
METER = "000012345678"
ENERGY = "\n      - {name: e%s, point: energy_active_import}"
IMPORT, IMPORT_T1 = 0x00010000, 0x00010100


def frame(meter: str, control: int, data: bytes) -> bytes:
    """A frame byte by byte, as the standard says: address and data low byte first, 33H added, sum modulo 256."""
    raw = [0x68]
    raw += [int(meter[i : i + 2], 16) for i in range(10, -1, -2)]
    raw += [0x68, control, len(data)]
    raw += [(byte + 0x33) & 0xFF for byte in data]
    return bytes([*raw, sum(raw) & 0xFF, 0x16])


def bcd(digits: str) -> bytes:
    """Digits as bytes, the last two first."""
    return bytes(int(digits[i : i + 2], 16) for i in range(len(digits) - 2, -1, -2))


def reply(meter: str, di: bytes, digits: str) -> bytes:
    return frame(meter, 0x91, di + bcd(digits))


def di_of(data: bytes) -> int:
    return int.from_bytes(data[:4], "little")


async def nobody(meter: str, control: int, data: bytes) -> list[bytes]:
    return []


async def by_meter(meter: str, control: int, data: bytes) -> list[bytes]:
    """Every meter counts what its number says; blocks are not known."""
    if di_of(data) >> 8 & 0xFF == 0xFF:
        return [frame(meter, 0xD1, b"\x02")]
    return [reply(meter, data, meter[-8:])]


def values(rows: Rows) -> set[int]:
    return {row[2] for row in rows}


@dataclass
class MeterLine:
    """A serial line with meters; `busy` is True while one answers, and a request meanwhile is a collision."""

    answer: Answer
    requests: list[tuple[float, str, int, int]] = field(default_factory=list)
    collisions: int = 0
    connections: int = 0
    busy: bool = False
    port: int = 0
    path: str = ""
    writers: list[asyncio.StreamWriter] = field(default_factory=list)

    async def take(self, request: bytes) -> list[bytes]:
        assert request[0] == request[7] == 0x68, "the request is a frame"
        assert request[-1] == 0x16
        assert request[-2] == sum(request[:-2]) & 0xFF
        meter, control = request[6:0:-1].hex().upper(), request[8]
        data = bytes((byte - 0x33) & 0xFF for byte in request[10:-2])
        self.collisions += self.busy
        self.busy = True
        self.requests.append((asyncio.get_running_loop().time(), meter, control, di_of(data)))
        try:
            return await self.answer(meter, control, data)
        finally:
            self.busy = False

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self.writers.append(writer)
        tasks = set[asyncio.Task[None]]()
        with suppress(asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            while True:
                head = await reader.readexactly(14)
                assert head[:4] == b"\xfe" * 4, "every request wakes the meter up"
                request = head[4:] + await reader.readexactly(head[13] + 2)
                tasks.add(asyncio.create_task(self.reply(request)))
        self.writers.remove(writer)
        writer.close()

    async def reply(self, request: bytes) -> None:
        """What comes back goes to whoever is connected then, as with a serial server."""
        for answer in await self.take(request):
            for writer in self.writers:
                writer.write(answer)


@asynccontextmanager
async def line_over_tcp(answer: Answer) -> AsyncIterator[MeterLine]:
    async with over_tcp(MeterLine(answer)) as line:
        try:
            yield line
        finally:
            for writer in line.writers:
                writer.close()


@asynccontextmanager
async def line_on_pty(answer: Answer) -> AsyncIterator[MeterLine]:
    line = MeterLine(answer)

    def size_of(received: bytearray) -> int:
        return 16 + (received[13] if len(received) > 13 else 0)

    async with on_pty(lambda request: line.take(request[4:]), size_of) as line.path:
        yield line


def meters(folder: Path, line: MeterLine, numbers: Sequence[str], points: str, **keys: Any) -> list[Dlt645Source]:
    """Sources for meters on one line; `%s` in `points` stands for the meter's number."""
    settings = {"interval_s": 0.1, "timeout_s": 0.2, "backoff_s_max": 0.2} | keys
    where = (
        f"source: dlt645_serial\n    serial_port: {line.path}\n    baud: 115200\n    parity: N"
        if line.path
        else f"source: dlt645\n    host: 127.0.0.1\n    port: {line.port}"
    )
    more = "".join(f"\n    {key}: {value}" for key, value in settings.items())
    text = "".join(
        f'\n  - {where}\n    name: m{number}\n    address: "{number}"{more}\n    points:{points.replace("%s", number)}'
        for number in numbers
    )
    return [cast("Dlt645Source", source) for source in config(folder, text + "\n").sources]


async def reading_once(of: Dlt645Source, rows: Rows, rounds: int = 1) -> SourceCounts:
    """Rounds of polling; trouble with the device raises."""
    reader = Dlt645Reader(of, 0, rows, Clock(SiteClock()))
    try:
        for _ in range(rounds):
            await reader.poll()
            # The next round has an instant of its own.
            await asyncio.sleep(0.002)
    finally:
        reader._line.release()
    return reader.counts


@asynccontextmanager
async def polling_meters(sources: Sequence[Dlt645Source]) -> AsyncIterator[list[tuple[Dlt645Reader, Rows]]]:
    """All sources polled as an agent does it: those on one line share it."""
    lines, made = Dlt645Lines(), []
    for of in sources:
        rows = Rows()
        made.append((Dlt645Reader(of, 0, rows, Clock(SiteClock()), lines.of(of)), rows))
    async with polling([reader for reader, _ in made]):
        yield made


@contextmanager
def package_meter(address: str, values: dict[int, float]) -> Iterator[int]:
    """The port of the independent package's meter, whose data identifiers hold these values."""
    from dlt645 import MeterServerService  # type: ignore[import-untyped]

    server = MeterServerService.new_tcp_server("127.0.0.1", 0, 1.0)
    server.set_address(bytearray(bcd(address)))
    for di, value in values.items():
        assert server.set_00(di, value) if di >> 24 == 0 else server.set_02(di, value)
    with server:
        yield server.server.port
