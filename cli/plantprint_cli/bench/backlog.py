"""Chunks of synthetic gateways, put into a broker before any collector looks, and a watch on their acknowledgements."""

import secrets
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from urllib.parse import urlsplit

import numpy as np
from numpy.typing import NDArray
from paho.mqtt import client as paho
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.subscribeoptions import SubscribeOptions

from plantprint.facts import Channel, Quality
from plantprint.times import parse_instant
from plantprint.wire import chunk, messages, topics
from plantprint_cli.bench.common import wait_until

SITE = "bench"
_AGENTS = 8
_START_MS = parse_instant("2026-03-02T06:00:00Z")
# Every so many-th chunk comes twice, as after a lost acknowledgement.
_REPEAT_EACH = 100
_SESSION_S = 3600
_CONNECT_S = 10.0
_FILL_S = 60.0


@dataclass(frozen=True)
class Backlog:
    """`messages` in the order of sending; `rows` are their readings as (channel number from 1, t_ms, value, quality, 0)."""

    messages: list[tuple[str, bytes, list[tuple[str, str]]]]
    chunks: dict[str, int]
    rows: NDArray[np.int64]
    channels: int

    @property
    def readings(self) -> int:
        return len(self.rows)


def make_backlog(meters: int, times: int, chunk_rows: int, period_s: int = 1) -> Backlog:
    """`meters` counters read so many times, once per period, spread over gateways that take turns in sending."""
    share = meters // _AGENTS
    epoch = secrets.token_hex(8)
    made = [_gateway(number, share, times, chunk_rows, period_s, epoch) for number in range(_AGENTS)]
    sent = [message for turn in zip(*(messages for messages, _ in made), strict=True) for message in turn]
    # A declaration first, hence `_AGENTS` on; the repeated chunk follows the next one.
    for at in range(_AGENTS + _REPEAT_EACH, len(sent), _REPEAT_EACH + 1):
        sent.insert(at, sent[at - 2])
    parts = [part for turn in zip(*(parts for _, parts in made), strict=True) for part in turn]
    chunks = {_agent(number): len(messages) for number, (messages, _) in enumerate(made)}
    return Backlog(sent, chunks, np.concatenate(parts), share * _AGENTS)


def _agent(number: int) -> str:
    return f"gateway-{number}"


def _gateway(
    number: int, meters: int, times: int, chunk_rows: int, period_s: int, epoch: str
) -> tuple[list[tuple[str, bytes, list[tuple[str, str]]]], list[NDArray[np.int64]]]:
    name = _agent(number)
    table = chunk.encode_table([Channel(name, f"m{i:04d}.energy", "kWh", 2, "counter") for i in range(meters)])
    hash_ = chunk.table_hash(table)
    index, time_number = np.tile(np.arange(meters), times), np.repeat(np.arange(times), meters)
    wobble = index * 7919 % 97
    t_ms = _START_MS + time_number * period_s * 1000 + wobble
    rows = np.column_stack((index, t_ms, 1000 + time_number * (1 + wobble), np.full_like(index, Quality.MEASURED)))
    pieces = [rows[begin : begin + chunk_rows] for begin in range(0, len(rows), chunk_rows)]
    bodies: list[tuple[chunk.ChunkKind, bytes, int]] = [
        ("declare", table, meters),
        *(("readings", chunk.encode_rows(p.tolist()), len(p)) for p in pieces),
    ]
    topic = topics.up(SITE, name, "fill")
    sent = []
    for seq, (kind, body, n) in enumerate(bodies):
        header, payload = chunk.seal(SITE, name, epoch, seq, kind, body, n, table=hash_)
        sent.append((topic, payload, chunk.properties(header)))
    first_id = number * meters + 1
    revision = np.zeros(len(rows), np.int64)
    stored = np.column_stack((rows[:, 0] + first_id, *rows.T[1:], revision))
    return sent, [stored[begin : begin + chunk_rows] for begin in range(0, len(rows), chunk_rows)]


@contextmanager
def filled(url: str, filters: Sequence[Sequence[str]], backlog: Backlog) -> Iterator[list[str]]:
    """Client ids, one per group of filters, for which the broker holds the backlog; their sessions end with the block."""
    names = [f"bench-{secrets.token_hex(4)}" for _ in filters]
    for name, group in zip(names, filters, strict=True):
        with connected(url, name, _SESSION_S) as client:
            client.subscribe([(wanted, SubscribeOptions(qos=1)) for wanted in group])
            time.sleep(0.2)  # until the broker has the filters
    with connected(url, "bench-fill", 0) as client:
        sent = [publish(client, *message) for message in backlog.messages]
        wait_until("the broker has taken the backlog", lambda: all(s.is_published() for s in sent), _FILL_S)
    try:
        yield names
    finally:
        for name in names:
            with connected(url, name, 0, clean=True):
                pass


def publish(client: paho.Client, topic: str, payload: bytes, names: list[tuple[str, str]]) -> paho.MQTTMessageInfo:
    properties = Properties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call]
    properties.UserProperty = names
    return client.publish(topic, payload, qos=1, properties=properties)


@dataclass
class Acked:
    """What agents have been told; `last_s` is the wall time of the last acknowledgement that said something new."""

    chunks: dict[str, int]
    done: dict[str, int] = field(default_factory=dict)
    last_s: float = 0.0

    def complete(self) -> bool:
        """Every chunk of every agent is acknowledged."""
        return self.done == self.chunks

    def take(self, topic: str, payload: bytes) -> None:
        """One acknowledgement."""
        agent = topic.rpartition("/")[2]
        for ranges in messages.decode_ack(payload).received.values():
            count = ranges[0][1] + 1 if ranges[0][0] == 0 else 0
            if count > self.done.get(agent, 0):
                self.done[agent], self.last_s = count, time.time()


@contextmanager
def watched(url: str, backlog: Backlog) -> Iterator[Acked]:
    """Hears every acknowledgement to the backlog's agents."""
    acked = Acked(backlog.chunks)
    with connected(url, "bench-watch", 0) as client:
        client.on_message = lambda _, __, message: acked.take(message.topic, bytes(message.payload))
        client.subscribe(topics.ack(SITE, "x").removesuffix("x") + "+", qos=1)
        time.sleep(0.2)  # until the broker has the filter
        yield acked


@contextmanager
def connected(url: str, client_id: str, session_s: int, *, clean: bool = False) -> Iterator[paho.Client]:
    parts = urlsplit(url)
    client = paho.Client(CallbackAPIVersion.VERSION2, client_id=client_id, protocol=paho.MQTTv5)
    client.max_inflight_messages_set(100)
    properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
    properties.SessionExpiryInterval = session_s
    client.connect(str(parts.hostname), parts.port or 1883, clean_start=clean, properties=properties)
    client.loop_start()
    wait_until("connected to the broker", client.is_connected, _CONNECT_S)
    try:
        yield client
    finally:
        client.disconnect()
        client.loop_stop()
