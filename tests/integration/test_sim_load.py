"""Load through a real broker into a reader that acknowledges by the wire contract: what it loses and what it says."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiomqtt
import pytest

from plantprint.times import SiteClock
from plantprint.wire import chunk, messages, topics
from plantprint_simulators.broker import client
from plantprint_simulators.config import LoadSettings
from plantprint_simulators.errors import SimulatorError
from plantprint_simulators.load import load
from plantprint_simulators.load_report import Sent, Stored

pytestmark = pytest.mark.integration


class Reader:
    """Takes chunks and keeps every reading; it drops each `deaf_every`-th delivery as a broker or a network might."""

    def __init__(self, site: str, deaf_every: int = 0) -> None:
        self.site = site
        self.deaf_every = deaf_every
        self.deliveries = 0
        self.rows: dict[tuple[str, str, int], int] = {}
        self.repeats = 0
        self.tables: dict[tuple[str, str], list[str]] = {}
        self.received: dict[str, dict[str, set[int]]] = {}

    async def read(self, connected: aiomqtt.Client) -> None:
        await connected.subscribe(topics.up_filter(site=self.site), qos=1)
        async for message in connected.messages:
            assert isinstance(message.payload, bytes)
            self.deliveries += 1
            if self.deaf_every and self.deliveries % self.deaf_every == 0:
                continue
            agent = topics.parse_up(str(message.topic)).agent
            header, body = chunk.unseal(message.payload, getattr(message.properties, "UserProperty", ()))
            seqs = self.received.setdefault(agent, {}).setdefault(header.epoch, set())
            if header.kind == "readings" and (agent, header.table) not in self.tables:
                continue  # its table went missing: nothing can be said about it before that comes again
            if header.seq not in seqs:
                self._keep(header, body)
            seqs.add(header.seq)
            ack = messages.Ack(
                store="s",
                revision=1,
                received={e: [(n, n) for n in sorted(s)] for e, s in self.received[agent].items()},
            )
            await connected.publish(topics.ack(self.site, agent), messages.encode(ack), qos=1)

    def _keep(self, header: chunk.ChunkHeader, body: bytes) -> None:
        if header.kind == "declare":
            names = [channel.name for channel in chunk.decode_table(header, body)]
            self.tables[header.agent, chunk.table_hash(body)] = names
            return
        for index, t_ms, value, _ in chunk.decode_rows(header, body):
            key = (header.agent, self.tables[header.agent, header.table][index], t_ms)
            self.repeats += key in self.rows
            self.rows[key] = value

    async def verify(self, sent: Sent) -> Stored:
        assert all(sent.first_ms <= t_ms <= sent.last_ms and agent in sent.agents for agent, _, t_ms in self.rows)
        return Stored(rows=len(self.rows) + self.repeats, duplicates=self.repeats)


@asynccontextmanager
async def reading(reader: Reader, broker_url: str) -> AsyncIterator[None]:
    async with client(broker_url, f"{reader.site}-reader") as connected:
        task = asyncio.create_task(reader.read(connected))
        await asyncio.sleep(0.2)
        yield
        assert not task.done(), task.exception()
        task.cancel()


def settings(site: str, broker_url: str, **more: float | SiteClock) -> LoadSettings:
    return LoadSettings(site=site, mqtt_url=broker_url, load_agents=3, load_for_s=2, load_hz=2, **more)  # type: ignore[arg-type]


async def test_all_that_is_due_arrives_once_dated_by_the_sites_clock(broker_url: str, site: str) -> None:
    reader = Reader(site)
    two_hours_back = SiteClock("run", wall_origin_ms=7_200_000)
    async with reading(reader, broker_url):
        report = await load(settings(site, broker_url, load_meters=1300, clock=two_hours_back), reader.verify)
    assert all(0 < time.time() * 1000 - 7_200_000 - t_ms < 60_000 for _, _, t_ms in reader.rows)
    assert report.latency_ms_max < 60_000
    assert report.is_sound
    assert report.rows_sent == report.rows_acknowledged == len(reader.rows) == 1300 * 2 * 2
    assert (report.rows_lost, report.rows_doubled, report.rows_behind, report.rows_unacknowledged) == (0, 0, 0, 0)
    assert report.latency_ms_p50 is not None
    assert report.latency_ms_p99 is not None
    assert 0 < report.latency_ms_p50 <= report.latency_ms_p99 <= report.latency_ms_max
    assert len({key[:2] for key in reader.rows}) == 1300


async def test_what_goes_missing_is_sent_again(broker_url: str, site: str) -> None:
    reader = Reader(site, deaf_every=3)
    async with reading(reader, broker_url):
        report = await load(settings(site, broker_url, load_meters=90, load_resend_s=0.3), reader.verify)
    assert report.is_sound
    assert report.chunks_resent > 0
    assert len(reader.rows) == report.rows_sent == 360


async def test_silence_is_reported_not_hidden(broker_url: str, site: str) -> None:
    """Without a collector the window fills, the rest is never made, and the report says both."""
    report = await load(settings(site, broker_url, load_meters=90, load_window=4, load_drain_s=0.5))
    assert not report.is_sound
    assert report.rows_acknowledged == 0
    assert report.rows_unacknowledged == report.rows_sent > 0
    assert report.rows_behind > 0
    assert report.rows_sent + report.rows_behind == 360
    assert report.latency_ms_p99 is None


async def test_a_clock_of_another_pace_is_refused_with_a_remedy(broker_url: str, site: str) -> None:
    with pytest.raises(SimulatorError, match="leave PLANTPRINT_CLOCK out"):
        await load(settings(site, broker_url, load_meters=1, clock=SiteClock("run", speed=20)))


async def test_no_broker_is_an_error_with_a_remedy() -> None:
    with pytest.raises(SimulatorError, match="no broker answers there"):
        await load(settings("nowhere", "mqtt://127.0.0.1:9", load_meters=1))
