"""The last settled hour as it is in the ledger, to notice when its readings say another."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from plantprint.intervals import CounterState
from plantprint.stores import Level
from plantprint_collector.stored_hours import Kept

Ints = NDArray[np.int64]


class Seen(NamedTuple):
    """What rows told in an hour, arrays [row, bucket], and the state of each at its end."""

    amount: Ints
    quality: NDArray[np.int8]
    missing_ms: NDArray[np.int32]
    states: list[CounterState | None]


class SettledHour:
    """What each row told, as far as it is known in the ledger, and the levels of stores; nobody else changes the arrays."""

    def __init__(self, seen: Seen, is_known: NDArray[np.bool_], levels: dict[str, Level]) -> None:
        self._seen = seen
        self._is_known = is_known
        self.levels = levels

    @classmethod
    def of_kept(cls, meters: Sequence[str], kept: Kept, buckets: int, levels: dict[str, Level]) -> "SettledHour":
        """Rows are those of `meters`; nothing is known of one that is not in `kept`."""
        shape = len(meters), buckets
        seen = Seen(
            np.zeros(shape, np.int64),
            np.zeros(shape, np.int8),
            np.zeros(shape, np.int32),
            [kept.states.get(meter) for meter in meters],
        )
        for row, meter in enumerate(meters):
            if (hour := kept.hours.get(meter)) is not None:
                seen.amount[row], seen.quality[row], seen.missing_ms[row] = hour.amount, hour.quality, hour.missing_ms
        return cls(seen, np.array([meter in kept.hours for meter in meters], np.bool_), levels)

    def is_alike(self, rows: Ints, seen: Seen) -> NDArray[np.bool_]:
        """Whether each of some rows would be settled like this."""
        known = self._seen
        is_alike: NDArray[np.bool_] = (
            self._is_known[rows]
            & (known.amount[rows] == seen.amount).all(axis=1)
            & (known.quality[rows] == seen.quality).all(axis=1)
            & (known.missing_ms[rows] == seen.missing_ms).all(axis=1)
        )
        pairs = zip(rows.tolist(), seen.states, strict=True)
        is_alike &= np.fromiter((known.states[row] == state for row, state in pairs), np.bool_, len(rows))
        return is_alike
