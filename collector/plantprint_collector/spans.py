"""Readings of many channels as one array [reading, 5]: channel id, instant, value, quality, revision."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from psycopg import Connection

from plantprint.facts import Reading
from plantprint.times import from_ms
from plantprint_collector.rows import COPY_COLUMNS, from_copy_bytes

Conn = Connection[tuple[Any, ...]]
Ints = NDArray[np.int64]

_FAR_MS = 250_000_000_000_000
_AT = "timestamptz 'epoch' + {0} * interval '1 ms'"
# `offset 0` keeps it a look-up per span: any join plan would read whole days of `reading`. The bounds of all spans leave out
# other days when the query is planned, not span by span.
_IN_SPANS = f"""
select s.channel_id, (extract(epoch from r.measured_at) * 1000)::bigint, r.value, r.quality, r.revision
from unnest(%(ids)s, %(lows)s, %(highs)s) as s(channel_id, low, high) cross join lateral (
    select measured_at, value, quality, revision from reading
    where reading.channel_id = s.channel_id::int
      and measured_at between {_AT.format("s.low")} and {_AT.format("s.high")}
      and measured_at between {_AT.format("%(low)s::bigint")} and {_AT.format("%(high)s::bigint")} offset 0) r
"""


def readings_in(conn: Conn, spans: Sequence[tuple[int, int, int | None]]) -> Ints:
    """By channel and instant, each channel in spans of time of its own.

    `spans` are (channel id, first, last instant), both ends included, the last open with None; of a channel they do not
    overlap.
    """
    if not spans:
        return np.zeros((0, 5), np.int64)
    asked = np.array([(c, low, _FAR_MS if high is None else high) for c, low, high in spans], np.int64)
    with conn.cursor(binary=True) as cursor:
        ids, lows, highs = asked.T
        bounds = {"low": int(lows.min()), "high": int(highs.max())}
        rows = cursor.execute(_IN_SPANS, {"ids": ids, "lows": lows, "highs": highs, **bounds}).fetchall()
    found = np.array(rows, np.int64).reshape(-1, 5)
    return found[np.lexsort((found[:, 1], found[:, 0]))]


def readings_since(conn: Conn, channel_ids: Iterable[int], after_ms: int) -> Ints:
    """All readings of channels after an instant, by channel and instant; made for many of them."""
    query = f"copy (select {COPY_COLUMNS} from reading where channel_id = any(%s) and measured_at > %s) to stdout (format binary)"
    with conn.cursor() as cursor, cursor.copy(query, (list(channel_ids), from_ms(after_ms))) as copy:
        found = from_copy_bytes(b"".join(copy))
    return found[np.lexsort((found[:, 1], found[:, 0]))]


def of_channels(found: Ints, channel_ids: Iterable[int]) -> Ints:
    return found[np.isin(found[:, 0], list(channel_ids))]


def by_channel(found: Ints) -> Iterator[tuple[int, list[Reading]]]:
    """Readings one by one, with the channel they are of."""
    for channel_id in np.unique(found[:, 0]).tolist():
        yield channel_id, [Reading(*values) for values in found[found[:, 0] == channel_id, 1:].tolist()]
