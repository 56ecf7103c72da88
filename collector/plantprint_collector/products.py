"""The product footprint of a batch from the database, as shipment freezes it: its lots, their ledger, what is missing."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

from psycopg import Connection

from plantprint.account import HourAccount
from plantprint.ancestry import Ancestry
from plantprint.contracts import market_of
from plantprint.contradictions import joined
from plantprint.facts import Issue
from plantprint.ledger import Net, corrections
from plantprint.market import Market
from plantprint.meter_slopes import sampled_hours
from plantprint.plant.model import Plant
from plantprint.product import ProductFootprint, Reach, product_footprint
from plantprint.product_lines import Valuing, background
from plantprint.quantities import MICRO
from plantprint_collector.books import SiteFacts
from plantprint_collector.facts_store import ModelVersion
from plantprint_collector.ledger_store import insert_postings, load_account, load_net
from plantprint_collector.lots_store import certificates, imports, meter_hours, missing_ms
from plantprint_collector.reason_store import facts_against

Conn = Connection[tuple[Any, ...]]

_CERTIFIED_MS = 366 * 86_400_000  # how far the instant of a certificate may lie from the hours that it covers


def post_open(
    conn: Conn, site: str, batches: Sequence[str], open_accounts: Sequence[HourAccount], known_at: datetime
) -> None:
    """Posts what open hours hold of batches, cause `shipment`; settling adds the difference later."""
    if not open_accounts:
        return
    first, last = open_accounts[0].hour_ms, open_accounts[-1].hour_ms
    for batch in batches:
        account = ("batch", batch)
        known = load_net(conn, site, first, last, account)
        for hour in open_accounts:
            wanted: Net = {k: a for k, a in hour.net.items() if (k.account_kind, k.account_id) == account}
            insert_postings(conn, site, corrections(known.get(hour.hour_ms, {}), wanted, "shipment"), known_at)


def product_of(
    conn: Conn,
    facts: SiteFacts,
    model: ModelVersion,
    ancestry: Ancestry,
    open_accounts: Sequence[HourAccount],
    ends_ms: int,
) -> ProductFootprint:
    """The footprint of the first lot of `ancestry`, whose open part has been posted; its reference period ends then."""
    lot, *_ = ancestry.lots
    plant, factors = model.graph.plant, tuple(facts.library.values())
    valuing = Valuing(plant, facts.library, factors, series=facts.series, sources=facts.source_history)
    behind = background(valuing, ends_ms)
    batches = facts.happened.batches
    made = [one for one in ancestry.lots if one in batches]
    missing = missing_ms(conn, facts.site, made)
    for hour in open_accounts:
        for one in made:
            if silent := hour.missing_ms.get(one):
                missing[one] = missing.get(one, 0) + silent
    nets = {one: load_account(conn, facts.site, "batch", one) for one in made}
    moving = {k.account_id for hour in open_accounts for k in hour.net if k.account_kind == "batch"} & set(made)
    counted = meter_hours(conn, facts.site, facts.every_meter, sampled_hours(nets.get(lot, {})))
    for hour in open_accounts:
        counted[hour.hour_ms] = {meter: float(known.amount.sum()) / MICRO for meter, known in hour.meters.items()}
    against = joined([facts_against(conn, facts.site, made), *(hour.contradictions for hour in open_accounts)])
    reach = Reach(nets, ancestry.facts(batches, behind.materials), missing, frozenset(moving), counted, against)
    market, issues = _market(conn, facts, model.graph.plant, nets, open_accounts)
    found = product_footprint(lot, reach, replace(valuing, market=market), behind, ends_ms)
    return replace(found, remarks=tuple(sorted({*found.remarks, *issues})))


def _market(
    conn: Conn, facts: SiteFacts, plant: Plant, nets: Mapping[str, Net], open_accounts: Sequence[HourAccount]
) -> tuple[Market | None, tuple[Issue, ...]]:
    """The plant's contracts with the certificates and the import of the hours that the lots used, open ones as far as known."""
    source = plant.market.source if plant.market else ""
    hours = {key.entered_ms for net in nets.values() for key in net if key.source == source}
    if not hours:
        return market_of(plant, facts.library, (), {})
    events = certificates(conn, facts.site, min(hours) - _CERTIFIED_MS, max(hours) + _CERTIFIED_MS)
    still_open = {account.hour_ms: _import(account, source) for account in open_accounts}
    return market_of(plant, facts.library, events, imports(conn, facts.site, source, hours) | still_open)


def _import(account: HourAccount, source: str) -> int:
    return sum(a for key, a in account.net.items() if key.source == source and key.entered_ms == account.hour_ms)
