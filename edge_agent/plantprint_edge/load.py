"""Reading `agent.yaml`: all problems of its form at once, then all of its meaning, each with file, line and remedy."""

import os
from collections.abc import Iterable, Iterator, Mapping
from collections.abc import Set as AbstractSet
from contextlib import suppress
from pathlib import Path

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from plantprint.facts import Channel
from plantprint.quantities import integral_unit, is_unit
from plantprint.spelling import keys_of, remedy
from plantprint.wire import CHUNK_BYTES_MAX
from plantprint_edge.channels import (
    SerialLine,
    all_channels,
    channels_of,
    device_of,
    modbus_point,
    modbus_reads,
    ratio_reads,
    serial_line,
    tables,
)
from plantprint_edge.config import (
    AgentConfig,
    Broker,
    Dlt645SerialSource,
    Dlt645Source,
    Dlt645TcpSource,
    FolderSource,
    ModbusSerialSource,
    ModbusSource,
    ModbusTcpSource,
    MqttSource,
    ReplaySource,
    Source,
)
from plantprint_edge.config.mqtt_check import mqtt_problems
from plantprint_edge.endpoint import resolve
from plantprint_edge.mappings import SHIPPED as SHIPPED_MAPPINGS
from plantprint_edge.mappings import Mappings, read_mappings
from plantprint_edge.meters import SHIPPED, Library, read_library
from plantprint_edge.yamlfile import ConfigError, Document, Location, read_yaml

Problem = tuple[Location, str]
# Quantities that explain a meter and enter no account by themselves: they are stored and shown as they come.
AUXILIARY_UNITS: dict[str, str] = {
    **dict.fromkeys(("V", "A", "Hz", "VA", "var", "%", "1", "deg", "degC", "Pa", "kPa", "MPa", "bar", "m/s"), "gauge"),
    **dict.fromkeys(("kvarh", "kVAh"), "counter"),
}


def load_config(path: Path, environ: Mapping[str, str] | None = os.environ) -> AgentConfig:
    """The configuration in `path`; raises `ConfigError` with one line per problem.

    Without `environ` it is only looked at: brokers and their secrets need not be within reach.
    """
    document = read_yaml(path)
    folder = path.absolute().parent
    try:
        config = AgentConfig.model_validate(
            document.data,
            context={
                "folder": folder,
                "library": _library(document, folder),
                "mappings": _mappings(document, folder),
            },
        )
    except ValidationError as error:
        # A list whose items are wrong is also called too short.
        found = [e for e in error.errors() if not (e["type"] == "too_short" and e["input"])]
        raise ConfigError([_problem(document, details) for details in found]) from None
    problems = list(_unusable_parts(config, environ))
    # What cannot be read has no channels yet.
    problems += _channel_problems(config, {at[1] for at, _ in problems if at[0] == "sources"})
    if problems:
        raise ConfigError([f"{document.place(at)}: {message}" for at, message in problems])
    return config


def find_outbox(path: Path) -> Path:
    """The outbox of the agent with the configuration in `path`, whatever else there is wrong; raises `ConfigError`.

    Whoever looks after an agent may not read its secrets, and may look because its file cannot be used.
    """
    document = read_yaml(path)
    outbox = document.data.get("outbox") if isinstance(document.data, dict) else None
    named = outbox.get("path") if isinstance(outbox, dict) else None
    if not isinstance(named, str):
        raise ConfigError([f"{document.place(('outbox',))}: outbox.path: is missing; add it"])
    return (path.absolute().parent / Path(named).expanduser()).absolute()


def _library(document: Document, folder: Path) -> Library:
    named = document.data.get("meters_dir") if isinstance(document.data, dict) else None
    return read_library(folder / Path(named).expanduser()) if isinstance(named, str) else SHIPPED


def _mappings(document: Document, folder: Path) -> Mappings:
    named = document.data.get("mappings_dir") if isinstance(document.data, dict) else None
    return read_mappings(folder / Path(named).expanduser()) if isinstance(named, str) else SHIPPED_MAPPINGS


def _problem(document: Document, details: ErrorDetails) -> str:
    location: Location = details["loc"]
    where = ".".join(str(part) for part in location) or "the file"
    message = details["msg"].removeprefix("Value error, ")
    match details["type"]:
        case "missing":
            message = "is missing; add it"
        case "model_type" if not location:
            message = "holds no keys; begin with agent, site, outbox and sources, see docs/edge.md"
        case "extra_forbidden":
            message = f"is not a known key; {remedy(str(location[-1]), keys_of(AgentConfig.model_json_schema()))}"
        case "union_tag_invalid" | "union_tag_not_found":
            message = "each source needs `source: modbus`, `modbus_serial`, `dlt645`, `dlt645_serial`, `mqtt`, `folder` or `replay`"
        case "string_pattern_mismatch" if location and location[-1] == "url":
            message = (
                "must look like mqtt://host:1883; user and password go to username and password_file or password_env"
            )
    return f"{document.place(location)}: {where}: {message}"


def _unusable_parts(config: AgentConfig, environ: Mapping[str, str] | None) -> Iterator[Problem]:
    """What is well-formed and names something that is not there."""
    brokers: list[tuple[Location, Broker]] = [(("broker",), config.broker)]
    for i, source in enumerate(config.sources):
        if isinstance(source, MqttSource) and source.broker:
            brokers.append((("sources", i, "broker"), source.broker))
        if isinstance(source, MqttSource):
            yield from ((("sources", i, *location), message) for location, message in mqtt_problems(source))
        if isinstance(source, ModbusSource):
            yield from ((("sources", i, *location), message) for location, message in _point_problems(source))
    yield from _line_problems(config)
    if environ is not None:
        yield from _broker_problems(brokers, environ)
    if config.exit_when_done and not any(isinstance(source, ReplaySource) for source in config.sources):
        yield ("exit_when_done",), "only a replay can be done; remove exit_when_done or add a `source: replay`"


def _broker_problems(brokers: Iterable[tuple[Location, Broker]], environ: Mapping[str, str]) -> Iterator[Problem]:
    for location, broker in brokers:
        try:
            resolve(broker, environ)
        except ValueError as error:
            yield location, str(error)


def _point_problems(source: ModbusSource) -> Iterator[Problem]:
    try:
        device_of(source)
    except ValueError as error:
        yield ("device",), str(error)
        return
    bad = False
    for j, point in enumerate(source.points):
        try:
            modbus_reads(source.model_copy(update={"points": (point,)}), 0)
        except ValueError as error:
            bad = True
            yield ("points", j), str(error)
    if bad:
        return

    try:
        ratio_reads(source)
        known = {ratio.partition("@")[0] for point in source.points for ratio in modbus_point(source, point).times}
    except ValueError as error:
        yield ("points",), str(error)
        return
    for name in source.ratios.keys() - known:
        yield ("ratios", name), f"no point is multiplied by a ratio {name!r}; correct its name or remove it"


def _line_problems(config: AgentConfig) -> Iterator[Problem]:
    """Devices on one line that do not speak alike."""
    lines: dict[str, tuple[str, str]] = {}
    for i, source in enumerate(config.sources):
        with suppress(ValueError):
            for key, port, manner in _lines_of(source):
                first, known = lines.setdefault(port, (source.name, manner))
                if manner != known:
                    yield (
                        ("sources", i, key),
                        f"{source.name} has {manner}, {first} on the same port {known}; give both the same baud, parity and stop",
                    )


def _lines_of(source: Source) -> Iterator[tuple[str, str, str]]:
    """The key that names the line of a source, the line, and how it is spoken to; raises `ValueError`."""
    match source:
        case ModbusSerialSource():
            yield "serial_port", source.serial_port, str(serial_line(source))
        case Dlt645SerialSource():
            line = SerialLine(source.serial_port, source.baud, source.parity, source.stop)
            yield "serial_port", source.serial_port, f"DL/T 645 at {line}"
        case ModbusTcpSource():
            yield "port", f"{source.host}:{source.port}", "Modbus"
        case Dlt645TcpSource():
            yield "port", f"{source.host}:{source.port}", "DL/T 645"


def _channel_problems(config: AgentConfig, unusable: AbstractSet[str | int]) -> Iterator[Problem]:
    """Names that stand twice, and channels whose kind and unit do not fit each other; of sources not `unusable`."""
    owners: dict[str, str] = {}
    for i, source in enumerate(config.sources):
        if source.name in (other.name for other in config.sources[:i]):
            yield ("sources", i, "name"), f"source {source.name!r} stands twice; give each source its own name"
        if i in unusable:
            continue
        for location, channel in zip(_channel_locations(source), channels_of(source, config.agent), strict=True):
            at: Location = ("sources", i, *location)
            if channel.name in owners:
                yield at, f"channel {channel.name!r} is already declared by source {owners[channel.name]!r}; rename one"
            owners.setdefault(channel.name, source.name)
            if problem := _unfit(channel):
                yield at, f"channel {channel.name!r}: {problem}"
    # A chunk also has a header line.
    if not unusable and any(len(table.body) > CHUNK_BYTES_MAX - 1024 for table in tables(all_channels(config))):
        yield ("sources",), "the names of the channels are too long to be declared in one message; shorten them"


def _channel_locations(source: Source) -> list[Location]:
    match source:
        case ModbusSource():
            return [("points", j) for j in range(len(source.points))] + [("ratios",) for _ in ratio_reads(source)]
        case Dlt645Source():
            return [("points", j) for j in range(len(source.points))]
        case MqttSource():
            groups = (
                ("topics", [topic.channels for topic in source.topics]),
                ("devices", [entry.channels for entry in source.devices]),
            )
            return [
                (key, g, "channels", c)
                for key, parts in groups
                for g, channels in enumerate(parts)
                for c in range(len(channels))
            ]
        case FolderSource():
            return [("channels", c) for c in range(len(source.channels))]
        case ReplaySource():
            return [("columns", c) for c in range(len(source.columns))]


def _unfit(channel: Channel) -> str | None:
    if channel.unit in AUXILIARY_UNITS:
        kind = AUXILIARY_UNITS[channel.unit]
        return None if channel.kind == kind else f"{channel.unit} is the unit of a {kind}"
    if not is_unit(channel.unit):
        return f"unit {channel.unit!r} is not known; use one such as kWh, kW, Nm3, m3/h, kg or t"
    if (channel.kind == "amount") != (channel.period_s > 0):
        return "an amount needs period_s, a counter or gauge has none"
    # A gauge may tell a rate, or an amount that is there: the level of a store.
    return (
        f"{channel.unit} is a rate: declare it as a gauge"
        if channel.kind != "gauge" and _is_rate(channel.unit)
        else None
    )


def _is_rate(unit: str) -> bool:
    try:
        integral_unit(unit)
    except ValueError:
        return False
    return True
