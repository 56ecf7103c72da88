"""Modbus devices that answer well, late, wrongly or never: what is read is right, and nobody waits for anybody."""

import asyncio
import random
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import cast

import line_rig
import pytest
from edge_support import config, until
from line_rig import Rows, over_tcp

from plantprint.times import SiteClock
from plantprint_edge.channels import channels_of
from plantprint_edge.clock import Clock
from plantprint_edge.config import ModbusSource
from plantprint_edge.sources.line import DeviceError, RefusedError
from plantprint_edge.sources.modbus import ModbusReader
from plantprint_edge.sources.modbus_line import Line, NetworkLine

Frame = bytes
Answer = Callable[["Request"], Awaitable[list[Frame]]]


@dataclass(frozen=True)
class Request:
    tid: int
    unit: int
    fc: int
    addr: int
    count: int

    def reply(self, words: list[int], *, tid: int | None = None, unit: int | None = None) -> Frame:
        body = struct.pack(f">BBB{len(words)}H", unit or self.unit, self.fc, 2 * len(words), *words)
        return struct.pack(">HHH", self.tid if tid is None else tid, 0, len(body)) + body

    def exception(self, code: int) -> Frame:
        return struct.pack(">HHHBBB", self.tid, 0, 3, self.unit, self.fc | 0x80, code)


@dataclass
class Device:
    """A TCP server written by hand, so that client and server share no code."""

    answer: Answer
    requests: list[Request] = field(default_factory=list)
    connections: int = 0
    port: int = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            while True:
                tid, _, _, unit, fc, addr, count = struct.unpack(">HHHBBHH", await reader.readexactly(12))
                request = Request(tid, unit, fc, addr, count)
                self.requests.append(request)
                for frame in await self.answer(request):
                    writer.write(frame)
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()


def device(answer: Answer) -> AbstractAsyncContextManager[Device]:
    return over_tcp(Device(answer))


def registers(values: dict[int, list[int]]) -> Callable[[Request], list[int]]:
    flat = {addr + i: word for addr, words in values.items() for i, word in enumerate(words)}
    return lambda request: [flat.get(request.addr + i, 0) for i in range(request.count)]


def answering(values: dict[int, list[int]]) -> Answer:
    words = registers(values)

    async def answer(request: Request) -> list[Frame]:
        return [request.reply(words(request))]

    return answer


def f32(value: float) -> list[int]:
    return list(struct.unpack(">2H", struct.pack(">f", value)))


SDM630 = """
      - {name: energy, point: energy_active_import}
      - {name: power, point: power_active, unit: kW, decimals: 4}"""


def source(folder: Path, port: int, points: str = SDM630, keys: str = "device: eastron_sdm630") -> ModbusSource:
    text = f"""
  - source: modbus
    name: m1
    host: 127.0.0.1
    port: {port}
    unit_id: 7
    interval_s: 0.1
    timeout_s: 0.2
    backoff_s_max: 0.2
    {keys}
    points:{points}
"""
    return cast("ModbusSource", config(folder, text).sources[0])


@asynccontextmanager
async def polling(of: ModbusSource, clock: SiteClock | None = None) -> AsyncIterator[tuple[ModbusReader, Rows]]:
    rows = Rows()
    reader = ModbusReader(of, 0, rows, Clock(clock or SiteClock()))
    async with line_rig.polling([reader]):
        yield reader, rows


async def test_values_come_in_one_request_over_one_connection(tmp_path: Path) -> None:
    values = answering({52: f32(12_345.5), 72: f32(1_234.56)})
    async with device(values) as meter, polling(source(tmp_path, meter.port)) as (reader, rows):
        await until(lambda: len(rows) >= 8)
    energy = [row for row in rows if row[0] == 0]
    assert {row[2] for row in energy} == {1_234_560}
    assert {row[2] for row in rows if row[0] == 1} == {123_455}
    assert {(r.unit, r.fc, r.addr, r.count) for r in meter.requests} == {(7, 4, 52, 22)}
    assert all(a[1] < b[1] for a, b in pairwise(energy))
    assert reader.counts.errors == {}
    assert meter.connections == 1


async def test_only_reading_function_codes_are_ever_sent(tmp_path: Path) -> None:
    points = "\n      - {name: a, addr: 1, type: u16, kind: gauge, unit: kW, decimals: 0, fc: 3}" + SDM630
    async with device(answering({})) as meter, polling(source(tmp_path, meter.port, points)) as (_, rows):
        await until(lambda: len(rows) >= 6)
    assert {r.fc for r in meter.requests} == {3, 4}


async def test_missing_values_are_no_readings(tmp_path: Path) -> None:
    values = answering({52: f32(float("nan")), 72: f32(5.0)})
    async with device(values) as meter, polling(source(tmp_path, meter.port)) as (reader, rows):
        await until(lambda: len(rows) >= 3)
    assert {row[0] for row in rows} == {0}
    assert reader.counts.missing >= 3


async def test_a_late_reply_is_never_taken_for_another(tmp_path: Path) -> None:
    """The first answer comes after the time limit, when the next request is already under way."""
    values, late = registers({52: f32(1.0), 72: f32(1.0)}), registers({52: f32(9_113.0), 72: f32(9_113.0)})
    asked = 0

    async def answer(request: Request) -> list[Frame]:
        nonlocal asked
        asked += 1
        if asked % 2:
            await asyncio.sleep(0.3)
            return [request.reply(late(request))]
        return [request.reply(values(request))]

    async with device(answer) as meter, polling(source(tmp_path, meter.port)) as (reader, rows):
        await until(lambda: reader.counts.errors["timeout"] >= 2 and len(rows) >= 4, 10)
    assert {row[2] for row in rows} == {1_000, 10}
    assert meter.connections >= 3


@pytest.mark.parametrize("fault", ["tid 0", "unit", "length"])
async def test_foreign_replies_are_refused(tmp_path: Path, fault: str) -> None:
    values = registers({52: f32(1.0), 72: f32(1.0)})
    asked = 0

    async def answer(request: Request) -> list[Frame]:
        nonlocal asked
        asked += 1
        good = request.reply(values(request))
        if asked % 2 == 0:
            return [good]
        wrong = [1] * (request.count - 1 if fault == "length" else request.count)
        return [request.reply(wrong, tid=0 if fault == "tid 0" else None, unit=9 if fault == "unit" else None)]

    async with device(answer) as meter, polling(source(tmp_path, meter.port)) as (reader, rows):
        await until(lambda: len(rows) >= 4, 10)
    assert {row[2] for row in rows} == {1_000, 10}
    assert sum(reader.counts.errors.values()) >= 1


@pytest.mark.parametrize("seed", range(3))
async def test_garbage_never_ends_the_reader_and_never_becomes_a_value(tmp_path: Path, seed: int) -> None:
    chance = random.Random(seed)
    values = registers({52: f32(1.0), 72: f32(1.0)})

    async def answer(request: Request) -> list[Frame]:
        good = request.reply(values(request))
        kind = chance.randrange(6)
        if kind == 0:
            return [good]
        if kind == 1:
            return [good[: chance.randrange(1, len(good))]]
        if kind == 2:
            return [chance.randbytes(chance.randrange(1, 300))]
        if kind == 3:
            return [good[:6] + chance.randbytes(3) + good[9:]]
        if kind == 4:
            return [good[:7] + bytes([chance.randrange(256)]) + good[8:]]
        return [request.exception(chance.randrange(256))]

    of = source(tmp_path, 1).model_copy(update={"timeout_s": 0.02, "interval_s": 0.05, "backoff_s_max": 0.05})
    async with device(answer) as meter, polling(of.model_copy(update={"port": meter.port})) as (reader, rows):
        await until(lambda: reader.counts.polls >= 60, 20)
    assert sum(reader.counts.errors.values()) > 10
    assert {row[2] for row in rows} <= {1_000, 10}


async def test_a_refused_block_is_read_in_parts_and_a_refused_point_costs_no_other(tmp_path: Path) -> None:
    values = registers({72: f32(5.0)})

    async def answer(request: Request) -> list[Frame]:
        touches_power = request.addr <= 53
        return [request.exception(2) if touches_power else request.reply(values(request))]

    async with device(answer) as meter, polling(source(tmp_path, meter.port)) as (reader, rows):
        await until(lambda: len(rows) >= 4)
        assert {row[:1] + row[2:3] for row in rows} == {(0, 5_000)}
        assert reader.counts.errors["illegal address"] >= 2
    assert meter.connections == 1


@pytest.mark.parametrize("code", [4, 6, 10, 11])
async def test_a_device_in_trouble_is_left_alone_for_a_while(tmp_path: Path, code: int) -> None:
    async def answer(request: Request) -> list[Frame]:
        return [request.exception(code)]

    async with device(answer) as meter, polling(source(tmp_path, meter.port)) as (reader, rows):
        await until(lambda: reader.counts.errors[f"exception {code}"] >= 3)
    assert not rows


async def test_a_dead_device_delays_no_other(tmp_path: Path) -> None:
    async def silence(_: Request) -> list[Frame]:
        await asyncio.sleep(60)
        return []

    async with (
        device(silence) as dead,
        device(answering({72: f32(5.0)})) as alive,
        polling(source(tmp_path, dead.port)) as (bad, none),
        polling(source(tmp_path, alive.port)) as (good, rows),
    ):
        await asyncio.sleep(2)
    assert not none
    assert bad.counts.errors["timeout"] >= 2
    # One silence of the other would cost two polls.
    assert good.counts.polls > 2 * bad.counts.polls
    assert len(rows) >= 20


async def test_a_device_that_comes_back_is_read_again(tmp_path: Path) -> None:
    async with polling(source(tmp_path, 1)) as (absent, _):
        await until(lambda: absent.counts.errors["connect"] >= 2)
    async with device(answering({72: f32(5.0)})) as meter:
        # That it hung up is known at once, not after its patience.
        of = source(tmp_path, meter.port).model_copy(update={"timeout_s": 60})
        async with polling(of) as (reader, rows):
            await until(lambda: len(rows) >= 2)
            meter.answer, good = _hang_up, meter.answer
            await until(lambda: reader.counts.errors["disconnected"] >= 1)
            meter.answer, before = good, len(rows)
            await until(lambda: len(rows) >= before + 4)


async def test_on_a_shared_connection_each_device_has_its_own_patience() -> None:
    async def answer(request: Request) -> list[Frame]:
        return [request.reply([5])] if request.unit == 1 else []

    async with device(answer) as meter, asyncio.timeout(30):
        line = Line(NetworkLine("127.0.0.1", meter.port), timeout_s=600)
        assert await line.read(1, 3, 0, 1, timeout_s=600) == [5]
        with pytest.raises(DeviceError, match="registers 0 to 0: no answer"):
            await line.read(2, 3, 0, 1, timeout_s=0.05)
        assert await line.read(1, 3, 0, 1, timeout_s=600) == [5]
        line.close()


async def test_registers_that_no_device_has_are_refused_without_asking() -> None:
    """Where a SunSpec model begins is read from the device, which may say anything."""
    async with device(answering({})) as meter:
        line = Line(NetworkLine("127.0.0.1", meter.port), timeout_s=1)
        for addr, count in ((65_536, 1), (70_000, 2), (0, 126)):
            with pytest.raises(RefusedError):
                await line.read(1, 3, addr, count, timeout_s=1)
        assert await line.read(1, 3, 65_535, 1, timeout_s=1) == [0]
        line.close()
    assert len(meter.requests) == 1


async def _hang_up(_: Request) -> list[Frame]:
    raise ConnectionError


async def test_a_clock_that_steps_back_a_little_is_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now = [1_800_000_000_000]

    def tick() -> int:
        now[0] += 7
        return now[0]

    monkeypatch.setattr("plantprint_edge.clock.wall_ms", tick)
    async with device(answering({72: f32(5.0)})) as meter, polling(source(tmp_path, meter.port)) as (reader, rows):
        await until(lambda: len(rows) >= 4)
        now[0] -= 1_000
        await until(lambda: reader.counts.errors["clock back"] >= 1)
        before = len(rows)
        await until(lambda: len(rows) > before, 20)
    times = [row[1] for row in rows if row[0] == 0]
    assert all(a < b for a, b in pairwise(times))


@pytest.mark.parametrize(
    ("now_ms", "speed", "expected_s"),
    [(1_000, 1, 0.1), (1_030, 1, 0.07), (1_099, 1, 0.001), (6_000, 60, 0.1), (9_000, 60, 0.05)],
)
async def test_polls_are_due_at_multiples_of_the_interval_in_site_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, now_ms: int, speed: int, expected_s: float
) -> None:
    """At 60 times the speed a poll every 0.1 s is one every 6 s of the site."""
    origin_ms = 1_800_000_000_000
    monkeypatch.setattr("plantprint_edge.clock.wall_ms", lambda: origin_ms)
    clock = Clock(SiteClock("run", wall_origin_ms=origin_ms, site_origin_ms=now_ms, speed=speed))
    reader = ModbusReader(source(tmp_path, 1), 0, Rows(), clock)
    assert reader._until_next_s() == pytest.approx(expected_s)


async def test_a_fast_site_gets_the_instants_of_its_own_clock(tmp_path: Path) -> None:
    clock = SiteClock("run", wall_origin_ms=0, site_origin_ms=0, speed=60)
    async with device(answering({72: f32(5.0)})) as meter, polling(source(tmp_path, meter.port), clock) as (_, rows):
        await until(lambda: len(rows) >= 10)
    times = [row[1] for row in rows if row[0] == 0]
    assert min(times) > 60 * 1_700_000_000_000
    assert all(b - a > 3_000 for a, b in pairwise(times))


async def test_the_channels_of_a_source_are_its_points(tmp_path: Path) -> None:
    assert [c.name for c in channels_of(source(tmp_path, 1), "gw-1")] == ["energy", "power"]
