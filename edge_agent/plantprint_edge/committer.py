"""The one thread that touches the outbox: takes what waits, commits it as a group, and tells the event loop.

A failing disk never stops the agent: what cannot be stored is counted as lost, and the file is tried again.
"""

import asyncio
import queue
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, TypeVar, cast

import apsw
import structlog

from plantprint.times import format_instant
from plantprint_edge.clock import wall_ms
from plantprint_edge.config import OutboxLimits
from plantprint_edge.diskfile import DamagedError
from plantprint_edge.outbox import PURGE_ROWS, Outbox
from plantprint_edge.records import Draft, Stats

log = structlog.get_logger(__name__)
T = TypeVar("T")

GROUP_MAX = 256
PURGES_MAX = 20
UNUSABLE = "outbox file unusable"
IN_DOUBT = "outbox file unusable at the stop"
_DISK_ERRORS = (apsw.Error, DamagedError, OSError)


class OutboxUnusableError(RuntimeError):
    """The outbox file cannot be read or written at present; it is tried again by itself."""


@dataclass(frozen=True, slots=True)
class _Operation:
    """Work for the outbox; `draft` is what is lost when it fails."""

    run: Callable[[Outbox], Any]
    future: "asyncio.Future[Any] | None" = None
    draft: Draft | None = None


class Committer:
    """The outbox as seen from the event loop; all futures are resolved there, after the commit."""

    def __init__(self, limits: OutboxLimits, open_outbox: Callable[[], Outbox]) -> None:
        self._limits = limits
        self._open_outbox = open_outbox
        self._queue: queue.SimpleQueue[_Operation | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._work, name="outbox", daemon=True)
        self._usable = True
        self._doubt: tuple[tuple[str, int], list[Draft]] | None = None
        self._housekeeping_at = 0.0
        self._pending_chunks = 0
        self._working: list[_Operation] = []
        self._room = asyncio.Event()
        self.stats = Stats()
        self.changed = asyncio.Event()

    async def start(self) -> None:
        """Open the file; raises `OutboxLockedError`, and apsw's and OS errors."""
        self._loop = asyncio.get_running_loop()
        self._death: asyncio.Future[None] = self._loop.create_future()
        self._outbox = await asyncio.to_thread(self._open_outbox)
        self.stats = self._outbox.stats()
        self._thread.start()

    async def watch(self) -> None:
        """Wait for the thread's end; raises what killed it, so that no bug leaves an agent that stores nothing."""
        await asyncio.shield(self._death)

    async def close(self) -> None:
        """Finish what waits and close the file."""
        self._queue.put(None)
        await asyncio.to_thread(self._thread.join)

    def append(self, draft: Draft) -> "asyncio.Future[int | None]":
        """Store a chunk; the future holds its id, or None when it was lost and counted."""
        self._pending_chunks += 1
        future = self._submit(_Operation(lambda outbox: outbox.append(draft), self._loop.create_future(), draft))
        future.add_done_callback(self._appended)
        return future

    async def call(self, work: Callable[[Outbox], T]) -> T:
        """The result of `work` inside a transaction; raises `OutboxUnusableError` when the file cannot be used."""
        return cast("T", await self._submit(_Operation(work, self._loop.create_future())))

    def post(self, work: Callable[[Outbox], object]) -> None:
        """Have `work` done after everything that was handed over before, and wait for nothing."""
        self._submit(_Operation(work, self._loop.create_future())).add_done_callback(_look_at)

    async def room(self, backlog_chunks_max: int | None = None) -> None:
        """Wait until fewer than `pending_chunks_max` chunks are on their way to the disk.

        With `backlog_chunks_max` also until no more than that are undelivered: for sources that can wait.
        """
        while self._pending_chunks >= self._limits.pending_chunks_max or (
            backlog_chunks_max is not None and self.stats.unacked_chunks > backlog_chunks_max
        ):
            self._room.clear()
            await self._room.wait()

    def _submit(self, operation: _Operation) -> "asyncio.Future[Any]":
        assert operation.future is not None, "the loop waits for it"
        self._queue.put(operation)
        if self._death.done():
            self._tell([operation], [self._fail(operation, UNUSABLE)], self.stats)
        return operation.future

    def _appended(self, _: "asyncio.Future[int | None]") -> None:
        self._pending_chunks -= 1
        self._room.set()

    # --- in the thread ------------------------------------------------------------------------------------------------

    def _work(self) -> None:
        try:
            self._serve()
        except BaseException as error:  # noqa: BLE001 - handed to the loop, which stops the agent with it
            self._loop.call_soon_threadsafe(self._died, error)
        else:
            self._loop.call_soon_threadsafe(self._death.set_result, None)

    def _serve(self) -> None:
        stopping = False
        while not stopping:
            group, stopping = self._take()
            if time.monotonic() >= self._housekeeping_at:
                self._housekeeping_at = time.monotonic() + self._limits.retry_s
                group.append(_Operation(self._housekeep))
            if group:
                self._working = group
                results = self._commit(group)
                self._loop.call_soon_threadsafe(self._tell, group, results, self._read_stats())
        self._settle_doubt()
        self._loop.call_soon_threadsafe(self._tell, [], [], self._read_stats())
        try:
            self._outbox.close()
        except _DISK_ERRORS as error:
            log.warning("outbox_close_failed", reason=str(error), remedy="committed chunks are safe; check the disk")
        for gap in self._outbox.unreported:
            remedy = "note it: the outbox could not, so the ledger will show no gap for it; check the disk"
            log.error(
                "loss_not_reported",
                reason=gap.reason,
                lost_chunks=gap.lost_chunks,
                lost_rows=gap.lost_rows,
                from_at=format_instant(gap.from_ms),
                to_at=format_instant(gap.to_ms),
                remedy=remedy,
            )

    def _take(self) -> tuple[list[_Operation], bool]:
        """What waits, at most a group; empty after `retry_s` without work. Second: whether to stop."""
        group: list[_Operation] = []
        try:
            operation = self._queue.get(timeout=self._limits.retry_s)
            while operation is not None:
                group.append(operation)
                if len(group) == GROUP_MAX:
                    return group, False
                operation = self._queue.get_nowait()
        except queue.Empty:
            return group, False
        return group, True

    def _housekeep(self, outbox: Outbox) -> None:
        outbox.try_recover()
        outbox.report_losses()
        before_ms = wall_ms() - int(self._limits.keep_acked_h * 3_600_000)
        for _ in range(PURGES_MAX):
            if outbox.purge(before_ms) < PURGE_ROWS:
                break

    def _commit(self, group: list[_Operation]) -> list[Any]:
        outbox, results = self._outbox, list[Any]()
        if not self._usable and not self._restore(self._revive):
            return [self._fail(operation, UNUSABLE) for operation in group]
        first = (outbox.epoch, outbox.seq)
        try:
            with outbox.transaction():
                results = [operation.run(outbox) for operation in group]
        except apsw.FullError:
            restored = self._restore(outbox.disk_full)
        except DamagedError as error:
            restored = self._restore(partial(outbox.replace, str(error)))
        except (apsw.Error, OSError) as error:
            log.warning("outbox_write_failed", reason=str(error), remedy="the file is opened again; check the disk")
            if len(results) == len(group):
                return self._after_doubtful_commit(group, results, first)
            restored = self._restore(outbox.reopen)
        else:
            return results
        return [self._commit_one(operation) if restored else self._fail(operation, UNUSABLE) for operation in group]

    def _after_doubtful_commit(self, group: list[_Operation], results: list[Any], first: tuple[str, int]) -> list[Any]:
        """The commit may have reached the file although it reported an error: the file holds all of it, or nothing."""
        held = False

        def look() -> None:
            nonlocal held
            self._outbox.reopen()
            held = self._outbox.holds(*first)

        if self._restore(look):
            return results if held else [self._commit_one(operation) for operation in group]
        # Nothing is counted as lost yet: `_revive` looks once the file can be read.
        self._doubt = (first, [operation.draft for operation in group if operation.draft])
        return [None if operation.draft else OutboxUnusableError(UNUSABLE) for operation in group]

    def _commit_one(self, operation: _Operation) -> Any:
        """After trouble: each operation by itself, so that one failure costs no other its place."""
        try:
            with self._outbox.transaction():
                return operation.run(self._outbox)
        except _DISK_ERRORS as error:
            return self._fail(operation, f"outbox write failed: {error}")

    def _revive(self) -> None:
        """Open a file that could not be used, and settle what became of the group it failed with."""
        self._outbox.reopen()
        if self._doubt:
            first, drafts = self._doubt
            self._doubt = None
            if not self._outbox.holds(*first):
                for draft in drafts:
                    self._outbox.lose(draft, UNUSABLE)

    def _settle_doubt(self) -> None:
        """At the stop: a last look into the file, and what cannot be known now counts as lost."""
        if not self._doubt or self._restore(self._revive):
            return
        _, drafts = self._doubt
        self._doubt = None
        for draft in drafts:
            self._outbox.lose(draft, IN_DOUBT)
        log.error(
            "chunks_in_doubt",
            chunks=len(drafts),
            rows=sum(draft.n for draft in drafts),
            remedy="counted as lost; once the disk is repaired, the next start sends them if the file holds them",
        )

    def _restore(self, cure: Callable[[], None]) -> bool:
        """Whether the outbox can be used after `cure`; if not, the next group tries again."""
        try:
            cure()
        except _DISK_ERRORS as error:
            if self._usable:
                remedy = "readings are being lost: repair the disk; it is tried again by itself"
                log.error("outbox_unusable", reason=str(error), remedy=remedy)  # noqa: TRY400 - for people
            self._usable = False
            time.sleep(min(1.0, self._limits.retry_s))
            return False
        self._usable = True
        return True

    def _fail(self, operation: _Operation, reason: str) -> Any:
        if operation.draft is None:
            return OutboxUnusableError(reason)
        self._outbox.lose(operation.draft, reason)
        return None

    def _read_stats(self) -> Stats:
        try:
            stats = self._outbox.stats()
        except _DISK_ERRORS:
            lost_chunks, lost_rows = self._outbox.lost
            stats = replace(self.stats, lost_chunks=lost_chunks, lost_rows=lost_rows)
        drafts = self._doubt[1] if self._doubt else []
        stats = replace(stats, doubtful_chunks=len(drafts), doubtful_rows=sum(draft.n for draft in drafts))
        return stats if self._usable else replace(stats, full=UNUSABLE)

    # --- back in the loop ---------------------------------------------------------------------------------------------

    def _tell(self, group: list[_Operation], results: list[Any], stats: Stats) -> None:
        self.stats = stats
        for operation, result in zip(group, results, strict=True):
            if operation.future is None or operation.future.done():
                continue
            if isinstance(result, OutboxUnusableError):
                operation.future.set_exception(result)
            else:
                operation.future.set_result(result)
        self.changed.set()
        self._room.set()

    def _died(self, error: BaseException) -> None:
        """A bug ended the thread: nobody may wait for it, and `watch` stops the agent."""
        self._death.set_exception(error)
        waiting = list(self._working)
        while not self._queue.empty():
            if operation := self._queue.get_nowait():
                waiting.append(operation)
        self._tell(waiting, [self._fail(operation, UNUSABLE) for operation in waiting], self.stats)


def _look_at(future: "asyncio.Future[Any]") -> None:
    """An unusable outbox is logged and counted where it is noticed."""
    future.exception()
