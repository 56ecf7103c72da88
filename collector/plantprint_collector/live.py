"""The live picture: rates, running batches and the recent trend of a site, as JSON bodies for the `live` table.

Rates are for show and use floats; a batch's figure is the exact sum of its settled and open postings. Nothing is
interpolated: a bucket that no meter has reached yet has no rate, and when data stops the rate becomes unknown.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from psycopg import Connection

from plantprint.account import HourAccount
from plantprint.book import Use
from plantprint.factor_series import FactorSeries
from plantprint.factors import Factor
from plantprint.facts import Quality
from plantprint.flows import Known
from plantprint.footprint import footprint, issue_json
from plantprint.known_meters import upstream_meters
from plantprint.ledger import Net
from plantprint.live_rates import kg_per_unit
from plantprint.plant.graph import PlantGraph
from plantprint.production import Production
from plantprint.quantities import MICRO, decimal_text
from plantprint.source_history import SourceHistory
from plantprint.times import HOUR_MS, format_instant
from plantprint_collector.alerts import under_way
from plantprint_collector.facts_store import load_clock

Conn = Connection[tuple[Any, ...]]
Rows = NDArray[np.int64]
"""Places in the order of the plant's meters."""
Mean = tuple[Use, float]
"""A use and its mean rate in kgCO2e/h over the last buckets."""

# Amounts that no step used: losses, unmetered consumers.
SHARED_STEP = "shared"
_RATE_SPAN_S = 30
_OUTSIDE = ("export", "stock")


@dataclass(frozen=True, slots=True, eq=False)
class Ages:
    """How old each meter's newest reading is, in seconds of wall time (inf: there is none), and when that is too old.

    Arrays are in the order of the plant's meters; a meter that is read rarely is late and missing later than others.
    """

    meters: tuple[str, ...]
    age_s: NDArray[np.float64]
    late_s: NDArray[np.float64]
    missing_s: NDArray[np.float64]

    def newest(self, rows: Rows) -> float | None:
        """The least age of some meters."""
        age_s = float(self.age_s[rows].min(initial=np.inf))
        return None if np.isinf(age_s) else age_s

    def status(self, rows: Rows) -> str:
        """Of several meters that of the one that is best off."""
        if (self.age_s[rows] <= self.late_s[rows]).any():
            return "live"
        return "late" if (self.age_s[rows] <= self.missing_s[rows]).any() else "missing"

    @property
    def is_missing(self) -> NDArray[np.bool_]:
        """Per meter."""
        missing: NDArray[np.bool_] = self.age_s > self.missing_s
        return missing

    def missing(self) -> list[str]:
        """The names of missing meters."""
        return sorted(self.meters[row] for row in np.flatnonzero(self.is_missing).tolist())


@dataclass(frozen=True, eq=False)
class Rates:
    """Emission rates of one use, kgCO2e/h per bucket from `Picture.start_ms`."""

    use: Use
    rate: NDArray[np.float64]


class Picture:
    """Consecutive accounted hours seen as rates per bucket; the last one ends at the site's now."""

    def __init__(
        self,
        graph: PlantGraph,
        accounts: Sequence[HourAccount],
        sources: SourceHistory,
        library: Mapping[str, Factor],
        series: Mapping[str, FactorSeries],
        now_ms: int,
    ) -> None:
        self.graph = graph
        self.start_ms = accounts[0].hour_ms
        self.bucket_ms = HOUR_MS // graph.buckets
        per_unit = kg_per_unit(sources, library, series, [account.hour_ms for account in accounts])
        self.rates = _rates(accounts, graph, per_unit)
        net = {k: a for account in accounts for k, a in account.net.items() if k.account_kind not in _OUTSIDE}
        self._by_quality = footprint(net, sources, library, series=series).by_quality
        hours = [Known.of(account.meters) for account in accounts]
        self.missing_ms = np.concatenate([hour.missing_ms.mean(axis=0) for hour in hours])
        # A bucket that most meters say nothing about has no rate, whether they are silent or were not there yet.
        self.unknown = np.concatenate([(hour.quality == Quality.MISSING).mean(axis=0) > 1 / 2 for hour in hours])
        self.now_ms = now_ms

    def index(self, t_ms: int) -> int:
        return (t_ms - self.start_ms) // self.bucket_ms

    def recent(self, known_until_ms: int) -> slice:
        """The last whole buckets that data has passed, about half a minute of them; empty before the first."""
        end = max(self.index(known_until_ms), 0)
        return slice(max(end - max(1, _RATE_SPAN_S * 1000 // self.bucket_ms), 0), end)

    def means(self, window: slice) -> list[Mean] | None:
        """The mean rate of each use in the window; None while that is empty."""
        if window.stop <= window.start:
            return None
        return [(item.use, float(item.rate[window].mean())) for item in self.rates]

    def trend(self, minutes: int) -> dict[str, Any]:
        """The last minutes per step of the plant, also of those that used nothing; unknown buckets have no rate."""
        end = self.index(self.now_ms)
        first = max(end - minutes * 60_000 // self.bucket_ms, 0)
        nothing = np.zeros(len(self.unknown))
        steps: dict[str, NDArray[np.float64]] = dict.fromkeys(self.graph.steps or (SHARED_STEP,), nothing)
        for item in self.rates:
            if item.use.account_kind not in _OUTSIDE:
                step = item.use.step or SHARED_STEP
                steps[step] = steps.get(step, nothing) + item.rate
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


def _rates(
    accounts: Sequence[HourAccount], graph: PlantGraph, per_unit: Mapping[tuple[str, int], float]
) -> list[Rates]:
    buckets, total = graph.buckets, len(accounts) * graph.buckets
    found: dict[tuple[str, ...], Rates] = {}
    for number, account in enumerate(accounts):
        for use in account.uses:
            key = (use.account_kind, use.account_id, use.work_unit, use.work_center, use.step, use.source)
            if key not in found:
                found[key] = Rates(use, np.zeros(total))
            kg_per_hour = use.amount * (per_unit.get((use.source, account.hour_ms), 0.0) / MICRO * buckets)
            found[key].rate[number * buckets : (number + 1) * buckets] = kg_per_hour
    return list(found.values())


def rate_text(rate: float | None) -> str | None:
    return None if rate is None else f"{rate:.3f}"


def texts(rates: Mapping[str, float]) -> dict[str, str]:
    return {name: f"{rate:.3f}" for name, rate in sorted(rates.items())}


def sums(means: Iterable[Mean] | None, key: Callable[[Use], str | None]) -> dict[str, float]:
    """Mean rates added up per key; uses whose key is None are left out."""
    found: dict[str, float] = {}
    for use, rate in means or ():
        name = key(use)
        if name is not None:
            found[name] = found.get(name, 0.0) + rate
    return found


@lru_cache(maxsize=4096)
def rows_behind(graph: PlantGraph, work_units: tuple[str, ...]) -> Rows:
    """The meters whose readings say what each of these work units takes: its own, or all upstream where it has none."""
    found: set[str] = set()
    for unit in work_units:
        own = {meter for edge in graph.inflows[unit] for _, meter in edge.terms}
        found |= own or upstream_meters(graph, unit)
    place = _places(graph)
    return np.array(sorted(place[meter] for meter in found & place.keys()), np.int64)


@lru_cache(maxsize=16)
def _places(graph: PlantGraph) -> dict[str, int]:
    return {meter: place for place, meter in enumerate(graph.meters)}


@lru_cache(maxsize=16)
def units_of(graph: PlantGraph) -> dict[str, tuple[str, ...]]:
    """The work units of each line."""
    found: dict[str, tuple[str, ...]] = {center.id: () for center in graph.plant.work_centers}
    for unit, place in graph.work_units.items():
        found[place.work_center] += (unit,)
    return found


def work_center_body(
    picture: Picture, ages: Ages, means: Sequence[Mean] | None, center_id: str, running: Mapping[str, list[str]]
) -> dict[str, Any]:
    """The live row of a line from the mean rates of its uses; its budget is added by who keeps the alerts."""
    graph = picture.graph
    units = units_of(graph)[center_id]
    rows = rows_behind(graph, units)
    age_s, status = ages.newest(rows), ages.status(rows)
    by_unit = sums(means, lambda use: use.work_unit)
    known = status != "missing" and means is not None
    return {
        "at": format_instant(picture.now_ms),
        "rate_kg_co2e_per_hour": rate_text(sum(by_unit.values())) if known else None,
        "status": status,
        "data_age_s": None if age_s is None else round(age_s, 1),
        "by_step": texts(sums(means, lambda use: use.step or SHARED_STEP)) if known else {},
        "by_source": texts(sums(means, lambda use: use.source)) if known else {},
        "work_units": [
            _work_unit_body(graph, ages, unit, by_unit.get(unit, 0.0), running.get(unit, []), known) for unit in units
        ],
    }


def _work_unit_body(
    graph: PlantGraph, ages: Ages, unit: str, rate: float, batches: list[str], known: bool
) -> dict[str, Any]:
    rows = rows_behind(graph, (unit,))
    age_s, status = ages.newest(rows), ages.status(rows)
    return {
        "work_unit": unit,
        "step": graph.work_units[unit].step,
        "rate_kg_co2e_per_hour": rate_text(rate) if known and status != "missing" else None,
        "status": status,
        "data_age_s": None if age_s is None else round(age_s, 1),
        "batches": batches,
    }


def running_batches(graph: PlantGraph, production: Production, now_ms: int) -> dict[str, list[str]]:
    """Batches with a job under way, by work unit."""
    running = {unit: production.unit(unit).jobs.within(now_ms, now_ms + 1) for unit in graph.work_units}
    return {unit: sorted({job.batch for job in jobs}) for unit, jobs in running.items() if jobs}


def batch_body(
    sources: SourceHistory,
    net: Net,
    library: Mapping[str, Factor],
    series: Mapping[str, FactorSeries],
    row: Mapping[str, Any],
    now_ms: int,
    age_s: float | None,
) -> dict[str, Any]:
    """The live row of a batch: exact, from every posting it has; `row` is its row of the `batch` table.

    `reasons` are those of open hours; what settled hours say is stored.
    """
    result = footprint(net, sources, library, series=series)
    kg, entered = result.to_json(), _entered(sources, net)
    return {
        "at": format_instant(now_ms),
        "batch": row["batch"],
        "product": row["product"],
        "status": row["status"],
        "partial_footprint_kg_co2e": kg["kg_co2e"],
        "by_step": kg["by_step"],
        "by_scope": kg["by_scope"],
        "by_source": {
            line.source: {
                "amount": decimal_text(line.amount),
                "unit": line.unit,
                "kg_co2e": kg["by_source"].get(line.source),
                **entered.get(line.source, {}),
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
        "reasons": [{**issue_json(one), "at": format_instant(one.at_ms)} for one in row["reasons"]],
    }


def _entered(sources: SourceHistory, net: Net) -> dict[str, dict[str, Any]]:
    """Of sources whose factor is not always the same, how much entered in which hour: what values it again needs to know."""
    hourly = sources.by_hour()
    found: dict[str, dict[int, int]] = {}
    for key, amount in net.items():
        if key.source in hourly:
            hours = found.setdefault(key.source, {})
            hours[key.entered_ms] = hours.get(key.entered_ms, 0) + amount
    return {
        source: {"entered": {format_instant(hour): decimal_text(amount) for hour, amount in sorted(hours.items())}}
        for source, hours in found.items()
    }


def quality_shares(by_quality: Mapping[Quality, int]) -> dict[str, float]:
    total = sum(abs(emission) for emission in by_quality.values())
    names = {Quality.MEASURED: "measured", Quality.RECOVERED: "recovered", Quality.ESTIMATED: "estimated"}
    return {
        name: round(abs(by_quality.get(quality, 0)) / total, 4) if total else 0.0 for quality, name in names.items()
    }


def plant_body(
    conn: Conn, site: str, picture: Picture, ages: Ages, means: Sequence[Mean] | None, today_kg_co2e: str
) -> dict[str, Any]:
    """The live row of the whole site: everything emitted on it, exports left out."""
    every = np.arange(len(ages.meters))
    age_s, status = ages.newest(every), ages.status(every)
    known = status != "missing" and means is not None
    by_step = sums(means, lambda use: None if use.account_kind in _OUTSIDE else use.step or SHARED_STEP)
    by_source = sums(means, lambda use: None if use.account_kind in _OUTSIDE else use.source)
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
