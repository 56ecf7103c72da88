"""Settings of the simulators, each with its unit; read from `PLANTPRINT_…` variables or given by the command."""

from pathlib import Path

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict

from plantprint.times import SiteClock


class DyehouseSettings(BaseSettings):
    """What a simulated dye house needs to run; the same seed, state file and site clock give the same plant."""

    model_config = SettingsConfigDict(env_prefix="PLANTPRINT_", frozen=True)

    site: str = Field(default="dyehouse", description="Site id in topics.")
    seed: int = Field(default=7, description="Seed of lots, deviations and clouds.")
    clock: SiteClock = Field(default=SiteClock(), description="The site's clock as JSON.")
    mqtt_url: str = Field(default="mqtt://127.0.0.1:1883", description="Broker of the plant's devices and its MES.")
    modbus_host: str = Field(default="127.0.0.1", description="Address the Modbus gateways listen on.")
    modbus_ports: tuple[int, ...] = Field(
        default=(5021, 5022, 5023, 5024), description="TCP ports of the gateways main, line-1, line-2, line-3."
    )
    plant_state: Path = Field(default=Path("dyehouse-state.json"), description="File that lets registers continue.")
    plant_state_every_s: float = Field(default=5.0, gt=0, description="Wall seconds between writes of the state file.")
    lead_in_s: float = Field(
        default=6.0,
        ge=0,
        description="Wall seconds from the first start to the first job, so that meters are read before.",
    )
    device_publish_s: float = Field(default=1.0, gt=0, description="Wall seconds between messages of an MQTT device.")
    mqtt_retry_s: float = Field(default=2.0, gt=0, description="Wall seconds before a lost broker is tried again.")
    mes_window: int = Field(default=100, gt=0, description="Production events unconfirmed at most.")
    mes_confirm_s: float = Field(default=3.0, gt=0, description="Wall seconds before an event is sent again.")
    mes_confirm_max_s: float = Field(default=30.0, gt=0, description="Wall seconds between two sendings at most.")
    mes_backlog_h: float = Field(default=24.0, gt=0, description="Site hours of events reported late after a pause.")


class LoadSettings(BaseSettings):
    """A load of synthetic gateways that speak the wire contract through a broker."""

    model_config = SettingsConfigDict(env_prefix="PLANTPRINT_", frozen=True)

    site: str = Field(default="load", description="Site id the readings belong to.")
    clock: SiteClock = Field(
        default=SiteClock(), description="The site's clock as JSON; readings are dated by it, at the pace of wall time."
    )
    mqtt_url: str = Field(default="mqtt://127.0.0.1:1883", description="The broker.")
    load_agents: int = Field(default=4, gt=0, le=256, description="Gateways, each with its own connection.")
    load_meters: int = Field(default=2000, gt=0, description="Meters of all gateways together.")
    load_hz: float = Field(default=1.0, gt=0, le=1000, description="Readings per meter and second.")
    load_for_s: float = Field(default=120.0, gt=0, description="Seconds during which readings are made.")
    load_chunk_rows: int = Field(default=500, gt=0, le=500, description="Rows of a chunk at most.")
    load_flush_ms: int = Field(
        default=250, gt=0, description="Milliseconds that a reading waits for its chunk to fill."
    )
    load_window: int = Field(default=64, gt=0, description="Unacknowledged chunks per gateway at most.")
    load_resend_s: float = Field(default=5.0, gt=0, description="Seconds before a chunk is sent again.")
    load_drain_s: float = Field(default=30.0, ge=0, description="Seconds to wait at the end for open chunks.")
    load_seed: int = Field(default=7, description="Seed of the values.")
