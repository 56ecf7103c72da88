"""What a replay came to: amounts that entered per source, emissions, and each interval's balance where the plant has one."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from psycopg import Connection

from plantprint.account import EMPTY_CARRY
from plantprint.footprint import footprint
from plantprint.ledger import Net, PostingKey
from plantprint.quantities import decimal_text
from plantprint.times import HOUR_MS, to_ms
from plantprint_collector.books import SiteFacts, account_hours, load_facts
from plantprint_collector.facts_store import newest_by_channel
from plantprint_collector.ledger_store import settled_bounds

Conn = Connection[tuple[Any, ...]]


def settled_through(conn: Conn, site: str) -> tuple[int, int]:
    """(end of the last settled hour, start of the hour that the newest reading lies in or ends); zeros before there is any."""
    newest = newest_by_channel(conn, site)
    bounds = settled_bounds(conn, site)
    row = conn.execute("select exists (select from dirty where site = %s)", (site,)).fetchone()
    waiting = bool(row and row[0])
    done = 0 if bounds is None else bounds[1] + HOUR_MS
    reached = min(newest.values(), default=0)
    return (min(done, reached - 1) if waiting else done), reached - reached % HOUR_MS


def replay_result(conn: Conn, site: str) -> dict[str, Any]:
    """Amounts and emissions as exact decimal text."""
    facts = load_facts(conn, site)
    assert facts is not None, "the replay applied a plant model"
    sources = facts.models[-1].graph.plant.sources
    net: Net = {}
    for kind, account, source, entered, quality, amount in conn.execute(
        "select account_kind, account_id, source, entered_at, quality, sum(amount)::bigint from posting where site = %s "
        "group by 1, 2, 3, 4, 5",
        (site,),
    ):
        net[PostingKey(to_ms(entered), kind, account, "", "", source, to_ms(entered), quality)] = amount
    total = footprint(net, sources, facts.library)
    result: dict[str, Any] = {
        "site": site,
        "sources": [
            {"id": line.source, "amount": decimal_text(line.amount), "unit": line.unit} for line in total.inventory
        ],
        "emissions_kg_co2e": {"location": total.kg_co2e},
    }
    if any(key.account_kind == "export" for key in net):
        result["accounts"] = _accounts(net)
        result["balance"] = _balance(conn, facts)
    return result


def _accounts(net: Mapping[PostingKey, int]) -> dict[str, dict[str, str]]:
    sums: dict[str, dict[str, int]] = {}
    for key, amount in net.items():
        by_source = sums.setdefault(key.account_kind, {})
        by_source[key.source] = by_source.get(key.source, 0) + amount
    return {
        kind: {s: decimal_text(a) for s, a in sorted(by_source.items())} for kind, by_source in sorted(sums.items())
    }


def _balance(conn: Conn, facts: SiteFacts) -> dict[str, int]:
    """Intervals in which what the work units used, summed over sources, differs from the check meter `consumption`."""
    bounds = settled_bounds(conn, facts.site)
    assert bounds is not None
    hours = range(bounds[0], bounds[1] + 1, HOUR_MS)
    intervals = unbalanced = 0
    for account in account_hours(conn, facts, hours, EMPTY_CARRY, bounds[1] + HOUR_MS):
        meter = account.meters["consumption"]
        known = meter.missing_ms == 0
        used = np.zeros_like(meter.amount)
        for use in account.uses:
            if use.work_unit:
                used += use.amount
        intervals += int(known.sum())
        unbalanced += int(((used != meter.amount) & known).sum())
    return {"intervals": intervals, "unbalanced": unbalanced}
