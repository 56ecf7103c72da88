"""Devices on MQTT: their broker keeps a message until its readings are on the agent's disk."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import cast

import aiomqtt
import pytest
import servers
from edge_support import config

from plantprint.times import SiteClock
from plantprint.wire.chunk import Row
from plantprint_edge.clock import Clock
from plantprint_edge.config import Broker, MqttSource
from plantprint_edge.sources.mqtt import MqttReader

pytestmark = pytest.mark.integration


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
async def reading(of: MqttSource, url: str, site: str, rows: Rows) -> AsyncIterator[MqttReader]:
    reader = MqttReader(
        of, 10, rows, Clock(SiteClock()), client_id=f"test-{site}", broker=Broker(url=url), environ={}
    )  # fmt: skip
    task = asyncio.create_task(reader.run())
    try:
        yield reader
    finally:
        task.cancel()
        await asyncio.wait([task])
    assert task.cancelled()


async def until(condition: Callable[[], bool], timeout_s: float = 10) -> None:
    deadline = asyncio.get_running_loop().time() + timeout_s
    while not condition():
        assert asyncio.get_running_loop().time() < deadline
        await asyncio.sleep(0.01)


async def publish(url: str, topic: str, *payloads: str, retain: bool = False) -> None:
    host, port = url.removeprefix("mqtt://").split(":")
    async with aiomqtt.Client(host, int(port), protocol=aiomqtt.ProtocolVersion.V5) as client:
        for payload in payloads:
            await client.publish(topic, payload, qos=1, retain=retain)


async def test_values_arrive_with_the_devices_time(tmp_path: Path, broker_url: str, site: str) -> None:
    rows = Rows()
    async with reading(source(tmp_path, site), broker_url, site, rows) as reader:
        await until(lambda: reader.connections > 0)
        message = '{"ts": "2025-11-25T12:00:00.250Z", "co2_kg": 12.3456, "flow": {"m3h": null}}'
        await publish(broker_url, f"{site}/stack", "{}", "no json", message)
        await until(lambda: len(rows) == 1)
    assert rows == [(10, 1_764_072_000_250, 12_346, 3)]
    assert reader.counts.missing == 1
    assert reader.counts.errors["payload"] == 2


@pytest.mark.parametrize("version", ["5", "3.1.1"])
async def test_a_message_whose_readings_were_not_stored_comes_again(
    tmp_path: Path, broker_url: str, site: str, version: str
) -> None:
    if version == "3.1.1":
        servers.need_mosquitto(" (the embedded broker speaks MQTT 5 alone)")
    of = source(tmp_path, site, version)
    message = '{"ts": 1764072000, "co2_kg": 1}'
    async with reading(of, broker_url, site, Rows(stores=False)) as dying:
        await until(lambda: dying.connections > 0)
        await publish(broker_url, f"{site}/stack", message)
        await until(lambda: dying.counts.readings == 1)
    rows = Rows()
    async with reading(of, broker_url, site, rows):
        await until(lambda: len(rows) == 1)
        await asyncio.sleep(0.2)
    again = Rows()
    async with reading(of, broker_url, site, again) as last:
        await until(lambda: last.connections > 0)
        await asyncio.sleep(0.3)
    assert rows == [(10, 1_764_072_000_000, 1_000, 3)]
    assert not again


async def test_messages_sent_while_the_agent_is_away_wait_for_it(tmp_path: Path, broker_url: str, site: str) -> None:
    of, rows = source(tmp_path, site), Rows()
    async with reading(of, broker_url, site, Rows()) as reader:
        await until(lambda: reader.connections > 0)
    await publish(broker_url, f"{site}/stack", *(f'{{"ts": {1_764_072_000 + i}, "co2_kg": {i}}}' for i in range(50)))
    async with reading(of, broker_url, site, rows):
        await until(lambda: len(rows) == 50)
    assert [row[2] for row in rows] == [i * 1_000 for i in range(50)]


async def test_a_retained_value_without_a_time_is_not_taken_for_new(tmp_path: Path, broker_url: str, site: str) -> None:
    more = f"""
      - topic: {site}/meter
        channels: [{{name: energy, value: total, kind: counter, unit: kWh, decimals: 0}}]"""
    await publish(broker_url, f"{site}/meter", '{"total": 5}', retain=True)
    rows = Rows()
    async with reading(source(tmp_path, site, topics=more), broker_url, site, rows) as reader:
        await until(lambda: reader.counts.errors["retained"] == 1)
        await publish(broker_url, f"{site}/meter", '{"total": 6}')
        await until(lambda: len(rows) == 1)
    assert rows[0][0::2] == (12, 6)


async def test_topics_of_an_earlier_configuration_are_given_up(tmp_path: Path, broker_url: str, site: str) -> None:
    more = f"""
      - topic: {site}/old
        channels: [{{name: old, value: total, kind: counter, unit: kWh, decimals: 0}}]"""
    async with reading(source(tmp_path, site, topics=more), broker_url, site, Rows()) as reader:
        await until(lambda: reader.connections > 0)
    async with reading(source(tmp_path, site), broker_url, site, Rows()) as reader:
        await until(lambda: reader.connections > 0)
        await publish(broker_url, f"{site}/old", '{"total": 5}')
        await until(lambda: reader.counts.errors["former topic"] == 1)
        await publish(broker_url, f"{site}/old", '{"total": 5}')
        await asyncio.sleep(0.2)
        assert reader.counts.errors["former topic"] == 1
