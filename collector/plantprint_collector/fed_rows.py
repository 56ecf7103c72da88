"""Which rows of the open hours each channel feeds, and which changes they have seen already.

A row that is worked out anew is read as far as there is anything, beyond the marks that were taken until then. Were what
those marks say taken in once more, it would come late, and the row would be worked out anew again, and again.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from plantprint_collector.facts_store import MeterSource
from plantprint_collector.ledger_marks import CHANNEL, XID

Ints = NDArray[np.int64]


class FedRows:
    """Rows are numbers of `sources`."""

    def __init__(self, sources: Sequence[MeterSource]) -> None:
        pairs = {(c, row, c in s.multipliers) for row, s in enumerate(sources) for c in s.every_channel_id}
        # Channel, row, and whether the row counts it: what spreads it only is no word of the meter.
        self._pairs = np.array(sorted(pairs), np.int64).reshape(-1, 3)
        self._channels, self._first = np.unique(self._pairs[:, 0], return_index=True)
        self._seen_xid = np.zeros(len(sources), np.int64)

    def saw(self, rows: Sequence[int], xid: int) -> None:
        """Rows have all their readings that transactions before `xid` brought."""
        self._seen_xid[list(rows)] = xid

    def is_news(self, changes: Ints) -> NDArray[np.bool_]:
        """Of each change whether a row that its channel feeds may not have seen it; those of other channels are."""
        if not len(self._channels):
            return np.ones(len(changes), np.bool_)
        seen_xid = np.minimum.reduceat(self._seen_xid[self._pairs[:, 1]], self._first)
        place = np.searchsorted(self._channels, changes[:, CHANNEL]).clip(max=len(self._channels) - 1)
        news: NDArray[np.bool_] = (self._channels[place] != changes[:, CHANNEL]) | (changes[:, XID] >= seen_xid[place])
        return news

    def of(self, channels: Ints) -> tuple[Ints, Ints, NDArray[np.bool_]]:
        """For each row that some of these channels feed: the row, the channel's place here, and whether the row counts it."""
        low = np.searchsorted(self._pairs[:, 0], channels, "left")
        counts = np.searchsorted(self._pairs[:, 0], channels, "right") - low
        place = np.repeat(np.arange(len(channels)), counts)
        nth = np.arange(len(place)) - np.repeat(np.cumsum(counts) - counts, counts)
        pairs = self._pairs[low[place] + nth]
        return pairs[:, 1], place, pairs[:, 2] > 0
