"""What is known of a document of facts at an instant: plants, readings, amounts, events and factors, winners chosen."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import cached_property

from plantprint.factor_series import FactorSeries
from plantprint.factors import Factor, builtin_factors
from plantprint.facts import Channel, Issue, ProductionEvent, Quality, Reading
from plantprint.intervals import Feed, MeterHour, MeterSeries, binding_from_ms, hour_feeds
from plantprint.intervals.amounts import Quantity, quantities_hour
from plantprint.intervals.grid import span_grid
from plantprint.intervals.lookback import hour_readings
from plantprint.known_meters import followed_meters
from plantprint.neutral.document import Facts, FactsError, StatedAmounts
from plantprint.neutral.stated import fraction, hourly_series, known_by, own_factors, stated_events
from plantprint.plant.check import PlantError
from plantprint.plant.graph import PlantGraph, compile_plant
from plantprint.plant.model import Beside, Binding, Meter
from plantprint.plant_history import PlantHistory
from plantprint.quantities import MICRO, UnitError, conversion, scaled
from plantprint.source_history import unit_changes
from plantprint.times import HOUR_MS, hour_floor

Span = tuple[int, int]


@dataclass(frozen=True, eq=False)
class KnownFacts:
    """Facts known at `known_at_ms` (None: all of them).

    `graphs` come by the instant from which they hold; `series` are readings by channel, in order of time; `amounts` are by
    meter and hour. `factors` holds every version, what ships first. `issues`: readings that count for nothing.
    """

    known_at_ms: int | None
    until_ms: int
    graphs: Sequence[tuple[int, PlantGraph]]
    series: Mapping[str, tuple[Channel, list[Reading]]]
    amounts: Mapping[str, Mapping[int, Sequence[Quantity]]]
    events: Sequence[ProductionEvent]
    factors: tuple[Factor, ...]
    hourly: Mapping[str, FactorSeries]
    issues: tuple[Issue, ...]

    def graph(self, at_ms: int) -> PlantGraph:
        """The plant in force; the first one holds from the beginning."""
        return self.plants.at(at_ms)

    @cached_property
    def plants(self) -> PlantHistory:
        return PlantHistory(self.graphs)

    @cached_property
    def begins_ms(self) -> int:
        """The start of what is known. A reading taken as an hour begins is its base, and belongs to the hour before."""
        firsts = [first - (not self.series[name][0].period_s) for name, first in self._firsts.items()]
        return min([*firsts, *self._given_since.values()])

    @cached_property
    def _firsts(self) -> dict[str, int]:
        return {name: rows[0].t_ms - channel.period_s * 1000 for name, (channel, rows) in self.series.items()}

    @cached_property
    def _given_since(self) -> dict[str, int]:
        starts = {
            meter: [q.start_ms for several in hours.values() for q in several] for meter, hours in self.amounts.items()
        }
        return {meter: min(several) for meter, several in starts.items() if several}

    def meters(self, hour_ms: int) -> tuple[dict[str, MeterSeries], dict[str, int]]:
        """What feeds each meter in an hour, and since when each has been there."""
        graph, later = self.graph(hour_ms), self.graph(hour_ms + HOUR_MS)
        found: dict[str, MeterSeries] = {}
        since_ms: dict[str, int] = {}
        for meter in followed_meters(graph, later):
            feeds = [
                f for f in hour_feeds(meter, later.meters.get(meter.id), hour_ms) if f.binding.channel in self.series
            ]
            parts = [self._fed(meter, feed, hour_ms) for feed in feeds]
            if parts:
                found[meter.id] = replace(parts[0], following=tuple(parts[1:]))
            begun = [
                max(self._firsts[b.channel], binding_from_ms(b)) for b in meter.bindings if b.channel in self.series
            ]
            begun += [self._given_since[meter.id]] if meter.id in self._given_since else []
            if begun:
                since_ms[meter.id] = min(begun)
        return found, since_ms

    def given(self, hour_ms: int) -> tuple[dict[str, MeterHour], list[Issue]]:
        """The hour of meters whose amounts are given, and what is wrong with them."""
        graph = self.graph(hour_ms)
        grid = span_grid(hour_ms, hour_ms + HOUR_MS, graph.plant.bucket_s)
        found: dict[str, MeterHour] = {}
        issues: list[Issue] = []
        for meter, hours in self.amounts.items():
            if meter in graph.meters:
                found[meter], wrong = quantities_hour(hours.get(hour_ms, ()), graph.meters[meter], grid, self.until_ms)
                issues += wrong
        return found, issues

    def _fed(self, meter: Meter, feed: Feed, hour_ms: int) -> MeterSeries:
        """What feeds a meter under a binding, with the channels beside it that have readings."""
        fed = self._told(meter, feed.binding, feed.binding.channel, None, hour_ms)
        named = feed.binding.beside.items()
        beside = {
            tells: self._told(meter, feed.binding, name, tells, hour_ms) for tells, name in named if name in self.series
        }
        return replace(fed, from_ms=feed.from_ms, to_ms=feed.to_ms, beside=beside)

    def _told(self, meter: Meter, binding: Binding, name: str, tells: Beside | None, hour_ms: int) -> MeterSeries:
        channel, readings = self.series[name]
        series = MeterSeries(channel, meter, binding.ratio, (), tells=tells)
        return replace(series, readings=hour_readings(readings, hour_ms, series))


def known_facts(facts: Facts, known_at_ms: int | None) -> KnownFacts:
    """Raises `FactsError` with the place of what cannot be used."""
    graphs = _graphs(facts, known_at_ms)
    series, unlike = _series(facts, known_at_ms)
    amounts = _amounts(facts, known_at_ms, [graph for _, graph in graphs])
    if not series and not any(amounts.values()):
        raise FactsError("readings: there are none, nor amounts, that are known by then; give some of them")
    factors = (*builtin_factors(), *own_factors(facts))
    return KnownFacts(
        known_at_ms,
        facts.until,
        graphs,
        series,
        amounts,
        stated_events(facts, known_at_ms),
        factors,
        hourly_series(facts, known_at_ms),
        (*_unused(facts, [graph for _, graph in graphs]), *unlike),
    )


def _graphs(facts: Facts, known_at_ms: int | None) -> list[tuple[int, PlantGraph]]:
    """By the instant from which they hold; of several for one instant the one that was known last comes last."""
    found: list[tuple[tuple[int, int, int], PlantGraph]] = []
    for number, stated in known_by(facts.plants, known_at_ms):
        try:
            graph = compile_plant(stated.model)
        except PlantError as error:
            place = f"plants.{number}.model"
            lines = [f"{place}.{one.path}: {one.message}; {one.remedy}" for one in error.issues]
            raise FactsError("\n".join(lines)) from error
        known_ms = -(2**62) if stated.known_at is None else stated.known_at
        found.append(((stated.effective_ms, known_ms, number), graph))
    if not found:
        raise FactsError("plants: none of them is known by then; give one without known_at")
    graphs = [(rank[0], graph) for rank, graph in sorted(found, key=lambda item: item[0])]
    if wrong := unit_changes((at, {s: one.unit for s, one in graph.sources.items()}) for at, graph in graphs):
        raise FactsError("\n".join(f"plants: {one}" for one in wrong))
    return graphs


def _series(
    facts: Facts, known_at_ms: int | None
) -> tuple[dict[str, tuple[Channel, list[Reading]]], tuple[Issue, ...]]:
    """Per declared channel its readings in order of time, the highest rank per instant; and what was as high as another."""
    channels: dict[str, Channel] = {}
    for number, c in enumerate(facts.channels):
        if c.channel in channels:
            raise FactsError(f"channels.{number}.channel: {c.channel} is declared twice; keep one of them")
        agent, _, name = c.channel.partition("/")
        channels[c.channel] = Channel(agent, name, c.unit, c.decimals, c.kind, c.period_s)
    best: dict[str, dict[int, Reading]] = {}
    unlike: dict[str, set[int]] = {}
    for number, block in known_by(facts.readings, known_at_ms):
        place = f"readings.{number}"
        if block.channel not in channels:
            raise FactsError(f"{place}.channel: {block.channel} is not declared under channels; declare it there")
        quality, scale = Quality[block.quality.upper()], 10 ** channels[block.channel].decimals
        chosen = best.setdefault(block.channel, {})
        for row, (t_ms, text) in enumerate(block.rows):
            value = _exact(text, scale, f"{place}.rows.{row}.1")
            reading = Reading(t_ms, value, quality, block.revision)
            known = chosen.setdefault(t_ms, reading)
            if (known.quality, known.revision) == (reading.quality, reading.revision) and known.value != value:
                unlike.setdefault(block.channel, set()).add(t_ms)
            if reading.rank > known.rank:
                chosen[t_ms] = reading
    series = {name: (channels[name], [chosen[t] for t in sorted(chosen)]) for name, chosen in best.items() if chosen}
    return series, tuple(_conflict(name, instants) for name, instants in sorted(unlike.items()))


def _conflict(channel: str, instants: set[int]) -> Issue:
    message = f"{len(instants)} instants have more than one value of one quality and revision; the higher one counts"
    remedy = "give the right ones a higher revision, or leave the wrong ones out"
    return Issue("reading-conflict", channel, message, remedy, min(instants))


def _exact(text: str, scale: int, place: str) -> int:
    try:
        return scaled(text, scale)
    except ArithmeticError as error:
        raise FactsError(f"{place}: {text!r} is not a number; write it as 123.45") from error
    except ValueError as error:
        raise FactsError(f"{place}: {error}; correct it, or raise `decimals` of the channel") from error


def _amounts(
    facts: Facts, known_at_ms: int | None, graphs: Sequence[PlantGraph]
) -> dict[str, dict[int, list[Quantity]]]:
    """Per meter and hour the amounts that touch it, the highest (revision, quality, amount) per span."""
    best: dict[str, dict[Span, tuple[int, int, Fraction]]] = {}
    for number, block in known_by(facts.amounts, known_at_ms):
        ratio = _ratio_of(block, f"amounts.{number}", graphs, facts)
        chosen = best.setdefault(block.meter, {})
        for row, (start_ms, end_ms, text) in enumerate(block.rows):
            place = f"amounts.{number}.rows.{row}"
            if start_ms >= end_ms:
                raise FactsError(f"{place}.1: the span ends before it starts; write [start, end, amount]")
            rank = (block.revision, int(Quality[block.quality.upper()]), fraction(text, f"{place}.2") * ratio)
            chosen[start_ms, end_ms] = max(rank, chosen.get((start_ms, end_ms), rank))
    found: dict[str, dict[int, list[Quantity]]] = {}
    for meter, spans in best.items():
        hours = found.setdefault(meter, defaultdict(list))
        for start_ms, end_ms in sorted(spans, key=lambda span: (span[1], span[0])):
            _, quality, micro = spans[start_ms, end_ms]
            for hour_ms in range(hour_floor(start_ms), end_ms, HOUR_MS):
                hours[hour_ms].append(Quantity(start_ms, end_ms, micro, quality))
    return found


def _ratio_of(block: StatedAmounts, place: str, graphs: Sequence[PlantGraph], facts: Facts) -> Fraction:
    """Millionths of the meter's unit in one of the amounts' unit."""
    having = [graph for graph in graphs if block.meter in graph.meters]
    if not having:
        raise FactsError(f"{place}.meter: there is no meter {block.meter!r}; declare it in a plant, or correct the id")
    meter = having[-1].meters[block.meter]
    if any(graph.meters[block.meter].heat is not None for graph in having):
        raise FactsError(
            f"{place}.meter: {block.meter!r} counts mass and takes its heat from other readings; give readings, or leave "
            "steam and condensate out of the meter and give its heat"
        )
    if any(block.meter in graph.levels for graph in having):
        raise FactsError(f"{place}.meter: {block.meter!r} tells a level, not an amount; give its readings")
    fed = {binding.channel for graph in having for binding in graph.meters[block.meter].bindings}
    for other in facts.readings:
        if other.channel in fed:
            raise FactsError(f"{place}.meter: {block.meter!r} has readings of {other.channel} too; give one of the two")
    try:
        return conversion(block.unit or meter.unit, meter.unit) * MICRO
    except UnitError as error:
        raise FactsError(f"{place}.unit: {error}; give the amounts in {meter.unit}") from error


def _unused(facts: Facts, graphs: Iterable[PlantGraph]) -> tuple[Issue, ...]:
    """Channels with readings that feed nothing: a wrong name would go unseen otherwise."""
    bindings = [b for graph in graphs for meter in graph.plant.meters for b in meter.bindings]
    bound = {channel for binding in bindings for channel in binding.channels}
    message = "no meter of the plant is fed by this channel, so its readings count for nothing"
    remedy = "bind it to a meter, or correct the name of the channel"
    told = sorted({block.channel for block in facts.readings} - bound)
    return tuple(Issue("channel-unbound", channel, message, remedy, facts.until) for channel in told)
