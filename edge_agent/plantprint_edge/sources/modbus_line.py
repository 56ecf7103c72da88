"""Connections to Modbus devices: the one user of pymodbus, which only ever sends function codes 3 and 4.

A line is one connection or one serial port. Its devices take turns, one request at a time, in the order of asking. A
request without answer closes the line. RTU frames carry no transaction number, so there what came unasked is thrown away
before each request, and a unit that owes a reply is first asked for another number of registers: a late reply is never
taken for the answer to another request.
"""

import asyncio
import termios
from contextlib import nullcontext, suppress
from dataclasses import dataclass
from typing import Literal

from pymodbus import FramerType
from pymodbus.client import AsyncModbusSerialClient, AsyncModbusTcpClient
from pymodbus.exceptions import ModbusException

from plantprint_edge.channels import SerialLine, serial_line
from plantprint_edge.config import ModbusSerialSource, ModbusSource, ModbusTcpSource
from plantprint_edge.sources.line import DeviceError, RefusedError, SharedLine, shared

REFUSALS = {1: "illegal function", 2: "illegal address", 3: "illegal value"}
# Lengths of the requests that find out whether a unit still has an old reply on its way.
PROBE_COUNTS = range(1, 9)


@dataclass(frozen=True, slots=True)
class NetworkLine:
    """A TCP connection; with `rtu` framing a serial converter stands at its other end."""

    host: str
    port: int
    framing: Literal["tcp", "rtu"] = "tcp"

    def __str__(self) -> str:
        return f"{self.host}:{self.port}"


class Line(SharedLine):
    """One connection or serial port. Only frames with TCP framing carry a transaction number."""

    def __init__(self, address: NetworkLine | SerialLine, timeout_s: float) -> None:
        # 3.5 characters between two frames, at least 1.75 ms.
        gap_s = max(0.00175, 3.5 * 11 / address.baud) if isinstance(address, SerialLine) else 0.0
        numbered = isinstance(address, NetworkLine) and address.framing == "tcp"
        super().__init__(timeout_s, numbered=numbered, gap_s=gap_s)
        self._address = address
        self._client: AsyncModbusTcpClient | AsyncModbusSerialClient | None = None

    async def read(
        self, unit_id: int, fc: Literal[3, 4], addr: int, count: int, timeout_s: float, late_s_max: float = 30.0
    ) -> list[int]:
        """`count` registers from `addr` on; raises `RefusedError` or `DeviceError`. No reply takes over `late_s_max`."""
        async with self.turn:
            if not self.numbered and (probe := self._probe_count(unit_id, count, late_s_max)):
                with suppress(RefusedError):
                    await self._request(unit_id, fc, addr, probe, timeout_s)
                # Units answer in order: nothing older than this reply is on its way any more.
                self.owed.settle(unit_id)
            return await self._request(unit_id, fc, addr, count, timeout_s)

    def _probe_count(self, unit_id: int, count: int, late_s_max: float) -> int | None:
        """How many registers to ask for first, because a reply with `count` may be an old one; None when it cannot."""
        owed = self.owed.of(unit_id, late_s_max)
        return min((n for n in PROBE_COUNTS if n != count), key=lambda n: owed.get(n, 0.0)) if count in owed else None

    async def _request(self, unit_id: int, fc: Literal[3, 4], addr: int, count: int, timeout_s: float) -> list[int]:
        client = await self._connect()
        async with self.spaced() if self.gap_s else nullcontext():
            if not self.numbered:
                await self.drain(_name(self._address))
            try:
                return await self._ask(client, unit_id, fc, addr, count, timeout_s)
            except (DeviceError, asyncio.CancelledError) as error:
                if not isinstance(error, DeviceError) or error.reason in ("timeout", "foreign reply"):
                    # Its answer may still come and must not meet the next request.
                    self.owed.note(unit_id, count)
                    self.close()
                raise

    def _trace(self, sending: bool, frame: bytes) -> bytes:
        self.heard = self.heard or not sending
        return frame

    def close(self) -> None:
        client, self._client = self._client, None
        if client is not None:
            # An adapter that was pulled out cannot be flushed.
            with suppress(OSError, termios.error):
                client.close()

    async def _connect(self) -> AsyncModbusTcpClient | AsyncModbusSerialClient:
        if self._client is not None and self._client.connected:
            return self._client
        self.close()
        self._client = self._make_client()
        with suppress(OSError, ValueError, termios.error):
            if await self._client.connect():
                return self._client
        self.close()
        raise DeviceError("connect", f"no connection to {_name(self._address)}")

    def _make_client(self) -> AsyncModbusTcpClient | AsyncModbusSerialClient:
        address = self._address
        # No retry and no reconnect of pymodbus: a repeated request would reuse its id for a late answer.
        if isinstance(address, SerialLine):
            return AsyncModbusSerialClient(
                address.port, baudrate=address.baud, parity=address.parity, stopbits=address.stop,
                timeout=self.timeout_s, retries=0, reconnect_delay=0, name=address.port, trace_packet=self._trace,
            )  # fmt: skip
        framer = FramerType.SOCKET if address.framing == "tcp" else FramerType.RTU
        return AsyncModbusTcpClient(
            address.host, port=address.port, framer=framer,
            timeout=self.timeout_s, retries=0, reconnect_delay=0, name=str(address), trace_packet=self._trace,
        )  # fmt: skip

    async def _ask(
        self,
        client: AsyncModbusTcpClient | AsyncModbusSerialClient,
        unit_id: int,
        fc: int,
        addr: int,
        count: int,
        timeout_s: float,
    ) -> list[int]:
        ask = client.read_holding_registers if fc == 3 else client.read_input_registers
        try:
            # The line itself waits as long as its most patient device.
            async with asyncio.timeout(timeout_s) if timeout_s < self.timeout_s else nullcontext():
                response = await ask(addr, count=count, device_id=unit_id)
        except (ModbusException, TimeoutError) as error:
            raise DeviceError(
                "timeout", f"registers {addr} to {addr + count - 1}: {str(error) or 'no answer'}"
            ) from error
        # pymodbus lets a reply with transaction id 0 pass as an answer to anything.
        foreign = (self.numbered and response.transaction_id == 0) or response.dev_id != unit_id
        if response.isError() and not foreign:
            if response.exception_code in REFUSALS:
                raise RefusedError(REFUSALS[response.exception_code])
            raise DeviceError(f"exception {response.exception_code}", f"registers {addr} and following")
        if foreign or response.function_code != fc or len(response.registers) != count:
            raise DeviceError("foreign reply", f"unit {response.dev_id}, {len(response.registers)} registers")
        return list(response.registers)


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
