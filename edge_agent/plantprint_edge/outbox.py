"""The durable queue of an agent: chunks in their final bytes, stored before they are published, kept until acked.

When file or disk is full, what cannot be stored is counted, and a `gap` chunk says so as soon as there is room. A
damaged file is set aside and reported. This module knows no thread and no event loop; `committer` drives it.
"""

import json
import secrets
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager

import msgspec
import structlog
from msgspec.structs import replace

from plantprint.times import format_instant
from plantprint.wire.chunk import CHUNK_DAMAGED, OUTBOX_DAMAGED, Gap, encode_gap, seal, table_hash
from plantprint_edge.config import OutboxLimits
from plantprint_edge.diskfile import MB, PAGE_BYTES, DamagedError, DiskFile
from plantprint_edge.outbox_sql import ACKNOWLEDGE, PURGEABLE, SCHEMA, STORE, STORED
from plantprint_edge.records import Draft, Stats, Stored, add_loss, loss

log = structlog.get_logger(__name__)

PURGE_ROWS = 256
DISK_FULL = "disk full"


class _Memory(msgspec.Struct):
    """What is known beside the file, and must fall back with it when a transaction is undone."""

    seq: int = 0
    newest_id: int = 0
    unacked: int = 0
    lost_chunks: int = 0
    lost_rows: int = 0
    gap_chunks: int = 0
    # Pages in use, as far as is known: what is stored is added, and the file is asked when they seem too many.
    pages: int = 0
    # Losses that a gap chunk still has to report: as the file knows them, and those the file could not take.
    pending: dict[str, Gap] = msgspec.field(default_factory=dict)
    unsaved: dict[str, Gap] = msgspec.field(default_factory=dict)


class Outbox:
    """The queue. All methods that touch chunks are called inside `transaction`; apsw's errors pass through."""

    def __init__(self, limits: OutboxLimits, site: str, agent: str, now_ms: Callable[[], int]) -> None:
        """Open or create the file at `limits.path`; raises `OutboxLockedError`, and apsw's and OS errors."""
        self._limits = limits
        self._site = site
        self._agent = agent
        self._now_ms = now_ms
        self._pages_max = limits.size_mb_max * MB // PAGE_BYTES
        self._pages_hard = self._pages_max + limits.reserve_mb * MB // PAGE_BYTES
        self._file = DiskFile(limits.path, SCHEMA, self._pages_hard, limits.ballast_mb * MB)
        self._tables: dict[str, tuple[bytes, int]] = {}
        self._memory = _Memory()
        self._generation = 0
        self._full = ""
        self._others: dict[str, int] = {}
        self.epoch = secrets.token_hex(8)
        try:
            self._file.open(limits.check_mb_max * MB)
            self._recall()
        except DamagedError as error:
            self.replace(str(error))
        if not self._file.fill_ballast():
            self._mark_full(DISK_FULL)

    # --- life of the file ---------------------------------------------------------------------------------------------

    def _recall(self) -> None:
        memory, value = self._memory, self._file.value
        memory.seq = value("select coalesce(max(seq) + 1, 0) from chunk where epoch = ?", (self.epoch,))
        memory.newest_id = value("select seq from sqlite_sequence where name = 'chunk'") or 0
        memory.unacked = value("select count(*) from chunk where acked_ms is null")
        memory.pages = self._file.used_pages()
        losses = self._file.rows("select reason, from_ms, to_ms, lost_chunks, lost_rows from loss")
        memory.pending = {row[0]: loss(*row) for row in losses}

    def reopen(self) -> None:
        """Close and open again after an I/O error and force the log to the disk; raises when that fails too.

        Repeating the failed fsync would prove nothing: the kernel may have dropped the page and call it clean.
        """
        self._file.close()
        try:
            self._file.open(create=False)
            self._file.checkpoint()
            self._recall()
        except DamagedError as error:
            self.replace(str(error))

    def replace(self, why: str) -> None:
        """Set a damaged file aside and go on with a new one under a new epoch, with the current channel tables."""
        now_ms = self._now_ms()
        aside = self._file.set_aside(format_instant(now_ms).replace(":", ""))
        log.error(
            "outbox_damaged",
            set_aside=str(aside),
            reason=why,
            remedy="keep the file: undelivered readings may be salvaged from it; check the disk",
        )
        undelivered = self._memory.unacked
        self._others[self.epoch] = self._memory.seq - 1
        self._memory = replace(self._memory, seq=0, newest_id=0, unacked=0, pages=0)
        self._generation += 1
        self.epoch = secrets.token_hex(8)
        self._file.open()
        with self.transaction():
            for body, n in self._tables.values():
                self.declare(body, n)
            self._record(loss(f"{OUTBOX_DAMAGED}, set aside as {aside.name}", now_ms, now_ms, undelivered, 0))
        self._count(undelivered, 0)

    def close(self) -> None:
        """Move the log into the file and close."""
        try:
            self._file.checkpoint()
        finally:
            self._file.close()

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """All or nothing, in the file and in what is remembered beside it."""
        before = replace(self._memory, pending=dict(self._memory.pending), unsaved=dict(self._memory.unsaved))
        try:
            with self._file.transaction():
                yield
        except BaseException:
            self._memory = before
            raise

    # --- storing ------------------------------------------------------------------------------------------------------

    @property
    def seq(self) -> int:
        """The number that the next chunk gets."""
        return self._memory.seq

    @property
    def lost(self) -> tuple[int, int]:
        """Chunks and rows lost since the start, also while the file cannot be read."""
        return self._memory.lost_chunks, self._memory.lost_rows

    @property
    def unreported(self) -> Collection[Gap]:
        """Losses that no gap chunk has reported, and that the file has not taken either: a stop forgets them."""
        return self._memory.unsaved.values()

    def holds(self, epoch: str, seq: int) -> bool:
        return bool(self._file.value("select exists (select 1 from chunk where epoch = ? and seq = ?)", (epoch, seq)))

    def is_copied(self, received: Mapping[str, Sequence[tuple[int, int]]]) -> bool:
        """Whether the store has come to hold chunks that were not made here: a copy of this outbox is in use.

        What it holds when it is first heard is no sign: this may be the copy, put back from a backup.
        """
        copied = False
        for epoch, ranges in received.items():
            newest = max((high for _, high in ranges), default=-1)
            if epoch not in self._others:
                held = self._file.value("select max(seq) from chunk where epoch = ?", (epoch,))
                self._others[epoch] = max(newest, -1 if held is None else held)
            known = self._memory.seq - 1 if epoch == self.epoch else self._others[epoch]
            copied |= newest > known
            self._others[epoch] = max(newest, self._others[epoch])
        return copied

    def append(self, draft: Draft) -> int | None:
        """Store a chunk and return its id; None when there is no room, and the loss was counted."""
        if not self._make_room(len(draft.body)):
            self._record(loss(self._full, draft.from_ms, draft.to_ms, 1, draft.n))
            self._count(1, draft.n)
            return None
        if self._memory.pending or self._memory.unsaved:
            self._write_gaps()
        return self._insert(draft)

    def report_losses(self) -> None:
        """Write what gap records are due, if there is room: also where no reading follows that would bring them along."""
        memory = self._memory
        if (memory.pending or memory.unsaved) and self._make_room(0):
            self._write_gaps()

    def declare(self, body: bytes, n: int) -> None:
        """Store a channel table as a current one, using the reserve; where even that is full, a stored copy serves."""
        name = table_hash(body)
        self._tables[name] = (body, n)
        copy = "select exists (select 1 from chunk where table_hash = ? and kind = 'declare')"
        if self._fits(len(body), self._pages_hard) or not self._file.value(copy, (name,)):
            self._insert(Draft("declare", body, n, table=name))

    def keep_tables(self, names: Collection[str]) -> None:
        """Only these channel tables are current from now on; others stay as long as a stored chunk refers to them."""
        self._tables = {name: table for name, table in self._tables.items() if name in names}

    def _insert(self, draft: Draft) -> int:
        memory = self._memory
        _, payload = seal(
            self._site, self._agent, self.epoch, memory.seq, draft.kind, draft.body, draft.n,
            table=draft.table, revision=draft.revision, packed=self._limits.packing == "zstd",
        )  # fmt: skip
        memory.newest_id += 1
        chunk = (memory.newest_id, self.epoch, memory.seq, draft.kind, draft.table, draft.n, self._now_ms())
        self._file.run(STORE, (*chunk, memory.newest_id, payload))
        memory.seq += 1
        memory.unacked += 1
        memory.pages += _pages(len(payload))
        return memory.newest_id

    # --- room and loss ------------------------------------------------------------------------------------------------

    def _fits(self, size: int, pages_max: int) -> bool:
        memory, pages = self._memory, _pages(size)
        if memory.pages + pages > pages_max:
            memory.pages = self._file.used_pages()
        return memory.pages + pages <= pages_max

    def _make_room(self, size: int) -> bool:
        """Whether `size` bytes fit, after deleting delivered chunks, oldest first, as far as needed.

        Once full it stays so until a twentieth is free, so that not every regained page ends in its own gap record.
        """
        if self._full == DISK_FULL:
            return False
        wanted = size + (self._pages_max // 20 * PAGE_BYTES if self._full else 0)
        while not self._fits(wanted, self._pages_max):
            if not self.purge(2**62):
                self._mark_full(f"outbox full ({self._limits.size_mb_max} MB)")
                return False
        if self._full:
            self._full = ""
            log.info("outbox_has_room", gaps=len(self._memory.pending))
        return True

    def _mark_full(self, reason: str) -> None:
        if self._full != reason:
            log.error(
                "outbox_full",
                reason=reason,
                undelivered_chunks=self._memory.unacked,
                remedy="readings are lost: restore the way to the collector, free the disk or raise outbox.size_mb_max",
            )
        self._full = reason

    def disk_full(self) -> None:
        """Give up the ballast, so that deleting and the record of loss find room; readings are lost from now on.

        Called outside a transaction. Raises apsw's errors when even that is not enough.
        """
        self._file.drop_ballast()
        self._mark_full(DISK_FULL)
        # What the log holds may still have to grow the file; once that is done, the log's own space is used again.
        self._file.checkpoint()

    def try_recover(self) -> None:
        """Take readings again once a full disk has room to last, delivered chunks given up for it.

        A full outbox looks with every chunk.
        """
        if self._full != DISK_FULL:
            return
        self.purge(2**62)
        if self._file.has_room() and self._file.fill_ballast():
            self._full = ""
            log.info("outbox_has_room", gaps=len(self._memory.pending))

    def lose(self, draft: Draft, reason: str) -> None:
        """Count a chunk that cannot be stored, in memory only: the file cannot be written."""
        add_loss(self._memory.unsaved, loss(reason, draft.from_ms, draft.to_ms, 1, draft.n))
        self._count(1, draft.n)

    def _record(self, new: Gap) -> None:
        gap = add_loss(self._memory.pending, new)
        self._file.run(
            "insert or replace into loss (reason, from_ms, to_ms, lost_chunks, lost_rows) values (?, ?, ?, ?, ?)",
            (gap.reason, gap.from_ms, gap.to_ms, gap.lost_chunks, gap.lost_rows),
        )

    def _count(self, chunks: int, rows: int) -> None:
        self._memory.lost_chunks += chunks
        self._memory.lost_rows += rows

    def _write_gaps(self) -> None:
        for gap in self._memory.unsaved.values():
            self._record(gap)
        self._memory.unsaved.clear()
        for gap in list(self._memory.pending.values()):
            self._insert(Draft("gap", encode_gap(gap), 1))
            self._file.run("delete from loss where reason = ?", (gap.reason,))
            del self._memory.pending[gap.reason]
            self._memory.gap_chunks += 1

    # --- reading and forgetting ---------------------------------------------------------------------------------------

    def next_unacked(self, after: int, upto: int, limit: int) -> list[Stored]:
        """At most `limit` undelivered chunks with after < id <= upto, in order of storing."""
        sql = f"{STORED} where acked_ms is null and id > ? and id <= ? order by id limit ?"
        return [Stored(*row) for row in self._file.rows(sql, (after, upto, limit))]

    def declares(self) -> list[Stored]:
        """The newest copy of every channel table; one that nothing undelivered needs is sent in vain, and soon deleted."""
        newest = "(select max(id) from chunk where kind = 'declare' group by table_hash)"
        return [Stored(*row) for row in self._file.rows(f"{STORED} where id in {newest} order by id")]

    def acknowledge(self, received: Mapping[str, Sequence[tuple[int, int]]], at_ms: int) -> int:
        """Mark what a store holds as delivered; returns how many chunks newly were. Foreign epochs match nothing."""
        marked = sum(
            self._file.run(ACKNOWLEDGE, (at_ms, epoch, low, high))
            for epoch, ranges in received.items()
            for low, high in ranges
        )
        self._memory.unacked -= marked
        return marked

    def store_changed(self, store: str) -> bool:
        """Remember the collector's store; when it is not the one of before, all that is kept counts as undelivered."""
        known = self._file.value("select value from meta where key = 'store'")
        if known == store:
            return False
        self._file.run("insert or replace into meta values ('store', ?)", (store,))
        if known is None:
            return False
        self._memory.unacked += self._file.run("update chunk set acked_ms = null where acked_ms is not null")
        return True

    def discard(self, chunk: Stored) -> None:
        """Delete a chunk whose bytes were damaged on the disk, and count it as lost."""
        self.forget(chunk.epoch, chunk.seq)
        now_ms = self._now_ms()
        self._record(loss(CHUNK_DAMAGED, now_ms, now_ms, 1, chunk.n))
        self._count(1, chunk.n)

    def forget(self, epoch: str, seq: int) -> None:
        """Delete an undelivered chunk: because it is damaged, or in the delivery test's counter-example."""
        undelivered = "select id from chunk where epoch = ? and seq = ? and acked_ms is null"
        self._memory.unacked -= self._delete([row[0] for row in self._file.rows(undelivered, (epoch, seq))])

    def purge(self, before_ms: int) -> int:
        """Delete at most a few hundred chunks delivered before `before_ms`, oldest first; returns how many."""
        purgeable = self._file.rows(PURGEABLE, (before_ms, json.dumps(list(self._tables)), PURGE_ROWS))
        return self._delete([row[0] for row in purgeable])

    def _delete(self, ids: list[int]) -> int:
        for table in ("payload", "chunk"):
            self._file.run(f"delete from {table} where id in (select value from json_each(?))", (json.dumps(ids),))
        return len(ids)

    def stats(self) -> Stats:
        memory = self._memory
        memory.pages = self._file.used_pages()
        return Stats(
            epoch=self.epoch,
            generation=self._generation,
            newest_id=memory.newest_id,
            unacked_chunks=memory.unacked,
            oldest_ms=self._file.value("select created_ms from chunk where acked_ms is null order by id limit 1"),
            used_bytes=memory.pages * PAGE_BYTES,
            full=self._full,
            lost_chunks=memory.lost_chunks,
            lost_rows=memory.lost_rows,
            gap_chunks=memory.gap_chunks,
        )


def _pages(size: int) -> int:
    """How many pages a chunk of this size may take, its entries in the indexes included."""
    return size // PAGE_BYTES + 4
