"""The open hours of a site's meters as arrays, one row each: amounts, how well they are known, and what is missing."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from plantprint.intervals import MeterHour
from plantprint.times import HOUR_MS, hour_floor

Ints = NDArray[np.int64]
UNKNOWN = 255


class OpenTable:
    """Arrays [row, bucket] of whole hours from `start_ms`.

    `worst` is a quality less one, UNKNOWN where nothing is known, so that the worst of several is the least number.
    `touched` are rows whose first hour has changed since it was last looked at, `changed` the hours in which any has.
    """

    def __init__(self, rows: int, start_ms: int, bucket_ms: int) -> None:
        self.start_ms = start_ms
        self.bucket_ms = bucket_ms
        self.buckets = HOUR_MS // bucket_ms
        self.amount = np.zeros((rows, 0), np.int64)
        self.worst = np.zeros((rows, 0), np.uint8)
        self.missing_ms = np.zeros((rows, 0), np.int32)
        self.touched = np.zeros(rows, np.bool_)
        self.changed: set[int] = set()

    @property
    def hours(self) -> int:
        return self.amount.shape[1] // self.buckets

    @property
    def end_ms(self) -> int:
        return self.start_ms + self.hours * HOUR_MS

    def reach(self, t_ms: int) -> None:
        """Makes room up to the hour that holds an instant."""
        more = (hour_floor(t_ms) + HOUR_MS - self.end_ms) // self.bucket_ms
        if more > 0:
            room = ((0, 0), (0, more))
            self.amount = np.pad(self.amount, room)
            self.worst = np.pad(self.worst, room, constant_values=UNKNOWN)
            self.missing_ms = np.pad(self.missing_ms, room)

    def begin_at(self, hour_ms: int) -> None:
        """Forgets everything before an hour."""
        gone = (hour_ms - self.start_ms) // self.bucket_ms
        self.amount = self.amount[:, gone:].copy()
        self.worst = self.worst[:, gone:].copy()
        self.missing_ms = self.missing_ms[:, gone:].copy()
        self.start_ms = hour_ms
        self.changed = set(range(self.hours))

    def columns(self, hour: int) -> slice:
        return slice(hour * self.buckets, (hour + 1) * self.buckets)

    def clear(self, rows: Sequence[int]) -> None:
        """Rows of which nothing is known."""
        self.amount[rows], self.worst[rows], self.missing_ms[rows] = 0, UNKNOWN, 0
        self._mark(rows, 0)

    def begin(self, row: int, t_ms: int) -> None:
        """Nothing was known of a row before its first reading."""
        edges = self.start_ms + np.arange(self.amount.shape[1] + 1, dtype=np.int64) * self.bucket_ms
        self.missing_ms[row] = np.diff(np.minimum(edges, t_ms))
        self._mark([row], 0)

    def put(self, row: int, hours: Sequence[MeterHour]) -> None:
        """All hours of a row, as they were worked out elsewhere; what is as before does not count as changed."""
        for number, hour in enumerate(hours):
            at = (row, self.columns(number))
            worst = hour.quality.view(np.uint8) - np.uint8(1)
            if (
                np.array_equal(self.amount[at], hour.amount)
                and np.array_equal(self.worst[at], worst)
                and np.array_equal(self.missing_ms[at], hour.missing_ms)
            ):
                continue
            self.amount[at], self.worst[at], self.missing_ms[at] = hour.amount, worst, hour.missing_ms
            self.changed.add(number)
            self.touched[row] |= number == 0

    def add(self, rows: Ints, cells: Ints, amount: Ints, worst: NDArray[np.uint8]) -> None:
        """Adds amounts to single cells, which become known as well as `worst` says at most."""
        if not len(rows):
            return
        np.add.at(self.amount, (rows, cells), amount)
        np.minimum.at(self.worst, (rows, cells), worst)
        self.touched[rows[cells < self.buckets]] = True
        self.changed.update(range(int(cells.min()) // self.buckets, int(cells.max()) // self.buckets + 1))

    def quality(self, hour: int) -> NDArray[np.int8]:
        """[row, bucket] of an hour."""
        return (self.worst[:, self.columns(hour)] + np.uint8(1)).view(np.int8)

    def missing(self, hour: int, rows: Ints, last_ms: Ints, until_ms: Ints) -> NDArray[np.int32]:
        """[row, bucket] of an hour, with the time that some rows have not told of since `last_ms` and should have."""
        missing_ms = self.missing_ms[:, self.columns(hour)]
        edges = self.start_ms + hour * HOUR_MS + np.arange(self.buckets + 1, dtype=np.int64) * self.bucket_ms
        silent = np.flatnonzero((until_ms > np.maximum(last_ms, edges[0])) & (last_ms < edges[-1]))
        if not len(silent):
            return missing_ms
        missing_ms = missing_ms.copy()
        passed = np.clip(edges[None, :], last_ms[silent, None], until_ms[silent, None])
        missing_ms[rows[silent]] += np.diff(passed, axis=1).astype(np.int32)
        return missing_ms

    def _mark(self, rows: Sequence[int], first_hour: int) -> None:
        self.touched[rows] = True
        self.changed.update(range(first_hour, self.hours))
