"""Writes batches of received items, each batch in one transaction, and survives what senders put into them.

A chunk whose content the database refuses (a zero byte in a text, say) must not block the others: after a data error
the batch is written item by item, and what fails alone is dead-lettered like a bad body.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import psycopg
from psycopg import Connection, errors

from plantprint.wire.chunk import Gap
from plantprint_collector import inbox, rows
from plantprint_collector.channels import ChannelTables
from plantprint_collector.config import Settings
from plantprint_collector.inbox import Chunk, Event, Fault, Foreign, Item, Rows, State
from plantprint_collector.limits import Clocks, Limits, site_clocks, time_limits, wall_age_s
from plantprint_collector.metrics import Metrics
from plantprint_collector.quarantine import Quarantine
from plantprint_collector.readings import ReadingWriter
from plantprint_collector.transaction import Outcome, Transaction, fresh, lock_received

Conn = Connection[tuple[Any, ...]]

# What a sender's content can cause; everything else that fails is the server's state, and tried again later.
CONTENT_ERRORS = (psycopg.DataError, psycopg.IntegrityError, errors.ProgramLimitExceeded, UnicodeError, OverflowError)
TRANSIENT_ERRORS = (errors.DeadlockDetected, errors.SerializationFailure)
_ATTEMPTS_MAX = 5


def _wall_ms() -> int:
    return time.time_ns() // 1_000_000


def _nothing(_: Outcome) -> None: ...


class Writer:
    """Writes on a connection that its owner gives; `forget` whenever that is a new one."""

    def __init__(self, settings: Settings, metrics: Metrics, wall_ms: Callable[[], int] = _wall_ms) -> None:
        self._settings = settings
        self._metrics = metrics
        self._wall_ms = wall_ms
        self._tables = ChannelTables()
        self._readings = ReadingWriter(settings.staged_s, settings.day_tables_days)
        self._quarantine = Quarantine(settings, metrics)

    def forget(self) -> None:
        """Drops what was learnt from the database: behind another connection it may be another."""
        self._tables.forget()
        self._readings.forget()
        self._quarantine.forget()

    def write(
        self,
        conn: Conn,
        items: Sequence[Item],
        before_commit: Callable[[Outcome], None] = _nothing,
        *,
        again: bool = False,
    ) -> list[Outcome]:
        """Commits all items, usually in one transaction; raises psycopg's errors when the database cannot.

        `before_commit` is a test's way to break the promise. `again` stores chunks although they were received.
        """
        try:
            return [self._attempts(conn, items, before_commit, again=again)]
        except CONTENT_ERRORS as error:
            if len(items) == 1:
                return [self._attempts(conn, [_refused(items[0], error)], before_commit, again=again)]
        return [outcome for item in items for outcome in self.write(conn, [item], before_commit, again=again)]

    def _attempts(
        self, conn: Conn, items: Sequence[Item], before_commit: Callable[[Outcome], None], *, again: bool
    ) -> Outcome:
        for attempt in range(_ATTEMPTS_MAX):
            started_s = time.perf_counter()
            try:
                clocks, outcome = self._once(conn, items, before_commit, again=again)
            except (psycopg.Error, *CONTENT_ERRORS) as error:
                self.forget()
                self._metrics.transactions.labels("failed").inc()
                # A day's partition that retention has dropped since fails like bad content, until it is made anew.
                attempts_max = _ATTEMPTS_MAX if isinstance(error, TRANSIENT_ERRORS) else 2
                if attempt + 1 >= attempts_max or conn.broken:
                    raise
            else:
                self._metrics.commit_seconds.observe(time.perf_counter() - started_s)
                self._count(outcome)
                self._count_latency(outcome, clocks)
                return outcome
        raise AssertionError("the last attempt returns or raises")

    def _once(
        self, conn: Conn, items: Sequence[Item], before_commit: Callable[[Outcome], None], *, again: bool
    ) -> tuple[Clocks, Outcome]:
        chunks = [item for item in items if isinstance(item, Chunk)]
        sites = {site for item in items if (site := _site_of(item))}
        clocks = site_clocks(conn, sites)
        limits = time_limits(clocks, self._settings, self._wall_ms())
        # What needs much more room than there is must not keep others waiting: it is held, and sent again.
        no_room = self._readings.ensure_days(conn, _days(chunks, limits), self._settings.new_tables_max)
        transaction = Transaction(conn, clocks, limits, self._tables, self._quarantine, no_room)
        outcome = transaction.outcome
        with conn.transaction():
            ranges = lock_received(conn, {c.epoch_key for c in chunks})
            new = fresh(chunks, {} if again else ranges)
            outcome.repeated_chunks = len(chunks) - len(new)
            transaction.store_chunks(new)
            transaction.store_others([item for item in items if not isinstance(item, Chunk)])
            transaction.finish(self._readings, ranges, chunks)
            before_commit(outcome)
        self._tables.keep(transaction.declared)
        self._quarantine.committed()
        return clocks, outcome

    def _count(self, outcome: Outcome) -> None:
        metrics, written = self._metrics, outcome.written
        metrics.transactions.labels("committed").inc()
        metrics.rows.inc(written.rows)
        metrics.repeated_rows.inc(written.repeated)
        metrics.conflicts.inc(written.conflicts)
        metrics.staged.inc(written.staged)
        metrics.repeated_chunks.inc(outcome.repeated_chunks)
        for chunk in outcome.stored:
            metrics.chunks.labels(chunk.header.kind).inc()
            if isinstance(chunk.content, Gap):
                metrics.gaps.inc(chunk.content.lost_rows)
        for rejected in outcome.rejected:
            metrics.rejected_rows.labels(rejected.reason).inc()
        for letter in outcome.letters:
            metrics.dead_letters.labels("yes" if letter.acknowledged else "no").inc()
        for _, reason in outcome.held:
            metrics.held_chunks.labels(reason).inc()
        for status in outcome.event_statuses:
            metrics.events.labels(status).inc()

    def _count_latency(self, outcome: Outcome, clocks: Clocks) -> None:
        """Wall time from the newest reading of each stored chunk to now, after its commit; impossible ones tell nothing."""
        wall_ms = self._wall_ms()
        limits = time_limits(clocks, self._settings, wall_ms)
        for chunk in outcome.stored:
            if isinstance(chunk.content, Rows) and len(chunk.content.array):
                newest_ms = int(chunk.content.array[:, 1].max())
                low, high, _ = limits[chunk.header.site]
                age_s = wall_age_s(clocks.of[chunk.header.site], wall_ms, newest_ms)
                if age_s is not None and low <= newest_ms <= high:
                    self._metrics.chunk_latency.labels(chunk.topic.rpartition("/")[2]).observe(age_s)


def _site_of(item: Item) -> str:
    match item:
        case Chunk():
            return item.header.site
        case State() | Event() | Foreign():
            return item.site
    return ""


def _refused(item: Item, error: Exception) -> Item:
    """The item as one whose content is bad; the error goes on record with it."""
    reason = f"the database refuses it: {(str(error).splitlines() or [type(error).__name__])[0]}"
    match item:
        case Chunk():
            return replace(item, content=Fault(reason))
        case Event():
            return replace(item, event=None, reason=reason)
    return inbox.Ignored(reason)


def _days(chunks: Sequence[Chunk], limits: Limits) -> set[int]:
    """Days since 1970 of the possible readings; nearly every chunk lies in one, which is told without sorting."""
    found: set[int] = set()
    for chunk in chunks:
        if isinstance(chunk.content, Rows) and len(chunk.content.array):
            low, high, _ = limits[chunk.header.site]
            t = chunk.content.array[:, 1]
            first, last = int(t.min()), int(t.max())
            if low <= first and last <= high and first // rows.DAY_MS == last // rows.DAY_MS:
                found.add(first // rows.DAY_MS)
            else:
                found |= rows.days(t[(t >= low) & (t <= high)])
    return found
