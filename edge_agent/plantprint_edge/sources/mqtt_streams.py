"""What an MQTT source listens to: each message rule as an entry of `agent.yaml` uses it, and the channels it fills."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from zoneinfo import ZoneInfo

from plantprint_edge.config.mqtt import MqttDevices, MqttSource, MqttTopic, MqttValue
from plantprint_edge.mappings import MessageRule, TimeRule, ValueRule
from plantprint_edge.payloads.paths import TopicPattern, parse_path, parse_template, parse_topic, topic_of
from plantprint_edge.payloads.sparkplug_nodes import Nodes


@dataclass(slots=True)
class Target:
    """The channel that a value fills, and the last one that it got (t_ms, value)."""

    index: int
    channel: MqttValue
    last: tuple[int, int] | None = None


@dataclass(slots=True)
class Stream:
    """A message rule as one entry of `agent.yaml` uses it. `targets` is by (device, value).

    `strict`: every target is due in every message. `nodes` for Sparkplug, shared by the rules of an entry, as `alive` is.
    """

    pattern: TopicPattern
    rule: MessageRule
    targets: dict[tuple[str, str], Target]
    zone: ZoneInfo | None = None
    by_arrival: bool = False
    strict: bool = False
    hold_ms: int = 0
    nodes: Nodes | None = None
    entry: MqttDevices | None = None
    devices: frozenset[str] = frozenset()
    alive: set[str] = field(default_factory=set)

    @property
    def qos(self) -> int:
        """0 where only the moment of arrival tells the time: what a broker kept would come with a wrong one."""
        return int(not self.by_arrival)

    def name(self, topic: str) -> dict[str, str] | None:
        return self.pattern.match(topic)


def streams_of(source: MqttSource, first_index: int) -> list[Stream]:
    """All streams of a source, its channels numbered from `first_index`; raises `ValueError` on unknown mappings."""
    streams: list[Stream] = []
    index = first_index
    for topic in source.topics:
        streams.append(_plain_stream(topic, index))
        index += len(topic.channels)
    for entry in source.devices:
        streams += _mapped_streams(source, entry, index)
        index += len(entry.channels)
    return streams


def _plain_stream(topic: MqttTopic, index: int) -> Stream:
    time = TimeRule(path=parse_path(f"$.{topic.time}"), format=topic.time_format) if topic.time else None
    values = tuple(ValueRule(name=parse_template(c.value), value=parse_path(c.value)) for c in topic.channels)
    rule = MessageRule(topic=topic.topic, time=time, values=values)
    targets = {("", c.value): Target(i, c) for i, c in enumerate(topic.channels, index)}
    zone = ZoneInfo(topic.timezone) if topic.timezone else None
    return Stream(
        parse_topic(topic.topic), rule, targets, zone, time is None, strict=True, devices=frozenset({""})
    )  # fmt: skip


def _mapped_streams(source: MqttSource, entry: MqttDevices, index: int) -> list[Stream]:
    mapping = source.mapping(entry)
    targets = {(c.device, c.value): Target(i, c) for i, c in enumerate(entry.channels, index)}
    devices = frozenset(c.device for c in entry.channels)
    sparkplug = any(rule.format == "sparkplug" for rule in mapping.messages)
    nodes = Nodes(devices) if sparkplug else None
    alive: set[str] = set()
    return [
        Stream(
            pattern=topic_of(rule.topic, mapping.base if entry.base is None else entry.base),
            rule=rule,
            targets=targets,
            zone=ZoneInfo(entry.timezone) if entry.timezone else None,
            by_arrival=entry.time == "arrival" or not _has_time(rule),
            hold_ms=int((entry.hold_s or 0) * 1000),
            nodes=nodes,
            entry=entry,
            devices=devices,
            alive=alive,
        )
        for rule in mapping.messages
    ]


def _has_time(rule: MessageRule) -> bool:
    return rule.format == "sparkplug" or rule.time is not None or any(value.time for value in rule.values)


def stranger(stream: Stream, names: Mapping[str, str]) -> str | None:
    """Who speaks, when the topic alone tells that it is nobody declared."""
    if stream.nodes is not None:
        known = stream.nodes.knows(names["group"], names["node"])
        return None if known else "/".join(names[k] for k in ("group", "node", "device") if k in names)
    if stream.strict or not stream.rule.device_by_topic:
        return None
    speakers = {(value.device or stream.rule.device).render(None, None, names) for value in stream.rule.values}
    return None if speakers & stream.devices else next((who for who in speakers if who), "/".join(names.values()))
