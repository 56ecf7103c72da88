"""Modbus TCP as a client, reading only: a frame of 12 bytes out, its reply in, one request at a time.

Every reply carries the number of its request, so a late one is known as such and dropped. pymodbus does this too and is
what RTU goes through; for the many fast requests of a gateway its share of the processor would be half of the agent's.
Frames: "MODBUS Messaging on TCP/IP Implementation Guide" V1.0b, section 3.1.3; function codes and exceptions: "MODBUS
Application Protocol" V1.1b3, sections 6.3, 6.4 and 7.
"""

import asyncio
import struct
from contextlib import suppress

from plantprint_edge.sources.line import DeviceError, RefusedError

REFUSALS = {1: "illegal function", 2: "illegal address", 3: "illegal value"}
# Number, protocol (always 0), bytes that follow, unit, function code, address, how many registers.
_REQUEST = struct.Struct(">HHHBBHH")
# The first six bytes of any frame; what follows is at least an exception and at most 253 bytes behind the unit.
_HEAD = struct.Struct(">HHH")
_LENGTH_MIN, _LENGTH_MAX = 3, 254


class ModbusTcpClient(asyncio.Protocol):
    """A connection that is used once; who loses it makes another. Whoever reads has it for themselves until the reply."""

    def __init__(self, host: str, port: int, timeout_s: float) -> None:
        self._host = host
        self._port = port
        self._timeout_s = timeout_s
        self._transport: asyncio.Transport | None = None
        self._answer: asyncio.Future[bytes] | None = None
        self._number = 0
        self._came = b""

    @property
    def connected(self) -> bool:
        return self._transport is not None

    async def connect(self) -> bool:
        """Whether there is a connection now; raises OS errors."""
        self._loop = asyncio.get_running_loop()
        with suppress(TimeoutError):
            async with asyncio.timeout(self._timeout_s):
                await self._loop.create_connection(lambda: self, self._host, self._port)
        return self.connected

    def close(self) -> None:
        """Drop the connection at once: nothing that is still on its way is wanted."""
        transport, self._transport = self._transport, None
        if transport is not None:
            transport.abort()

    async def read(self, unit_id: int, fc: int, addr: int, count: int, timeout_s: float) -> tuple[int, ...]:
        """`count` registers from `addr` on; raises `RefusedError` or `DeviceError`."""
        if self._transport is None:
            raise DeviceError("timeout", "the device closed the connection")
        # Never 0, which some devices send whatever they were asked.
        self._number = self._number % 0xFFFF + 1
        answer = self._answer = self._loop.create_future()
        timer = self._loop.call_later(timeout_s, self._fail, "timeout", f"registers {addr} to {addr + count - 1}")
        self._transport.write(_REQUEST.pack(self._number, 0, 6, unit_id, fc, addr, count))
        try:
            return _registers(await answer, unit_id, fc, addr, count)
        finally:
            timer.cancel()
            self._answer = None

    def _fail(self, reason: str, detail: str) -> None:
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(DeviceError(reason, detail))

    # --- what the event loop calls ------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        self._fail("timeout", f"connection lost: {exc or 'closed by the device'}")

    def data_received(self, data: bytes) -> None:
        """Take whole frames; what is no Modbus TCP ends the connection, for nobody knows where the next frame begins."""
        data = self._came + data
        start, end = 0, len(data)
        while end - start >= _HEAD.size:
            number, protocol, length = _HEAD.unpack_from(data, start)
            if protocol or not _LENGTH_MIN <= length <= _LENGTH_MAX:
                self._fail("foreign reply", f"no Modbus TCP: {data[start : start + 8].hex()}")
                self.close()
                return
            if end - start < _HEAD.size + length:
                break
            start += _HEAD.size + length
            if number == self._number and self._answer is not None and not self._answer.done():
                self._answer.set_result(data[start - length : start])
        self._came = data[start:]


def _registers(reply: bytes, unit_id: int, fc: int, addr: int, count: int) -> tuple[int, ...]:
    """What a reply to this request holds, from its unit on."""
    if len(reply) == 3 + 2 * count and reply[0] == unit_id and reply[1] == fc and reply[2] == 2 * count:
        return struct.unpack_from(f">{count}H", reply, 3)
    if len(reply) == _LENGTH_MIN and reply[0] == unit_id and reply[1] == fc | 0x80:
        code = reply[2]
        if code in REFUSALS:
            raise RefusedError(REFUSALS[code])
        raise DeviceError(f"exception {code}", f"registers {addr} and following")
    raise DeviceError("foreign reply", f"unit {reply[0]}, function {reply[1]}, {len(reply)} bytes")
