"""An MQTT 5 connection from a URL, and the one way in which every simulated device gets it back when it is lost."""

import asyncio
from collections.abc import Awaitable, Callable
from urllib.parse import unquote, urlsplit

import aiomqtt
import structlog

from plantprint_simulators.errors import SimulatorError

log = structlog.get_logger(__name__)


def client(mqtt_url: str, client_id: str) -> aiomqtt.Client:
    """An unconnected client of `mqtt://[user:password@]host[:port]`; raises `SimulatorError` on any other URL."""
    parts = urlsplit(mqtt_url)
    if parts.scheme != "mqtt" or not parts.hostname:
        raise SimulatorError("mqtt_url: write it as mqtt://host:1883 or mqtt://user:password@host:1883")
    return aiomqtt.Client(
        parts.hostname,
        parts.port or 1883,
        identifier=client_id,
        username=unquote(parts.username) if parts.username else None,
        password=unquote(parts.password) if parts.password else None,
        protocol=aiomqtt.ProtocolVersion.V5,
    )


async def keep_connected(
    mqtt_url: str, client_id: str, retry_s: float, use: Callable[[aiomqtt.Client], Awaitable[None]]
) -> None:
    """Runs `use` with a connected client for ever; a lost broker is logged and tried again after `retry_s` seconds."""
    while True:
        try:
            async with client(mqtt_url, client_id) as connected:
                await use(connected)
        except* aiomqtt.MqttError as errors:
            log.warning("broker lost", client=client_id, error=str(errors.exceptions[0]), retry_s=retry_s)
        await asyncio.sleep(retry_s)
