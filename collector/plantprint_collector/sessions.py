"""The intake's sessions with the database: a connection each, and what was learnt on it; large batches are shared among them.

One server process spends most of a large transaction on one core, in the key of `reading`. Shares go by agent, so that
no two transactions want the same `received` row, channel or declaration.
"""

import contextlib
from collections.abc import Callable, Sequence
from typing import Any

import psycopg
import structlog
from psycopg import Connection

from plantprint_collector import connection, inbox, store
from plantprint_collector.config import Settings
from plantprint_collector.inbox import Chunk, Item
from plantprint_collector.metrics import Metrics
from plantprint_collector.migrate import MigrationError, recorded_tier
from plantprint_collector.transaction import Outcome
from plantprint_collector.writer import Writer

log = structlog.get_logger("plantprint.collector.sessions")

Conn = Connection[tuple[Any, ...]]

# The database's doing, and no reason to end: it is tried again.
AWAY = (psycopg.Error, MigrationError)
_CANCEL_S = 2.0


class Session:
    """Used by one thread at a time; only `cancel` may come from another."""

    def __init__(self, settings: Settings, metrics: Metrics) -> None:
        self.store_id = ""
        self._settings = settings
        self._writer = Writer(settings, metrics)
        self._conn: Conn | None = None

    def write(self, items: Sequence[Item], before_commit: Callable[[Outcome], None] = lambda _: None) -> list[Outcome]:
        """Commits the items; after one of the errors in `AWAY` nobody knows whether it did: close, and write them again."""
        return self._writer.write(self._opened(), items, before_commit)

    def cancel(self) -> None:
        """Ends the statement that another thread waits for."""
        conn = self._conn
        if conn is not None:
            with contextlib.suppress(psycopg.Error):  # it may have gone meanwhile, which ends the statement too
                conn.cancel_safe(timeout=_CANCEL_S)

    def close(self) -> bool:
        """Whether there was a connection."""
        conn, self._conn = self._conn, None
        if conn is not None:
            conn.close()
        return conn is not None

    def _opened(self) -> Conn:
        if self._conn is None:
            dsn = self._settings.database_url.get_secret_value()
            conn = connection.connect(
                dsn,
                application="plantprint-intake",
                timeout_s=self._settings.database_timeout_s,
                silent_s=self._settings.transaction_silent_s,
            )
            self._conn = conn
            if recorded_tier(conn) == "tsl":
                # Late readings must get into compressed days however many there are.
                conn.execute("set timescaledb.max_tuples_decompressed_per_dml_transaction = 0")
            self.store_id = store.store_id(conn)
            self._writer.forget()
            log.info("database_connected", store_id=self.store_id)
        return self._conn


def shares(items: Sequence[Item], number: int, rows_min: int) -> list[list[Item]]:
    """At most so many parts with about as many readings each, chunks of one agent together; one part below `rows_min`."""
    rows: dict[tuple[str, str], int] = {}
    for item in items:
        if isinstance(item, Chunk):
            rows[_agent(item)] = rows.get(_agent(item), 0) + inbox.row_count(item)
    if number == 1 or len(rows) <= 1 or sum(rows.values()) < rows_min:
        return [list(items)]
    loads = [0] * min(number, len(rows))
    place: dict[tuple[str, str], int] = {}
    for agent in sorted(rows, key=lambda a: -rows[a]):
        place[agent] = loads.index(min(loads))
        loads[place[agent]] += rows[agent]
    parts: list[list[Item]] = [[] for _ in loads]
    for item in items:
        # What is no chunk is small.
        parts[place[_agent(item)] if isinstance(item, Chunk) else 0].append(item)
    return parts


def _agent(chunk: Chunk) -> tuple[str, str]:
    return (chunk.header.site, chunk.header.agent)
