"""The newest instant of every channel, kept up from the marks of changed readings, and how far apart they usually come."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from psycopg import Connection

from plantprint_collector.facts_store import MeterSource

Conn = Connection[tuple[Any, ...]]
Ints = NDArray[np.int64]

NEVER_MS = -1
_STEPS = 5
_TO_MS = "(extract(epoch from {0}) * 1000)::bigint"
_RECENT = f"""
select l.channel_id, {_TO_MS.format("l.measured_at")}, array(
    select {_TO_MS.format("r.measured_at")} from reading r where r.channel_id = l.channel_id
    and r.measured_at between l.measured_at - interval '1 day' and l.measured_at order by r.measured_at desc limit {_STEPS + 1})
from latest l join channel using (channel_id) where site = %s
"""


class Heard(NamedTuple):
    """Per meter the instant of its newest reading (NEVER_MS before the first) and its usual distance from the one before."""

    last_ms: Ints
    usual_ms: Ints


class Newest:
    """Reads the database once; after that marks tell all that changes."""

    def __init__(self, conn: Conn, site: str) -> None:
        rows = conn.execute(_RECENT, (site,)).fetchall()
        self._place = {channel_id: place for place, (channel_id, _, _) in enumerate(rows)}
        # The last place is that of a channel that never says anything.
        self._last_ms = np.array([*(last for _, last, _ in rows), NEVER_MS], np.int64)
        self._steps = np.zeros((len(rows) + 1, _STEPS), np.int64)
        for place, (_, _, recent) in enumerate(rows):
            steps = -np.diff(np.array(recent, np.int64))
            self._steps[place, : len(steps)] = steps
        self._places: tuple[Mapping[str, MeterSource], Ints, Ints] | None = None

    def learn(self, marks: Mapping[int, Sequence[tuple[int, int]]]) -> None:
        """Takes changed spans of channels, in order."""
        fresh = [channel_id for channel_id in marks if channel_id not in self._place]
        if fresh:
            known = len(self._place)
            self._place.update({channel_id: known + n for n, channel_id in enumerate(fresh)})
            self._last_ms = np.append(self._last_ms[:-1], np.full(len(fresh) + 1, NEVER_MS))
            self._steps = np.pad(self._steps, ((0, len(fresh)), (0, 0)))
            self._places = None
        places = np.array([self._place[channel_id] for channel_id in marks], np.int64)
        last_ms = np.array([spans[-1][1] for spans in marks.values()], np.int64)
        before_ms = self._last_ms[places]
        is_newer = last_ms > before_ms
        places, last_ms, before_ms = places[is_newer], last_ms[is_newer], before_ms[is_newer]
        self._last_ms[places] = last_ms
        stepped = before_ms != NEVER_MS
        at = places[stepped]
        self._steps[at, 1:] = self._steps[at, :-1]
        self._steps[at, 0] = (last_ms - before_ms)[stepped]

    @property
    def newest_ms(self) -> int | None:
        """Of all channels, None before the first reading."""
        newest = int(self._last_ms.max())
        return None if newest == NEVER_MS else newest

    def heard(self, sources: Mapping[str, MeterSource], meters: Sequence[str]) -> Heard:
        """Of meters in this order; those without a source have never been heard of."""
        if self._places is None or self._places[0] is not sources:
            self._places = (sources, *self._find(sources, meters))
        _, places, periods_ms = self._places
        steps = np.sort(self._steps[places], axis=2)
        # The middle one of those there are: a pause changes it no more than a burst does.
        count = (steps > 0).sum(axis=2)
        usual = np.take_along_axis(steps, (_STEPS - (count + 1) // 2)[:, :, None].clip(max=_STEPS - 1), axis=2)[:, :, 0]
        return Heard(self._last_ms[places].max(axis=1), np.maximum(usual.max(axis=1), periods_ms))

    def _find(self, sources: Mapping[str, MeterSource], meters: Sequence[str]) -> tuple[Ints, Ints]:
        nobody = len(self._place)
        channels = [sources[m].channel_ids if m in sources else () for m in meters]
        width = max((len(several) for several in channels), default=1) or 1
        places = np.full((len(meters), width), nobody, np.int64)
        for row, several in enumerate(channels):
            places[row, : len(several)] = [self._place.get(channel_id, nobody) for channel_id in several]
        periods = [sources[m].channel.period_s * 1000 if m in sources else 0 for m in meters]
        return places, np.array(periods, np.int64)
