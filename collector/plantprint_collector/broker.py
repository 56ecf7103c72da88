"""How a client of the collector reaches the broker: address, account and certificates of the settings."""

import ssl
from urllib.parse import unquote, urlsplit

from paho.mqtt.client import Client

from plantprint_collector.config import Settings


def use_broker(client: Client, settings: Settings) -> tuple[str, int]:
    """Gives the client its account and TLS; returns host and port. Raises `ValueError` on an unusable URL."""
    url = urlsplit(settings.mqtt_url.get_secret_value())
    if url.scheme not in ("mqtt", "mqtts") or not url.hostname:
        raise ValueError("PLANTPRINT_MQTT_URL must look like mqtt://host:1883 or mqtts://user:password@host:8883")
    if url.username:
        client.username_pw_set(unquote(url.username), unquote(url.password) if url.password else None)
    if url.scheme == "mqtts":
        context = ssl.create_default_context(cafile=settings.mqtt_ca_file or None)
        if settings.mqtt_cert_file:
            context.load_cert_chain(settings.mqtt_cert_file, settings.mqtt_key_file)
        client.tls_set_context(context)
    return url.hostname, url.port or (8883 if url.scheme == "mqtts" else 1883)
