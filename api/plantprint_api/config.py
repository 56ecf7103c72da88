"""Settings of the api: one frozen model, read from `PLANTPRINT_…` variables; units are in the names."""

from pydantic import Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict


class ApiSettings(BaseSettings):
    """Limits hold per process; every one of them answers with a problem document that names it."""

    model_config = SettingsConfigDict(env_prefix="PLANTPRINT_", frozen=True, extra="ignore")

    database_url: SecretStr = Field(description="libpq URL of the database, such as postgresql:///plantprint")
    http_host: str = Field(default="127.0.0.1", description="address to listen on; loopback unless told otherwise")
    http_port: int = Field(default=8000, ge=0, le=65535, description="port to listen on; 0 takes a free one")

    http_body_bytes_max: int = Field(default=1_048_576, gt=0, description="largest request body, in bytes")
    http_events_max: int = Field(default=1000, gt=0, description="most production events in one request")
    http_list_rows: int = Field(default=50, gt=0, description="rows of a list when the request names no limit")
    http_list_rows_max: int = Field(default=500, gt=0, description="most rows of a list")
    http_grafana_rows_max: int = Field(default=10_000, gt=0, description="most rows of a series")
    http_explain_hours_max: int = Field(default=24, gt=0, description="most hours of one explanation, the latest")
    http_explain_postings_max: int = Field(default=500, gt=0, description="most postings of one explanation")
    http_explain_meters_max: int = Field(default=20, gt=0, description="most meters of one explanation, the nearest")
    http_explain_readings_max: int = Field(
        default=50, gt=0, description="most raw readings of each channel in one explanation, the first"
    )
    http_lots_max: int = Field(default=2000, gt=0, description="most lots that one footprint follows upstream")
    http_statement_timeout_ms: int = Field(default=5000, gt=0, description="longest SQL statement, in milliseconds")
    http_statement_grace_s: float = Field(
        default=2.0,
        gt=0,
        description="after the longest SQL statement a database that is silent is given up, in seconds",
    )
    http_shutdown_s: int = Field(default=5, ge=0, description="time for open requests at shutdown, in seconds")
    http_connections_max: int = Field(default=8, gt=0, description="database connections of the request pool")
    http_connection_wait_s: float = Field(default=2.0, gt=0, description="wait for a free connection, in seconds")
    http_shipment_wait_s: float = Field(
        default=2.0, ge=0, description="wait for the statement of a new shipment, in seconds; then 202 with a link"
    )

    stream_clients_max: int = Field(default=200, gt=0, description="most open event streams")
    stream_heartbeat_s: float = Field(default=15.0, gt=0, description="pause after which a stream sends a comment")
    stream_send_timeout_s: float = Field(
        default=30.0, gt=0, description="time after which a client that reads nothing is dropped, in seconds"
    )
    live_reread_s: float = Field(default=1.0, gt=0, description="live rows are read at least this often, in seconds")
    live_interval_ms_min: int = Field(default=50, ge=0, description="shortest pause between two reads of live rows")
    live_reconnect_s_max: float = Field(default=5.0, gt=0, description="longest pause between reconnects, in seconds")
    accountant_stale_s: float = Field(
        default=10.0, gt=0, description="live rows unchanged for longer make /readyz say no, in seconds"
    )

    @property
    def answer_s(self) -> float:
        """How long an answer of the database is waited for, in seconds: a server that is well ends a statement before."""
        return self.http_statement_timeout_ms / 1000 + self.http_statement_grace_s
