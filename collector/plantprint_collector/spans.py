"""Readings of many channels, each in a span of time of its own, as one array."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from psycopg import Connection

Conn = Connection[tuple[Any, ...]]
Ints = NDArray[np.int64]

_FAR_MS = 250_000_000_000_000
_AT = "timestamptz 'epoch' + {0} * interval '1 ms'"
# `offset 0` keeps it a look-up per span: any join plan would read whole days of `reading`.
_IN_SPANS = f"""
select s.channel_id, (extract(epoch from r.measured_at) * 1000)::bigint, r.value, r.quality, r.revision
from unnest(%s, %s, %s) as s(channel_id, low, high) cross join lateral (
    select measured_at, value, quality, revision from reading
    where reading.channel_id = s.channel_id::int
      and measured_at between {_AT.format("s.low")} and {_AT.format("s.high")} offset 0) r
"""


def readings_in(conn: Conn, spans: Sequence[tuple[int, int, int | None]]) -> Ints:
    """[reading, 5] of (channel id, instant, value, quality, revision), by channel and instant.

    `spans` are (channel id, first, last instant), both ends included, the last open with None; of a channel they do not
    overlap.
    """
    if not spans:
        return np.zeros((0, 5), np.int64)
    asked = np.array([(c, low, _FAR_MS if high is None else high) for c, low, high in spans], np.int64)
    with conn.cursor(binary=True) as cursor:
        rows = cursor.execute(_IN_SPANS, list(asked.T)).fetchall()
    found = np.array(rows, np.int64).reshape(-1, 5)
    return found[np.lexsort((found[:, 1], found[:, 0]))]
