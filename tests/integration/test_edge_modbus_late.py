"""Fault 10: a late, valid reply of a polled unit is never taken for the answer to that unit's next request."""

import asyncio
import os
import random
import struct
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

import pytest
from edge_support import config, until
from line_rig import Rows, over_tcp
from modbus_rig import frame, polling_all, refusal, rtu_over_tcp

from plantprint.wire.chunk import Row
from plantprint_edge.config import ModbusSource
from plantprint_edge.sources.line import DeviceError
from plantprint_edge.sources.modbus_line import Line, NetworkLine

TIMEOUT_S = 0.06


@dataclass
class LateLine:
    """A serial line behind a converter that passes every byte to whoever is connected when it comes.

    The unit answers in order, each request after its own delay; the value of a reply is the number of its request.
    """

    delay_s: Callable[[int], float]
    asked: int = 0
    late: int = 0
    counts: set[int] = field(default_factory=set)
    port: int = 0
    _writers: list[asyncio.StreamWriter] = field(default_factory=list)
    _free_s: float = 0.0
    _tasks: set[asyncio.Task[None]] = field(default_factory=set)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.append(writer)
        try:
            while True:
                unit, fc, _, count = struct.unpack(">BBHH", (await reader.readexactly(8))[:6])
                self.asked += 1
                self.counts.add(count)
                self._tasks.add(asyncio.create_task(self._reply(unit, fc, count, self.asked)))
        except (asyncio.IncompleteReadError, ConnectionError):
            self._writers.remove(writer)
            writer.close()

    async def _reply(self, unit: int, fc: int, count: int, number: int) -> None:
        now_s = asyncio.get_running_loop().time()
        self._free_s = max(self._free_s, now_s + self.delay_s(number))
        self.late += self._free_s - now_s > TIMEOUT_S
        await asyncio.sleep(self._free_s - now_s)
        words = [number] * count
        for writer in self._writers:
            writer.write(frame(unit, fc, words))


@asynccontextmanager
async def late_line(delay_s: Callable[[int], float]) -> AsyncIterator[LateLine]:
    async with over_tcp(LateLine(delay_s)) as line:
        try:
            yield line
        finally:
            for task in line._tasks:
                task.cancel()


def source(folder: Path, where: str, keys: str = "") -> ModbusSource:
    text = f"""
  - {{{where}, name: late, unit_id: 1, interval_s: 0.05, timeout_s: {TIMEOUT_S}, backoff_s_max: 0.05{keys},
     points: [{{name: a, addr: 10, type: u16, kind: counter, unit: kWh, decimals: 0}},
              {{name: b, addr: 200, type: u16, kind: counter, unit: kWh, decimals: 0}}]}}
"""
    return cast("ModbusSource", config(folder, text).sources[0])


@pytest.mark.parametrize("seed", range(3))
async def test_a_late_reply_of_a_unit_is_never_its_next_answer(
    tmp_path: Path, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Now prompt, now late by up to ten time limits; both points are one register, so replies look alike."""
    # Each answer is judged when it comes, not with the next one.
    monkeypatch.setattr("plantprint_edge.sources.modbus.TOGETHER_S", 0)
    chance = random.Random(seed)
    delays = [chance.choice([0.0, 0.0, 0.0, TIMEOUT_S * chance.uniform(1, 10)]) for _ in range(1000)]
    accepted: list[tuple[int, int]] = []
    async with late_line(lambda number: delays[number]) as line:

        class Judge(Rows):
            async def put(
                self, rows: Sequence[Row], backlog_chunks_max: int | None = None
            ) -> list[asyncio.Future[bool]]:
                accepted.extend((row[2], line.asked) for row in rows)
                return await super().put(rows, backlog_chunks_max)

        of = source(tmp_path, f"source: modbus, host: 127.0.0.1, port: {line.port}, framing: rtu")
        async with polling_all([of]) as ((reader, _),):
            reader._intake = Judge()
            await until(lambda: reader.counts.errors["timeout"] >= 4 and len(accepted) >= 12, 30)
    assert line.late >= 2, "the line was never late"
    assert all(value == asked for value, asked in accepted), accepted
    assert len(line.counts) > 1, "it was never asked for another number of registers"


async def test_what_lies_on_the_line_is_thrown_away_before_a_request() -> None:
    """A valid frame of the unit has arrived and not been read yet when the unit is asked."""
    writers: list[asyncio.StreamWriter] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers.append(writer)
        with suppress(asyncio.IncompleteReadError):
            while await reader.readexactly(8):
                writer.write(frame(1, 3, [10]))

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    line = Line(NetworkLine("127.0.0.1", server.sockets[0].getsockname()[1], "rtu"), timeout_s=2)
    try:
        for _ in range(20):
            assert await line.read(1, 3, 0, 1, 2) == [10]
            # Past asyncio, so that it is in the kernel before the next request is.
            os.write(writers[0].get_extra_info("socket").fileno(), frame(1, 3, [9_113]))
    finally:
        line.close()
        server.close()


async def test_a_line_that_never_falls_silent_is_an_error_and_holds_up_nobody_for_ever() -> None:
    """It begins to babble after its first answer: a frame in every turn of the loop, none of them asked for."""
    loop = asyncio.get_running_loop()
    heard: list[asyncio.Handle] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readexactly(8)
        writer.write(frame(1, 3, [10]))
        file = writer.get_extra_info("socket").fileno()

        def talk() -> None:
            with suppress(OSError):
                os.write(file, frame(1, 3, [9_113]))
                heard.append(loop.call_soon(talk))

        talk()
        await reader.read()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    line = Line(NetworkLine("127.0.0.1", server.sockets[0].getsockname()[1], "rtu"), timeout_s=2)
    try:
        assert await line.read(1, 3, 0, 1, 2) == [10]
        with pytest.raises(DeviceError, match="sends without being asked") as error:
            await line.read(1, 3, 0, 1, 2)
        assert error.value.reason == "babble"
    finally:
        line.close()
        heard[-1].cancel()
        server.close()


async def test_a_unit_that_is_silent_to_a_probe_is_asked_properly_again(tmp_path: Path) -> None:
    """Some meters answer to whole blocks only: after `late_s_max` no old reply is expected any more."""
    asked = 0

    async def answer(unit: int, fc: int, addr: int, count: int) -> list[bytes]:
        nonlocal asked
        asked += 1
        return [frame(unit, fc, [addr])] if count == 1 and asked > 1 else []

    async with rtu_over_tcp(answer) as line:
        of = source(tmp_path, f"source: modbus, host: 127.0.0.1, port: {line.port}, framing: rtu", ", late_s_max: 0.4")
        async with polling_all([of]) as ((reader, rows),):
            await until(lambda: len(rows) >= 4, 10)
    assert {row[2] for row in rows} == {10, 200}
    assert reader.counts.errors["timeout"] >= 2


async def test_a_unit_that_refuses_a_probe_has_answered(tmp_path: Path) -> None:
    asked = 0

    async def answer(unit: int, fc: int, addr: int, count: int) -> list[bytes]:
        nonlocal asked
        asked += 1
        if asked == 1:
            return []
        return [frame(unit, fc, [addr])] if count == 1 else [refusal(unit, fc, 2)]

    async with rtu_over_tcp(answer) as line:
        of = source(tmp_path, f"source: modbus, host: 127.0.0.1, port: {line.port}, framing: rtu")
        async with polling_all([of]) as ((reader, rows),):
            await until(lambda: len(rows) >= 4, 10)
    assert reader.counts.errors["timeout"] == 1
