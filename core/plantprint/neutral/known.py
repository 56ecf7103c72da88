"""What is known of a document of facts at an instant: plants, readings, amounts, events and factors, winners chosen."""

import hashlib
import json
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from fractions import Fraction
from functools import cached_property
from typing import Any, TypeVar

from plantprint.factor_library import stated_factor
from plantprint.factor_series import BOTH, FactorSeries, HourIntensity
from plantprint.factors import Factor, FactorError, builtin_factors
from plantprint.facts import Channel, Issue, ProductionEvent, Quality, Reading
from plantprint.intervals import Feed, MeterHour, MeterSeries, binding_from_ms, hour_feeds, span_readings, values_of
from plantprint.intervals.amounts import Quantity, quantities_hour
from plantprint.intervals.grid import span_grid
from plantprint.neutral.document import Facts, FactsError, StatedAmounts, StatedEvent, StatedSeries
from plantprint.plant.check import PlantError
from plantprint.plant.graph import PlantGraph, compile_plant
from plantprint.plant.model import Meter
from plantprint.quantities import MICRO, UnitError, conversion, scaled
from plantprint.times import HOUR_MS, format_instant, hour_floor

_EVER_AT = "1970-01-01T00:00:00Z"
_Stated = TypeVar("_Stated")
Span = tuple[int, int]


@dataclass(frozen=True, eq=False)
class KnownFacts:
    """Facts known at `known_at_ms` (None: all of them).

    `graphs` come by the instant from which they hold; `series` are readings by channel, in order of time; `amounts` are by
    meter and hour. `factors` holds every version, what ships first.
    """

    known_at_ms: int | None
    until_ms: int
    graphs: Sequence[tuple[int, PlantGraph]]
    series: Mapping[str, tuple[Channel, list[Reading]]]
    amounts: Mapping[str, Mapping[int, Sequence[Quantity]]]
    events: Sequence[ProductionEvent]
    factors: tuple[Factor, ...]
    hourly: Mapping[str, FactorSeries]
    unused: tuple[Issue, ...]

    def graph(self, at_ms: int) -> PlantGraph:
        """The plant in force; the first one holds from the beginning."""
        return next((graph for from_ms, graph in reversed(self.graphs) if from_ms <= at_ms), self.graphs[0][1])

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
        for meter in graph.plant.meters:
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
        """What feeds a meter under a binding, with the power that spreads it."""
        ratio = Decimal(feed.binding.ratio)
        channel, readings = self.series[feed.binding.channel]
        values = values_of(channel, meter, ratio)
        window = span_readings(readings, hour_ms, hour_ms + HOUR_MS, channel, values)
        fed = MeterSeries(channel, meter, ratio, window, feed.from_ms, feed.to_ms)
        if feed.binding.power is None or feed.binding.power not in self.series:
            return fed
        channel, readings = self.series[feed.binding.power]
        values = values_of(channel, meter, ratio)
        window = span_readings(readings, hour_ms, hour_ms + HOUR_MS, channel, values)
        return replace(fed, power=MeterSeries(channel, meter, ratio, window))


def known_facts(facts: Facts, known_at_ms: int | None) -> KnownFacts:
    """Raises `FactsError` with the place of what cannot be used."""
    graphs = _graphs(facts, known_at_ms)
    series = _series(facts, known_at_ms)
    amounts = _amounts(facts, known_at_ms, [graph for _, graph in graphs])
    if not series and not any(amounts.values()):
        raise FactsError("readings: there are none, nor amounts, that are known by then; give some of them")
    factors = (*builtin_factors(), *_own_factors(facts))
    return KnownFacts(
        known_at_ms,
        facts.until,
        graphs,
        series,
        amounts,
        _events(facts, known_at_ms),
        factors,
        _hourly(facts, known_at_ms),
        _unused(facts, [graph for _, graph in graphs]),
    )


def _known(items: Sequence[_Stated], known_at_ms: int | None) -> list[tuple[int, _Stated]]:
    """Facts that are known by then, each with its number in the document."""
    known: list[tuple[int, _Stated]] = []
    for number, item in enumerate(items):
        since_ms = getattr(item, "known_at")  # noqa: B009 - every fact has it, which no protocol of pydantic fields says
        if known_at_ms is None or since_ms is None or since_ms <= known_at_ms:
            known.append((number, item))
    return known


def _graphs(facts: Facts, known_at_ms: int | None) -> list[tuple[int, PlantGraph]]:
    """By the instant from which they hold; of several for one instant the one that was known last comes last."""
    found: list[tuple[tuple[int, int, int], PlantGraph]] = []
    for number, stated in _known(facts.plants, known_at_ms):
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
    return [(rank[0], graph) for rank, graph in sorted(found, key=lambda item: item[0])]


def _series(facts: Facts, known_at_ms: int | None) -> dict[str, tuple[Channel, list[Reading]]]:
    """Per declared channel its readings in order of time, the highest rank per instant."""
    channels: dict[str, Channel] = {}
    for number, c in enumerate(facts.channels):
        if c.channel in channels:
            raise FactsError(f"channels.{number}.channel: {c.channel} is declared twice; keep one of them")
        agent, _, name = c.channel.partition("/")
        channels[c.channel] = Channel(agent, name, c.unit, c.decimals, c.kind, c.period_s)
    best: dict[str, dict[int, Reading]] = {}
    for number, block in _known(facts.readings, known_at_ms):
        place = f"readings.{number}"
        if block.channel not in channels:
            raise FactsError(f"{place}.channel: {block.channel} is not declared under channels; declare it there")
        quality, scale = Quality[block.quality.upper()], 10 ** channels[block.channel].decimals
        chosen = best.setdefault(block.channel, {})
        for row, (t_ms, text) in enumerate(block.rows):
            value = _exact(text, scale, f"{place}.rows.{row}.1")
            reading = Reading(t_ms, value, quality, block.revision)
            if t_ms not in chosen or reading.rank > chosen[t_ms].rank:
                chosen[t_ms] = reading
    return {name: (channels[name], [chosen[t] for t in sorted(chosen)]) for name, chosen in best.items() if chosen}


def _exact(text: str, scale: int, place: str) -> int:
    try:
        return scaled(text, scale)
    except ArithmeticError as error:
        raise FactsError(f"{place}: {text!r} is not a number; write it as 123.45") from error
    except ValueError as error:
        raise FactsError(f"{place}: {error}; raise `decimals` of the channel") from error


def _amounts(
    facts: Facts, known_at_ms: int | None, graphs: Sequence[PlantGraph]
) -> dict[str, dict[int, list[Quantity]]]:
    """Per meter and hour the amounts that touch it, the highest (revision, quality, amount) per span."""
    best: dict[str, dict[Span, tuple[int, int, Fraction]]] = {}
    for number, block in _known(facts.amounts, known_at_ms):
        ratio = _ratio_of(block, f"amounts.{number}", graphs, facts)
        chosen = best.setdefault(block.meter, {})
        for row, (start_ms, end_ms, text) in enumerate(block.rows):
            place = f"amounts.{number}.rows.{row}"
            if start_ms >= end_ms:
                raise FactsError(f"{place}.1: the span ends before it starts; write [start, end, amount]")
            rank = (block.revision, int(Quality[block.quality.upper()]), _fraction(text, f"{place}.2") * ratio)
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


def _fraction(text: str, place: str) -> Fraction:
    try:
        return Fraction(Decimal(text))
    except (ArithmeticError, ValueError) as error:
        raise FactsError(f"{place}: {text!r} is not a number; write it as 123.45") from error


def _events(facts: Facts, known_at_ms: int | None) -> list[ProductionEvent]:
    """Events, and what jobs and states say as events."""
    found = [
        ProductionEvent(e.source, e.event_id or _identity(e), e.revision, e.kind, e.at, e.body)
        for _, e in _known(facts.events, known_at_ms)
    ]
    for _, job in _known(facts.jobs, known_at_ms):
        told = {"job": job.job, "batch": job.batch, "work_unit": job.work_unit, "step": job.step, "weight": job.weight}
        body = {name: value for name, value in told.items() if value is not None}
        found.append(ProductionEvent("jobs", f"{job.job}.start", 0, "job_start", job.start, dict(body)))
        if job.end is not None:
            found.append(ProductionEvent("jobs", f"{job.job}.end", 0, "job_end", job.end, {"job": job.job}))
    for _, state in _known(facts.states, known_at_ms):
        name = f"{state.work_unit}@{format_instant(state.at)}"
        told_state: dict[str, Any] = {"work_unit": state.work_unit, "state": state.state}
        found.append(ProductionEvent("states", name, 0, "state", state.at, told_state))
    return found


def _identity(event: StatedEvent) -> str:
    """An event without an id is its contents."""
    contents = json.dumps([event.kind, event.at, event.body], sort_keys=True)
    return hashlib.sha256(contents.encode()).hexdigest()[:32]


def _own_factors(facts: Facts) -> list[Factor]:
    found: list[Factor] = []
    for number, row in enumerate(facts.factors):
        try:
            found.append(stated_factor({"known_at": _EVER_AT, **row}, [*builtin_factors(), *found]))
        except (FactorError, ValueError) as error:
            raise FactsError(f"factors.{number}: {error}; docs/factors.md describes the columns") from error
    return found


def _hourly(facts: Facts, known_at_ms: int | None) -> dict[str, FactorSeries]:
    """Series by id; of an hour that is given more than once, what was known last counts."""
    found: dict[str, FactorSeries] = {}
    known = _known(facts.factor_series, known_at_ms)
    for number, block in sorted(known, key=lambda item: (item[1].known_at or -(2**62), item[0])):
        before = found.get(block.factor_id)
        hours = _hours(block, f"factor_series.{number}")
        both = all(len(row) > 2 for row in block.rows)
        found[block.factor_id] = FactorSeries(
            block.factor_id,
            block.geography,
            block.source,
            hours if before is None else {**before.hours, **hours},
            block.purpose,
            1 if before is None else before.version + 1,
            (BOTH if both else frozenset((block.purpose,))) & (BOTH if before is None else before.serves),
        )
    return found


def _hours(block: StatedSeries, place: str) -> dict[int, HourIntensity]:
    hours: dict[int, HourIntensity] = {}
    for number, (hour_ms, *values) in enumerate(block.rows):
        at = f"{place}.rows.{number}"
        if hour_ms % HOUR_MS:
            raise FactsError(
                f"{at}.0: {format_instant(hour_ms)} is no full hour; write {format_instant(hour_floor(hour_ms))}"
            )
        direct, whole = (
            _decimal(text, f"{at}.{column}") for column, text in enumerate([*values, values[0]][:2], start=1)
        )
        if hour_ms in hours:
            raise FactsError(f"{at}.0: {format_instant(hour_ms)} is given twice; keep one of the rows")
        hours[hour_ms] = HourIntensity(direct, whole, estimated=False)
    return hours


def _decimal(text: str, place: str) -> Decimal:
    value = _fraction(text, place)
    if value < 0:
        raise FactsError(f"{place}: {text} is negative; an intensity is kg CO2e per kWh, zero or more")
    return Decimal(text)


def _unused(facts: Facts, graphs: Iterable[PlantGraph]) -> tuple[Issue, ...]:
    """Channels with readings that feed nothing: a wrong name would go unseen otherwise."""
    bindings = [b for graph in graphs for meter in graph.plant.meters for b in meter.bindings]
    bound = {channel for b in bindings for channel in (b.channel, b.power)}
    message = "no meter of the plant is fed by this channel, so its readings count for nothing"
    remedy = "bind it to a meter, or correct the name of the channel"
    told = sorted({block.channel for block in facts.readings} - bound)
    return tuple(Issue("channel-unbound", channel, message, remedy, facts.until) for channel in told)
