"""What a replay came to: amounts that entered per source, emissions, and each interval's balance where the plant has one."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from psycopg import Connection

from plantprint.account import EMPTY_CARRY, HourAccount
from plantprint.facts import Quality
from plantprint.footprint import footprint
from plantprint.ledger import Net, PostingKey
from plantprint.quantities import decimal_text
from plantprint.times import HOUR_MS, format_instant, to_ms
from plantprint_cli.errors import CommandError
from plantprint_collector.books import account_hours, load_facts
from plantprint_collector.facts_store import newest_by_channel
from plantprint_collector.ledger_store import settled_bounds
from plantprint_collector.settling import carry_before

Conn = Connection[tuple[Any, ...]]

# A meter that no flow uses: the record's own figure of what the site consumed.
CHECK_METER = "consumption"


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
    """Amounts and emissions as exact decimal text: the settled ledger, and the last hour as far as the record goes."""
    facts = load_facts(conn, site)
    bounds = settled_bounds(conn, site)
    if facts is None or bounds is None:
        raise CommandError(
            f"site {site} has no settled hour; the record is shorter than an hour, or its channels are not bound"
        )
    newest = min(newest_by_channel(conn, site).values())
    rest = list(
        account_hours(
            conn,
            facts,
            range(bounds[1] + HOUR_MS, newest, HOUR_MS),
            carry_before(conn, site, bounds[1] + HOUR_MS),
            newest,
        )
    )
    net = _ledger(conn, site)
    for account in rest:
        for key, amount in account.net.items():
            place = _coarse(key.account_kind, key.account_id, key.source, key.entered_ms, key.quality)
            net[place] = net.get(place, 0) + amount
    total = footprint(net, facts.source_history, facts.library, series=facts.series)
    result: dict[str, Any] = {
        "site": site,
        "sources": [
            {"id": line.source, "amount": decimal_text(line.amount), "unit": line.unit} for line in total.inventory
        ],
        "emissions_kg_co2e": {"location": total.kg_co2e},
    }
    if len(facts.models[-1].graph.work_units) > 1:
        result["by_account"] = _by_account(net)
    if issues := _issues(conn, site):
        result["issues"] = issues
    if CHECK_METER in facts.models[-1].graph.meters:
        hours = range(bounds[0], bounds[1] + 1, HOUR_MS)
        settled = account_hours(conn, facts, hours, EMPTY_CARRY, bounds[1] + HOUR_MS)
        result["accounts"] = _accounts(net)
        result["balance"] = _balance([*settled, *rest])
    return result


def _coarse(kind: str, account: str, source: str, entered_ms: int, quality: int) -> PostingKey:
    return PostingKey(entered_ms, kind, account, "", "", source, entered_ms, quality)


def _ledger(conn: Conn, site: str) -> Net:
    rows = conn.execute(
        "select account_kind, account_id, source, entered_at, quality, sum(amount)::bigint from posting where site = %s "
        "group by 1, 2, 3, 4, 5",
        (site,),
    )
    return {
        _coarse(kind, account, source, to_ms(entered), quality): amount
        for kind, account, source, entered, quality, amount in rows
    }


def _by_account(net: Mapping[PostingKey, int]) -> dict[str, dict[str, str]]:
    """Per account (`kind/id`) the amounts by source."""
    sums: dict[str, dict[str, int]] = {}
    for key, amount in net.items():
        by_source = sums.setdefault(f"{key.account_kind}/{key.account_id}", {})
        by_source[key.source] = by_source.get(key.source, 0) + amount
    return {account: {s: decimal_text(a) for s, a in sorted(sums[account].items())} for account in sorted(sums)}


def _issues(conn: Conn, site: str) -> list[dict[str, Any]]:
    """What the hours had to say, in how many hours each, from the first to the last."""
    rows = conn.execute(
        "select code, place, count(distinct date_trunc('hour', at)), min(at), max(at) from issue "
        "where site = %s and origin = 'hour' and open group by code, place order by code, place",
        (site,),
    ).fetchall()
    return [
        {"code": c, "place": place, "hours": n, "from": format_instant(to_ms(a)), "to": format_instant(to_ms(b))}
        for c, place, n, a, b in rows
    ]


def _accounts(net: Mapping[PostingKey, int]) -> dict[str, dict[str, str]]:
    sums: dict[str, dict[str, int]] = {}
    for key, amount in net.items():
        by_source = sums.setdefault(key.account_kind, {})
        by_source[key.source] = by_source.get(key.source, 0) + amount
    return {
        kind: {s: decimal_text(a) for s, a in sorted(by_source.items())} for kind, by_source in sorted(sums.items())
    }


def _balance(accounts: Sequence[HourAccount]) -> dict[str, int]:
    """Intervals in which what the work units used, summed over sources, differs from the check meter."""
    intervals = unbalanced = 0
    for account in accounts:
        meter = account.meters[CHECK_METER]
        known = meter.quality > Quality.MISSING
        used = np.zeros_like(meter.amount)
        for use in account.uses:
            if use.work_unit:
                used += use.amount
        intervals += int(known.sum())
        unbalanced += int(((used != meter.amount) & known).sum())
    return {"intervals": intervals, "unbalanced": unbalanced}
