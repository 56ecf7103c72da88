"""What tests of the edge agent need: a configuration from text, and a collector in memory that keeps the contract."""

import asyncio
import random
import threading
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlsplit

from paho.mqtt import client as paho
from paho.mqtt.enums import CallbackAPIVersion

from plantprint.wire import chunk, messages, topics
from plantprint_edge.config import AgentConfig
from plantprint_edge.load import load_config

STEEL = Path(__file__).resolve().parents[1] / "simulators/plantprint_simulators/data/steel/steel_daewoo_15min.csv.gz"
PV = STEEL.parents[1] / "pv/aew_pv_site_a_15min.csv.gz"

# A source that is well-formed and finds nobody: for agents that are told what to send by the test.
IDLE_SOURCE = """
  - source: modbus
    name: nobody
    host: 127.0.0.1
    port: 1
    device: eastron_sdm630
    points: [{name: energy, point: energy_active_import}]
"""


def config(folder: Path, sources: str = IDLE_SOURCE, top: str = "", site: str = "s", **sections: str) -> AgentConfig:
    """An agent's configuration; `sections` are more keys of outbox, uplink and chunk in flow style."""
    outbox = sections.get("outbox", "size_mb_max: 16, ballast_mb: 8, reserve_mb: 1")
    url = sections.get("url", "mqtt://127.0.0.1:1")
    text = f"""
agent: gw-1
site: {site}
broker: {{url: "{url}"}}
outbox: {{path: outbox.db, {outbox}}}
uplink: {{{sections.get("uplink", "backoff_s_max: 0.5")}}}
chunk: {{{sections.get("chunk", "age_ms_max: 50")}}}
{top}
sources:{sources}"""
    path = folder / "agent.yaml"
    path.write_text(text, "utf-8")
    return load_config(path, {})


async def until(condition: Callable[[], bool], timeout_s: float = 10) -> None:
    async with asyncio.timeout(timeout_s):
        while not condition():  # noqa: ASYNC110 - counters make no noise
            await asyncio.sleep(0.01)


class MemoryCollector:
    """Takes chunks once by (agent, epoch, seq) and acknowledges what it holds; faults can be switched on.

    `lose` is the share of messages that vanish before it sees them; `mute` takes everything and acknowledges nothing.
    Readings whose channel table is not held are left alone, as by the real one.
    """

    def __init__(self, url: str, site: str, *, store: str = "store-1", lose: float = 0.0, seed: int = 1) -> None:
        self.site, self.store, self.lose, self.mute = site, store, lose, False
        self.chunks: dict[tuple[str, int], tuple[chunk.ChunkHeader, bytes]] = {}
        self.arrivals: list[tuple[str, str, int]] = []
        self.states: list[messages.AgentState] = []
        self._random = random.Random(seed)
        self._lock = threading.Lock()
        self._subscribed = threading.Event()
        client = self._client = paho.Client(CallbackAPIVersion.VERSION2, protocol=paho.MQTTv5)
        client.on_connect = self._on_connect
        client.on_subscribe = lambda *_: self._subscribed.set()
        client.on_message = self._on_message
        client.reconnect_delay_set(1, 1)
        parts = urlsplit(url)
        assert parts.hostname
        client.connect(parts.hostname, parts.port or 1883)
        client.loop_start()
        assert self._subscribed.wait(10)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        self._client.disconnect()
        self._client.loop_stop()

    def replace_store(self, store: str) -> None:
        """The database was restored from nothing: another id, and all is forgotten."""
        with self._lock:
            self.store = store
            self.chunks.clear()

    def acknowledge(self, agent: str = "gw-1") -> None:
        ranges: dict[str, list[tuple[int, int]]] = {}
        with self._lock:
            for epoch, seq in sorted(self.chunks):
                parts = ranges.setdefault(epoch, [])
                if parts and parts[-1][1] == seq - 1:
                    parts[-1] = (parts[-1][0], seq)
                else:
                    parts.append((seq, seq))
            ack = messages.Ack(store=self.store, revision=len(self.chunks), received=ranges)
        self._client.publish(topics.ack(self.site, agent), messages.encode(ack), qos=0)

    def rows(self) -> dict[tuple[str, int], int]:
        """(channel name, t_ms) → value of all chunks held; raises when a chunk's table was never declared."""
        with self._lock:
            held = list(self.chunks.values())
        tables = {chunk.table_hash(b): chunk.decode_table(h, b) for h, b in held if h.kind == "declare"}
        rows: dict[tuple[str, int], int] = {}
        for header, body in held:
            if header.kind == "readings":
                for index, t_ms, value, _ in chunk.decode_rows(header, body):
                    rows[tables[header.table][index].name, t_ms] = value
        return rows

    def gaps(self) -> list[chunk.Gap]:
        with self._lock:
            return [chunk.decode_gap(body) for header, body in self.chunks.values() if header.kind == "gap"]

    def kinds(self) -> Counter[str]:
        with self._lock:
            return Counter(header.kind for header, _ in self.chunks.values())

    def _on_connect(self, client: paho.Client, *_: Any) -> None:
        client.subscribe([(topics.up_filter(site=self.site), 1), (topics.state_filter(self.site), 1)])

    def _on_message(self, _client: paho.Client, _data: Any, message: paho.MQTTMessage) -> None:
        if "/state/" in message.topic:
            self.states.append(messages.decode_state(bytes(message.payload)))
            return
        if self._random.random() < self.lose:
            return
        properties = getattr(message.properties, "UserProperty", ())
        header, body = chunk.unseal(bytes(message.payload), properties)
        place = topics.parse_up(message.topic)
        assert (place.site, place.agent) == (header.site, header.agent)
        with self._lock:
            tables = {h.table for h, _ in self.chunks.values() if h.kind == "declare"}
            if header.kind == "readings" and header.table not in tables:
                return
            known = self.chunks.setdefault((header.epoch, header.seq), (header, body))
            assert known == (header, body), "a chunk came again with other bytes"
            self.arrivals.append((place.lane, header.epoch, header.seq))
        if not self.mute:
            self.acknowledge(header.agent)
