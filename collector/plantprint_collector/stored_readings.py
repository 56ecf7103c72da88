"""Stored readings as accounting needs them: a span's, those beyond it that decide something, and those that are still held."""

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import numpy as np

from plantprint.facts import Reading
from plantprint.intervals import ANY_VALUE, LOOKAHEAD, Values
from plantprint.intervals.lookback import hour_readings
from plantprint.times import from_ms
from plantprint_collector.facts_store import Conn, MeterSource

_FAR = datetime(9999, 1, 1, tzinfo=UTC)
_MS = "(extract(epoch from {0}) * 1000)::bigint"
# That a stored reading counts as one of LOOKAHEAD: it is not withdrawn and holds a possible value, and so does every other
# at its instant that may win over it. `offset 0` keeps it a look-up per reading: as a join it would read whole channels.
_COUNTS = (
    "quality > 0 and value between {0}.least and {0}.most and not exists ("
    "select from reading other where other.channel_id = any({0}.ids) and other.measured_at = reading.measured_at{1} "
    "and (other.quality = 0 or not other.value between {0}.least and {0}.most) offset 0)"
)
_AT = "timestamptz 'epoch' + {0} * interval '1 ms'"
_REACH = f"""
with c as materialized (
    select s.n, {_AT.format("s.low")} as low, {_AT.format("s.high")} as high, array(
        select o.channel_id from channel o where (o.site, o.agent, o.name) = (mine.site, mine.agent, mine.name)) as ids,
    s.least, s.most
    from unnest(%(n)s, %(ids)s::int[], %(low)s, %(high)s, %(least)s::bigint[], %(most)s::bigint[])
        as s(n, channel_id, low, high, least, most) join channel mine using (channel_id))
select c.n, array(
    select {_MS.format("measured_at")} from reading where reading.channel_id = one.channel_id and measured_at < c.low
    and {_COUNTS.format("c", "")} order by measured_at desc limit %(readings)s), array(
    select {_MS.format("measured_at")} from reading where reading.channel_id = one.channel_id and measured_at > c.high
    and {_COUNTS.format("c", "")} order by measured_at limit 1)
from c cross join unnest(c.ids) as one(channel_id)
"""


class ReadingWindow:
    """Readings of a set of channels in (after, upto] with what is needed beyond it, cut per hour without asking again."""

    def __init__(
        self,
        conn: Conn,
        channel_ids: Sequence[int],
        after_ms: int,
        upto_ms: int | None,
        values: Mapping[int, Values] | None = None,
        held_ms: Mapping[int, int] | None = None,
    ) -> None:
        """`values` by channel say what counts of what is needed beyond; without, every value does.

        `held_ms` are channels of which the last reading before counts too, and for how long.
        """
        self._conn, self._values, self._held_ms = conn, values or {}, held_ms or {}
        self._span = after_ms, upto_ms
        self._merged: dict[tuple[tuple[int, int], ...], tuple[Reading, ...]] = {}
        self._by_channel: dict[int, list[Reading]] = {}
        self._times: dict[int, list[int]] = {}
        self.look_at(channel_ids)

    def look_at(self, channel_ids: Iterable[int]) -> None:
        """Takes in the channels that are not here yet."""
        (after_ms, upto_ms), fresh = self._span, [c for c in channel_ids if c not in self._by_channel]
        if not fresh:
            return
        self._by_channel |= {channel_id: [] for channel_id in fresh}
        held = {c: (self._held_ms[c], self._values.get(c, ANY_VALUE)) for c in fresh if c in self._held_ms}
        for channel_id, readings in readings_held(self._conn, held, after_ms).items():
            self._by_channel[channel_id] += readings
        for channel_id, *reading in _fetch(self._conn, fresh, after_ms, upto_ms):
            self._by_channel[channel_id].append(Reading(*reading))
        if upto_ms is not None:
            for channel_id, *reading in _fetch_following(self._conn, fresh, upto_ms, self._values):
                self._by_channel[channel_id].append(Reading(*reading))
        self._times |= {channel_id: [r.t_ms for r in self._by_channel[channel_id]] for channel_id in fresh}

    def cut(self, source: MeterSource, hour_ms: int) -> tuple[Reading, ...]:
        """The readings that the source's hour is made from, in its finest decimals."""
        if len(source.multipliers) > 1:
            return hour_readings(self.all_of(source), hour_ms, source.empty)
        [channel_id] = source.multipliers  # in the finest decimals, which are its own
        return hour_readings(self._by_channel.get(channel_id, ()), hour_ms, source.empty)

    def all_of(self, source: MeterSource) -> tuple[Reading, ...]:
        """Everything read for a meter, in its finest decimals."""
        streams = tuple(source.multipliers.items())
        if streams not in self._merged:
            merged = [r for c, multiplier in streams for r in scale(self._by_channel.get(c, ()), multiplier)]
            self._merged[streams] = one_per_instant(merged) if len(streams) > 1 else tuple(merged)
        return self._merged[streams]

    def between(self, channel_id: int, first_ms: int, last_ms: int) -> list[Reading]:
        """A channel's readings from `first_ms` to `last_ms`, both included."""
        times = self._times[channel_id]
        return self._by_channel[channel_id][bisect_left(times, first_ms) : bisect_right(times, last_ms)]


def scale(readings: Iterable[Reading], multiplier: int) -> Iterable[Reading]:
    if multiplier == 1:
        return readings
    return (Reading(r.t_ms, r.value * multiplier, r.quality, r.revision) for r in readings)


def one_per_instant(readings: Iterable[Reading]) -> tuple[Reading, ...]:
    """Of several streams the highest rank per instant, in order of time."""
    best: dict[int, Reading] = {}
    for reading in readings:
        if reading.t_ms not in best or reading.rank > best[reading.t_ms].rank:
            best[reading.t_ms] = reading
    return tuple(best[t_ms] for t_ms in sorted(best))


def _fetch(conn: Conn, channel_ids: Sequence[int], after_ms: int, upto_ms: int | None) -> list[Any]:
    upto = _FAR if upto_ms is None else from_ms(upto_ms)
    return conn.execute(
        f"select channel_id, {_MS.format('measured_at')}, value, quality, revision from reading "
        "where channel_id = any(%s) and measured_at > %s and measured_at <= %s order by channel_id, measured_at",
        (list(channel_ids), from_ms(after_ms), upto),
    ).fetchall()


def held_channels(sources: Iterable[MeterSource]) -> dict[int, tuple[int, Values]]:
    """Of channels beside several meters the longest that a reading is held, and what counts for all of them."""
    found: dict[int, tuple[int, Values]] = {}
    for source in sources:
        for c, (held_ms, values) in source.held_ms.items():
            longest, narrowest = found.get(c, (held_ms, values))
            found[c] = max(longest, held_ms), values.narrowed(narrowest)
    return found


def readings_held(conn: Conn, held_ms: Mapping[int, tuple[int, Values]], at_ms: int) -> dict[int, list[Reading]]:
    """Per channel, given for how long its readings are held and what counts, the last that does at or before an instant.

    With it whatever was read after it up to the instant; nothing that is too old to be held.
    """
    if not held_ms:
        return {}
    limits = _limits(list(held_ms), {c: values for c, (_, values) in held_ms.items()})
    counts = _COUNTS.format("c", f" and other.measured_at > {_AT.format('%(oldest)s::bigint')}")
    found: dict[int, list[Reading]] = {}
    for channel_id, *reading in conn.execute(
        "with c as materialized (select channel_id, array(select o.channel_id from channel o "
        "  where (o.site, o.agent, o.name) = (mine.site, mine.agent, mine.name) and o.channel_id <> mine.channel_id) as ids, "
        f"  s.least, s.most, {_AT.format('s.low')} as low from channel mine "
        "  join unnest(%(ids)s::int[], %(least)s::bigint[], %(most)s::bigint[], %(low)s::bigint[]) "
        "    as s(channel_id, least, most, low) using (channel_id)) "
        f"select c.channel_id, {_MS.format('r.measured_at')}, r.value, r.quality, r.revision from c "
        "left join lateral (select measured_at from reading where reading.channel_id = c.channel_id "
        f"  and measured_at <= %(at)s and measured_at > {_AT.format('%(oldest)s::bigint')} and measured_at > c.low "
        f"  and {counts} order by measured_at desc limit 1) as last on true "
        "cross join lateral (select * from reading where reading.channel_id = c.channel_id and measured_at <= %(at)s "
        f"  and measured_at > {_AT.format('%(oldest)s::bigint')} and measured_at > c.low "
        "  and measured_at >= coalesce(last.measured_at, c.low) order by measured_at) r order by 1, 2",
        {
            "at": from_ms(at_ms),
            "low": [at_ms - ms for ms, _ in held_ms.values()],
            "oldest": at_ms - max(ms for ms, _ in held_ms.values()),
            **limits,
        },
    ).fetchall():
        found.setdefault(channel_id, []).append(Reading(*reading))
    return found


def _fetch_following(conn: Conn, channel_ids: Sequence[int], after_ms: int, values: Mapping[int, Values]) -> list[Any]:
    """What `span_readings` looks at after an instant, or more of it where several channels are one stream.

    All that follows where fewer than LOOKAHEAD count, so at the live edge; else it is bounded by them and the period.
    Where one channel is the stream, what does not count is left out.
    """
    # Said twice, so that days before are left out when the query is planned, not for every reading.
    counts = _COUNTS.format("c", " and other.measured_at > %(after)s")
    return conn.execute(
        "with c as materialized (select channel_id, period_s, array(select o.channel_id from channel o "
        "  where (o.site, o.agent, o.name) = (mine.site, mine.agent, mine.name) and o.channel_id <> mine.channel_id) as ids, "
        "  s.least, s.most from channel mine "
        "  join unnest(%(ids)s::int[], %(least)s::bigint[], %(most)s::bigint[]) as s(channel_id, least, most) "
        "    using (channel_id)) "
        f"select c.channel_id, {_MS.format('r.measured_at')}, r.value, r.quality, r.revision from c "
        "left join lateral (select measured_at from reading where reading.channel_id = c.channel_id "
        f"  and measured_at > %(after)s and {counts} "
        "  order by measured_at offset %(others)s limit 1) as last on true "
        "cross join lateral (select * from reading where reading.channel_id = c.channel_id and measured_at > %(after)s "
        "  and measured_at <= greatest(coalesce(last.measured_at, 'infinity'), "
        "    %(after)s + make_interval(secs => c.period_s)) "
        "  and (value between c.least and c.most or cardinality(c.ids) > 0) order by measured_at) r order by 1, 2",
        {"after": from_ms(after_ms), "others": LOOKAHEAD - 1, **_limits(channel_ids, values)},
    ).fetchall()


def _limits(channel_ids: Sequence[int], values: Mapping[int, Values]) -> dict[str, list[int]]:
    """Channels with what counts of each, as columns."""
    limits = [values.get(channel_id, ANY_VALUE) for channel_id in channel_ids]
    return {"ids": list(channel_ids), "least": [v.least for v in limits], "most": [v.most for v in limits]}


def reach_back_ms(
    conn: Conn, spans: Sequence[tuple[int, int, int]], readings: int, values: Mapping[int, Values]
) -> list[tuple[int, int]]:
    """Per span (channel id, first, last instant): the `readings`-th reading before it and the first after it.

    They are of the span's channel and those that are one stream with it; readings that do not count are not counted, by
    the `values` of the span's channel. The span's own ends where there is none.
    """
    if not spans:
        return []
    ids, low, high = np.array(spans, np.int64).T
    limits = _limits(ids.tolist(), values)
    found: dict[int, tuple[list[int], list[int]]] = {}
    for number, before, after in conn.execute(
        _REACH, {"n": np.arange(len(spans)), "low": low, "high": high, "readings": readings, **limits}
    ):
        befores, afters = found.setdefault(number, ([], []))
        befores += before
        afters += after
    reached = []
    for number, (_, low_ms, high_ms) in enumerate(spans):
        befores, afters = found.get(number, ([], []))
        last = sorted(set(befores), reverse=True)[:readings]
        reached.append((last[-1] if last else low_ms, min(afters, default=high_ms)))
    return reached
