"""Small plants in a few words, and the hours of their meters, for tests of the accounting."""

from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from typing import Any

import numpy as np

from plantprint.account import EMPTY_CARRY, Carry, HourAccount, account_hour, account_meters
from plantprint.facts import Channel, Issue, Quality, Reading
from plantprint.intervals import LOOKAHEAD, MeterHour, MeterSeries
from plantprint.plant.graph import PlantGraph, compile_plant
from plantprint.plant.model import Plant
from plantprint.production import Difference, Facts, Job, Production, StateSpan

HOUR_MS = 3_600_000
HOUR = 1_764_547_200_000  # 2025-12-01T00:00:00Z
NO_PRODUCTION = Production((), (), {}, (), ())

_NODES = ("export", "unmetered", "losses")


def make_graph(
    flows: Sequence[tuple[str, str, str] | tuple[str, str, str, int]],
    *,
    pools: Mapping[str, str] | None = None,
    sources: Mapping[str, str] | None = None,
    units: Mapping[str, str] | None = None,
    work_units: Sequence[str] = (),
    rules: Mapping[str, str] | None = None,
    bucket_s: int = 900,
    stores: Mapping[str, dict[str, Any]] | None = None,
    more: Mapping[Any, dict[str, Any]] | None = None,
) -> PlantGraph:
    """Flows are (giver, taker, amount[, weight]).

    `pools` maps to "conserving|converting [bucket|hour]", `sources` to their kind, `units` from any node to its unit
    (kWh where not named; a meter counts in its giver's unit), `rules` from steps to their rule for jobs at once,
    `stores` to their fields, `more` from a source, a pool, a work unit, (giver, taker), "site" or "plant" to further
    fields of it.
    """
    pools, sources, units = pools or {}, sources or {"grid": "grid"}, units or {}
    stores, more = stores or {}, more or {}
    meters = {str(fields["level"]): units.get(store, "kWh") for store, fields in stores.items() if "level" in fields}
    for giver, taker, amount, *_ in flows:
        for word in amount.split():
            if word not in {"+", "-", "rest"}:
                meters[word] = units.get(_product_of(giver, taker, more), units.get(giver, "kWh"))
    centers = [
        {"id": f"line-{unit}", "name": {"en": unit}, "work_units": [_named(unit) | more.get(unit, {})]}
        for unit in work_units
    ]
    body: dict[str, Any] = {
        "plantprint": 1,
        "site": _named("site") | more.get("site", {}),
        "bucket_s": bucket_s,
        "steps": [_named(step) | {"rule": rule} for step, rule in (rules or {}).items()],
        "work_centers": centers,
        "sources": [
            _named(source)
            | {"unit": units.get(source, "kWh"), "kind": kind, "factor": f"factor.{source}", "scope": 2}
            | more.get(source, {})
            for source, kind in sources.items()
        ],
        "meters": [
            _named(meter) | {"unit": unit, "bindings": [{"channel": f"gw/{meter}"}]} for meter, unit in meters.items()
        ],
        "pools": [_pool(pool, words, units.get(pool, "kWh")) | more.get(pool, {}) for pool, words in pools.items()],
        "stores": [_named(store) | {"unit": units.get(store, "kWh")} | fields for store, fields in stores.items()],
        "flows": [
            {"from": giver, "to": taker, "amount": amount, "weight": weight[0] if weight else 1}
            | more.get((giver, taker), {})
            for giver, taker, amount, *weight in flows
        ],
    }
    return compile_plant(Plant.model_validate(body | more.get("plant", {})))


def _product_of(giver: str, taker: str, more: Mapping[Any, dict[str, Any]]) -> str:
    """`pool.product` where a flow is one of several products; `units` may name it."""
    return f"{giver}.{more.get((giver, taker), {}).get('product', '')}"


def _named(name: str) -> dict[str, Any]:
    return {"id": name, "name": {"en": name}}


def _pool(name: str, words: str, unit: str) -> dict[str, Any]:
    kind, _, window = words.partition(" ")
    return _named(name) | {"unit": unit, "kind": kind, "mix_window": window or "auto"}


def meter_hours(
    graph: PlantGraph,
    amounts: Mapping[str, Sequence[int]],
    quality: Mapping[str, Sequence[int]] | None = None,
) -> dict[str, MeterHour]:
    """Hours of all meters: `amounts` in millionths per bucket (0 where not named), `quality` MEASURED where not named.

    A bucket of quality MISSING has no amount and is missing from end to end.
    """
    hours = {}
    for meter in graph.meters:
        how = np.array((quality or {}).get(meter, [Quality.MEASURED] * graph.buckets), np.int8)
        amount = np.array(amounts.get(meter, [0] * graph.buckets), np.int64)
        missing = np.where(how == Quality.MISSING, HOUR_MS // graph.buckets, 0).astype(np.int32)
        hours[meter] = MeterHour(np.where(how == Quality.MISSING, 0, amount), how, missing)
    return hours


Readings = Mapping[str, Iterable[Reading]]
"""All readings of each meter's channel, a counter in millionths of the meter's unit, in any order, repeats allowed."""


def register(*points: tuple[float, int], quality: int = Quality.MEASURED) -> list[Reading]:
    """Readings of a counter: (minutes from HOUR, register)."""
    return [Reading(HOUR + round(minute * 60_000), value, quality) for minute, value in points]


def hour_series(graph: PlantGraph, readings: Readings, hour_ms: int) -> dict[str, MeterSeries]:
    """What an accountant would load for an hour: the winner of each instant, and a few readings beyond the end."""
    series = {}
    for meter, facts in readings.items():
        node = graph.meters[meter]
        channel = Channel("gw", meter, node.unit, 6, "gauge" if meter in graph.levels else "counter")
        best: dict[int, Reading] = {}
        for reading in facts:
            if reading.t_ms > hour_ms and (reading.t_ms not in best or reading.rank > best[reading.t_ms].rank):
                best[reading.t_ms] = reading
        ordered = [best[t_ms] for t_ms in sorted(best)]
        within = sum(reading.t_ms <= hour_ms + HOUR_MS for reading in ordered)
        series[meter] = MeterSeries(channel, node, Decimal(1), tuple(ordered[: within + LOOKAHEAD]))
    return series


def account_hours(
    graph: PlantGraph,
    made: Production,
    readings: Readings,
    hours: int,
    carry: Carry = EMPTY_CARRY,
    first: int = 0,
) -> list[HourAccount]:
    """Hours `first` … `first + hours - 1` after HOUR, each with the carry of the one before; now is their end.

    Without a carry the hour before is accounted as well, so that registers read at the first hour's start are its base.
    """
    if carry == EMPTY_CARRY:
        hour_ms = HOUR + (first - 1) * HOUR_MS
        carry = account_hour(
            graph, made, hour_ms, hour_series(graph, readings, hour_ms), carry, hour_ms + HOUR_MS
        ).carry
    accounts: list[HourAccount] = []
    for number in range(first, first + hours):
        hour_ms = HOUR + number * HOUR_MS
        series = hour_series(graph, readings, hour_ms)
        accounts.append(account_hour(graph, made, hour_ms, series, carry, HOUR + (first + hours) * HOUR_MS))
        carry = accounts[-1].carry
    return accounts


def account_amounts(
    graph: PlantGraph,
    made: Production,
    amounts: Mapping[str, Sequence[Sequence[int]]],
    carry: Carry = EMPTY_CARRY,
    start_ms: int = HOUR,
    until_ms: int | None = None,
) -> list[HourAccount]:
    """Hours from `start_ms` of meters whose amounts are known: per meter one row of buckets for every hour.

    Now is the end of the last hour unless said otherwise.
    """
    count = max(map(len, amounts.values()))
    until_ms = start_ms + count * HOUR_MS if until_ms is None else until_ms
    accounts: list[HourAccount] = []
    for number in range(count):
        hours = meter_hours(graph, {meter: rows[number] for meter, rows in amounts.items()})
        accounts.append(account_meters(graph, made, start_ms + number * HOUR_MS, hours, (), carry, until_ms))
        carry = accounts[-1].carry
    return accounts


def job(name: str, work_unit: str, start_min: float, end_min: float | None, **more: Any) -> Job:
    """A job of batch `b-<name>` (or `batch=`), minutes counted from HOUR."""
    return Job(
        job=name,
        batch=more.get("batch", f"b-{name}"),
        work_unit=work_unit,
        step=more.get("step", ""),
        weight=more.get("weight", 1_000_000),
        start_ms=HOUR + round(start_min * 60_000),
        end_ms=None if end_min is None else HOUR + round(end_min * 60_000),
    )


def state(work_unit: str, name: str, start_min: float, end_min: float | None = None) -> StateSpan:
    end_ms = None if end_min is None else HOUR + round(end_min * 60_000)
    return StateSpan(work_unit, name, HOUR + round(start_min * 60_000), end_ms)


def production(*parts: Job | StateSpan) -> Production:
    jobs = tuple(part for part in parts if isinstance(part, Job))
    states = tuple(part for part in parts if isinstance(part, StateSpan))
    issues: tuple[Issue, ...] = ()
    return Production(jobs, states, {}, (), issues)


def difference(old: Production, new: Production) -> Difference:
    """What one has and the other has not, found by looking at everything."""

    def without(one: Production, other: Production) -> Facts:
        def left(name: str) -> list[Any]:
            return sorted(set(getattr(one, name)) - set(getattr(other, name)))

        batches = sorted({*one.batches.values()} - {*other.batches.values()})
        return Facts(left("jobs"), left("states"), batches, left("shipments"), left("activities"), left("issues"))

    return Difference(without(old, new), without(new, old))
