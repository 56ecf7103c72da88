"""One meter of the open hours, exactly: what is certain stays, its tail is worked out again when readings come."""

from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence

import numpy as np

from plantprint.facts import Issue, Reading
from plantprint.intervals import LOOKAHEAD, CounterState, MeterHour, MeterSeries, meter_span, span_readings
from plantprint.times import HOUR_MS, hour_floor
from plantprint_collector.facts_store import MeterSource, in_decimals_of
from plantprint_collector.stored_readings import scale

# With this many readings in a tail the older ones are folded into the certain part.
_TAIL_READINGS_MAX = 64

Part = tuple[MeterHour, CounterState | None, list[Issue]]


class OpenMeter:
    """One meter since `start_ms`: amounts per bucket up to a checkpoint that no reading in order can change, and a tail."""

    def __init__(self, source: MeterSource, start_ms: int, bucket_s: int, state: CounterState | None) -> None:
        self.source = source
        self._bucket_s = bucket_s
        self._start_ms = self._checkpoint_ms = start_ms
        self._folded_ms = 0
        self._state = None if state is None else in_decimals_of(self._series(()), state)
        self._done: dict[int, Part] = {}
        self._tail: list[Reading] = []

    def add(self, channel_id: int, readings: Sequence[Reading]) -> bool:
        """Takes a channel's readings into the tail; False when one may change what is certain: the meter must be redone."""
        # An amount may reach back over the start, where the hour before has counted its part, but over no fold.
        reach_ms = self.source.channel.period_s * 1000 if self._checkpoint_ms > self._start_ms else 0
        first_ms = max(self._checkpoint_ms + max(reach_ms, 1), self._folded_ms + 1)
        if any(r.t_ms < first_ms for r in readings):
            return False
        for reading in scale(readings, self.source.multipliers[channel_id]):
            at = bisect_left(self._tail, reading.t_ms, key=_instant)
            if at < len(self._tail) and self._tail[at].t_ms == reading.t_ms:
                self._tail[at] = max(self._tail[at], reading, key=lambda r: r.rank)
            else:
                self._tail.insert(at, reading)
        return True

    def may_reach_before_start(self, t_ms: int) -> bool:
        """Whether a change at an instant could change amounts before the start; True where that is not known here."""
        if t_ms - self.source.channel.period_s * 1000 < self._start_ms:
            return True
        if self._checkpoint_ms > self._start_ms and t_ms > self._folded_ms:
            return False
        return sum(reading.t_ms < t_ms for reading in self._good()) <= LOOKAHEAD

    def is_certain(self, until_ms: int) -> bool:
        """Whether no reading in order can change anything before an instant."""
        return self._checkpoint_ms >= until_ms

    def hours(self, end_ms: int, until_ms: int) -> list[Part]:
        """Hour after hour to `end_ms`: amounts, the state at its end, what looked wrong; folds a long tail first."""
        while len(self._tail) > _TAIL_READINGS_MAX and self._fold():
            pass
        return list(self._parts(end_ms, until_ms))

    def series(self, hour_ms: int) -> MeterSeries:
        """What an hour is made from, for a meter whose hours are never asked for."""
        source = self.source
        return self._series(span_readings(self._tail, hour_ms, hour_ms + HOUR_MS, source.channel, source.values))

    def first_hour(self) -> Part:
        """The first hour, seen from its end or later."""
        end_ms = self._start_ms + HOUR_MS
        return next(self._parts(end_ms, end_ms))

    def is_calm(self, state: CounterState | None) -> bool:
        """Whether a counter in `state`, its last, has nothing undecided that the next plain reading could decide."""
        if state is None or state.held or state.before is not None or not state.value:
            return False
        counted = self._good()
        if self._state is not None and not self._state.value:
            return False
        return all(r.value > 0 for r in counted) and (not counted or counted[-1].t_ms == state.t_ms)

    def readings_by_hour(self, hours: int) -> list[int]:
        """How many good readings of each hour from the start are known, LOOKAHEAD + 1 where they are certain already."""
        counts = [
            LOOKAHEAD + 1 if self._checkpoint_ms >= self._start_ms + (n + 1) * HOUR_MS else 0 for n in range(hours)
        ]
        for reading in self._good():
            counts[(reading.t_ms - 1 - self._start_ms) // HOUR_MS] += 1
        if self._checkpoint_ms > self._start_ms:
            counts[(self._checkpoint_ms - 1 - self._start_ms) // HOUR_MS] += LOOKAHEAD + 1
        return counts

    def begin_at(self, hour_ms: int, state: CounterState | None) -> None:
        """Forgets everything before an hour that begins with `state`."""
        self._done = {at: part for at, part in self._done.items() if at >= hour_ms}
        if self._checkpoint_ms < hour_ms:
            self._checkpoint_ms = hour_ms
            self._state = None if state is None else in_decimals_of(self._series(()), state)
            self._tail = self._tail[bisect_right(self._tail, hour_ms, key=_instant) :]
        self._start_ms = hour_ms

    def _parts(self, end_ms: int, until_ms: int) -> Iterator[Part]:
        at_ms, state = self._checkpoint_ms, self._state
        for hour_ms in range(self._start_ms, end_ms, HOUR_MS):
            done = self._done.get(hour_ms)
            if done is not None and at_ms >= hour_ms + HOUR_MS:
                yield done
                continue
            part = self._span(at_ms, hour_ms + HOUR_MS, state, until_ms)
            at_ms, state = hour_ms + HOUR_MS, part[1]
            yield part if done is None else _joined(done, part)

    def _span(self, start_ms: int, end_ms: int, state: CounterState | None, until_ms: int) -> Part:
        """Part of an hour, from the readings that settling the hour would look at."""
        hour_end_ms = hour_floor(start_ms) + HOUR_MS
        source = self.source
        series = self._series(span_readings(self._tail, start_ms, hour_end_ms, source.channel, source.values))
        hour, after, issues = meter_span(series, start_ms, end_ms, self._bucket_s, state, until_ms)
        return hour, after or state, issues

    def _series(self, readings: Sequence[Reading]) -> MeterSeries:
        return MeterSeries(self.source.channel, self.source.meter, self.source.ratio, tuple(readings))

    def _good(self) -> list[Reading]:
        """The readings of the tail that decide something."""
        values = self.source.values
        return [reading for reading in self._tail if values.counts(reading)]

    def _fold(self) -> bool:
        """Moves the checkpoint to the last bucket edge of its hour that no later reading in order can change."""
        hour_ms = hour_floor(self._checkpoint_ms)
        edge_ms = hour_ms + HOUR_MS
        good = self._good()
        if len(good) <= LOOKAHEAD:
            return False
        if self.source.channel.kind == "amount":
            edge_ms = min(self._floor(self._tail[-1].t_ms - self.source.channel.period_s * 1000), edge_ms)
        elif good[-LOOKAHEAD].t_ms <= edge_ms:
            edge_ms = self._decided_ms(min(self._floor(good[-LOOKAHEAD - 1].t_ms), edge_ms))
        if edge_ms <= self._checkpoint_ms:
            return False
        part = self._span(self._checkpoint_ms, edge_ms, self._state, edge_ms)
        self._done[hour_ms] = _joined(self._done[hour_ms], part) if hour_ms in self._done else part
        self._state, self._checkpoint_ms = part[1], edge_ms
        # What comes between the edge and the readings that decided about it would decide anew.
        self._folded_ms = self._tail[-1].t_ms
        self._tail = self._tail[bisect_right(self._tail, edge_ms, key=_instant) :]
        return True

    def _decided_ms(self, edge_ms: int) -> int:
        """The last edge up to `edge_ms` with a good reading behind it that has enough others after it to stay good."""
        if edge_ms <= self._checkpoint_ms:
            return edge_ms
        state = self._span(self._checkpoint_ms, edge_ms, self._state, edge_ms)[1]
        return self._floor(state.t_ms - 1) if state else 0

    def _floor(self, t_ms: int) -> int:
        return t_ms - t_ms % (self._bucket_s * 1000)


def _instant(reading: Reading) -> int:
    return reading.t_ms


def _joined(done: Part, part: Part) -> Part:
    """Two parts of one hour; of a kind of issue the first is kept."""
    names = MeterHour.__slots__
    hour = MeterHour(*(np.concatenate([getattr(done[0], name), getattr(part[0], name)]) for name in names))
    codes = {issue.code for issue in done[2]}
    return hour, part[1], [*done[2], *(issue for issue in part[2] if issue.code not in codes)]
