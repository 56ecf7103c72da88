"""The uplink against a real broker that dies and a collector that is slow, deaf, replaced or absent."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack, asynccontextmanager
from pathlib import Path
from typing import Literal

import pytest
import servers
from edge_support import IDLE_SOURCE, MemoryCollector, config

from plantprint.times import SiteClock
from plantprint.wire.chunk import encode_rows
from plantprint_cli.embedded import EmbeddedBroker
from plantprint_cli.embedded.instance import temporary_instance
from plantprint_cli.embedded.ports import find_free_port
from plantprint_edge.channels import all_channels, tables
from plantprint_edge.clock import Clock
from plantprint_edge.committer import Committer
from plantprint_edge.config import AgentConfig
from plantprint_edge.outbox import Outbox
from plantprint_edge.records import Draft
from plantprint_edge.uplink import Uplink

pytestmark = pytest.mark.integration

QUICK = "resend_after_s: 0.3, resend_s_max: 0.6, backoff_s_min: 0.05, backoff_s_max: 0.2, window_chunks: 16"


class Rig:
    """An outbox with its uplink, fed by the test."""

    def __init__(self, of: AgentConfig, delete_on: Literal["ack", "puback"]) -> None:
        self.table = tables(all_channels(of))[0]
        self.committer = Committer(of.outbox, lambda: self._open(of))
        self.uplink = Uplink(of, self.committer, Clock(SiteClock()), {}, delete_on=delete_on)
        self.sent = 0

    def _open(self, of: AgentConfig) -> Outbox:
        outbox = Outbox(of.outbox, of.site, of.agent, lambda: 1_000)
        with outbox.transaction():
            outbox.declare(self.table.body, self.table.n)
        return outbox

    async def send(self, chunks: int, rows: int = 10) -> None:
        for _ in range(chunks):
            body = encode_rows([(0, 1_000 + self.sent + i, self.sent + i, 3) for i in range(rows)])
            self.sent += rows
            await self.committer.append(Draft("readings", body, rows, self.table.hash, 1_000, 2_000))

    async def until_delivered(self, timeout_s: float = 30) -> None:
        await asyncio.wait_for(self.committer.room(backlog_chunks_max=0), timeout_s)


@asynccontextmanager
async def rig(
    folder: Path, url: str, site: str, uplink: str = QUICK, delete_on: Literal["ack", "puback"] = "ack"
) -> AsyncIterator[Rig]:
    made = Rig(config(folder, IDLE_SOURCE, site=site, url=url, uplink=uplink), delete_on)
    await made.committer.start()
    running = asyncio.create_task(made.uplink.run())
    try:
        yield made
    finally:
        made.uplink.stop()
        await running
        await made.committer.close()


def complete(collector: MemoryCollector, rows: int) -> bool:
    return collector.rows() == {("energy", 1_000 + i): i for i in range(rows)}


async def eventually(condition: Callable[[], bool], what: str, timeout_s: float = 20) -> None:
    deadline_s = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline_s, f"after {timeout_s} s still not: {what}"
        await asyncio.sleep(0.02)


@pytest.fixture(params=["mosquitto", "embedded"])
def either_broker(request: pytest.FixtureRequest) -> Iterator[str]:
    if request.param == "mosquitto":
        yield request.getfixturevalue("broker_url")
    else:
        with temporary_instance() as instance, EmbeddedBroker(instance) as embedded:
            yield embedded.url


async def test_everything_arrives_once_and_only_the_ack_frees_it(tmp_path: Path, either_broker: str, site: str) -> None:
    broker_url = either_broker
    with MemoryCollector(broker_url, site) as collector:
        async with rig(tmp_path, broker_url, site) as edge:
            await edge.send(100)
            await edge.until_delivered()
            assert complete(collector, 1_000)
            # On a healthy way no chunk and no channel table is sent twice.
            assert len(collector.arrivals) == len(collector.chunks) == edge.uplink.counts.published == 101
            assert edge.uplink.counts.resent == 0
            assert collector.states[-1].online
        await eventually(lambda: not collector.states[-1].online, "the agent says goodbye")


async def test_a_lossy_way_is_healed_by_resending(tmp_path: Path, broker_url: str, site: str) -> None:
    with MemoryCollector(broker_url, site, lose=0.3, seed=7) as collector:
        async with rig(tmp_path, broker_url, site) as edge:
            await edge.send(150)
            collector.lose = 0.0 if collector.kinds() else collector.lose
            await eventually(lambda: edge.uplink.counts.resent > 0, "something was lost")
            collector.lose = 0.0
            await edge.until_delivered()
            await eventually(lambda: complete(collector, 1_500), "all rows")


async def test_while_the_collector_is_deaf_the_broker_is_not_flooded(
    tmp_path: Path, broker_url: str, site: str
) -> None:
    with MemoryCollector(broker_url, site) as collector:
        collector.mute = True
        async with rig(tmp_path, broker_url, site) as edge:
            began_s = time.monotonic()
            await edge.send(200)
            await asyncio.sleep(3)
            # A window, and per lane a probe with its channel table every 0.6 s.
            probes = 1 + (time.monotonic() - began_s) / 0.6
            assert len(collector.arrivals) <= 18 + 2 * 2 * probes
            collector.mute = False
            await edge.until_delivered()
            assert complete(collector, 2_000)
            lanes = {lane for lane, _, _ in collector.arrivals}
            assert lanes == {"live", "fill"}


async def test_without_a_collector_chunks_wait(tmp_path: Path, site: str) -> None:
    # A broker of its own: on the shared one a collector of another test may have left its session.
    with servers.mosquitto() as url:
        await _waits_without_a_collector(tmp_path, url, site)


async def _waits_without_a_collector(tmp_path: Path, url: str, site: str) -> None:
    async with rig(tmp_path, url, site) as edge:
        await edge.send(30)
        await eventually(lambda: edge.uplink.counts.unheard > 0, "the broker says that nobody listens")
        assert "start" in edge.uplink.counts.trouble
        assert edge.committer.stats.unacked_chunks == 31
        with MemoryCollector(url, site) as collector:
            await edge.until_delivered()
            assert complete(collector, 300)
            assert not edge.uplink.counts.trouble


async def test_a_restored_store_gets_everything_kept_once_more(tmp_path: Path, broker_url: str, site: str) -> None:
    with MemoryCollector(broker_url, site) as collector:
        async with rig(tmp_path, broker_url, site) as edge:
            await edge.send(50)
            await edge.until_delivered()
            collector.replace_store("store-2")
            await edge.send(1)
            await eventually(lambda: edge.uplink.counts.store_changes == 1, "the agent hears of the new store")
            await edge.until_delivered()
            assert complete(collector, 510)


async def test_a_store_that_lost_a_channel_table_gets_it_again(tmp_path: Path, broker_url: str, site: str) -> None:
    with MemoryCollector(broker_url, site) as collector:
        async with rig(tmp_path, broker_url, site) as edge:
            await edge.send(5)
            await edge.until_delivered()
            collector.chunks = {k: c for k, c in collector.chunks.items() if c[0].kind != "declare"}
            await edge.send(5)
            await edge.until_delivered()
            assert complete(collector, 100)


async def test_acks_for_foreign_epochs_are_ignored(tmp_path: Path, broker_url: str, site: str) -> None:
    with MemoryCollector(broker_url, site) as collector:
        collector.mute = True
        async with rig(tmp_path, broker_url, site) as edge:
            await edge.send(5)
            await eventually(lambda: len(collector.chunks) == 6, "arrived")
            held = dict(collector.chunks)
            collector.chunks = {("ffffffffffffffff", seq): chunk for (_, seq), chunk in held.items()}
            collector.acknowledge()
            await asyncio.sleep(0.2)
            assert edge.committer.stats.unacked_chunks == 6
            collector.chunks = held
            collector.acknowledge()
            await edge.until_delivered()


async def test_a_broker_that_dies_again_and_again(tmp_path: Path, site: str) -> None:
    port = find_free_port(set())
    url = f"mqtt://127.0.0.1:{port}"
    with ExitStack() as stack:
        async with rig(tmp_path, url, site) as edge:
            await edge.send(20)
            collector = None
            for _ in range(4):
                with servers.mosquitto(port):
                    if collector is None:
                        collector = stack.enter_context(MemoryCollector(url, site))
                    await edge.send(40)
                    await asyncio.sleep(0.3)
                await edge.send(10)
            assert collector is not None
            with servers.mosquitto(port):
                await edge.until_delivered()
                assert complete(collector, edge.sent)
    assert edge.uplink.counts.connections >= 4


async def test_a_restart_sends_what_the_last_life_left(tmp_path: Path, broker_url: str, site: str) -> None:
    async with rig(tmp_path, "mqtt://127.0.0.1:1", site) as first:
        await first.send(25)
    with MemoryCollector(broker_url, site) as collector:
        async with rig(tmp_path, broker_url, site) as second:
            second.sent = first.sent
            await second.send(5)
            await second.until_delivered()
            assert complete(collector, 300)
            lanes = {(lane, epoch) for lane, epoch, _ in collector.arrivals}
            assert ("fill", first.committer.stats.epoch) in lanes
            assert ("live", first.committer.stats.epoch) not in lanes


async def test_a_long_backlog_does_not_delay_what_is_new(tmp_path: Path, broker_url: str, site: str) -> None:
    async with rig(tmp_path, "mqtt://127.0.0.1:1", site) as first:
        await first.send(600)
    with MemoryCollector(broker_url, site) as collector:
        async with rig(tmp_path, broker_url, site) as second:
            await eventually(lambda: len(collector.arrivals) > 20, "the backlog flows")
            second.sent = first.sent
            await second.send(1)
            await eventually(lambda: any(lane == "live" for lane, _, _ in collector.arrivals), "the new chunk")
            at = next(i for i, (lane, _, _) in enumerate(collector.arrivals) if lane == "live")
            assert at < 500
            await second.until_delivered()
            assert complete(collector, second.sent)


async def test_deleting_on_puback_loses_what_the_collector_never_saw(
    tmp_path: Path, broker_url: str, site: str
) -> None:
    """The counter-example: the broker's word is taken for the collector's."""
    with MemoryCollector(broker_url, site, lose=0.3, seed=3) as collector:
        async with rig(tmp_path, broker_url, site, delete_on="puback") as edge:
            await edge.send(100)
            await edge.until_delivered()
            await asyncio.sleep(0.5)
            assert edge.committer.stats.unacked_chunks == 0
            assert len(collector.chunks) < 101
