"""A paho client for tests of the embedded broker: it collects what it receives and never comes back by itself."""

import socket
import struct
import threading
import time
from collections.abc import Callable
from typing import Any

import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from plantprint_cli.embedded import EmbeddedBroker


def wait_for(condition: Callable[[], Any], timeout_s: float = 5) -> bool:
    deadline = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() >= deadline:
            return False
        time.sleep(0.01)
    return True


def properties(packet: int, **values: object) -> Properties:
    made = Properties(packet)  # type: ignore[no-untyped-call]
    for name, value in values.items():
        setattr(made, name, value)
    return made


class Client:
    """A paho client that collects what it receives and never comes back by itself."""

    def __init__(
        self,
        broker: EmbeddedBroker,
        name: str,
        *,
        keep_session: bool = False,
        manual_ack: bool = False,
        receive_maximum: int | None = None,
        will: dict[str, Any] | None = None,
        keepalive_s: int = 30,
        timeout_s: float = 3,
    ) -> None:
        self.received: list[mqtt.MQTTMessage] = []
        self._subscribed = threading.Event()
        connected = threading.Event()
        self.paho = mqtt.Client(CallbackAPIVersion.VERSION2, name, protocol=mqtt.MQTTv5, manual_ack=manual_ack)
        self.paho.reconnect_delay_set(60, 60)
        self.paho.max_inflight_messages_set(0)
        self.paho.on_message = lambda _client, _data, message: self.received.append(message)
        self.paho.on_connect = lambda *_: connected.set()
        self.paho.on_subscribe = lambda *_: self._subscribed.set()
        options = properties(PacketTypes.CONNECT, SessionExpiryInterval=3600) if keep_session else None
        if receive_maximum is not None:
            options = properties(PacketTypes.CONNECT, ReceiveMaximum=receive_maximum)
        if will:
            self.paho.will_set(**will)
        self.paho.connect("127.0.0.1", broker.port, keepalive_s, clean_start=not keep_session, properties=options)
        self.paho.loop_start()
        self.is_connected = connected.wait(timeout_s)

    def subscribe(self, topic: str, qos: int = 1) -> "Client":
        self._subscribed.clear()
        self.paho.subscribe(topic, qos)
        assert self._subscribed.wait(5)
        return self

    def publish(self, topic: str, *payloads: bytes, qos: int = 1, retain: bool = False, **values: object) -> None:
        options = properties(PacketTypes.PUBLISH, **values) if values else None
        for payload in payloads:
            last = self.paho.publish(topic, payload, qos, retain, options)
        last.wait_for_publish(10)
        assert last.is_published()

    def payloads(self, count: int, timeout_s: float = 5) -> list[bytes]:
        """What has been received, once it is `count` messages and no more come."""
        wait_for(lambda: len(self.received) >= count, timeout_s)
        time.sleep(0.2)
        return [bytes(message.payload) for message in self.received]

    def message(self, position: int) -> mqtt.MQTTMessage:
        """The message received at this position, now or soon."""
        assert wait_for(lambda: len(self.received) > position)
        return self.received[position]

    def ack(self, *messages: mqtt.MQTTMessage) -> None:
        for message in messages:
            self.paho.ack(message.mid, message.qos)

    def cut(self) -> None:
        """What kill -9 and a dead line look like: the connection is reset, nothing is said."""
        self.paho.loop_stop()
        connection: Any = self.paho.socket()
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        connection.close()

    def close(self) -> None:
        self.paho.disconnect()
        self.paho.loop_stop()
