"""The last settled hour and the open ones, kept up reading by reading: plain counters all at once, others one by one.

The settled hour is kept so that readings after it which still decide what happened at its end are noticed.
"""

from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from plantprint.account import Carry, HourAccount, account_meters
from plantprint.intervals import CounterState
from plantprint.production import Production
from plantprint.times import HOUR_MS, hour_floor
from plantprint_collector.books import Range, SiteFacts
from plantprint_collector.facts_store import Conn
from plantprint_collector.ledger_marks import CHANNEL, FROM, TO, Marks, spans_of
from plantprint_collector.open_levels import OpenLevels
from plantprint_collector.open_rows import OpenRows
from plantprint_collector.settled_hour import SettledHour
from plantprint_collector.spans import in_parts, readings_in
from plantprint_collector.stored_hours import Kept

Ints = NDArray[np.int64]

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
        known = [m for m in self._graph.meters if m in sources and m not in self._graph.levels]
        order = {meter: place for place, meter in enumerate(self._graph.meters)}
        self._order = np.array([order[meter] for meter in known], np.int64)
        bucket_s = self._graph.plant.bucket_s
        self._rows = OpenRows({meter: sources[meter] for meter in known}, start_ms, bucket_s, carry.meters)
        self._levels = OpenLevels(conn, self._graph, sources, start_ms, carry)
        self._settled: SettledHour | None = None
        self._known: dict[int, _Accounted] = {}
        self._rows.load(conn, range(len(known)))

    @staticmethod
    def fits(facts: SiteFacts, start_ms: int, end_ms: int) -> bool:
        """Whether so much time of a site may be kept up in memory."""
        graph = facts.model(start_ms).graph
        return len(graph.meters) * ((end_ms - start_ms) // HOUR_MS + 1) * graph.buckets <= _CELLS_MAX

    def covers(self, first_ms: int) -> bool:
        """Whether the first open hour is kept here: the start, or the one after a settled hour at the start."""
        return first_ms == self.start_ms + (0 if self._settled is None else HOUR_MS)

    def add(self, conn: Conn, marks: Marks) -> dict[int, list[Range]]:
        """Takes in the readings of marked channels.

        Returns the spans (channel id → in order) that may change hours before the start, or concern channels that are not
        known here.
        """
        is_news = self._rows.fed.is_news(marks.changes)
        news = marks.changes[is_news & (marks.changes[:, TO] > self.start_ms)]
        spans = spans_of(news)
        spans[:, FROM] = spans[:, FROM].clip(min=self.start_ms + 1)
        is_sure = np.zeros(len(self._rows.names), np.bool_)
        strange = set[int]()
        for part in in_parts(spans):
            found = readings_in(conn, part)
            if self._levels.take(conn, found, self.carry):
                self._rows.table.changed.update(range(self._rows.table.hours))
            strange |= self._rows.take(found, is_sure)
        self._rows.load(conn, sorted(strange))
        is_sure[list(strange)] = False
        is_sure[self._rows.fed.of(marks.changes[~is_news, CHANNEL])[0]] = False
        return self._rows.reaching(spans_of(marks.changes), is_sure)

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
        self._rows.reach(end_ms - 1)
        until_ms = self._rows.told_ms(now_ms, grace_ms if isinstance(grace_ms, int) else grace_ms[self._order])
        self._rows.work_out(until_ms)
        for number in self._rows.table.changed:
            self._known.pop(self.start_ms + number * HOUR_MS, None)
        self._rows.table.changed.clear()
        carry, found = before, list[HourAccount]()
        for hour_ms in range(first_ms, end_ms, HOUR_MS):
            silent_ms = self._rows.silent_ms(hour_ms, until_ms)
            account = None if with_states else self._as_before(hour_ms, carry, production, since_ms, silent_ms)
            if account is None:
                begins = replace(carry, meters=self._states(carry, hour_ms) if with_states else {})
                levels, unusable = self._levels.at(hour_ms)
                account = account_meters(
                    self._graph, production, hour_ms, self._rows.hours(hour_ms, until_ms),
                    [*self._rows.issues_of(hour_ms), *unusable], begins, now_ms, since_ms, levels,
                )  # fmt: skip
                if now_ms >= hour_ms + HOUR_MS and not with_states:
                    self._known[hour_ms] = _Accounted(account, carry, production, since_ms, silent_ms)
            carry = account.carry
            found.append(account)
        return found

    def begin_at(self, hour_ms: int, carry: Carry) -> None:
        """Forgets everything before an hour, which has just been settled and begins with `carry`."""
        self.start_ms, self.carry = hour_ms, carry
        self._rows.begin_at(hour_ms, carry.meters)
        self._levels.begin_at(hour_ms, carry)
        self._known.clear()
        self.settled()

    def follow(self, conn: Conn, carry: Carry, kept: Collection[str] | None) -> None:
        """The first hour begins with `carry`; it was settled anew, with the stored hours of `kept`, or not (None).

        Whatever meters it was made of besides is read as the ledger read it: marks of some of that may still wait.
        """
        before, self.carry = self.carry.meters, carry
        moved = {meter for meter in before.keys() | carry.meters.keys() if before.get(meter) != carry.meters.get(meter)}
        self._rows.begins = carry.meters
        asked = [meter in moved or not (kept is None or meter in kept) for meter in self._rows.names]
        self._rows.load(conn, np.flatnonzero(asked).tolist())
        self._levels.follow(conn, carry, moved)
        self.settled()

    def settled(self) -> None:
        """Remembers the first hour as it is known now: so it is in the ledger."""
        seen = self._rows.seen_from_end(np.arange(len(self._rows.names)))
        self._settled = SettledHour(seen, np.ones(len(self._rows.names), np.bool_), self._levels.at(self.start_ms)[0])
        self._rows.table.touched[:] = False

    def settled_as(self, kept: Kept) -> None:
        """Remembers the first hour as `kept` is in the ledger; of other meters it is not known there."""
        levels = self._levels.at(self.start_ms)[0]
        self._settled = SettledHour.of_kept(self._rows.names, kept, self._rows.table.buckets, levels)
        self._rows.table.touched[:] = True

    def unlike_settled(self) -> set[str]:
        """The meters that would make another hour of the first one, when it is settled, than it is in the ledger."""
        settled = self._settled
        if settled is None:
            return set()
        unlike = set() if self._levels.at(self.start_ms)[0] == settled.levels else self._levels.meters
        rows = np.flatnonzero(self._rows.table.touched)
        if not len(rows):
            return unlike
        is_alike = settled.is_alike(rows, self._rows.seen_from_end(rows))
        for row in rows[is_alike].tolist():
            self._rows.table.touched[row] = not self._rows.is_certain(row)
        return unlike | {self._rows.names[row] for row in rows[~is_alike].tolist()}

    def _as_before(
        self, hour_ms: int, carry: Carry, production: Production, since_ms: Mapping[str, int], silent_ms: Ints
    ) -> HourAccount | None:
        """An hour that was over when it was last accounted, if nothing behind it has changed since."""
        known = self._known.get(hour_ms)
        if known is None or known.before is not carry or known.production is not production:
            return None
        is_alike = known.since_ms == since_ms and np.array_equal(known.missing_until_ms, silent_ms)
        return known.account if is_alike else None

    def _states(self, carry: Carry, hour_ms: int) -> dict[str, CounterState]:
        """The meters' states at an hour's end."""
        before = {meter: state for meter, state in carry.meters.items() if meter in self._graph.meters}
        return before | self._rows.states(hour_ms)
