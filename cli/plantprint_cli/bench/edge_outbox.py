"""The outbox alone: rows a second against SQLite without it, and bytes a reading, which say how long a disk lasts."""

import secrets
import tempfile
import time
from collections.abc import Generator, Iterator
from pathlib import Path

import apsw

from plantprint.wire import TABLE_CHANNELS_MAX
from plantprint.wire.chunk import Row, encode_rows, seal
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


def rows_per_s(seconds: float) -> tuple[float, float]:
    """Of the outbox and of SQLite, which commit in turns, so that both meet the same disk and the same company.

    A commit is `COMMIT_CHUNKS` of `ROWS` readings, fully synced. The outbox takes drafts: seals, numbers and counts them.
    """
    with tempfile.TemporaryDirectory(prefix="plantprint-bench-") as folder:
        commits = (_outbox_commits(Path(folder)), _sqlite_commits(Path(folder)))
        done, spent_s = [0, 0], [0.0, 0.0]
        for commit in commits:
            next(commit)
        while sum(spent_s) < 2 * seconds:
            for side, commit in enumerate(commits):
                started_s = time.perf_counter()
                next(commit)
                spent_s[side] += time.perf_counter() - started_s
                done[side] += COMMIT_CHUNKS * ROWS
        for commit in commits:
            commit.close()
        return done[0] / spent_s[0], done[1] / spent_s[1]


def _outbox_commits(folder: Path) -> Generator[None, None, None]:
    outbox = Outbox(_limits(folder), "s", "gw-1", lambda: 0)
    body = encode_rows(rows_of(0, ROWS))
    try:
        while True:
            with outbox.transaction():
                for _ in range(COMMIT_CHUNKS):
                    outbox.append(Draft("readings", body, ROWS, "t"))
            yield
    finally:
        outbox.close()


def _sqlite_commits(folder: Path) -> Generator[None, None, None]:
    """Chunks of the same size into one plain table with the same columns and key, with the same settings."""
    connection = apsw.Connection(str(folder / "plain.db"))
    for pragma in (f"page_size = {PAGE_BYTES}", "journal_mode = wal", "synchronous = full"):
        connection.execute(f"pragma {pragma}")
    connection.execute(
        "create table chunk (id integer primary key autoincrement, epoch text not null, seq integer not null,"
        " kind text not null, table_hash text not null, n integer not null, created_ms integer not null,"
        " acked_ms integer, bytes blob not null, unique (epoch, seq))"
    )
    insert = "insert into chunk (epoch, seq, kind, table_hash, n, created_ms, bytes) values (?, ?, ?, ?, ?, ?, ?)"
    epoch = secrets.token_hex(8)
    _, payload = seal("s", "gw-1", epoch, 0, "readings", encode_rows(rows_of(0, ROWS)), ROWS, table="t")
    seq = 0
    try:
        while True:
            connection.execute("begin immediate")
            for _ in range(COMMIT_CHUNKS):
                connection.execute(insert, (epoch, seq, "readings", "t", ROWS, 0, payload))
                seq += 1
            connection.execute("commit")
            yield
    finally:
        connection.close()


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
