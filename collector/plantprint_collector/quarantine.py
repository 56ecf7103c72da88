"""Room in the two tables of refused input: at their cap nothing more is put in, so its agent has to keep it."""

import hashlib
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from psycopg import Connection

from plantprint_collector.config import Settings
from plantprint_collector.metrics import Metrics

Conn = Connection[tuple[Any, ...]]
Name = Literal["dead_letter", "rejected_reading"]

_USED: dict[Name, str] = {
    "dead_letter": "select coalesce(sum(octet_length(payload)), 0) from dead_letter",
    "rejected_reading": "select count(*) from rejected_reading",
}


@dataclass(frozen=True, slots=True)
class Letter:
    """A refused message with its bytes; `acknowledged`: its agent counts it as delivered and has dropped it."""

    topic: str
    payload: bytes
    reason: str
    acknowledged: bool
    agent: str | None = None
    epoch: str | None = None
    seq: int | None = None


@dataclass(frozen=True, slots=True)
class Rejected:
    """A reading that cannot be stored, exactly as sent; `channel` is `#index` where the table has no such channel."""

    site: str
    agent: str
    epoch: str
    seq: int
    channel: str
    channel_id: int | None
    t_ms: int
    value: int
    quality: int
    revision: int
    reason: str


class Quarantine:
    """Looks up the tables' sizes every `quarantine_check_s` and adds its own since.

    With several collectors on one database the caps are exceeded by at most what the others add within that time.
    """

    def __init__(self, settings: Settings, metrics: Metrics, now_s: Callable[[], float] = time.monotonic) -> None:
        self._caps: dict[Name, float] = {
            "dead_letter": settings.dead_letter_mb_max * 1e6,
            "rejected_reading": settings.rejected_rows_max,
        }
        self._check_s = settings.quarantine_check_s
        self._metrics = metrics
        self._now_s = now_s
        self._used: dict[Name, float] = {}
        self._looked_at_s: dict[Name, float] = {}
        self._taken: dict[Name, int] = {}

    def take(self, conn: Conn, name: Name, amount: int) -> bool:
        """Reserves bytes (dead_letter) or rows (rejected_reading) for this transaction; False at the cap."""
        now_s = self._now_s()
        if now_s - self._looked_at_s.get(name, -self._check_s) >= self._check_s:
            row = conn.execute(_USED[name]).fetchone()
            assert row is not None
            self._used[name], self._looked_at_s[name] = float(row[0]), now_s
        taken = self._taken.get(name, 0) + amount
        fits = self._used[name] + taken <= self._caps[name]
        self._metrics.quarantine_full.labels(name).set(not fits)
        if fits:
            self._taken[name] = taken
        return fits

    def committed(self) -> None:
        """What was reserved is in the tables now."""
        for name, taken in self._taken.items():
            self._used[name] += taken
        self._taken.clear()

    def forget(self) -> None:
        """After a failed transaction: what was reserved is not there."""
        self._taken.clear()
        self._looked_at_s.clear()


def insert_letters(conn: Conn, letters: Sequence[Letter]) -> None:
    """Bytes that came before for the same reason are counted, not kept twice."""
    for letter in letters:
        conn.execute(
            "insert into dead_letter (topic, agent, epoch, seq, acknowledged, reason, payload, content_hash)"
            " values (%s, %s, %s, %s, %s, %s, %s, %s) on conflict (topic, content_hash, reason)"
            " do update set seen = dead_letter.seen + 1, received_at = now(),"
            " acknowledged = dead_letter.acknowledged or excluded.acknowledged",
            (letter.topic, letter.agent, letter.epoch, letter.seq, letter.acknowledged, letter.reason,
             letter.payload, hashlib.sha256(letter.payload).hexdigest()),
        )  # fmt: skip


def insert_rejected(conn: Conn, rows: Sequence[Rejected]) -> None:
    with conn.cursor() as cursor:
        cursor.executemany(
            "insert into rejected_reading"
            " (site, agent, epoch, seq, channel, channel_id, t_ms, value, quality, revision, reason)"
            " values (%s, %s, %s, %s, coalesce((select name from channel where channel_id = %s), %s),"
            " %s, %s, %s, %s, %s, %s)",
            [(r.site, r.agent, r.epoch, r.seq, r.channel_id, r.channel, r.channel_id,
              r.t_ms, r.value, r.quality, r.revision, r.reason) for r in rows],
        )  # fmt: skip
