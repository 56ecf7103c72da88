"""The meters of the open hours by row, kept up reading by reading: plain counters all at once, others one by one."""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from plantprint.facts import Issue, Quality
from plantprint.flows import Known
from plantprint.intervals import LOOKAHEAD, CounterState
from plantprint.times import HOUR_MS
from plantprint_collector.books import Range
from plantprint_collector.facts_store import Conn, MeterSource
from plantprint_collector.fed_rows import FedRows
from plantprint_collector.ledger_marks import CHANNEL, FROM, seen_xid
from plantprint_collector.open_meter import OpenMeter, Part
from plantprint_collector.open_table import OpenTable
from plantprint_collector.plain_counters import PlainCounters, is_calm
from plantprint_collector.settled_hour import Seen
from plantprint_collector.shaped_meter import ShapedMeter
from plantprint_collector.spans import by_channel, readings_since
from plantprint_collector.stored_readings import held_channels, readings_held

Ints = NDArray[np.int64]

# So many meters are loaded at a time, as many as keep the readings in memory below that.
_LOADED_METERS = (20, 160)
_LOADED_READINGS = 150_000


class OpenRows:
    """Rows are numbers of `sources`, which have the hours from `start_ms` on; `begins` are states that these begin with."""

    def __init__(
        self, sources: Mapping[str, MeterSource], start_ms: int, bucket_s: int, begins: Mapping[str, CounterState]
    ) -> None:
        self.start_ms = start_ms
        self.begins = begins
        self.names = list(sources)
        self.fed = FedRows(list(sources.values()))
        self.table = OpenTable(len(sources), start_ms, bucket_s * 1000)
        self._bucket_s = bucket_s
        self._number = {meter: row for row, meter in enumerate(sources)}
        self._sources = list(sources.values())
        self._plain = PlainCounters(self._sources, self.table)
        # Rows of which no good reading is known, none before the start either.
        self._is_blank = np.zeros(len(sources), np.bool_)
        self._slow: dict[int, OpenMeter | ShapedMeter] = {}
        self._parts: dict[int, list[Part]] = {}
        self._worked_until_ms: dict[int, int] = {}
        self._issues: dict[int, list[list[Issue]]] = {}
        self._heard_ms = np.full(len(sources), -1, np.int64)
        self._counts = np.zeros((len(sources), 0), np.int64)
        self.reach(start_ms)

    def take(self, found: Ints, is_sure: NDArray[np.bool_]) -> set[int]:
        """Takes in readings and tells of which rows they can change nothing before the start; returns the rows to load anew."""
        if not len(found):
            return set()
        self.reach(int(found[:, 1].max()))
        row, reading, is_own = self.fed.of(found[:, 0])
        before = self._counts.sum(axis=1)
        strange = self._take(row, found[reading], is_own)
        is_sure[row] = (before > LOOKAHEAD)[row] & self._plain.is_plain[row]
        return strange

    def work_out(self, until_ms: Ints) -> None:
        """Looks at rows that are not plain until the instant by which each should have told what it counted."""
        for row in list(self._slow):
            if self._worked_until_ms.get(row) != until_ms[row]:
                self._work_out(row, int(until_ms[row]))

    def begin_at(self, hour_ms: int, begins: Mapping[str, CounterState]) -> None:
        """Forgets everything before an hour."""
        gone = (hour_ms - self.start_ms) // HOUR_MS
        self.start_ms, self.begins = hour_ms, begins
        self.reach(hour_ms)
        self.table.begin_at(hour_ms)
        self._plain.begin_at(gone)
        self._counts = self._counts[:, gone:]
        for row, known in self._slow.items():
            known.begin_at(hour_ms, begins.get(self.names[row]))
            self._worked_until_ms.pop(row, None)
        self._issues = {row: hours[gone:] for row, hours in self._issues.items()}
        self._parts = {row: parts[gone:] for row, parts in self._parts.items()}

    def is_certain(self, row: int) -> bool:
        """Whether no reading in order can change the first hour of a row."""
        known = self._slow.get(row)
        return known is None or known.is_certain(self.start_ms + HOUR_MS)

    def seen_from_end(self, rows: Ints) -> Seen:
        """The first hour of some rows, with all of its time passed."""
        end_ms = self.start_ms + HOUR_MS
        missing_ms = self._missing(0, np.full(len(self.names), end_ms, np.int64))
        amount = self.table.amount[:, self.table.columns(0)]
        seen = Seen(amount[rows], self.table.quality(0)[rows], missing_ms[rows], self._fast_states(rows, end_ms))
        for at in np.flatnonzero(self._is_slow(rows)).tolist():
            hour, state, _ = self._slow[int(rows[at])].first_hour()
            seen.amount[at], seen.quality[at], seen.missing_ms[at] = hour.amount, hour.quality, hour.missing_ms
            seen.states[at] = state
        return seen

    def load(self, conn: Conn, rows: Sequence[int]) -> None:
        """Works rows out from the start on, from what is stored."""
        if not rows:
            return
        self.fed.saw(rows, seen_xid(conn))
        (size, most), at = _LOADED_METERS, 0
        while at < len(rows):
            count = self._load_some(conn, rows[at : at + size])
            at += size
            size = min(2 * size, most) if 2 * count < _LOADED_READINGS else max(size // 2, _LOADED_METERS[0])

    def _load_some(self, conn: Conn, rows: Sequence[int]) -> int:
        """Returns how many readings there were."""
        self._forget(rows)
        ready = [row for row in rows if self._is_ready(row)]
        found = readings_since(conn, [c for row in ready for c in self._sources[row].multipliers], self.start_ms)
        left = set(rows) - set(ready)
        if len(found):
            self.reach(int(found[:, 1].max()))
            row, reading, is_own = self.fed.of(found[:, 0])
            mine = np.isin(row, ready)
            left |= self._take(row[mine], found[reading[mine]], is_own[mine])
        return len(found) + self._load_exactly(conn, sorted(left))

    def _forget(self, rows: Sequence[int]) -> None:
        self.table.clear(rows)
        self._plain.is_plain[list(rows)] = self._is_blank[list(rows)] = False
        self._counts[list(rows)] = 0
        for row in rows:
            for kept in (self._slow, self._parts, self._worked_until_ms, self._issues):
                kept.pop(row, None)

    def _is_ready(self, row: int) -> bool:
        """Whether a row goes on as a plain counter, from its carried state or from the first reading there will be."""
        state = self.begins.get(self.names[row])
        if state is None:
            self._is_blank[row] = self._plain.is_possible[row]
            return bool(self._is_blank[row])
        return is_calm(state) and state.channel == self._plain.mark(row) and self._plain.adopt(row, state)

    def _load_exactly(self, conn: Conn, rows: Sequence[int]) -> int:
        if not rows:
            return 0
        self._forget(rows)
        found = readings_since(conn, {c for row in rows for c in self._sources[row].every_channel_id}, self.start_ms)
        if len(found):
            self.reach(int(found[:, 1].max()))
        told = dict(by_channel(found))
        held = readings_held(conn, held_channels(self._sources[row] for row in rows), self.start_ms)
        for row in rows:
            source = self._sources[row]
            known = self._slow[row] = self._closely(row)
            for channel_id in source.held_ms:
                known.add(channel_id, held.get(channel_id, []))
            for channel_id in source.every_channel_id:
                readings = told.get(channel_id, [])
                known.add(channel_id, readings)
                if readings and channel_id in source.multipliers:
                    self._heard_ms[row] = max(int(self._heard_ms[row]), readings[-1].t_ms)
            self._work_out(row, int(self._heard_ms[row]))
        return len(found)

    def _work_out(self, row: int, until_ms: int) -> None:
        """Looks closely at a row; one that has nothing undecided left goes on as a plain counter."""
        known = self._slow[row]
        parts = known.hours(self.table.end_ms, until_ms)
        state = parts[-1][1]
        closely = known if isinstance(known, OpenMeter) and self._plain.is_possible[row] else None
        is_plain = closely is not None and closely.is_calm(state)
        if is_plain and state is not None and state.t_ms != until_ms:
            parts = known.hours(self.table.end_ms, state.t_ms)
        self.table.put(row, [part[0] for part in parts])
        issues = [part[2] for part in parts]
        if issues != self._issues.get(row, []):
            self._issues[row] = issues
            self.table.changed.update(range(len(parts)))
        if closely and is_plain and state and self._plain.adopt(row, state, [part[1] for part in parts]):
            self._counts[row] = closely.readings_by_hour(self.table.hours)
            del self._slow[row]
            self._parts.pop(row, None)
        else:
            self._parts[row] = parts
            self._worked_until_ms[row] = until_ms

    def reaching(self, spans: Ints, is_sure: NDArray[np.bool_]) -> dict[int, list[Range]]:
        """Which spans [span, 3] of channels may change hours before the start, or are of no row, those of sure rows left out."""
        row, place, _ = self.fed.of(spans[:, CHANNEL])
        low_ms = spans[place, FROM]
        hour = (low_ms - 1 - self.start_ms) // HOUR_MS
        before = np.pad(np.cumsum(self._counts, axis=1), ((0, 0), (1, 0)))
        is_enough = before[row, hour.clip(0, self.table.hours)] > LOOKAHEAD
        for at in np.flatnonzero(self._is_slow(row)).tolist():
            is_enough[at] = not self._slow[int(row[at])].may_reach_before_start(int(low_ms[at]))
        reaching = np.ones(len(spans), np.bool_)
        reaching[place] = False
        reaching[place[(hour < 0) | ~(is_enough | is_sure[row])]] = True
        found: dict[int, list[Range]] = {}
        for channel_id, low, high in spans[reaching].tolist():
            found.setdefault(channel_id, []).append((low, high))
        return found

    def told_ms(self, now_ms: int, grace_ms: Ints | int) -> Ints:
        """Until when each meter should have told what it counted."""
        is_silent = (self._heard_ms < 0) | (now_ms - self._heard_ms > grace_ms)
        return np.where(is_silent, now_ms, np.minimum(self._heard_ms, now_ms))

    def _last_ms(self) -> tuple[NDArray[np.bool_], Ints]:
        """The rows whose time since their last reading is not in the table, and when that was: before all where blank."""
        return self._plain.is_plain | self._is_blank, np.where(self._is_blank, 0, self._plain.last["t_ms"])

    def _missing(self, hour: int, until_ms: Ints) -> NDArray[np.int32]:
        is_open, last_ms = self._last_ms()
        rows = np.flatnonzero(is_open)
        return self.table.missing(hour, rows, last_ms[rows], until_ms[rows])

    def hours(self, hour_ms: int, until_ms: Ints) -> Known:
        """What each meter told in an hour."""
        hour = (hour_ms - self.start_ms) // HOUR_MS
        amount = self.table.amount[:, self.table.columns(hour)]
        return Known(self._number, amount, self.table.quality(hour), self._missing(hour, until_ms))

    def silent_ms(self, hour_ms: int, until_ms: Ints) -> Ints:
        """Until when in an hour each plain meter is missing after its last reading, 0 where it is not."""
        until_ms = np.minimum(until_ms, hour_ms + HOUR_MS)
        is_open, last_ms = self._last_ms()
        return np.where(is_open & (last_ms < until_ms) & (until_ms > hour_ms), until_ms, 0)

    def _fast_states(self, rows: Ints, end_ms: int) -> list[CounterState | None]:
        """The states of rows at an hour's end, None where a row is blank, or looked at closely."""
        found: list[CounterState | None] = [None] * len(rows)
        fast = np.flatnonzero(~(self._is_blank[rows] | self._is_slow(rows)))
        for at, state in zip(fast.tolist(), self._plain.states(rows[fast], end_ms), strict=True):
            found[at] = state
        return found

    def states(self, hour_ms: int) -> dict[str, CounterState]:
        """The states that meters have at an hour's end."""
        end_ms, number = hour_ms + HOUR_MS, (hour_ms - self.start_ms) // HOUR_MS
        found = self._fast_states(np.arange(len(self.names)), end_ms)
        for row in self._slow:
            parts = self._parts.get(row)
            found[row] = None if not parts else parts[min(number, len(parts) - 1)][1]
        return {meter: state for meter, state in zip(self.names, found, strict=True) if state is not None}

    def issues_of(self, hour_ms: int) -> list[Issue]:
        """What looked wrong in an hour."""
        number = (hour_ms - self.start_ms) // HOUR_MS
        return [issue for hours in self._issues.values() for issue in (hours[number] if number < len(hours) else ())]

    def _closely(self, row: int) -> OpenMeter | ShapedMeter:
        source, kind = self._sources[row], ShapedMeter if self._sources[row].is_shaped else OpenMeter
        return kind(source, self.start_ms, self._bucket_s, self.begins.get(self.names[row]))

    def _is_slow(self, row: Ints) -> NDArray[np.bool_]:
        is_slow = np.zeros(len(self.names), np.bool_)
        is_slow[list(self._slow)] = True
        return is_slow[row]

    def reach(self, t_ms: int) -> None:
        """Makes room up to the hour that holds an instant."""
        self.table.reach(t_ms)
        more = self.table.hours - self._counts.shape[1]
        if more > 0:
            self._counts = np.pad(self._counts, ((0, 0), (0, more)))

    def _take(self, row: Ints, found: Ints, is_own: NDArray[np.bool_]) -> set[int]:
        """Takes readings (channel, instant, value, quality, revision) of rows; returns the rows to load anew."""
        np.maximum.at(self._heard_ms, row[is_own], found[is_own, 1])
        is_first, strange = self._begin(row, found)
        plain = self._plain.is_plain[row] & ~is_first
        late = plain & (found[:, 1] <= self._plain.last["t_ms"][row])
        strange.update(row[late].tolist())
        plain &= (found[:, 3] > Quality.MISSING) & ~np.isin(row, row[late])
        order = np.flatnonzero(plain)
        order = order[np.lexsort((found[order, 1], row[order]))]
        rows, t_ms = row[order], found[order, 1]
        refused = self._plain.take(rows, t_ms, found[order, 2], found[order, 3])
        counted = ~np.isin(rows, refused)
        np.add.at(self._counts, (rows[counted], (t_ms[counted] - 1 - self.start_ms) // HOUR_MS), 1)
        strange.update(refused.tolist())
        for number in sorted(set(row.tolist()) & self._slow.keys()):
            known, readings = self._slow[number], found[row == number]
            self._worked_until_ms.pop(number, None)
            self.table.touched[number] |= not known.is_certain(self.start_ms + HOUR_MS)
            if not all(known.add(channel_id, several) for channel_id, several in by_channel(readings)):
                strange.add(number)
        return strange

    def _begin(self, row: Ints, found: Ints) -> tuple[NDArray[np.bool_], set[int]]:
        """Which readings are the first good ones of blank rows that go on as plain counters; the rows that do not."""
        is_first = np.zeros(len(row), np.bool_)
        strange: set[int] = set()
        order = np.flatnonzero(self._is_blank[row] & (found[:, 3] > Quality.MISSING))
        order = order[np.lexsort((found[order, 1], row[order]))]
        _, firsts = np.unique(row[order], return_index=True)
        for at in order[firsts].tolist():
            number, t_ms = int(row[at]), int(found[at, 1])
            self._is_blank[number] = False
            if self._plain.begin(number, t_ms, int(found[at, 2]), int(found[at, 3])):
                self.table.begin(number, t_ms)
                self._counts[number, (t_ms - 1 - self.start_ms) // HOUR_MS] += 1
                is_first[at] = True
            else:
                strange.add(number)
        return is_first, strange
