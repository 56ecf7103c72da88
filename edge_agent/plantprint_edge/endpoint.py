"""Where a broker is and with what name and secret to enter: from `agent.yaml`, environment and files; never logged."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import unquote, urlsplit

from plantprint_edge.config import Broker

MQTT_URL = "PLANTPRINT_MQTT_URL"


@dataclass(frozen=True, slots=True)
class Endpoint:
    """An MQTT broker's address and credentials; its text and repr hold no secret."""

    host: str
    port: int
    tls: bool
    username: str | None
    password: str | None = field(repr=False)
    ca_file: Path | None
    cert_file: Path | None
    key_file: Path | None
    keepalive_s: int
    connect_timeout_s: float

    def __str__(self) -> str:
        return f"{'mqtts' if self.tls else 'mqtt'}://{self.host}:{self.port}"


def resolve(broker: Broker, environ: Mapping[str, str]) -> Endpoint:
    """The endpoint of `broker`; raises `ValueError` that names the missing variable or file.

    Read again before every connection, so that a rotated secret is taken up without a restart.
    """
    url = broker.url or environ.get(MQTT_URL)
    if not url:
        raise ValueError(f"no broker: write broker.url, such as mqtt://127.0.0.1:1883, or set {MQTT_URL}")
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        # The text of that error may hold the secret.
        raise ValueError("the broker's url is malformed; write it like mqtt://host:1883") from None
    if parts.scheme not in ("mqtt", "mqtts") or not parts.hostname:
        raise ValueError(f"the broker's url must look like mqtt://host:1883 or mqtts://host:8883 (see {MQTT_URL})")
    tls = parts.scheme == "mqtts"
    return Endpoint(
        host=parts.hostname,
        port=port or (8883 if tls else 1883),
        tls=tls,
        username=broker.username or (unquote(parts.username) if parts.username else None),
        password=_password(broker, environ) or (unquote(parts.password) if parts.password else None),
        ca_file=broker.ca_file,
        cert_file=broker.cert_file,
        key_file=broker.key_file,
        keepalive_s=broker.keepalive_s,
        connect_timeout_s=broker.connect_timeout_s,
    )


def _password(broker: Broker, environ: Mapping[str, str]) -> str | None:
    if broker.password_env:
        if broker.password_env not in environ:
            raise ValueError(f"the environment variable {broker.password_env} (broker.password_env) is not set")
        return environ[broker.password_env]
    if broker.password_file:
        try:
            return broker.password_file.read_text("utf-8").strip()
        except OSError as error:
            raise ValueError(f"broker.password_file cannot be read: {error}; check its path and rights") from None
    return None
