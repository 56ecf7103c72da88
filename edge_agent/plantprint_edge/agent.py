"""One gateway: sources → chunker → outbox → uplink, started together, stopped in order, ended by any part's bug."""

import asyncio
import logging
import os
import signal
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal

import apsw
import structlog

from plantprint.times import SiteClock
from plantprint_edge.channels import all_channels, channels_of, tables
from plantprint_edge.chunker import Chunker
from plantprint_edge.clock import Clock, site_clock
from plantprint_edge.committer import Committer
from plantprint_edge.config import AgentConfig, ModbusSource, MqttSource, ReplaySource, Source
from plantprint_edge.diskfile import DamagedError, OutboxLockedError
from plantprint_edge.load import load_config
from plantprint_edge.outbox import Outbox
from plantprint_edge.sources import Reader
from plantprint_edge.sources.modbus import ModbusReader
from plantprint_edge.sources.modbus_line import Lines
from plantprint_edge.sources.mqtt import MqttReader
from plantprint_edge.sources.replay import ReplayReader
from plantprint_edge.status import Snapshot, describe, serve_metrics, write_status
from plantprint_edge.uplink import Uplink
from plantprint_edge.yamlfile import ConfigError

log = structlog.get_logger(__name__)

EXIT_OK = 0
EXIT_CONFIG = 2
EXIT_REPLAY = 3
EXIT_OUTBOX = 4


class Agent:
    """A running gateway. `delete_on="puback"` is wrong on purpose: only the delivery test uses it."""

    def __init__(
        self,
        config: AgentConfig,
        clock: SiteClock,
        environ: Mapping[str, str] = os.environ,
        *,
        delete_on: Literal["ack", "puback"] = "ack",
    ) -> None:
        self._config = config
        self._environ = environ
        self._clock = Clock(clock)
        self._stop_requested = asyncio.Event()
        self._tables = tables(all_channels(config))
        self._committer = Committer(config.outbox, self._open_outbox)
        self._chunker = Chunker(self._committer, self._tables, config.chunk, self._clock)
        self._uplink = Uplink(config, self._committer, self._clock, environ, delete_on=delete_on)
        self._lines = Lines()
        self._readers = self._make_readers()

    def _open_outbox(self) -> Outbox:
        outbox = Outbox(self._config.outbox, self._config.site, self._config.agent, self._clock.now_ms)
        with outbox.transaction():
            for table in self._tables:
                outbox.declare(table.body, table.n)
        return outbox

    def _make_readers(self) -> list[Reader]:
        readers, first_index = [], 0
        for source in self._config.sources:
            readers.append(self._reader(source, first_index))
            first_index += len(channels_of(source, self._config.agent))
        return readers

    def _reader(self, source: Source, first_index: int) -> Reader:
        match source:
            case ModbusSource():
                return ModbusReader(source, first_index, self._chunker, self._clock, self._lines.of(source))
            case ReplaySource():
                return ReplayReader(source, first_index, self._chunker)
            case MqttSource():
                name = f"plantprint-{self._config.site}-{self._config.agent}-{source.name}"
                return MqttReader(
                    source, first_index, self._chunker, self._clock,
                    client_id=name, broker=self._config.broker, environ=self._environ,
                )  # fmt: skip

    def stop(self) -> None:
        """Ask for a graceful end."""
        self._stop_requested.set()

    def snapshot(self) -> Snapshot:
        """All counters now."""
        sources = [reader.counts for reader in self._readers]
        return Snapshot(self._chunker.readings, self._committer.stats, self._uplink.counts, sources)

    async def run(self) -> int:
        """Work until stopped or done; returns the exit code. A bug in any part raises, with what was read stored."""
        await self._committer.start()
        stop_metrics = self._serve_metrics()
        try:
            await self._work()
        finally:
            await self._chunker.flush()
            await self._committer.close()
            self._write_status(describe(self._config, self.snapshot(), running=False))
            await asyncio.to_thread(stop_metrics)
        problems = [r.problem for r in self._readers if isinstance(r, ReplayReader) and r.problem]
        stats = self._committer.stats
        log.info("agent_stopped", undelivered_chunks=stats.unacked_chunks, lost_chunks=stats.lost_chunks)
        return EXIT_REPLAY if problems else EXIT_OK

    def _serve_metrics(self) -> Callable[[], None]:
        if self._config.metrics_port is None:
            return lambda: None
        try:
            return serve_metrics(self._config.metrics_port, self.snapshot)
        except OSError as error:
            remedy = "give metrics_port another number; the agent goes on without metrics"
            log.warning("metrics_not_served", reason=str(error), remedy=remedy)
            return lambda: None

    async def _work(self) -> None:
        async with asyncio.TaskGroup() as group:
            uplink = group.create_task(self._uplink.run(), name="uplink")
            watch = group.create_task(self._committer.watch(), name="outbox")
            report = group.create_task(self._report(), name="status")
            readers = [group.create_task(r.run(), name=r.counts.name) for r in self._readers]
            log.info("agent_started", agent=self._config.agent, site=self._config.site, sources=len(readers))
            try:
                await self._until_done_or_stopped(readers)
            finally:
                await end_tasks(readers)
            await self._chunker.flush()
            await self._drain()
            self._uplink.stop()
            await uplink
            watch.cancel()
            report.cancel()

    async def _until_done_or_stopped(self, readers: list[asyncio.Task[None]]) -> None:
        waits: list[asyncio.Task[Any]] = [asyncio.create_task(self._stop_requested.wait(), name="stop")]
        if self._config.exit_when_done:
            waits.append(asyncio.create_task(self._all_delivered(readers), name="done"))
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in waits:
                task.cancel()

    async def _all_delivered(self, readers: list[asyncio.Task[None]]) -> None:
        await asyncio.wait([t for t, r in zip(readers, self._readers, strict=True) if isinstance(r, ReplayReader)])
        await self._chunker.flush()
        await self._committer.room(backlog_chunks_max=0)

    async def _drain(self) -> None:
        """Give the collector a last chance to acknowledge; what remains waits in the outbox."""
        deadline = asyncio.get_running_loop().time() + self._config.drain_s
        while self._uplink.counts.connected and (left_s := deadline - asyncio.get_running_loop().time()) > 0:
            with suppress(TimeoutError):
                async with asyncio.timeout(min(left_s, 0.25)):
                    await self._committer.room(backlog_chunks_max=0)
                    return

    async def _report(self) -> None:
        while True:
            await asyncio.to_thread(self._write_status, describe(self._config, self.snapshot(), running=True))
            await asyncio.sleep(self._config.status_every_s)

    def _write_status(self, status: dict[str, Any]) -> None:
        try:
            write_status(self._config, status)
        except OSError as error:
            log.warning("status_not_written", reason=str(error), remedy="free the disk; the agent goes on without")


async def end_tasks(tasks: Iterable[asyncio.Task[None]]) -> None:
    """Cancel tasks until they have ended.

    Once may not be enough: up to Python 3.11 `asyncio.wait_for`, which libraries use, swallows a cancellation that comes
    in the same moment as its result.
    """
    running = set(tasks)
    while running:
        for task in running:
            task.cancel()
        _, running = await asyncio.wait(running, timeout=0.2)


def run_file(path: Path, clock: SiteClock | None = None) -> int:
    """`run` with the configuration in `path`; problems in it are logged one by one and end in exit code 2."""
    try:
        config = load_config(path)
    except ConfigError as error:
        for problem in error.problems:
            log.error("config_problem", reason=problem)  # noqa: TRY400 - for people
        return EXIT_CONFIG
    return run(config, clock)


def run(config: AgentConfig, clock: SiteClock | None = None) -> int:
    """Run an agent until SIGTERM or SIGINT, or until its replays are delivered; returns the exit code.

    0 stopped or done; 2 the configuration cannot be used with this clock; 3 a recording could not be read to its end;
    4 the outbox cannot be opened. What is wrong and what to do is in the log.
    """
    try:
        clock = clock or site_clock(os.environ)
    except ValueError as error:
        log.error("clock_invalid", reason=str(error), remedy="correct or unset the variable")  # noqa: TRY400 - for people
        return EXIT_CONFIG
    if clock.kind == "data" and any(isinstance(source, ModbusSource) for source in config.sources):
        remedy = "give the site clock kind wall or run, or replay recorded files only"
        log.error(
            "clock_without_present",
            reason="a site that lives by its data has no now to poll devices in",
            remedy=remedy,
        )
        return EXIT_CONFIG
    # Its messages repeat what is counted and logged here, once per request of every dead device.
    logging.getLogger("pymodbus").setLevel(logging.CRITICAL)
    try:
        return asyncio.run(_main(config, clock))
    except OutboxLockedError as error:
        log.error("outbox_locked", reason=str(error), remedy="stop the other agent")  # noqa: TRY400 - for people
    except (apsw.Error, DamagedError, OSError) as error:
        remedy = "check the path, its rights and its disk"
        log.error("outbox_not_opened", path=str(config.outbox.path), reason=str(error), remedy=remedy)  # noqa: TRY400
    return EXIT_OUTBOX


async def _main(config: AgentConfig, clock: SiteClock) -> int:
    agent = Agent(config, clock)
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, agent.stop)
    return await agent.run()
