"""What a meter's hour is made from and what comes out: readings, carried state, amounts per bucket."""

from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray

from plantprint.facts import Channel, Quality, Reading
from plantprint.plant.model import Meter
from plantprint.quantities import MICRO, UnitError, conversion, integral_unit

# How many readings after the hour decide what happened at its edge; a suspicious reading is held for at most so many.
# So a new reading can change hours from the one that holds the LOOKAHEAD-th reading before it, and none before that.
LOOKAHEAD = 4


@dataclass(frozen=True, slots=True)
class CounterState:
    """The last good reading at or before an instant: raw `value`, and `offset` that makes the register monotone.

    `held` are readings (t_ms, value, quality) after it that are not decided yet. `since_ms` is when the register came
    to `value`; `before` is (t_ms, value, offset) of the last good reading before a reset, while the register stays at
    zero; `channel` is the series' `channel_mark`: another channel's state is no base.
    """

    t_ms: int
    value: int
    offset: int = 0
    held: tuple[tuple[int, int, int], ...] = ()
    since_ms: int = 0
    quality: int = Quality.MEASURED
    before: tuple[int, int, int] | None = None
    channel: str = ""

    @property
    def total(self) -> int:
        return self.value + self.offset

    def to_json(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in self.__slots__}

    @classmethod
    def from_json(cls, body: dict[str, Any]) -> "CounterState":
        before = body["before"]
        held = tuple((t_ms, value, quality) for t_ms, value, quality in body["held"])
        return cls(**{**body, "held": held, "before": None if before is None else tuple(before)})


@dataclass(frozen=True, slots=True)
class MeterSeries:
    """Readings of the channel that feeds a meter: those in (hour start, hour end] and up to LOOKAHEAD after the end.

    Sorted by `t_ms`, one per instant (the winner is already chosen). `ratio` multiplies the channel's values.
    """

    channel: Channel
    meter: Meter
    ratio: Decimal
    readings: tuple[Reading, ...]

    @property
    def channel_mark(self) -> str:
        """What a carried state must agree with to be a base for these readings."""
        return f"{self.channel.key} {self.channel.kind} {self.channel.unit} {self.channel.decimals}"

    @property
    def max_gap_ms(self) -> int:
        return self.meter.max_gap_s * 1000


@dataclass(frozen=True, slots=True, eq=False)
class MeterHour:
    """One element per bucket: amount in millionths of the meter's unit, worst quality, and how long it is unknown."""

    amount: NDArray[np.int64]
    quality: NDArray[np.int8]
    missing_ms: NDArray[np.int32]


def rated_micro(rated_per_hour: Decimal) -> Fraction:
    """The most that is believed of a meter, 1.2 times its rated value, in millionths of its unit per hour."""
    return Fraction(rated_per_hour) * Fraction(12, 10) * MICRO


def micro_per_step(series: MeterSeries) -> Fraction:
    """Millionths of the meter's unit in one step of the channel's integers (of a gauge: one step held for an hour).

    Raises `UnitError` when the channel cannot feed the meter: its unit does not convert, or an amount has no period.
    """
    channel = series.channel
    if channel.kind == "amount" and channel.period_s <= 0:
        raise UnitError(f"channel {channel.key} declares amounts without a period")
    unit = integral_unit(channel.unit) if channel.kind == "gauge" else channel.unit
    return conversion(unit, series.meter.unit) * Fraction(series.ratio) * Fraction(MICRO, 10**channel.decimals)
