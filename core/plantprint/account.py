"""One hour of a plant accounted: from its meters' readings and its production to postings that add up exactly."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import numpy as np

from plantprint.balance import without_stock
from plantprint.book import Book, Use
from plantprint.contradictions import Doubt, Reasons, doubted, doubts_of, spread_reasons, touched_batches
from plantprint.doubts import NO_DOUBTS, Doubts, Held
from plantprint.drivers import Inferred, stream_weights
from plantprint.facts import Issue
from plantprint.flows import Flows, Weights, by_hour, carried_by_consumers, span_flows
from plantprint.intervals import CounterState, MeterHour, MeterSeries, meter_hour
from plantprint.known_meters import commissioning, known_meters
from plantprint.ledger import Net
from plantprint.plant.graph import PlantGraph
from plantprint.posting import (
    assert_conserved,
    end_of_window,
    incomplete,
    kept_apart,
    post_residuals,
    post_work_units,
)
from plantprint.production import Production, StateSpan
from plantprint.spreading import Closed, Pending, enter_activities, spread_hour
from plantprint.states import inferred_states, unreported
from plantprint.stores import Layers, Level, Levels, contents, layers_from_json, layers_to_json, read_level
from plantprint.times import HOUR_MS
from plantprint.tracing import StockLayer, Traced, trace
from plantprint.work_units import UnitsHour, unit_hours

_ALWAYS: Mapping[str, int] = {}
_NOTHING: Mapping[str, MeterHour] = {}
_NO_LEVELS: Levels = {}
_NO_LEVELS_EVER: Mapping[int, Levels] = {}


@dataclass(frozen=True)
class Carry:
    """What an hour hands to the next: the last good state of each meter, what pools could not hand out, what stores hold.

    `pending` is what waits for the end of idle windows, `doubts` what contradicts itself behind what is held.
    """

    meters: dict[str, CounterState]
    stock: dict[str, tuple[StockLayer, ...]]
    stores: dict[str, Layers] = field(default_factory=dict)
    pending: Pending = field(default_factory=Pending)
    doubts: Doubts = NO_DOUBTS

    def to_json(self) -> dict[str, Any]:
        body: dict[str, Any] = {
            "meters": {meter: state.to_json() for meter, state in sorted(self.meters.items())},
            "stock": {pool: [list(layer) for layer in layers] for pool, layers in sorted(self.stock.items())},
        }
        if self.stores:
            body["stores"] = layers_to_json(self.stores)
        if self.pending != Pending():
            body["pending"] = self.pending.to_json()
        if self.doubts.by_node:
            body["doubts"] = self.doubts.to_json()
        return body

    @staticmethod
    def from_json(body: Mapping[str, Any]) -> "Carry":
        return Carry(
            {meter: CounterState.from_json(state) for meter, state in body["meters"].items()},
            {pool: tuple((str(s), int(e), int(q), int(a)) for s, e, q, a in v) for pool, v in body["stock"].items()},
            layers_from_json(body.get("stores", {})),
            Pending.from_json(body.get("pending", {})),
            Doubts.from_json(body.get("doubts", {})),
        )


EMPTY_CARRY = Carry({}, {})


@dataclass(frozen=True, slots=True, eq=False)
class HourAccount:
    """An accounted hour; its properties are worked out when asked.

    `missing_ms` is per batch the time of its work units in which a meter behind them was unknown (such a batch is
    incomplete), `missing_ms_by_work_unit` the same per work unit. `closed` are the windows that ended in the hour,
    `spread_reasons` by batch the contradictions behind what they gave it, `doubts` all others with what they touch.
    """

    hour_ms: int
    net: Net
    issues: tuple[Issue, ...]
    carry: Carry
    missing_ms: dict[str, int]
    missing_ms_by_work_unit: dict[str, int]
    closed: tuple[Closed, ...]
    spread_reasons: Reasons
    doubts: Sequence[Doubt]
    facts: "HourFacts" = field(repr=False)
    book: Book = field(repr=False)

    @property
    def meters(self) -> Mapping[str, MeterHour]:
        """What every meter of a flow told."""
        return self.facts.meters

    @property
    def uses(self) -> tuple[Use, ...]:
        """`net` by bucket; stock, activities and what ends of windows moved are left out."""
        return self.book.uses()

    @property
    def contradictions(self) -> Reasons:
        """By batch the facts of this hour that contradict each other, which make it incomplete too."""
        hour, told = self.facts, self.spread_reasons
        if not self.doubts:
            return told
        touched = touched_batches(hour.graph, hour.production, self.hour_ms, hour.inferred, self.doubts)
        return {batch: (*touched.get(batch, ()), *told.get(batch, ())) for batch in touched.keys() | told.keys()}

    @property
    def inferred(self) -> tuple[StateSpan, ...]:
        """The states that nobody reported."""
        return unreported(self.facts.graph, self.facts.production, self.hour_ms, self.facts.inferred)


class HourFacts(NamedTuple):
    """What is known of an hour before its pools are shared; `entered` is by source."""

    graph: PlantGraph
    production: Production
    hour_ms: int
    until_ms: int
    meters: Mapping[str, MeterHour]
    inferred: Inferred
    issues: frozenset[Issue]
    entered: dict[str, int]


def account_hour(
    graph: PlantGraph,
    production: Production,
    hour_ms: int,
    series: Mapping[str, MeterSeries],
    carry: Carry,
    until_ms: int,
    since_ms: Mapping[str, int] = _ALWAYS,
    given: Mapping[str, MeterHour] = _NOTHING,
    wrong_given: Iterable[Issue] = (),
) -> HourAccount:
    """Accounts the hour from `hour_ms`, a function of the facts given and nothing else.

    `series` has the readings of each meter that has a channel (of those too that come with the plant of the next hour),
    `given` the hours of meters without any, `wrong_given` what is wrong in those. `carry` comes from the hour before,
    `until_ms` is the site's now: what lies after it is not missing. `since_ms` is each meter's first reading ever, where
    known: a meter that was not there yet is not missing, but a batch that ran before it is incomplete. Raises
    `AssertionError` when amounts do not add up exactly.
    """
    meters = dict(given)
    states = {meter: state for meter, state in carry.meters.items() if meter in graph.meters}
    issues = [*wrong_given]
    levels: dict[str, Level] = {}
    for meter in graph.levels.keys() & series.keys():
        level = read_level(series[meter].at_end(hour_ms + HOUR_MS), graph.stores[graph.levels[meter]], hour_ms)
        if isinstance(level, Issue):
            issues.append(level)
        elif level is not None:
            levels[graph.levels[meter]] = level
    for meter in series.keys() - graph.levels.keys():
        before = carry.meters.get(meter)
        told, after, wrong = meter_hour(series[meter], hour_ms, graph.plant.bucket_s, before, until_ms)
        if after is not None:
            states[meter] = after
        if meter in graph.meters:
            meters[meter] = told
            issues += wrong
    after_meters = replace(carry, meters=states)
    return account_meters(graph, production, hour_ms, meters, issues, after_meters, until_ms, since_ms, levels)


def account_meters(
    graph: PlantGraph,
    production: Production,
    hour_ms: int,
    meters: Mapping[str, MeterHour],
    issues: Iterable[Issue],
    carry: Carry,
    until_ms: int,
    since_ms: Mapping[str, int] = _ALWAYS,
    levels: Levels = _NO_LEVELS,
) -> HourAccount:
    """Accounts an hour whose meters' amounts are known; a meter that is not in `meters` is missing until `until_ms`.

    `issues` are those of the meters and go into the result; `carry.meters` are the states at the hour's end and are
    handed on, `carry.stock` and `carry.stores` are what pools and stores held at its start, `carry.pending` what waited
    for the end of a window then. `levels` are the levels of stores at its end, where a meter tells them.
    """
    carried = _Begin(carry, {hour_ms: tuple(issues)}, {hour_ms: levels}, since_ms)
    return next(_account(graph, production, hour_ms, 1, meters, carried, until_ms))


def account_span(
    graph: PlantGraph,
    production: Production,
    start_ms: int,
    hours: int,
    meters: Mapping[str, MeterHour],
    carry: Carry,
    until_ms: int,
    levels: Mapping[int, Levels] = _NO_LEVELS_EVER,
) -> Iterator[HourAccount]:
    """`account_meters` for consecutive hours at once, which is faster: `meters` have the buckets of all of them.

    `carry.meters` is handed on as it is; `levels` are by the start of the hour at whose end they are known.
    """
    return _account(graph, production, start_ms, hours, meters, _Begin(carry, {}, levels, _ALWAYS), until_ms)


class _Begin(NamedTuple):
    """What hours begin with; issues of meters and levels of stores by hour."""

    carry: Carry
    issues: Mapping[int, tuple[Issue, ...]]
    levels: Mapping[int, Levels]
    since_ms: Mapping[str, int]


def _account(
    graph: PlantGraph,
    production: Production,
    start_ms: int,
    hours: int,
    meters: Mapping[str, MeterHour],
    begin: _Begin,
    until_ms: int,
) -> Iterator[HourAccount]:
    """Many hours are traced and divided at once as long as no pool or store ties one to the next."""
    known, unbelieved = known_meters(graph, start_ms, meters, until_ms, begin.since_ms, hours)
    instants = [start_ms + number * HOUR_MS for number in range(hours)]
    by_meter = [known.hour(number, graph.buckets) for number in range(hours)]
    inferred = [inferred_states(graph, hour, hour_ms) for hour, hour_ms in zip(by_meter, instants, strict=True)]
    weights, unweighed = _stream_weights(graph, production, instants, inferred)
    flows = span_flows(graph, known, start_ms, weights)
    issues = _by_instant([*unbelieved, *flows.issues, *unweighed])
    entered = _entered(graph, flows)
    carry, done, many = begin.carry, 0, hours
    while done < hours:
        many = 1 if carry.stock or graph.stores else min(many, hours - done)
        hour_ms = instants[done]
        shared_by = carried_by_consumers(graph, flows.part(done, many))
        traced = trace(graph, shared_by, carry.stock, hour_ms, carry.stores, begin.levels.get(hour_ms, {}))
        begins_ms = [commissioning(graph, at_ms, begin.since_ms) for at_ms in instants[done : done + traced.hours]]
        units = unit_hours(graph, production, traced.parcels, hour_ms, inferred[done : done + traced.hours], begins_ms)
        for number, of_units in enumerate(units):
            n, at_ms = done + number, instants[done + number]
            found = {*without_stock(graph, issues.get(at_ms, ()), carry.stock), *begin.issues.get(at_ms, ())}
            hour = HourFacts(graph, production, at_ms, until_ms, by_meter[n], inferred[n], frozenset(found), entered[n])
            account = _hour_account(hour, traced.hour(number), of_units, carry)
            yield account
            carry = account.carry
        many = 2 * many if traced.hours == many else traced.hours
        done += traced.hours


def _hour_account(hour: HourFacts, traced: Traced, units: UnitsHour, carry: Carry) -> HourAccount:
    """Posts what was traced and divided."""
    graph, production = hour.graph, hour.production
    book = Book(graph, hour.hour_ms, traced.rows)
    post_residuals(graph, traced, book)
    by_batch, by_work_unit = post_work_units(graph, units, book)
    stock = end_of_window(graph, traced.stock, book, hour.until_ms)
    activities, late_arrivals, unplaced, unweighed = enter_activities(graph, production, hour.hour_ms)
    book.add(activities)
    arrivals = [*book.arrivals, *late_arrivals]
    held = Held(stock, traced.stores)
    doubts = doubts_of(graph, (*hour.issues, *traced.issues), hour.hour_ms)
    doubts += carry.doubts.given_out(graph, Held(carry.stock, carry.stores), held, hour.hour_ms)
    if doubts:
        arrivals = [*doubted(doubts, book.arrivals), *late_arrivals]
    spread, pending = spread_hour(
        graph, production, hour.hour_ms, hour.until_ms, carry.pending, arrivals, hour.inferred, book.net
    )
    for batch, against in unweighed.items():
        spread.against.setdefault(batch, set()).update(against)
    for batch, missing in spread.missing_ms.items():
        by_batch[batch] = by_batch.get(batch, 0) + missing
    book.post_stock(carry.stock, -1)
    book.post_stock({store: contents(layers) for store, layers in carry.stores.items()}, -1)
    book.post_stock(stock, 1)
    book.post_stock({store: contents(layers) for store, layers in traced.stores.items()}, 1)
    assert_conserved(hour.entered, production.activities_in(hour.hour_ms), book)
    found = {*hour.issues, *traced.issues, *unplaced, *spread.issues}
    apart = [*kept_apart(book)]
    found |= {*apart, *incomplete(by_batch, hour.hour_ms)}
    return HourAccount(
        hour.hour_ms,
        book.without_zeros(),
        tuple(sorted(found)),
        Carry(carry.meters, stock, traced.stores, pending, carry.doubts.after(doubts, held, hour.hour_ms)),
        dict(sorted(by_batch.items())),
        by_work_unit,
        tuple(sorted(spread.closed)),
        spread_reasons(spread.against, hour.hour_ms),
        [*doubts, *doubts_of(graph, apart, hour.hour_ms)],
        hour,
        book,
    )


def _stream_weights(
    graph: PlantGraph, production: Production, instants: Sequence[int], inferred: Sequence[Inferred]
) -> tuple[dict[int, Weights], list[Issue]]:
    found = [stream_weights(graph, production, at_ms, states) for at_ms, states in zip(instants, inferred, strict=True)]
    weights = {edge: np.concatenate([weights[edge] for weights, _ in found]) for edge in found[0][0]}
    return weights, [issue for _, several in found for issue in several]


def _by_instant(issues: Iterable[Issue]) -> dict[int, list[Issue]]:
    found: dict[int, list[Issue]] = {}
    for issue in issues:
        found.setdefault(issue.at_ms, []).append(issue)
    return found


def _entered(graph: PlantGraph, flows: Flows) -> list[dict[str, int]]:
    """By hour what each source brought into the plant."""
    edges = [edge for edge in graph.edges if edge.giver_kind == "source"]
    totals = by_hour(flows.amount[[edge.index for edge in edges]], flows.hours).sum(axis=2)
    found = [dict.fromkeys(graph.sources, 0) for _ in range(flows.hours)]
    for edge, amounts in zip(edges, totals.tolist(), strict=True):
        for entered, amount in zip(found, amounts, strict=True):
            entered[edge.giver] += amount
    return found
