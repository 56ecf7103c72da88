"""Sources of readings: each is a task that puts rows into the chunker, and counts what went well and what did not."""

import asyncio
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol

from plantprint.wire.chunk import Row


@dataclass(slots=True)
class SourceCounts:
    """What a source did since the start; errors by short reason, `last_good_ms` in site time.

    `undeclared` counts messages of devices that no channel names, by device; how many are listed is bounded.
    `latency_ms` and `failed_share` (of polls, 0 to 1) are moving means over some tens of them; None before the first.
    """

    name: str
    kind: Literal["modbus", "mqtt", "replay", "dlt645", "folder"]
    polls: int = 0
    readings: int = 0
    missing: int = 0
    errors: Counter[str] = field(default_factory=Counter)
    undeclared: Counter[str] = field(default_factory=Counter)
    last_good_ms: int | None = None
    latency_ms: float | None = None
    failed_share: float | None = None

    def answered(self, latency_s: float) -> None:
        """Count how long a request took, silence included."""
        self.latency_ms = _mean(self.latency_ms, latency_s * 1000)

    def judged(self, *, failed: bool) -> None:
        """Count how a poll ended."""
        self.failed_share = _mean(self.failed_share, float(failed))


def _mean(before: float | None, new: float) -> float:
    return new if before is None else before + (new - before) / 32


class Intake(Protocol):
    """Where readings go; the chunker is the real one."""

    async def put(self, rows: Sequence[Row], backlog_chunks_max: int | None = None) -> list[asyncio.Future[bool]]:
        """Take rows of (channel index in the agent, t_ms, value, quality); waits while the disk is behind.

        A source that can wait gives `backlog_chunks_max`: it then waits as well while more chunks are undelivered.
        Returns a future per chunk that the rows went into, True once it is on disk, False if it was lost and counted.
        """
        ...


class Reader(Protocol):
    """A running source. `run` ends only when there is nothing more to read; trouble with a device never ends it."""

    counts: SourceCounts

    async def run(self) -> None: ...
