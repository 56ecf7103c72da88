"""The live picture: rates, running batches and the recent trend of a site, as JSON bodies for the `live` table.

Rates are for show and use floats; a batch's figure is the exact sum of its settled and open postings. Nothing is
interpolated: a bucket that no meter has reached yet has no rate, and when data stops the rate becomes unknown.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from psycopg import Connection

from plantprint.account import HourAccount, upstream_meters
from plantprint.book import Use
from plantprint.factors import Factor, FactorChoice, choose_factor
from plantprint.facts import Quality
from plantprint.footprint import footprint
from plantprint.ledger import Net
from plantprint.plant.graph import PlantGraph
from plantprint.production import Production
from plantprint.quantities import FACTOR_SCALE, MICRO, decimal_text
from plantprint.times import HOUR_MS, format_instant
from plantprint_collector.alerts import under_way
from plantprint_collector.facts_store import load_clock

Conn = Connection[tuple[Any, ...]]

# Amounts that no step used: losses, unmetered consumers.
SHARED_STEP = "shared"
_RATE_SPAN_S = 30
_OUTSIDE = ("export", "stock")


@dataclass(frozen=True, slots=True)
class Ages:
    """How old the newest reading of each meter is, in seconds of wall time; None where there is none yet."""

    by_meter: Mapping[str, float | None]
    late_s: float
    missing_s: float

    def status(self, age_s: float | None) -> str:
        if age_s is None or age_s > self.missing_s:
            return "missing"
        return "late" if age_s > self.late_s else "live"

    def newest(self, meters: Iterable[str]) -> float | None:
        return min((age for m in meters if (age := self.by_meter.get(m)) is not None), default=None)

    def missing(self) -> list[str]:
        return sorted(m for m, age in self.by_meter.items() if self.status(age) == "missing")


@dataclass(frozen=True, eq=False)
class Rates:
    """Emission rates of one use, kgCO2e/h per bucket from `Picture.start_ms`."""

    use: Use
    rate: NDArray[np.float64]


class Picture:
    """Consecutive accounted hours seen as rates per bucket; the last one ends at the site's now."""

    def __init__(
        self, graph: PlantGraph, accounts: Sequence[HourAccount], library: Mapping[str, Factor], now_ms: int
    ) -> None:
        self.graph = graph
        self.start_ms = accounts[0].hour_ms
        self.bucket_ms = HOUR_MS // graph.buckets
        per_unit = _per_unit(graph, library)
        self.rates = _rates(accounts, graph, per_unit)
        net = {k: a for account in accounts for k, a in account.net.items() if k.account_kind not in _OUTSIDE}
        self._by_quality = footprint(net, graph.plant.sources, library).by_quality
        hours = [list(account.meters.values()) for account in accounts]
        self.missing_ms = np.concatenate([np.mean([m.missing_ms for m in hour], axis=0) for hour in hours])
        # A bucket that most meters say nothing about has no rate, whether they are silent or were not there yet.
        self.unknown = np.concatenate(
            [np.mean([m.quality == Quality.MISSING for m in h], axis=0) > 1 / 2 for h in hours]
        )
        self.now_ms = now_ms

    def index(self, t_ms: int) -> int:
        return (t_ms - self.start_ms) // self.bucket_ms

    def recent(self, known_until_ms: int) -> slice:
        """The last whole buckets that data has passed, about half a minute of them; empty before the first."""
        end = max(self.index(known_until_ms), 0)
        return slice(max(end - max(1, _RATE_SPAN_S * 1000 // self.bucket_ms), 0), end)

    def sums(self, window: slice, key: Any) -> dict[Any, float]:
        """Mean rate in the window per key(use); uses whose key is None are left out."""
        found: dict[Any, float] = {}
        for item in self.rates:
            name = key(item.use)
            if name is not None and window.stop > window.start:
                found[name] = found.get(name, 0.0) + float(item.rate[window].mean())
        return found

    def trend(self, minutes: int) -> dict[str, Any]:
        """The last minutes per step; buckets that are unknown have no rate."""
        end = self.index(self.now_ms)
        first = max(end - minutes * 60_000 // self.bucket_ms, 0)
        steps: dict[str, NDArray[np.float64]] = {}
        for item in self.rates:
            if item.use.account_kind not in _OUTSIDE:
                step = item.use.step or SHARED_STEP
                steps[step] = steps.get(step, np.zeros(len(item.rate))) + item.rate
        unknown = self.unknown[first:end]
        return {
            "bucket_s": self.bucket_ms // 1000,
            "start_at": format_instant(self.start_ms + first * self.bucket_ms),
            "steps": sorted(steps),
            "at_ms": [self.start_ms + n * self.bucket_ms for n in range(first, end)],
            "rate_kg_co2e_per_hour": {
                step: [
                    None if gone else round(float(value), 3)
                    for value, gone in zip(rate[first:end], unknown, strict=True)
                ]
                for step, rate in sorted(steps.items())
            },
            "missing": [int(gone) for gone in unknown],
        }

    def quality(self) -> dict[str, float]:
        """Shares of the last hour: missing by meters and time, the others by their part of the emissions known."""
        known_from = int(np.argmin(self.unknown)) if not self.unknown.all() else 0
        first = max(self.index(self.now_ms - HOUR_MS), known_from)
        end = self.index(self.now_ms) + 1
        passed_ms = max(self.now_ms - self.start_ms - first * self.bucket_ms, 1)
        missing = min(float(self.missing_ms[first:end].sum()) / passed_ms, 1.0)
        known = quality_shares(self._by_quality)
        return {name: round(share * (1 - missing), 4) for name, share in known.items()} | {"missing": round(missing, 4)}


def _per_unit(graph: PlantGraph, library: Mapping[str, Factor]) -> dict[str, float]:
    choices = {source.id: choose_factor(source, library) for source in graph.plant.sources}
    return {s: c.per_unit / FACTOR_SCALE for s, c in choices.items() if isinstance(c, FactorChoice)}


def _rates(accounts: Sequence[HourAccount], graph: PlantGraph, per_unit: Mapping[str, float]) -> list[Rates]:
    buckets, total = graph.buckets, len(accounts) * graph.buckets
    found: dict[tuple[str, ...], Rates] = {}
    for number, account in enumerate(accounts):
        for use in account.uses:
            key = (use.account_kind, use.account_id, use.work_unit, use.work_center, use.step, use.source)
            if key not in found:
                found[key] = Rates(use, np.zeros(total))
            kg_per_hour = use.amount * (per_unit.get(use.source, 0.0) / MICRO * buckets)
            found[key].rate[number * buckets : (number + 1) * buckets] = kg_per_hour
    return list(found.values())


def rate_text(rate: float | None) -> str | None:
    return None if rate is None else f"{rate:.3f}"


def texts(rates: Mapping[str, float]) -> dict[str, str]:
    return {name: f"{rate:.3f}" for name, rate in sorted(rates.items())}


def meters_behind(graph: PlantGraph, work_units: Iterable[str]) -> set[str]:
    """The meters whose readings say what each of these work units takes: its own, or all upstream where it has none."""
    found: set[str] = set()
    for unit in work_units:
        own = {meter for edge in graph.inflows[unit] for _, meter in edge.terms}
        found |= own or upstream_meters(graph, unit)
    return found


def work_center_body(
    picture: Picture, ages: Ages, window: slice, center_id: str, production: Production
) -> dict[str, Any]:
    """The live row of a line; its budget is added by who keeps the alerts."""
    graph = picture.graph
    units = [unit for unit, place in graph.work_units.items() if place.work_center == center_id]
    age_s = ages.newest(meters_behind(graph, units))
    status = ages.status(age_s)
    by_unit = picture.sums(window, lambda use: use.work_unit if use.work_center == center_id else None)
    by_step = picture.sums(window, lambda use: (use.step or SHARED_STEP) if use.work_center == center_id else None)
    by_source = picture.sums(window, lambda use: use.source if use.work_center == center_id else None)
    known = status != "missing" and window.stop > window.start
    running = running_batches(production, picture.now_ms)
    return {
        "at": format_instant(picture.now_ms),
        "rate_kg_co2e_per_hour": rate_text(sum(by_unit.values())) if known else None,
        "status": status,
        "data_age_s": None if age_s is None else round(age_s, 1),
        "by_step": texts(by_step) if known else {},
        "by_source": texts(by_source) if known else {},
        "work_units": [
            _work_unit_body(graph, ages, unit, by_unit.get(unit, 0.0), running.get(unit, []), known) for unit in units
        ],
    }


def _work_unit_body(
    graph: PlantGraph, ages: Ages, unit: str, rate: float, batches: list[str], known: bool
) -> dict[str, Any]:
    age_s = ages.newest(meters_behind(graph, [unit]))
    status = ages.status(age_s)
    return {
        "work_unit": unit,
        "step": graph.work_units[unit].step,
        "rate_kg_co2e_per_hour": rate_text(rate) if known and status != "missing" else None,
        "status": status,
        "data_age_s": None if age_s is None else round(age_s, 1),
        "batches": batches,
    }


def running_batches(production: Production, now_ms: int) -> dict[str, list[str]]:
    """Batches with a job under way, by work unit."""
    found: dict[str, list[str]] = {}
    for job in production.jobs:
        if job.start_ms <= now_ms and (job.end_ms is None or job.end_ms > now_ms):
            found.setdefault(job.work_unit, []).append(job.batch)
    return {unit: sorted(set(batches)) for unit, batches in found.items()}


def batch_body(
    graph: PlantGraph, net: Net, library: Mapping[str, Factor], row: Mapping[str, Any], now_ms: int, age_s: float | None
) -> dict[str, Any]:
    """The live row of a batch: exact, from every posting it has; `row` is its row of the `batch` table."""
    result = footprint(net, graph.plant.sources, library)
    kg = result.to_json()
    return {
        "at": format_instant(now_ms),
        "batch": row["batch"],
        "product": row["product"],
        "status": row["status"],
        "partial_footprint_kg_co2e": kg["kg_co2e"],
        "by_step": kg["by_step"],
        "by_source": {
            line.source: {
                "amount": decimal_text(line.amount),
                "unit": line.unit,
                "kg_co2e": kg["by_source"].get(line.source),
            }
            for line in result.inventory
        },
        "quality": quality_shares(result.by_quality),
        "data_age_s": None if age_s is None else round(age_s, 1),
        "started_at": row["started_at"],
        "work_units": row["work_units"],
        "quantity": row["quantity"],
        "unit": row["unit"],
        "incomplete": row["incomplete"] or not result.complete,
    }


def quality_shares(by_quality: Mapping[Quality, int]) -> dict[str, float]:
    total = sum(abs(emission) for emission in by_quality.values())
    names = {Quality.MEASURED: "measured", Quality.RECOVERED: "recovered", Quality.ESTIMATED: "estimated"}
    return {
        name: round(abs(by_quality.get(quality, 0)) / total, 4) if total else 0.0 for quality, name in names.items()
    }


def plant_body(
    conn: Conn, site: str, picture: Picture, ages: Ages, window: slice, today_kg_co2e: str
) -> dict[str, Any]:
    """The live row of the whole site: everything emitted on it, exports left out."""
    age_s = ages.newest(picture.graph.meters)
    status = ages.status(age_s)
    known = status != "missing" and window.stop > window.start
    by_step = picture.sums(window, lambda use: None if use.account_kind in _OUTSIDE else use.step or SHARED_STEP)
    by_source = picture.sums(window, lambda use: None if use.account_kind in _OUTSIDE else use.source)
    missing = ages.missing()
    return {
        "at": format_instant(picture.now_ms),
        "rate_kg_co2e_per_hour": rate_text(sum(by_step.values())) if known else None,
        "status": status,
        "data_age_s": None if age_s is None else round(age_s, 1),
        "quality": picture.quality(),
        "by_step": texts(by_step) if known else {},
        "by_source": texts(by_source) if known else {},
        "today_kg_co2e": today_kg_co2e,
        "meters": {"total": len(picture.graph.meters), "missing": len(missing), "missing_ids": missing},
        "agents": _agents(conn, site),
        "issues_open": _count_issues(conn, site),
        "alerts": under_way(conn, site),
        "clock": asdict(load_clock(conn, site)),
    }


def _agents(conn: Conn, site: str) -> list[dict[str, Any]]:
    rows = conn.execute(
        "select agent, state, extract(epoch from now() - seen_at) from agent where site = %s order by agent", (site,)
    ).fetchall()
    return [
        {
            "agent": agent,
            "online": bool(state.get("online")),
            "age_s": round(float(age_s), 1),
            "outbox_chunks": state.get("outbox_chunks", 0),
        }
        for agent, state, age_s in rows
    ]


def _count_issues(conn: Conn, site: str) -> int:
    row = conn.execute("select count(*) from issue where site = %s and open", (site,)).fetchone()
    return int(row[0]) if row else 0
