"""Sparkplug nodes on a real broker: births, aliases, and what holds over a restart and a lost session."""

import asyncio
import socket
from pathlib import Path

import aiomqtt
import pytest
from edge_support import until
from mqtt_source_support import Rows, mapped_source, reading
from mqtt_support import GOLDEN
from servers import need_mosquitto
from tcp_proxy import Proxy

from plantprint_edge.config import MqttSource
from plantprint_edge.payloads.sparkplug import parse_sparkplug

pytestmark = pytest.mark.integration


def press(folder: Path, site: str, keys: str = "") -> MqttSource:
    """A source that reads the energy of one Sparkplug device."""
    channels = f"""
          - {{name: energy, device: {site}/gw/press, value: Energy, kind: counter, unit: kWh, decimals: 3}}"""
    return mapped_source(folder, site, "sparkplug_b", channels, keys)


async def test_a_sparkplug_node_is_asked_for_its_birth_and_its_aliases_are_read(
    tmp_path: Path, broker_url: str, site: str
) -> None:
    of = press(tmp_path, site, "\n        request_birth: true")
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
    host, port = broker_url.removeprefix("mqtt://").split(":")
    async with aiomqtt.Client(host, int(port), protocol=aiomqtt.ProtocolVersion.V5) as node:
        await node.subscribe(f"spBv1.0/{site}/NCMD/#", qos=0)
        of = press(tmp_path, site)
        async with reading(of, broker_url, site, Rows()) as reader:
            await until(lambda: reader.connections > 0)
            await node.publish(f"spBv1.0/{site}/DDATA/gw/press", bytes.fromhex(GOLDEN["ddata_alias"]["hex"]))
            await until(lambda: reader.counts.errors["no birth"] == 3)
            await node.publish(f"spBv1.0/{site}/NCMD/end", b"")
            async with asyncio.timeout(10):
                assert (await anext(aiter(node.messages))).topic.value.endswith("/end")


@pytest.mark.parametrize("kept", [True, False])
async def test_births_are_forgotten_where_the_broker_did_not_keep_the_session(
    tmp_path: Path, broker_url: str, site: str, *, kept: bool
) -> None:
    """While we were away a node may have died and come back with other aliases; only a kept session would tell."""
    if not kept:
        need_mosquitto(" (the embedded broker keeps every session)")
    of = press(tmp_path, site)
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
    of = press(tmp_path, site)
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
