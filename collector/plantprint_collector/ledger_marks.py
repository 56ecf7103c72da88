"""Dirty marks: what intake and events left to be worked in, taken once and joined into spans."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from psycopg import Connection

from plantprint.times import HOUR_MS, from_ms

Conn = Connection[tuple[Any, ...]]
Range = tuple[int, int]

_MS = "(extract(epoch from {0}) * 1000)::bigint"
# Begins the cause of marks that the accountant leaves itself.
AGAIN = "again: "


@dataclass(frozen=True, slots=True)
class Marks:
    """Changed spans per channel, and spans of changes that concern the whole site with their causes."""

    channels: dict[int, list[Range]]
    site: list[tuple[Range, str]]
    taken: int


def take_marks(conn: Conn, site: str, rows_max: int) -> Marks:
    """Removes up to `rows_max` marks in the caller's transaction: work them in before it commits."""
    rows = conn.execute(
        "delete from dirty where dirty_id in (select dirty_id from dirty where site = %s order by dirty_id limit %s "
        f"for update skip locked) returning channel_id, {_MS.format('from_at')}, {_MS.format('to_at')}, cause",
        (site, rows_max),
    ).fetchall()
    channels: dict[int, list[Range]] = {}
    whole: list[tuple[Range, str]] = []
    for channel_id, low, high, cause in rows:
        span = (low, high)
        if channel_id is None:
            whole.append((span, cause))
        else:
            channels.setdefault(channel_id, []).append(span)
    return Marks({c: join(s, HOUR_MS) if len(s) > 1 else s for c, s in channels.items()}, whole, len(rows))


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
