"""What is well-formed in an MQTT source of `agent.yaml` and cannot be used: unknown mappings, values, units, zones."""

from collections.abc import Iterator

from plantprint.quantities import UnitError
from plantprint_edge.config.mqtt import MqttDevices, MqttSource, MqttValue
from plantprint_edge.mappings import Mapping
from plantprint_edge.payloads.numbers import unit_factor
from plantprint_edge.yamlfile import Location


def mqtt_problems(source: MqttSource) -> Iterator[tuple[Location, str]]:
    """Each problem with its place inside of the source."""
    for t, topic in enumerate(source.topics):
        for c, channel in enumerate(topic.channels):
            yield from (((("topics", t, "channels", c)), message) for message in _unit_problems(channel))
    for d, entry in enumerate(source.devices):
        at: Location = ("devices", d)
        try:
            mapping = source.mapping(entry)
        except ValueError as error:
            yield (*at, "mapping"), str(error)
            continue
        for key, message in _entry_problems(entry, mapping):
            yield (*at, key), message
        seen: set[tuple[str, str]] = set()
        for c, value in enumerate(entry.channels):
            for message in (*_unit_problems(value), *_value_problems(value.device, value.value, mapping, seen)):
                yield (*at, "channels", c), message


def _entry_problems(entry: MqttDevices, mapping: Mapping) -> Iterator[tuple[str, str]]:
    sparkplug = any(rule.format == "sparkplug" for rule in mapping.messages)
    if mapping.needs_zone and entry.timezone is None and entry.time == "device":
        yield "mapping", f"{mapping.id} sends local time; give `timezone`, such as Asia/Shanghai, or `time: arrival`"
    if entry.base is not None and not any("{base}" in rule.topic for rule in mapping.messages):
        yield "base", f"the topics of {mapping.id} have a fixed start; remove it"
    if not sparkplug and (entry.hold_s is not None or entry.request_birth):
        key = "hold_s" if entry.hold_s is not None else "request_birth"
        yield key, f"only Sparkplug says who is alive, {mapping.id} does not; remove it"


def _value_problems(device: str, value: str, mapping: Mapping, seen: set[tuple[str, str]]) -> Iterator[str]:
    names = mapping.value_names()
    if names is not None and value not in names:
        yield f"{mapping.id} has no value {value!r}; it has {', '.join(names)}"
    if any(rule.format == "sparkplug" for rule in mapping.messages) and device.count("/") not in (1, 2):
        yield f"device {device!r}: write group/node or group/node/device"
    if (device, value) in seen:
        yield f"value {value!r} of device {device!r} already fills another channel; remove one"
    seen.add((device, value))


def _unit_problems(channel: MqttValue) -> Iterator[str]:
    if channel.device_unit is not None:
        try:
            unit_factor(channel.device_unit, channel.unit)
        except UnitError as error:
            yield f"{channel.name}: {error}"
