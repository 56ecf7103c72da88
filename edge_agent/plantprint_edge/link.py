"""One MQTT 5 connection to a broker, seen from the event loop: paho's own network thread behind a small inbox.

paho shows what the broker answers to each publish, which other clients hide. A link is used once; who loses it opens
the next.
"""

import asyncio
import socket
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

from plantprint_edge.endpoint import Endpoint

CLOSE_S_MAX = 2.0


class LinkError(RuntimeError):
    """The broker cannot be reached or refuses; the text says why."""


@dataclass(frozen=True, slots=True)
class Received:
    topic: str
    payload: bytes


@dataclass(frozen=True, slots=True)
class Published:
    """The broker's answer to a publish: codes from 0x80 on are refusals, 0x10 means that nobody subscribes."""

    mid: int
    code: int
    text: str


@dataclass(frozen=True, slots=True)
class Closed:
    reason: str


class Link:
    """A connection whose events gather in `inbox`; `notify` is called in the loop after each."""

    def __init__(
        self, endpoint: Endpoint, client_id: str, will: tuple[str, bytes], inflight_max: int, notify: Callable[[], None]
    ) -> None:
        self.inbox: deque[Received | Published | Closed] = deque()
        self._endpoint = endpoint
        self._notify = notify
        self._loop = asyncio.get_running_loop()
        self._answers: dict[str | int, asyncio.Future[str]] = {}
        client = self._client = paho.Client(
            CallbackAPIVersion.VERSION2, client_id, protocol=paho.MQTTv5, reconnect_on_failure=False
        )
        client.connect_timeout = endpoint.connect_timeout_s
        client.max_inflight_messages_set(inflight_max)
        client.username_pw_set(endpoint.username, endpoint.password)
        client.will_set(*will, qos=1, retain=True)
        client.on_connect = self._on_connect
        client.on_subscribe = self._on_subscribe
        client.on_message = self._on_message
        client.on_publish = self._on_publish
        client.on_disconnect = self._on_disconnect

    async def open(self) -> None:
        """Connect; raises `LinkError`."""
        connected = self._answers["connect"] = self._loop.create_future()
        try:
            await asyncio.to_thread(self._connect)
        except (OSError, ValueError) as error:
            raise LinkError(f"{self._endpoint}: {error}") from error
        try:
            async with asyncio.timeout(self._endpoint.connect_timeout_s):
                refusal = await connected
        except TimeoutError:
            await self.close()
            raise LinkError(f"{self._endpoint}: no answer to MQTT 5; is this the broker's MQTT 5 port?") from None
        if refusal:
            await self.close()
            raise LinkError(f"{self._endpoint}: refused: {refusal}")

    def _connect(self) -> None:
        end = self._endpoint
        if end.tls:
            ca, cert, key = (str(path) if path else None for path in (end.ca_file, end.cert_file, end.key_file))
            self._client.tls_set(ca, cert, key)
        self._client.connect(end.host, end.port, end.keepalive_s, clean_start=True)
        self._client.loop_start()

    async def subscribe(self, topic: str) -> None:
        """Subscribe at QoS 1; raises `LinkError` when the broker refuses or does not answer."""
        code, mid = self._client.subscribe(topic, qos=1)
        if code != paho.MQTT_ERR_SUCCESS or mid is None:
            raise LinkError(f"{self._endpoint}: connection lost")
        granted = self._answers[mid] = self._loop.create_future()
        try:
            async with asyncio.timeout(self._endpoint.connect_timeout_s):
                refusal = await granted
        except TimeoutError:
            raise LinkError(f"{self._endpoint}: no answer to the subscription of {topic}") from None
        if refusal:
            raise LinkError(f"{self._endpoint}: subscription of {topic} refused: {refusal}; check the broker's ACL")

    def publish(
        self, topic: str, payload: bytes, user_properties: Sequence[tuple[str, str]] = (), *, retain: bool = False
    ) -> int:
        """Hand a message to paho at QoS 1 and return its number; `Published` or `Closed` follows in the inbox."""
        properties = None
        if user_properties:
            properties = Properties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call]
            properties.UserProperty = list(user_properties)
        return self._client.publish(topic, payload, qos=1, retain=retain, properties=properties).mid

    async def close(self) -> None:
        """Say goodbye to the broker and stop the network thread, by force where the peer is silent."""
        self._client.disconnect()
        stopped = asyncio.create_task(asyncio.to_thread(self._client.loop_stop))
        done, _ = await asyncio.wait([stopped], timeout=CLOSE_S_MAX)
        sock: Any = self._client.socket()
        if not done and sock is not None:
            with suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
        await stopped

    # --- paho's thread ------------------------------------------------------------------------------------------------

    def _tell(self, item: Received | Published | Closed) -> None:
        self._loop.call_soon_threadsafe(self._put, item)

    def _put(self, item: Received | Published | Closed) -> None:
        self.inbox.append(item)
        self._notify()

    def _answer(self, key: str | int, refusal: str) -> None:
        future = self._answers.pop(key, None)
        if future and not future.done():
            future.set_result(refusal)

    def _on_connect(self, _client: paho.Client, _data: Any, _flags: Any, code: ReasonCode, _properties: Any) -> None:
        refusal = f"{code}; check username and password" if code.is_failure else ""
        self._loop.call_soon_threadsafe(self._answer, "connect", refusal)

    def _on_subscribe(
        self, _client: paho.Client, _data: Any, mid: int, codes: Sequence[ReasonCode], _properties: Any
    ) -> None:
        refusals = ", ".join(str(code) for code in codes if code.is_failure)
        self._loop.call_soon_threadsafe(self._answer, mid, refusals)

    def _on_message(self, _client: paho.Client, _data: Any, message: paho.MQTTMessage) -> None:
        self._tell(Received(message.topic, bytes(message.payload)))

    def _on_publish(self, _client: paho.Client, _data: Any, mid: int, code: ReasonCode, _properties: Any) -> None:
        self._tell(Published(mid, code.value, str(code)))

    def _on_disconnect(self, _client: paho.Client, _data: Any, _flags: Any, code: ReasonCode, _properties: Any) -> None:
        self._tell(Closed(str(code)))
        refusal = "the broker closed the connection without an answer"
        if self._endpoint.tls:
            # With TLS 1.3 a broker says no to a certificate after the handshake.
            refusal += "; check cert_file and key_file, and that the broker knows their CA"
        self._loop.call_soon_threadsafe(self._answer, "connect", refusal)
