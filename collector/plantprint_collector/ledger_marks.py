"""Dirty marks: what intake and events left to be worked in, taken once and joined into spans."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from psycopg import Connection

from plantprint.times import HOUR_MS, from_ms
from plantprint_collector.arrays import Ints, array_cursor, instants_ms

Conn = Connection[tuple[Any, ...]]
Range = tuple[int, int]

CHANNEL, FROM, TO, XID = range(4)
# How old a mark's transaction is, and the oldest that still runs, count from one number, which stays through a transaction.
_TAKE = """
with taken as (
    delete from dirty where dirty_id in (
        select dirty_id from dirty where site = %s order by dirty_id limit %s for update skip locked)
    returning channel_id, from_at, to_at, cause, age(xmin) as age)
select array_agg(channel_id) filter (where channel_id is not null),
    array_agg(from_at) filter (where channel_id is not null), array_agg(to_at) filter (where channel_id is not null),
    array_agg(age) filter (where channel_id is not null), age(pg_snapshot_xmin(pg_current_snapshot())::xid),
    pg_snapshot_xmin(pg_current_snapshot())::text::bigint, array_agg(cause) filter (where channel_id is null),
    array_agg(from_at) filter (where channel_id is null), array_agg(to_at) filter (where channel_id is null)
from taken
"""
# Begins the cause of marks that the accountant leaves itself.
AGAIN = "again: "


@dataclass(frozen=True, slots=True, eq=False)
class Marks:
    """Changed spans per channel in order, and spans of changes that concern the whole site with their causes.

    `changes` [mark, 4] are those of channels one by one: channel id, first and last instant, the transaction they came in.
    """

    channels: dict[int, list[Range]]
    site: list[tuple[Range, str]]
    taken: int
    changes: Ints = field(default_factory=lambda: np.zeros((0, 4), np.int64))


def take_marks(conn: Conn, site: str, rows_max: int) -> Marks:
    """Removes up to `rows_max` marks in the caller's transaction: work them in before it commits."""
    with array_cursor(conn) as cursor:
        row = cursor.execute(_TAKE, (site, rows_max)).fetchone()
    assert row is not None
    ids, froms, tos, ages, oldest_age, oldest_xid, causes, *of_site = row
    changes = np.zeros((0, 4), np.int64)
    if ids is not None:
        xids = oldest_xid + oldest_age - ages.astype(np.int64)
        changes = np.stack([ids.astype(np.int64), instants_ms(froms), instants_ms(tos), xids], axis=1)
    channels: dict[int, list[Range]] = {}
    for channel_id, low, high in spans_of(changes).tolist():
        channels.setdefault(channel_id, []).append((low, high))
    whole: list[tuple[Range, str]] = []
    if causes is not None:
        lows, highs = (instants_ms(several).tolist() for several in of_site)
        whole = list(zip(zip(lows, highs, strict=True), causes, strict=True))
    return Marks(channels, whole, len(changes) + len(whole), changes)


def seen_xid(conn: Conn) -> int:
    """All that transactions before this one committed is in the caller's snapshot."""
    row = conn.execute("select pg_snapshot_xmin(pg_current_snapshot())::text::bigint").fetchone()
    assert row is not None
    return int(row[0])


def spans_of(changes: Ints) -> Ints:
    """[span, 3] of changes: channel, first and last instant, in order; what is closer than an hour is one span."""
    changes = changes[np.lexsort((changes[:, FROM], changes[:, CHANNEL]))]
    first = np.flatnonzero(np.append(True, changes[1:, CHANNEL] != changes[:-1, CHANNEL])[: len(changes)])
    if not len(first):
        return np.zeros((0, 3), np.int64)
    high = np.maximum.reduceat(changes[:, TO], first)
    spans = np.stack([changes[first, CHANNEL], changes[first, FROM], high], axis=1)
    # One long span may hide a pause between two others; `join` looks closely.
    paused = np.append(False, changes[1:, FROM] - changes[:-1, TO] > HOUR_MS)
    paused[first] = False
    if not paused.any():
        return spans
    places = np.unique(np.searchsorted(first, np.flatnonzero(paused), "right") - 1).tolist()
    last = np.append(first[1:], len(changes))
    apart = [
        (int(spans[place, 0]), *span)
        for place in places
        for span in join([(low, high) for _, low, high, _ in changes[first[place] : last[place]].tolist()], HOUR_MS)
    ]
    spans = np.concatenate([np.delete(spans, places, axis=0), np.array(apart, np.int64)])
    return spans[np.lexsort((spans[:, 1], spans[:, 0]))]


def put_back(conn: Conn, site: str, hours: Iterable[int], cause: str) -> None:
    """Marks hours that are left to work in, for the next pass, whoever makes it."""
    for low, high in join([(hour, hour + HOUR_MS - 1) for hour in hours], 1):
        conn.execute(
            "insert into dirty (site, from_at, to_at, cause) values (%s, %s, %s, %s)",
            (site, from_ms(low), from_ms(high), f"{AGAIN}{cause}"),
        )


def join(spans: Iterable[Range], gap_ms: int) -> list[Range]:
    """Spans in order, those closer than `gap_ms` as one: a month-old reading must not drag in the month."""
    joined: list[Range] = []
    for low, high in sorted(spans):
        if joined and low - joined[-1][1] <= gap_ms:
            joined[-1] = (joined[-1][0], max(joined[-1][1], high))
        else:
            joined.append((low, high))
    return joined
