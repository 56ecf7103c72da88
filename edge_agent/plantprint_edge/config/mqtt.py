"""Devices that publish over MQTT, in `agent.yaml`."""

from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from plantprint.facts import ChannelKind
from plantprint_edge.config.base import Broker, ChannelName, Model, Name
from plantprint_edge.meters import Decimals


class MqttChannel(Model):
    """A value of a JSON payload by its path of keys and positions, such as `values.energy` or `items.0.value`."""

    name: ChannelName
    value: str
    kind: ChannelKind
    unit: str
    decimals: Decimals
    period_s: int = Field(default=0, ge=0)


class MqttTopic(Model):
    """One topic of a device. Without `time` (a path) the arrival counts, and retained messages are ignored."""

    topic: Annotated[str, StringConstraints(pattern=r"^[^+#\s]+$")]
    time: str | None = None
    time_format: Literal["auto", "rfc3339", "s", "ms"] = "auto"
    channels: tuple[MqttChannel, ...] = Field(min_length=1)


class MqttSource(Model):
    """Devices that publish JSON. The session outlives a restart; a message is acknowledged once it is on our disk."""

    source: Literal["mqtt"]
    name: Name
    broker: Broker | None = None
    version: Literal["5", "3.1.1"] = "5"
    session_expiry_s: int = Field(default=86_400, ge=0)
    payload_bytes_max: int = Field(default=65_536, ge=64)
    backoff_s_max: float = Field(default=30, gt=0)
    topics: tuple[MqttTopic, ...] = Field(min_length=1)
