"""An edge agent as the collector sees it: publishes sealed chunks and remembers what was acknowledged."""

import threading
import time
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlsplit

import msgspec
import psycopg
from paho.mqtt import client as paho
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from plantprint.facts import Channel
from plantprint.wire import chunk as wire
from plantprint.wire import messages, topics

NOW_MS = time.time_ns() // 1_000_000


def wait_until(condition: Callable[[], bool], what: str, timeout_s: float = 15.0) -> None:
    deadline_s = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline_s, f"after {timeout_s} s still not: {what}"
        time.sleep(0.01)


def query(dsn: str, sql: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
    with psycopg.connect(dsn, autocommit=True) as conn:
        cursor = conn.execute(sql.encode(), values)
        return cursor.fetchall() if cursor.description else []


class FakeAgent:
    """Chunks get the next seq unless told otherwise; `acked` holds every (epoch, seq) that an ack covered."""

    def __init__(self, broker_url: str, site: str, agent: str = "gw-1", channels: int = 3, epoch: str = "e1") -> None:
        self.site, self.agent, self.epoch = site, agent, epoch
        self.seq = 0
        self.stores: list[str] = []
        self.event_acks: list[messages.EventAck] = []
        self.channels = [Channel(agent, f"c{n}", "kWh", 3, "counter") for n in range(channels)]
        self.table_body = wire.encode_table(self.channels)
        self.table = wire.table_hash(self.table_body)
        self._ranges: dict[str, list[tuple[int, int]]] = {}
        self._lock = threading.Lock()
        self._subscribed = threading.Event()
        self._client = paho.Client(CallbackAPIVersion.VERSION2, protocol=paho.MQTTv5)
        self._client.on_connect = self._on_connect
        self._client.on_subscribe = lambda *_: self._subscribed.set()
        self._client.on_message = self._on_message
        url = urlsplit(broker_url)
        assert url.hostname is not None
        self._client.connect(url.hostname, url.port or 1883)
        self._client.loop_start()
        assert self._subscribed.wait(10)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        self._client.disconnect()
        self._client.loop_stop()

    def seal(self, kind: wire.ChunkKind, body: bytes, n: int, *, seq: int | None = None, **more: Any) -> bytes:
        """The final bytes of a chunk."""
        if seq is None:
            seq, self.seq = self.seq, self.seq + 1
        return wire.seal(self.site, self.agent, self.epoch, seq, kind, body, n, **more)[1]

    def declare(self, **more: Any) -> bytes:
        return self.seal("declare", self.table_body, len(self.channels), table=self.table, **more)

    def readings(self, rows: Sequence[wire.Row], **more: Any) -> bytes:
        return self.seal("readings", wire.encode_rows(rows), len(rows), **({"table": self.table} | more))

    def send(self, payload: bytes, lane: topics.Lane = "live") -> None:
        self.publish(topics.up(self.site, self.agent, lane), payload)

    def publish(self, topic: str, payload: bytes, user: Sequence[tuple[str, str]] = ()) -> None:
        properties = Properties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call]
        properties.UserProperty = list(user)
        self._client.publish(topic, payload, qos=1, properties=properties).wait_for_publish(10)

    def is_acked(self, *seqs: int, epoch: str | None = None) -> bool:
        with self._lock:
            ranges = self._ranges.get(epoch or self.epoch, [])
            return all(any(low <= seq <= high for low, high in ranges) for seq in seqs)

    def wait_acked(self, *seqs: int) -> None:
        wait_until(lambda: self.is_acked(*seqs), f"{seqs} acknowledged")

    def _on_connect(self, client: paho.Client, *_: Any) -> None:
        client.subscribe([(topics.ack(self.site, self.agent), 1), (f"{topics.ROOT}/{self.site}/production/+/ack", 1)])

    def _on_message(self, _: Any, __: Any, message: paho.MQTTMessage) -> None:
        if message.topic.endswith("/ack"):
            self.event_acks.append(msgspec.json.decode(message.payload, type=messages.EventAck))
            return
        ack = messages.decode_ack(bytes(message.payload))
        with self._lock:
            self.stores.append(ack.store)
            for epoch, ranges in ack.received.items():
                self._ranges.setdefault(epoch, []).extend(ranges)
