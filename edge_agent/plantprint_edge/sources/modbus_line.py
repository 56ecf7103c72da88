"""Connections to Modbus devices: the one user of pymodbus, which only ever sends function codes 3 and 4.

A line is one connection or one serial port. Its devices take turns, one request at a time, in the order of asking. A
request without answer closes the line, so that a late reply is never taken for the answer to another request.
"""

import asyncio
import termios
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, nullcontext, suppress
from dataclasses import dataclass
from typing import Literal

from pymodbus import FramerType
from pymodbus.client import AsyncModbusSerialClient, AsyncModbusTcpClient
from pymodbus.exceptions import ModbusException

from plantprint_edge.channels import SerialLine, serial_line
from plantprint_edge.config import ModbusSerialSource, ModbusSource, ModbusTcpSource

REFUSALS = {1: "illegal function", 2: "illegal address", 3: "illegal value"}
# Of a shared line's time, all units together that have been silent twice or more take at most this share with asking again.
RETRY_SHARE = 0.2


class DeviceError(Exception):
    """The round cannot go on; `reason` is counted."""

    def __init__(self, reason: str, detail: str) -> None:
        self.reason = reason
        super().__init__(detail)


class RefusedError(Exception):
    """The device does not have these registers or does not know this function code; asking again is of no use."""

    def __init__(self, code: int) -> None:
        self.reason = REFUSALS[code]
        super().__init__(self.reason)


@dataclass(frozen=True, slots=True)
class NetworkLine:
    """A TCP connection; with `rtu` framing a serial converter stands at its other end."""

    host: str
    port: int
    framing: Literal["tcp", "rtu"] = "tcp"

    def __str__(self) -> str:
        return f"{self.host}:{self.port}"


class Line:
    """One connection or serial port; `users` is how many devices are on it."""

    def __init__(self, address: NetworkLine | SerialLine, timeout_s: float) -> None:
        self.users = 1
        self.timeout_s = timeout_s
        self._address = address
        self._client: AsyncModbusTcpClient | AsyncModbusSerialClient | None = None
        self._turn = asyncio.Lock()
        self._retries = asyncio.Lock()
        self._retry_at_s = 0.0
        self._free_at_s = 0.0

    @property
    def is_rtu(self) -> bool:
        """Whether frames carry no transaction number, so that a late reply looks like a prompt one."""
        return not isinstance(self._address, NetworkLine) or self._address.framing == "rtu"

    @property
    def gap_s(self) -> float:
        """Silence between two frames on a serial line: 3.5 characters, at least 1.75 ms."""
        return max(0.00175, 3.5 * 11 / self._address.baud) if isinstance(self._address, SerialLine) else 0.0

    async def read(self, unit_id: int, fc: Literal[3, 4], addr: int, count: int, timeout_s: float) -> list[int]:
        """`count` registers from `addr` on; raises `RefusedError` or `DeviceError`."""
        async with self._turn:
            client = await self._connect()
            await sleep_until(self._free_at_s)
            try:
                return await self._ask(client, unit_id, fc, addr, count, timeout_s)
            except DeviceError as error:
                if error.reason in ("timeout", "foreign reply"):
                    self.close()
                raise
            except asyncio.CancelledError:
                # Its answer may still come and must not meet the next request.
                self.close()
                raise
            finally:
                self._free_at_s = time.monotonic() + self.gap_s

    @asynccontextmanager
    async def retrying(self) -> AsyncIterator[None]:
        """Around the attempt of a unit that has been silent for long: these attempts wait for each other."""
        if self.users == 1:
            yield
            return
        async with self._retries:
            await sleep_until(self._retry_at_s)
            started_s = time.monotonic()
            try:
                yield
            finally:
                now_s = time.monotonic()
                self._retry_at_s = now_s + (now_s - started_s) * (1 / RETRY_SHARE - 1)

    def release(self) -> None:
        """One device needs the line no longer; the last one closes it."""
        self.users -= 1
        if not self.users:
            self.close()

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
                timeout=self.timeout_s, retries=0, reconnect_delay=0, name=address.port,
            )  # fmt: skip
        framer = FramerType.SOCKET if address.framing == "tcp" else FramerType.RTU
        return AsyncModbusTcpClient(
            address.host, port=address.port, framer=framer,
            timeout=self.timeout_s, retries=0, reconnect_delay=0, name=str(address),
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
        foreign = (not self.is_rtu and response.transaction_id == 0) or response.dev_id != unit_id
        if response.isError() and not foreign:
            if response.exception_code in REFUSALS:
                raise RefusedError(response.exception_code)
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
        line = self._shared.get(key)
        if line is None:
            return self._shared.setdefault(key, Line(address, source.timeout_s))
        line.users += 1
        line.timeout_s = max(line.timeout_s, source.timeout_s)
        return line


async def sleep_until(instant_s: float) -> None:
    """Wait for an instant of the monotonic clock; at once where it has passed."""
    if (wait_s := instant_s - time.monotonic()) > 0:
        await asyncio.sleep(wait_s)


def address_of(source: ModbusSource) -> NetworkLine | SerialLine:
    """Where a source is reached."""
    if isinstance(source, ModbusSerialSource):
        return serial_line(source)
    assert isinstance(source, ModbusTcpSource)
    return NetworkLine(source.host, source.port, source.framing)


def _name(address: NetworkLine | SerialLine) -> str:
    return f"{address.port} ({address})" if isinstance(address, SerialLine) else str(address)
