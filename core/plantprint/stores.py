"""Stores: what a battery, accumulator or tank holds, in layers by the hour in which it came in, and what it gives out.

A layer has an amount in millionths of the store's unit and a content by source. An amount that is taken out carries the
same part of every content, by rule R1. All of it is exact integers; levels and losses never change what is counted.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from typing import Any, NamedTuple

from plantprint.facts import Issue, Quality
from plantprint.flows import Flows
from plantprint.intervals import MeterSeries
from plantprint.plant.graph import PlantGraph
from plantprint.plant.model import Store
from plantprint.quantities import MICRO, UnitError, conversion, decimal_text, divide, round_half_even
from plantprint.sharing import StockLayer
from plantprint.times import HOUR_MS

_DAY_MS = 24 * HOUR_MS
# A level above the balance by less than this part of it is the level meter's resolution, not a disagreement.
_LEVEL_TOLERANCE = 100


class StoreLayer(NamedTuple):
    """What came in during an hour and is still there: `level` in the store's unit, `content` by source.

    A mixed store has one layer, of `stored_ms` 0. A layer without content was there before accounting began; `UNKNOWN`
    before all others says that no level has told yet how much that was.
    """

    stored_ms: int
    level: int
    content: tuple[StockLayer, ...]


UNKNOWN = StoreLayer(0, 0, ())
Layers = tuple[StoreLayer, ...]
Stores = Mapping[str, Layers]


def layers_to_json(stores: Stores) -> dict[str, Any]:
    return {
        store: [[at_ms, level, [list(part) for part in content]] for at_ms, level, content in layers]
        for store, layers in sorted(stores.items())
    }


def layers_from_json(body: Mapping[str, Any]) -> dict[str, Layers]:
    return {store: tuple(_layer_from_json(*layer) for layer in layers) for store, layers in body.items()}


def _layer_from_json(stored_ms: int, level: int, content: list[list[Any]]) -> StoreLayer:
    parts = tuple((str(s), int(e), int(q), int(a)) for s, e, q, a in content)
    return StoreLayer(int(stored_ms), int(level), parts)


class Level(NamedTuple):
    """What is in a store at an hour's end by its meter, in millionths of the store's unit."""

    amount: int
    quality: int


Levels = Mapping[str, Level]


@dataclass(frozen=True, slots=True)
class Draw:
    """A store's hour: `taken` of what it held goes out and `kept` stays; `passing` of the `charged` goes out again.

    `passing` is not zero only when more is drawn than the store held at the hour's start. `is_unknown` while the store's
    first level is still to come.
    """

    store: Store
    kept: Layers
    taken: tuple[StockLayer, ...]
    charged: int
    passing: int
    issues: tuple[Issue, ...]
    is_unknown: bool = False

    @property
    def staying(self) -> int:
        return self.charged - self.passing


@dataclass(frozen=True, slots=True)
class Closed:
    """A store at an hour's end: its layers, and what was lost in the hour."""

    layers: Layers
    lost: tuple[StockLayer, ...]
    issues: tuple[Issue, ...]


def draw_stores(graph: PlantGraph, flows: Flows, stores: Stores, levels: Levels, hour_ms: int) -> dict[str, Draw]:
    """What every store of the plant gives out in the hour of what it held at its start."""
    return {
        store: _draw(
            node,
            stores.get(store),
            int(flows.amount[[edge.index for edge in graph.inflows[store]]].sum()),
            int(flows.amount[[edge.index for edge in graph.outflows[store]]].sum()),
            levels.get(store),
            hour_ms,
            _error(graph, store),
        )
        for store, node in graph.stores.items()
    }


def _error(graph: PlantGraph, store: str) -> Fraction:
    """The part of what came out by which that and what went in may differ because of the meters."""
    edges = (*graph.inflows[store], *graph.outflows[store])
    return 2 * max((graph.meters[meter].likely_error for edge in edges for _, meter in edge.terms), default=Fraction(0))


def _draw(
    store: Store, before: Layers | None, charged: int, drawn: int, level: Level | None, hour_ms: int, error: Fraction
) -> Draw:
    is_new = before is None or before[:1] == (UNKNOWN,)
    layers = tuple(layer for layer in before or () if layer != UNKNOWN)
    if is_new and level is not None:
        layers = _opened(store, layers, level.amount - charged + drawn, hour_ms)
    held = sum(layer.level for layer in layers)
    taken, kept = take(layers, min(drawn, held))
    passing = max(0, min(drawn - held, charged))
    issues: tuple[Issue, ...] = ()
    short = drawn - held - charged
    if short > MICRO // 1000:  # Registers are rounded; a thousandth of a unit says nothing.
        message = f"{decimal_text(short)} {store.unit} more came out of the store than it held and got in this hour"
        remedy = "check its meters against each other, and its level or empty_point; what came out shares what is known"
        issues = (Issue("store-overdrawn", store.id, message, remedy, hour_ms, short > error * drawn),)
    return Draw(store, kept, taken, charged, passing, issues, is_new and store.level is not None and level is None)


def _opened(store: Store, layers: Layers, level: int, hour_ms: int) -> Layers:
    """A store whose first known level says that so much was in it at the hour's start: the rest is of nobody knows what."""
    rest = level - sum(layer.level for layer in layers)
    if rest <= 0:
        return layers
    return _mixed(store, (StoreLayer(hour_ms - HOUR_MS, rest, ()), *layers))


def _mixed(store: Store, layers: Layers) -> Layers:
    if store.kind != "mixed" or not layers:
        return layers
    return (StoreLayer(0, sum(layer.level for layer in layers), contents(layers)),)


def take(layers: Iterable[StoreLayer], amount: int) -> tuple[tuple[StockLayer, ...], Layers]:
    """Takes an amount out of the first layers on; returns the contents that go and the layers that stay."""
    taken: list[StockLayer] = []
    kept: list[StoreLayer] = []
    for layer in layers:
        part = min(amount, layer.level)
        amount -= part
        gone, rest = _split(layer, part)
        taken += gone
        if rest is not None:
            kept.append(rest)
    return merged(taken), tuple(kept)


def _split(layer: StoreLayer, part: int) -> tuple[Sequence[StockLayer], StoreLayer | None]:
    """The contents that go with `part` of a layer, and the layer that is left, None when it is empty."""
    if part == layer.level:
        return layer.content, None
    if not part:
        return (), layer
    gone: list[StockLayer] = []
    rest: list[StockLayer] = []
    for source, entered_ms, quality, amount in layer.content:
        goes, stays = divide(amount, [part, layer.level - part])
        gone += [(source, entered_ms, quality, goes)] if goes else []
        rest += [(source, entered_ms, quality, stays)] if stays else []
    return gone, StoreLayer(layer.stored_ms, layer.level - part, tuple(rest))


def merged(layers: Iterable[StockLayer]) -> tuple[StockLayer, ...]:
    """The same amounts with one entry per source, hour and quality, in order."""
    sums: dict[tuple[str, int, int], int] = {}
    for source, entered_ms, quality, amount in layers:
        key = (source, entered_ms, quality)
        sums[key] = sums.get(key, 0) + amount
    return tuple((*key, amount) for key, amount in sorted(sums.items()) if amount)


def contents(layers: Iterable[StoreLayer]) -> tuple[StockLayer, ...]:
    """What is in a store by source, whatever the layer."""
    return merged(part for layer in layers for part in layer.content)


def close_store(draw: Draw, entered: Iterable[StockLayer], level: Level | None, hour_ms: int) -> Closed:
    """The store at the hour's end: with what `entered` and stays, less what its level or its empty point says was lost.

    A loss leaves at the store's mix, every layer by its part. A level above the balance adds nothing: what no meter saw
    come in is not there, and later losses come out of the difference first.
    """
    fresh = StoreLayer(hour_ms, draw.staying, merged(entered))
    layers = _mixed(draw.store, (*draw.kept, fresh) if fresh.level or fresh.content else draw.kept)
    balance = sum(layer.level for layer in layers)
    issues = draw.issues
    most, quality = _bound(draw.store, level, hour_ms)
    if level is not None and level.amount - balance > max(level.amount // _LEVEL_TOLERANCE, MICRO):
        over = decimal_text(level.amount - balance)
        message = f"its level is {over} {draw.store.unit} above the balance of what came in and went out"
        remedy = "check its level and its meters against each other: ratio, capacity, a way in that no meter sees"
        issues = (*issues, Issue("disagreement", draw.store.id, message, remedy, hour_ms, contradicts=True))
    lost: tuple[StockLayer, ...] = ()
    if most is not None and balance > most:
        lost, layers = _lose(layers, balance - most)
    if draw.is_unknown and not is_empty_point(draw.store, hour_ms):
        layers = (UNKNOWN, *layers)
    return Closed(layers, tuple((s, e, min(q, quality), amount) for s, e, q, amount in lost), issues)


def _bound(store: Store, level: Level | None, hour_ms: int) -> tuple[int | None, int]:
    """The most that can be in a store at the hour's end, and how well that is known."""
    if level is not None:
        return level.amount, level.quality
    if is_empty_point(store, hour_ms):
        return 0, Quality.ESTIMATED
    return None if store.capacity is None else _micro(store.capacity), Quality.ESTIMATED


def is_empty_point(store: Store, hour_ms: int) -> bool:
    """Whether the store's declared empty point lies in the hour, its end included."""
    at = store.empty_point
    if at is None or (offset := at.utcoffset()) is None:
        return False
    at_ms = (at.hour * 60 + at.minute) * 60_000 + at.second * 1000 - int(offset.total_seconds()) * 1000
    return (at_ms - hour_ms - 1) % _DAY_MS < HOUR_MS


def _lose(layers: Layers, amount: int) -> tuple[tuple[StockLayer, ...], Layers]:
    """Takes an amount out of every layer by its part of the level."""
    lost: list[StockLayer] = []
    kept: list[StoreLayer] = []
    parts = divide(amount, [layer.level for layer in layers])
    for layer, part in zip(layers, parts, strict=True):
        gone, rest = _split(layer, part)
        lost += gone
        if rest is not None:
            kept.append(rest)
    return merged(lost), tuple(kept)


def read_level(series: MeterSeries, store: Store, hour_ms: int) -> Level | Issue | None:
    """A store's level at the hour's end: between the readings around it, or the last one if it is recent enough.

    The channel is a gauge that tells an amount (kWh, kg, m3) or % of the capacity. None when nothing is known.
    """
    end_ms, gap_ms = hour_ms + HOUR_MS, series.max_gap_ms
    try:
        scale = _level_scale(series, store)
    except UnitError as error:
        remedy = (
            "let a gauge tell the level in a unit that converts to the store's, or in % of a capacity declared here"
        )
        message = f"channel {series.channel.key}: {error}; the store's level is unknown"
        return Issue("channel-unusable", series.meter.id, message, remedy, hour_ms)
    readings = [r for r in series.readings if r.t_ms > hour_ms and r.quality > Quality.MISSING]
    before = [reading for reading in readings if reading.t_ms <= end_ms]
    if not before or end_ms - before[-1].t_ms > gap_ms:
        return None
    last, value = before[-1], Fraction(before[-1].value)
    quality = last.quality
    after = next((reading for reading in readings if reading.t_ms > end_ms), None)
    if after is not None and after.t_ms - last.t_ms <= gap_ms:
        value += Fraction((after.value - last.value) * (end_ms - last.t_ms), after.t_ms - last.t_ms)
        quality = min(quality, after.quality) if last.t_ms < end_ms else quality
    amount = value * scale
    return Level(max(0, round_half_even(amount.numerator, amount.denominator)), quality)


def _level_scale(series: MeterSeries, store: Store) -> Fraction:
    """Millionths of the store's unit in one step of the channel's integers."""
    channel = series.channel
    if channel.kind != "gauge":
        raise UnitError(f"a level is a gauge, not a {channel.kind}")
    step = Fraction(series.ratio) * Fraction(MICRO, 10**channel.decimals)
    if channel.unit == "%":
        if store.capacity is None:
            raise UnitError(f"% of store {store.id!r}, which has no capacity")
        return step * Fraction(store.capacity) / 100
    return step * conversion(channel.unit, store.unit)


def _micro(amount: Decimal) -> int:
    exact = Fraction(amount) * MICRO
    return round_half_even(exact.numerator, exact.denominator)
