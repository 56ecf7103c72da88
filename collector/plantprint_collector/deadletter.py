"""Looks through what was set aside, and stores it after all once its cause is repaired."""

import time
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy as np
from psycopg import Connection, Rollback
from pydantic import SecretStr

from plantprint.facts import Quality
from plantprint_collector import inbox, rows
from plantprint_collector.config import Settings
from plantprint_collector.connection import connect
from plantprint_collector.inbox import Chunk, Event, Fault, Foreign, Ignored, Item, Message, Unreadable
from plantprint_collector.limits import site_clocks, time_limits
from plantprint_collector.metrics import Metrics
from plantprint_collector.readings import ReadingWriter
from plantprint_collector.writer import Writer

Conn = Connection[tuple[Any, ...]]

_LEFT = "select site || ': ' || reason, count(*) from rejected_reading group by site, reason order by 1"
_PAGE_ROWS = 10_000
_TABLES_MAX = 1_000_000  # nobody waits behind a replay


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """`acknowledged`: its agent has dropped it, this copy is the only one."""

    dead_letter_id: int
    received_at: datetime
    topic: str
    agent: str | None
    epoch: str | None
    seq: int | None
    acknowledged: bool
    reason: str
    payload_bytes: int
    seen: int


@dataclass(frozen=True, slots=True)
class ReplayReport:
    """How much was stored now; `failed` maps the letters that stay to why, `readings_left` counts readings by why they do."""

    letters: int
    readings: int
    failed: dict[int, str]
    readings_left: dict[str, int]

    @property
    def complete(self) -> bool:
        return not self.failed and not self.readings_left


def list_letters(dsn: str, limit: int = 100) -> list[DeadLetter]:
    """The newest first."""
    with _connect(dsn) as conn:
        found = conn.execute(
            "select dead_letter_id, received_at, topic, agent, epoch, seq, acknowledged, reason, octet_length(payload), seen"
            " from dead_letter order by received_at desc, dead_letter_id desc limit %s",
            (limit,),
        ).fetchall()
        return [DeadLetter(*row) for row in found]


def discard(dsn: str, letter_ids: Iterable[int]) -> int:
    """Deletes letters for good; returns how many there were."""
    with _connect(dsn) as conn:
        return conn.execute("delete from dead_letter where dead_letter_id = any(%s)", (list(letter_ids),)).rowcount


def replay(dsn: str) -> ReplayReport:
    """Takes every letter and rejected reading through the present program; what works is stored and taken off the list.

    May run beside the collector and again: facts count once, however often they are stored.
    """
    settings = Settings(database_url=SecretStr(dsn), new_tables_max=_TABLES_MAX)
    with _connect(dsn) as conn:
        writer = Writer(settings, Metrics())
        ids = [row[0] for row in conn.execute("select dead_letter_id from dead_letter order by dead_letter_id")]
        failed = {letter: reason for letter in ids if (reason := _replay_letter(conn, writer, letter))}
        readings = _replay_readings(conn, settings)
        left = conn.execute(_LEFT).fetchall()
        return ReplayReport(len(ids) - len(failed), readings, failed, dict(left))


def _replay_letter(conn: Conn, writer: Writer, letter_id: int) -> str:
    """Why the letter has to stay; empty when it is stored."""
    reason = ""
    with conn.transaction() as transaction:
        found = conn.execute(
            "select topic, payload, acknowledged from dead_letter where dead_letter_id = %s for update", (letter_id,)
        ).fetchone()
        if found is None:
            return ""  # somebody else was faster
        topic, payload, acknowledged = found
        item = inbox.read(Message(topic, payload))
        reason = _unusable(item)
        if not reason:
            # One that was acknowledged is in `received` although its content is not stored.
            for outcome in writer.write(conn, [item], again=acknowledged):
                reason = next((r for _, r in outcome.held), "") or next((kept.reason for kept in outcome.letters), "")
        if reason:
            raise Rollback(transaction)
        conn.execute("delete from dead_letter where dead_letter_id = %s", (letter_id,))
    return reason


def _unusable(item: Item) -> str:
    match item:
        case Unreadable() | Foreign() | Ignored():
            return item.reason or "its topic is nobody's"
        case Chunk(content=Fault(reason)):
            return reason
        case Event(event=None):
            return item.reason
    return ""


def _replay_readings(conn: Conn, settings: Settings) -> int:
    """Stores the rejected readings that are possible now; a page is a transaction."""
    sites = [row[0] for row in conn.execute("select distinct site from rejected_reading")]
    limits = time_limits(site_clocks(conn, sites), settings, time.time_ns() // 1_000_000)
    readings = ReadingWriter(settings.staged_s, settings.day_tables_days)
    stored = 0
    for site, (low, high, _) in limits.items():
        while page := conn.execute(
            "select rejected_id, channel_id, t_ms::bigint, value::bigint, quality::int, revision from rejected_reading"
            " where site = %s and channel_id is not null and t_ms between %s and %s and quality between %s and %s"
            " and value between -9223372036854775808 and 9223372036854775807 order by rejected_id limit %s",
            (site, low, high, int(Quality.MISSING), int(Quality.MEASURED), _PAGE_ROWS),
        ).fetchall():
            table = np.array(page, np.int64)
            readings.ensure_days(conn, rows.days(table[:, 2]))
            with conn.transaction():
                readings.write(conn, [table[:, 1:]])
                conn.execute("delete from rejected_reading where rejected_id = any(%s)", (table[:, 0],))
            stored += len(page)
    return stored


def _connect(dsn: str) -> Conn:
    return connect(dsn, application="plantprint-deadletter", timeout_s=600.0)
