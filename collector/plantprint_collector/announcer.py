"""Publishes retained alerts at QoS 1 and says whether the broker took them; a lost broker never delays accounting."""

import ssl
import threading
from urllib.parse import unquote, urlsplit

import structlog
from paho.mqtt import client as paho
from paho.mqtt.enums import CallbackAPIVersion

from plantprint_collector.config import Settings

log = structlog.get_logger("plantprint.announcer")


class Announcer:
    """One connection of its own, so that the intake's acknowledgement window stays the intake's."""

    def __init__(self, settings: Settings) -> None:
        self._connected = threading.Event()
        self._url = urlsplit(settings.mqtt_url.get_secret_value())
        self._confirm_s = settings.announce_confirm_s
        self._client = paho.Client(
            CallbackAPIVersion.VERSION2,
            client_id=f"{settings.collector_client_id}-alerts",
            protocol=paho.MQTTv5,
        )
        if self._url.username:
            self._client.username_pw_set(
                unquote(self._url.username), unquote(self._url.password) if self._url.password else None
            )
        if self._url.scheme == "mqtts":
            context = ssl.create_default_context(cafile=settings.mqtt_ca_file or None)
            if settings.mqtt_cert_file:
                context.load_cert_chain(settings.mqtt_cert_file, settings.mqtt_key_file)
            self._client.tls_set_context(context)
        self._client.max_queued_messages_set(1)
        self._client.on_connect = lambda *_: self._connected.set()
        self._client.on_disconnect = lambda *_: self._connected.clear()

    def start(self) -> None:
        port = self._url.port or (8883 if self._url.scheme == "mqtts" else 1883)
        self._client.connect_async(self._url.hostname or "127.0.0.1", port, keepalive=30)
        self._client.loop_start()

    def publish(self, topic: str, payload: bytes) -> bool:
        """True once the broker has confirmed; False while it is away, so that the caller tries again later."""
        if not self._connected.is_set():
            return False
        info = self._client.publish(topic, payload, qos=1, retain=True)
        try:
            info.wait_for_publish(self._confirm_s)
        except (RuntimeError, ValueError) as error:
            log.warning("alert not published; it is tried again", topic=topic, error=str(error))
            return False
        return info.is_published()

    def stop(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()
