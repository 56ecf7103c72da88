"""One meter of the open hours of which more than its own channel tells: whole hours, from all their readings.

What a coarse register counts lies between its steps as the power, or the next step, says; the heat in a mass is what its
pressure and temperature say. So no part of an hour is certain before the hour is, and `OpenMeter` cannot fold it; an hour is
made again only when readings that count for it have come.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, NamedTuple

from plantprint.facts import Reading
from plantprint.intervals import LOOKAHEAD, CounterState, MeterSeries, meter_hour
from plantprint.intervals.lookback import held_before, hold_ms, hour_readings
from plantprint.times import HOUR_MS
from plantprint_collector.facts_store import MeterSource, in_decimals_of
from plantprint_collector.open_meter import Part
from plantprint_collector.stored_readings import scale


class ShapedMeter:
    """One meter since `start_ms`, which begins with `state`."""

    def __init__(self, source: MeterSource, start_ms: int, bucket_s: int, state: CounterState | None) -> None:
        self.source = source
        self._bucket_s = bucket_s
        self._start_ms = start_ms
        self._state = state
        self._streams = [_Stream(part) for part in (source, *source.beside.values())]
        self._made: dict[int, tuple[Any, Part]] = {}

    def add(self, channel_id: int, readings: Sequence[Reading]) -> bool:
        """Takes readings of a channel; the meter never has to be redone for them."""
        for stream in self._streams:
            if channel_id in stream.source.multipliers:
                for reading in scale(readings, stream.source.multipliers[channel_id]):
                    stream.add(reading)
        return True

    def may_reach_before_start(self, t_ms: int) -> bool:
        """Whether a change at an instant could change amounts before the start."""
        if t_ms - self.source.channel.period_s * 1000 < self._start_ms:
            return True
        return any(stream.count_between(self._start_ms, t_ms) <= LOOKAHEAD for stream in self._streams)

    def is_certain(self, until_ms: int) -> bool:
        """Of no hour that is kept it is known that nothing changes it any more."""
        return until_ms <= self._start_ms

    def hours(self, end_ms: int, until_ms: int) -> list[Part]:
        """Hour after hour to `end_ms`: amounts, the state at its end, what looked wrong."""
        parts, state = list[Part](), self._state
        for hour_ms in range(self._start_ms, end_ms, HOUR_MS):
            part = self._hour(hour_ms, state, until_ms)
            parts.append(part)
            state = part[1]
        return parts

    def first_hour(self) -> Part:
        """The first hour, seen from its end or later."""
        return self._hour(self._start_ms, self._state, self._start_ms + HOUR_MS)

    def begin_at(self, hour_ms: int, state: CounterState | None) -> None:
        """Forgets everything before an hour that begins with `state`."""
        self._start_ms, self._state = hour_ms, state
        self._made = {at: made for at, made in self._made.items() if at >= hour_ms}
        for stream in self._streams:
            stream.forget(hour_ms)

    def _hour(self, hour_ms: int, state: CounterState | None, until_ms: int) -> Part:
        until_ms = min(until_ms, hour_ms + HOUR_MS)
        readings = [stream.cut(hour_ms) for stream in self._streams]
        made_of = (until_ms, state, *(cut.version for cut in readings))
        known = self._made.get(hour_ms)
        if known is not None and known[0] == made_of:
            return known[1]
        own, *beside = (stream.series(cut) for stream, cut in zip(self._streams, readings, strict=True))
        series = replace(own, beside=dict(zip(self.source.beside, beside, strict=True)))
        begins = None if state is None else in_decimals_of(series, state)
        hour, after, issues = meter_hour(series, hour_ms, self._bucket_s, begins, until_ms)
        part = (hour, after or state, issues)
        self._made[hour_ms] = made_of, part
        return part


class _Cut(NamedTuple):
    """Readings that count for an hour; `version` is another whenever they are."""

    readings: tuple[Reading, ...]
    version: tuple[int, int, int]


class _Stream:
    """The readings of a channel, or of several that are one stream, in order of time."""

    def __init__(self, source: MeterSource) -> None:
        self.source = source
        self._readings: list[Reading] = []
        self._edits = 0

    def add(self, reading: Reading) -> None:
        at = bisect_left(self._readings, reading.t_ms, key=_instant)
        if at == len(self._readings):
            self._readings.append(reading)
            return
        self._edits += 1
        if self._readings[at].t_ms == reading.t_ms:
            self._readings[at] = max(self._readings[at], reading, key=lambda r: r.rank)
        else:
            self._readings.insert(at, reading)

    def count_between(self, after_ms: int, t_ms: int) -> int:
        """How many readings after an instant and before another decide something, as far as it matters."""
        count = 0
        for at in range(bisect_right(self._readings, after_ms, key=_instant), len(self._readings)):
            reading = self._readings[at]
            if reading.t_ms >= t_ms or count > LOOKAHEAD:
                break
            count += self.source.values.counts(reading)
        return count

    def cut(self, hour_ms: int) -> _Cut:
        source = self.source
        readings = hour_readings(self._readings, hour_ms, source.empty)
        last_ms = readings[-1].t_ms if readings else 0
        return _Cut(readings, (self._edits, len(readings), last_ms))

    def series(self, cut: _Cut) -> MeterSeries:
        return replace(self.source.empty, readings=cut.readings)

    def forget(self, hour_ms: int) -> None:
        held = held_before(self._readings, hour_ms, hold_ms(self.source.meter, self.source.tells), self.source.values)
        self._readings[: bisect_right(self._readings, hour_ms, key=_instant)] = [] if held is None else [held]


def _instant(reading: Reading) -> int:
    return reading.t_ms
