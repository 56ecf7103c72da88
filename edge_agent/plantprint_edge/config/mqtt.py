"""Devices that publish over MQTT, in `agent.yaml`."""

from decimal import Decimal
from fractions import Fraction
from typing import Annotated, Literal, Self

from pydantic import Field, PrivateAttr, StringConstraints, ValidationInfo, model_validator

from plantprint.facts import PERIOD_S_MAX, ChannelKind
from plantprint_edge.config.base import Broker, ChannelName, Model, Name, Timezone
from plantprint_edge.mappings import SHIPPED, Mapping, Mappings, Scale, TimeFormat
from plantprint_edge.meters import Decimals
from plantprint_edge.payloads.paths import parse_path

# What comes before a mapping's own levels: plain text, at most a few levels.
TopicBase = Annotated[str, StringConstraints(pattern=r"^([^+#{}\s/]+(/[^+#{}\s/]+)*)?$", max_length=200)]


class MqttValue(Model):
    """A channel and the value that fills it. The device counts in `device_unit` (else in what its message or mapping
    says, else in `unit`), times `scale`. Numbers in `missing` mean no value; outside `value_min` and `value_max`
    (in `unit`) it is refused and counted.
    """

    name: ChannelName
    value: str
    kind: ChannelKind
    unit: str
    decimals: Decimals
    period_s: int = Field(default=0, ge=0, le=PERIOD_S_MAX)
    device_unit: str | None = None
    scale: Scale = Fraction(1)
    missing: tuple[Decimal, ...] = ()
    value_min: Decimal | None = None
    value_max: Decimal | None = None


class MqttChannel(MqttValue):
    """A value of a JSON payload by its path of keys and positions, such as `values.energy` or `items.0.value`."""

    @model_validator(mode="after")
    def _one_place(self) -> Self:
        if not parse_path(self.value).literal:
            raise ValueError(f"value {self.value!r} names many places; a mapping in mappings_dir can hold such paths")
        return self


class MqttTopic(Model):
    """One topic of a device. Without `time` (a path) the arrival counts, and retained messages are ignored."""

    topic: Annotated[str, StringConstraints(pattern=r"^[^+#{}\s]+$")]
    time: str | None = None
    time_format: TimeFormat = "auto"
    timezone: Timezone | None = None
    channels: tuple[MqttChannel, ...] = Field(min_length=1)


class MqttDeviceChannel(MqttValue):
    """A value of one device by the names that the mapping gives to both (`plantprint edge try-payload` shows them)."""

    device: str = Field(max_length=200)


class MqttDevices(Model):
    """Devices that a mapping reads. `base` replaces the start of its topics; `timezone` is that of local times in it.

    `time: arrival` is for devices whose clock cannot be trusted. With `hold_s` a Sparkplug value that was sent on change
    alone is repeated while its node is alive. `request_birth` lets the agent ask a Sparkplug node for its birth, at most
    every `request_birth_s`: the only thing it ever sends to a device.
    """

    mapping: str
    base: TopicBase | None = None
    timezone: Timezone | None = None
    time: Literal["device", "arrival"] = "device"
    hold_s: float | None = Field(default=None, ge=1)
    request_birth: bool = False
    request_birth_s: float = Field(default=60, ge=1)
    channels: tuple[MqttDeviceChannel, ...] = Field(min_length=1)


class MqttSource(Model):
    """A broker with devices. The session outlives a restart; a message is acknowledged once it is on our disk.

    Of one message at most `payload_bytes_max` are read, `depth_max` levels and `values_max` values. A time more than
    `future_s_max` ahead of this machine's clock is refused. `undeclared_max`: how many unknown devices are listed.
    Messages of QoS 0 that arrive while `queue_mb_max` wait to be read are dropped and counted as overflow. As soon as
    `unacked_max` messages of QoS 1 wait to be on our disk and no more are there to be read, they are put there: many
    brokers hand out no more at a time. What Sparkplug nodes said at their birth is remembered over an absence of at most
    `births_s_max`, where the broker kept the session.
    """

    source: Literal["mqtt"]
    name: Name
    broker: Broker | None = None
    version: Literal["5", "3.1.1"] = "5"
    session_expiry_s: int = Field(default=86_400, ge=0)
    payload_bytes_max: int = Field(default=65_536, ge=64, le=16_777_216)
    depth_max: int = Field(default=32, ge=2, le=200)
    values_max: int = Field(default=2000, ge=1, le=100_000)
    future_s_max: int = Field(default=86_400, ge=0)
    queue_mb_max: int = Field(default=16, ge=1)
    births_s_max: float = Field(default=3600, ge=0)
    unacked_max: int = Field(default=20, ge=1, le=65_535)
    undeclared_max: int = Field(default=100, ge=0, le=10_000)
    backoff_s_max: float = Field(default=30, gt=0)
    topics: tuple[MqttTopic, ...] = ()
    devices: tuple[MqttDevices, ...] = ()
    _mappings: Mappings = PrivateAttr(default=SHIPPED)

    @model_validator(mode="after")
    def _something_to_read(self, info: ValidationInfo) -> Self:
        self._mappings = (info.context or {}).get("mappings", SHIPPED)
        if not self.topics and not self.devices:
            raise ValueError("name `topics` with paths into their messages, or `devices` with a mapping")
        seen: set[str] = set()
        for topic in self.topics:
            if topic.topic in seen:
                raise ValueError(f"topic {topic.topic!r} stands twice; put its channels together")
            seen.add(topic.topic)
        return self

    @property
    def receive_max(self) -> int:
        """How many unacknowledged messages of QoS 1 a broker may send, so that these stay within `queue_mb_max`."""
        return min(max(self.queue_mb_max * 1_000_000 // self.payload_bytes_max, self.unacked_max), 65_535)

    def channels(self) -> tuple[MqttValue, ...]:
        """All channels in their order: those of `topics`, then those of `devices`."""
        of_topics = (channel for topic in self.topics for channel in topic.channels)
        return (*of_topics, *(channel for devices in self.devices for channel in devices.channels))

    def mapping(self, devices: MqttDevices) -> Mapping:
        """The mapping of an entry; raises `ValueError` with the known ones."""
        found = self._mappings.find(devices.mapping)
        if found is None:
            known = ", ".join(self._mappings.ids())
            raise ValueError(f"mapping {devices.mapping!r} is not known; known are {known}")
        return found
