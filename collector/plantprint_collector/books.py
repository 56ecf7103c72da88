"""The facts of one site as accounting needs them, and hours accounted from stored readings: whole, in order, exact."""

from bisect import bisect_right
from collections.abc import Callable, Hashable, Iterable, Iterator, KeysView, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

from plantprint.account import Carry, HourAccount, account_hour
from plantprint.factor_series import FactorSeries
from plantprint.factors import Factor, builtin_factors, latest
from plantprint.intervals import LOOKAHEAD, Values, binding_edges_ms, binding_from_ms, values_of
from plantprint.intervals.lookback import hold_ms
from plantprint.plant.model import Binding, Meter
from plantprint.plant_history import PlantHistory
from plantprint.production import Production
from plantprint.settlement import reaches_back_ms
from plantprint.source_history import SourceHistory
from plantprint.times import HOUR_MS, hour_floor
from plantprint_collector.facts_store import (
    Conn,
    MeterSource,
    ModelVersion,
    StoredChannel,
    count_factors,
    first_readings_ms,
    in_decimals_of,
    load_channels,
    load_events,
    load_factor_rows,
    load_models,
    meter_sources,
    model_at,
)
from plantprint_collector.series_store import load_series
from plantprint_collector.site_events import SiteEvents
from plantprint_collector.stored_hours import Kept, fingerprint, keep_nothing
from plantprint_collector.stored_readings import ReadingWindow, reach_back_ms

Range = tuple[int, int]
_Found = TypeVar("_Found")

_FAR_MS = 2**62
_MEMO_MAX = 64


@dataclass(frozen=True, eq=False)
class SiteFacts:
    """Everything but readings, as of one database snapshot; `factor_rows` is how many factors and series there were then.

    `productions` are by version of the model, `happened` is what each event says under the one in force then; `events`, from
    which they are made, goes on to the next snapshot.
    """

    site: str
    models: list[ModelVersion]
    channels: dict[str, list[StoredChannel]]
    events: SiteEvents
    productions: Mapping[int, Production]
    happened: Production
    library: dict[str, Factor]
    factor_rows: int
    first_ms: dict[int, int]
    series: dict[str, FactorSeries] = field(default_factory=dict)
    _memo: dict[tuple[str, Hashable], Any] = field(default_factory=dict, repr=False)

    def model(self, hour_ms: int) -> ModelVersion:
        return model_at(self.models, hour_ms)

    def production(self, model: ModelVersion) -> Production:
        """What is accounted in hours in which a model is in force (it knows which work units and steps exist)."""
        return self.productions[model.version]

    @property
    def plants(self) -> PlantHistory:
        return self._once("plants", 0, lambda: PlantHistory((m.effective_ms, m.graph) for m in self.models))

    def _once(self, name: str, of: Hashable, find: Callable[[], _Found]) -> _Found:
        """What models, channels and first readings say, looked up once until `learn_first` hears something new."""
        key = (name, of)
        if key not in self._memo:
            if len(self._memo) > _MEMO_MAX:
                self._memo.clear()
            self._memo[key] = find()
        found: _Found = self._memo[key]
        return found

    def since_ms(self, hour_ms: int) -> dict[str, int]:
        """When each meter that ever reported began to, by any of its bindings; an amount's period counts with it."""
        return self._once("since", self.model(hour_ms).version, lambda: self._since_ms(hour_ms))

    def _since_ms(self, hour_ms: int) -> dict[str, int]:
        found: dict[str, int] = {}
        for meter in self.model(hour_ms).graph.plant.meters:
            firsts = [
                max(binding_from_ms(binding), self.first_ms[s.channel_id] - s.channel.period_s * 1000)
                for binding in meter.bindings
                for s in self.channels.get(binding.channel, ())
                if s.channel_id in self.first_ms
            ]
            if firsts:
                found[meter.id] = min(firsts)
        return found

    def learn_first(self, changed: Mapping[int, Sequence[Range]]) -> None:
        """Changed readings (channel id → spans in order) may be earlier than those known, or the first at all."""
        earlier = {c: spans[0][0] for c, spans in changed.items() if spans[0][0] < self.first_ms.get(c, _FAR_MS)}
        if earlier:
            self.first_ms.update(earlier)
            self._memo.clear()

    def first_reaches_ms(self, channel_id: int, t_ms: int) -> int:
        """Since when hours can differ because a channel has its first reading, at an instant.

        It ends the stream of another version of it. Of a meter that nothing fed before it ends all missing time; one that
        was fed by another channel is fed by this one from its binding on, and follows it an hour earlier.
        """
        versions = self._once("versions", 0, self._versions)[channel_id]
        if any(self.first_ms.get(s.channel_id, t_ms) < t_ms for s in versions):
            return t_ms
        key, since = versions[0].channel.key, list[int]()
        for model, meter, binding in self._once("bound", 0, self._bound).get(key, ()):
            fed = any(self._has_readings(b.channel) for b in meter.bindings if b.channel != key)
            bound_ms = binding_from_ms(binding) if fed else 0
            since.append(max(bound_ms, model.effective_ms or 0) - HOUR_MS)
        return max(0, min(since, default=t_ms))

    def _bound(self) -> dict[str, list[tuple[ModelVersion, Meter, Binding]]]:
        """By channel every binding of it."""
        found: dict[str, list[tuple[ModelVersion, Meter, Binding]]] = {}
        for model in self.models:
            for meter in model.graph.plant.meters:
                for binding in meter.bindings:
                    found.setdefault(binding.channel, []).append((model, meter, binding))
        return found

    def _has_readings(self, channel: str) -> bool:
        return any(s.channel_id in self.first_ms for s in self.channels.get(channel, ()))

    @property
    def begins_ms(self) -> int | None:
        """The first instant that any mapped reading says something about, None without readings."""
        return self._once("begins", 0, self._begins_ms)

    def _begins_ms(self) -> int | None:
        periods = self.mapped_channels()
        return min((self.first_ms[c] - period for c, period in periods.items() if c in self.first_ms), default=None)

    def channel_ids(self) -> KeysView[int]:
        """Every declared channel."""
        return self._once("versions", 0, self._versions).keys()

    def _versions(self) -> dict[int, list[StoredChannel]]:
        return {s.channel_id: stored for stored in self.channels.values() for s in stored}

    def sources(self, hour_ms: int) -> dict[str, MeterSource]:
        """What feeds each meter in an hour; the same object for hours that do not differ."""
        hour_ms = hour_floor(hour_ms)
        return self._once("sources", self._stretch(hour_ms), lambda: self._sources(hour_ms))

    def _stretch(self, hour_ms: int) -> Hashable:
        """Equal for hours in which the same models, bindings and channels count: an edge within two hours is its own."""
        begun = bisect_right(self._once("firsts", 0, lambda: sorted(self.first_ms.values())), hour_ms + HOUR_MS)
        edges = self._once("edges", 0, self._edges)
        passed = bisect_right(edges, hour_ms)
        is_near = passed < len(edges) and edges[passed] < hour_ms + 2 * HOUR_MS
        versions = self.model(hour_ms).version, self.model(hour_ms + HOUR_MS).version
        return (*versions, begun, passed, hour_ms if is_near else None)

    def _edges(self) -> list[int]:
        return sorted({edge for model in self.models for edge in _edges_of(model.graph.plant.meters)})

    def made_of(self, hour_ms: int) -> dict[str, int]:
        """Fingerprints of the meters of an hour, without those that were not there yet when it began."""
        marks = self._once("made of", self._stretch(hour_ms), lambda: self._made_of(hour_ms))
        late = {meter for meter, since in self.since_ms(hour_ms).items() if since > hour_ms}
        return {meter: mark for meter, mark in marks.items() if meter not in late} if late else marks

    def _made_of(self, hour_ms: int) -> dict[str, int]:
        plant, levels = self.model(hour_ms).graph.plant, self.model(hour_ms).graph.levels
        sources = self.sources(hour_ms).items()
        return {meter: fingerprint(source, plant.bucket_s) for meter, source in sources if meter not in levels}

    @property
    def source_history(self) -> SourceHistory:
        """The sources of all models: an amount is valued by its source as it was when it entered."""
        return self._once(
            "source history", 0, lambda: SourceHistory((m.effective_ms, m.graph.plant.sources) for m in self.models)
        )

    @property
    def every_meter(self) -> frozenset[str]:
        """The meters of all models."""
        return self._once("meters", 0, lambda: frozenset(m.id for v in self.models for m in v.graph.plant.meters))

    def meters_of(self, channel_id: int) -> frozenset[str]:
        """The meters that any model feeds from a channel, or that it says more of."""
        return self._once("fed", 0, self._fed).get(channel_id, frozenset())

    def _fed(self) -> dict[int, frozenset[str]]:
        meters: dict[str, set[str]] = {}
        for model in self.models:
            for meter in model.graph.plant.meters:
                for channel in {channel for binding in meter.bindings for channel in binding.channels}:
                    meters.setdefault(channel, set()).add(meter.id)
        return {s.channel_id: frozenset(meters.get(key, ())) for key, stored in self.channels.items() for s in stored}

    def _sources(self, hour_ms: int) -> dict[str, MeterSource]:
        graph, later = self.model(hour_ms).graph, self.model(hour_ms + HOUR_MS).graph
        return meter_sources(graph, later, self.channels, self.first_ms, hour_ms)

    def is_alike(self, first_ms: int, last_ms: int) -> bool:
        """Whether the hours from `first_ms` to `last_ms` have one plant model and one channel behind each meter."""
        if self.model(first_ms) is not self.model(last_ms):
            return False
        sources, model = self.sources(first_ms), self.model(first_ms)
        edges = self._once("model edges", model.version, lambda: _edges_of(model.graph.plant.meters))
        changes = any(first_ms < edge <= last_ms for edge in edges)
        return not changes and all(s.is_whole for s in sources.values()) and sources == self.sources(last_ms)

    def values(self) -> dict[int, Values]:
        """What counts of each mapped channel's readings, for whichever meter and ratio has the narrowest view of it."""
        return self._once("values", 0, self._values)

    def _values(self) -> dict[int, Values]:
        found: dict[int, Values] = {}
        for model in self.models:
            for meter in model.graph.plant.meters:
                for binding in meter.bindings:
                    for tells, channel in ((None, binding.channel), *binding.beside.items()):
                        for s in self.channels.get(channel, ()):
                            known, own = found.get(s.channel_id), values_of(s.channel, meter, binding.ratio, tells)
                            found[s.channel_id] = own if known is None else known.narrowed(own)
        return found

    def held_ms(self) -> dict[int, int]:
        """Channel ids that tell some meter a pressure or temperature, each with the longest for which a reading is held."""
        return self._once("held", 0, self._held_ms)

    def _held_ms(self) -> dict[int, int]:
        found: dict[int, int] = {}
        meters = (meter for model in self.models for meter in model.graph.plant.meters if meter.heat is not None)
        for meter in meters:
            for tells, channel in (item for binding in meter.bindings for item in binding.beside.items()):
                for s in self.channels.get(channel, ()):
                    found[s.channel_id] = max(found.get(s.channel_id, 0), hold_ms(meter, tells))
        return {c: ms for c, ms in found.items() if ms}

    def mapped_channels(self) -> dict[int, int]:
        """Channel ids that some model binds to a meter, beside it too, each with its period in ms (1 for instants)."""
        return self._once("mapped", 0, self._mapped_channels)

    def _mapped_channels(self) -> dict[int, int]:
        bindings = [b for m in self.models for meter in m.graph.plant.meters for b in meter.bindings]
        bound = {channel for binding in bindings for channel in binding.channels}
        return {
            stored.channel_id: max(stored.channel.period_s * 1000, 1)
            for name in bound
            for stored in self.channels.get(name, [])
        }


def _edges_of(meters: Iterable[Meter]) -> set[int]:
    return {edge for meter in meters for binding in meter.bindings for edge in binding_edges_ms(binding)}


def load_facts(conn: Conn, site: str, events: SiteEvents | None = None) -> SiteFacts | None:
    """The site's facts, or None while it has no plant model; `events` where they are known already."""
    models = load_models(conn, site)
    if not models:
        return None
    stored = [Factor.from_json({**body, "version": version}) for _, version, body in load_factor_rows(conn)]
    library = latest([*builtin_factors(), *stored])
    if events is None:
        events = SiteEvents()
        events.load(conn, site)
    productions = events.follow(models)
    channels, series = load_channels(conn, site), load_series(conn, site)
    facts = SiteFacts(
        site, models, channels, events, productions, events.happened, library, count_factors(conn), {}, series
    )
    facts.first_ms.update(first_readings_ms(conn, facts.mapped_channels()))
    return facts


def account_hours(
    conn: Conn,
    facts: SiteFacts,
    hours: Sequence[int],
    carry: Carry,
    until_ms: int,
    keep: Callable[[int, Carry], Kept] = keep_nothing,
) -> Iterator[HourAccount]:
    """Accounts consecutive hours from stored readings, each with the carry of the one before it.

    `keep` says which meters' hours are known as they are; it is asked hour by hour as they are accounted.
    """
    if not hours:
        return
    window = ReadingWindow(conn, (), hours[0], hours[-1] + HOUR_MS, facts.values(), facts.held_ms())
    for hour_ms in hours:
        model, kept = facts.model(hour_ms), keep(hour_ms, carry)
        sources = {meter: s for meter, s in facts.sources(hour_ms).items() if meter not in kept.hours}
        window.look_at({c for source in sources.values() for c in source.every_channel_id})
        series = {meter: source.series(window, hour_ms) for meter, source in sources.items()}
        begins = {
            m: in_decimals_of(series[m], s) if m in series else s
            for m, s in carry.meters.items()
            if m not in kept.hours
        }
        account = account_hour(
            model.graph,
            facts.production(model),
            hour_ms,
            series,
            replace(carry, meters=begins | kept.states),
            until_ms,
            facts.since_ms(hour_ms),
            kept.hours,
        )
        yield account
        carry = account.carry


def touched_by_readings(conn: Conn, facts: SiteFacts, marks: Mapping[int, Sequence[Range]]) -> list[tuple[int, Range]]:
    """Spans of time that changed readings of a channel can reach: to the neighbours, and as far back as one is held.

    A pressure or temperature holds without a neighbour, too.
    """
    periods, held_ms = facts.mapped_channels(), facts.held_ms()
    spans = [(c, low, high) for c, changed in marks.items() if c in periods for low, high in changed]
    reached = reach_back_ms(conn, spans, LOOKAHEAD + 1, facts.values())
    return [
        (c, (min(before, low) - periods[c], after if after > high else high + held_ms.get(c, 0)))
        for (c, low, high), (before, after) in zip(spans, reached, strict=True)
    ]


def touched_since(conn: Conn, facts: SiteFacts, spans: Sequence[Range]) -> int:
    """Since when accounts can differ where all that is known is that events with instants in `spans` are new or gone."""
    among = load_events(conn, facts.site, spans)
    span = min(low for low, _ in spans), max(high for _, high in spans)
    return min(reaches_back_ms(model.graph, facts.production(model), among, span) for model in facts.models)
