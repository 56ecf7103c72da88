"""A plant for measuring the agent: its meters as a process, its agent.yaml, and a collector that keeps nothing."""

import subprocess
import sys
import threading
from array import array
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlsplit

import yaml
from paho.mqtt import client as paho
from paho.mqtt.enums import CallbackAPIVersion

from plantprint.wire import chunk, messages, topics
from plantprint_cli.bench.common import BenchError
from plantprint_cli.bench.edge_meters import Meter
from plantprint_edge.meters import SHIPPED

SITE, AGENT = "bench-edge", "gw-1"
# Where a type has them; a meter of the plant is read like one that accounting uses.
POINTS = ("energy_active_import", "power_active", "voltage_l1", "current_l1", "frequency")
TIMEOUT_S = 1.0


@contextmanager
def meters_running(meters: int, faulty: int = 0, counts_from_ms: int = 0) -> Iterator[tuple[list[int], int]]:
    """The ports of simulated meters, which run while this does, and their process; they count from an instant, if any."""
    numbers = map(str, (meters, faulty, counts_from_ms))
    command = [sys.executable, "-m", "plantprint_cli.bench.edge_meters", *numbers]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            ports = [int(port) for port in process.stdout.readline().split()]
            if not ports:
                raise BenchError("the simulated meters did not start")
            yield ports, process.pid
        finally:
            process.stdin.close()
            process.wait()


def sources(meters: Sequence[Meter], ports: Sequence[int], points: Sequence[str] = POINTS) -> list[dict[str, Any]]:
    found = []
    for meter in meters:
        port, unit = meter.place
        device = SHIPPED.find(meter.model)
        assert device is not None, meter.model
        names = [name for name in points if name in device.points]
        found.append({
            "source": "modbus", "name": f"m{meter.number}", "host": "127.0.0.1", "port": ports[port], "unit_id": unit,
            "device": meter.model, "timeout_s": TIMEOUT_S,
            "points": [{"name": f"m{meter.number}.{name}", "point": name} for name in names],
        })  # fmt: skip
    return found


def write_agent(folder: Path, broker_url: str, which: Sequence[dict[str, Any]], **more: Any) -> Path:
    """agent.yaml in a folder of its own; `more` are further top-level keys."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "agent.yaml"
    outbox = {"path": str(folder / "outbox.db"), "size_mb_max": 2048, "keep_acked_h": 0}
    settings = {"agent": AGENT, "site": SITE, "broker": {"url": broker_url}, "outbox": outbox, "sources": list(which)}
    path.write_text(yaml.safe_dump({**settings, **more}, sort_keys=False), "utf-8")
    return path


def missed_polls(times_ms: Iterable[int], from_ms: int, to_ms: int, period_ms: int = 1000) -> int:
    """How many polls a meter lacks that is polled every `period_ms`, from its readings' instants in any order.

    Two readings that are a period and a half apart or more lack one between them; a poll that is a little late lacks none.
    """
    times = sorted(t_ms for t_ms in times_ms if from_ms < t_ms < to_ms)
    return sum(max(0, round((b - a) / period_ms) - 1) for a, b in pairwise([from_ms, *times, to_ms]))


@dataclass(slots=True)
class Seen:
    """The chunks of an epoch that have come: all below `upto`, and those in `beyond`."""

    upto: int = 0
    beyond: set[int] = field(default_factory=set)

    def __contains__(self, seq: int) -> bool:
        return seq < self.upto or seq in self.beyond

    def add(self, seq: int) -> None:
        self.beyond.add(seq)
        while self.upto in self.beyond:
            self.beyond.remove(self.upto)
            self.upto += 1

    def ranges(self) -> list[tuple[int, int]]:
        return [*([(0, self.upto - 1)] if self.upto else []), *((seq, seq) for seq in sorted(self.beyond))]


class Forgetful:
    """A collector that acknowledges what it has seen and keeps of it only when each of some channels was read, in ms."""

    def __init__(self, url: str, watched: Iterable[str] = ()) -> None:
        self.chunks = 0
        self.rows = 0
        self.repeats = 0
        self.times_ms = {name: array("q") for name in watched}
        self._tables: dict[str, list[str]] = {}
        self._seen: dict[str, Seen] = {}
        self._ready = threading.Event()
        client = self._client = paho.Client(CallbackAPIVersion.VERSION2, protocol=paho.MQTTv5)
        client.on_connect = lambda c, *_: c.subscribe(topics.up_filter(site=SITE), 1)
        client.on_subscribe = lambda *_: self._ready.set()
        client.on_message = self._on_message
        parts = urlsplit(url)
        assert parts.hostname is not None
        client.connect(parts.hostname, parts.port or 1883)

    def __enter__(self) -> Self:
        self._client.loop_start()
        if not self._ready.wait(10):
            raise BenchError("the broker takes no subscription")
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        self._client.disconnect()
        self._client.loop_stop()

    def _on_message(self, _client: paho.Client, _data: object, message: paho.MQTTMessage) -> None:
        header, body = chunk.unseal(bytes(message.payload))
        seen = self._seen.setdefault(header.epoch, Seen())
        self.repeats += header.seq in seen
        if header.seq not in seen and self._keep(header, body):
            seen.add(header.seq)
            self.chunks += 1
        ack = messages.Ack(store="bench", revision=self.chunks, received={header.epoch: seen.ranges()})
        self._client.publish(topics.ack(SITE, AGENT), messages.encode(ack), qos=0)

    def _keep(self, header: chunk.ChunkHeader, body: bytes) -> bool:
        if header.kind == "declare":
            self._tables[chunk.table_hash(body)] = [c.name for c in chunk.decode_table(header, body)]
        if header.kind != "readings":
            return True
        names = self._tables.get(header.table)
        if names is None:
            return False
        for place, t_ms, _, _ in chunk.decode_rows(header, body):
            times_ms = self.times_ms.get(names[place])
            if times_ms is not None:
                times_ms.append(t_ms)
        self.rows += header.n
        return True
