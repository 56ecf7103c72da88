"""What a load run measured: throughput, latency, and what was sent against what is stored."""

from array import array
from collections.abc import Awaitable, Callable

import msgspec


class Sent(msgspec.Struct, frozen=True, kw_only=True):
    """What a run sent, for whoever counts it in the store: every reading is unique in (agent, channel, time)."""

    site: str
    agents: tuple[str, ...]
    rows: int
    first_ms: int
    last_ms: int


class Stored(msgspec.Struct, frozen=True, kw_only=True):
    """What the store holds of `Sent`: rows in all, and how many of them repeat another one."""

    rows: int
    duplicates: int


Verify = Callable[[Sent], Awaitable[Stored]]


class Latency:
    """A histogram of milliseconds in steps of one, exact up to a minute and of constant size."""

    LIMIT_MS = 60_000

    def __init__(self) -> None:
        self._rows = array("Q", bytes(8 * (self.LIMIT_MS + 1)))
        self._count = 0
        self.max_ms = 0

    def add(self, latency_ms: int, rows: int) -> None:
        """Counts `rows` readings that took `latency_ms`; a clock that stepped back counts as none."""
        self._rows[min(max(latency_ms, 0), self.LIMIT_MS)] += rows
        self._count += rows
        self.max_ms = max(self.max_ms, latency_ms)

    def percentile(self, percent: float) -> int | None:
        """The smallest number of ms within which `percent` of the rows were; None without rows."""
        if not self._count:
            return None
        wanted, seen = self._count * percent / 100, 0
        for latency_ms, rows in enumerate(self._rows):
            seen += rows
            if seen >= wanted:
                return latency_ms
        return self.LIMIT_MS


class LoadReport(msgspec.Struct, frozen=True, kw_only=True):
    """Latency runs from the oldest reading of a chunk to the collector's committed acknowledgement of it, per row.

    `rows_behind` were due and never made, because the window stayed full; `rows_unacknowledged` were sent and not
    confirmed when waiting ended. With a store to look into, `rows_lost` and `rows_doubled` are what it says.
    """

    agents: int
    meters: int
    hz: float
    elapsed_s: float
    rows_sent: int
    rows_acknowledged: int
    rows_unacknowledged: int
    rows_behind: int
    chunks_sent: int
    chunks_resent: int
    reconnects: int
    rows_per_s: float
    latency_ms_p50: int | None
    latency_ms_p90: int | None
    latency_ms_p99: int | None
    latency_ms_max: int
    rows_lost: int | None = None
    rows_doubled: int | None = None

    @property
    def is_sound(self) -> bool:
        """Nothing sent is open, lost or doubled."""
        return not (self.rows_unacknowledged or self.rows_lost or self.rows_doubled)
