"""At shipment: the batch's open part is posted at once and what is known is frozen as a statement."""

from collections.abc import Sequence
from typing import Any

from psycopg import Connection

from plantprint.account import HourAccount
from plantprint.footprint import footprint
from plantprint.ledger import Net, corrections
from plantprint.production import Batch, Production, Shipment
from plantprint.settlement import batch_closes_ms, batch_status
from plantprint.statement import build_statement
from plantprint.times import hour_floor, to_ms
from plantprint_collector.books import SiteFacts
from plantprint_collector.ledger_store import insert_postings, known_now, load_account, load_net

Conn = Connection[tuple[Any, ...]]


def issued(conn: Conn, site: str) -> set[tuple[str, str]]:
    """(shipment, batch) of every statement there is."""
    rows = conn.execute("select shipment, batch from statement where site = %s", (site,)).fetchall()
    return {(shipment, batch) for shipment, batch in rows}


def due(production: Production, known: set[tuple[str, str]], now_ms: int) -> list[Shipment]:
    """Shipments of known batches that have happened and have no statement yet."""
    return [
        s for s in production.shipments
        if s.at_ms <= now_ms and s.batch in production.batches and (s.shipment, s.batch) not in known
    ]  # fmt: skip


def issue_statement(
    conn: Conn, facts: SiteFacts, shipment: Shipment, batch: Batch, open_accounts: Sequence[HourAccount], now_ms: int
) -> str:
    """Posts the open part (cause `shipment`), stores the statement and returns its hash; all in the caller's transaction."""
    account = ("batch", batch.batch)
    known_at = known_now(conn)
    if open_accounts:
        known = load_net(conn, facts.site, open_accounts[0].hour_ms, open_accounts[-1].hour_ms, account)
        for hour in open_accounts:
            wanted: Net = {k: a for k, a in hour.net.items() if (k.account_kind, k.account_id) == account}
            insert_postings(conn, facts.site, corrections(known.get(hour.hour_ms, {}), wanted, "shipment"), known_at)
    net = load_account(conn, facts.site, *account)
    model = facts.model(now_ms)
    closes_ms = batch_closes_ms(model.graph, facts.production(model), batch.batch)
    settled_ms = open_accounts[0].hour_ms if open_accounts else hour_floor(now_ms)
    statement = build_statement(
        site=facts.site,
        shipment=shipment,
        batch=batch,
        footprint=footprint(net, model.graph.plant.sources, facts.library, batch.quantity_micro, batch.unit),
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


def _missing_ms(conn: Conn, site: str, batch: str) -> int:
    row = conn.execute(
        "select coalesce(sum(missing_ms), 0)::bigint from batch_missing where site = %s and batch = %s", (site, batch)
    ).fetchone()
    assert row is not None
    return int(row[0])
