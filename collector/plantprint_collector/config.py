"""Settings of the collector: one frozen model, read from `PLANTPRINT_…` variables; units are in the names."""

from typing import Annotated, Self

from pydantic import Field, SecretStr, StringConstraints, field_validator, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from plantprint.times import parse_instant
from plantprint.wire.topics import SLOTS


class Settings(BaseSettings):
    """Limits hold per process; what lies beyond one is refused and counted, never dropped in silence."""

    model_config = SettingsConfigDict(env_prefix="PLANTPRINT_", frozen=True, extra="ignore")

    database_url: SecretStr = Field(description="libpq URL of the database, such as postgresql:///plantprint")
    mqtt_url: SecretStr = Field(
        default=SecretStr("mqtt://127.0.0.1:1883"), description="broker, mqtt[s]://[user:password@]host:port"
    )
    mqtt_ca_file: str = Field(default="", description="CA file for mqtts; empty: the system's")
    mqtt_cert_file: str = Field(default="", description="client certificate (PEM) for mqtts; empty: none")
    mqtt_key_file: str = Field(default="", description="key of the client certificate (PEM)")
    collector_client_id: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_.-]{1,64}$")] = Field(
        default="plantprint-collector", description="fixed MQTT client id; each shard needs its own"
    )
    collector_slots: str = Field(default=SLOTS, description="hex digits of the slots this shard takes; all by default")
    mqtt_keepalive_s: int = Field(default=30, gt=0, description="MQTT keep-alive, in seconds")
    mqtt_session_expiry_s: int = Field(
        default=3600, ge=0, description="how long the broker keeps the session while the collector is away, in seconds"
    )
    mqtt_receive_max: int = Field(
        default=1000, gt=0, le=65_535, description="most messages in flight from the broker (MQTT receive maximum)"
    )
    intake_queue_messages_max: int = Field(
        default=1000, gt=0, description="most messages waiting for the writer (at most 64 KB each); then reading stops"
    )
    commit_ms_max: int = Field(default=20, ge=0, description="how long a transaction gathers messages, in milliseconds")
    commit_rows_max: int = Field(default=100_000, gt=0, description="readings after which a transaction is written")
    commit_sessions: int = Field(
        default=2, gt=0, le=16, description="database sessions that write large transactions, shared by agent; 1: one"
    )
    commit_shared_rows_min: int = Field(
        default=10_000, ge=0, description="readings from which on a transaction is shared among sessions"
    )
    staged_s: float = Field(
        default=60.0,
        ge=0,
        description="after a repeated reading: how long to write through a staging table, in seconds",
    )
    future_s_max: int = Field(
        default=300, ge=0, description="how far ahead of the site's clock a reading may be, in seconds of wall time"
    )
    earliest_at: str = Field(default="1990-01-01T00:00:00Z", description="readings before this instant are refused")
    past_days_max: int = Field(
        default=3660,
        ge=0,
        description="how far behind the site's clock a reading may be, in days; 0: as far as the earliest instant. Sites that live"
        " by recorded data have no such limit",
    )
    day_tables_days: int = Field(
        default=92,
        ge=0,
        description="readings up to this age, in days, have a table (chunk) a day; older ones share one a month",
    )
    new_tables_max: int = Field(
        default=16,
        gt=0,
        description="most tables made for one transaction; chunks that need more are held, and their agent sends them again",
    )
    dead_letter_mb_max: float = Field(
        default=256.0,
        gt=0,
        description="most payload kept in dead_letter, in MB; beyond it nothing bad is acknowledged",
    )
    rejected_rows_max: int = Field(
        default=1_000_000,
        gt=0,
        description="most rows in rejected_reading; beyond it their chunks are not acknowledged",
    )
    quarantine_check_s: float = Field(
        default=10.0, ge=0, description="how often the size of those tables is looked up, in seconds"
    )
    reconnect_s_min: float = Field(default=0.5, gt=0, description="first pause before a reconnect, in seconds")
    reconnect_s_max: float = Field(default=30.0, gt=0, description="longest pause before a reconnect, in seconds")
    drain_s_max: float = Field(
        default=10.0, ge=0, description="time for what was received to be stored at a stop, in seconds"
    )
    announce_confirm_s: float = Field(
        default=1.0, gt=0, description="how long to wait for the broker to confirm an alert, in seconds"
    )
    metrics_host: str = Field(
        default="127.0.0.1",
        description="address of the collector's /metrics, /healthz and /readyz; loopback unless told otherwise",
    )
    metrics_port: int = Field(
        default=0, ge=0, le=65_535, description="port of the collector's /metrics, /healthz and /readyz; 0: off"
    )
    metrics_every_s: float = Field(
        default=5.0, gt=0, description="how often /metrics looks into the database for ages and backlog, in seconds"
    )
    metrics_series_max: int = Field(
        default=1000, gt=0, description="most agents or sites that one metric names; the stalest are named first"
    )
    compress_after_days: int = Field(
        default=7,
        ge=0,
        description="age at which a day of readings is compressed (TimescaleDB with TSL), in days of the sites' time; 0: never."
        " Longer than the outages that edges bridge: late readings are slower there",
    )
    compress_timeout_s: float = Field(default=3600.0, gt=0, description="longest compression of a day, in seconds")
    reading_days_max: int = Field(
        default=0,
        ge=0,
        description="age from which on days of raw readings are dropped, in days of the sites' time; 0: never. Their hours stay"
        " as they are from then on, so keep readings longer than facts may be late",
    )
    drop_wait_s: float = Field(
        default=1.0,
        gt=0,
        description="longest that dropping a day waits for whoever reads or writes, who wait behind it, in seconds; then it is"
        " tried at the next turn",
    )
    housekeeping_s: float = Field(
        default=3600.0, gt=0, description="how often days are looked for that can be compressed or dropped, in seconds"
    )
    database_timeout_s: float = Field(
        default=60.0, gt=0, description="longest statement of the intake; a stuck server counts as away, in seconds"
    )
    transaction_silent_s: float = Field(
        default=10.0,
        gt=0,
        description="after this silence inside a transaction of the intake the server ends it: a collector that hangs must not"
        " keep others waiting; in seconds",
    )

    @field_validator("collector_slots")
    @classmethod
    def _slots(cls, value: str) -> str:
        if not value or set(value) - set(SLOTS):
            raise ValueError(f"name one or more of the hex digits {SLOTS}")
        return "".join(sorted(set(value)))

    @field_validator("earliest_at")
    @classmethod
    def _instant(cls, value: str) -> str:
        parse_instant(value)
        return value

    @property
    def earliest_ms(self) -> int:
        return parse_instant(self.earliest_at)

    @model_validator(mode="after")
    def _together(self) -> Self:
        if self.reconnect_s_max < self.reconnect_s_min:
            raise ValueError("reconnect_s_max must not be below reconnect_s_min")
        if bool(self.mqtt_cert_file) != bool(self.mqtt_key_file):
            raise ValueError("mqtt_cert_file and mqtt_key_file go together")
        return self
