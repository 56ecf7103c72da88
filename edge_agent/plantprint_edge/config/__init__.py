"""What `agent.yaml` may say: one frozen pydantic model per noun, read once; errors name line and remedy."""

from typing import Annotated, Literal

from pydantic import Field

from plantprint_edge.config.base import Broker, ConfigPath, Model, Name
from plantprint_edge.config.dlt645 import Dlt645Point, Dlt645SerialSource, Dlt645Source, Dlt645TcpSource
from plantprint_edge.config.folder import FolderChannel, FolderSource
from plantprint_edge.config.limits import ChunkLimits, OutboxLimits, Uplink
from plantprint_edge.config.modbus import ModbusPoint, ModbusSerialSource, ModbusSource, ModbusTcpSource
from plantprint_edge.config.mqtt import MqttChannel, MqttDevices, MqttSource, MqttTopic
from plantprint_edge.config.replay import ReplayColumn, ReplaySource

__all__ = [
    "AgentConfig",
    "Broker",
    "ChunkLimits",
    "Dlt645Point",
    "Dlt645SerialSource",
    "Dlt645Source",
    "Dlt645TcpSource",
    "FolderChannel",
    "FolderSource",
    "ModbusPoint",
    "ModbusSerialSource",
    "ModbusSource",
    "ModbusTcpSource",
    "MqttChannel",
    "MqttDevices",
    "MqttSource",
    "MqttTopic",
    "OutboxLimits",
    "ReplayColumn",
    "ReplaySource",
    "Source",
    "Uplink",
]

Source = Annotated[
    ModbusTcpSource
    | ModbusSerialSource
    | Dlt645TcpSource
    | Dlt645SerialSource
    | MqttSource
    | FolderSource
    | ReplaySource,
    Field(discriminator="source"),
]


class AgentConfig(Model):
    """One gateway. `drain_s`: how long a stop may wait for acknowledgements. Metrics are served on loopback only.

    `meters_dir` holds device types of your own, one YAML file each, in the layout of the shipped ones. `reload_s`: how
    often to look whether this file or one of those folders has changed; without it SIGHUP alone makes the agent read them.
    `poll_spacing_ms`: polls of different devices begin at least so far apart, as long as all fit into an interval.
    """

    plantprint: Literal[1] = 1
    agent: Name
    site: Name
    broker: Broker = Broker()
    outbox: OutboxLimits
    chunk: ChunkLimits = ChunkLimits()
    uplink: Uplink = Uplink()
    meters_dir: ConfigPath | None = None
    mappings_dir: ConfigPath | None = None
    metrics_port: int | None = Field(default=None, ge=1, le=65_535)
    poll_spacing_ms: float = Field(default=1, ge=0)
    status_every_s: float = Field(default=2, gt=0)
    drain_s: float = Field(default=5, ge=0)
    exit_when_done: bool = False
    reload_s: float | None = Field(default=None, gt=0)
    sources: tuple[Source, ...] = Field(min_length=1)
