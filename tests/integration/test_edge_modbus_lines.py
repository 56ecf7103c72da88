"""Several devices on one serial line or converter: one request at a time, and the dead hold up the living little."""

import asyncio
import random
import struct
from collections import Counter
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from itertools import pairwise
from pathlib import Path
from typing import Any, cast

import pytest
from edge_support import config, until
from modbus_rig import Answer, RtuLine, frame, polling_all, refusal, rtu_on_pty, rtu_over_tcp
from structlog.testing import capture_logs

from plantprint_edge.config import ModbusSource
from plantprint_edge.sources.modbus_line import Line, Lines
from plantprint_edge.yamlfile import ConfigError

Place = Callable[[Answer], AbstractAsyncContextManager[RtuLine]]
PLACES = pytest.mark.parametrize("place", [rtu_over_tcp, rtu_on_pty], ids=["over TCP", "serial"])
POINTS = "\n      - {name: m%d, addr: 10, type: u32, kind: counter, unit: kWh, decimals: 0}"


def sources(folder: Path, line: RtuLine, units: range, points: str = POINTS, **keys: Any) -> list[ModbusSource]:
    settings = {"interval_s": 0.1, "timeout_s": 0.2, "backoff_s_max": 0.2} | keys
    if line.path:
        where = f"source: modbus_serial\n    serial_port: {line.path}\n    baud: 115200"
    else:
        where = f"source: modbus\n    host: 127.0.0.1\n    port: {line.port}\n    framing: rtu"
    more = "".join(f"\n    {key}: {value}" for key, value in settings.items())
    text = "".join(
        f"\n  - {where}\n    name: u{unit}\n    unit_id: {unit}{more}\n    points:"
        + (points % unit if "%d" in points else points)
        for unit in units
    )
    return [cast("ModbusSource", source) for source in config(folder, text + "\n").sources]


def u32(value: int) -> list[int]:
    return list(struct.unpack(">2H", struct.pack(">I", value)))


async def by_unit(unit: int, fc: int, addr: int, count: int) -> list[bytes]:
    """Every unit counts 1000 times its own number."""
    return [frame(unit, fc, u32(unit * 1000)[:count])]


@PLACES
async def test_devices_on_one_line_take_turns_on_one_connection(tmp_path: Path, place: Place) -> None:
    async with place(by_unit) as line:
        of = sources(tmp_path, line, range(1, 5))
        async with polling_all(of) as polled:
            await until(lambda: all(len(rows) >= 5 for _, rows in polled))
    for of_one, (reader, rows) in zip(of, polled, strict=True):
        assert {row[2] for row in rows} == {of_one.unit_id * 1000}
        assert reader.counts.errors == {}
        assert reader.counts.latency_ms is not None
        assert reader.counts.failed_share == 0
    assert line.collisions == 0
    assert line.connections <= 1
    assert {request[2:] for request in line.requests} == {(3, 10, 2)}


@PLACES
async def test_dead_units_take_a_bounded_share_of_the_line(tmp_path: Path, place: Place) -> None:
    """Five of seven are dead. Each is tried twice at first; after that all of them together have a fifth of the time."""

    async def answer(unit: int, fc: int, addr: int, count: int) -> list[bytes]:
        return await by_unit(unit, fc, addr, count) if unit <= 2 else []

    async with (
        place(answer) as line,
        polling_all(sources(tmp_path, line, range(1, 8), timeout_s=0.1, backoff_s_max=0.1)) as polled,
    ):
        await asyncio.sleep(4)
    dead = [at for at, unit, *_ in line.requests if unit > 2]
    elapsed_s = line.requests[-1][0] - line.requests[0][0]
    assert 10 < len(dead) <= 10 + 0.2 * elapsed_s / 0.1 + 2
    for reader, rows in polled[:2]:
        # Ten polls a second, less those that fell into the first round of silences and the retries.
        assert len(rows) >= 20
        assert reader.counts.errors == {}
    assert line.collisions == 0
    assert all(reader.counts.failed_share == 1 for reader, _ in polled[2:])


@PLACES
async def test_a_late_reply_is_no_answer_to_anyone(tmp_path: Path, place: Place) -> None:
    """Unit 2 answers now and then when others are being asked, with a value that must never be seen."""
    asked = Counter[int]()

    async def answer(unit: int, fc: int, addr: int, count: int) -> list[bytes]:
        asked[unit] += 1
        if unit == 2 and asked[2] % 3 == 1:
            line.busy = False
            await asyncio.sleep(0.25)
            return [frame(unit, fc, u32(9_113_000))]
        return await by_unit(unit, fc, addr, count)

    async with place(answer) as line, polling_all(sources(tmp_path, line, range(1, 4))) as polled:
        await until(lambda: polled[1][0].counts.errors["timeout"] >= 2 and len(polled[1][1]) >= 2, 15)
    for unit, (_, rows) in enumerate(polled, 1):
        assert {row[2] for row in rows} == {unit * 1000}


@PLACES
@pytest.mark.parametrize("seed", range(2))
async def test_noise_never_becomes_a_value_and_never_ends_a_reader(tmp_path: Path, place: Place, seed: int) -> None:
    chance = random.Random(seed)

    async def answer(unit: int, fc: int, addr: int, count: int) -> list[bytes]:
        (good,) = await by_unit(unit, fc, addr, count)
        broken = bytearray(good)
        broken[chance.randrange(len(broken))] ^= 1 << chance.randrange(8)
        return [
            chance.choice([
                good, bytes(broken), good[: chance.randrange(1, len(good))], chance.randbytes(chance.randrange(1, 60)),
                # Of a unit nobody asks: a late word of one that is asked next is, on a serial line, that one's word.
                frame(unit + 10, fc, u32(5)), frame(unit, 7 - fc, u32(6)), frame(unit, fc, [7]), refusal(unit, fc, 6),
            ])
        ]  # fmt: skip

    async with place(answer) as line:
        of = sources(tmp_path, line, range(1, 3), timeout_s=0.03, interval_s=0.05, backoff_s_max=0.05)
        async with polling_all(of) as polled:
            await until(lambda: all(reader.counts.polls >= 25 for reader, _ in polled), 30)
    for unit, (reader, rows) in enumerate(polled, 1):
        assert {row[2] for row in rows} <= {unit * 1000}
        assert sum(reader.counts.errors.values()) > 3


async def test_a_device_gets_its_pause_between_two_requests(tmp_path: Path) -> None:
    one = "\n      - {name: m%s, addr: %s, type: u32, kind: counter, unit: kWh, decimals: 0}"
    points = "".join(one % (addr, addr) for addr in (0, 10, 20))
    async with rtu_over_tcp(by_unit) as line:
        of = sources(tmp_path, line, range(1, 2), points, pause_ms=60)
        async with polling_all(of) as polled:
            await until(lambda: len(polled[0][1]) >= 9)
    times = [at for at, *_ in line.requests]
    assert min(b - a for a, b in pairwise(times)) >= 0.058


async def test_a_serial_port_that_is_not_there_is_asked_for_again(tmp_path: Path) -> None:
    absent = RtuLine(by_unit, path=str(tmp_path / "ttyUSB0"))
    async with polling_all(sources(tmp_path, absent, range(1, 3))) as polled:
        await until(lambda: all(reader.counts.errors["connect"] >= 2 for reader, _ in polled), 10)


async def test_an_adapter_that_is_pulled_out_and_put_back_is_read_again(tmp_path: Path) -> None:
    port = tmp_path / "ttyUSB0"
    of = sources(tmp_path, RtuLine(by_unit, path=str(port)), range(1, 3), backoff_s_max=0.3)
    async with AsyncExitStack() as stack:
        async with rtu_on_pty(by_unit) as first:
            port.symlink_to(first.path)
            polled = await stack.enter_async_context(polling_all(of))
            await until(lambda: all(len(rows) >= 2 for _, rows in polled))
        await until(lambda: all(reader.counts.errors.total() >= 2 for reader, _ in polled))
        before = [len(rows) for _, rows in polled]
        async with rtu_on_pty(by_unit) as second:
            port.unlink()
            port.symlink_to(second.path)
            await until(lambda: all(len(rows) > n for (_, rows), n in zip(polled, before, strict=True)), 20)


def test_one_port_is_spoken_to_in_one_way(tmp_path: Path) -> None:
    """The usual settings of the two types differ; what agent.yaml says wins."""
    one = (
        "\n  - {source: modbus_serial, name: %s, unit_id: %s, serial_port: /dev/ttyS1, device: %s,"
        " points: [{name: %s, point: power_active}]%s}"
    )
    other = one % ("u2", 2, "acrel_adl400", "b", "") + "\n"
    with pytest.raises(
        ConfigError, match="u2 has 9600 baud 8E1, u1 on the same port 9600 baud 8N1; give both the same"
    ):
        config(tmp_path, one % ("u1", 1, "eastron_sdm630", "a", "") + other)
    config(tmp_path, one % ("u1", 1, "eastron_sdm630", "a", ", parity: E") + other)


async def test_who_shares_a_line(tmp_path: Path) -> None:
    def line(keys: str) -> Line:
        text = "\n  - {source: modbus, name: a, host: h, device: eastron_sdm630, points: [{name: a, point: frequency}], %s}\n"
        return lines.of(cast("ModbusSource", config(tmp_path, text % keys).sources[0]))

    lines = Lines()
    assert line("unit_id: 1") is not line("unit_id: 2")
    gateway = line("unit_id: 1, share_connection: true, timeout_s: 0.5")
    assert line("unit_id: 2, share_connection: true, timeout_s: 2") is gateway
    assert gateway.timeout_s == 2
    converter = line("unit_id: 1, framing: rtu")
    assert line("unit_id: 2, framing: rtu") is converter
    assert converter is not gateway
    assert line("unit_id: 3, framing: rtu, port: 503") is not converter
    assert (gateway.numbered, converter.numbered) == (True, False)


@pytest.mark.parametrize(
    ("keys", "fits"), [("unit_id: 255", True), ("unit_id: 0", True), ("unit_id: 255, framing: rtu", False)]
)
def test_units_that_only_modbus_tcp_has(tmp_path: Path, keys: str, fits: bool) -> None:
    text = f"\n  - {{source: modbus, name: a, host: h, device: eastron_sdm630, points: [{{name: a, point: frequency}}], {keys}}}\n"
    if fits:
        config(tmp_path, text)
    else:
        with pytest.raises(ConfigError, match="unit_id is 1 to 247 on a serial line"):
            config(tmp_path, text)


RATIO_POINTS = """
      - {name: energy, point: energy_active_import}
      - {name: hz, point: frequency}"""


def meter(ratios: Callable[[], list[int]]) -> Answer:
    """An Acrel DTSD1352: PT and CT at 141, import at 10, frequency at 119."""

    async def answer(unit: int, fc: int, addr: int, count: int) -> list[bytes]:
        words = ratios() if addr == 141 else {10: u32(12_345), 119: [5_001]}[addr]
        assert len(words) == count
        return [frame(unit, fc, words)]

    return answer


async def test_ratios_are_read_applied_and_published_and_a_change_is_told(tmp_path: Path) -> None:
    ratios = [1, 40]
    async with rtu_over_tcp(meter(lambda: list(ratios))) as line:
        of = sources(tmp_path, line, range(1, 2), RATIO_POINTS, device="acrel_dtsd1352", ratio_every_s=0.2)
        with capture_logs() as logs:
            async with polling_all(of) as ((reader, rows),):
                await until(lambda: any(row[0] == 0 for row in rows))
                ratios[1] = 60
                await until(lambda: any(row[:1] + row[2:3] == (0, 12_345 * 60) for row in rows))
    assert next(row[2] for row in rows if row[0] == 0) == 12_345 * 40
    assert {row[2] for row in rows if row[0] == 1} == {5_001}
    assert {row[2] for row in rows if row[0] == 2} == {1}
    assert {row[2] for row in rows if row[0] == 3} == {40, 60}
    assert reader.counts.errors["ratio changed"] == 1
    told = next(entry for entry in logs if entry["event"] == "ratio_changed")
    assert (told["ratio"], told["before"], told["now"]) == ("ct", 40, 60)


async def test_a_ratio_that_comes_differently_twice_is_not_believed(tmp_path: Path) -> None:
    turn = iter([[1, 40], [1, 41], *[[1, 42]] * 50])
    async with rtu_over_tcp(meter(lambda: next(turn))) as line:
        of = sources(tmp_path, line, range(1, 2), RATIO_POINTS, device="acrel_dtsd1352")
        async with polling_all(of) as ((reader, rows),):
            await until(lambda: any(row[0] == 0 for row in rows))
    assert reader.counts.errors["ratio unsteady"] == 1
    assert {row[2] for row in rows if row[0] == 0} == {12_345 * 42}


@pytest.mark.parametrize("unset", [0, 0xFFFF])
async def test_without_its_ratio_a_value_is_missing_and_others_are_not(tmp_path: Path, unset: int) -> None:
    async with rtu_over_tcp(meter(lambda: [1, unset])) as line:
        of = sources(tmp_path, line, range(1, 2), RATIO_POINTS, device="acrel_dtsd1352")
        async with polling_all(of) as ((reader, rows),):
            await until(lambda: sum(row[0] == 1 for row in rows) >= 2)
    assert not [row for row in rows if row[0] in (0, 3)]
    assert reader.counts.missing >= 2


async def test_a_ratio_given_by_hand_is_not_read(tmp_path: Path) -> None:
    def never() -> list[int]:
        raise AssertionError("the register of a ratio that is given was read")

    async with rtu_over_tcp(meter(never)) as line:
        of = sources(tmp_path, line, range(1, 2), RATIO_POINTS, device="acrel_dtsd1352", ratios="{ct: 2.5, pt: 1}")
        async with polling_all(of) as ((_, rows),):
            await until(lambda: any(row[0] == 0 for row in rows))
    # 123.45 kWh x 2.5 = 308.625, half to even at two decimals.
    assert {row[2] for row in rows if row[0] == 0} == {30_862}
