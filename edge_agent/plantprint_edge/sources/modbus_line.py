"""Connections to Modbus devices: the one user of pymodbus, whose connections, framers and requests carry our transactions.

Only function codes 3 and 4 are ever sent. A line is one connection or one serial port. Its devices take turns, one
request at a time, in the order of asking. A request without answer closes the line. RTU frames carry no transaction
number, so there what came unasked is thrown away before each request, and a unit that owes a reply is first asked for
another number of registers: a late reply is never taken for the answer to another request.
"""

import asyncio
import math
import struct
import termios
import time
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal, cast

from pymodbus.framer import FramerRTU, FramerSocket
from pymodbus.pdu import DecodePDU
from pymodbus.pdu.register_message import ReadHoldingRegistersRequest, ReadInputRegistersRequest
from pymodbus.transport import CommParams, CommType, ModbusProtocol

from plantprint_edge.channels import SerialLine, serial_line
from plantprint_edge.config import ModbusSerialSource, ModbusSource, ModbusTcpSource
from plantprint_edge.sources.line import DeviceError, RefusedError, SharedLine, shared

REFUSALS = {1: "illegal function", 2: "illegal address", 3: "illegal value"}
# Lengths of the requests that find out whether a unit still has an old reply on its way.
PROBE_COUNTS = range(1, 9)
# After these a reply may still come, and must not meet the next request.
OWING = ("timeout", "foreign reply", "disconnected")
NUMBER_MAX = 0xFFFF

FunctionCode = Literal[3, 4]


@dataclass(frozen=True, slots=True)
class NetworkLine:
    """A TCP connection; with `rtu` framing a serial converter stands at its other end."""

    host: str
    port: int
    framing: Literal["tcp", "rtu"] = "tcp"

    def __str__(self) -> str:
        return f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class _Request:
    """What is sent for registers, and how its answer begins (function code, number of bytes) and where that ends."""

    pdu: bytes
    head: bytes
    end: int
    count: int
    registers: str


@lru_cache(maxsize=8192)
def _request(fc: FunctionCode, addr: int, count: int) -> _Request:
    """Raises `RefusedError` for registers that no device has: where they begin may have been read from one."""
    kind = ReadHoldingRegistersRequest if fc == 3 else ReadInputRegistersRequest
    try:
        body = kind(address=addr, count=count).encode()
    except ValueError:
        raise RefusedError(REFUSALS[2]) from None
    registers = f"registers {addr} to {addr + count - 1}"
    return _Request(bytes([fc]) + body, bytes([fc, 2 * count]), 2 + 2 * count, count, registers)


class Exchange(ModbusProtocol):
    """A connection of pymodbus with one request at a time on it; whatever else comes is thrown away."""

    def __init__(self, line: "Line", address: NetworkLine | SerialLine) -> None:
        super().__init__(_parameters(address, line.timeout_s), is_server=False)
        self._line = line
        self._framer = (FramerSocket if line.numbered else FramerRTU)(DecodePDU(is_server=False))
        self._number = 0
        self._unit_id = 0
        self._asked = _Request(b"", b"", 0, 0, "")
        self._waiter: asyncio.Future[bytes] | None = None
        self._due_s = 0.0
        # When the timer looks next whether a request is due.
        self._look_s = math.inf
        self._timer: asyncio.TimerHandle | None = None

    async def ask(self, unit_id: int, request: _Request, timeout_s: float) -> bytes:
        """The bytes of the registers; raises `RefusedError` or `DeviceError`."""
        if not self.transport:
            raise DeviceError("disconnected", f"{request.registers}: the connection ended")
        if self._line.numbered:
            self._number = self._number % NUMBER_MAX + 1
        self._unit_id, self._asked, self.recv_buffer = unit_id, request, b""
        waiter: asyncio.Future[bytes] = self.loop.create_future()
        self._waiter = waiter
        self._due_s = time.monotonic() + timeout_s
        if self._due_s < self._look_s:
            self._look_again()
        try:
            frame = self._framer.encode(request.pdu, unit_id, self._number)
            cast("asyncio.WriteTransport", self.transport).write(frame)
            return await waiter
        finally:
            self._waiter = None

    def _look(self) -> None:
        """Whether the present request has waited too long; one timer watches over many requests."""
        self._look_s = math.inf
        if self._waiter is None:
            return
        if time.monotonic() < self._due_s:
            self._look_again()
        else:
            self._fail("timeout", "no answer")

    def _look_again(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._look_s = self._due_s
        self._timer = self.loop.call_later(self._due_s - time.monotonic(), self._look)

    def data_received(self, data: bytes) -> None:
        """Take bytes from the event loop, past the frames that pymodbus keeps of late for its log."""
        data = self.recv_buffer + data
        data = data[self.callback_data(data) :]
        self.recv_buffer = data if len(data) <= self._framer.MAX_SIZE else b""

    def callback_data(self, data: bytes, addr: tuple[str, int] | None = None) -> int:  # noqa: ARG002 - see ModbusProtocol
        """Look for answers in what has come, and say how much of it is done with."""
        if self._waiter is None:
            self._line.heard = True
            return len(data)
        done = 0
        while done < len(data):
            used, unit_id, number, pdu = self._framer.decode(data[done:] if done else data)
            if not used:
                break
            done += used
            if pdu:
                self._judge(unit_id, number, pdu)
        return done

    def _judge(self, unit_id: int, number: int, pdu: bytes) -> None:
        """Take an answer or say why it is none; a late one to an earlier request, or of another unit, is passed over."""
        asked = self._asked
        if number == self._number and unit_id == self._unit_id:
            if pdu.startswith(asked.head) and len(pdu) >= asked.end:
                self._settle(pdu[2 : asked.end])
            elif pdu[0] == asked.head[0] | 0x80 and len(pdu) > 1:
                self._settle(_refusal(pdu[1], asked))
            else:
                self._fail("foreign reply", f"function code {pdu[0]}, {len(pdu)} bytes")
        elif self._line.numbered and number in (0, self._number):
            self._fail("foreign reply", f"transaction {number} of unit {unit_id}")

    def _fail(self, reason: str, detail: str) -> None:
        self._settle(DeviceError(reason, f"{self._asked.registers}: {detail}"))

    def _settle(self, outcome: bytes | Exception) -> None:
        if self._waiter is None or self._waiter.done():
            return
        if isinstance(outcome, bytes):
            self._waiter.set_result(outcome)
        else:
            self._waiter.set_exception(outcome)

    def callback_new_connection(self) -> ModbusProtocol:
        """See `ModbusProtocol`; only servers have it called."""
        return self

    def callback_connected(self) -> None:
        """See `ModbusProtocol`."""

    def callback_disconnected(self, exc: Exception | None) -> None:
        """See `ModbusProtocol`."""
        self._fail("disconnected", f"the connection ended: {exc or 'the other end closed it'}")


def _refusal(code: int, asked: _Request) -> Exception:
    return RefusedError(REFUSALS[code]) if code in REFUSALS else DeviceError(f"exception {code}", asked.registers)


def _parameters(address: NetworkLine | SerialLine, timeout_s: float) -> CommParams:
    # No reconnect of pymodbus: numbers begin anew with a connection, and only its line knows when there may be one.
    if isinstance(address, SerialLine):
        return CommParams(
            comm_name=address.port, comm_type=CommType.SERIAL, reconnect_delay=0, timeout_connect=timeout_s,
            host=address.port, baudrate=address.baud, bytesize=8, parity=address.parity, stopbits=address.stop,
        )  # fmt: skip
    return CommParams(
        comm_name=str(address), comm_type=CommType.TCP, reconnect_delay=0, timeout_connect=timeout_s,
        host=address.host, port=address.port,
    )  # fmt: skip


class Line(SharedLine):
    """One connection or serial port. Only frames with TCP framing carry a transaction number."""

    def __init__(self, address: NetworkLine | SerialLine, timeout_s: float) -> None:
        # 3.5 characters between two frames, at least 1.75 ms.
        gap_s = max(0.00175, 3.5 * 11 / address.baud) if isinstance(address, SerialLine) else 0.0
        numbered = isinstance(address, NetworkLine) and address.framing == "tcp"
        super().__init__(timeout_s, numbered=numbered, gap_s=gap_s)
        self._address = address
        self._exchange: Exchange | None = None

    async def read(
        self, unit_id: int, fc: FunctionCode, addr: int, count: int, timeout_s: float, late_s_max: float = 30.0
    ) -> list[int]:
        """`count` registers from `addr` on as numbers; see `fetch`."""
        return words_of(await self.fetch(unit_id, fc, addr, count, timeout_s, late_s_max))

    async def fetch(
        self, unit_id: int, fc: FunctionCode, addr: int, count: int, timeout_s: float, late_s_max: float = 30.0
    ) -> bytes:
        """`count` registers from `addr` on, two bytes each; no reply takes over `late_s_max`.

        Raises `RefusedError` or `DeviceError`.
        """
        request = _request(fc, addr, count)
        async with self.turn:
            if self.numbered:
                exchange = self._exchange
                if exchange is None or not exchange.transport:
                    exchange = await self._connect()
                return await self._ask(exchange, unit_id, request, timeout_s)
            if probe := self._probe_count(unit_id, count, late_s_max):
                with suppress(RefusedError):
                    await self._ask_in_silence(unit_id, _request(fc, addr, probe), timeout_s)
                # Units answer in order: nothing older than this reply is on its way any more.
                self.owed.settle(unit_id)
            return await self._ask_in_silence(unit_id, request, timeout_s)

    def _probe_count(self, unit_id: int, count: int, late_s_max: float) -> int | None:
        """How many registers to ask for first, because a reply with `count` may be an old one; None when it cannot."""
        owed = self.owed.of(unit_id, late_s_max)
        return min((n for n in PROBE_COUNTS if n != count), key=lambda n: owed.get(n, 0.0)) if count in owed else None

    async def _ask_in_silence(self, unit_id: int, request: _Request, timeout_s: float) -> bytes:
        exchange = await self._connect()
        async with self.spaced():
            await self.drain(_name(self._address))
            return await self._ask(exchange, unit_id, request, timeout_s)

    async def _ask(self, exchange: Exchange, unit_id: int, request: _Request, timeout_s: float) -> bytes:
        try:
            return await exchange.ask(unit_id, request, timeout_s)
        except (DeviceError, asyncio.CancelledError) as error:
            if not isinstance(error, DeviceError) or error.reason in OWING:
                self.owed.note(unit_id, request.count)
                self.close()
            raise

    async def _connect(self) -> Exchange:
        if self._exchange is not None and self._exchange.transport:
            return self._exchange
        self.close()
        exchange = Exchange(self, self._address)
        with suppress(OSError, ValueError, termios.error):
            if await exchange.connect():
                self._exchange = exchange
                return exchange
        raise DeviceError("connect", f"no connection to {_name(self._address)}")

    def close(self) -> None:
        exchange, self._exchange = self._exchange, None
        if exchange is not None:
            # An adapter that was pulled out cannot be flushed.
            with suppress(OSError, termios.error):
                exchange.close()


def words_of(data: bytes) -> list[int]:
    """Registers as numbers, from two bytes each, the high one first."""
    return list(struct.unpack(f">{len(data) // 2}H", data))


class Lines:
    """The lines of an agent: sources on one serial port or converter share theirs."""

    def __init__(self) -> None:
        self._shared: dict[NetworkLine | str, Line] = {}

    def of(self, source: ModbusSource) -> Line:
        """The line of `source`; one source on a line has it for itself."""
        address = address_of(source)
        if isinstance(source, ModbusTcpSource) and source.framing == "tcp" and not source.share_connection:
            return Line(address, source.timeout_s)
        key = address.port if isinstance(address, SerialLine) else address
        return shared(self._shared, key, lambda: Line(address, source.timeout_s), source.timeout_s)


def address_of(source: ModbusSource) -> NetworkLine | SerialLine:
    """Where a source is reached."""
    if isinstance(source, ModbusSerialSource):
        return serial_line(source)
    assert isinstance(source, ModbusTcpSource)
    return NetworkLine(source.host, source.port, source.framing)


def _name(address: NetworkLine | SerialLine) -> str:
    return f"{address.port} ({address})" if isinstance(address, SerialLine) else str(address)
