"""At shipment: the batch's open part is posted at once and what is known is frozen as a statement."""

from collections.abc import Iterable, Sequence
from typing import Any

from psycopg import Connection

from plantprint.account import HourAccount
from plantprint.explain import explain_accounts
from plantprint.footprint import footprint
from plantprint.production import Batch, Job, Production, Shipment
from plantprint.settlement import batch_closes_ms, batch_status
from plantprint.statement import build_statement
from plantprint.times import hour_floor, to_ms
from plantprint_collector.books import SiteFacts
from plantprint_collector.ledger_store import known_now, load_account
from plantprint_collector.lots_store import ancestry_of
from plantprint_collector.products import post_open, product_of

Conn = Connection[tuple[Any, ...]]


class ShipmentBook:
    """Knows which shipments have no statement yet."""

    def __init__(self, conn: Conn, site: str) -> None:
        rows = conn.execute("select shipment, batch from statement where site = %s", (site,)).fetchall()
        self._issued = {(shipment, batch) for shipment, batch in rows}
        self._seen = Production()
        self._waiting: dict[str, list[Shipment]] = {}

    def due(self, production: Production, now_ms: int) -> list[Shipment]:
        """Shipments that have happened and have no statement yet, by time."""
        for batch in production.shipments_of.differing(self._seen.shipments_of):
            self._waiting.pop(batch, None)
            known = production.shipments_of.get(batch, ())
            if waiting := [s for s in known if (s.shipment, s.batch) not in self._issued]:
                self._waiting[batch] = waiting
        self._seen = production
        due = [s for several in self._waiting.values() for s in several if s.at_ms <= now_ms]
        return sorted(due, key=lambda s: (s.at_ms, s.shipment, s.batch))

    def stated(self, shipment: Shipment) -> None:
        """A statement of it has been issued."""
        self._issued.add((shipment.shipment, shipment.batch))
        left = [s for s in self._waiting.pop(shipment.batch) if s.shipment != shipment.shipment]
        if left:
            self._waiting[shipment.batch] = left


def issue_statement(
    conn: Conn, facts: SiteFacts, shipment: Shipment, batch: Batch, open_accounts: Sequence[HourAccount], now_ms: int
) -> str:
    """Posts the open part (cause `shipment`), stores the statement and returns its hash; all in the caller's transaction.

    The open part of lots that went into the batch is posted with it, so that the ledger holds all that is stated.
    """
    known_at = known_now(conn)
    model = facts.model(now_ms)
    production = facts.happened
    ancestry = ancestry_of(conn, facts.site, batch.batch)
    made = [lot for lot in ancestry.lots if lot in production.batches]
    post_open(conn, facts.site, made, open_accounts, known_at)
    net = load_account(conn, facts.site, "batch", batch.batch)
    closes_ms = batch_closes_ms(facts.plants, production, batch.batch)
    settled_ms = open_accounts[0].hour_ms if open_accounts else hour_floor(now_ms)
    rules = explain_accounts(model.graph, net).get(("batch", batch.batch), ())
    statement = build_statement(
        site=facts.site,
        shipment=shipment,
        batch=batch,
        footprint=footprint(
            net, facts.source_history, facts.library, batch.quantity_micro, batch.unit, series=facts.series
        ),
        product=product_of(conn, facts, model, ancestry, open_accounts, shipment.at_ms),
        period=_period(production.jobs_of(batch.batch), shipment.at_ms),
        rules=rules,
        net=net,
        status=batch_status(closes_ms, settled_ms),
        missing_ms=_missing_ms(conn, facts.site, batch.batch)
        + sum(h.missing_ms.get(batch.batch, 0) for h in open_accounts),
        plant_model_version=model.version,
        known_at_ms=to_ms(known_at),
        exempted=(flow for flow in model.graph.plant.flows if flow.disposition == "outside"),
    )
    conn.execute(
        "insert into statement (site, shipment, batch, body, body_hash) values (%s, %s, %s, %s, %s)",
        (facts.site, statement.shipment, statement.batch, statement.body.decode(), statement.body_hash),
    )
    return statement.body_hash


def _period(jobs: Iterable[Job], shipped_ms: int) -> tuple[int, int]:
    """From the first start of a batch's jobs to the last end, and no later than the shipment."""
    own = [job for job in jobs if job.start_ms < shipped_ms]
    ends = [shipped_ms if job.end_ms is None else min(job.end_ms, shipped_ms) for job in own]
    return min((job.start_ms for job in own), default=shipped_ms), max(ends, default=shipped_ms)


def _missing_ms(conn: Conn, site: str, batch: str) -> int:
    row = conn.execute(
        "select coalesce(sum(missing_ms), 0)::bigint from batch_missing where site = %s and batch = %s", (site, batch)
    ).fetchone()
    assert row is not None
    return int(row[0])
