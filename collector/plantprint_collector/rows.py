"""Readings of one transaction as numpy arrays: one winner per fact, COPY bytes, dirty ranges, newest values.

Arrays are int64 of shape (n, 5) with the columns channel_id, t_ms, value, quality, revision.
"""

import struct
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.int64]
CHANNEL, T, VALUE, QUALITY, REVISION = range(5)

DAY_MS = 86_400_000
MARK_GAP_MS = 3_600_000
POSTGRES_EPOCH_MS = 946_684_800_000
COPY_HEADER = b"PGCOPY\n\xff\r\n\x00" + struct.pack("!ii", 0, 0)
COPY_TRAILER = struct.pack("!h", -1)
COPY_COLUMNS = "measured_at, value, channel_id, quality, revision"
_COPY_ROW = np.dtype(
    [
        ("fields", ">i2"),
        ("len_t", ">i4"), ("t", ">i8"), ("len_value", ">i4"), ("value", ">i8"),
        ("len_channel", ">i4"), ("channel", ">i4"),
        ("len_quality", ">i4"), ("quality", ">i2"), ("len_revision", ">i4"), ("revision", ">i2"),
    ]
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Unique:
    """`rows` sorted by channel and time, one per fact; `repeated` others were beaten.

    `conflicts` are those of the beaten whose value differs at equal revision, as (channel_id, t_ms, kept value,
    refused value), shape (n, 4).
    """

    rows: Array
    repeated: int
    conflicts: Array


def unique(parts: Sequence[Array]) -> Unique:
    """Of several readings of one channel and instant keeps the highest (revision, quality, value)."""
    rows = np.concatenate(parts) if parts else np.empty((0, 5), np.int64)
    rows = rows[np.lexsort((rows[:, T], rows[:, CHANNEL]))]
    same = _same_as_next(rows)
    if not same.any():
        return Unique(rows, 0, np.empty((0, 4), np.int64))
    rows = rows[np.lexsort((rows[:, VALUE], rows[:, QUALITY], rows[:, REVISION], rows[:, T], rows[:, CHANNEL]))]
    wins = np.append(~_same_as_next(rows), True)
    winner = rows[wins][np.concatenate(([0], np.cumsum(wins)[:-1]))]
    unequal = ~wins & (rows[:, VALUE] != winner[:, VALUE]) & (rows[:, REVISION] == winner[:, REVISION])
    conflicts = np.column_stack((rows[unequal][:, :2], winner[unequal][:, VALUE], rows[unequal][:, VALUE]))
    return Unique(rows[wins], int((~wins).sum()), np.unique(conflicts, axis=0))


def _same_as_next(rows: Array) -> NDArray[np.bool_]:
    same: NDArray[np.bool_] = (rows[1:, CHANNEL] == rows[:-1, CHANNEL]) & (rows[1:, T] == rows[:-1, T])
    return same


def copy_bytes(rows: Array) -> bytes:
    """A COPY BINARY stream of `COPY_COLUMNS`."""
    out = np.empty(len(rows), _COPY_ROW)
    out["fields"] = 5
    out["len_t"] = out["len_value"] = 8
    out["len_channel"] = 4
    out["len_quality"] = out["len_revision"] = 2
    out["t"] = (rows[:, T] - POSTGRES_EPOCH_MS) * 1000
    out["value"], out["channel"] = rows[:, VALUE], rows[:, CHANNEL]
    out["quality"], out["revision"] = rows[:, QUALITY], rows[:, REVISION]
    return b"".join((COPY_HEADER, out.tobytes(), COPY_TRAILER))


def marks(rows: Array) -> Array:
    """Spans of sorted rows (channel_id, first t_ms, last t_ms), shape (n, 3): a channel's, cut where it pauses for an hour.

    Backlog and live rows of one commit must not mark the time between them.
    """
    first, last = _bounds(rows, MARK_GAP_MS)
    return np.column_stack((rows[first, CHANNEL], rows[first, T], rows[last, T]))


def newest(rows: Array) -> Array:
    """Per channel of sorted rows the last one."""
    return rows[_bounds(rows)[1]]


def _bounds(rows: Array, gap_ms: int | None = None) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    differs = rows[1:, CHANNEL] != rows[:-1, CHANNEL]
    if gap_ms is not None:
        differs = differs | (rows[1:, T] - rows[:-1, T] > gap_ms)
    change = np.flatnonzero(differs)
    return np.concatenate(([0], change + 1)), np.concatenate((change, [len(rows) - 1]))


def days(t: Array) -> set[int]:
    """Days since 1970 that the instants lie in."""
    return set(np.unique(t // DAY_MS).tolist())
