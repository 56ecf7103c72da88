"""One gateway: sources → chunker → outbox → uplink, started together, stopped in order, ended by any part's bug.

SIGHUP, or with `reload_s` a changed file, makes it read its configuration again: what has not changed goes on.
"""

import asyncio
import logging
import os
import signal
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal

import apsw
import structlog

from plantprint.times import SiteClock
from plantprint_edge.channels import Table, all_channels, tables
from plantprint_edge.chunker import Chunker, Port
from plantprint_edge.clock import Clock, site_clock
from plantprint_edge.committer import Committer, OutboxUnusableError
from plantprint_edge.config import (
    AgentConfig,
    Dlt645Source,
    FolderSource,
    ModbusSource,
    MqttSource,
    ReplaySource,
    Source,
)
from plantprint_edge.diskfile import DamagedError, OutboxLockedError
from plantprint_edge.load import load_config
from plantprint_edge.loop import new_loop, settle
from plantprint_edge.outbox import Outbox
from plantprint_edge.pages import serve
from plantprint_edge.reload import ConfigFile, ReloadCounts, check_change, check_clock, touched_sources
from plantprint_edge.running import Readers, end_tasks
from plantprint_edge.sources import Reader
from plantprint_edge.sources.dlt645 import Dlt645Reader
from plantprint_edge.sources.dlt645_line import Dlt645Lines
from plantprint_edge.sources.folder import FolderReader
from plantprint_edge.sources.modbus import ModbusReader
from plantprint_edge.sources.modbus_line import Lines
from plantprint_edge.sources.mqtt import MqttReader
from plantprint_edge.sources.replay import ReplayReader
from plantprint_edge.status import ClockState, Snapshot, describe, write_status
from plantprint_edge.systemd import keep_watchdog, notify, reloading
from plantprint_edge.uplink import Uplink
from plantprint_edge.yamlfile import ConfigError

log = structlog.get_logger(__name__)

EXIT_OK = 0
EXIT_CONFIG = 2
EXIT_REPLAY = 3
EXIT_OUTBOX = 4


class Agent:
    """A running gateway; without `file` its configuration is for good.

    `settle` is called when all that this configuration needs has been made. `delete_on="puback"` is wrong on purpose: only
    the delivery test uses it.
    """

    def __init__(
        self,
        config: AgentConfig,
        clock: SiteClock,
        environ: Mapping[str, str] = os.environ,
        *,
        file: ConfigFile | None = None,
        settle: Callable[[], None] = lambda: None,
        delete_on: Literal["ack", "puback"] = "ack",
    ) -> None:
        self._config = config
        self._environ = environ
        self._file = file
        self._settle = settle
        self._clock = Clock(clock)
        self._stop_requested = asyncio.Event()
        self._reload_requested = asyncio.Event()
        self._reloads = ReloadCounts()
        self._status_written = True
        self._tables = tables(all_channels(config))
        self._committer = Committer(config.outbox, self._open_outbox)
        self._chunker = Chunker(self._committer, self._tables, config.chunk, self._clock)
        self._uplink = Uplink(config, self._committer, self._clock, environ, delete_on=delete_on)
        self._lines = Lines()
        self._dlt645_lines = Dlt645Lines()
        self._readers: Readers | None = None

    def _open_outbox(self) -> Outbox:
        outbox = Outbox(self._config.outbox, self._config.site, self._config.agent, self._clock.now_ms)
        with outbox.transaction():
            _declare(outbox, self._tables)
        return outbox

    def _reader(self, source: Source, port: Port, config: AgentConfig) -> Reader:
        match source:
            case ModbusSource():
                return ModbusReader(source, 0, port, self._clock, self._lines.of(source))
            case Dlt645Source():
                return Dlt645Reader(source, 0, port, self._clock, self._dlt645_lines.of(source))
            case FolderSource():
                outbox = config.outbox.path
                return FolderReader(source, 0, port, outbox.with_name(f"{outbox.name}.{source.name}.files"))
            case ReplaySource():
                return ReplayReader(source, 0, port)
            case MqttSource():
                name = f"plantprint-{config.site}-{config.agent}-{source.name}"
                outbox = config.outbox.path
                return MqttReader(
                    source, 0, port, self._clock,
                    client_id=name, broker=config.broker, environ=self._environ,
                    births_path=outbox.with_name(f"{outbox.name}.{source.name}.births"),
                )  # fmt: skip

    def stop(self) -> None:
        """Ask for a graceful end."""
        self._stop_requested.set()

    def reload(self) -> None:
        """Ask for the configuration to be read again; one that cannot be used is refused, and the present one stays."""
        self._reload_requested.set()

    def snapshot(self) -> Snapshot:
        """All counters now."""
        counts = self._readers.counts if self._readers else ()
        chunker, clock = self._chunker, self._clock
        state = ClockState(clock.dates, clock.steps, clock.last_step_s, chunker.undated_rows, chunker.undated_rows_lost)
        return Snapshot(chunker.readings, self._committer.stats, self._uplink.counts, self._reloads, state, counts)

    async def run(self) -> int:
        """Work until stopped or done; returns the exit code. A bug in any part raises, with what was read stored."""
        await self._committer.start()
        stop_pages = self._serve_pages()
        try:
            await self._work()
        finally:
            await self._chunker.flush()
            await self._committer.close()
            self._write_status(describe(self._config, self.snapshot(), running=False))
            await asyncio.to_thread(stop_pages)
        replays = self._readers.of(ReplayReader) if self._readers else []
        problems = [one for one in replays if isinstance(one.reader, ReplayReader) and one.reader.problem]
        stats = self._committer.stats
        log.info(
            "agent_stopped",
            undelivered_chunks=stats.unacked_chunks,
            lost_chunks=stats.lost_chunks,
            lost_rows=stats.lost_rows,
        )
        return EXIT_REPLAY if problems else EXIT_OK

    def _serve_pages(self) -> Callable[[], None]:
        if self._config.metrics_port is None:
            return lambda: None
        try:
            return serve(self._config.metrics_port, self.snapshot)
        except OSError as error:
            remedy = "give metrics_port another number; the agent goes on without its pages"
            log.warning("pages_not_served", reason=str(error), remedy=remedy)
            return lambda: None

    async def _work(self) -> None:
        async with asyncio.TaskGroup() as group:
            uplink = group.create_task(self._uplink.run(), name="uplink")
            watch = group.create_task(self._committer.watch(), name="outbox")
            report = group.create_task(self._report(), name="status")
            readers = self._readers = Readers(group, self._chunker, self._reader)
            readers.start(self._config)
            self._settle()
            reload = group.create_task(self._keep_reloading(readers), name="reload")
            watchdog = group.create_task(keep_watchdog(self._environ), name="watchdog")
            notify("READY=1", self._environ)
            log.info(
                "agent_started", agent=self._config.agent, site=self._config.site, sources=len(self._config.sources)
            )
            try:
                await self._until_done_or_stopped(readers)
            finally:
                notify("STOPPING=1", self._environ)
                await end_tasks([reload])
                await readers.stop_all()
            await self._chunker.flush()
            await self._drain()
            self._uplink.stop()
            await uplink
            watch.cancel()
            report.cancel()
            watchdog.cancel()

    async def _until_done_or_stopped(self, readers: Readers) -> None:
        waits: list[asyncio.Task[Any]] = [asyncio.create_task(self._stop_requested.wait(), name="stop")]
        if self._config.exit_when_done:
            waits.append(asyncio.create_task(self._all_delivered(readers), name="done"))
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in waits:
                task.cancel()

    async def _all_delivered(self, readers: Readers) -> None:
        await asyncio.wait([one.task for one in readers.of(ReplayReader)])
        await self._chunker.flush()
        await self._committer.room(backlog_chunks_max=0)

    async def _keep_reloading(self, readers: Readers) -> None:
        """Read the configuration again when asked to, or with `reload_s` when a file has changed."""
        if self._file is None:
            return
        seen = self._file.stamp(self._config)
        while True:
            asked = False
            with suppress(TimeoutError):
                async with asyncio.timeout(self._config.reload_s):
                    asked = await self._reload_requested.wait()
            self._reload_requested.clear()
            now = self._file.stamp(self._config)
            if asked or now != seen:
                seen = now
                reloading(self._environ)
                await self._reload(self._file, readers)
                notify("READY=1", self._environ)

    async def _reload(self, file: ConfigFile, readers: Readers) -> None:
        try:
            after = await asyncio.to_thread(file.load)
            check_change(self._config, after, self._clock.site)
            await self._take_up(after, readers)
        except (ConfigError, OutboxUnusableError) as error:
            self._reloads.refused += 1
            self._reloads.problems = error.problems if isinstance(error, ConfigError) else (str(error),)
            for problem in self._reloads.problems:
                log.error("reload_refused", reason=problem, remedy="the configuration before stays; correct the file")  # noqa: TRY400
        else:
            self._reloads.taken += 1
            self._reloads.problems = ()

    async def _take_up(self, after: AgentConfig, readers: Readers) -> None:
        """Exchange what has changed. New channel tables are on disk before the first reading that needs them."""
        new_tables = tables(all_channels(after))
        known = {table.hash for table in self._tables}
        new = [table for table in new_tables if table.hash not in known]
        await self._committer.call(lambda outbox: _declare(outbox, new))
        touched = touched_sources(self._config, after)
        await readers.stop(touched)
        # From here to the end nothing waits, so no reading comes between the old places and the new ones.
        self._tables = new_tables
        self._chunker.exchange(new_tables, after.chunk)
        self._committer.post(lambda outbox: outbox.keep_tables({table.hash for table in new_tables}))
        self._uplink.reconfigure(after)
        before, self._config = self._config, after
        readers.start(after)
        self._settle()
        started = {source.name for source in after.sources} - ({s.name for s in before.sources} - set(touched))
        log.info("reloaded", stopped=sorted(touched), started=sorted(started))

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
            if self._status_written:
                remedy = "free or repair the disk; the agent goes on without, and tries again"
                log.warning("status_not_written", reason=str(error), remedy=remedy)
            self._status_written = False
        else:
            self._status_written = True


def _declare(outbox: Outbox, which: Sequence[Table]) -> None:
    for table in which:
        outbox.declare(table.body, table.n)


def run_file(path: Path, clock: SiteClock | None = None) -> int:
    """`run` with the configuration in `path`; problems in it are logged one by one and end in exit code 2."""
    try:
        config = load_config(path)
    except ConfigError as error:
        for problem in error.problems:
            log.error("config_problem", reason=problem)  # noqa: TRY400 - for people
        return EXIT_CONFIG
    return run(config, clock, ConfigFile(path, lambda: load_config(path)))


def run(config: AgentConfig, clock: SiteClock | None = None, file: ConfigFile | None = None) -> int:
    """Run an agent until SIGTERM or SIGINT, or until its replays are delivered; returns the exit code.

    SIGHUP makes it read `file` again.

    0 stopped or done; 2 the configuration cannot be used with this clock; 3 a recording could not be read to its end;
    4 the outbox cannot be opened. What is wrong and what to do is in the log.
    """
    try:
        clock = clock or site_clock(os.environ)
    except ValueError as error:
        log.error("clock_invalid", reason=str(error), remedy="correct or unset the variable")  # noqa: TRY400 - for people
        return EXIT_CONFIG
    try:
        check_clock(config, clock)
    except ConfigError as error:
        remedy = "give the site clock kind wall or run, or replay recorded files only"
        log.error("clock_without_present", reason=str(error), remedy=remedy)  # noqa: TRY400 - for people
        return EXIT_CONFIG
    # Its messages repeat what is counted and logged here, once per request of every dead device.
    logging.getLogger("pymodbus").setLevel(logging.CRITICAL)
    try:
        with asyncio.Runner(loop_factory=new_loop) as runner:
            return runner.run(_main(config, clock, file))
    except OutboxLockedError as error:
        log.error("outbox_locked", reason=str(error), remedy="stop the other agent")  # noqa: TRY400 - for people
    except (apsw.Error, DamagedError, OSError) as error:
        remedy = "check the path, its rights and its disk"
        log.error("outbox_not_opened", path=str(config.outbox.path), reason=str(error), remedy=remedy)  # noqa: TRY400
    return EXIT_OUTBOX


async def _main(config: AgentConfig, clock: SiteClock, file: ConfigFile | None) -> int:
    agent = Agent(config, clock, file=file, settle=settle)
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, agent.stop)
    loop.add_signal_handler(signal.SIGHUP, agent.reload)
    return await agent.run()
