"""What arrives over one connection of an MQTT source, and its acknowledgement once it is on our disk.

aiomqtt acknowledges on arrival, hides whether the broker kept our session, and takes three turns of the event loop for a
message; the one private attribute used here (`_client`, paho's) gives all three.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import aiomqtt
import paho.mqtt.client as paho

# After so many messages others have a turn.
BATCH = 32
Chunks = Sequence[asyncio.Future[bool]]


@dataclass(frozen=True, slots=True)
class Arrived:
    """A message. `kept`: the broker had it before our topics were confirmed, so it is as old as it may be."""

    topic: str
    payload: bytes
    qos: int
    mid: int
    kept: bool


class Inbox:
    """Messages in order of arrival, each acknowledged after its chunks, in the same order, as MQTT demands.

    Of QoS 0 what comes while `bytes_max` wait to be read is dropped; `on_overflow` is told. `on_connect` is told whether
    the broker kept our session.
    """

    def __init__(
        self,
        client: aiomqtt.Client,
        bytes_max: int,
        on_overflow: Callable[[], None],
        on_connect: Callable[[bool], None],
    ) -> None:
        self.bytes = 0
        self._bytes_max = bytes_max
        self._waiting: deque[Arrived] = deque()
        self._due: deque[tuple[Arrived, Chunks]] = deque()
        self._confirmed = False
        self._lost = ""
        self._taken = 0
        self._changed = asyncio.Event()
        self._acks_changed = asyncio.Event()
        self._fresh = 0
        inner = self._inner = client._client  # noqa: SLF001 - no public way in aiomqtt 2
        inner.manual_ack_set(True)
        connected: Any = inner.on_connect
        disconnected: Any = inner.on_disconnect

        def connects(of: paho.Client, data: Any, flags: Any, *more: Any) -> None:
            on_connect(bool(flags.session_present))
            if connected is not None:
                connected(of, data, flags, *more)

        def disconnects(of: paho.Client, data: Any, flags: Any, code: Any, *more: Any) -> None:
            self._lost = f"connection lost: {code}"
            self._changed.set()
            if disconnected is not None:
                disconnected(of, data, flags, code, *more)

        def receives(_of: paho.Client, _data: Any, message: paho.MQTTMessage) -> None:
            if message.qos == 0 and self.bytes > self._bytes_max:
                on_overflow()
                return
            kept = message.retain or not self._confirmed
            self.bytes += len(message.payload)
            self._waiting.append(Arrived(message.topic, bytes(message.payload), message.qos, message.mid, kept))
            self._changed.set()

        inner.on_connect, inner.on_disconnect, inner.on_message = connects, disconnects, receives

    def confirmed(self) -> None:
        """Our topics are subscribed to: what comes from now on is new, unless the broker says otherwise."""
        self._confirmed = True

    async def next(self) -> Arrived:
        """The next message; raises `aiomqtt.MqttError` when the connection is lost and all was read."""
        while not self._waiting:
            if self._lost:
                raise aiomqtt.MqttError(self._lost)
            self._changed.clear()
            await self._changed.wait()
        self._taken += 1
        if self._taken % BATCH == 0:
            await asyncio.sleep(0)
        arrived = self._waiting.popleft()
        self.bytes -= len(arrived.payload)
        return arrived

    def taken(self, arrived: Arrived, chunks: Chunks) -> None:
        """The message is to be acknowledged once these chunks are on the disk."""
        if arrived.qos:
            self._due.append((arrived, chunks))
            self._fresh += 1
            self._acks_changed.set()

    def urgent(self, unacked_max: int) -> set[asyncio.Future[bool]]:
        """Chunks for which so many messages wait that the broker may send no more; each is named once."""
        waiting = min(self._fresh, len(self._due))
        if self._waiting or waiting < unacked_max:
            return set()
        self._fresh = 0
        return {chunk for at in range(-waiting, 0) for chunk in self._due[at][1]}

    async def acknowledge(self) -> None:
        """Acknowledge until cancelled."""
        while True:
            while not self._due:
                self._acks_changed.clear()
                await self._acks_changed.wait()
            arrived, chunks = self._due[0]
            if missing := [chunk for chunk in chunks if not chunk.done()]:
                await asyncio.wait(missing)
            self._inner.ack(arrived.mid, arrived.qos)
            self._due.popleft()
