"""The intake's MQTT connection: subscriptions of its slots, manual acknowledgements, reconnects with jitter."""

import random
from collections.abc import Callable, Sequence
from typing import Any

import structlog
from paho.mqtt import client as paho
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode
from paho.mqtt.subscribeoptions import SubscribeOptions

from plantprint.wire import topics
from plantprint_collector.broker import use_broker
from plantprint_collector.config import Settings
from plantprint_collector.inbox import Message
from plantprint_collector.metrics import Metrics

log = structlog.get_logger("plantprint.collector.link")


class BrokerLink:
    """`on_message` runs on the network thread; while it blocks nothing is read, which is the back-pressure."""

    def __init__(self, settings: Settings, metrics: Metrics, on_message: Callable[[Message], None]) -> None:
        self._settings = settings
        self._metrics = metrics
        self._deliver = on_message
        self._session = 0
        self._client = self._make_client()

    def start(self) -> None:
        """Starts connecting and keeps at it; returns at once. Raises `ValueError` on an unusable URL."""
        host, port = use_broker(self._client, self._settings)
        properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
        properties.ReceiveMaximum = self._settings.mqtt_receive_max
        properties.SessionExpiryInterval = self._settings.mqtt_session_expiry_s
        self._set_reconnect_delay()
        self._client.connect_async(
            host,
            port,
            keepalive=self._settings.mqtt_keepalive_s,
            clean_start=False,
            properties=properties,
        )
        self._client.loop_start()

    def acknowledge(self, messages: Sequence[Message]) -> None:
        """MQTT-level acknowledgements in order of arrival; those of a connection that is gone mean nothing any more."""
        for message in messages:
            if message.mid and message.session == self._session:
                self._client.ack(message.mid, 1)

    def publish(self, topic: str, payload: bytes) -> None:
        """At most once: whoever misses an answer sends again and gets another."""
        self._client.publish(topic, payload, qos=0)

    def stop(self) -> None:
        """Sends what is queued, then says goodbye; the broker keeps the session."""
        self._client.disconnect()
        self._client.loop_stop()
        self._metrics.connected.labels("broker").set(0)

    def _make_client(self) -> paho.Client:
        client = paho.Client(
            CallbackAPIVersion.VERSION2,
            client_id=self._settings.collector_client_id,
            protocol=paho.MQTTv5,
            manual_ack=True,
        )
        client.on_connect = self._on_connect
        client.on_connect_fail = self._on_connect_fail
        client.on_disconnect = self._on_disconnect
        client.on_subscribe = self._on_subscribe
        client.on_message = self._on_message
        return client

    def _set_reconnect_delay(self) -> None:
        # The first pause is random and doubles, so collectors that lost one broker together do not return together.
        first_s = self._settings.reconnect_s_min * random.uniform(0.5, 1.5)  # noqa: S311 - no secret depends on it
        self._client.reconnect_delay_set(first_s, self._settings.reconnect_s_max)  # type: ignore[arg-type]  # floats work

    def _filters(self, slots: str) -> list[str]:
        return [topics.up_filter(slot) for slot in slots]

    def _on_connect(
        self, client: paho.Client, _: Any, flags: paho.ConnectFlags, reason: ReasonCode, __: Properties | None
    ) -> None:
        if reason.is_failure:
            log.error("broker_refuses_collector", reason=str(reason), remedy="check PLANTPRINT_MQTT_URL and the ACL")
            return
        self._session += 1
        self._set_reconnect_delay()
        # A kept session also keeps the filters of former settings.
        foreign = self._filters("".join(s for s in topics.SLOTS if s not in self._settings.collector_slots))
        if foreign:
            client.unsubscribe(foreign)
        mine = [*self._filters(self._settings.collector_slots), topics.state_filter(), topics.production_filter()]
        client.subscribe([(name, SubscribeOptions(qos=1)) for name in mine])
        log.info("broker_connected", slots=self._settings.collector_slots, session_present=flags.session_present)

    def _on_subscribe(self, _: Any, __: Any, ___: int, reasons: list[ReasonCode], ____: Any) -> None:
        refused = [str(reason) for reason in reasons if reason.is_failure]
        self._metrics.connected.labels("broker").set(0 if refused else 1)  # what is not subscribed does not come
        if refused:
            log.error(
                "broker_refuses_subscription", reasons=refused, remedy="allow the collector its filters in the ACL"
            )

    def _on_connect_fail(self, _: Any, __: Any) -> None:
        log.warning("broker_away", remedy="waits and tries again; agents keep their data meanwhile")

    def _on_disconnect(self, _: Any, __: Any, ___: Any, reason: ReasonCode, ____: Any) -> None:
        self._metrics.connected.labels("broker").set(0)
        self._metrics.reconnects.labels("broker").inc()
        if reason.is_failure:
            log.warning("broker_lost", reason=str(reason))

    def _on_message(self, _: Any, __: Any, message: paho.MQTTMessage) -> None:
        properties = tuple(getattr(message.properties, "UserProperty", ()) if message.properties else ())
        mid = message.mid if message.qos else 0
        try:
            topic = message.topic
        except UnicodeDecodeError:
            topic = ""  # no broker should pass that on; it is counted as nobody's message
        self._deliver(Message(topic, bytes(message.payload), properties, mid, self._session))
