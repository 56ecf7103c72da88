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

_DAY = "timestamptz 'epoch' + {0} * interval '24 hours'"
_MISSING = f"""
select extract(epoch from at)::bigint / 86400
from pp_missing('reading', (select array_agg({_DAY.format("day")}) from unnest(%s::bigint[]) as day)) as at order by at desc
"""
_MAKE_ROOM = f"""
select pp_make_room('reading', {_DAY.format("%(day)s::bigint")},
                    coalesce(now() - %(days)s::int * interval '1 day', '-infinity'))
"""
_STAGE = (
    "create temp table if not exists stage_reading (measured_at timestamptz not null, value bigint not null,"
    " channel_id integer not null, quality smallint not null, revision smallint not null) on commit delete rows"
)
# Takes what would change nothing off the stage: only the rest is worth the insert, which takes whole batches out of columns
# where there are any. They are looked up by channel and ten minutes, so that columns are opened once for many; `offset 0`
# keeps it look-ups: any join plan would read whole days of `reading`.
_KNOWN = f"""
with stored as materialized (
    select s.channel_id, o.* from (
        select channel_id, min(measured_at) as low, max(measured_at) as high from stage_reading
        group by channel_id, date_bin('10 minutes', measured_at, 'epoch')) s
    cross join lateral (
        select measured_at, value, quality, revision from reading
        where channel_id = s.channel_id and measured_at between s.low and s.high
          and measured_at between {_MS.format("%(low)s::bigint")} and {_MS.format("%(high)s::bigint")} offset 0) o
), known as materialized (
    select n.ctid as row, n.channel_id, n.measured_at, n.value, o.value as stored, n.revision = o.revision as is_peer,
           (n.revision, n.quality, n.value) > (o.revision, o.quality, o.value) as wins
    from stored o join stage_reading n using (channel_id, measured_at)
), conflicts as (
    insert into reading_conflict (channel_id, measured_at, kept, refused)
    select channel_id, measured_at, case when wins then value else stored end, case when wins then stored else value end
    from known where is_peer and value <> stored order by 1, 2
    on conflict (channel_id, measured_at, kept, refused) do update set seen = reading_conflict.seen + 1
    returning 1
), taken as (
    delete from stage_reading s using known k where s.ctid = k.row and not k.wins
)
select count(*) from conflicts
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

    def __init__(
        self, staged_s: float, day_tables_days: int | None = None, now_s: Callable[[], float] = time.monotonic
    ) -> None:
        """Days older than `day_tables_days` (None: no day) share a table a month."""
        self._staged_s = staged_s
        self._day_tables_days = day_tables_days
        self._now_s = now_s
        self._staged_until_s = -1.0
        self._days: set[int] = set()

    def forget(self) -> None:
        """After a failure, a restore or a retention run the remembered days prove nothing."""
        self._days.clear()

    def ensure_days(self, conn: Conn, days: set[int], tables_max: int | None = None) -> set[int]:
        """Makes room for readings of these days (since 1970), outside of a transaction: each its own, few locks held.

        Makes at most `tables_max` tables (None: all), for the newest days first; returns the days that have none.
        """
        unknown = sorted(days - self._days)
        if unknown:
            missing = [day for (day,) in conn.execute(_MISSING, (unknown,)).fetchall()]
            self._days.update(set(unknown) - set(missing))
            made = 0
            for day in missing:
                if tables_max is not None and made >= tables_max:
                    break
                [(new,)] = conn.execute(_MAKE_ROOM, {"day": day, "days": self._day_tables_days}).fetchall()
                self._days.add(day)
                made += new
        return days - self._days

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
        [(conflicts,)] = conn.execute(_KNOWN, {"low": low, "high": high}).fetchall()
        changed = conn.execute(_MERGE).fetchall()
        table = np.array(changed, np.int64).reshape(-1, 4)
        return table[:, :3], int(table[:, 3].sum()), conflicts


def _copy_into(conn: Conn, table: str, rows: Array) -> None:
    with conn.cursor() as cursor, cursor.copy(f"copy {table} ({r.COPY_COLUMNS}) from stdin (format binary)") as copy:
        copy.write(r.copy_bytes(rows))
