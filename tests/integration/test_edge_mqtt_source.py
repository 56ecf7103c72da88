"""Devices on MQTT: their broker keeps a message until its readings are on the agent's disk."""

import asyncio
from collections.abc import Iterator, Sequence
from pathlib import Path

import aiomqtt
import pytest
import servers
from edge_support import until
from mqtt_source_support import Patient, Rows, mapped_source, publish, reading, source
from servers import need_mosquitto

from plantprint.wire.chunk import Row
from plantprint_cli.embedded import EmbeddedBroker, temporary_instance

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def iotcore_url() -> Iterator[str]:
    with temporary_instance() as instance, EmbeddedBroker(instance) as embedded:
        yield embedded.url


@pytest.fixture(params=["usual", "embedded"])
def either_url(request: pytest.FixtureRequest) -> str:
    """The tests' usual broker, and the embedded one, which keeps sessions in its own way."""
    return str(request.getfixturevalue("broker_url" if request.param == "usual" else "iotcore_url"))


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
