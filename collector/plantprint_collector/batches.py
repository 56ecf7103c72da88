"""Batches of a site: their rows in `batch`, and the live figure of each that open hours still touch."""

from collections.abc import Mapping, Sequence
from typing import Any

from psycopg import Connection

from plantprint.account import HourAccount
from plantprint.ledger import Net
from plantprint.plant.graph import PlantGraph
from plantprint.production import Batch, Job, Production
from plantprint.quantities import decimal_text
from plantprint.times import format_instant, from_ms
from plantprint_collector import live
from plantprint_collector.books import SiteFacts
from plantprint_collector.ledger_store import load_account
from plantprint_collector.lots_store import with_reasons

Conn = Connection[tuple[Any, ...]]
LiveRow = tuple[str, str, dict[str, Any]]


class BatchBook:
    """Keeps settled nets of running batches in memory until the ledger behind them changes."""

    def __init__(self, site: str) -> None:
        self.site = site
        self._settled: dict[str, tuple[Net, bool]] = {}
        self._written: dict[str, tuple[Any, ...]] = {}
        self._production: Production | None = None
        self._jobs: dict[str, list[Job]] = {}
        self._rows: dict[str, dict[str, Any]] = {}
        self._changing: set[str] = set()

    def forget_settled(self) -> None:
        self._settled.clear()

    def rows(
        self,
        conn: Conn,
        graph: PlantGraph,
        production: Production,
        facts: SiteFacts,
        nets: Mapping[str, Net],
        accounts: Sequence[HourAccount],
        ages: live.Ages,
        now_ms: int,
    ) -> list[LiveRow]:
        """Writes changed rows of `batch`; returns the live rows of batches that run or have amounts in open hours."""
        self._look(production, now_ms)
        self._store(conn, {name: self._rows[name] for name in self._changing})
        self._changing = {name for name in self._changing if not _is_over(self._rows[name], self._jobs.get(name, []))}
        found: list[LiveRow] = []
        running = {name for name in self._changing if self._rows[name]["status"] == "running"}
        shown = sorted(running | (nets.keys() & self._rows.keys()))
        wrong = with_reasons(conn, self.site, shown)
        for name in shown:
            row = self._rows[name]
            settled, was_missing = self._settled_net(conn, name, accounts[0].hour_ms)
            missing = was_missing or name in wrong or any(a.missing_ms.get(name) for a in accounts)
            age_s = ages.newest(live.rows_behind(graph, tuple(row["work_units"])))
            net = {**settled, **nets.get(name, {})}
            body = live.batch_body(
                graph, net, facts.library, facts.series, {**row, "incomplete": missing}, now_ms, age_s
            )
            found.append(("batch", name, body))
        return found

    def _look(self, production: Production, now_ms: int) -> None:
        """Brings the rows up to date; those of batches that are over only when events have changed."""
        if production is not self._production:
            self._production, self._changing = production, set(production.batches)
            self._jobs = {}
            for job in production.jobs:
                self._jobs.setdefault(job.batch, []).append(job)
            self._shipped = {s.batch: s.at_ms for s in reversed(production.shipments)}
            self._rows = {}
        for name in self._changing:
            self._rows[name] = _row(production.batches[name], self._jobs.get(name, []), self._shipped.get(name), now_ms)

    def _settled_net(self, conn: Conn, batch: str, open_from_ms: int) -> tuple[Net, bool]:
        """Postings of settled hours only: what a shipment posted of open hours is in their accounts already."""
        if batch not in self._settled:
            net = {k: a for k, a in load_account(conn, self.site, "batch", batch).items() if k.hour_ms < open_from_ms}
            row = conn.execute(
                "select exists (select from batch_missing where site = %s and batch = %s)", (self.site, batch)
            ).fetchone()
            self._settled[batch] = (net, bool(row and row[0]))
        return self._settled[batch]

    def _store(self, conn: Conn, rows: Mapping[str, dict[str, Any]]) -> None:
        values = {
            name: (r["product"], r["quantity"], r["unit"], r["status"], r["started_ms"], r["ended_ms"])
            for name, r in rows.items()
        }
        changed = {name: v for name, v in values.items() if self._written.get(name) != v}
        if not changed:
            return
        with conn.cursor() as cursor:
            cursor.executemany(
                "insert into batch (site, batch, product, quantity, unit, status, started_at, ended_at) "
                "values (%s, %s, %s, %s, %s, %s, %s, %s) on conflict (site, batch) do update set product = excluded.product, "
                "quantity = excluded.quantity, unit = excluded.unit, status = excluded.status, "
                "started_at = excluded.started_at, ended_at = excluded.ended_at",
                [
                    (self.site, name, product, quantity, unit, status, _at(started), _at(ended))
                    for name, (product, quantity, unit, status, started, ended) in changed.items()
                ],
            )
        self._written |= changed


def _at(t_ms: int | None) -> Any:
    return None if t_ms is None else from_ms(t_ms)


def _row(batch: Batch, jobs: Sequence[Job], shipped_ms: int | None, now_ms: int) -> dict[str, Any]:
    """What `batch` says of a batch at an instant, from its order, jobs and first shipment."""
    begun = [job for job in jobs if job.start_ms <= now_ms]
    running = [job for job in begun if job.end_ms is None or job.end_ms > now_ms]
    status = "running" if running or (begun and len(begun) < len(jobs)) else "finished" if begun else "planned"
    started_ms = min((job.start_ms for job in begun), default=None)
    ended_ms = max((job.end_ms or 0 for job in begun), default=None) if status == "finished" else None
    return {
        "batch": batch.batch,
        "product": batch.product,
        "quantity": None if batch.quantity_micro is None else decimal_text(batch.quantity_micro),
        "unit": batch.unit,
        "status": "shipped" if shipped_ms is not None and shipped_ms <= now_ms else status,
        "started_ms": started_ms,
        "ended_ms": ended_ms,
        "started_at": None if started_ms is None else format_instant(started_ms),
        "work_units": sorted({job.work_unit for job in running}),
    }


def _is_over(row: Mapping[str, Any], jobs: Sequence[Job]) -> bool:
    """Whether time alone changes nothing any more: shipped, and no job that runs or is to start."""
    return (
        row["status"] == "shipped"
        and not row["work_units"]
        and row["started_ms"] == min((job.start_ms for job in jobs), default=None)
    )
