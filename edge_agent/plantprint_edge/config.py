"""What `agent.yaml` may say: one frozen pydantic model per noun, read once; errors name line and remedy.

Limits carry their unit in the name. Secrets stand in a file or an environment variable, never in `agent.yaml` itself.
"""

from decimal import Decimal
from pathlib import Path
from typing import Annotated, Literal, Self
from zoneinfo import available_timezones

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    PrivateAttr,
    StringConstraints,
    ValidationInfo,
    model_validator,
)

from plantprint.facts import ChannelKind
from plantprint.wire.topics import check_name
from plantprint_edge.decode import WordOrder
from plantprint_edge.meters import SHIPPED, Address, Decimals, Hex, Library, Parity, Ratio, RegisterType, Scale


def _beside(path: Path, info: ValidationInfo) -> Path:
    """A relative path counts from the folder of `agent.yaml`, wherever the agent is started."""
    folder = (info.context or {}).get("folder", Path())
    return Path(folder / path.expanduser()).absolute()


def _known_timezone(name: str) -> str:
    if name not in available_timezones():
        raise ValueError(f"{name!r} is no IANA time zone; write one such as Asia/Shanghai")
    return name


Name = Annotated[str, AfterValidator(check_name)]
ChannelName = Annotated[str, StringConstraints(pattern=r"^[^\s]{1,200}$")]
ConfigPath = Annotated[Path, AfterValidator(_beside)]
BrokerUrl = Annotated[str, StringConstraints(pattern=r"^mqtts?://[^\s/@]+$")]
Timezone = Annotated[str, AfterValidator(_known_timezone)]


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Broker(_Model):
    """An MQTT broker. Without `url` the one in PLANTPRINT_MQTT_URL is used, with the user and password in it."""

    url: BrokerUrl | None = None
    username: str | None = None
    password_file: ConfigPath | None = None
    password_env: str | None = None
    ca_file: ConfigPath | None = None
    cert_file: ConfigPath | None = None
    key_file: ConfigPath | None = None
    keepalive_s: int = Field(default=30, ge=5, le=3600)
    connect_timeout_s: float = Field(default=5, gt=0)


class OutboxLimits(_Model):
    """The durable queue on disk. It takes at most size_mb_max + reserve_mb + ballast_mb, and 16 MB of write-ahead log.

    `ballast_mb` (more than the log) is given up on a full disk, so that deleting goes on; `reserve_mb` keeps room for
    records of loss and channel tables. `keep_acked_h`: how long delivered chunks stay, for a store that was restored.
    `retry_s`: how often a full disk or broken file is tried again. A file above `check_mb_max` is not checked at start.
    `pending_chunks_max`: sources wait while more are on their way to the disk.
    """

    path: ConfigPath
    size_mb_max: int = Field(default=512, ge=1)
    ballast_mb: int = Field(default=16, ge=8)
    reserve_mb: int = Field(default=4, ge=1)
    keep_acked_h: float = Field(default=24, ge=0)
    check_mb_max: int = Field(default=256, ge=0)
    retry_s: float = Field(default=5, gt=0)
    pending_chunks_max: int = Field(default=64, ge=1)


class ChunkLimits(_Model):
    """A chunk is closed at `rows_max` readings or when its first one has waited `age_ms_max`."""

    rows_max: int = Field(default=500, ge=1, le=500)
    age_ms_max: int = Field(default=250, ge=1, le=60_000)


class Uplink(_Model):
    """Sending to the collector. `window_chunks` may be unacknowledged by it; `inflight_max` by the broker (its receive
    maximum). Without progress for `resend_after_s` one chunk is sent again, then ever more rarely up to `resend_s_max`.
    """

    window_chunks: int = Field(default=64, ge=4, le=1024)
    inflight_max: int = Field(default=20, ge=1, le=1024)
    resend_after_s: float = Field(default=5, gt=0)
    resend_s_max: float = Field(default=10, gt=0)
    backoff_s_min: float = Field(default=0.5, gt=0)
    backoff_s_max: float = Field(default=30, gt=0)
    state_every_s: float = Field(default=10, gt=0)


class ModbusPoint(_Model):
    """A channel read from registers: `point` names one of the device type, or `addr`, `type` and the rest stand here.

    What is written here wins over the library. A `unit` other than the library's is converted exactly.
    """

    name: ChannelName
    point: str | None = None
    addr: Address | None = None
    type: RegisterType | None = None
    scale: Scale | None = None
    kind: Literal["counter", "gauge"] | None = None
    unit: str | None = None
    decimals: Decimals | None = None
    fc: Literal[3, 4] | None = None
    word_order: WordOrder | None = None
    times: tuple[Ratio, ...] | None = None
    sentinels: tuple[Hex, ...] | None = None


class ModbusSource(_Model):
    """A Modbus device, only ever read. `interval_s` and `timeout_s` are real seconds, at any speed of the site.

    A clock that steps back by less than `clock_hold_s` is waited for, so that no channel's time runs backwards.
    `pause_ms` is the rest of the device between two requests. CT and PT ratios that the device holds are read at the
    start and every `ratio_every_s`; a ratio given in `ratios` is not read, and 1 switches it off.
    """

    name: Name
    unit_id: int = Field(default=1, ge=1, le=247)
    device: str | None = None
    interval_s: float = Field(default=1, ge=0.05)
    timeout_s: float = Field(default=1, gt=0)
    backoff_s_max: float = Field(default=30, gt=0)
    clock_hold_s: float = Field(default=300, ge=0)
    pause_ms: int | None = Field(default=None, ge=0, le=10_000)
    ratios: dict[str, Annotated[Decimal, Field(gt=0)]] = {}
    ratio_every_s: float = Field(default=300, gt=0)
    read_max: int | None = Field(default=None, ge=4, le=125)
    gap_max: int | None = Field(default=None, ge=0, le=125)
    points: tuple[ModbusPoint, ...] = Field(min_length=1)
    _library: Library = PrivateAttr(default=SHIPPED)

    @model_validator(mode="after")
    def _remember_library(self, info: ValidationInfo) -> Self:
        self._library = (info.context or {}).get("library", SHIPPED)
        return self

    @property
    def library(self) -> Library:
        """The device types that `device` may name."""
        return self._library


class ModbusTcpSource(ModbusSource):
    """A device on the network. `framing: rtu` is for serial converters that pass RTU frames through ("RTU over TCP").

    Devices with the same host and port behind such a converter share one connection and take turns, always. With
    `share_connection` they do so with Modbus TCP framing as well, for gateways that accept few connections.
    """

    source: Literal["modbus"]
    unit_id: int = Field(default=1, ge=0, le=255)
    host: str
    port: int = Field(default=502, ge=1, le=65_535)
    framing: Literal["tcp", "rtu"] = "tcp"
    share_connection: bool = False

    @model_validator(mode="after")
    def _unit_of_the_line(self) -> Self:
        if self.framing == "rtu" and not 1 <= self.unit_id <= 247:
            raise ValueError("unit_id is 1 to 247 on a serial line; 0 and 255 are for devices that speak Modbus TCP")
        return self


class ModbusSerialSource(ModbusSource):
    """A device on a serial line (RS485); all on one `serial_port` take turns. What is not given is the device type's
    usual setting, else 9600 baud, no parity, 1 stop bit.
    """

    source: Literal["modbus_serial"]
    serial_port: Annotated[str, StringConstraints(pattern=r"^/\S+$")]
    baud: int | None = Field(default=None, ge=300, le=4_000_000)
    parity: Parity | None = None
    stop: Literal[1, 2] | None = None


class MqttChannel(_Model):
    """A value of a JSON payload by its path of keys and positions, such as `values.energy` or `items.0.value`."""

    name: ChannelName
    value: str
    kind: ChannelKind
    unit: str
    decimals: Decimals
    period_s: int = Field(default=0, ge=0)


class MqttTopic(_Model):
    """One topic of a device. Without `time` (a path) the arrival counts, and retained messages are ignored."""

    topic: Annotated[str, StringConstraints(pattern=r"^[^+#\s]+$")]
    time: str | None = None
    time_format: Literal["auto", "rfc3339", "s", "ms"] = "auto"
    channels: tuple[MqttChannel, ...] = Field(min_length=1)


class MqttSource(_Model):
    """Devices that publish JSON. The session outlives a restart; a message is acknowledged once it is on our disk."""

    source: Literal["mqtt"]
    name: Name
    broker: Broker | None = None
    version: Literal["5", "3.1.1"] = "5"
    session_expiry_s: int = Field(default=86_400, ge=0)
    payload_bytes_max: int = Field(default=65_536, ge=64)
    backoff_s_max: float = Field(default=30, gt=0)
    topics: tuple[MqttTopic, ...] = Field(min_length=1)


class ReplayColumn(_Model):
    """A column of amounts per period; with `mean_rate` it holds the period's mean in `unit` per hour (kW for kWh)."""

    name: ChannelName
    column: str
    unit: str
    decimals: Decimals
    mean_rate: bool = False


class ReplaySource(_Model):
    """A recorded file (.csv or .csv.gz). Its stamps are local time in `timezone` at the start or end of each period.

    `midnight: day_end` is for files that write the last period of a day as 00:00 of the same date. `speed`: `max`, or
    the recorded seconds per real second. `backlog_chunks_max`: reading waits while more are undelivered.
    """

    source: Literal["replay"]
    name: Name
    file: ConfigPath
    time_column: str
    time_format: str
    timezone: Timezone
    stamp: Literal["start", "end"]
    period_s: int = Field(gt=0)
    midnight: Literal["day_start", "day_end"] = "day_start"
    speed: Literal["max"] | Annotated[float, Field(gt=0)] = "max"
    backlog_chunks_max: int = Field(default=1000, ge=1)
    columns: tuple[ReplayColumn, ...] = Field(min_length=1)

    @model_validator(mode="after")
    def _midnight_is_an_end(self) -> Self:
        if self.midnight == "day_end" and self.stamp == "start":
            raise ValueError("midnight: day_end is about stamps at the end of a period; set stamp: end or remove it")
        return self


Source = Annotated[ModbusTcpSource | ModbusSerialSource | MqttSource | ReplaySource, Field(discriminator="source")]


class AgentConfig(_Model):
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
