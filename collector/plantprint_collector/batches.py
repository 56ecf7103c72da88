"""Batches of a site: their rows in `batch`, and the live figure of each that open hours still touch."""

from collections.abc import Mapping, Sequence
from typing import Any

from psycopg import Connection

from plantprint.account import HourAccount
from plantprint.contradictions import joined
from plantprint.ledger import Net
from plantprint.plant.graph import PlantGraph
from plantprint.plant_history import PlantHistory
from plantprint.production import Production
from plantprint.quantities import decimal_text
from plantprint.settlement import batch_over_ms
from plantprint.times import format_instant, from_ms, to_ms
from plantprint_collector import live
from plantprint_collector.books import SiteFacts
from plantprint_collector.ledger_store import load_accounts
from plantprint_collector.lots_store import with_reasons

Conn = Connection[tuple[Any, ...]]
LiveRow = tuple[str, str, dict[str, Any]]


class BatchBook:
    """Keeps settled nets of running batches in memory until the ledger behind them changes."""

    def __init__(self, site: str) -> None:
        self.site = site
        self._settled: dict[str, tuple[Net, bool]] = {}
        self._written: dict[str, tuple[Any, ...]] = {}
        self._seen = Production()
        # Batches whose rows time alone will change, and what they are now.
        self._changing: dict[str, dict[str, Any]] = {}

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
        self._look(conn, facts.plants, production, now_ms)
        found: list[LiveRow] = []
        running = {name for name, row in self._changing.items() if row["status"] == "running"}
        shown = sorted(running | {name for name in nets if name in production.batches})
        wrong, against = with_reasons(conn, self.site, shown), joined(account.contradictions for account in accounts)
        self._learn_settled(conn, shown, accounts[0].hour_ms)
        for name in shown:
            row = self._changing.get(name) or _row(facts.plants, production, name, now_ms)
            settled, was_missing = self._settled[name]
            missing = was_missing or name in wrong or name in against or any(a.missing_ms.get(name) for a in accounts)
            age_s = ages.newest(
                live.rows_behind(graph, tuple(unit for unit in row["work_units"] if unit in graph.work_units))
            )
            net = {**settled, **nets.get(name, {})}
            row = {**row, "incomplete": missing, "reasons": against.get(name, ())}
            body = live.batch_body(facts.source_history, net, facts.library, facts.series, row, now_ms, age_s)
            found.append(("batch", name, body))
        return found

    def _look(self, conn: Conn, plants: PlantHistory, production: Production, now_ms: int) -> None:
        """Writes the rows of batches that are others than before: by events, or because time has come."""
        due = production.batches_differing(self._seen) | self._changing.keys()
        rows = {name: _row(plants, production, name, now_ms) for name in sorted(due) if name in production.batches}
        self._store(conn, rows)
        self._changing = {name: row for name, row in rows.items() if not _stays(production, name, row, now_ms)}
        self._written = {name: values for name, values in self._written.items() if name in self._changing}
        self._seen = production

    def _learn_settled(self, conn: Conn, batches: Sequence[str], open_from_ms: int) -> None:
        """Postings of settled hours only: what a shipment posted of open hours is in their accounts already."""
        fresh = [batch for batch in batches if batch not in self._settled]
        if not fresh:
            return
        query = "select distinct batch from batch_missing where site = %s and batch = any(%s)"
        missing = {batch for (batch,) in conn.execute(query, (self.site, fresh)).fetchall()}
        for batch, net in load_accounts(conn, self.site, "batch", fresh).items():
            self._settled[batch] = ({k: a for k, a in net.items() if k.hour_ms < open_from_ms}, batch in missing)

    def _store(self, conn: Conn, rows: Mapping[str, dict[str, Any]]) -> None:
        values = {
            name: (r["product"], r["quantity"], r["unit"], r["status"], r["started_ms"], r["ended_ms"])
            for name, r in rows.items()
        }
        known = self._stored(conn, [name for name in rows if name not in self._written])
        self._written = values
        changed = {name: v for name, v in values.items() if known.get(name) != v}
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

    def _stored(self, conn: Conn, names: list[str]) -> dict[str, tuple[Any, ...]]:
        """What is written of batches, as far as it is not known."""
        found = dict(self._written)
        if names:
            query = (
                "select batch, product, quantity, unit, status, started_at, ended_at from batch "
                "where site = %s and batch = any(%s)"
            )
            for name, product, quantity, unit, status, *instants in conn.execute(query, (self.site, names)).fetchall():
                times = [None if at is None else to_ms(at) for at in instants]
                found[name] = (product, None if quantity is None else f"{quantity:f}", unit, status, *times)
        return found


def _at(t_ms: int | None) -> Any:
    return None if t_ms is None else from_ms(t_ms)


def _row(plants: PlantHistory, production: Production, name: str, now_ms: int) -> dict[str, Any]:
    """What `batch` says of a batch at an instant, from its order, jobs and first shipment."""
    batch, jobs, shipments = production.batches[name], production.jobs_of(name), production.shipments_of.get(name)
    begun = [job for job in jobs if job.start_ms <= now_ms]
    running = [job for job in begun if job.end_ms is None or job.end_ms > now_ms]
    over_ms = batch_over_ms(plants, production, name)
    status = "running" if running else "waiting" if over_ms is None or over_ms > now_ms else "finished"
    status = status if begun else "planned"
    started_ms = min((job.start_ms for job in begun), default=None)
    ended_ms = max((job.end_ms or 0 for job in begun), default=None) if status == "finished" else None
    return {
        "batch": batch.batch,
        "product": batch.product,
        "quantity": None if batch.quantity_micro is None else decimal_text(batch.quantity_micro),
        "unit": batch.unit,
        "status": "shipped" if shipments and shipments[0].at_ms <= now_ms else status,
        "started_ms": started_ms,
        "ended_ms": ended_ms,
        "started_at": None if started_ms is None else format_instant(started_ms),
        "work_units": sorted({job.work_unit for job in running}),
    }


def _stays(production: Production, name: str, row: Mapping[str, Any], now_ms: int) -> bool:
    """Whether time alone changes nothing any more: it is over, or has no jobs, and no shipment is to come."""
    jobs, shipments = production.jobs_of(name), production.shipments_of.get(name, ())
    over = all(job.start_ms <= now_ms and job.end_ms is not None and job.end_ms <= now_ms for job in jobs)
    return over and row["status"] != "waiting" and all(shipment.at_ms <= now_ms for shipment in shipments[:1])
