"""The facts of one site as accounting needs them, and hours accounted from stored readings: whole, in order, exact."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from plantprint.account import Carry, HourAccount, account_hour
from plantprint.facts import ProductionEvent
from plantprint.factors import Factor, builtin_factors, latest
from plantprint.intervals import LOOKAHEAD, MeterSeries
from plantprint.production import Job, Production, StateSpan, reduce_events
from plantprint.times import HOUR_MS, hour_floor
from plantprint_collector.facts_store import (
    Conn,
    MeterSource,
    ModelVersion,
    ReadingWindow,
    StoredChannel,
    first_readings_ms,
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
    """Everything but readings, as of one database snapshot."""

    site: str
    models: list[ModelVersion]
    channels: dict[str, list[StoredChannel]]
    events: list[ProductionEvent]
    library: dict[str, Factor]
    first_ms: dict[int, int]
    _productions: dict[int, Production] = field(default_factory=dict)

    def model(self, hour_ms: int) -> ModelVersion:
        return model_at(self.models, hour_ms)

    def production(self, model: ModelVersion) -> Production:
        """What the events mean under a model (it knows which work units and steps exist)."""
        if model.version not in self._productions:
            self._productions[model.version] = reduce_events(self.events, model.graph)
        return self._productions[model.version]

    def since_ms(self, hour_ms: int) -> dict[str, int]:
        """When each meter that ever reported began to; an amount's period counts with it."""
        found: dict[str, int] = {}
        for meter, source in self.sources(hour_ms).items():
            firsts = [self.first_ms[c] for c in source.multipliers if c in self.first_ms]
            if firsts:
                found[meter] = min(firsts) - source.channel.period_s * 1000
        return found

    def learn_first(self, conn: Conn, changed: Mapping[int, int]) -> None:
        """Looks up first readings of channels that had none so far; `changed` may name earlier ones (channel id → ms)."""
        unknown = self.mapped_channels().keys() - self.first_ms.keys()
        if unknown:
            self.first_ms.update(first_readings_ms(conn, unknown))
        for channel_id, t_ms in changed.items():
            if channel_id in self.first_ms:
                self.first_ms[channel_id] = min(self.first_ms[channel_id], t_ms)

    @property
    def begins_ms(self) -> int | None:
        """The first instant that any mapped reading says something about, None without readings."""
        periods = self.mapped_channels()
        return min((self.first_ms[c] - period for c, period in periods.items() if c in self.first_ms), default=None)

    def sources(self, hour_ms: int) -> dict[str, MeterSource]:
        return meter_sources(self.model(hour_ms).graph, self.channels, hour_ms)

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
    facts = SiteFacts(site, models, load_channels(conn, site), load_events(conn, site), library, {})
    facts.learn_first(conn, {})
    return facts


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
        account = account_hour(
            model.graph, facts.production(model), hour_ms, series, carry, until_ms, facts.since_ms(hour_ms)
        )
        yield account
        carry = account.carry


def touched_by_readings(conn: Conn, facts: SiteFacts, marks: dict[int, Range]) -> list[Range]:
    """Spans of time that changed readings can reach: to the neighbours, and as far back as a held reading waits."""
    periods = facts.mapped_channels()
    spans = []
    for channel_id, (low, high) in marks.items():
        if channel_id in periods:
            before, after = reach_back_ms(conn, channel_id, low, high, LOOKAHEAD + 1)
            spans.append((min(before, low) - periods[channel_id], max(after, high)))
    return spans


def touched_by_production(old: Production, new: Production, now_ms: int) -> list[Range]:
    """Spans in which jobs or states differ between two readings of the events."""
    before: set[Job | StateSpan] = {*old.jobs, *old.states}
    after: set[Job | StateSpan] = {*new.jobs, *new.states}
    differing = before ^ after
    return [(span.start_ms, now_ms if span.end_ms is None else max(span.end_ms, span.start_ms)) for span in differing]


def hours_of(spans: Sequence[Range]) -> set[int]:
    """The hours that spans of time touch."""
    return {hour for low, high in spans for hour in range(hour_floor(low), hour_floor(high) + 1, HOUR_MS)}
