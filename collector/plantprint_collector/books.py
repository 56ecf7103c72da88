"""The facts of one site as accounting needs them, and hours accounted from stored readings: whole, in order, exact."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from plantprint.account import Carry, HourAccount, account_hour
from plantprint.factors import Factor, builtin_factors, latest
from plantprint.facts import ProductionEvent
from plantprint.intervals import LOOKAHEAD, MeterSeries
from plantprint.plant.graph import PlantGraph
from plantprint.production import Production, reduce_events
from plantprint.settlement import reaches_back_ms, touched_spans
from plantprint.times import HOUR_MS, hour_floor
from plantprint_collector.facts_store import (
    Conn,
    MeterSource,
    ModelVersion,
    ReadingWindow,
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
    reach_back_ms,
)

Range = tuple[int, int]


@dataclass(frozen=True, eq=False)
class SiteFacts:
    """Everything but readings, as of one database snapshot; `factor_rows` is the size of the factor table then."""

    site: str
    models: list[ModelVersion]
    channels: dict[str, list[StoredChannel]]
    events: dict[tuple[str, str, int], ProductionEvent]
    library: dict[str, Factor]
    factor_rows: int
    first_ms: dict[int, int]
    _productions: dict[int, Production] = field(default_factory=dict)

    def model(self, hour_ms: int) -> ModelVersion:
        return model_at(self.models, hour_ms)

    def production(self, model: ModelVersion) -> Production:
        """What the events mean under a model (it knows which work units and steps exist)."""
        same = next(m for m in self.models if _same_places(m.graph, model.graph))
        if same.version not in self._productions:
            self._productions[same.version] = reduce_events(self.events.values(), same.graph)
        return self._productions[same.version]

    def with_events(self, conn: Conn, spans: Sequence[Range]) -> "SiteFacts":
        """These facts and the events that were stored meanwhile, whose instants lie in `spans`."""
        return replace(self, events=self.events | _by_identity(load_events(conn, self.site, spans)), _productions={})

    def since_ms(self, hour_ms: int) -> dict[str, int]:
        """When each meter that ever reported began to; an amount's period counts with it."""
        found: dict[str, int] = {}
        for meter, source in self.sources(hour_ms).items():
            firsts = [
                self.first_ms[s.channel_id] - s.channel.period_s * 1000
                for s in self.channels[source.channel.key]
                if s.channel_id in self.first_ms
            ]
            if firsts:
                found[meter] = min(firsts)
        return found

    def learn_first(self, changed: Mapping[int, Sequence[Range]]) -> None:
        """Changed readings (channel id → spans in order) may be earlier than those known, or the first at all."""
        for channel_id, spans in changed.items():
            self.first_ms[channel_id] = min(self.first_ms.get(channel_id, spans[0][0]), spans[0][0])

    def is_first(self, channel_id: int, t_ms: int) -> bool:
        """Whether no version of the channel had a reading before an instant."""
        versions = next(stored for stored in self.channels.values() if any(s.channel_id == channel_id for s in stored))
        return all(self.first_ms.get(s.channel_id, t_ms) >= t_ms for s in versions)

    @property
    def begins_ms(self) -> int | None:
        """The first instant that any mapped reading says something about, None without readings."""
        periods = self.mapped_channels()
        return min((self.first_ms[c] - period for c, period in periods.items() if c in self.first_ms), default=None)

    def sources(self, hour_ms: int) -> dict[str, MeterSource]:
        return meter_sources(self.model(hour_ms).graph, self.channels, self.first_ms, hour_ms)

    def is_alike(self, first_ms: int, last_ms: int) -> bool:
        """Whether the hours from `first_ms` to `last_ms` have one plant model and the same channels behind its meters."""
        return self.model(first_ms) is self.model(last_ms) and self.sources(first_ms) == self.sources(last_ms)

    def mapped_channels(self) -> dict[int, int]:
        """Channel ids that some model binds to a meter, each with its period in ms (1 for instants)."""
        bound = {b.channel for m in self.models for meter in m.graph.plant.meters for b in meter.bindings}
        return {
            stored.channel_id: max(stored.channel.period_s * 1000, 1)
            for name in bound
            for stored in self.channels.get(name, [])
        }


def load_facts(conn: Conn, site: str) -> SiteFacts | None:
    """The site's facts, or None while it has no plant model."""
    models = load_models(conn, site)
    if not models:
        return None
    stored = [Factor.from_json({**body, "version": version}) for _, version, body in load_factor_rows(conn)]
    library = latest([*builtin_factors(), *stored])
    channels, events = load_channels(conn, site), _by_identity(load_events(conn, site))
    facts = SiteFacts(site, models, channels, events, library, count_factors(conn), {})
    facts.first_ms.update(first_readings_ms(conn, facts.mapped_channels()))
    return facts


def _by_identity(events: Iterable[ProductionEvent]) -> dict[tuple[str, str, int], ProductionEvent]:
    return {(event.source, event.event_id, event.revision): event for event in events}


def _same_places(one: PlantGraph, other: PlantGraph) -> bool:
    """Whether events mean the same under both models."""
    alike = one.work_units == other.work_units and one.steps == other.steps
    return alike and one.sources == other.sources and one.pools.keys() == other.pools.keys()


def account_hours(
    conn: Conn, facts: SiteFacts, hours: Sequence[int], carry: Carry, until_ms: int
) -> Iterator[HourAccount]:
    """Accounts consecutive hours from stored readings, each with the carry of the one before it."""
    if not hours:
        return
    channel_ids = list(facts.mapped_channels())
    window = ReadingWindow(conn, channel_ids, hours[0], hours[-1] + HOUR_MS, LOOKAHEAD)
    for hour_ms in hours:
        model = facts.model(hour_ms)
        series = {
            meter: MeterSeries(s.channel, s.meter, s.ratio, window.cut(s, hour_ms, hour_ms + HOUR_MS))
            for meter, s in facts.sources(hour_ms).items()
        }
        begins = replace(
            carry, meters={m: in_decimals_of(series[m], s) if m in series else s for m, s in carry.meters.items()}
        )
        account = account_hour(
            model.graph, facts.production(model), hour_ms, series, begins, until_ms, facts.since_ms(hour_ms)
        )
        yield account
        carry = account.carry


def touched_by_readings(conn: Conn, facts: SiteFacts, marks: Mapping[int, Sequence[Range]]) -> list[Range]:
    """Spans of time that changed readings can reach: to the neighbours, and as far back as a held reading waits."""
    periods = facts.mapped_channels()
    streams = {s.channel_id: [s.channel_id for s in stored] for stored in facts.channels.values() for s in stored}
    spans = []
    for channel_id, changed in marks.items():
        if channel_id in periods:
            for low, high in changed:
                before, after = reach_back_ms(conn, streams[channel_id], low, high, LOOKAHEAD + 1)
                spans.append((min(before, low) - periods[channel_id], max(after, high)))
    return spans


def touched_by_production(old: SiteFacts, new: SiteFacts, far_ms: int) -> list[Range]:
    """Spans in which accounts can differ between two readings of the events, under any of the models."""
    return [
        span
        for model in new.models
        for span in touched_spans(model.graph, old.production(model), new.production(model), far_ms)
    ]


def touched_since(facts: SiteFacts, span: Range) -> int:
    """Since when accounts can differ where all that is known is that events with instants in `span` are new or gone."""
    return min(
        reaches_back_ms(model.graph, facts.production(model), facts.events.values(), span) for model in facts.models
    )


def hours_of(spans: Sequence[Range]) -> set[int]:
    """The hours that spans of time touch."""
    return {hour for low, high in spans for hour in range(hour_floor(low), hour_floor(high) + 1, HOUR_MS)}
