"""One hour of a plant accounted: from its meters' readings and its production to postings that add up exactly."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Any

import numpy as np

from plantprint.allocation import Account, Piece, allocate, cut, segments
from plantprint.book import Book, Use
from plantprint.drivers import Inferred, stream_weights
from plantprint.facts import Issue, Quality
from plantprint.flows import Durations, Flows, believable, carried_by_consumers, hour_flows
from plantprint.intervals import CounterState, MeterHour, MeterSeries, meter_hour
from plantprint.ledger import Net
from plantprint.plant.graph import PlantGraph
from plantprint.production import Production, StateSpan
from plantprint.spreading import Arrival, Closed, Pending, enter_activities, spread_hour, window_end
from plantprint.states import inferred_states, unreported
from plantprint.stores import Layers, Level, Levels, contents, layers_from_json, layers_to_json, read_level
from plantprint.times import HOUR_MS
from plantprint.tracing import StockLayer, Traced, trace

_ALWAYS: Mapping[str, int] = {}
_NO_LEVELS: Levels = {}
_RESIDUALS = ("export", "losses", "unmetered")


@dataclass(frozen=True)
class Carry:
    """What an hour hands to the next: the last good state of each meter, what pools could not hand out, what stores hold.

    `pending` is what waits for the end of idle windows.
    """

    meters: dict[str, CounterState]
    stock: dict[str, tuple[StockLayer, ...]]
    stores: dict[str, Layers] = field(default_factory=dict)
    pending: Pending = field(default_factory=Pending)

    def to_json(self) -> dict[str, Any]:
        body: dict[str, Any] = {
            "meters": {meter: state.to_json() for meter, state in sorted(self.meters.items())},
            "stock": {pool: [list(layer) for layer in layers] for pool, layers in sorted(self.stock.items())},
        }
        if self.stores:
            body["stores"] = layers_to_json(self.stores)
        if self.pending != Pending():
            body["pending"] = self.pending.to_json()
        return body

    @staticmethod
    def from_json(body: Mapping[str, Any]) -> "Carry":
        return Carry(
            {meter: CounterState.from_json(state) for meter, state in body["meters"].items()},
            {pool: tuple((str(s), int(e), int(q), int(a)) for s, e, q, a in v) for pool, v in body["stock"].items()},
            layers_from_json(body.get("stores", {})),
            Pending.from_json(body.get("pending", {})),
        )


EMPTY_CARRY = Carry({}, {})


@dataclass(frozen=True, slots=True, eq=False)
class HourAccount:
    """An accounted hour. `uses` are `net` by bucket, stock, activities and what ends of windows moved left out.

    `missing_ms` is per batch the time of its work units in which a meter behind them was unknown (such a batch is
    incomplete), `missing_ms_by_work_unit` the same per work unit. `closed` are the windows that ended in the hour,
    `inferred` the states that nobody reported.
    """

    hour_ms: int
    meters: dict[str, MeterHour]
    net: Net
    uses: tuple[Use, ...]
    issues: tuple[Issue, ...]
    carry: Carry
    missing_ms: dict[str, int]
    missing_ms_by_work_unit: dict[str, int]
    closed: tuple[Closed, ...] = ()
    inferred: tuple[StateSpan, ...] = ()


def account_hour(
    graph: PlantGraph,
    production: Production,
    hour_ms: int,
    series: Mapping[str, MeterSeries],
    carry: Carry,
    until_ms: int,
    since_ms: Mapping[str, int] = _ALWAYS,
) -> HourAccount:
    """Accounts the hour from `hour_ms`, a function of the facts given and nothing else.

    `series` has the readings of each meter that has a channel, `carry` comes from the hour before, `until_ms` is the
    site's now: what lies after it is not missing. `since_ms` is each meter's first reading ever, where known: a meter
    that was not there yet is not missing, but a batch that ran before it is incomplete. Raises `AssertionError` when
    amounts do not add up exactly.
    """
    meters: dict[str, MeterHour] = {}
    states = {meter: state for meter, state in carry.meters.items() if meter in graph.meters}
    issues: list[Issue] = []
    levels: dict[str, Level] = {}
    for meter in graph.levels.keys() & series.keys():
        level = read_level(series[meter], graph.stores[graph.levels[meter]], hour_ms)
        if isinstance(level, Issue):
            issues.append(level)
        elif level is not None:
            levels[graph.levels[meter]] = level
    for meter in (graph.meters.keys() - graph.levels.keys()) & series.keys():
        before = carry.meters.get(meter)
        meters[meter], after, wrong = meter_hour(series[meter], hour_ms, graph.plant.bucket_s, before, until_ms)
        if after is not None:
            states[meter] = after
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
    hours, unbelieved = _all_meters(graph, hour_ms, meters, until_ms)
    hours = {meter: _commissioned(hour, hour_ms, since_ms.get(meter)) for meter, hour in hours.items()}
    inferred = inferred_states(graph, hours, hour_ms)
    weights, unweighed = stream_weights(graph, production, hour_ms, inferred)
    flows = hour_flows(graph, hours, hour_ms, weights)
    traced = trace(graph, carried_by_consumers(graph, flows), carry.stock, hour_ms, carry.stores, levels)
    book = Book(hour_ms, traced.rows)
    _post_residuals(graph, traced, book)
    begins_ms = _commissioning(graph, hour_ms, since_ms)
    by_batch, by_work_unit = _post_work_units(graph, production, traced, book, begins_ms, inferred)
    stock = _end_of_window(graph, traced.stock, book, until_ms)
    uses = book.uses(graph)
    activities, late_arrivals, unplaced = enter_activities(graph, production, hour_ms)
    book.add(activities)
    arrivals = [*book.arrivals, *late_arrivals]
    spread, pending = spread_hour(graph, production, hour_ms, until_ms, carry.pending, arrivals, inferred)
    book.add(spread.moved)
    for batch, missing in spread.missing_ms.items():
        by_batch[batch] = by_batch.get(batch, 0) + missing
    book.post_stock(carry.stock, -1)
    book.post_stock({store: contents(layers) for store, layers in carry.stores.items()}, -1)
    book.post_stock(stock, 1)
    book.post_stock({store: contents(layers) for store, layers in traced.stores.items()}, 1)
    _assert_conserved(graph, flows, production, book)
    found = {*issues, *unbelieved, *flows.issues, *traced.issues, *unweighed, *unplaced, *spread.issues}
    found |= {*_kept_apart(book), *_incomplete(by_batch, hour_ms)}
    net = {key: amount for key, amount in book.net.items() if amount}
    after = Carry(carry.meters, stock, traced.stores, pending)
    return HourAccount(
        hour_ms,
        hours,
        net,
        uses,
        tuple(sorted(found)),
        after,
        dict(sorted(by_batch.items())),
        by_work_unit,
        tuple(sorted(spread.closed)),
        unreported(graph, production, hour_ms, inferred),
    )


def _all_meters(
    graph: PlantGraph, hour_ms: int, meters: Mapping[str, MeterHour], until_ms: int
) -> tuple[dict[str, MeterHour], list[Issue]]:
    """The hour of every meter of the plant, missing where it is not known or cannot be believed."""
    hours: dict[str, MeterHour] = {}
    issues: list[Issue] = []
    for meter in graph.meters:
        if meter in graph.levels:
            continue
        hour = meters.get(meter)
        if hour is not None and not believable(hour):
            message = "its readings make an amount beyond any meter; the hour was taken as missing"
            remedy = "check the register and its decimals, and set rated_per_hour for this meter"
            issues.append(Issue("amount-impossible", meter, message, remedy, hour_ms))
            hour = None
        hours[meter] = _unknown(graph.buckets, hour_ms, until_ms) if hour is None else hour
    return hours, issues


def _commissioned(hour: MeterHour, hour_ms: int, since_ms: int | None) -> MeterHour:
    """The hour without the missing time before the meter's first reading."""
    if since_ms is None or since_ms <= hour_ms:
        return hour
    before_ms = _passed_ms(hour.amount.size, hour_ms, since_ms)
    return MeterHour(hour.amount, hour.quality, np.maximum(hour.missing_ms - before_ms, 0).astype(np.int32))


def _commissioning(graph: PlantGraph, hour_ms: int, since_ms: Mapping[str, int]) -> dict[str, int]:
    """Per work unit the ms from the hour's start until the last of the meters upstream of it was there, where above 0."""
    late = {meter: since for meter, since in since_ms.items() if since > hour_ms}
    if not late:
        return {}
    begins = {unit: max((late.get(m, 0) for m in upstream_meters(graph, unit)), default=0) for unit in graph.work_units}
    return {unit: min(begin - hour_ms, HOUR_MS) for unit, begin in begins.items() if begin}


@lru_cache(maxsize=1024)
def upstream_meters(graph: PlantGraph, node: str) -> frozenset[str]:
    """The meters of every flow by which anything can come to `node`."""
    meters: set[str] = set()
    seen, waiting = {node}, [node]
    while waiting:
        for edge in graph.inflows.get(waiting.pop(), ()):
            meters |= {meter for _, meter in edge.terms}
            if edge.giver not in seen:
                seen.add(edge.giver)
                waiting.append(edge.giver)
    return frozenset(meters)


def _passed_ms(buckets: int, hour_ms: int, until_ms: int) -> Durations:
    """Per bucket of the hour the time before an instant."""
    bucket_ms = HOUR_MS // buckets
    return np.clip(until_ms - hour_ms - np.arange(buckets, dtype=np.int64) * bucket_ms, 0, bucket_ms)


def _unknown(buckets: int, hour_ms: int, until_ms: int) -> MeterHour:
    """An hour of which nothing is known; only time that has passed is missing."""
    nothing = np.full(buckets, Quality.MISSING, np.int8)
    return MeterHour(np.zeros(buckets, np.int64), nothing, _passed_ms(buckets, hour_ms, until_ms).astype(np.int32))


def _post_residuals(graph: PlantGraph, traced: Traced, book: Book) -> None:
    parcels = traced.parcels
    for edge in graph.edges:
        if edge.taker_kind not in _RESIDUALS:
            continue
        account, amount, quality = Account(edge.taker_kind, edge.giver), parcels.amount[edge.index], parcels.quality
        worst = quality[edge.index].min(axis=1)
        if edge.disposition != "window":
            book.post(Piece(account, amount, worst))
            continue
        for from_ms, to_ms, _ in graph.idle[edge.giver].calendar.parts(book.hour_ms, book.hour_ms + HOUR_MS):
            begin_ms = from_ms - book.hour_ms
            book.post_waiting(Piece(account, cut(amount, begin_ms, to_ms - book.hour_ms), worst, begin_ms))
    for store, layers in traced.lost.items():
        book.post_evenly(Account("losses", store), layers, graph.buckets)


def _end_of_window(
    graph: PlantGraph, stock: dict[str, tuple[StockLayer, ...]], book: Book, until_ms: int
) -> dict[str, tuple[StockLayer, ...]]:
    """The stock to carry on with: none where a window of its pool ended in the hour, then it is idle of the pool."""
    kept: dict[str, tuple[StockLayer, ...]] = {}
    for pool, layers in stock.items():
        end_ms = window_end(graph, pool, book.hour_ms, until_ms)
        if end_ms is None:
            kept[pool] = layers
            continue
        book.post_evenly(Account("idle", pool), layers, graph.buckets)
        book.arrivals.append(Arrival(Account("idle", pool), end_ms - 1, layers))
    return kept


def _post_work_units(
    graph: PlantGraph,
    production: Production,
    traced: Traced,
    book: Book,
    begins_ms: Mapping[str, int],
    inferred: Inferred,
) -> tuple[dict[str, int], dict[str, int]]:
    """Posts what ended at work units; returns the missing time by batch and by work unit.

    Time before a meter was there touches only who ran then: it says nothing about the mix of the rest of the hour.
    """
    by_batch: dict[str, int] = {}
    by_work_unit: dict[str, int] = {}
    parcels = traced.parcels
    for unit, place in graph.work_units.items():
        edges = [edge.index for edge in graph.inflows[unit]]
        amount = parcels.amount[edges].sum(axis=0)
        missing_ms = parcels.missing_ms[edges].max(axis=0, initial=0)
        begin_ms = begins_ms.get(unit, 0)
        if not amount.any() and not missing_ms.any() and not begin_ms:
            continue
        rule = graph.idle.get(unit)
        calendar = rule.calendar if rule else None
        parts = segments(production, graph.steps, place, book.hour_ms, calendar, inferred.get(unit, ()))
        for piece in allocate(amount, parcels.quality[edges].min(axis=0), parts):
            if rule and piece.account.kind == "idle":
                book.post_waiting(piece)
            else:
                book.post(piece)
        if not missing_ms.any() and not begin_ms:
            continue
        by_work_unit[unit] = int(missing_ms.sum()) + begin_ms
        for part in parts:
            touched_ms = int(cut(missing_ms[None], part.from_ms, part.to_ms).sum())
            touched_ms += max(0, min(part.to_ms, begin_ms) - part.from_ms)
            for batch in {account.id for account, _ in part.shares if account.kind == "batch"}:
                by_batch[batch] = by_batch.get(batch, 0) + touched_ms
            if rule and touched_ms and part.shares[0][0].kind == "idle":
                book.arrivals.append(Arrival(part.shares[0][0], book.hour_ms + part.from_ms, (), touched_ms))
    return {batch: ms for batch, ms in sorted(by_batch.items()) if ms}, by_work_unit


_APART = {
    "unassigned": (
        "it was processing without a job, so what it used belongs to no batch",
        "send the job that ran (job_start, job_end), or a state other than processing",
    ),
    "conflict": (
        "two jobs ran at once in an exclusive step, so what they used belongs to neither",
        "correct the times of the jobs that the issue exclusive-overlap names",
    ),
}


def _kept_apart(book: Book) -> Iterable[Issue]:
    for kind, unit in {(key.account_kind, key.account_id) for key in book.net if key.account_kind in _APART}:
        yield Issue(kind, unit, *_APART[kind], book.hour_ms)


def _incomplete(missing_ms: Mapping[str, int], hour_ms: int) -> Iterable[Issue]:
    for batch, ms in missing_ms.items():
        message = f"meters behind this batch were unknown for {ms / 1000:.0f} s of this hour; its footprint lacks that"
        remedy = "bring the readings of the meters that the hour's issues name; the hour is accounted again by itself"
        yield Issue("batch-incomplete", batch, message, remedy, hour_ms)


def _assert_conserved(graph: PlantGraph, flows: Flows, production: Production, book: Book) -> None:
    """Every millionth that entered is on exactly one account; anything else is a bug, whatever the readings say."""
    entered = dict.fromkeys(graph.sources, 0)
    for edge in graph.edges:
        if edge.giver_kind == "source":
            entered[edge.giver] += int(flows.amount[edge.index].sum())
    for activity in production.activities:
        if activity.hour_ms == book.hour_ms:
            entered[activity.source] = entered.get(activity.source, 0) + activity.amount
    posted = dict.fromkeys(entered, 0)
    for key, amount in book.net.items():
        posted[key.source] = posted.get(key.source, 0) + amount
    for source in posted:
        assert posted[source] == entered.get(source, 0), (
            f"{source}: {entered.get(source, 0)} in, {posted[source]} posted"
        )
