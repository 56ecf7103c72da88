"""What `agent.yaml` may say: one frozen pydantic model per noun, read once; errors name line and remedy."""

from typing import Annotated, Literal

from pydantic import Field

from plantprint_edge.config.base import Broker, ConfigPath, Model, Name
from plantprint_edge.config.limits import ChunkLimits, OutboxLimits, Uplink
from plantprint_edge.config.modbus import ModbusPoint, ModbusSerialSource, ModbusSource, ModbusTcpSource
from plantprint_edge.config.mqtt import MqttChannel, MqttSource, MqttTopic
from plantprint_edge.config.replay import ReplayColumn, ReplaySource

__all__ = [
    "AgentConfig",
    "Broker",
    "ChunkLimits",
    "ModbusPoint",
    "ModbusSerialSource",
    "ModbusSource",
    "ModbusTcpSource",
    "MqttChannel",
    "MqttSource",
    "MqttTopic",
    "OutboxLimits",
    "ReplayColumn",
    "ReplaySource",
    "Source",
    "Uplink",
]

Source = Annotated[ModbusTcpSource | ModbusSerialSource | MqttSource | ReplaySource, Field(discriminator="source")]


class AgentConfig(Model):
    """One gateway. `drain_s`: how long a stop may wait for acknowledgements. Metrics are served on loopback only.

    `meters_dir` holds device types of your own, one YAML file each, in the layout of the shipped ones.
    """

    plantprint: Literal[1] = 1
    agent: Name
    site: Name
    broker: Broker = Broker()
    outbox: OutboxLimits
    chunk: ChunkLimits = ChunkLimits()
    uplink: Uplink = Uplink()
    meters_dir: ConfigPath | None = None
    metrics_port: int | None = Field(default=None, ge=1, le=65_535)
    status_every_s: float = Field(default=2, gt=0)
    drain_s: float = Field(default=5, ge=0)
    exit_when_done: bool = False
    sources: tuple[Source, ...] = Field(min_length=1)
