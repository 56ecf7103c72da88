"""Sources of readings: each is a task that puts rows into the chunker, and counts what went well and what did not."""

from collections import Counter
from dataclasses import dataclass, field
from typing import Literal, Protocol


@dataclass(slots=True)
class SourceCounts:
    """What a source did since the start; errors by short reason, `last_good_ms` in site time."""

    name: str
    kind: Literal["modbus", "mqtt", "replay"]
    polls: int = 0
    readings: int = 0
    missing: int = 0
    errors: Counter[str] = field(default_factory=Counter)
    last_good_ms: int | None = None


class Reader(Protocol):
    """A running source. `run` ends only when there is nothing more to read; trouble with a device never ends it."""

    counts: SourceCounts

    async def run(self) -> None: ...
