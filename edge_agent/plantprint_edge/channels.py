"""The channels that sources declare, in the order of `agent.yaml`, and for Modbus how each is read from registers."""

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

from plantprint.facts import Channel
from plantprint.quantities import conversion
from plantprint.wire import TABLE_CHANNELS_MAX
from plantprint.wire.chunk import encode_table, table_hash
from plantprint_edge.config import AgentConfig, ModbusPoint, ModbusSource, MqttSource, ReplaySource, Source
from plantprint_edge.decode import Point
from plantprint_edge.meters import Device, DevicePoint, device_ids, find_device


def channels_of(source: Source, agent: str) -> tuple[Channel, ...]:
    """The channels of one source; raises `ValueError` that names the point and the remedy."""
    match source:
        case ModbusSource():
            points = ((point.name, modbus_point(source, point)) for point in source.points)
            return tuple(Channel(agent, name, p.unit, p.decimals, p.kind) for name, p in points)
        case MqttSource():
            return tuple(
                Channel(agent, c.name, c.unit, c.decimals, c.kind, c.period_s)
                for t in source.topics
                for c in t.channels
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
    device = find_device(source.device)
    if device is None:
        raise ValueError(f"device {source.device!r} is not in the library; known are {', '.join(device_ids())}")
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
    reads = []
    for index, point in enumerate(source.points, first_index):
        full, known = modbus_point(source, point), _library_point(source, point)
        factor = Fraction(full.scale) * 10**full.decimals
        if known:
            try:
                factor *= conversion(known.unit, full.unit)
            except ValueError as error:
                raise ValueError(f"{point.name}: the device counts in {known.unit}; {error}") from error
        sentinels = device.sentinels.get(full.type, ()) if device else ()
        reads.append(
            Point(
                index=index,
                fc=point.fc or (device.fc if device else 3),
                addr=full.addr,
                type=full.type,
                word_order=point.word_order or (device.word_order if device else "big"),
                factor=factor,
                sentinels=frozenset(int(raw, 16) for raw in sentinels),
            )
        )
    return tuple(reads)


def _library_point(source: ModbusSource, point: ModbusPoint) -> DevicePoint | None:
    if point.point is None:
        return None
    device = device_of(source)
    if device is None:
        raise ValueError(f"{point.name}: `point` needs a `device`; known are {', '.join(device_ids())}")
    if point.point not in device.points:
        raise ValueError(f"{point.name}: {device.id} has no point {point.point!r}; it has {', '.join(device.points)}")
    return device.points[point.point]
