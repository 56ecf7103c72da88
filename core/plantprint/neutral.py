"""A neutral way in: one JSON document of facts accounted without database or network, every account to the last digit.

    {"plantprint_facts": 1,
     "plants": [{"effective_at": null, "known_at": null, "model": { …plant.yaml as JSON… }}],
     "channels": [{"channel": "gw/m1", "unit": "kWh", "decimals": 2, "kind": "counter", "period_s": 0}],
     "readings": [{"channel": "gw/m1", "known_at": null, "revision": 0, "quality": "measured",
                   "rows": [["2026-01-01T00:00:00Z", "123.45"]]}],
     "events": [{"kind": "job_start", "at": …, "source": "mes", "event_id": …, "revision": 0, "body": {…}, "known_at": null}],
     "factors": [ …rows as `plantprint factors list --json` prints them… ],
     "until": "2026-01-02T00:00:00Z"}

A fact without `known_at` was always known; with `--known-at` only facts known by then count. Values are decimal text.
"""

from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from plantprint.account import EMPTY_CARRY, HourAccount, account_hour
from plantprint.factors import Factor, builtin_factors, latest
from plantprint.facts import Channel, EventKind, ProductionEvent, Quality, Reading
from plantprint.footprint import footprint
from plantprint.intervals import LOOKAHEAD, Feed, MeterSeries, binding_from_ms, hour_feeds
from plantprint.intervals.repeats import repeat_issues
from plantprint.ledger import Net
from plantprint.plant.graph import PlantGraph, compile_plant
from plantprint.plant.model import ChannelRef, Meter, Plant
from plantprint.production import Production, reduce_events
from plantprint.quantities import decimal_text, scaled
from plantprint.times import HOUR_MS, format_instant, hour_floor, parse_instant


class FactsError(ValueError):
    """The document does not say what it should; the message names the place."""


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    known_at: str | None = None


class _Plant(_Model):
    model: Plant
    effective_at: str | None = None


class _Channel(_Model):
    channel: ChannelRef
    unit: str
    decimals: int = Field(ge=0, le=12)
    kind: Literal["counter", "gauge", "amount"]
    period_s: int = Field(default=0, ge=0)


class _Readings(_Model):
    channel: ChannelRef
    rows: tuple[tuple[str, str], ...]
    quality: Literal["measured", "recovered", "estimated", "missing"] = "measured"
    revision: int = Field(default=0, ge=0)


class _Event(_Model):
    kind: EventKind
    at: str
    source: str
    event_id: str
    revision: int = Field(default=0, ge=0)
    body: dict[str, str | int | float | None]


class Facts(BaseModel):
    """The whole document."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    plantprint_facts: Literal[1]
    plants: tuple[_Plant, ...] = Field(min_length=1)
    channels: tuple[_Channel, ...]
    readings: tuple[_Readings, ...]
    events: tuple[_Event, ...] = ()
    factors: tuple[dict[str, Any], ...] = ()
    until: str


@dataclass(frozen=True, eq=False)
class Accounts:
    """Every hour accounted, the plant in force at the end, what production meant under it, and the factors."""

    hours: tuple[HourAccount, ...]
    graph: PlantGraph
    production: Production
    library: Mapping[str, Factor]

    @property
    def net(self) -> Net:
        """All postings of all hours; their keys hold the hour, so nothing is added up here."""
        return {key: amount for hour in self.hours for key, amount in hour.net.items()}


def parse_facts(document: str | bytes) -> Facts:
    """Raises `FactsError` with the place of every mistake."""
    try:
        return Facts.model_validate_json(document)
    except ValidationError as error:
        places = [f"{'.'.join(str(part) for part in e['loc'])}: {e['msg']}" for e in error.errors()]
        raise FactsError("; ".join(places)) from error


def account_facts(facts: Facts, known_at: str | None = None) -> Accounts:
    """Accounts every hour from the first reading to `until`, from the facts known at `known_at` (None: all)."""
    limit_ms = None if known_at is None else _instant(known_at, "known-at")
    until_ms = _instant(facts.until, "until")
    graphs = _graphs(facts, limit_ms)
    series = _series(facts, limit_ms)
    if not series:
        raise FactsError("readings: none of them is known by then")
    events = [
        ProductionEvent(e.source, e.event_id, e.revision, e.kind, _instant(e.at, f"event {e.event_id}"), e.body)
        for e in _known(facts.events, limit_ms)
    ]
    productions = {id(graph): reduce_events(events, graph) for _, graph in graphs}
    firsts = {name: readings[0].t_ms - channel.period_s * 1000 for name, (channel, readings) in series.items()}
    # A reading taken as an hour begins is the base of that hour, and belongs to the one before.
    begin_ms = min(first - (not series[name][0].period_s) for name, first in firsts.items())
    hours: list[HourAccount] = []
    carry = EMPTY_CARRY
    for hour_ms in range(hour_floor(begin_ms), until_ms, HOUR_MS):
        graph = _in_force(graphs, hour_ms)
        later = _in_force(graphs, hour_ms + HOUR_MS)
        meters, since_ms = _meters(graph, later, series, firsts, hour_ms)
        account = account_hour(graph, productions[id(graph)], hour_ms, meters, carry, until_ms, since_ms)
        carry = account.carry
        hours.append(account)
    graph = _in_force(graphs, until_ms)
    own = [Factor.from_json(row) for row in facts.factors]
    return Accounts(tuple(hours), graph, productions[id(graph)], latest([*builtin_factors(), *own]))


def _known(items: Iterable[Any], limit_ms: int | None) -> list[Any]:
    return [i for i in items if limit_ms is None or i.known_at is None or _instant(i.known_at, "known_at") <= limit_ms]


def _instant(text: str, place: str) -> int:
    try:
        return parse_instant(text)
    except ValueError as error:
        raise FactsError(f"{place}: {error}") from error


def _graphs(facts: Facts, limit_ms: int | None) -> list[tuple[int, PlantGraph]]:
    """Plants by the instant from which they hold; the first holds from the beginning."""
    known = _known(facts.plants, limit_ms)
    if not known:
        raise FactsError("plants: none of them is known by then")
    return sorted(((_effective_ms(p.effective_at), compile_plant(p.model)) for p in known), key=lambda item: item[0])


def _effective_ms(effective_at: str | None) -> int:
    if effective_at is None:
        return -(2**62)
    effective_ms = _instant(effective_at, "effective_at")
    if effective_ms != hour_floor(effective_ms):
        remedy = f"write {format_instant(hour_floor(effective_ms))}; valid_from of a binding may lie inside an hour"
        raise FactsError(f"effective_at: a plant takes effect at a full hour (UTC), not at {effective_at}; {remedy}")
    return effective_ms


def _in_force(graphs: Sequence[tuple[int, PlantGraph]], at_ms: int) -> PlantGraph:
    return next((graph for from_ms, graph in reversed(graphs) if from_ms <= at_ms), graphs[0][1])


def _series(facts: Facts, limit_ms: int | None) -> dict[str, tuple[Channel, list[Reading]]]:
    """Per declared channel its readings in order of time, the highest rank per instant."""
    channels: dict[str, Channel] = {}
    for c in facts.channels:
        agent, _, name = c.channel.partition("/")
        channels[c.channel] = Channel(agent, name, c.unit, c.decimals, c.kind, c.period_s)
    best: dict[str, dict[int, Reading]] = {}
    for block in _known(facts.readings, limit_ms):
        if block.channel not in channels:
            raise FactsError(f"readings: channel {block.channel} is not declared under channels")
        quality, scale = Quality[block.quality.upper()], 10 ** channels[block.channel].decimals
        chosen = best.setdefault(block.channel, {})
        for at, text in block.rows:
            try:
                value = scaled(text, scale)
            except ArithmeticError as error:
                raise FactsError(f"readings: {block.channel} at {at}: {text!r} is not a number") from error
            except ValueError as error:
                raise FactsError(f"readings: {block.channel} at {at}: {error}") from error
            reading = Reading(_instant(at, f"readings: {block.channel}"), value, quality, block.revision)
            if reading.t_ms not in chosen or reading.rank > chosen[reading.t_ms].rank:
                chosen[reading.t_ms] = reading
    return {name: (channels[name], [chosen[t] for t in sorted(chosen)]) for name, chosen in best.items() if chosen}


def _meters(
    graph: PlantGraph,
    later: PlantGraph,
    series: Mapping[str, tuple[Channel, list[Reading]]],
    firsts: Mapping[str, int],
    hour_ms: int,
) -> tuple[dict[str, MeterSeries], dict[str, int]]:
    """What feeds each meter in an hour (`later`: the plant of the next one), and since when it has been there."""
    found: dict[str, MeterSeries] = {}
    since_ms: dict[str, int] = {}
    for meter in graph.plant.meters:
        feeds = [f for f in hour_feeds(meter, later.meters.get(meter.id), hour_ms) if f.binding.channel in series]
        parts = [_fed(meter, feed, series, hour_ms) for feed in feeds]
        if parts:
            found[meter.id] = replace(parts[0], following=tuple(parts[1:]))
        if begun := [max(firsts[b.channel], binding_from_ms(b)) for b in meter.bindings if b.channel in series]:
            since_ms[meter.id] = min(begun)
    return found, since_ms


def _fed(meter: Meter, feed: Feed, series: Mapping[str, tuple[Channel, list[Reading]]], hour_ms: int) -> MeterSeries:
    """What feeds a meter under a binding, with the power that spreads it."""
    ratio = Decimal(feed.binding.ratio)
    channel, readings = series[feed.binding.channel]
    fed = MeterSeries(channel, meter, ratio, _window(readings, hour_ms), feed.from_ms, feed.to_ms)
    if feed.binding.power is None or feed.binding.power not in series:
        return fed
    channel, readings = series[feed.binding.power]
    return replace(fed, power=MeterSeries(channel, meter, ratio, _window(readings, hour_ms)))


def _window(readings: Sequence[Reading], hour_ms: int) -> tuple[Reading, ...]:
    low = bisect_right(readings, hour_ms, key=lambda r: r.t_ms)
    high = bisect_right(readings, hour_ms + HOUR_MS, key=lambda r: r.t_ms)
    return tuple(readings[low : high + LOOKAHEAD])


def accounts_json(accounts: Accounts) -> dict[str, Any]:
    """Every posting with its full key, every batch's footprint, what entered per source, and the issues."""
    net = accounts.net
    sources = accounts.graph.plant.sources
    units = {source.id: source.unit for source in sources}
    postings = []
    for key, amount in sorted(net.items()):
        fields = key._asdict()
        hour, entered, quality = fields.pop("hour_ms"), fields.pop("entered_ms"), fields.pop("quality")
        postings.append(
            {"hour_at": format_instant(hour), **fields, "entered_at": format_instant(entered),
             "quality": Quality(quality).name.lower(), "amount": decimal_text(amount), "unit": units.get(key.source, "")}
        )  # fmt: skip
    batches: dict[str, Net] = {}
    totals: dict[str, int] = {}
    for key, amount in net.items():
        if key.account_kind == "batch":
            batches.setdefault(key.account_id, {})[key] = amount
        if key.account_kind != "stock":
            totals[key.source] = totals.get(key.source, 0) + amount
    names = sorted({*accounts.production.batches, *batches})
    issues = {*accounts.production.issues, *(issue for hour in accounts.hours for issue in hour.issues)}
    issues |= {*repeat_issues((hour.hour_ms, hour.meters) for hour in accounts.hours)}
    return {
        "site": accounts.graph.plant.site.id,
        "postings": postings,
        "accounted": {s: {"amount": decimal_text(a), "unit": units.get(s, "")} for s, a in sorted(totals.items())},
        "batches": {name: _batch(accounts, name, batches.get(name, {})) for name in names},
        "issues": [
            {"code": i.code, "place": i.place, "at": format_instant(i.at_ms), "message": i.message, "remedy": i.remedy}
            for i in sorted(issues)
        ],
    }


def _batch(accounts: Accounts, name: str, net: Net) -> dict[str, Any]:
    batch = accounts.production.batches.get(name)
    quantity, unit = (batch.quantity_micro, batch.unit) if batch else (None, "")
    missing_ms = sum(hour.missing_ms.get(name, 0) for hour in accounts.hours)
    result = footprint(net, accounts.graph.plant.sources, accounts.library, quantity, unit).to_json()
    return {**result, "missing_ms": missing_ms, "incomplete": missing_ms > 0 or not result["complete"]}
