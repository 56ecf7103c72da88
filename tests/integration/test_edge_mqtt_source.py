"""Devices on MQTT: their broker keeps a message until its readings are on the agent's disk."""

import asyncio
import socket
from collections.abc import AsyncIterator, Collection, Iterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import cast

import aiomqtt
import pytest
import servers
from edge_support import config, until
from mqtt_support import GOLDEN
from servers import need_mosquitto
from tcp_proxy import Proxy

from plantprint.times import SiteClock
from plantprint.wire.chunk import Row
from plantprint_cli.embedded import EmbeddedBroker, temporary_instance
from plantprint_edge.clock import Clock
from plantprint_edge.config import Broker, MqttSource
from plantprint_edge.payloads.sparkplug import parse_sparkplug
from plantprint_edge.sources.mqtt import MqttReader

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def iotcore_url() -> Iterator[str]:
    with temporary_instance() as instance, EmbeddedBroker(instance) as embedded:
        yield embedded.url


@pytest.fixture(params=["usual", "embedded"])
def either_url(request: pytest.FixtureRequest) -> str:
    """The tests' usual broker, and the embedded one, which keeps sessions in its own way."""
    return str(request.getfixturevalue("broker_url" if request.param == "usual" else "iotcore_url"))


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


async def test_a_broker_that_hands_out_few_messages_at_a_time_waits_for_no_chunk_to_grow_old(
    tmp_path: Path, either_url: str, site: str
) -> None:
    of = source(tmp_path, site).model_copy(update={"queue_mb_max": 1, "payload_bytes_max": 50_000})
    assert of.receive_max == of.unacked_max == 20
    rows = Patient()
    messages = [f'{{"ts": {1_764_072_000 + i}, "co2_kg": {i}}}' for i in range(105)]
    async with reading(of, either_url, site, rows) as reader:
        await until(lambda: reader.connections > 0)
        await publish(either_url, f"{site}/stack", *messages)
        # The last ones wait for more, or for the chunk's age.
        await until(lambda: len(rows) == 105 and rows.stored > 85)
    # No smaller chunks than needed.
    assert min(rows.sizes) >= 20


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


async def test_topics_of_an_earlier_configuration_are_given_up(tmp_path: Path, either_url: str, site: str) -> None:
    more = f"""
      - topic: {site}/old
        channels: [{{name: old, value: total, kind: counter, unit: kWh, decimals: 0}}]"""
    async with reading(source(tmp_path, site, topics=more), either_url, site, Rows()) as reader:
        await until(lambda: reader.connections > 0)
    async with reading(source(tmp_path, site), either_url, site, Rows()) as reader:
        await until(lambda: reader.connections > 0)
        await publish(either_url, f"{site}/old", '{"total": 5}')
        await until(lambda: reader.counts.errors["former topic"] == 1)
        await asyncio.sleep(0.2)
        await publish(either_url, f"{site}/old", '{"total": 5}')
        await asyncio.sleep(0.2)
        assert reader.counts.errors["former topic"] == 1


async def test_a_backlog_of_hundreds_in_a_kept_session_is_read_to_its_end(
    tmp_path: Path, either_url: str, site: str
) -> None:
    """The embedded broker answers no SUBSCRIBE while 100 messages wait for their acknowledgement."""
    of, rows = source(tmp_path, site), Rows()
    async with reading(of, either_url, site, Rows()) as reader:
        await until(lambda: reader.connections > 0)
    await publish(either_url, f"{site}/stack", *(f'{{"ts": {1_764_072_000 + i}, "co2_kg": {i}}}' for i in range(450)))
    async with reading(of, either_url, site, rows) as reader:
        await until(lambda: len(rows) == 450)
        await until(lambda: reader.connections == 1)
        await publish(either_url, f"{site}/stack", '{"ts": 1764073000, "co2_kg": 451}')
        await until(lambda: len(rows) == 451)
    assert [row[2] for row in rows[:450]] == [i * 1_000 for i in range(450)]
    assert reader.counts.errors["connection"] == 0


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


async def test_devices_of_a_mapping_and_those_that_nobody_declared(tmp_path: Path, broker_url: str, site: str) -> None:
    channels = """
          - {name: press, device: press, value: energy, kind: counter, unit: kWh, decimals: 1}
          - {name: oven, device: hall/oven, value: power, kind: gauge, unit: kW, decimals: 3}"""
    rows = Rows()
    async with reading(mapped_source(tmp_path, site, "zigbee2mqtt", channels), broker_url, site, rows) as reader:
        await until(lambda: reader.connections > 0)
        body = '{"energy": 45.67, "power": 1500, "last_seen": 1764072000000}'
        for device in ("stranger", "hall/oven", "press"):
            await publish(broker_url, f"{site}/{device}", body)
        await until(lambda: len(rows) == 2)
    assert rows == [(11, 1_764_072_000_000, 1_500, 3), (10, 1_764_072_000_000, 457, 3)]
    assert reader.counts.undeclared == {"stranger": 1}
    assert not reader.counts.errors


async def test_what_has_no_time_of_its_own_is_not_kept_for_later(tmp_path: Path, either_url: str, site: str) -> None:
    channels = """
          - {name: p, device: s, value: relay.0.power, kind: gauge, unit: kW, decimals: 3}"""
    of, rows = mapped_source(tmp_path, site, "shelly_gen1", channels), Rows()
    async with reading(of, either_url, site, Rows()) as reader:
        await until(lambda: reader.connections > 0)
    await publish(either_url, f"{site}/s/relay/0/power", *(str(watts) for watts in range(20)))
    async with reading(of, either_url, site, rows) as reader:
        await until(lambda: reader.connections > 0)
        await publish(either_url, f"{site}/s/relay/0/power", "1500")
        await until(lambda: bool(rows) and rows[-1][2] == 1_500)
    assert len(rows) == 1


async def test_a_sparkplug_node_is_asked_for_its_birth_and_its_aliases_are_read(
    tmp_path: Path, broker_url: str, site: str
) -> None:
    channels = f"""
          - {{name: energy, device: {site}/gw/press, value: Energy, kind: counter, unit: kWh, decimals: 3}}"""
    of = mapped_source(tmp_path, site, "sparkplug_b", channels, "\n        request_birth: true")
    golden = {name: bytes.fromhex(m["hex"]) for name, m in GOLDEN.items()}
    rows, host, port = Rows(), *broker_url.removeprefix("mqtt://").split(":")
    async with aiomqtt.Client(host, int(port), protocol=aiomqtt.ProtocolVersion.V5) as node:
        await node.subscribe(f"spBv1.0/{site}/NCMD/gw", qos=0)
        async with reading(of, broker_url, site, rows) as reader, asyncio.timeout(10):
            request = await anext(aiter(node.messages))
            assert [m.name for m in parse_sparkplug(bytes(request.payload)).metrics] == ["Node Control/Rebirth"]
            for kind, name in (
                ("NBIRTH/gw", "nbirth"),
                ("DBIRTH/gw/press", "dbirth"),
                ("DDATA/gw/press", "ddata_alias"),
            ):
                await node.publish(f"spBv1.0/{site}/{kind}", golden[name])
            await until(lambda: len(rows) == 2)
            await node.publish(f"spBv1.0/{site}/DDEATH/gw/press", golden["ddeath"])
            await until(lambda: len(rows) == 3)
    assert rows[:2] == [(10, 1_764_071_999_750, 123_456_789, 3), (10, 1_764_072_001_000, 123_457_250, 3)]
    assert rows[2][2:] == (123_457_250, 0)
    assert not reader.counts.errors["no birth"]


async def test_nothing_is_ever_sent_to_a_node_that_may_not_be_asked(tmp_path: Path, broker_url: str, site: str) -> None:
    channels = f"""
          - {{name: energy, device: {site}/gw/press, value: Energy, kind: counter, unit: kWh, decimals: 3}}"""
    host, port = broker_url.removeprefix("mqtt://").split(":")
    async with aiomqtt.Client(host, int(port), protocol=aiomqtt.ProtocolVersion.V5) as node:
        await node.subscribe(f"spBv1.0/{site}/NCMD/#", qos=0)
        of = mapped_source(tmp_path, site, "sparkplug_b", channels)
        async with reading(of, broker_url, site, Rows()) as reader:
            await until(lambda: reader.connections > 0)
            await node.publish(f"spBv1.0/{site}/DDATA/gw/press", bytes.fromhex(GOLDEN["ddata_alias"]["hex"]))
            await until(lambda: reader.counts.errors["no birth"] == 3)
            await node.publish(f"spBv1.0/{site}/NCMD/end", b"")
            async with asyncio.timeout(10):
                assert (await anext(aiter(node.messages))).topic.value.endswith("/end")


async def test_a_hostile_device_stops_nobody(tmp_path: Path, broker_url: str, site: str) -> None:
    channels = """
          - {name: press, device: press, value: energy, kind: counter, unit: kWh, decimals: 1}"""
    rows = Rows()
    async with reading(mapped_source(tmp_path, site, "zigbee2mqtt", channels), broker_url, site, rows) as reader:
        await until(lambda: reader.connections > 0)
        hostile = [
            "[" * 5_000,
            '{"energy": 1e99999999999999999999}',
            '{"energy": %s}' % ("9" * 5_000),
            "\x00",
            "",
            "x" * 70_000,
        ]
        await publish(broker_url, f"{site}/press", *hostile, '{"energy": {"energy": []}}', '{"energy": NaN}')
        await publish(broker_url, f"{site}/press", '{"energy": 5, "last_seen": 1764072000000}')
        await until(lambda: len(rows) == 1)
    assert reader.counts.errors == {"payload": 7, "value": 1}


async def test_what_is_larger_by_far_than_what_is_read_is_not_even_sent(
    tmp_path: Path, broker_url: str, site: str
) -> None:
    need_mosquitto(" (the embedded broker does not mind the wish)")
    rows, host, port = Rows(), *broker_url.removeprefix("mqtt://").split(":")
    async with reading(source(tmp_path, site), broker_url, site, rows) as reader:
        await until(lambda: reader.connections > 0)
        async with aiomqtt.Client(host, int(port), protocol=aiomqtt.ProtocolVersion.V5) as client:
            await client.publish(f"{site}/stack", b"x" * 200_000, qos=1)
            await client.publish(f"{site}/stack", '{"ts": 1764072000, "co2_kg": 1}', qos=1)
            await until(lambda: len(rows) == 1)
    assert reader.counts.polls == 1
    assert reader.connections == 1


async def test_a_flood_while_the_disk_is_slow_is_dropped_and_counted(
    tmp_path: Path, broker_url: str, site: str
) -> None:
    class Stuck(Rows):
        async def put(self, rows: Sequence[Row], backlog_chunks_max: int | None = None) -> list[asyncio.Future[bool]]:
            await asyncio.sleep(60)
            return []

    need_mosquitto(" (the embedded broker hands a slow client less)")
    host, port = broker_url.removeprefix("mqtt://").split(":")
    of = source(tmp_path, site).model_copy(update={"queue_mb_max": 1})
    async with reading(of, broker_url, site, Stuck()) as reader:
        await until(lambda: reader.connections > 0)
        async with aiomqtt.Client(host, int(port), protocol=aiomqtt.ProtocolVersion.V5) as client:
            await client.publish(f"{site}/stack", '{"ts": 1764072000, "co2_kg": 1}', qos=0)
            for _ in range(40):
                await client.publish(f"{site}/stack", b"x" * 60_000, qos=0)
            # Of 2.4 MB no more than 1 MB, and what came when that was nearly full.
            await until(lambda: reader.counts.errors["overflow"] >= 22)


@pytest.mark.parametrize("kept", [True, False])
async def test_births_are_forgotten_where_the_broker_did_not_keep_the_session(
    tmp_path: Path, broker_url: str, site: str, *, kept: bool
) -> None:
    """While we were away a node may have died and come back with other aliases; only a kept session would tell."""
    if not kept:
        need_mosquitto(" (the embedded broker keeps every session)")
    channels = f"""
          - {{name: energy, device: {site}/gw/press, value: Energy, kind: counter, unit: kWh, decimals: 3}}"""
    of = mapped_source(tmp_path, site, "sparkplug_b", channels)
    of = of.model_copy(update={"session_expiry_s": 3600 * kept})
    rows, host, port = Rows(), *broker_url.removeprefix("mqtt://").split(":")
    with Proxy(lambda: socket.create_connection((host, int(port)))) as proxy:
        async with (
            aiomqtt.Client(host, int(port), protocol=aiomqtt.ProtocolVersion.V5) as node,
            reading(of, f"mqtt://127.0.0.1:{proxy.port}", site, rows) as reader,
        ):
            await until(lambda: reader.connections == 1)
            for kind, name in (("NBIRTH/gw", "nbirth"), ("DBIRTH/gw/press", "dbirth")):
                await node.publish(f"spBv1.0/{site}/{kind}", bytes.fromhex(GOLDEN[name]["hex"]))
            await until(lambda: len(rows) == 1)
            proxy.cut()
            await until(lambda: reader.connections == 2)
            await node.publish(f"spBv1.0/{site}/DDATA/gw/press", bytes.fromhex(GOLDEN["ddata_alias"]["hex"]))
            await until(lambda: reader.counts.polls == 3)
            assert len(rows) == 1 + kept
            assert reader.counts.errors["no birth"] == (0 if kept else 3)


@pytest.mark.parametrize("happens", ["nothing", "the node dies", "the session is lost", "too long"])
async def test_aliases_are_known_after_a_restart_unless_the_node_may_have_another_session(
    tmp_path: Path, broker_url: str, site: str, happens: str
) -> None:
    if happens == "the session is lost":
        need_mosquitto(" (the embedded broker keeps every session)")
    channels = f"""
          - {{name: energy, device: {site}/gw/press, value: Energy, kind: counter, unit: kWh, decimals: 3}}"""
    of = mapped_source(tmp_path, site, "sparkplug_b", channels)
    of = of.model_copy(update={"session_expiry_s": 0 if happens == "the session is lost" else 3600})
    births, host, port = tmp_path / "births", *broker_url.removeprefix("mqtt://").split(":")
    async with aiomqtt.Client(host, int(port), protocol=aiomqtt.ProtocolVersion.V5) as node:

        async def say(kind: str, name: str) -> None:
            await node.publish(f"spBv1.0/{site}/{kind}", bytes.fromhex(GOLDEN[name]["hex"]), qos=1)

        async with reading(of, broker_url, site, Rows(), births) as first:
            await until(lambda: first.connections == 1)
            await say("NBIRTH/gw", "nbirth")
            await say("DBIRTH/gw/press", "dbirth")
            await until(lambda: first.counts.polls == 2)
        assert births.exists()
        if happens == "the node dies":
            await say("NDEATH/gw", "ndeath")
        if happens == "too long":
            of = of.model_copy(update={"births_s_max": 0})
        rows = Rows()
        async with reading(of, broker_url, site, rows, births) as second:
            await until(lambda: second.connections == 1)
            await say("DDATA/gw/press", "ddata_alias")
            await until(lambda: second.counts.polls == 1 + (happens == "the node dies"))
            assert [row[2] for row in rows] == ([123_457_250] if happens == "nothing" else [])
            assert births.exists() == (happens in ("nothing", "too long"))
