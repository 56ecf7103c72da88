"""Recorded facts as frozen values: channels, readings, production events, issues; all that accounting may look at."""

from dataclasses import dataclass, field
from enum import IntEnum
from typing import Literal, NewType

SiteId = NewType("SiteId", str)
MeterId = NewType("MeterId", str)
WorkUnitId = NewType("WorkUnitId", str)
BatchId = NewType("BatchId", str)

ChannelKind = Literal["counter", "gauge", "amount"]
PERIOD_S_MAX = 7 * 86_400
"""Of a channel's amounts. Every hour asks for the readings of a period after it, and the longest period that never varies
is the week: months, quarters and years do, so what is known for those only is an `activity` event from an instant to another."""


class Quality(IntEnum):
    """How well an amount is known; a higher number wins, a posting carries the lowest behind it."""

    MISSING = 0
    ESTIMATED = 1
    RECOVERED = 2
    MEASURED = 3


@dataclass(frozen=True, slots=True)
class Channel:
    """A stream of values that an agent declares: unit, decimals of its integers, kind; amounts also name their period.

    `counter` only grows; `gauge` is a rate (kW, m3/h); `amount` is a quantity over the `period_s` ending at its time.
    """

    agent: str
    name: str
    unit: str
    decimals: int
    kind: ChannelKind
    period_s: int = 0

    @property
    def key(self) -> str:
        return f"{self.agent}/{self.name}"


@dataclass(frozen=True, slots=True, order=True)
class Reading:
    """One value of a channel: `value` is an integer at the channel's decimals, `t_ms` the instant it was measured."""

    t_ms: int
    value: int
    quality: int = Quality.MEASURED
    revision: int = 0

    @property
    def rank(self) -> tuple[int, int, int]:
        """Of two readings of one channel and instant the higher rank is the fact, whatever arrived first."""
        return (self.revision, self.quality, self.value)


EventKind = Literal[
    "order",
    "job_start",
    "job_end",
    "state",
    "shipment",
    "withdraw",
    "activity",
    "lot",
    "material_use",
    "output",
    "return",
    "scrap",
    "certificate",
]


@dataclass(frozen=True, slots=True)
class ProductionEvent:
    """What an MES reports; identity is (source, event_id), the highest revision counts.

    `body` by kind: order {batch, product, quantity, unit}; job_start {job, batch, work_unit, step, weight};
    job_end {job}; state {work_unit, state}; shipment {shipment, batch, quantity?, customer?}; withdraw {event_id};
    activity {source, amount, unit, from, to, work_unit | pool}: an amount of a period that no meter sees;
    lot, material_use, output, return, scrap: what went into batches and came out of them, see `material_events`;
    certificate {contract, amount, unit?, from, to}: energy under a contract, see `contracts`.
    """

    source: str
    event_id: str
    revision: int
    kind: EventKind
    at_ms: int
    body: dict[str, str | int | float | None]


@dataclass(frozen=True, slots=True, order=True)
class Issue:
    """Something wrong in the facts, kept visible: a code, the place, what it means, and what to do.

    `contradicts`: facts of that hour contradict each other by more than measuring explains, so that the batches that the
    place touches are incomplete (`contradictions` finds them). `behind`: the pool or store whose rest is divided otherwise
    through it, where the place is a batch. `batch`: the one that lacks a job through it.
    """

    code: str
    place: str
    message: str
    remedy: str
    at_ms: int = 0
    contradicts: bool = field(default=False, compare=False)
    behind: str = field(default="", compare=False, kw_only=True)
    batch: str = ""
