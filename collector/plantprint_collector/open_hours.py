"""The last settled hour and the open ones, kept up reading by reading: plain counters all at once, others one by one.

The settled hour is kept so that readings after it which still decide what happened at its end are noticed.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from plantprint.account import Carry, HourAccount, account_meters
from plantprint.facts import Issue, Quality
from plantprint.flows import Known
from plantprint.intervals import LOOKAHEAD, CounterState, MeterHour
from plantprint.production import Production
from plantprint.times import HOUR_MS, hour_floor
from plantprint_collector.books import Range, SiteFacts
from plantprint_collector.facts_store import Conn
from plantprint_collector.open_levels import OpenLevels
from plantprint_collector.open_meter import OpenMeter, Part
from plantprint_collector.open_table import OpenTable
from plantprint_collector.plain_counters import PlainCounters, is_calm
from plantprint_collector.settled_hour import SettledHour
from plantprint_collector.shaped_meter import ShapedMeter
from plantprint_collector.spans import by_channel, readings_in, readings_since
from plantprint_collector.stored_hours import Kept

Ints = NDArray[np.int64]

# So many meters' readings are in memory at a time while they are loaded.
_LOADED_METERS_MAX = 20
# 13 bytes each; of more than that nothing is kept up (`fits`).
_CELLS_MAX = 2**25


class _Accounted(NamedTuple):
    """An hour accounted at an earlier look, and all that its result depends on besides readings."""

    account: HourAccount
    before: Carry
    production: Production
    since_ms: Mapping[str, int]
    missing_until_ms: Ints


class OpenHours:
    """All meters of a site since `start_ms`, in hours that have one plant model; reads the database only for changes.

    `carry` is what the first hour begins with. When that hour is settled, `unlike_settled` tells which meters would make
    another of it.
    """

    def __init__(self, conn: Conn, facts: SiteFacts, start_ms: int, carry: Carry) -> None:
        self.facts = facts
        self.start_ms = start_ms
        self.carry = carry
        self._graph = facts.model(start_ms).graph
        sources = facts.sources(start_ms)
        self._names = [m for m in self._graph.meters if m in sources and m not in self._graph.levels]
        order = {meter: place for place, meter in enumerate(self._graph.meters)}
        self._order = np.array([order[meter] for meter in self._names], np.int64)
        self._number = {meter: row for row, meter in enumerate(self._names)}
        self._sources = [sources[meter] for meter in self._names]
        self._table = OpenTable(len(self._names), start_ms, self._graph.plant.bucket_s * 1000)
        self._plain = PlainCounters(self._sources, self._table)
        # Rows of which no good reading is known, none before the start either.
        self._is_blank = np.zeros(len(self._names), np.bool_)
        self._slow: dict[int, OpenMeter | ShapedMeter] = {}
        self._parts: dict[int, list[Part]] = {}
        self._worked_until_ms: dict[int, int] = {}
        self._issues: dict[int, list[list[Issue]]] = {}
        self._heard_ms = np.full(len(self._names), -1, np.int64)
        self._counts = np.zeros((len(self._names), 0), np.int64)
        pairs = {(c, row, c in s.multipliers) for row, s in enumerate(self._sources) for c in s.every_channel_id}
        # Channel, row, and whether the row counts it: what spreads it only is no word of the meter.
        self._pairs = np.array(sorted(pairs), np.int64).reshape(-1, 3)
        self._levels = OpenLevels(conn, self._graph, sources, start_ms, carry)
        self._settled: SettledHour | None = None
        self._known: dict[int, _Accounted] = {}
        self._reach(start_ms)
        self._load(conn, range(len(self._names)))

    @staticmethod
    def fits(facts: SiteFacts, start_ms: int, end_ms: int) -> bool:
        """Whether so much time of a site may be kept up in memory."""
        graph = facts.model(start_ms).graph
        return len(graph.meters) * ((end_ms - start_ms) // HOUR_MS + 1) * graph.buckets <= _CELLS_MAX

    def covers(self, first_ms: int) -> bool:
        """Whether the first open hour is kept here: the start, or the one after a settled hour at the start."""
        return first_ms == self.start_ms + (0 if self._settled is None else HOUR_MS)

    def add(self, conn: Conn, marks: Mapping[int, Sequence[Range]]) -> dict[int, list[Range]]:
        """Takes in the readings of marked channels (channel id → spans that changed).

        Returns the spans that may change hours before the start, or concern channels that are not known here.
        """
        wanted = [(c, max(low, self.start_ms + 1), high) for c, spans in marks.items() for low, high in spans]
        found = readings_in(conn, [span for span in wanted if span[2] > self.start_ms])
        is_sure = np.zeros(len(self._names), np.bool_)
        if len(found):
            self._reach(int(found[:, 1].max()))
            if self._levels.take(conn, found, self.carry):
                self._table.changed.update(range(self._table.hours))
            row, reading, is_own = self._by_row(found)
            before = self._counts.sum(axis=1)
            strange = self._take(row, found[reading], is_own)
            is_sure[row] = (before > LOOKAHEAD)[row] & self._plain.is_plain[row]
            is_sure[list(strange)] = False
            self._load(conn, sorted(strange))
        return self._reaching(marks, is_sure)

    def accounts(
        self,
        first_ms: int,
        before: Carry,
        now_ms: int,
        grace_ms: Ints | int = 0,
        *,
        with_states: bool = True,
        end_ms: int | None = None,
    ) -> list[HourAccount]:
        """Every hour from `first_ms` to `end_ms`, or the one that holds `now_ms`, as known now; `before` is its carry.

        What a meter has not told since its last reading is not missing before its `grace_ms` (in the order of the plant's
        meters) has passed: it is on its way. Without states the carries are without the meters', which a mere look does not need.
        """
        production = self.facts.production(self.facts.model(self.start_ms))
        since_ms = self.facts.since_ms(self.start_ms)
        end_ms = end_ms or max(hour_floor(now_ms), first_ms) + HOUR_MS
        self._reach(end_ms - 1)
        until_ms = self._told_ms(now_ms, grace_ms)
        for row in list(self._slow):
            if self._worked_until_ms.get(row) != until_ms[row]:
                self._work_out(row, int(until_ms[row]))
        for number in self._table.changed:
            self._known.pop(self.start_ms + number * HOUR_MS, None)
        self._table.changed.clear()
        carry, found = before, list[HourAccount]()
        for hour_ms in range(first_ms, end_ms, HOUR_MS):
            silent_ms = self._silent_ms(hour_ms, until_ms)
            account = None if with_states else self._as_before(hour_ms, carry, production, since_ms, silent_ms)
            if account is None:
                begins = replace(carry, meters=self._states(carry, hour_ms) if with_states else {})
                levels, unusable = self._levels.at(hour_ms)
                account = account_meters(
                    self._graph, production, hour_ms, self._hours(hour_ms, until_ms),
                    [*self._issues_of(hour_ms), *unusable], begins, now_ms, since_ms, levels,
                )  # fmt: skip
                if now_ms >= hour_ms + HOUR_MS and not with_states:
                    self._known[hour_ms] = _Accounted(account, carry, production, since_ms, silent_ms)
            carry = account.carry
            found.append(account)
        return found

    def begin_at(self, hour_ms: int, carry: Carry) -> None:
        """Forgets everything before an hour, which has just been settled and begins with `carry`."""
        gone = (hour_ms - self.start_ms) // HOUR_MS
        self.start_ms, self.carry = hour_ms, carry
        self._reach(hour_ms)
        self._table.begin_at(hour_ms)
        self._plain.begin_at(gone)
        self._counts = self._counts[:, gone:]
        for row, known in self._slow.items():
            known.begin_at(hour_ms, carry.meters.get(self._names[row]))
            self._worked_until_ms.pop(row, None)
        self._levels.begin_at(hour_ms, carry)
        self._issues = {row: hours[gone:] for row, hours in self._issues.items()}
        self._parts = {row: parts[gone:] for row, parts in self._parts.items()}
        self._known.clear()
        self.settled()

    def follow(self, conn: Conn, carry: Carry) -> None:
        """The first hour, which has just been settled anew, begins with `carry`."""
        before, self.carry = self.carry.meters, carry
        moved = {meter for meter in before.keys() | carry.meters.keys() if before.get(meter) != carry.meters.get(meter)}
        self._load(conn, sorted(self._number[meter] for meter in moved & self._number.keys()))
        self._levels.follow(conn, carry, moved)
        self.settled()

    def settled(self) -> None:
        """Remembers the first hour as it is known now: so it is in the ledger."""
        hours = self._seen_from_end(range(len(self._names)))
        known = {meter: hour for meter, (hour, _) in zip(self._names, hours, strict=True)}
        states = {meter: state for meter, (_, state) in zip(self._names, hours, strict=True) if state is not None}
        self.settled_as(Kept(known, states))
        self._table.touched[:] = False

    def settled_as(self, kept: Kept) -> None:
        """Remembers the first hour as `kept` is in the ledger; of other meters it is not known there."""
        self._settled = SettledHour(self._names, kept, self._levels.at(self.start_ms)[0])
        self._table.touched[:] = True

    def unlike_settled(self) -> set[str]:
        """The meters that would make another hour of the first one, when it is settled, than it is in the ledger."""
        settled = self._settled
        if settled is None:
            return set()
        unlike = set() if self._levels.at(self.start_ms)[0] == settled.levels else self._levels.meters
        rows = np.flatnonzero(self._table.touched).tolist()
        for row, (hour, state) in zip(rows, self._seen_from_end(rows), strict=True):
            if not settled.is_alike(row, hour, state):
                unlike.add(self._names[row])
            else:
                known = self._slow.get(row)
                self._table.touched[row] = known is not None and not known.is_certain(self.start_ms + HOUR_MS)
        return unlike

    def _seen_from_end(self, rows: Iterable[int]) -> list[tuple[MeterHour, CounterState | None]]:
        """The first hour of some rows, with all of its time passed, and the state at its end."""
        end_ms = self.start_ms + HOUR_MS
        until_ms = np.full(len(self._names), end_ms, np.int64)
        quality, missing_ms = self._table.quality(0), self._missing(0, until_ms)
        amount = self._table.amount[:, self._table.columns(0)]
        return [
            (MeterHour(amount[row], quality[row], missing_ms[row]), self._state(row, end_ms))
            if row not in self._slow
            else self._slow[row].first_hour()[:2]
            for row in rows
        ]

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
            self._table.touched[number] |= not known.is_certain(self.start_ms + HOUR_MS)
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
                self._table.begin(number, t_ms)
                self._counts[number, (t_ms - 1 - self.start_ms) // HOUR_MS] += 1
                is_first[at] = True
            else:
                strange.add(number)
        return is_first, strange

    def _load(self, conn: Conn, rows: Sequence[int]) -> None:
        """Works rows out from the start on, from what is stored."""
        for at in range(0, len(rows), _LOADED_METERS_MAX):
            chunk = rows[at : at + _LOADED_METERS_MAX]
            self._forget(chunk)
            ready = [row for row in chunk if self._is_ready(row)]
            found = readings_since(conn, [c for row in ready for c in self._sources[row].multipliers], self.start_ms)
            left = set(chunk) - set(ready)
            if len(found):
                self._reach(int(found[:, 1].max()))
                row, reading, is_own = self._by_row(found)
                mine = np.isin(row, ready)
                left |= self._take(row[mine], found[reading[mine]], is_own[mine])
            self._load_exactly(conn, sorted(left))

    def _forget(self, rows: Sequence[int]) -> None:
        self._table.clear(rows)
        self._plain.is_plain[list(rows)] = self._is_blank[list(rows)] = False
        self._counts[list(rows)] = 0
        for row in rows:
            for kept in (self._slow, self._parts, self._worked_until_ms, self._issues):
                kept.pop(row, None)

    def _is_ready(self, row: int) -> bool:
        """Whether a row goes on as a plain counter, from its carried state or from the first reading there will be."""
        state = self.carry.meters.get(self._names[row])
        if state is None:
            self._is_blank[row] = self._plain.is_possible[row]
            return bool(self._is_blank[row])
        return is_calm(state) and state.channel == self._plain.mark(row) and self._plain.adopt(row, state)

    def _load_exactly(self, conn: Conn, rows: Sequence[int]) -> None:
        if not rows:
            return
        self._forget(rows)
        found = readings_since(conn, {c for row in rows for c in self._sources[row].every_channel_id}, self.start_ms)
        if len(found):
            self._reach(int(found[:, 1].max()))
        told = dict(by_channel(found))
        for row in rows:
            source = self._sources[row]
            known = self._slow[row] = self._closely(row)
            for channel_id in source.every_channel_id:
                readings = told.get(channel_id, [])
                known.add(channel_id, readings)
                if readings and channel_id in source.multipliers:
                    self._heard_ms[row] = max(int(self._heard_ms[row]), readings[-1].t_ms)
            self._work_out(row, int(self._heard_ms[row]))

    def _work_out(self, row: int, until_ms: int) -> None:
        """Looks closely at a row; one that has nothing undecided left goes on as a plain counter."""
        known = self._slow[row]
        parts = known.hours(self._table.end_ms, until_ms)
        state = parts[-1][1]
        closely = known if isinstance(known, OpenMeter) and self._plain.is_possible[row] else None
        is_plain = closely is not None and closely.is_calm(state)
        if is_plain and state is not None and state.t_ms != until_ms:
            parts = known.hours(self._table.end_ms, state.t_ms)
        self._table.put(row, [part[0] for part in parts])
        issues = [part[2] for part in parts]
        if issues != self._issues.get(row, []):
            self._issues[row] = issues
            self._table.changed.update(range(len(parts)))
        if closely and is_plain and state and self._plain.adopt(row, state, [part[1] for part in parts]):
            self._counts[row] = closely.readings_by_hour(self._table.hours)
            del self._slow[row]
            self._parts.pop(row, None)
        else:
            self._parts[row] = parts
            self._worked_until_ms[row] = until_ms

    def _reaching(self, marks: Mapping[int, Sequence[Range]], is_sure: NDArray[np.bool_]) -> dict[int, list[Range]]:
        found: dict[int, list[Range]] = {}
        for channel_id, spans in marks.items():
            rows = self._rows_of(channel_id)
            if not rows or spans[0][0] <= self.start_ms or not all(is_sure[row] for row in rows):
                reaching = [span for span in spans if not rows or any(self._may_reach(row, span[0]) for row in rows)]
                if reaching:
                    found[channel_id] = reaching
        return found

    def _may_reach(self, row: int, t_ms: int) -> bool:
        known = self._slow.get(row)
        if known is not None:
            return known.may_reach_before_start(t_ms)
        hour = (t_ms - 1 - self.start_ms) // HOUR_MS
        return hour < 0 or int(self._counts[row, :hour].sum()) <= LOOKAHEAD

    def _rows_of(self, channel_id: int) -> list[int]:
        low, high = np.searchsorted(self._pairs[:, 0], (channel_id, channel_id + 1))
        rows: list[int] = self._pairs[low:high, 1].tolist()
        return rows

    def _by_row(self, found: Ints) -> tuple[Ints, Ints, NDArray[np.bool_]]:
        """Rows, the place of a reading for each, and whether it counts it: a channel may feed several meters."""
        low = np.searchsorted(self._pairs[:, 0], found[:, 0], "left")
        counts = np.searchsorted(self._pairs[:, 0], found[:, 0], "right") - low
        reading = np.repeat(np.arange(len(found)), counts)
        nth = np.arange(len(reading)) - np.repeat(np.cumsum(counts) - counts, counts)
        pairs = self._pairs[low[reading] + nth]
        return pairs[:, 1], reading, pairs[:, 2] > 0

    def _reach(self, t_ms: int) -> None:
        self._table.reach(t_ms)
        more = self._table.hours - self._counts.shape[1]
        if more > 0:
            self._counts = np.pad(self._counts, ((0, 0), (0, more)))

    def _told_ms(self, now_ms: int, grace_ms: Ints | int) -> Ints:
        """Until when each meter should have told what it counted."""
        grace = grace_ms if isinstance(grace_ms, int) else grace_ms[self._order]
        is_silent = (self._heard_ms < 0) | (now_ms - self._heard_ms > grace)
        return np.where(is_silent, now_ms, np.minimum(self._heard_ms, now_ms))

    def _last_ms(self) -> tuple[NDArray[np.bool_], Ints]:
        """The rows whose time since their last reading is not in the table, and when that was: before all where blank."""
        return self._plain.is_plain | self._is_blank, np.where(self._is_blank, 0, self._plain.last["t_ms"])

    def _missing(self, hour: int, until_ms: Ints) -> NDArray[np.int32]:
        is_open, last_ms = self._last_ms()
        rows = np.flatnonzero(is_open)
        return self._table.missing(hour, rows, last_ms[rows], until_ms[rows])

    def _hours(self, hour_ms: int, until_ms: Ints) -> Known:
        hour = (hour_ms - self.start_ms) // HOUR_MS
        amount = self._table.amount[:, self._table.columns(hour)]
        return Known(self._number, amount, self._table.quality(hour), self._missing(hour, until_ms))

    def _silent_ms(self, hour_ms: int, until_ms: Ints) -> Ints:
        """Until when in an hour each plain meter is missing after its last reading, 0 where it is not."""
        until_ms = np.minimum(until_ms, hour_ms + HOUR_MS)
        is_open, last_ms = self._last_ms()
        return np.where(is_open & (last_ms < until_ms) & (until_ms > hour_ms), until_ms, 0)

    def _as_before(
        self, hour_ms: int, carry: Carry, production: Production, since_ms: Mapping[str, int], silent_ms: Ints
    ) -> HourAccount | None:
        """An hour that was over when it was last accounted, if nothing behind it has changed since."""
        known = self._known.get(hour_ms)
        if known is None or known.before is not carry or known.production is not production:
            return None
        is_alike = known.since_ms == since_ms and np.array_equal(known.missing_until_ms, silent_ms)
        return known.account if is_alike else None

    def _state(self, row: int, end_ms: int) -> CounterState | None:
        return None if self._is_blank[row] else self._plain.state(row, end_ms)

    def _states(self, carry: Carry, hour_ms: int) -> dict[str, CounterState]:
        """The meters' states at an hour's end."""
        end_ms, number = hour_ms + HOUR_MS, (hour_ms - self.start_ms) // HOUR_MS
        states = {meter: state for meter, state in carry.meters.items() if meter in self._graph.meters}
        for row, meter in enumerate(self._names):
            parts = self._parts.get(row)
            if row in self._slow:
                state = None if not parts else parts[min(number, len(parts) - 1)][1]
            else:
                state = self._state(row, end_ms)
            if state is not None:
                states[meter] = state
        return states

    def _issues_of(self, hour_ms: int) -> list[Issue]:
        number = (hour_ms - self.start_ms) // HOUR_MS
        return [issue for hours in self._issues.values() for issue in (hours[number] if number < len(hours) else ())]

    def _closely(self, row: int) -> OpenMeter | ShapedMeter:
        source, kind = self._sources[row], ShapedMeter if self._sources[row].is_shaped else OpenMeter
        return kind(source, self.start_ms, self._graph.plant.bucket_s, self.carry.meters.get(self._names[row]))
