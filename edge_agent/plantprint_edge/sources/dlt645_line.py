"""Lines to DL/T 645-2007 meters: over a serial server or on a serial port, one request at a time, nothing but reads.

An answer must come from the meter that was asked and repeat the identifier; everything else is thrown away and counted.
Frames carry no number, so what a meter still owes is let in, by a question under another identifier, before it is asked
for a value again: a late reply is never taken for the answer to another request.
"""

import asyncio
import os
import termios
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

import serial  # type: ignore[import-untyped]

from plantprint_edge.channels import SerialLine
from plantprint_edge.config.dlt645 import Dlt645SerialSource, Dlt645Source, Dlt645TcpSource
from plantprint_edge.sources.dlt645_frame import (
    ANYONE,
    FUNCTION,
    READ,
    READ_ADDRESS,
    READ_MORE,
    REPLY,
    WAKE_UP,
    Deframer,
    Frame,
    encode,
    identifier,
    refusal,
)
from plantprint_edge.sources.line import DeviceError, RefusedError, SharedLine, shared

# The longest of what is asked for, 64 energies of 4 bytes, needs two; some meters send short frames.
FRAMES_MAX = 16
# Asked for to let in what a meter still owes: address, number, frequency, voltage, energy.
QUESTIONS = (0x04000401, 0x04000402, 0x02800002, 0x02010100, 0x00010000)


@dataclass(frozen=True, slots=True)
class NetworkLine:
    """A serial server: what is sent there goes out on its line."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"{self.host}:{self.port}"


class _Connection(asyncio.Protocol):
    """An open line. What comes while nobody listens is dropped at once."""

    def __init__(self, line: SharedLine) -> None:
        self._line = line
        self.received = bytearray()
        self.news = asyncio.Event()
        self.listening = False
        self.noise = False
        self.lost = False
        self.send: Callable[[bytes], object] = lambda _: None
        self.close: Callable[[], None] = lambda: None

    def data_received(self, data: bytes) -> None:
        if self.listening:
            self.received += data
            self.news.set()
        else:
            self._line.heard = True

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - the protocol's
        self.lost = True
        self.news.set()


class Dlt645Line(SharedLine):
    """One connection or serial port with its meters."""

    def __init__(self, address: NetworkLine | SerialLine, timeout_s: float) -> None:
        # Three characters of silence between two frames.
        super().__init__(timeout_s, gap_s=33 / address.baud if isinstance(address, SerialLine) else 0.0)
        self._address = address
        self._open: _Connection | None = None

    async def read(self, meter: str, di: int, timeout_s: float, late_s_max: float, thrown: "Counter[str]") -> bytes:
        """The data of identifier `di`, without it; raises `RefusedError` or `DeviceError`.

        No reply takes longer than `late_s_max`; replies that are none to this request are counted in `thrown`.
        """
        async with self.turn:
            if question := self._question(meter, di, late_s_max):
                with suppress(RefusedError):
                    await self._ask(meter, question, timeout_s, thrown)
                # A meter answers in order: nothing older than this reply is on its way any more.
                self.owed.settle(meter)
            return await self._ask(meter, di, timeout_s, thrown)

    async def who(self, timeout_s: float) -> str:
        """The address of the only meter on the line; raises `DeviceError`."""
        async with self.turn:
            asked = Frame(ANYONE, READ_ADDRESS)
            reply = await self._exchange(
                asked, lambda f: f.control == READ_ADDRESS | REPLY and len(f.data) == 6, timeout_s, Counter()
            )
        return reply.data[::-1].hex().upper()

    def close(self) -> None:
        connection, self._open = self._open, None
        if connection is not None:
            # An adapter that was pulled out cannot be flushed.
            with suppress(OSError, termios.error):
                connection.close()

    def _question(self, meter: str, di: int, late_s_max: float) -> int | None:
        """What to ask for first, because an old reply may be on its way; None when there is none."""
        owed = self.owed.of(meter, late_s_max)
        return min((q for q in QUESTIONS if q != di), key=lambda q: owed.get(q, 0.0)) if owed else None

    async def _ask(self, meter: str, di: int, timeout_s: float, thrown: "Counter[str]") -> bytes:
        try:
            return await self._read_all(meter, identifier(di), timeout_s, thrown)
        except (DeviceError, asyncio.CancelledError) as error:
            if not isinstance(error, DeviceError) or error.reason != "connect":
                self.owed.note(meter, di)
            raise

    async def _read_all(self, meter: str, head: bytes, timeout_s: float, thrown: "Counter[str]") -> bytes:
        """The data of a reply and of the frames that follow it, which are asked for by their number."""
        reply = await self._answer(Frame(meter, READ, head), head, timeout_s, thrown)
        data, number = reply.data[4:], 0
        while reply.has_more:
            number += 1
            if number > FRAMES_MAX:
                raise DeviceError("endless reply", f"meter {meter}: more than {FRAMES_MAX} frames")
            tail = bytes([number])
            reply = await self._answer(Frame(meter, READ_MORE, head + tail), head, timeout_s, thrown, tail)
            data += reply.data[4:-1]
        return data

    async def _answer(
        self, asked: Frame, head: bytes, timeout_s: float, thrown: "Counter[str]", tail: bytes = b""
    ) -> Frame:
        """The reply to a read; raises `RefusedError` or `DeviceError`."""

        def answers(frame: Frame) -> bool:
            if not frame.is_reply or frame.address != asked.address or frame.control & FUNCTION != asked.control:
                return False
            return frame.is_refusal or (frame.data.startswith(head) and frame.data[4:].endswith(tail))

        reply = await self._exchange(asked, answers, timeout_s, thrown)
        if reply.is_refusal:
            raise RefusedError(refusal(reply.data))
        return reply

    async def _exchange(
        self, asked: Frame, answers: Callable[[Frame], bool], timeout_s: float, thrown: "Counter[str]"
    ) -> Frame:
        async with self.spaced():
            try:
                connection = await self._connect(timeout_s)
                await self.drain(_name(self._address))
                async with asyncio.timeout(timeout_s):
                    return await self._send(connection, asked, answers, thrown)
            except TimeoutError:
                noise = bool(self._open and self._open.noise)
                self.close()
                what = "something came that is no frame" if noise else "no answer"
                raise DeviceError("damaged reply" if noise else "timeout", f"meter {asked.address}: {what}") from None
            except OSError as error:
                self.close()
                raise DeviceError("connect", f"{_name(self._address)}: {error}") from error
            except (DeviceError, asyncio.CancelledError):
                # Its answer may still come and must not meet the next request.
                self.close()
                raise

    async def _send(
        self, connection: _Connection, asked: Frame, answers: Callable[[Frame], bool], thrown: "Counter[str]"
    ) -> Frame:
        connection.received.clear()
        connection.news.clear()
        connection.listening, connection.noise = True, False
        try:
            if connection.lost:
                raise OSError("the other end closed the connection")
            connection.send(WAKE_UP + encode(asked))
            return await self._listen(connection, answers, thrown)
        finally:
            connection.listening = False

    async def _listen(self, connection: _Connection, answers: Callable[[Frame], bool], thrown: "Counter[str]") -> Frame:
        deframer = Deframer()
        while True:
            await connection.news.wait()
            connection.news.clear()
            received, connection.received = bytes(connection.received), bytearray()
            frames = deframer.feed(received)
            connection.noise = bool(received) and not frames
            for frame in frames:
                if answers(frame):
                    return frame
                # An adapter may send back what it was given.
                if frame.is_reply:
                    thrown["foreign reply"] += 1
            if connection.lost:
                raise DeviceError("disconnected", f"{_name(self._address)} closed the connection instead of an answer")

    async def _connect(self, timeout_s: float) -> _Connection:
        if self._open is not None and not self._open.lost:
            return self._open
        self.close()
        connection = _Connection(self)
        if isinstance(self._address, SerialLine):
            _open_port(self._address, connection)
        else:
            await _open_network(self._address, connection, timeout_s)
        self._open = connection
        return connection


async def _open_network(address: NetworkLine, connection: _Connection, timeout_s: float) -> None:
    try:
        async with asyncio.timeout(timeout_s):
            transport, _ = await asyncio.get_running_loop().create_connection(
                lambda: connection, address.host, address.port
            )
    except TimeoutError:
        raise DeviceError("connect", f"no connection to {address}") from None
    connection.send = transport.write
    connection.close = transport.abort


def _open_port(line: SerialLine, connection: _Connection) -> None:
    """Open a serial port; raises `OSError`."""
    try:
        port = serial.Serial(line.port, line.baud, parity=line.parity, stopbits=line.stop, timeout=0, exclusive=True)
    except (termios.error, ValueError) as error:
        raise OSError(f"{error}: does the port know these settings?") from error
    loop, handle = asyncio.get_running_loop(), port.fileno()

    def readable() -> None:
        try:
            data = os.read(handle, 4096)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if data:
            connection.data_received(data)
        else:
            loop.remove_reader(handle)
            connection.connection_lost(None)

    def close() -> None:
        loop.remove_reader(handle)
        port.close()

    loop.add_reader(handle, readable)
    connection.send = lambda data: os.write(handle, data)
    connection.close = close


class Dlt645Lines:
    """The lines of an agent: meters at one serial server or port share theirs."""

    def __init__(self) -> None:
        self._shared: dict[NetworkLine | str, Dlt645Line] = {}

    def of(self, source: Dlt645Source) -> Dlt645Line:
        address = address_of(source)
        key = address.port if isinstance(address, SerialLine) else address
        return shared(self._shared, key, lambda: Dlt645Line(address, source.timeout_s), source.timeout_s)


def address_of(source: Dlt645Source) -> NetworkLine | SerialLine:
    """Where a meter is reached."""
    if isinstance(source, Dlt645SerialSource):
        return SerialLine(source.serial_port, source.baud, source.parity, source.stop)
    assert isinstance(source, Dlt645TcpSource)
    return NetworkLine(source.host, source.port)


def _name(address: NetworkLine | SerialLine) -> str:
    return f"{address.port} ({address})" if isinstance(address, SerialLine) else str(address)
