"""An MQTT source under test: its intake, its configuration, and what a device says to its broker."""

import asyncio
from collections.abc import AsyncIterator, Collection, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import cast

import aiomqtt
from edge_support import config

from plantprint.times import SiteClock
from plantprint.wire.chunk import Row
from plantprint_edge.clock import Clock
from plantprint_edge.config import Broker, MqttSource
from plantprint_edge.sources.mqtt import MqttReader


class Rows(list[Row]):
    """An intake whose disk either takes everything at once or never finishes."""

    def __init__(self, *, stores: bool = True) -> None:
        super().__init__()
        self.stores = stores

    async def put(self, rows: Sequence[Row], backlog_chunks_max: int | None = None) -> list[asyncio.Future[bool]]:
        self += rows
        future: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        if self.stores:
            future.set_result(True)
        return [future]

    def close(self, chunks: Collection[asyncio.Future[bool]]) -> None:
        pass


class Patient(Rows):
    """An intake that stores a chunk of all rows so far when it is told to close it, and never by itself."""

    def __init__(self) -> None:
        super().__init__()
        self.sizes: list[int] = []
        self.stored = 0
        self._open: asyncio.Future[bool] | None = None

    async def put(self, rows: Sequence[Row], backlog_chunks_max: int | None = None) -> list[asyncio.Future[bool]]:
        self += rows
        self._open = self._open or asyncio.get_running_loop().create_future()
        return [self._open]

    def close(self, chunks: Collection[asyncio.Future[bool]]) -> None:
        assert self._open is not None
        assert list(chunks) == [self._open]
        self.sizes.append(len(self) - sum(self.sizes))
        asyncio.get_running_loop().call_later(0.01, self._store, self._open, len(self))
        self._open = None

    def _store(self, chunk: asyncio.Future[bool], rows: int) -> None:
        self.stored = rows
        chunk.set_result(True)


def source(folder: Path, site: str, version: str = "5", topics: str = "") -> MqttSource:
    text = f"""
  - source: mqtt
    name: stack
    version: "{version}"
    backoff_s_max: 0.2
    topics:
      - topic: {site}/stack
        time: ts
        channels:
          - {{name: co2, value: co2_kg, kind: counter, unit: kg, decimals: 3}}
          - {{name: flow, value: flow.m3h, kind: gauge, unit: m3/h, decimals: 1}}{topics}
"""
    return cast("MqttSource", config(folder, text).sources[0])


@asynccontextmanager
async def reading(
    of: MqttSource, url: str, site: str, rows: Rows, births: Path = Path("/nowhere/births")
) -> AsyncIterator[MqttReader]:
    reader = MqttReader(
        of, 10, rows, Clock(SiteClock()),
        client_id=f"test-{site}", broker=Broker(url=url), environ={}, births_path=births,
    )  # fmt: skip
    task = asyncio.create_task(reader.run())
    try:
        yield reader
    finally:
        task.cancel()
        await asyncio.wait([task])
    assert task.cancelled()


async def publish(url: str, topic: str, *payloads: str, retain: bool = False) -> None:
    host, port = url.removeprefix("mqtt://").split(":")
    async with aiomqtt.Client(host, int(port), protocol=aiomqtt.ProtocolVersion.V5) as client:
        for payload in payloads:
            await client.publish(topic, payload, qos=1, retain=retain)


def mapped_source(folder: Path, site: str, mapping: str, channels: str, keys: str = "") -> MqttSource:
    """A source with one entry of `devices`, whose topics stand below the test's own site where that is possible."""
    base = "" if mapping == "sparkplug_b" else f"\n        base: {site}"
    text = f"""
  - source: mqtt
    name: shop
    backoff_s_max: 0.2
    devices:
      - mapping: {mapping}{base}{keys}
        channels:{channels}
"""
    return cast("MqttSource", config(folder, text).sources[0])
