"""Counters that only do what they should, which nearly all do: the new readings of all of them in one go, to the digit.

What is unusual is refused whole and left to `OpenMeter`, which looks at every reading; both give the same integers.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from plantprint.facts import Quality
from plantprint.intervals import CounterState, MeterSeries
from plantprint.intervals.grid import rounded
from plantprint.intervals.register import rules_of
from plantprint.intervals.series import micro_per_step
from plantprint.quantities import UnitError
from plantprint.times import HOUR_MS
from plantprint_collector.facts_store import MeterSource
from plantprint_collector.open_table import OpenTable

Ints = NDArray[np.int64]
_SAFE = 2.0**61  # in float64, which tells such a bound well enough
_GIVEN_MS = -1  # stands for a state that was told at the start and may be anything
_STATE = ("t_ms", "value", "since_ms", "quality")


class PlainCounters:
    """By row: whether it is plain now, its last good reading, and what its register may do.

    A register counts from `origin`, a total of its own time: taken off is an even whole number of millionths, so that
    each instant rounds as the whole total would (`intervals.counters`). States at ends of hours are kept as they pass.
    """

    def __init__(self, sources: Sequence[MeterSource], table: OpenTable) -> None:
        self._sources = sources
        self._table = table
        count = len(sources)
        self.is_plain = np.zeros(count, np.bool_)
        self.last = {name: np.zeros(count, np.int64) for name in _STATE}
        self._offset = np.zeros(count, np.int64)
        self.origin = np.zeros(count, np.int64)
        self.rest = np.zeros(count, np.int64)
        self.register = np.zeros(count, np.int64)
        self._ends: list[dict[str, Ints]] = []
        self._given: dict[int, list[CounterState | None]] = {}
        self._marks = [""] * count
        self.rules = np.zeros((count, 6), np.int64)
        self.is_possible = np.zeros(count, np.bool_)
        for row, source in enumerate(sources):
            rules = _rules(source)
            if rules is not None:
                self.rules[row] = rules
                self.is_possible[row] = True

    def adopt(self, row: int, state: CounterState, ends: Sequence[CounterState | None] = ()) -> bool:
        """Goes on from a state, with nothing undecided, and those at the ends of hours before it."""
        if not self.is_possible[row] or max(abs(state.offset), state.value) >= _SAFE / 4:
            return False
        self._reach()
        for name in _STATE:
            self.last[name][row] = getattr(state, name)
        self._given[row] = list(ends)
        for kept in self._ends:
            kept["t_ms"][row] = _GIVEN_MS
        numerator, denominator = int(self.rules[row, 0]), int(self.rules[row, 1])
        self._offset[row], self.origin[row], self._marks[row] = state.offset, state.value, state.channel
        self.rest[row] = state.total * numerator % (2 * denominator)
        at = self.rest[row : row + 1], np.array([denominator])
        self.register[row] = rounded(*at)[0]
        self.is_plain[row] = True
        return True

    def mark(self, row: int) -> str:
        """What a state must agree with to be one of this row's channel."""
        source = self._sources[row]
        return MeterSeries(source.channel, source.meter, source.ratio, ()).channel_mark

    def begin(self, row: int, t_ms: int, value: int, quality: int) -> bool:
        """Goes on from the very first reading of a row, unless that needs a closer look."""
        if not 0 < value <= self.rules[row, 2]:
            return False
        hours = (t_ms - 1 - self._table.start_ms) // HOUR_MS
        return self.adopt(
            row, CounterState(t_ms, value, since_ms=t_ms, quality=quality, channel=self.mark(row)), [None] * hours
        )

    def states(self, rows: Ints, end_ms: int) -> list[CounterState | None]:
        """The last good reading of each row up to the end of an hour."""
        number = (end_ms - self._table.start_ms) // HOUR_MS - 1
        is_later = self.last["t_ms"][rows] > end_ms
        kept = [self.last[name][rows] for name in _STATE]
        if is_later.any():
            ends = self._ends[number]
            kept = [np.where(is_later, ends[name][rows], values) for name, values in zip(_STATE, kept, strict=True)]
        columns = [column.tolist() for column in (rows, *kept, self._offset[rows])]
        return [
            self._given[row][number]
            if t_ms == _GIVEN_MS
            else CounterState(t_ms, value, offset, since_ms=since_ms, quality=quality, channel=self._marks[row])
            for row, t_ms, value, since_ms, quality, offset in zip(*columns, strict=True)
        ]

    def begin_at(self, hours_gone: int) -> None:
        """The table has forgotten so many hours."""
        self._ends = self._ends[hours_gone:]
        self._given = {row: states[hours_gone:] for row, states in self._given.items()}

    def take(self, rows: Ints, t_ms: Ints, value: Ints, quality: Ints) -> Ints:
        """Takes good readings of plain rows, sorted by row and time; returns the rows of which it took none."""
        self._reach()
        run = _Run(self, rows, t_ms, value, quality)
        refused = np.unique(rows[~run.is_usual()])
        if len(refused):
            self.is_plain[refused] = False
            kept = ~np.isin(rows, refused)
            rows, t_ms, value, quality = rows[kept], t_ms[kept], value[kept], quality[kept]
            run = _Run(self, rows, t_ms, value, quality)
        if len(rows):
            run.write(self._table)
            self._keep_ends(run)
            last = np.append(rows[1:] != rows[:-1], True)
            at = rows[last]
            for name, values in zip(_STATE, (t_ms, value, run.since_ms, quality), strict=True):
                self.last[name][at] = values[last]
            self.register[at] = run.register[last]
        return refused

    def _keep_ends(self, run: "_Run") -> None:
        for number, kept in enumerate(self._ends):
            end_ms = self._table.start_ms + (number + 1) * HOUR_MS
            passed = np.flatnonzero((run.before["t_ms"] <= end_ms) & (run.t_ms > end_ms))
            for name in _STATE if len(passed) else ():
                kept[name][run.rows[passed]] = run.before[name][passed]

    def _reach(self) -> None:
        while len(self._ends) < self._table.hours:
            self._ends.append({name: np.full(len(self._sources), _GIVEN_MS, np.int64) for name in _STATE})


class _Run:
    """Readings of several rows, each with the one before it: what lies between two of them is an interval."""

    def __init__(self, counters: PlainCounters, rows: Ints, t_ms: Ints, value: Ints, quality: Ints) -> None:
        self.rows, self.t_ms, self._value, self._quality = rows, t_ms, value, quality
        self._first = np.append(True, rows[1:] != rows[:-1])[: len(rows)]
        last = {name: kept[rows] for name, kept in counters.last.items()}
        self.before = {n: self._before(last[n], v) for n, v in (("t_ms", t_ms), ("value", value), ("quality", quality))}
        self._step = value - self.before["value"]
        # Where the register came to its value: the last reading of the row at which it moved, or the state's instant.
        moved = self._step > 0
        at = np.maximum.accumulate(np.where(moved | self._first, np.arange(len(rows)), 0))
        self.since_ms = np.where(moved, t_ms, last["since_ms"])[at]
        self.before["since_ms"] = self._before(last["since_ms"], self.since_ms)
        rules = counters.rules[rows]
        self._numerator, self._denominator, self._value_max = rules[:, 0], rules[:, 1], rules[:, 2]
        self._rise, self._per, self._gap_ms = rules[:, 3], rules[:, 4], rules[:, 5]
        self._origin, self._rest = counters.origin[rows], counters.rest[rows]
        # Beyond 64 bits this is nonsense, but then the row is refused.
        self.register = rounded(self._rest + self._numerator * (value - self._origin), self._denominator)
        self._register_before = self._before(counters.register[rows], self.register)

    def is_usual(self) -> NDArray[np.bool_]:
        """Whether each reading comes in order and is what `intervals.register` accepts without a second look."""
        span_ms = self.t_ms - self.before["t_ms"]
        elapsed_ms = self.t_ms - self.before["since_ms"]
        scale = self._denominator + self._numerator * (self._value - self._origin).astype(np.float64) + self._rest
        fits = (4.0 * span_ms * scale < _SAFE) & (scale > 0)
        fits &= (self._step * self._per.astype(np.float64) < _SAFE) & (
            elapsed_ms * self._rise.astype(np.float64) < _SAFE
        )
        is_slow = (self._step == 0) | (self._per == 0) | ((self._step - 1) * self._per <= elapsed_ms * self._rise)
        usual: NDArray[np.bool_] = (span_ms > 0) & (self._step >= 0) & (self._value <= self._value_max) & fits & is_slow
        return usual

    def write(self, table: OpenTable) -> None:
        """Adds every interval to the buckets it lies in."""
        span_ms = self.t_ms - self.before["t_ms"]
        level = np.minimum(self.before["quality"], self._quality)
        level = np.where(span_ms > self._gap_ms, np.minimum(level, Quality.RECOVERED), level)
        worst = (level - 1).astype(np.uint8)
        start = table.start_ms
        first = (np.maximum(self.before["t_ms"], start) - start) // table.bucket_ms
        last = (self.t_ms - 1 - start) // table.bucket_ms
        one = (first == last) & (self.before["t_ms"] >= start)
        table.add(self.rows[one], first[one], (self.register - self._register_before)[one], worst[one])
        several = np.flatnonzero(~one)
        counts = (last - first + 1)[several]
        which = np.repeat(several, counts)
        cells = first[which] + np.arange(len(which)) - np.repeat(np.cumsum(counts) - counts, counts)
        edges = start + cells * table.bucket_ms
        low = np.maximum(edges, self.before["t_ms"][which])
        high = np.minimum(edges + table.bucket_ms, self.t_ms[which])
        table.add(self.rows[which], cells, self._at(which, high) - self._at(which, low), worst[which])

    def _at(self, which: Ints, at_ms: Ints) -> Any:
        """The register at instants inside intervals, as `intervals.counters` interpolates and rounds it."""
        begin_ms = self.before["t_ms"][which]
        span = self.t_ms[which] - begin_ms
        low = self.before["value"][which] - self._origin[which]
        total = low * span + self._step[which] * (at_ms - begin_ms)
        return rounded(self._rest[which] * span + self._numerator[which] * total, self._denominator[which] * span)

    def _before(self, kept: Ints, values: Ints) -> Ints:
        shifted = np.empty_like(values)
        shifted[1:] = values[:-1]
        return np.where(self._first, kept, shifted)


def _rules(source: MeterSource) -> tuple[int, ...] | None:
    """Millionths per step as a fraction, largest value, steps per ms as a fraction (or zeros), longest gap in ms."""
    if source.channel.kind != "counter" or len(source.multipliers) != 1 or source.is_shaped:
        return None
    series = MeterSeries(source.channel, source.meter, source.ratio, ())
    try:
        scale = micro_per_step(series)
    except UnitError:
        return None
    rules = rules_of(series, scale)
    rise = rules.rise_per_ms
    numbers = (
        scale.numerator,
        scale.denominator,
        min(rules.value_max, int(_SAFE / 4)),
        0 if rise is None else rise.numerator,
        0 if rise is None else rise.denominator,
        series.max_gap_ms,
    )
    return numbers if scale > 0 and max(numbers[:2]) < 2**40 and max(numbers) < 2**62 else None


def is_calm(state: CounterState | None) -> bool:
    """Whether a carried state leaves nothing undecided; what came before it is not judged again."""
    return state is not None and not state.held and state.before is None and state.value > 0 and state.coming is None
