"""Reads the recorded facts that accounting works from: plant models, channels, events, readings, factors."""

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import numpy as np
from psycopg import Connection

from plantprint.facts import Channel, EventKind, ProductionEvent, Reading
from plantprint.intervals import (
    ANY_VALUE,
    LOOKAHEAD,
    CounterState,
    Feed,
    MeterSeries,
    Values,
    hour_feeds,
    values_of,
)
from plantprint.intervals.lookback import hold_ms, hour_readings
from plantprint.known_meters import followed_meters
from plantprint.plant import Plant
from plantprint.plant.graph import PlantGraph, compile_plant
from plantprint.plant.model import Beside, Meter
from plantprint.times import HOUR_MS, SiteClock, from_ms, to_ms
from plantprint_collector.ledger_marks import join

Conn = Connection[tuple[Any, ...]]

_FAR = datetime(9999, 1, 1, tzinfo=UTC)
_NEVER_MS = 2**62
_MS = "(extract(epoch from {0}) * 1000)::bigint"
# That a stored reading counts as one of LOOKAHEAD: it is not withdrawn and holds a possible value, and so does every other
# at its instant that may win over it. `offset 0` keeps it a look-up per reading: as a join it would read whole channels.
_COUNTS = (
    "quality > 0 and value between {0}.least and {0}.most and not exists ("
    "select from reading other where other.channel_id = any({0}.ids) and other.measured_at = reading.measured_at{1} "
    "and (other.quality = 0 or not other.value between {0}.least and {0}.most) offset 0)"
)
_AT = "timestamptz 'epoch' + {0} * interval '1 ms'"
_EVENT = f"source, event_id, revision, kind, {_MS.format('at')} as at_ms, body"
_EVENTS_AT_ONCE = 10_000
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


@dataclass(frozen=True, slots=True)
class ModelVersion:
    """A stored plant model; it applies to hours that start at or after `effective_ms` (None: from the beginning)."""

    version: int
    effective_ms: int | None
    graph: PlantGraph


@dataclass(frozen=True, slots=True)
class StoredChannel:
    channel_id: int
    channel: Channel


@dataclass(frozen=True, slots=True)
class MeterSource:
    """The channels behind a meter's binding: the finest declared decimals, and each stored channel's multiplier to it.

    It feeds the meter from `from_ms` until `to_ms` (None: since before, beyond the hour); `following` feed it after that,
    or come in the next hour. `beside` are channels that say more of it, by what they tell: power spreads what a coarse
    counter counts, pressure and temperature make heat of a mass. `tells` is what this one tells, if it is one of those.
    """

    meter: Meter
    ratio: Decimal
    channel: Channel
    multipliers: dict[int, int]
    from_ms: int | None = None
    to_ms: int | None = None
    following: tuple["MeterSource", ...] = ()
    beside: Mapping[Beside, "MeterSource"] = field(default_factory=dict)
    tells: Beside | None = None

    @property
    def is_whole(self) -> bool:
        """Whether one channel makes the meter's hour, and the next hour begins with it."""
        return self.from_ms is None and self.to_ms is None and not self.following

    @property
    def is_shaped(self) -> bool:
        """Whether more than its own channel says what a meter tells: of a counter when it counted, of a mass its heat."""
        is_spread = "power" in self.beside or self.meter.resolution is not None
        return self.meter.heat is not None or (self.channel.kind == "counter" and is_spread)

    @property
    def channel_ids(self) -> tuple[int, ...]:
        """Every channel that feeds the meter in the hour."""
        return tuple(c for source in (self, *self.following) for c in source.multipliers)

    @property
    def every_channel_id(self) -> tuple[int, ...]:
        """Every channel that has a part in the meter's hour, those beside its own too."""
        beside = [c for source in self.beside.values() for c in source.multipliers] if self.is_shaped else ()
        return (*self.multipliers, *beside, *(c for source in self.following for c in source.every_channel_id))

    @property
    def values(self) -> Values:
        """What counts of its readings."""
        return values_of(self.channel, self.meter, self.ratio, self.tells)

    def series(self, window: "ReadingWindow", hour_ms: int) -> MeterSeries:
        """What the meter's hour is made from."""
        readings = window.cut(self, hour_ms)
        following = tuple(source.series(window, hour_ms) for source in self.following)
        beside = {name: source.series(window, hour_ms) for name, source in self.beside.items()}
        return replace(self.empty, readings=readings, following=following, beside=beside)

    @property
    def held_ms(self) -> dict[int, tuple[int, Values]]:
        """Of channels whose readings are held, beside its own: for how long, and what counts of each one's readings."""
        found: dict[int, tuple[int, Values]] = {}
        for source in self.beside.values():
            least, most = source.values
            for c, m in source.multipliers.items() if hold_ms(self.meter, source.tells) else ():
                found[c] = hold_ms(self.meter, source.tells), Values(-(-least // m), most // m)
        return found

    @property
    def empty(self) -> MeterSeries:
        """The series of its own channel without readings."""
        return MeterSeries(self.channel, self.meter, self.ratio, (), self.from_ms, self.to_ms, tells=self.tells)


def load_models(conn: Conn, site: str) -> list[ModelVersion]:
    """Versions in the order in which they take over: by effective time, a later version of the same time wins."""
    rows = conn.execute(
        "select version, effective_at, body from plant_model where site = %s order by effective_at nulls first, version",
        (site,),
    ).fetchall()
    return [
        ModelVersion(
            version, None if effective is None else to_ms(effective), compile_plant(Plant.model_validate(body))
        )
        for version, effective, body in rows
    ]


def model_at(models: Sequence[ModelVersion], hour_ms: int) -> ModelVersion:
    """The version in force at an hour's start; before the first effective time the first version applies."""
    return next((m for m in reversed(models) if m.effective_ms is None or m.effective_ms <= hour_ms), models[0])


def load_clock(conn: Conn, site: str) -> SiteClock:
    row = conn.execute("select clock from site where site = %s", (site,)).fetchone()
    return SiteClock(**row[0]) if row else SiteClock()


def load_channels(conn: Conn, site: str) -> dict[str, list[StoredChannel]]:
    """Declared channels by `agent/name`, every declared version of each."""
    found: dict[str, list[StoredChannel]] = {}
    for channel_id, agent, name, unit, decimals, kind, period_s in conn.execute(
        "select channel_id, agent, name, unit, decimals, kind, period_s from channel where site = %s order by channel_id",
        (site,),
    ):
        channel = Channel(agent, name, unit, decimals, kind, period_s)
        found.setdefault(channel.key, []).append(StoredChannel(channel_id, channel))
    return found


def meter_sources(
    graph: PlantGraph,
    later: PlantGraph,
    channels: dict[str, list[StoredChannel]],
    first_ms: Mapping[int, int],
    hour_ms: int,
) -> dict[str, MeterSource]:
    """The channel set of every meter in an hour; a meter whose channel nobody has declared yet is absent.

    `later` is the plant of the hour after. Of the versions of a channel the newest counts that had a reading (`first_ms`
    by channel id) by the hour's end, and with it those that differ from it in decimals only: they are one stream. An
    older stream in another unit ended when the agent was configured anew, and its hours stay as they were.
    """
    sources: dict[str, MeterSource] = {}
    for meter in followed_meters(graph, later):
        feeds = hour_feeds(meter, later.meters.get(meter.id), hour_ms)
        found = [_feeding(meter, feed, channels, first_ms, hour_ms) for feed in feeds]
        known = [source for source in found if source is not None]
        if known:
            sources[meter.id] = replace(known[0], following=tuple(known[1:]))
    return sources


def _feeding(
    meter: Meter, feed: Feed, channels: dict[str, list[StoredChannel]], first_ms: Mapping[int, int], hour_ms: int
) -> MeterSource | None:
    """What feeds a meter under a binding, with the channels beside it that anybody has declared."""
    source = _source(meter, feed, channels.get(feed.binding.channel, []), first_ms, hour_ms)
    if source is None or not feed.binding.beside:
        return source
    named = feed.binding.beside.items()
    found = {name: _source(meter, feed, channels.get(channel, []), first_ms, hour_ms) for name, channel in named}
    return replace(source, beside={name: replace(s, tells=name) for name, s in found.items() if s is not None})


def _source(
    meter: Meter, feed: Feed, stored: Sequence[StoredChannel], first_ms: Mapping[int, int], hour_ms: int
) -> MeterSource | None:
    begun = [s for s in stored if first_ms.get(s.channel_id, _NEVER_MS) <= hour_ms + HOUR_MS] or stored[:1]
    if not begun:
        return None
    same = [s for s in begun if _stream(s.channel) == _stream(begun[-1].channel)]
    finest = max((s.channel for s in same), key=lambda c: c.decimals)
    multipliers = {s.channel_id: 10 ** (finest.decimals - s.channel.decimals) for s in same}
    return MeterSource(meter, feed.binding.ratio, finest, multipliers, feed.from_ms, feed.to_ms)


def in_decimals_of(series: MeterSeries, state: CounterState) -> CounterState:
    """A carried state as a base for `series`: the same, unless it was kept in fewer decimals of the same stream."""
    for feed in (series, *series.following):
        state = _in_decimals(feed.channel_mark, state)
        for name, series_beside in feed.beside.items():
            if (beside := state.beside(name)) is not None:
                state = state.with_beside({name: _in_decimals(series_beside.channel_mark, beside)})
    return state if state.coming is None else replace(state, coming=in_decimals_of(series, state.coming))


def _in_decimals(mark: str, state: CounterState) -> CounterState:
    stream, _, decimals = state.channel.rpartition(" ")
    now_stream, _, now_decimals = mark.rpartition(" ")
    if stream != now_stream or int(decimals) >= int(now_decimals):
        return state
    finer = 10 ** (int(now_decimals) - int(decimals))
    before = state.before and (state.before[0], state.before[1] * finer, state.before[2] * finer)
    held = tuple((t_ms, value * finer, quality) for t_ms, value, quality in state.held)
    return replace(
        state, value=state.value * finer, offset=state.offset * finer, held=held, before=before, channel=mark
    )


def _stream(channel: Channel) -> tuple[str, str, int]:
    return (channel.unit, channel.kind, channel.period_s)


def load_events(conn: Conn, site: str, spans: Sequence[tuple[int, int]]) -> list[ProductionEvent]:
    """Events whose instant lies in one of the spans, both ends included."""
    apart = join(spans, 0)
    ends = [from_ms(low) for low, _ in apart], [from_ms(high) for _, high in apart]
    # `offset 0` keeps it a range of the index per span: any join plan would read all events.
    rows = conn.execute(
        "select e.* from unnest(%s::timestamptz[], %s::timestamptz[]) as span(low, high) cross join lateral "
        f"(select {_EVENT} from production_event where site = %s and at between span.low and span.high offset 0) e",
        (*ends, site),
    ).fetchall()
    return [_event(*row) for row in rows]


def all_events(conn: Conn, site: str) -> Iterator[list[ProductionEvent]]:
    """All events of a site in order of time, some at once."""
    query = f"select {_EVENT} from production_event where site = %s order by at, source, event_id, revision"
    with conn.transaction(), conn.cursor(name="production_events") as cursor:
        cursor.execute(query, (site,))
        while rows := cursor.fetchmany(_EVENTS_AT_ONCE):
            yield [_event(*row) for row in rows]


def _event(source: str, event_id: str, revision: int, kind: str, at_ms: int, body: dict[str, Any]) -> ProductionEvent:
    return ProductionEvent(source, event_id, revision, _kind(kind), at_ms, body)


def _kind(kind: str) -> EventKind:
    return kind  # type: ignore[return-value]  # the wire refuses other kinds before they are stored


def load_factor_rows(conn: Conn) -> list[tuple[str, int, dict[str, Any]]]:
    """(factor_id, version, body) of the newest version of every factor."""
    return conn.execute(
        "select distinct on (factor_id) factor_id, version, body from factor order by factor_id, version desc"
    ).fetchall()


def count_factors(conn: Conn) -> int:
    """Factors and versions of hourly series; they are only ever added, so another number means other factors."""
    row = conn.execute("select (select count(*) from factor) + (select count(*) from factor_series)").fetchone()
    return int(row[0]) if row else 0


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


def first_readings_ms(conn: Conn, channel_ids: Iterable[int]) -> dict[int, int]:
    """The instant of the first reading of each channel that has any, or had before they were dropped."""
    rows = conn.execute(
        f"select c.channel_id, {_MS.format('coalesce(channel.first_at, r.measured_at)')} from unnest(%s::int[]) "
        "as c(channel_id) join channel using (channel_id) left join lateral (select measured_at from reading "
        "where reading.channel_id = c.channel_id and channel.first_at is null order by measured_at limit 1) r on true",
        (list(channel_ids),),
    ).fetchall()
    return {channel_id: t_ms for channel_id, t_ms in rows if t_ms is not None}


def newest_by_channel(conn: Conn, site: str) -> dict[int, int]:
    """The instant of the newest reading per channel, from `latest`."""
    rows = conn.execute(
        f"select channel_id, {_MS.format('measured_at')} from latest join channel using (channel_id) where site = %s",
        (site,),
    ).fetchall()
    return dict(rows)
