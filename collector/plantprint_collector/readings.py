"""Writes unique readings: COPY straight into `reading`, or through a staging table while facts repeat; marks, latest.

A COPY that meets a stored fact is wasted, and repeats come in runs (a replay, a reconnect), so one violation sends
everything through the staging table for the next `staged_s`.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from psycopg import Connection, errors

from plantprint_collector import rows as r
from plantprint_collector.rows import Array

Conn = Connection[tuple[Any, ...]]

_MS = "timestamptz 'epoch' + {0} * interval '1 ms'"
_TO_MS = "(extract(epoch from {0}) * 1000)::bigint"

_STAGE = (
    "create temp table if not exists stage_reading (measured_at timestamptz not null, value bigint not null,"
    " channel_id integer not null, quality smallint not null, revision smallint not null) on commit delete rows"
)
# `offset 0` keeps it a look-up per staged row: any join plan would read whole days of `reading`.
_CONFLICTS = f"""
insert into reading_conflict (channel_id, measured_at, kept, refused)
select s.channel_id, s.measured_at, case when s.wins then s.value else s.stored end,
       case when s.wins then s.stored else s.value end
from (select n.*, o.value as stored, (n.quality, n.value) > (o.quality, o.value) as wins
      from stage_reading n cross join lateral (
          select value, quality, revision from reading
          where channel_id = n.channel_id and measured_at = n.measured_at
            and measured_at between {_MS.format("%(low)s::bigint")} and {_MS.format("%(high)s::bigint")} offset 0) o
      where o.value <> n.value and o.revision = n.revision) s
order by 1, 2
on conflict (channel_id, measured_at, kept, refused) do update set seen = reading_conflict.seen + 1
"""
_MERGE = f"""
with changed as (
    insert into reading as o ({r.COPY_COLUMNS}) select {r.COPY_COLUMNS} from stage_reading order by channel_id, measured_at
    on conflict (channel_id, measured_at) do update
    set value = excluded.value, quality = excluded.quality, revision = excluded.revision
    where (excluded.revision, excluded.quality, excluded.value) > (o.revision, o.quality, o.value)
    returning channel_id, measured_at)
select channel_id, {_TO_MS.format("min(measured_at)")}, {_TO_MS.format("max(measured_at)")}, count(*)
from changed group by channel_id, date_bin('1 hour', measured_at, 'epoch') order by 1, 2
"""
_BATCH_CONFLICTS = f"""
insert into reading_conflict (channel_id, measured_at, kept, refused)
select channel_id, {_MS.format("t")}, kept, refused from unnest(%s, %s, %s, %s) as c(channel_id, t, kept, refused)
order by 1, 2 on conflict (channel_id, measured_at, kept, refused) do update set seen = reading_conflict.seen + 1
"""
_DIRTY = f"""
insert into dirty (site, channel_id, from_at, to_at, cause)
select c.site, m.channel_id, {_MS.format("m.low")}, {_MS.format("m.high")}, 'reading'
from unnest(%s, %s, %s) as m(channel_id, low, high) join channel c using (channel_id)
"""
_LATEST = f"""
insert into latest as o (channel_id, measured_at, value, quality, revision, received_at)
select channel_id, {_MS.format("t")}, value, quality, revision, now()
from unnest(%s, %s, %s, %s, %s) as n(channel_id, t, value, quality, revision) order by channel_id
on conflict (channel_id) do update
set measured_at = excluded.measured_at, value = excluded.value, quality = excluded.quality,
    revision = excluded.revision, received_at = excluded.received_at
where (excluded.measured_at, excluded.revision, excluded.quality, excluded.value)
      > (o.measured_at, o.revision, o.quality, o.value)
"""


@dataclass(frozen=True, slots=True)
class Written:
    """How many readings there were, how many changed nothing, how many contradicted, and the way they took."""

    rows: int
    repeated: int
    conflicts: int
    staged: bool


class ReadingWriter:
    """Remembers which days exist and until when to stage; one per database connection's owner."""

    def __init__(self, staged_s: float, now_s: Callable[[], float] = time.monotonic) -> None:
        self._staged_s = staged_s
        self._now_s = now_s
        self._staged_until_s = -1.0
        self._days: set[int] = set()

    def forget(self) -> None:
        """After a failure, a restore or a retention run the remembered days prove nothing."""
        self._days.clear()

    def ensure_days(self, conn: Conn, days: set[int]) -> None:
        """Makes room for readings of these days (since 1970), outside of a transaction: each its own, few locks held."""
        for day in sorted(days - self._days):
            at = _MS.format("%(ms)s::bigint")
            conn.execute(f"select pp_ensure('reading', {at}, {at})", {"ms": day * r.DAY_MS})
            self._days.add(day)

    def write(self, conn: Conn, parts: list[Array]) -> Written:
        """In the caller's transaction: readings, conflicts, dirty marks and `latest` of (n, 5) arrays."""
        unique = r.unique(parts)
        if not len(unique.rows):
            return Written(0, 0, 0, staged=False)
        staged = self._now_s() < self._staged_until_s or not self._copy(conn, unique.rows)
        marks, changed, conflicts = r.marks(unique.rows), len(unique.rows), 0
        if staged:
            marks, changed, conflicts = self._merge(conn, unique.rows)
        if len(unique.conflicts):
            conn.execute(_BATCH_CONFLICTS, list(unique.conflicts.T))
        if len(marks):
            conn.execute(_DIRTY, list(marks.T))
            conn.execute(_LATEST, list(r.newest(unique.rows).T))
        repeated = unique.repeated + len(unique.rows) - changed
        return Written(len(unique.rows) + unique.repeated, repeated, conflicts + len(unique.conflicts), staged)

    def _copy(self, conn: Conn, rows: Array) -> bool:
        try:
            with conn.transaction():
                _copy_into(conn, "reading", rows)
        except errors.UniqueViolation:
            self._staged_until_s = self._now_s() + self._staged_s
            return False
        return True

    def _merge(self, conn: Conn, rows: Array) -> tuple[Array, int, int]:
        """(marks of what changed, how many rows changed, how many contradicted)."""
        conn.execute(_STAGE)
        conn.execute("delete from stage_reading")  # one transaction may stage twice
        _copy_into(conn, "stage_reading", rows)
        low, high = int(rows[:, r.T].min()), int(rows[:, r.T].max())
        conflicts = conn.execute(_CONFLICTS, {"low": low, "high": high}).rowcount
        changed = conn.execute(_MERGE).fetchall()
        table = np.array(changed, np.int64).reshape(-1, 4)
        return table[:, :3], int(table[:, 3].sum()), conflicts


def _copy_into(conn: Conn, table: str, rows: Array) -> None:
    with conn.cursor() as cursor, cursor.copy(f"copy {table} ({r.COPY_COLUMNS}) from stdin (format binary)") as copy:
        copy.write(r.copy_bytes(rows))
