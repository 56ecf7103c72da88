"""Simulated Modbus TCP meters for measuring the agent: a process of its own that answers from ready bytes, or wrongly.

`python -m plantprint_cli.bench.edge_meters METERS FAULTY [COUNTS_FROM_MS]` prints its ports, one per 240 meters; a meter
is (port, unit). With an instant of the machine's clock their energy registers count from then on, else they stand still.
It shares the register maps with the agent, for they are data, and nothing else.
"""

import asyncio
import random
import struct
import sys
import time
from contextlib import suppress
from dataclasses import dataclass
from fractions import Fraction
from functools import cache, partial

from plantprint_edge.decode import register_count
from plantprint_edge.meters import SHIPPED, Device, DevicePoint

UNITS = 240
LATE_S = 1.5
# One after the other, so that a plant has all of them.
MODELS = ("eastron_sdm630", "schneider_iem3000", "abb_b23_b24", "siemens_pac3200", "acrel_dtsd1352")
FAULTS = ("silent", "late", "busy", "foreign", "hangs up")
# One of them is each model's.
ENERGY = ("energy_active_import", "energy_active_import_t1")
# What they have counted when they begin.
FIRST_COUNTS = 1000
COUNTS_PER_KWH = 100


@dataclass(frozen=True, slots=True)
class Meter:
    """One of the plant: `number` counts from 0, `fault` is one of `FAULTS` or empty."""

    number: int
    fault: str

    @property
    def model(self) -> str:
        return MODELS[self.number % len(MODELS)]

    @property
    def place(self) -> tuple[int, int]:
        """Which port, and the unit id."""
        return self.number // UNITS, self.number % UNITS + 1

    def counts(self, elapsed_ms: int) -> int:
        """What its energy register shows, in hundredths of a kWh, so long after it began; never twice the same at 1 Hz."""
        return FIRST_COUNTS + (11 + self.number * 7919 % 97) * elapsed_ms // 1000


def plant(meters: int, faulty: int) -> list[Meter]:
    """Meters of mixed models, the faulty ones spread among them."""
    every = meters // faulty if faulty else 1
    # A step further each time, so that they are of different models.
    wrong = [k * every + k % every for k in range(faulty)]
    return [Meter(n, FAULTS[wrong.index(n) % len(FAULTS)] if n in wrong else "") for n in range(meters)]


@cache
def registers(model: str) -> bytes:
    """All 65 536 registers of a model, with a value that makes sense to the agent behind every point."""
    device = SHIPPED.find(model)
    assert device is not None, model
    image = bytearray(2 * 0x10000)
    for name, point in device.points.items():
        words = _words(device, point.type, 40 if name.startswith(("ct", "pt")) else 1234)
        image[2 * point.addr : 2 * point.addr + len(words)] = words
        for ratio in point.times:
            addr = int(ratio.partition("@")[2])
            image[2 * addr : 2 * addr + 2] = struct.pack(">H", 1)
    return bytes(image)


@cache
def energy_point(model: str) -> tuple[str, DevicePoint]:
    """The name and the place of a model's energy register."""
    device = SHIPPED.find(model)
    assert device is not None, model
    return next((name, device.points[name]) for name in ENERGY if name in device.points)


def energy_words(meter: Meter, elapsed_ms: int) -> bytes:
    """The energy register as it stands so long after the meter began to count."""
    device, (_, point) = SHIPPED.find(meter.model), energy_point(meter.model)
    assert device is not None
    value = Fraction(meter.counts(elapsed_ms), COUNTS_PER_KWH) / Fraction(point.scale)
    return _words(device, point.type, float(value) if point.type.startswith("f") else int(value))


def _words(device: Device, kind: str, value: float) -> bytes:
    width = 2 * register_count(kind)
    if kind.startswith("f"):
        high = struct.pack(">f" if width == 4 else ">d", value)
    elif kind.startswith("bcd"):
        high = bytes.fromhex(str(value).zfill(2 * width))
    else:
        high = int(value).to_bytes(width, "big")
    pairs = [high[i : i + 2] for i in range(0, width, 2)]
    return b"".join(pairs if device.word_order == "big" else reversed(pairs))


class Answers(asyncio.Protocol):
    """A connection; frames come whole or in parts."""

    def __init__(self, meters: dict[int, Meter], counts_from_ms: int = 0) -> None:
        self._meters = meters
        self._counts_from_ms = counts_from_ms
        self._waits = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._waits += data
        while len(self._waits) >= 12:
            request, self._waits = self._waits[:12], self._waits[12:]
            self._answer(request)

    def _answer(self, request: bytes) -> None:
        unit, fc, addr, count = struct.unpack_from(">BBHH", request, 6)
        meter = self._meters.get(unit)
        if meter is None or meter.fault == "silent":
            return
        body = registers(meter.model)[2 * addr : 2 * (addr + count)]
        if self._counts_from_ms:
            body = self._counted(meter, addr, body)
        reply = request[:4] + struct.pack(">HBBB", 3 + len(body), unit, fc, len(body)) + body
        match meter.fault:
            case "":
                self._transport.write(reply)
            case "late":
                asyncio.get_running_loop().call_later(LATE_S, self._transport.write, reply)
            case "busy":
                self._transport.write(request[:4] + struct.pack(">HBBB", 3, unit, fc | 0x80, 6))
            case "foreign":
                self._transport.write(b"\0\0" + reply[2:])
            case _:
                self._transport.write(reply[: random.randrange(len(reply))])  # noqa: S311 - a fault, not a secret
                self._transport.close()

    def _counted(self, meter: Meter, addr: int, body: bytes) -> bytes:
        """The registers from `addr` on with what the meter has counted, where its energy is among them."""
        words = energy_words(meter, time.time_ns() // 1_000_000 - self._counts_from_ms)
        at = 2 * (energy_point(meter.model)[1].addr - addr)
        return body[:at] + words + body[at + len(words) :] if 0 <= at <= len(body) - len(words) else body


async def serve(meters: int, faulty: int, counts_from_ms: int = 0) -> None:
    """Print the ports and answer until standard input ends, that is, until whoever started this is gone."""
    by_port: dict[int, dict[int, Meter]] = {}
    for meter in plant(meters, faulty):
        port, unit = meter.place
        by_port.setdefault(port, {})[unit] = meter
        registers(meter.model)
    loop = asyncio.get_running_loop()
    servers = [
        await loop.create_server(partial(Answers, units, counts_from_ms), "127.0.0.1", 0, backlog=1024)
        for units in by_port.values()
    ]
    print(*(server.sockets[0].getsockname()[1] for server in servers), flush=True)  # noqa: T201 - the answer to the parent
    await asyncio.to_thread(sys.stdin.read)


if __name__ == "__main__":
    with suppress(KeyboardInterrupt):
        asyncio.run(serve(*map(int, sys.argv[1:])))
