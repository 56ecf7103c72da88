"""What a meter's hour is made from and what comes out: readings, carried state, amounts per bucket."""

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal
from fractions import Fraction
from functools import lru_cache
from math import floor
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from plantprint.facts import Channel, Quality, Reading
from plantprint.plant.model import BESIDE, Beside, Meter
from plantprint.quantities import MICRO, UnitError, conversion, integral_unit
from plantprint.steam import ATMOSPHERE_PA, STATE_UNITS, STEAM_MILLI_C, STEAM_PA, WATER_MILLI_C

# How many readings after the hour decide what happened at its edge; a suspicious reading is held for at most so many.
# So a new reading can change hours from the one that holds the LOOKAHEAD-th reading before it, and none before that.
# Those that are missing or withdrawn, or hold what no register or rate can (`Values`), decide nothing and are not counted.
LOOKAHEAD = 4
SAFE = 2**62  # int64 with a bit to spare for a doubling
RATED_TIMES = Fraction(12, 10)  # of its rated value a meter is believed
REGISTER_MAX = 2**60  # millionths: no register, and no hour of a rate, comes near; the sentinels of devices do


class Values(NamedTuple):
    """What a reading of a channel can be for a meter, in the channel's integers; the rest are sentinels, or absurd."""

    least: int
    most: int

    def narrowed(self, other: "Values") -> "Values":
        return Values(max(self.least, other.least), min(self.most, other.most))

    def counts(self, reading: Reading) -> bool:
        """Whether it decides anything."""
        return reading.quality > Quality.MISSING and self.least <= reading.value <= self.most


ANY_VALUE = Values(-(2**63), 2**63 - 1)


@dataclass(frozen=True, slots=True)
class CounterState:
    """The last good reading at or before an instant: raw `value`, and `offset` that makes the register monotone.

    `held` are readings (t_ms, value, quality) after it that are not decided yet. `since_ms` is when the register came
    to `value`; `before` is (t_ms, value, offset) of the last good reading before a reset, while the register stays at
    zero; `channel` is the series' `channel_mark`: another channel's state is no base. `coming` is the state of a channel
    that feeds the meter in the hour after this state's. Of a register with coarse steps, `ahead` is what is counted
    beyond it, in millionths of the meter's unit, and `power` the last sample of the power that spreads it; `pressure` and
    `temperature` are the last of the steam or condensate whose mass is counted.
    """

    t_ms: int
    value: int
    offset: int = 0
    held: tuple[tuple[int, int, int], ...] = ()
    since_ms: int = 0
    quality: int = Quality.MEASURED
    before: tuple[int, int, int] | None = None
    channel: str = ""
    coming: "CounterState | None" = None
    ahead: int = 0
    power: "CounterState | None" = None
    pressure: "CounterState | None" = None
    temperature: "CounterState | None" = None

    @property
    def total(self) -> int:
        return self.value + self.offset

    def beside(self, tells: Beside) -> "CounterState | None":
        """The last reading of a channel beside the meter's own."""
        state: CounterState | None = getattr(self, tells)
        return state

    def with_beside(self, states: "Mapping[Beside, CounterState | None]") -> "CounterState":
        given: dict[str, Any] = dict(states.items())
        return replace(self, **given)

    def to_json(self) -> dict[str, Any]:
        body = {name: getattr(self, name) for name in self.__slots__ if name not in _STATES}
        states = {name: getattr(self, name) for name in _STATES}
        return body | {name: state.to_json() for name, state in states.items() if state is not None}

    @classmethod
    def from_json(cls, body: dict[str, Any]) -> "CounterState":
        before = body["before"]
        held = tuple((t_ms, value, quality) for t_ms, value, quality in body["held"])
        return cls(
            **{
                **body,
                "held": held,
                "before": None if before is None else tuple(before),
                **{name: cls.from_json(body[name]) if body.get(name) else None for name in _STATES},
            }
        )


_STATES = ("coming", *BESIDE)


@dataclass(frozen=True, slots=True)
class MeterSeries:
    """Readings of the channel that feeds a meter: those that `span_readings` gives for an hour.

    Sorted by `t_ms`, one per instant (the winner is already chosen). `ratio` multiplies the channel's values. The channel
    feeds the meter from `from_ms` until `to_ms` (None: since before, beyond the end), both at edges of buckets;
    `following` are the feeds after it, last those of the next hour that must be followed before they count. `beside` has
    the readings of channels that say more of it, by what they tell: power spreads what a coarse register counts in a step.
    `tells` is what this one tells, if it is one of those.
    """

    channel: Channel
    meter: Meter
    ratio: Decimal
    readings: tuple[Reading, ...]
    from_ms: int | None = None
    to_ms: int | None = None
    following: "tuple[MeterSeries, ...]" = ()
    beside: "Mapping[Beside, MeterSeries]" = field(default_factory=dict)
    tells: Beside | None = None

    @property
    def is_whole(self) -> bool:
        """Whether one channel under one ratio feeds the meter all the time."""
        return self.from_ms is None and self.to_ms is None and not self.following

    @property
    def values(self) -> Values:
        """What counts of its readings."""
        return values_of(self.channel, self.meter, self.ratio, self.tells)

    @property
    def channel_mark(self) -> str:
        """What a carried state must agree with to be a base for these readings."""
        return f"{self.channel.key} {self.channel.kind} {self.channel.unit} {self.channel.decimals}"

    @property
    def max_gap_ms(self) -> int:
        return self.meter.max_gap_s * 1000

    def at_end(self, end_ms: int) -> "MeterSeries":
        """The feed that holds at an instant: of those that begin before it the last."""
        return [s for s in (self, *self.following) if s.from_ms is None or s.from_ms < end_ms or s is self][-1]


@dataclass(frozen=True, slots=True, eq=False)
class MeterHour:
    """One element per bucket: amount in millionths of the meter's unit, worst quality, and how long it is unknown."""

    amount: NDArray[np.int64]
    quality: NDArray[np.int8]
    missing_ms: NDArray[np.int32]


def span_readings(
    readings: Sequence[Reading], start_ms: int, end_ms: int, channel: Channel, values: Values
) -> tuple[Reading, ...]:
    """Of a channel's readings in order of time those in (start, end], and those after it that tell about the span.

    They are the first LOOKAHEAD that count, whatever stands between them, and every amount whose period begins before the
    end. So what follows is bounded however many sentinels a device sends.
    """
    first, last = (bisect_right(readings, t_ms, key=_instant) for t_ms in (start_ms, end_ms))
    reach_ms, counted = end_ms + channel.period_s * 1000, 0
    following: list[Reading] = []
    for at in range(last, len(readings)):
        reading = readings[at]
        if counted == LOOKAHEAD and reading.t_ms >= reach_ms:
            break
        counts = values.counts(reading)
        counted += counts and counted < LOOKAHEAD
        if counts or reading.t_ms < reach_ms:
            following.append(reading)
    return (*readings[first:last], *following)


def _instant(reading: Reading) -> int:
    return reading.t_ms


def rated_micro(rated_per_hour: Decimal) -> Fraction:
    """The most that is believed of a meter, 1.2 times its rated value, in millionths of its unit per hour."""
    return Fraction(rated_per_hour) * RATED_TIMES * MICRO


def values_of(channel: Channel, meter: Meter, ratio: Decimal, tells: Beside | None = None) -> Values:
    """What counts of a channel's readings for a meter; all of it where it cannot be used, or where it tells amounts.

    Of a pressure or temperature it is what the steam tables know.
    """
    if tells in STATE_UNITS:
        return _in_tables(channel, tells, None if meter.steam is None else meter.steam.pressure_is)
    return _values(channel, meter.counts_in, meter.rated_per_hour, ratio)


@lru_cache(maxsize=16_384)
def _in_tables(channel: Channel, tells: str, pressure_is: str | None) -> Values:
    """`pressure_is` is None for condensate."""
    step = STATE_UNITS[tells].get(channel.unit)
    if step is None:
        return ANY_VALUE
    least, most = WATER_MILLI_C if pressure_is is None else STEAM_MILLI_C
    if tells == "pressure":
        less = ATMOSPHERE_PA if pressure_is == "gauge" else 0
        least, most = (end - less for end in STEAM_PA)
    return Values(-(-least * 10**channel.decimals // step), min(most * 10**channel.decimals // step, SAFE))


@lru_cache(maxsize=16_384)
def _values(channel: Channel, unit: str, rated_per_hour: Decimal | None, ratio: Decimal) -> Values:
    try:
        scale = _micro_per_step(channel, unit, ratio)
    except UnitError:
        return ANY_VALUE
    most = min(SAFE, floor(REGISTER_MAX / scale))
    if channel.kind == "counter":
        return Values(0, most)
    if channel.kind == "amount":
        return ANY_VALUE
    return Values(-most, most if rated_per_hour is None else min(most, floor(rated_micro(rated_per_hour) / scale)))


def micro_per_step(series: MeterSeries) -> Fraction:
    """Millionths of what the meter counts in, in one step of the channel's integers (of a gauge: one held for an hour).

    Raises `UnitError` when the channel cannot feed the meter: its unit does not convert, or an amount has no period.
    """
    return _micro_per_step(series.channel, series.meter.counts_in, series.ratio)


def _micro_per_step(channel: Channel, unit: str, ratio: Decimal) -> Fraction:
    if channel.kind == "amount" and channel.period_s <= 0:
        raise UnitError(f"channel {channel.key} declares amounts without a period")
    told = integral_unit(channel.unit) if channel.kind == "gauge" else channel.unit
    return conversion(told, unit) * Fraction(ratio) * Fraction(MICRO, 10**channel.decimals)
