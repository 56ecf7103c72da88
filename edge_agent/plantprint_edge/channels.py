"""The channels that sources declare, in the order of `agent.yaml`, and for Modbus how each is read from registers."""

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

from plantprint.facts import Channel
from plantprint.quantities import conversion
from plantprint.wire import TABLE_CHANNELS_MAX
from plantprint.wire.chunk import encode_table, table_hash
from plantprint_edge.config import (
    AgentConfig,
    Dlt645Source,
    FolderSource,
    ModbusPoint,
    ModbusSerialSource,
    ModbusSource,
    MqttSource,
    ReplaySource,
    Source,
)
from plantprint_edge.decode import Point
from plantprint_edge.meters import Device, DevicePoint, Parity, Serial

READ_MAX = 120


def channels_of(source: Source | ModbusSource, agent: str) -> tuple[Channel, ...]:
    """The channels of one source; raises `ValueError` that names the point and the remedy."""
    match source:
        case ModbusSource():
            points = ((point.name, modbus_point(source, point)) for point in source.points)
            ratios = tuple(Channel(agent, f"{source.name}.{r.name}", "1", 0, "gauge") for r in ratio_reads(source))
            return tuple(Channel(agent, name, p.unit, p.decimals, p.kind) for name, p in points) + ratios
        case Dlt645Source():
            points_of = ((p, p.item) for p in source.points)
            return tuple(Channel(agent, p.name, p.channel_unit, p.channel_decimals, i.kind) for p, i in points_of)
        case MqttSource():
            return tuple(Channel(agent, c.name, c.unit, c.decimals, c.kind, c.period_s) for c in source.channels())
        case FolderSource():
            periods = {"amount": source.period_s}
            return tuple(
                Channel(agent, c.name, c.unit, c.decimals, c.kind, periods.get(c.kind, 0)) for c in source.channels
            )
        case ReplaySource():
            return tuple(Channel(agent, c.name, c.unit, c.decimals, "amount", source.period_s) for c in source.columns)


def all_channels(config: AgentConfig) -> tuple[Channel, ...]:
    """Every channel of the agent; a channel's position here is its index inside the process."""
    return tuple(channel for source in config.sources for channel in channels_of(source, config.agent))


@dataclass(frozen=True, slots=True)
class Table:
    """A channel table: the channels from `first` on, in the bytes of its declaration."""

    first: int
    n: int
    body: bytes
    hash: str


def tables(channels: Sequence[Channel]) -> tuple[Table, ...]:
    """The tables of all channels in their order, each within the wire's limit."""
    bodies = (
        (first, channels[first : first + TABLE_CHANNELS_MAX]) for first in range(0, len(channels), TABLE_CHANNELS_MAX)
    )
    encoded = ((first, len(part), encode_table(part)) for first, part in bodies)
    return tuple(Table(first, n, body, table_hash(body)) for first, n, body in encoded)


def device_of(source: ModbusSource) -> Device | None:
    """The library entry of a source, None when it has none; raises `ValueError` for an id the library does not know."""
    if source.device is None:
        return None
    device = source.library.find(source.device)
    if device is None:
        raise ValueError(f"device {source.device!r} is not in the library; known are {', '.join(source.library.ids())}")
    return device


def modbus_point(source: ModbusSource, point: ModbusPoint) -> DevicePoint:
    """A point completed from the library; what `agent.yaml` says wins. Raises `ValueError` where neither says enough.

    Its unit may still differ from the library's; `modbus_reads` converts.
    """
    known = _library_point(source, point)
    said = point.model_dump(exclude={"name", "point", "fc", "word_order"}, exclude_none=True)
    if known is None and (absent := {"addr", "type", "kind", "unit", "decimals"} - said.keys()):
        lacking = ", ".join(sorted(absent))
        raise ValueError(f"{point.name}: {lacking} not given; write it here or name a `point` of a library `device`")
    return DevicePoint.model_validate({**(known.model_dump() if known else {}), **said})


def modbus_reads(source: ModbusSource, first_index: int) -> tuple[Point, ...]:
    """How each channel of `source` is read; they are numbered from `first_index`. Raises `ValueError`."""
    device = device_of(source)
    return tuple(_read(source, device, point, index) for index, point in enumerate(source.points, first_index))


def _read(source: ModbusSource, device: Device | None, point: ModbusPoint, index: int) -> Point:
    full, known = modbus_point(source, point), _library_point(source, point)
    factor, scale_addr = Fraction(10**full.decimals), None
    if isinstance(full.scale, str):
        scale_addr = int(full.scale.removeprefix("sf@"))
    else:
        factor *= Fraction(full.scale)
    if known:
        try:
            factor *= conversion(known.unit, full.unit)
        except ValueError as error:
            raise ValueError(f"{point.name}: the device counts in {known.unit}; {error}") from error
    names = [ratio.partition("@")[0] for ratio in full.times]
    for name in names:
        factor *= Fraction(source.ratios.get(name, 1))
    sentinels = (*full.sentinels, *(device.sentinels.get(full.type, ()) if device else ()))
    read = Point(
        index=index,
        fc=point.fc or (device.fc if device else 3),
        addr=full.addr,
        type=full.type,
        word_order=point.word_order or (device.word_order if device else "big"),
        factor=factor,
        sentinels=frozenset(int(raw, 16) for raw in sentinels),
        scale_addr=scale_addr,
        times=tuple(name for name in names if name not in source.ratios),
    )
    if read.end - read.start > (limit := read_max(source, device)):
        raise ValueError(f"{point.name}: value and scale are {read.end - read.start} registers, read_max is {limit}")
    return read


def read_max(source: ModbusSource, device: Device | None) -> int:
    """How many registers one request may ask for."""
    return source.read_max or (device.read_max if device else READ_MAX)


@dataclass(frozen=True, slots=True)
class SerialLine:
    """A serial port and how it is spoken to."""

    port: str
    baud: int
    parity: Parity
    stop: int

    def __str__(self) -> str:
        return f"{self.baud} baud 8{self.parity}{self.stop}"


def serial_line(source: ModbusSerialSource) -> SerialLine:
    """The line of a source: what it says, else what is usual for its device type. Raises `ValueError`."""
    device = device_of(source)
    usual = (device.serial if device else None) or Serial(baud=9600, parity=("N",), stop=1)
    return SerialLine(
        source.serial_port, source.baud or usual.baud, source.parity or usual.parity[0], source.stop or usual.stop
    )


@dataclass(frozen=True, slots=True)
class RatioRead:
    """A ratio that the device holds in the register `addr`, and that is read from there."""

    name: str
    addr: int


def ratio_reads(source: ModbusSource) -> tuple[RatioRead, ...]:
    """The ratios that multiply points of `source` and are not given in it; raises `ValueError`."""
    places: dict[str, int] = {}
    for point in source.points:
        for ratio in modbus_point(source, point).times:
            name, _, addr = ratio.partition("@")
            if name not in source.ratios and places.setdefault(name, int(addr)) != int(addr):
                raise ValueError(f"{point.name}: ratio {name} stands in register {places[name]} for another point")
    return tuple(RatioRead(name, addr) for name, addr in places.items())


def _library_point(source: ModbusSource, point: ModbusPoint) -> DevicePoint | None:
    if point.point is None:
        return None
    device = device_of(source)
    if device is None:
        raise ValueError(f"{point.name}: `point` needs a `device`; known are {', '.join(source.library.ids())}")
    if point.point not in device.points:
        raise ValueError(f"{point.name}: {device.id} has no point {point.point!r}; it has {', '.join(device.points)}")
    return device.points[point.point]
