"""Publishes retained alerts at QoS 1 and says whether the broker took them; a lost broker never delays accounting."""

import threading

import structlog
from paho.mqtt import client as paho
from paho.mqtt.enums import CallbackAPIVersion

from plantprint_collector.broker import use_broker
from plantprint_collector.config import Settings

log = structlog.get_logger("plantprint.announcer")


class Announcer:
    """One connection of its own, so that the intake's acknowledgement window stays the intake's."""

    def __init__(self, settings: Settings) -> None:
        self._connected = threading.Event()
        self._settings = settings
        self._client = paho.Client(
            CallbackAPIVersion.VERSION2,
            client_id=f"{settings.collector_client_id}-alerts",
            protocol=paho.MQTTv5,
        )
        self._client.max_queued_messages_set(1)
        self._client.on_connect = lambda *_: self._connected.set()
        self._client.on_disconnect = lambda *_: self._connected.clear()

    def start(self) -> None:
        self._client.connect_async(*use_broker(self._client, self._settings), keepalive=30)
        self._client.loop_start()

    def publish(self, topic: str, payload: bytes) -> bool:
        """True once the broker has confirmed; False while it is away, so that the caller tries again later."""
        if not self._connected.is_set():
            return False
        info = self._client.publish(topic, payload, qos=1, retain=True)
        try:
            info.wait_for_publish(self._settings.announce_confirm_s)
        except (RuntimeError, ValueError) as error:
            log.warning("alert not published; it is tried again", topic=topic, error=str(error))
            return False
        return info.is_published()

    def stop(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()
