"""Readings of many channels as one array [reading, 5]: channel id, instant, value, quality, revision."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from psycopg import Connection

from plantprint.facts import Reading
from plantprint.times import from_ms
from plantprint_collector.arrays import array_cursor, instants_ms

Conn = Connection[tuple[Any, ...]]
Ints = NDArray[np.int64]

# So many readings are asked for at a time, if each channel is read once a second.
_READINGS_AT_ONCE = 500_000
_AT = "timestamptz 'epoch' + {0} * interval '1 ms'"
# One row with all readings: a row for each takes more time than finding it.
_GATHERED = (
    "select array_agg(channel_id), array_agg(measured_at), array_agg(value), array_agg(quality), array_agg(revision) "
    "from ({0}) r"
)
# `offset 0` keeps it a look-up per span: any join plan would read whole days of `reading`. The bounds of all spans leave out
# other days when the query is planned, not span by span.
_IN_SPANS = _GATHERED.format(f"""
select r.* from unnest(%(ids)s, %(lows)s, %(highs)s) as s(channel_id, low, high) cross join lateral (
    select channel_id, measured_at, value, quality, revision from reading
    where reading.channel_id = s.channel_id::int
      and measured_at between {_AT.format("s.low")} and {_AT.format("s.high")}
      and measured_at between {_AT.format("%(low)s::bigint")} and {_AT.format("%(high)s::bigint")} offset 0) r
""")
_SINCE = _GATHERED.format("select * from reading where channel_id = any(%(ids)s) and measured_at > %(after)s")


def readings_in(conn: Conn, spans: Ints) -> Ints:
    """By channel and instant, each channel in spans of time of its own.

    `spans` [span, 3] are channel id, first and last instant, both ends included; of a channel they do not overlap.
    """
    if not len(spans):
        return np.zeros((0, 5), np.int64)
    ids, lows, highs = spans.T
    return _gathered(
        conn,
        _IN_SPANS,
        {"ids": ids, "lows": lows, "highs": highs, "low": int(lows.min()), "high": int(highs.max())},
    )


def readings_since(conn: Conn, channel_ids: Iterable[int], after_ms: int) -> Ints:
    """All readings of channels after an instant, by channel and instant; made for many of them."""
    return _gathered(conn, _SINCE, {"ids": list(channel_ids), "after": from_ms(after_ms)})


def in_parts(spans: Ints) -> Iterator[Ints]:
    """Spans in order of their channels, some channels at a time, so that memory for their readings is bounded."""
    if not len(spans):
        return
    readings = np.cumsum((spans[:, 2] - spans[:, 1]) // 1000 + 1)
    _, first, place = np.unique(spans[:, 0], return_index=True, return_inverse=True)
    part = (readings[first] // _READINGS_AT_ONCE)[place]
    yield from np.split(spans, np.flatnonzero(part[1:] != part[:-1]) + 1)


def _gathered(conn: Conn, query: str, values: Mapping[str, Any]) -> Ints:
    with array_cursor(conn) as cursor:
        # Planned for these values each time: a plan for any would look through all days.
        row = cursor.execute(query, values, prepare=False).fetchone()
    if row is None or row[0] is None:
        return np.zeros((0, 5), np.int64)
    channel, at, *others = row
    found = np.stack([channel, instants_ms(at), *others], axis=1).astype(np.int64, copy=False)
    return found[np.lexsort((found[:, 1], found[:, 0]))]


def of_channels(found: Ints, channel_ids: Iterable[int]) -> Ints:
    return found[np.isin(found[:, 0], list(channel_ids))]


def by_channel(found: Ints) -> Iterator[tuple[int, list[Reading]]]:
    """Readings one by one, with the channel they are of."""
    for channel_id in np.unique(found[:, 0]).tolist():
        yield channel_id, [Reading(*values) for values in found[found[:, 0] == channel_id, 1:].tolist()]
