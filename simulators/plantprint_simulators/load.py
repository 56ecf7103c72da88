"""Load: synthetic gateways that speak the wire contract through a broker, and what came of it.

Readings fall due by the clock, whether or not the collector keeps up, so a slow collector shows as latency. A gateway
holds at most a window of chunks; what is due while the window is full waits as arithmetic, not as memory.
"""

import asyncio
import contextlib
import secrets
import time
from collections.abc import Sequence
from dataclasses import dataclass

import aiomqtt
import msgspec
import structlog
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from plantprint.wire import chunk, messages, topics
from plantprint_simulators.broker import client
from plantprint_simulators.config import LoadSettings
from plantprint_simulators.errors import SimulatorError
from plantprint_simulators.load_report import Latency, LoadReport, Sent, Verify
from plantprint_simulators.load_rows import Table, pieces, tables

log = structlog.get_logger(__name__)

SENDERS = 8  # publishes under way at once on a connection: one alone would wait for each of the broker's acks
RECONNECT_S = 0.5


@dataclass(slots=True)
class _Chunk:
    payload: bytes
    properties: Properties
    rows: int
    oldest_ms: int
    sent_s: float = 0.0
    is_queued: bool = True


class Gateway:
    """One agent: makes chunks as readings fall due, sends them, and drops each when the collector has committed it."""

    def __init__(self, settings: LoadSettings, name: str, meters: int, latency: Latency) -> None:
        self.name = name
        self.rows_sent = self.rows_acked = self.chunks_sent = self.chunks_resent = self.reconnects = 0
        self.rows_due = 0
        self._settings = settings
        self._ahead_us = ahead_us(settings)
        self._meters = meters
        self._latency = latency
        self._epoch = secrets.token_hex(8)
        self._seq = 0
        self._open: dict[int, _Chunk] = {}
        self._outgoing: asyncio.Queue[int] = asyncio.Queue()
        self._changed = asyncio.Condition()

    async def make(self, start_us: int, end_us: int) -> None:
        """Declares the channels and cuts the readings of [start_us, end_us) into chunks as they fall due."""
        settings = self._settings
        start_us, end_us = start_us + self._ahead_us, end_us + self._ahead_us
        made = tables(self.name, self._meters, settings.load_hz, start_us, settings.load_seed)
        self.rows_due = sum(table.count(end_us) for table in made)
        for table in made:
            await self._add("declare", table.body, len(table.steps), start_us // 1000, table.hash)
        for from_us in range(start_us, end_us, settings.load_flush_ms * 1000):
            to_us = min(from_us + settings.load_flush_ms * 1000, end_us)
            await asyncio.sleep((to_us - self._ahead_us) / 1e6 - time.time())
            for table in made:
                await self._add_rows(table, from_us, to_us)

    async def _add_rows(self, table: Table, from_us: int, to_us: int) -> None:
        for rows in pieces(table.rows(from_us, to_us), self._settings.load_chunk_rows):
            await self._add("readings", chunk.encode_rows(rows), len(rows), rows[0][1], table.hash)

    async def _add(self, kind: chunk.ChunkKind, body: bytes, n: int, oldest_ms: int, table: str) -> None:
        async with self._changed:
            await self._changed.wait_for(lambda: len(self._open) < self._settings.load_window)
        header, payload = chunk.seal(self._settings.site, self.name, self._epoch, self._seq, kind, body, n, table=table)
        properties = Properties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call]
        properties.UserProperty = chunk.properties(header)
        rows = n if kind == "readings" else 0
        self._open[self._seq] = _Chunk(payload, properties, rows, oldest_ms)
        self._outgoing.put_nowait(self._seq)
        self._seq += 1
        self.chunks_sent += 1
        self.rows_sent += rows

    async def drained(self) -> None:
        """Returns when nothing is open any more."""
        async with self._changed:
            await self._changed.wait_for(lambda: not self._open)

    async def talk(self) -> None:
        """Keeps a connection, sends what is queued and takes acknowledgements, until cancelled."""
        while True:
            try:
                async with client(self._settings.mqtt_url, f"{self._settings.site}-{self.name}") as connected:
                    await self._talk(connected)
            except* aiomqtt.MqttError as errors:
                self.reconnects += 1
                log.warning("broker lost", agent=self.name, error=str(errors.exceptions[0]))
            await asyncio.sleep(RECONNECT_S)

    async def _talk(self, connected: aiomqtt.Client) -> None:
        await connected.subscribe(topics.ack(self._settings.site, self.name), qos=1)
        async with asyncio.TaskGroup() as tasks:
            for _ in range(SENDERS):
                tasks.create_task(self._send(connected))
            tasks.create_task(self._resend())
            async for message in connected.messages:
                if isinstance(message.payload, bytes | bytearray):
                    await self._settle(messages.decode_ack(bytes(message.payload)))

    async def _send(self, connected: aiomqtt.Client) -> None:
        topic = topics.up(self._settings.site, self.name, "live")
        while True:
            seq = await self._outgoing.get()
            waiting = self._open.get(seq)
            if waiting is None:
                continue
            waiting.sent_s, waiting.is_queued = time.monotonic(), False
            await connected.publish(topic, waiting.payload, qos=1, properties=waiting.properties)

    async def _resend(self) -> None:
        while True:
            await asyncio.sleep(self._settings.load_resend_s / 4)
            for seq, waiting in self._open.items():
                if not waiting.is_queued and time.monotonic() - waiting.sent_s > self._settings.load_resend_s:
                    waiting.is_queued = True
                    self.chunks_resent += 1
                    self._outgoing.put_nowait(seq)

    async def _settle(self, ack: messages.Ack) -> None:
        now_ms = self._settings.clock.now_ms(time.time_ns() // 1_000_000)
        ranges = ack.received.get(self._epoch, [])
        done = [seq for seq in self._open if any(low <= seq <= high for low, high in ranges)]
        for seq in done:
            settled = self._open.pop(seq)
            self.rows_acked += settled.rows
            if settled.rows:
                self._latency.add(now_ms - settled.oldest_ms, settled.rows)
        if done:
            async with self._changed:
                self._changed.notify_all()


def ahead_us(settings: LoadSettings) -> int:
    """By how much the site's time is ahead of the machine's; raises `SimulatorError` for a clock of another pace."""
    if settings.clock.kind == "data" or settings.clock.speed != 1:
        raise SimulatorError("clock: load is made at the pace of wall time; leave PLANTPRINT_CLOCK out, or use speed 1")
    return settings.clock.now_ms(0) * 1000


def run_load(settings: LoadSettings, verify: Verify | None = None) -> LoadReport:
    """Runs the load and reports; raises `SimulatorError` when the broker cannot be reached at the start."""
    return asyncio.run(load(settings, verify))


async def load(settings: LoadSettings, verify: Verify | None = None) -> LoadReport:
    """`run_load` inside a running event loop."""
    try:
        async with client(settings.mqtt_url, f"{settings.site}-load-check"):
            pass
    except aiomqtt.MqttError as error:
        raise SimulatorError(f"mqtt_url: no broker answers there ({error}); start one or correct the URL") from error
    latency = Latency()
    agents = min(settings.load_agents, settings.load_meters)
    share, more = divmod(settings.load_meters, agents)
    gateways = [Gateway(settings, f"load-{i + 1}", share + (i < more), latency) for i in range(agents)]
    start_us = time.time_ns() // 1000
    end_us = start_us + round(settings.load_for_s * 1_000_000)
    async with asyncio.TaskGroup() as tasks:
        talks = [tasks.create_task(gateway.talk(), name=gateway.name) for gateway in gateways]
        await asyncio.gather(*(_run(gateway, start_us, end_us, settings.load_drain_s) for gateway in gateways))
        for talk in talks:
            talk.cancel()
    report = _report(settings, gateways, latency, time.time() - start_us / 1e6)
    if verify is None:
        return report
    stored = await verify(
        Sent(
            site=settings.site, agents=tuple(gateway.name for gateway in gateways), rows=report.rows_sent,
            first_ms=settings.clock.now_ms(start_us // 1000), last_ms=settings.clock.now_ms(end_us // 1000),
        )
    )  # fmt: skip
    lost = report.rows_sent - (stored.rows - stored.duplicates)
    return msgspec.structs.replace(report, rows_lost=lost, rows_doubled=stored.duplicates)


async def _run(gateway: Gateway, start_us: int, end_us: int, drain_s: float) -> None:
    """Makes and drains; what is open or not made when the time is up stays so, and the report says it."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(end_us / 1e6 + drain_s - time.time()):
            await gateway.make(start_us, end_us)
            await gateway.drained()


def _report(settings: LoadSettings, gateways: Sequence[Gateway], latency: Latency, elapsed_s: float) -> LoadReport:
    sent, acked = sum(g.rows_sent for g in gateways), sum(g.rows_acked for g in gateways)
    return LoadReport(
        agents=len(gateways), meters=settings.load_meters, hz=settings.load_hz, elapsed_s=round(elapsed_s, 3),
        rows_sent=sent, rows_acknowledged=acked, rows_unacknowledged=sent - acked,
        rows_behind=sum(g.rows_due for g in gateways) - sent,
        chunks_sent=sum(g.chunks_sent for g in gateways), chunks_resent=sum(g.chunks_resent for g in gateways),
        reconnects=sum(g.reconnects for g in gateways), rows_per_s=round(acked / elapsed_s, 1),
        latency_ms_p50=latency.percentile(50), latency_ms_p90=latency.percentile(90),
        latency_ms_p99=latency.percentile(99), latency_ms_max=latency.max_ms,
    )  # fmt: skip
