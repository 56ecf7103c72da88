"""Looking at a device before it is written into agent.yaml: what it says as which type, and what looks wrong.

Nothing is ever written to a device. What is plausible is judged from voltage, frequency, and how values fit together.
"""

import asyncio
import os
import socket
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Literal, Protocol

from plantprint.wire.chunk import Row
from plantprint_edge.channels import SerialLine, modbus_point, ratio_reads
from plantprint_edge.clock import Clock, site_clock
from plantprint_edge.config import ModbusPoint, ModbusSerialSource, ModbusSource, ModbusTcpSource
from plantprint_edge.meters import Device, Library
from plantprint_edge.sources import sunspec
from plantprint_edge.sources.line import DeviceError, RefusedError
from plantprint_edge.sources.modbus import ModbusReader
from plantprint_edge.sources.modbus_line import Line, NetworkLine

Values = dict[str, Decimal]
# Ranges around the nominal voltages of the world's low-voltage networks, neutral or line to line, and of transformers.
VOLTAGES_V = ((85, 140), (190, 290), (340, 520), (600, 760))
FREQUENCIES_HZ = ((48, 52), (58, 62))
# A refused block is taken apart round by round: once to its neighbours, once to single points.
ROUNDS_MAX = 4
GATEWAY_FAILURES = ("exception 10", "exception 11")


@dataclass(frozen=True, slots=True)
class Target:
    """Where to look: a line and the unit on it."""

    line: Line
    address: NetworkLine | SerialLine
    unit_id: int
    timeout_s: float


@dataclass(frozen=True, slots=True)
class Report:
    """What a device said as a type: values by point with their units, what was refused or missing, what looks wrong."""

    device: Device
    values: Values
    absent: tuple[str, ...]
    findings: tuple[str, ...]


class _Collected(dict[int, int]):
    """An intake that keeps the latest value of each index."""

    async def put(
        self,
        rows: Sequence[Row],
        backlog_chunks_max: int | None = None,  # noqa: ARG002 - the protocol's
    ) -> list[asyncio.Future[bool]]:
        self.update((row[0], row[2]) for row in rows)
        return []


async def probe(target: Target, device: Device, library: Library) -> Report:
    """Read all points of `device` from the target; raises `DeviceError` when it does not answer."""
    values = await _values(target, device, library, tuple(device.points))
    absent = tuple(name for name in device.points if name not in values)
    findings = judge(device.points, values)
    if not _plausible_points(device, values):
        findings += await _other_order(target, device, library)
    return Report(device, values, absent, tuple(findings))


async def guess(target: Target, library: Library) -> list[Device]:
    """The types that fit best; empty when none does. Raises `DeviceError` without a connection.

    A device that keeps silent where others refuse costs a time-out per type.
    """
    devices = [device for device in map(library.find, library.ids()) if device is not None]
    for model in await sunspec.walk(lambda addr, count: _registers(target, 3, addr, count)):
        if known := [device for device in devices if model.number in device.sunspec]:
            return known
    scores = {device.id: await _score(target, device, library) for device in devices if not device.sunspec}
    best = max(scores.values(), default=0)
    return [device for device in devices if best and scores.get(device.id) == best]


async def answers(target: Target, device: Device | None = None) -> bool:
    """Whether a unit is there: any answer counts, even a refusal, but not a gateway's word that nobody answers it.

    Register 0 is asked for, or the first point of `device`. Raises `DeviceError` without a connection.
    """
    first = next(iter(device.points.values())) if device else None
    places: list[tuple[Literal[3, 4], int]] = [(device.fc, first.addr)] if device and first else [(3, 0), (4, 0)]
    for fc, addr in places:
        try:
            await target.line.read(target.unit_id, fc, addr, 2, target.timeout_s)
        except RefusedError:
            return True
        except DeviceError as error:
            if error.reason == "connect":
                raise
            if error.reason in GATEWAY_FAILURES:
                return False
            if error.reason.startswith("exception"):
                return True
        else:
            return True
    return False


async def _score(target: Target, device: Device, library: Library) -> int:
    """3 for a maker's mark, else one for each of voltage and frequency that is plausible; voltage must be."""
    if device.identify is not None:
        words = await _registers(target, device.fc, device.identify.addr, len(device.identify.words))
        return 3 if words is not None and tuple(words) == device.identify.words else 0
    # All phases, so that a meter of three does not look like one of one.
    names = [name for name in device.points if _range_of(name)]
    if not any(name.startswith("voltage") for name in names):
        return 0
    try:
        good = _plausible_points(device, await _values(target, device, library, names))
    except DeviceError as error:
        if error.reason == "connect":
            raise
        return 0
    return len(good) if any(name.startswith("voltage") for name in good) else 0


async def _registers(target: Target, fc: Literal[3, 4], addr: int, count: int) -> Sequence[int] | None:
    """Registers, None where the device refuses them or keeps silent."""
    try:
        return await target.line.read(target.unit_id, fc, addr, count, target.timeout_s)
    except RefusedError:
        return None
    except DeviceError as error:
        if error.reason == "connect":
            raise
        return None


async def _values(target: Target, device: Device, library: Library, names: Sequence[str], order: str = "") -> Values:
    points = tuple(
        ModbusPoint.model_validate({"name": name, "point": name, **({"word_order": order} if order else {})})
        for name in names
    )
    source = _source(target, device, library, points)
    collected = _Collected()
    reader = ModbusReader(source, 0, collected, Clock(site_clock({})), target.line)
    for _ in range(ROUNDS_MAX):
        before = sum(reader.counts.errors.values())
        await reader.poll()
        if sum(reader.counts.errors.values()) == before:
            break
    decimals = [modbus_point(source, point).decimals for point in points]
    values = {name: Decimal(collected[i]).scaleb(-decimals[i]) for i, name in enumerate(names) if i in collected}
    ratios = {f"ratio {r.name}": i for i, r in enumerate(ratio_reads(source), len(points))}
    return values | {name: Decimal(collected[i]) for name, i in ratios.items() if i in collected}


def _source(target: Target, device: Device, library: Library, points: tuple[ModbusPoint, ...]) -> ModbusSource:
    common = {
        "name": "probe",
        "unit_id": target.unit_id,
        "device": device.id,
        "timeout_s": target.timeout_s,
        "points": points,
    }
    address, context = target.address, {"library": library}
    if isinstance(address, SerialLine):
        return ModbusSerialSource.model_validate(
            {"source": "modbus_serial", "serial_port": address.port, **common}, context=context
        )
    return ModbusTcpSource.model_validate({"source": "modbus", "host": address.host, **common}, context=context)


async def _other_order(target: Target, device: Device, library: Library) -> list[str]:
    """Whether voltage and frequency make sense with their words in the other order."""
    order = "little" if device.word_order == "big" else "big"
    names = [n for n, p in device.points.items() if _range_of(n) and p.type not in ("u16", "i16")]
    if not names or device.sunspec:
        return []
    good = _plausible_points(device, await _values(target, device, library, names, order))
    return (
        [f"with word_order: {order} these are plausible: {', '.join(good)}; write it into agent.yaml"] if good else []
    )


class Quantity(Protocol):
    """What is known of a value."""

    @property
    def unit(self) -> str: ...

    @property
    def kind(self) -> str: ...


def judge(points: Mapping[str, Quantity], values: Mapping[str, Decimal]) -> list[str]:
    """What looks wrong in `values` (V, A, W, Hz), one sentence each with what to check."""
    found = []
    # Behind a voltage transformer any voltage is possible.
    transformed = values.get("ratio pt", Decimal(1)) != 1
    for name, value in values.items():
        ranges = _range_of(name)
        if ranges and not _within(value, ranges) and not (transformed and name.startswith("voltage")):
            near = "50 or 60 Hz" if name == "frequency" else "110, 230 or 400 V"
            what = f"is {value}, not near {near}: wrong type, word order or scale?"
            found.append(f"{name} {'is 0: not connected?' if value == 0 else what}")
        if name.startswith("power_factor") and points[name].unit == "1" and abs(value) > 1:
            found.append(f"{name} is {value}, outside -1 to 1: wrong scale, or a coding of its own")
        if name in points and points[name].kind == "counter" and value < 0:
            found.append(f"{name} is {value}, and a counter is not negative: wrong type or word order?")
    return found + _power_problems(values)


def _power_problems(values: Mapping[str, Decimal]) -> list[str]:
    phases = ("l1", "l2", "l3")
    total = values.get("power_active")
    if total is None or not all(f"power_active_{p}" in values for p in phases):
        return []
    by_phase = sum((values[f"power_active_{p}"] for p in phases), Decimal())
    found = []
    if abs(total - by_phase) > max(abs(total), abs(by_phase)) / 10 + 10:
        found.append(f"power_active is {total}, its phases add up to {by_phase}: wrong scale or type?")
    pairs = [(f"voltage_{p}", f"current_{p}") for p in phases]
    if all(v in values and i in values for v, i in pairs):
        apparent = sum((abs(values[v] * values[i]) for v, i in pairs), Decimal())
        if abs(total) > apparent * Decimal("1.2") + 20:
            found.append(f"power_active is {total} W, voltage x current only {apparent:.0f} VA: wrong scale or ratio?")
    return found


def _range_of(name: str) -> tuple[tuple[int, int], ...] | None:
    if name == "frequency":
        return FREQUENCIES_HZ
    return VOLTAGES_V if name.startswith("voltage") else None


def _within(value: Decimal, ranges: Sequence[tuple[int, int]]) -> bool:
    return any(low <= value <= high for low, high in ranges)


def _plausible_points(device: Device, values: Mapping[str, Decimal]) -> list[str]:
    """Which of voltages and frequency are in their range."""
    named = ((name, _range_of(name)) for name in values if name in device.points)
    return [name for name, ranges in named if ranges and _within(values[name], ranges)]


def at_unit(target: Target, unit_id: int) -> Target:
    """The same line, another unit."""
    return replace(target, unit_id=unit_id)


def why_unreachable(address: SerialLine | NetworkLine, timeout_s: float) -> str:
    """Why no connection could be made, and what to check: asked of the machine itself, for libraries keep it to themselves."""
    try:
        if isinstance(address, SerialLine):
            os.close(os.open(address.port, os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK))
            return "the port opens, but not with these settings or not now: is a running agent using it?"
        with socket.create_connection((address.host, address.port), timeout_s):
            return "it takes connections just now: it may allow only one, which another program holds; try again"
    except OSError as error:
        words = error.strerror or str(error)
        match error:
            case socket.gaierror():
                remedy = "check the name, or write the address in numbers"
            case ConnectionRefusedError():
                remedy = "the machine is there and nobody listens on this port: check --port, and that the device's server is on"
            case TimeoutError():
                remedy = "check power, network and address"
            case FileNotFoundError():
                remedy = "check the adapter's plug and the name of its port (ls /dev/tty*)"
            case PermissionError():
                remedy = "this user may not use the port: add it to the group dialout"
            case _:
                remedy = "check power, network, address and port"
        return f"{words}; {remedy}"
