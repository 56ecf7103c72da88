"""The last settled hour and the open ones, kept up reading by reading: what is certain stays, each meter's tail is redone.

The settled hour is kept so that readings after it which still decide what happened at its end are noticed.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

import numpy as np

from plantprint.account import Carry, HourAccount, account_meters
from plantprint.facts import Issue, Reading
from plantprint.intervals import LOOKAHEAD, CounterState, MeterHour, MeterSeries, meter_span
from plantprint.stores import Level, read_level
from plantprint.times import HOUR_MS, hour_floor
from plantprint_collector.books import Range, SiteFacts
from plantprint_collector.facts_store import Conn, MeterSource, ReadingWindow, in_decimals_of, scale

# With this many readings in a tail the older ones are folded into the certain part.
_TAIL_READINGS_MAX = 64

_Part = tuple[MeterHour, CounterState | None, list[Issue]]


class OpenMeter:
    """One meter since `start_ms`: amounts per bucket up to a checkpoint that no reading in order can change, and a tail."""

    def __init__(self, source: MeterSource, start_ms: int, bucket_s: int, state: CounterState | None) -> None:
        self.source = source
        self._bucket_s = bucket_s
        self._start_ms = self._checkpoint_ms = start_ms
        self._state = None if state is None else in_decimals_of(self._series(()), state)
        self._done: dict[int, _Part] = {}
        self._tail: list[Reading] = []

    @property
    def last_ms(self) -> int | None:
        """The instant of the newest reading known, None before the first."""
        if self._tail:
            return self._tail[-1].t_ms
        return None if self._state is None else self._state.t_ms

    def told_ms(self, now_ms: int, grace_ms: int) -> int:
        """Until when this meter should have told what it counted."""
        last_ms = self.last_ms
        return now_ms if last_ms is None or now_ms - last_ms > grace_ms else min(last_ms, now_ms)

    def add(self, readings: Sequence[Reading]) -> bool:
        """Takes readings into the tail; False when one belongs before the checkpoint, so that the meter must be redone."""
        # An amount may reach back over the start, where the hour before has counted its part, but over no fold.
        reach_ms = self.source.channel.period_s * 1000 if self._checkpoint_ms > self._start_ms else 0
        if any(r.t_ms - max(reach_ms, 1) < self._checkpoint_ms for r in readings):
            return False
        for reading in readings:
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
        return bisect_left(self._tail, t_ms, key=_instant) <= LOOKAHEAD

    def is_certain(self, until_ms: int) -> bool:
        """Whether no reading in order can change anything before an instant."""
        return self._checkpoint_ms >= until_ms

    def hours(self, end_ms: int, until_ms: int) -> list[_Part]:
        """Hour after hour to `end_ms`: amounts, the state at its end, what looked wrong; folds a long tail first."""
        while len(self._tail) > _TAIL_READINGS_MAX and self._fold():
            pass
        return list(self._parts(end_ms, until_ms))

    def series(self, hour_ms: int) -> MeterSeries:
        """Readings of an hour and LOOKAHEAD more, for a meter whose hours are never asked for."""
        first, last = (bisect_right(self._tail, t_ms, key=_instant) for t_ms in (hour_ms, hour_ms + HOUR_MS))
        return self._series(self._tail[first : last + LOOKAHEAD])

    def first_hour(self) -> _Part:
        """The first hour, seen from its end or later."""
        end_ms = self._start_ms + HOUR_MS
        return next(self._parts(end_ms, end_ms))

    def begin_at(self, hour_ms: int, state: CounterState | None) -> None:
        """Forgets everything before an hour that begins with `state`."""
        self._done = {at: part for at, part in self._done.items() if at >= hour_ms}
        if self._checkpoint_ms < hour_ms:
            self._checkpoint_ms = hour_ms
            self._state = None if state is None else in_decimals_of(self._series(()), state)
            self._tail = self._tail[bisect_right(self._tail, hour_ms, key=_instant) :]
        self._start_ms = hour_ms

    def _parts(self, end_ms: int, until_ms: int) -> Iterator[_Part]:
        at_ms, state = self._checkpoint_ms, self._state
        for hour_ms in range(self._start_ms, end_ms, HOUR_MS):
            done = self._done.get(hour_ms)
            if done is not None and at_ms >= hour_ms + HOUR_MS:
                yield done
                continue
            part = self._span(at_ms, hour_ms + HOUR_MS, state, until_ms)
            at_ms, state = hour_ms + HOUR_MS, part[1]
            yield part if done is None else _joined(done, part)

    def _span(self, start_ms: int, end_ms: int, state: CounterState | None, until_ms: int) -> _Part:
        """Part of an hour, from the readings that settling the hour would look at: to LOOKAHEAD after its end."""
        hour_end_ms = hour_floor(start_ms) + HOUR_MS
        first, last = (bisect_right(self._tail, t_ms, key=_instant) for t_ms in (start_ms, hour_end_ms))
        series = self._series(self._tail[first : last + LOOKAHEAD])
        hour, after, issues = meter_span(series, start_ms, end_ms, self._bucket_s, state, until_ms)
        return hour, after or state, issues

    def _series(self, readings: Sequence[Reading]) -> MeterSeries:
        return MeterSeries(self.source.channel, self.source.meter, self.source.ratio, tuple(readings))

    def _fold(self) -> bool:
        """Moves the checkpoint to the last bucket edge of its hour that no later reading in order can change."""
        hour_ms = hour_floor(self._checkpoint_ms)
        edge_ms = hour_ms + HOUR_MS
        if self._tail[-LOOKAHEAD].t_ms <= edge_ms:
            edge_ms = self._decided_ms(min(self._floor(self._tail[-LOOKAHEAD - 1].t_ms), edge_ms))
        if edge_ms <= self._checkpoint_ms:
            return False
        part = self._span(self._checkpoint_ms, edge_ms, self._state, edge_ms)
        self._done[hour_ms] = _joined(self._done[hour_ms], part) if hour_ms in self._done else part
        self._state, self._checkpoint_ms = part[1], edge_ms
        self._tail = self._tail[bisect_right(self._tail, edge_ms, key=_instant) :]
        return True

    def _decided_ms(self, edge_ms: int) -> int:
        """The last edge up to `edge_ms` with a good reading behind it that has enough others after it to stay good."""
        if self.source.channel.kind == "amount" or edge_ms <= self._checkpoint_ms:
            return edge_ms
        state = self._span(self._checkpoint_ms, edge_ms, self._state, edge_ms)[1]
        return self._floor(state.t_ms - 1) if state else 0

    def _floor(self, t_ms: int) -> int:
        return t_ms - t_ms % (self._bucket_s * 1000)


def _instant(reading: Reading) -> int:
    return reading.t_ms


def _joined(done: _Part, part: _Part) -> _Part:
    """Two parts of one hour; of a kind of issue the first is kept."""
    names = MeterHour.__slots__
    hour = MeterHour(*(np.concatenate([getattr(done[0], name), getattr(part[0], name)]) for name in names))
    codes = {issue.code for issue in done[2]}
    return hour, part[1], [*done[2], *(issue for issue in part[2] if issue.code not in codes)]


class OpenHours:
    """All meters of a site since `start_ms`, in hours that have one plant model; reads the database only for changes.

    `carry` is what the first hour begins with. When that hour is settled, `is_settled_as_known` tells whether it would
    still be settled alike.
    """

    def __init__(self, conn: Conn, facts: SiteFacts, start_ms: int, carry: Carry) -> None:
        self.facts = facts
        self.start_ms = start_ms
        self.carry = carry
        self._graph = facts.model(start_ms).graph
        self._meters: dict[str, OpenMeter] = {}
        self._by_channel: dict[int, list[str]] = {}
        self._settled: dict[str, _Part] = {}
        self._settled_levels: dict[str, Level] = {}
        self._unsure: set[str] = set()
        for meter, source in facts.sources(start_ms).items():
            for channel_id in source.multipliers:
                self._by_channel.setdefault(channel_id, []).append(meter)
            self._reload(conn, meter, source)

    def add(self, conn: Conn, marks: Mapping[int, Sequence[Range]]) -> None:
        """Takes in the readings of marked channels (channel id → spans that changed)."""
        marked = {
            c: (max(spans[0][0], self.start_ms + 1), spans[-1][1])
            for c, spans in marks.items()
            if c in self._by_channel and spans[-1][1] > self.start_ms
        }
        if not marked:
            return
        low, high = min(s[0] for s in marked.values()), max(s[1] for s in marked.values())
        window = ReadingWindow(conn, list(marked), low - 1, high, 0)
        for channel_id, (first_ms, last_ms) in marked.items():
            fresh = window.between(channel_id, first_ms, last_ms)
            for meter in self._by_channel[channel_id]:
                known = self._meters[meter]
                if not known.add(list(scale(fresh, known.source.multipliers[channel_id]))):
                    self._reload(conn, meter, known.source)

    def may_reach_before_start(self, channel_id: int, t_ms: int) -> bool:
        """Whether a change of a channel could change hours before the start."""
        return any(self._meters[m].may_reach_before_start(t_ms) for m in self._by_channel.get(channel_id, ()))

    def accounts(self, first_ms: int, before: Carry, now_ms: int, grace_ms: int = 0) -> list[HourAccount]:
        """Every hour from `first_ms` to the one that holds `now_ms`, as known at this moment; `before` is its carry.

        What a meter has not told since its last reading is not missing before `grace_ms` have passed: it is on its way.
        """
        production = self.facts.production(self.facts.model(self.start_ms))
        since_ms = self.facts.since_ms(self.start_ms)
        end_ms = max(hour_floor(now_ms), first_ms) + HOUR_MS
        by_meter = {meter: known.hours(end_ms, known.told_ms(now_ms, grace_ms)) for meter, known in self._flow_meters()}
        carry, found = before, list[HourAccount]()
        for hour_ms in range(first_ms, end_ms, HOUR_MS):
            parts = {meter: hours[(hour_ms - self.start_ms) // HOUR_MS] for meter, hours in by_meter.items()}
            amounts = {meter: amount for meter, (amount, _, _) in parts.items()}
            issues = [issue for _, _, several in parts.values() for issue in several]
            levels, unusable = self._levels(hour_ms)
            states = {meter: state for meter, (_, state, _) in parts.items() if state is not None}
            carry = replace(carry, meters={m: s for m, s in carry.meters.items() if m in self._graph.meters} | states)
            account = account_meters(
                self._graph, production, hour_ms, amounts, [*issues, *unusable], carry, now_ms, since_ms, levels
            )
            carry = account.carry
            found.append(account)
        return found

    def begin_at(self, hour_ms: int, carry: Carry) -> None:
        """Forgets everything before an hour, which has just been settled and begins with `carry`."""
        self.start_ms, self.carry = hour_ms, carry
        for meter, known in self._meters.items():
            known.begin_at(hour_ms, carry.meters.get(meter))
        self.settled()

    def settled(self) -> None:
        """Remembers the first hour as it is known now: so it is in the ledger."""
        self._settled = {meter: known.first_hour() for meter, known in self._flow_meters()}
        self._settled_levels = self._levels(self.start_ms)[0]
        self._unsure = set(self._settled)

    def is_settled_as_known(self) -> bool:
        """Whether the first hour, when it is settled, is still what its readings say."""
        if self._settled and self._levels(self.start_ms)[0] != self._settled_levels:
            return False
        for meter in list(self._unsure & self._settled.keys()):
            known = self._meters[meter]
            if not _equal(known.first_hour(), self._settled[meter]):
                return False
            if known.is_certain(self.start_ms + HOUR_MS):
                self._unsure.discard(meter)
        return True

    def last_ms(self) -> dict[str, int | None]:
        """The newest reading's instant per meter that has a channel."""
        return {meter: known.last_ms for meter, known in self._meters.items()}

    def _flow_meters(self) -> Iterator[tuple[str, OpenMeter]]:
        """The meters that count what flows; the others tell levels of stores."""
        return ((meter, known) for meter, known in self._meters.items() if meter not in self._graph.levels)

    def _levels(self, hour_ms: int) -> tuple[dict[str, Level], list[Issue]]:
        """Levels of stores at an hour's end, as far as meters tell them."""
        levels: dict[str, Level] = {}
        issues: list[Issue] = []
        for meter, store in self._graph.levels.items():
            known = self._meters.get(meter)
            if known is None:
                continue
            level = read_level(known.series(hour_ms), self._graph.stores[store], hour_ms)
            if isinstance(level, Issue):
                issues.append(level)
            elif level is not None:
                levels[store] = level
        return levels, issues

    def _reload(self, conn: Conn, meter: str, source: MeterSource) -> None:
        known = OpenMeter(source, self.start_ms, self._graph.plant.bucket_s, self.carry.meters.get(meter))
        window = ReadingWindow(conn, list(source.multipliers), self.start_ms, None, 0)
        known.add(window.all_of(source))
        self._meters[meter] = known
        self._unsure.add(meter)


def _equal(one: _Part, other: _Part) -> bool:
    """Amounts, qualities, missing time and the state at the end; how issues are worded does not matter."""
    alike = all(np.array_equal(getattr(one[0], name), getattr(other[0], name)) for name in MeterHour.__slots__)
    return alike and one[1] == other[1]
