"""Lines of DL/T 645 meters that do everything wrong: what is read is right, and nobody waits long for anybody."""

import asyncio
import random
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import pytest
from dlt645_rig import (
    ENERGY,
    IMPORT,
    IMPORT_T1,
    METER,
    Answer,
    MeterLine,
    bcd,
    by_meter,
    di_of,
    frame,
    line_on_pty,
    line_over_tcp,
    meters,
    nobody,
    polling_meters,
    reading_once,
    reply,
    values,
)
from edge_support import until
from line_rig import Rows
from structlog.testing import capture_logs

from plantprint.times import SiteClock
from plantprint_edge.clock import Clock
from plantprint_edge.sources.dlt645 import Dlt645Reader
from plantprint_edge.sources.line import DeviceError

Place = Callable[[Answer], AbstractAsyncContextManager[MeterLine]]
PLACES = pytest.mark.parametrize("place", [line_over_tcp, line_on_pty], ids=["over TCP", "serial"])


@PLACES
async def test_meters_on_one_line_take_turns(tmp_path: Path, place: Place) -> None:
    numbers = [f"00000000{n:04}" for n in range(1, 5)]
    async with place(by_meter) as line, polling_meters(meters(tmp_path, line, numbers, ENERGY, timeout_s=5)) as polled:
        await until(lambda: all(len(rows) >= 4 for _, rows in polled))
    for number, (reader, rows) in zip(numbers, polled, strict=True):
        assert values(rows) == {int(number)}
        assert reader.counts.errors == {}
        assert reader.counts.latency_ms is not None
    assert line.collisions == 0
    assert line.connections <= 1
    assert {request[2:] for request in line.requests} == {(0x11, IMPORT)}


@PLACES
async def test_dead_meters_hold_up_the_living_little(tmp_path: Path, place: Place) -> None:
    """Fault 14: three of five are dead; each is tried twice, then all of them together have a fifth of the time."""

    async def answer(meter: str, control: int, data: bytes) -> list[bytes]:
        return await by_meter(meter, control, data) if meter <= "000000000002" else []

    numbers = [f"{n:012}" for n in range(1, 6)]
    async with place(answer) as line:
        living = meters(tmp_path, line, numbers[:2], ENERGY, timeout_s=5)
        sources = [*living, *meters(tmp_path, line, numbers[2:], ENERGY, timeout_s=0.1, backoff_s_max=0.1)]
        async with polling_meters(sources) as polled:
            await until(lambda: sum(r[1] > numbers[1] for r in line.requests) > 8 and len(polled[0][1]) >= 4, 15)
    dead = [at for at, meter, *_ in line.requests if meter > "000000000002"]
    elapsed_s = line.requests[-1][0] - line.requests[0][0]
    assert len(dead) <= 6 + 0.2 * elapsed_s / 0.1 + 2
    for reader, rows in polled[:2]:
        assert rows
        assert reader.counts.errors == {}
    assert all(set(reader.counts.errors) == {"timeout"} for reader, _ in polled[2:])
    assert line.collisions == 0


@PLACES
async def test_a_late_reply_is_no_answer_to_the_next_request(tmp_path: Path, place: Place) -> None:
    """Fault 10: the value of a reply is the number of its request; one that comes late never becomes a reading.

    The meter answers in order, every third request only after the timeout, when it is being asked again.
    """
    asked, answered_in_time = 0, set[int]()

    async def answer(meter: str, control: int, data: bytes) -> list[bytes]:
        nonlocal asked
        asked += 1
        mine = asked
        if mine % 3 == 1:
            line.busy = False
            await asyncio.sleep(0.23)
        if mine == asked:
            answered_in_time.add(mine)
        return [reply(meter, data[:4], f"{mine:08}")]

    async with place(answer) as line:
        sources = meters(tmp_path, line, [METER], ENERGY, timeout_s=0.1, backoff_s_max=0.05)
        async with polling_meters(sources) as ((reader, rows),):
            await until(lambda: reader.counts.errors["timeout"] >= 4 and len(rows) >= 3, 15)
    assert {row[2] for row in rows} <= answered_in_time
    questions = {di for *_, di in line.requests} - {IMPORT}
    assert questions, "a meter that owes a reply is first asked for something else"


@PLACES
async def test_replies_of_others_and_to_others_are_thrown_away(tmp_path: Path, place: Place) -> None:
    """Another meter's number, another identifier, another function, and the request itself come before the answer."""

    async def answer(meter: str, control: int, data: bytes) -> list[bytes]:
        return [
            frame(meter, control, data),
            reply("000000000099", data, "00000099"),
            reply(meter, (IMPORT_T1).to_bytes(4, "little"), "00000098"),
            frame(meter, 0x93, data + bcd("00000097")),
            frame("000000000099", 0xD1, b"\x02"),
            b"\xfe\xfe" + reply(meter, data, "00000001"),
        ]

    rows = Rows()
    async with place(answer) as line:
        (of,) = meters(tmp_path, line, [METER], ENERGY, timeout_s=2)
        counts = await reading_once(of, rows, rounds=2)
    assert values(rows) == {1}
    assert counts.errors == {"foreign reply": 8}


@PLACES
async def test_noise_never_becomes_a_value_and_never_ends_a_reader(tmp_path: Path, place: Place) -> None:
    chance = random.Random(1)

    async def answer(meter: str, control: int, data: bytes) -> list[bytes]:
        (good,) = await by_meter(meter, control, data)
        broken = bytearray(good)
        broken[chance.randrange(len(broken))] ^= 1 << chance.randrange(8)
        noise = [bytes(broken), good[: chance.randrange(1, len(good))], chance.randbytes(chance.randrange(1, 300))]
        return [*chance.choices(noise, k=2), good] if chance.random() < 0.5 else [chance.choice(noise)]

    async with place(answer) as line:
        sources = meters(tmp_path, line, [METER], ENERGY, interval_s=0.05, timeout_s=0.04, backoff_s_max=0.05)
        async with polling_meters(sources) as ((reader, rows),):
            await until(lambda: len(line.requests) >= 15 and len(rows) >= 3, 15)
    assert values(rows) == {12345678}
    assert reader.counts.errors["damaged reply"]


async def test_a_line_that_never_stops_talking_is_told_and_fills_no_memory(tmp_path: Path) -> None:
    stop = asyncio.Event()

    async def babble(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while not stop.is_set():
            writer.write(b"\x68" * 65_536)
            try:
                await writer.drain()
            except ConnectionError:
                return

    server = await asyncio.start_server(babble, "127.0.0.1", 0)
    (of,) = meters(tmp_path, MeterLine(nobody, port=server.sockets[0].getsockname()[1]), [METER], ENERGY, timeout_s=0.5)
    reader = Dlt645Reader(of, 0, Rows(), Clock(SiteClock()))
    for _ in range(2):
        with pytest.raises(DeviceError) as caught:
            await reader.poll()
        assert caught.value.reason in ("babble", "damaged reply")
        assert reader._line._open is None
    stop.set()
    server.close()


@PLACES
async def test_blocks_are_read_at_once_with_the_frames_that_follow(tmp_path: Path, place: Place) -> None:
    """64 energies take 256 bytes, more than a frame holds: the rest is asked for by its number."""
    energies = b"".join(bcd(f"{n:08}") for n in range(64))

    async def answer(meter: str, control: int, data: bytes) -> list[bytes]:
        di = data[:4]
        if di_of(di) == 0x0203FF00:
            return [frame(meter, 0x91, di + bcd("012345") + bcd("812345") + b"\xff\xff\xff" + bcd("000003"))]
        if control == 0x11:
            return [frame(meter, 0xB1, di + energies[:120])]
        number = data[4]
        rest = {1: energies[120:240], 2: energies[240:]}[number]
        wrong = frame(meter, 0x92, di + bytes(40) + bytes([number + 1]))
        return [wrong, frame(meter, 0xB2 if number == 1 else 0x92, di + rest + bytes([number]))]

    names = ("energy_active_import", "energy_active_import_t4", "power_active", "power_active_l1", "power_active_l2",
             "power_active_l3")  # fmt: skip
    points = "".join(f"\n      - {{name: {name}, point: {name}}}" for name in names)
    rows = Rows()
    async with place(answer) as line:
        (of,) = meters(tmp_path, line, [METER], points, timeout_s=2)
        counts = await reading_once(of, rows)
    assert {row[0]: row[2] for row in rows} == {0: 0, 1: 4, 2: 12345, 3: -12345, 5: 3}
    assert counts.missing == 1
    assert [request[2:] for request in line.requests] == [
        (0x11, 0x0001FF00), (0x12, 0x0001FF00), (0x12, 0x0001FF00), (0x11, 0x0203FF00),
    ]  # fmt: skip


async def test_a_reply_without_end_ends(tmp_path: Path) -> None:
    async def answer(meter: str, control: int, data: bytes) -> list[bytes]:
        return [frame(meter, 0xB2 if control == 0x12 else 0xB1, data[:4] + bytes(100) + data[4:])]

    async with line_over_tcp(answer) as line:
        (of,) = meters(tmp_path, line, [METER], ENERGY, timeout_s=2)
        with pytest.raises(DeviceError, match="more than 16 frames"):
            await reading_once(of, Rows())


async def test_what_is_missing_or_no_number_is_no_reading(tmp_path: Path) -> None:
    """Faults 1 and 13: all ones, letters, and a wrong length give nothing, never 0."""
    served = {0x00010000: b"\xff" * 4, 0x00020000: b"\x0a\x00\x00\x00", 0x02800002: b"\x50", 0x02800007: bcd("8123")}

    async def answer(meter: str, control: int, data: bytes) -> list[bytes]:
        return [frame(meter, 0x91, data + served[di_of(data)])]

    names = ("energy_active_import", "energy_active_export", "frequency", "temperature")
    points = "".join(f"\n      - {{name: {name}, point: {name}}}" for name in names)
    rows = Rows()
    async with line_over_tcp(answer) as line:
        (of,) = meters(tmp_path, line, [METER], points, timeout_s=2)
        with capture_logs() as logs:
            counts = await reading_once(of, rows, rounds=2)
    assert {row[0]: row[2] for row in rows} == {3: -123}
    assert counts.missing == 2
    assert counts.errors == {"bad digits": 4}
    assert [entry["reason"] for entry in logs if entry["event"] == "value_refused"] == ["0000000A is no decimal number"]


async def test_a_meter_that_comes_back_is_read_again(tmp_path: Path) -> None:
    there = True

    async def answer(meter: str, control: int, data: bytes) -> list[bytes]:
        return await by_meter(meter, control, data) if there else []

    async with line_over_tcp(answer) as line:
        sources = meters(tmp_path, line, [METER], ENERGY, timeout_s=0.1)
        with capture_logs() as logs:
            async with polling_meters(sources) as ((reader, rows),):
                await until(lambda: len(rows) >= 2)
                there = False
                await until(lambda: reader.counts.errors["timeout"] >= 2)
                there, before = True, len(rows)
                await until(lambda: len(rows) > before + 1)
    events = [entry["event"] for entry in logs]
    assert events[:2] == ["device_failing", "device_back"]
    assert values(rows) == {12345678}


async def test_a_serial_server_that_hangs_up_is_called_again(tmp_path: Path) -> None:
    async def answer(meter: str, control: int, data: bytes) -> list[bytes]:
        if len(line.requests) == 1:
            line.writers[0].close()
            return []
        return [reply(meter, data, f"{len(line.requests):08}")]

    rows = Rows()
    async with line_over_tcp(answer) as line:
        (of,) = meters(tmp_path, line, [METER], ENERGY, timeout_s=5)
        reader = Dlt645Reader(of, 0, rows, Clock(SiteClock()))
        with pytest.raises(DeviceError, match="closed the connection instead of an answer"):
            await reader.poll()
        await reader.poll()
        reader._line.release()
    # Its answer may have come over the new connection: something else was asked for first.
    assert values(rows) == {3}
    assert line.connections == 2


async def test_a_line_that_cannot_be_opened_says_where(tmp_path: Path) -> None:
    line = MeterLine(nobody, port=1)
    for path, name in (("", "127.0.0.1:1"), (str(tmp_path / "ttyUSB7"), f"{tmp_path}/ttyUSB7")):
        line.path = path
        (of,) = meters(tmp_path, line, [METER], ENERGY)
        with pytest.raises(DeviceError, match=name) as caught:
            await reading_once(of, Rows())
        assert caught.value.reason == "connect"


async def test_a_clock_that_steps_back_stops_readings_until_it_is_past_the_last(tmp_path: Path) -> None:
    """Fault 15."""
    rows, wall = Rows(), [1_000_000]

    class Stepping(Clock):
        def now_ms(self) -> int:
            return wall[0]

    async with line_over_tcp(by_meter) as line:
        (of,) = meters(tmp_path, line, [METER], ENERGY, timeout_s=2)
        reader = Dlt645Reader(of, 0, rows, Stepping(SiteClock()))
        for now_ms in (1_000_000, 910_000, 1_000_001, 100_000):
            wall[0] = now_ms
            await reader.poll()
        reader._line.release()
    assert [row[1] for row in rows] == [1_000_000, 1_000_001, 100_000]
    assert reader.counts.errors == {"clock back": 2}
