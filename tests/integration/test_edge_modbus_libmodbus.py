"""Debian's libmodbus test server as the device: busy, wrong transaction, late, and byte by byte."""

import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import cast

import pytest
from edge_support import config
from line_rig import Rows
from modbus_rig import reading_once
from parts import missing

from plantprint_edge.config import ModbusSource
from plantprint_edge.sources.line import DeviceError

SOURCE = Path("/usr/share/doc/libmodbus-dev/examples/unit-test-server.c")
# Addresses of its behaviours; its one input register stands at 0x108 and holds 10.
PLAIN, BUSY, OTHER_TRANSACTION, LATE_500_MS, SLOW_BYTES = 0x160, 0x170, 0x171, 0x172, 0x173


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, int]:
    """The server compiled for a free port; the one in its source is fixed."""
    compiler = shutil.which("gcc")
    if compiler is None or not SOURCE.exists():
        missing("no gcc or no libmodbus: apt-get install gcc libmodbus-dev")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = int(free.getsockname()[1])
    folder = tmp_path_factory.mktemp("libmodbus")
    (folder / "server.c").write_text(SOURCE.read_text("utf-8").replace("1502", str(port)), "utf-8")
    shutil.copy(SOURCE.with_name("unit-test.h"), folder)
    command = [compiler, "server.c", "-o", "server", "-I/usr/include/modbus", "-lmodbus"]
    subprocess.run(command, cwd=folder, check=True, capture_output=True, timeout=120)
    return folder / "server", port


@contextmanager
def server(program: tuple[Path, int]) -> Iterator[int]:
    """It serves one connection and ends with it."""
    path, port = program
    process = subprocess.Popen([path], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        # Its single connection must not be spent on a look whether it listens.
        deadline_s = time.monotonic() + 10
        while not _listens(port):
            assert time.monotonic() < deadline_s
            time.sleep(0.01)
        yield port
    finally:
        process.terminate()
        process.wait(10)


def _listens(port: int) -> bool:
    wanted = f":{port:04X} 00000000:0000 0A"
    return wanted in Path("/proc/net/tcp").read_text("ascii")


def source(folder: Path, port: int, addresses: list[int], timeout_s: float = 0.3) -> ModbusSource:
    one = "\n      - {name: r%s, addr: %s, type: u16, kind: counter, unit: kWh, decimals: 0}"
    text = f"""
  - source: modbus
    name: m
    host: 127.0.0.1
    port: {port}
    unit_id: 255
    timeout_s: {timeout_s}
    points:{"".join(one % (addr, addr) for addr in addresses)}
      - {{name: input, addr: 0x108, fc: 4, type: u16, kind: counter, unit: kWh, decimals: 0}}
"""
    return cast("ModbusSource", config(folder, text).sources[0])


def values(rows: Rows) -> dict[int, int]:
    return {row[0]: row[2] for row in rows}


async def test_holding_and_input_registers_are_read(tmp_path: Path, program: tuple[Path, int]) -> None:
    with server(program) as port:
        rows = Rows()
        counts = await reading_once(source(tmp_path, port, [PLAIN]), rows)
    assert values(rows) == {0: 0, 1: 10}
    assert not counts.errors


async def test_a_busy_server_ends_the_round_with_its_exception(tmp_path: Path, program: tuple[Path, int]) -> None:
    with server(program) as port:
        rows = Rows()
        with pytest.raises(DeviceError) as caught:
            await reading_once(source(tmp_path, port, [PLAIN, BUSY]), rows)
    assert caught.value.reason == "exception 6"
    assert values(rows) == {0: 0}


async def test_an_answer_to_another_transaction_is_no_value(tmp_path: Path, program: tuple[Path, int]) -> None:
    with server(program) as port:
        rows = Rows()
        with pytest.raises(DeviceError) as caught:
            await reading_once(source(tmp_path, port, [PLAIN, OTHER_TRANSACTION]), rows)
    assert caught.value.reason in ("timeout", "foreign reply")
    assert values(rows) == {0: 0}


@pytest.mark.parametrize(("timeout_s", "comes"), [(0.2, False), (1.5, True)])
async def test_an_answer_after_half_a_second_counts_only_within_the_limit(
    tmp_path: Path, program: tuple[Path, int], timeout_s: float, comes: bool
) -> None:
    with server(program) as port:
        rows, of = Rows(), source(tmp_path, port, [LATE_500_MS], timeout_s)
        if comes:
            await reading_once(of, rows)
        else:
            with pytest.raises(DeviceError):
                await reading_once(of, rows)
    assert values(rows) == ({0: 0, 1: 10} if comes else {})


async def test_an_answer_byte_by_byte_is_put_together(tmp_path: Path, program: tuple[Path, int]) -> None:
    with server(program) as port:
        rows = Rows()
        counts = await reading_once(source(tmp_path, port, [SLOW_BYTES]), rows)
    assert values(rows) == {0: 0, 1: 10}
    assert not counts.errors


async def test_what_it_does_not_have_is_refused_and_the_rest_is_read(tmp_path: Path, program: tuple[Path, int]) -> None:
    with server(program) as port:
        rows = Rows()
        counts = await reading_once(source(tmp_path, port, [PLAIN, 0x500]), rows)
    assert values(rows) == {0: 0, 2: 10}
    assert counts.errors == {"illegal address": 1}
