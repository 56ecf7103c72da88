"""The outbox alone: rows a second against SQLite without it, and bytes a reading, which say how long a disk lasts."""

import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import apsw

from plantprint.wire import TABLE_CHANNELS_MAX
from plantprint.wire.chunk import Row, encode_rows
from plantprint_cli.bench.common import Json
from plantprint_edge.config import OutboxLimits
from plantprint_edge.diskfile import PAGE_BYTES
from plantprint_edge.outbox import Outbox
from plantprint_edge.records import Draft

METERS = 1000
ROWS = 100
COMMIT_CHUNKS = 10
DAY_S = 86_400


def rows_of(second: int, n: int, first: int = 0) -> list[Row]:
    """A reading of `n` meters: counters at 3 decimals that grow by some tens of kW, a few milliseconds apart."""
    return [
        (i % TABLE_CHANNELS_MAX, 1_795_000_000_000 + 1000 * second + i % 200, 10**8 * (i % 97 + 3) + second * (7 + i % 13), 3)
        for i in range(first, first + n)
    ]  # fmt: skip


def outbox_rows_per_s(seconds: float) -> float:
    """Drafts in, chunks on disk: sealed, numbered, counted, `COMMIT_CHUNKS` of `ROWS` readings a commit, fully synced."""
    with tempfile.TemporaryDirectory(prefix="plantprint-bench-") as folder:
        outbox = Outbox(_limits(Path(folder)), "s", "gw-1", lambda: 0)
        body, done, until_s = encode_rows(rows_of(0, ROWS)), 0, time.monotonic() + seconds
        while time.monotonic() < until_s:
            with outbox.transaction():
                for _ in range(COMMIT_CHUNKS):
                    outbox.append(Draft("readings", body, ROWS, "t"))
            done += COMMIT_CHUNKS * ROWS
        outbox.close()
        return done / seconds


def sqlite_rows_per_s(seconds: float) -> float:
    """The same bytes into one plain table with the same columns and key, the same commits and settings."""
    with tempfile.TemporaryDirectory(prefix="plantprint-bench-") as folder:
        connection = apsw.Connection(str(Path(folder) / "plain.db"))
        for pragma in (f"page_size = {PAGE_BYTES}", "journal_mode = wal", "synchronous = full"):
            connection.execute(f"pragma {pragma}")
        connection.execute(
            "create table chunk (id integer primary key autoincrement, epoch text not null, seq integer not null,"
            " kind text not null, table_hash text not null, n integer not null, created_ms integer not null,"
            " acked_ms integer, bytes blob not null, unique (epoch, seq))"
        )
        insert = (
            "insert into chunk (epoch, seq, kind, table_hash, n, created_ms, bytes)"
            " values ('e', ?, 'readings', 't', ?, 0, ?)"
        )
        body, seq, until_s = encode_rows(rows_of(0, ROWS)), 0, time.monotonic() + seconds
        while time.monotonic() < until_s:
            connection.execute("begin immediate")
            for _ in range(COMMIT_CHUNKS):
                connection.execute(insert, (seq, ROWS, body))
                seq += 1
            connection.execute("commit")
        connection.close()
        return seq * ROWS / seconds


def bytes_per_reading() -> Json:
    """What the file grows by per reading of `METERS` meters at 1 Hz, as the agent cuts their chunks."""
    return {packing: round(_bytes_per_reading(packing), 1) for packing in ("none", "zstd")}


def _bytes_per_reading(packing: str) -> float:
    seconds = 120
    with tempfile.TemporaryDirectory(prefix="plantprint-bench-") as folder:
        limits = _limits(Path(folder)).model_copy(update={"packing": packing})
        outbox = Outbox(limits, "s", "gw-1", lambda: 0)
        for second in range(seconds):
            with outbox.transaction():
                for draft in _drafts(second):
                    outbox.append(draft)
        used = outbox.stats().used_bytes
        outbox.close()
        return used / (seconds * METERS)


def _drafts(second: int) -> Iterator[Draft]:
    for first in range(0, METERS, TABLE_CHANNELS_MAX):
        rows = rows_of(second, min(TABLE_CHANNELS_MAX, METERS - first), first)
        yield Draft("readings", encode_rows(rows), len(rows), "t")


def days_per_gb(bytes_each: float) -> float:
    """How long `METERS` meters with one reading a second take to fill 1 GB (10^9 bytes)."""
    return 1e9 / (bytes_each * METERS * DAY_S)


def _limits(folder: Path) -> OutboxLimits:
    return OutboxLimits.model_validate({"path": folder / "outbox.db", "size_mb_max": 4096, "ballast_mb": 8})
