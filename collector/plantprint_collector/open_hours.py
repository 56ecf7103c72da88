"""Hours that are not settled yet, kept up reading by reading: what is certain stays, only each meter's tail is redone."""

from bisect import bisect_left, bisect_right
from collections.abc import Sequence

import numpy as np

from plantprint.account import Carry, HourAccount, account_meters
from plantprint.facts import Issue, Reading
from plantprint.intervals import LOOKAHEAD, CounterState, MeterHour, MeterSeries, meter_span
from plantprint.times import HOUR_MS, hour_floor
from plantprint_collector.books import SiteFacts
from plantprint_collector.facts_store import Conn, MeterSource, ReadingWindow, scale

# With this many readings in a tail the older ones are folded into the certain part.
_TAIL_READINGS_MAX = 64


class OpenMeter:
    """One meter since `start_ms`: amounts per bucket up to a checkpoint that no reading in order can change, and a tail."""

    def __init__(self, source: MeterSource, start_ms: int, bucket_s: int, state: CounterState | None) -> None:
        self.source = source
        self._bucket_s = bucket_s
        self._start_ms = self._checkpoint_ms = start_ms
        self._state = state
        self._done = [MeterHour(np.zeros(0, np.int64), np.zeros(0, np.int8), np.zeros(0, np.int32))]
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
        # An amount may reach back over the start, where the settled hour before has counted its part, but over no fold.
        reach_ms = self.source.channel.period_s * 1000 if self._checkpoint_ms > self._start_ms else 0
        if any(r.t_ms - max(reach_ms, 1) < self._checkpoint_ms for r in readings):
            return False
        for reading in readings:
            at = bisect_left(self._tail, reading.t_ms, key=lambda r: r.t_ms)
            if at < len(self._tail) and self._tail[at].t_ms == reading.t_ms:
                self._tail[at] = max(self._tail[at], reading, key=lambda r: r.rank)
            else:
                self._tail.insert(at, reading)
        return True

    def amounts(self, end_ms: int, until_ms: int) -> tuple[MeterHour, list[Issue]]:
        """Buckets from the start to `end_ms`, and what looked wrong in the tail; folds a long tail first."""
        while len(self._tail) > _TAIL_READINGS_MAX and self._fold(until_ms):
            pass
        tail, _, issues = self._span(end_ms, until_ms)
        parts = [*self._done, tail]
        return (
            MeterHour(
                np.concatenate([p.amount for p in parts]),
                np.concatenate([p.quality for p in parts]),
                np.concatenate([p.missing_ms for p in parts]),
            ),
            issues,
        )

    def _span(self, end_ms: int, until_ms: int) -> tuple[MeterHour, CounterState | None, list[Issue]]:
        series = MeterSeries(self.source.channel, self.source.meter, self.source.ratio, tuple(self._tail))
        return meter_span(series, self._checkpoint_ms, end_ms, self._bucket_s, self._state, until_ms)

    def _fold(self, until_ms: int) -> bool:
        """Moves the checkpoint to the last bucket edge with enough readings after it to have decided all before it."""
        bucket_ms = self._bucket_s * 1000
        edge_ms = self._tail[-LOOKAHEAD - 1].t_ms
        edge_ms -= edge_ms % bucket_ms
        if edge_ms <= self._checkpoint_ms:
            return False
        part, state, _ = self._span(edge_ms, until_ms)
        if state is not None and state.held:
            return False
        self._done = [
            MeterHour(
                *(np.concatenate([getattr(p, name) for p in (*self._done, part)]) for name in MeterHour.__slots__)
            )
        ]
        self._state, self._checkpoint_ms = state, edge_ms
        self._tail = self._tail[bisect_right(self._tail, edge_ms, key=lambda r: r.t_ms) :]
        return True


class OpenHours:
    """All meters of a site since the last settled hour; accounts them from memory, reads the database only for tails."""

    def __init__(self, conn: Conn, facts: SiteFacts, start_ms: int, carry: Carry) -> None:
        self.start_ms = start_ms
        self._facts = facts
        self._carry = carry
        self._model = facts.model(start_ms)
        self._meters: dict[str, OpenMeter] = {}
        self._by_channel: dict[int, list[str]] = {}
        for meter, source in facts.sources(start_ms).items():
            for channel_id in source.multipliers:
                self._by_channel.setdefault(channel_id, []).append(meter)
            self._reload(conn, meter, source)

    def add(self, conn: Conn, marks: dict[int, tuple[int, int]]) -> None:
        """Takes in the readings of marked channels (channel id → first and last instant that changed)."""
        marked = {c: span for c, span in marks.items() if c in self._by_channel and span[1] > self.start_ms}
        if not marked:
            return
        low, high = min(s[0] for s in marked.values()), max(s[1] for s in marked.values())
        window = ReadingWindow(conn, list(marked), max(low - 1, self.start_ms), high, 0)
        for channel_id, (first_ms, last_ms) in marked.items():
            fresh = window.between(channel_id, first_ms, last_ms)
            for meter in self._by_channel[channel_id]:
                known = self._meters[meter]
                if not known.add(list(scale(fresh, known.source.multipliers[channel_id]))):
                    self._reload(conn, meter, known.source)

    def accounts(self, now_ms: int, grace_ms: int = 0) -> list[HourAccount]:
        """Every hour from the start to the one that holds `now_ms`, as known at this moment.

        What a meter has not told since its last reading is not missing before `grace_ms` have passed: it is on its way.
        """
        graph, production = self._model.graph, self._facts.production(self._model)
        hours = range(self.start_ms, max(hour_floor(now_ms), self.start_ms) + 1, HOUR_MS)
        end_ms = hours[-1] + HOUR_MS
        amounts = {
            meter: known.amounts(end_ms, known.told_ms(now_ms, grace_ms)) for meter, known in self._meters.items()
        }
        since_ms = self._facts.since_ms(self.start_ms)
        buckets, stock, found = graph.buckets, self._carry.stock, []
        for number, hour_ms in enumerate(hours):
            part = slice(number * buckets, (number + 1) * buckets)
            meters = {
                m: MeterHour(a.amount[part], a.quality[part], a.missing_ms[part]) for m, (a, _) in amounts.items()
            }
            issues = [i for _, wrong in amounts.values() for i in wrong if hour_floor(i.at_ms) == hour_ms]
            account = account_meters(graph, production, hour_ms, meters, issues, Carry({}, stock), now_ms, since_ms)
            stock = account.carry.stock
            found.append(account)
        return found

    def last_ms(self) -> dict[str, int | None]:
        """The newest reading's instant per meter that has a channel."""
        return {meter: known.last_ms for meter, known in self._meters.items()}

    def _reload(self, conn: Conn, meter: str, source: MeterSource) -> None:
        known = OpenMeter(source, self.start_ms, self._model.graph.plant.bucket_s, self._carry.meters.get(meter))
        window = ReadingWindow(conn, list(source.multipliers), self.start_ms, None, 0)
        known.add(window.all_of(source))
        self._meters[meter] = known
