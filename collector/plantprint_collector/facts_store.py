"""Reads the recorded facts that accounting works from: plant models, channels, events, readings, factors."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from psycopg import Connection

from plantprint.facts import Channel, EventKind, ProductionEvent
from plantprint.intervals import (
    CounterState,
    Feed,
    MeterSeries,
    Values,
    hour_feeds,
    values_of,
)
from plantprint.intervals.lookback import hold_ms
from plantprint.known_meters import followed_meters
from plantprint.plant import Plant
from plantprint.plant.graph import PlantGraph, compile_plant
from plantprint.plant.model import Beside, Meter
from plantprint.times import HOUR_MS, SiteClock, from_ms, to_ms
from plantprint_collector.ledger_marks import join

if TYPE_CHECKING:
    from plantprint_collector.stored_readings import ReadingWindow

Conn = Connection[tuple[Any, ...]]

_NEVER_MS = 2**62
_MS = "(extract(epoch from {0}) * 1000)::bigint"
_EVENT = f"source, event_id, revision, kind, {_MS.format('at')} as at_ms, body"
_EVENTS_AT_ONCE = 10_000


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
