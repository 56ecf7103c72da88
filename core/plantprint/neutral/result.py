"""Accounts as JSON: every posting, account, batch and lot, what meters told, and every issue with its remedy."""

from dataclasses import replace
from typing import Any

from plantprint.explain import explain_accounts
from plantprint.facts import Issue, Quality
from plantprint.footprint import footprint, issue_json
from plantprint.intervals.repeats import repeat_issues
from plantprint.job_times import unbelieved_jobs
from plantprint.ledger import Net, PostingKey
from plantprint.market import unused
from plantprint.neutral.run import Accounts
from plantprint.product_json import product_json
from plantprint.quantities import decimal_text
from plantprint.settlement import batch_status, batches_close_ms
from plantprint.times import HOUR_MS, format_instant


def accounts_json(accounts: Accounts) -> dict[str, Any]:
    """Every account to the last digit; docs/neutral.md says what each key holds."""
    known = accounts.known
    return {
        "site": accounts.graph.plant.site.id,
        "until": format_instant(known.until_ms),
        "known_at": None if known.known_at_ms is None else format_instant(known.known_at_ms),
        "gwp_set": accounts.gwp_set or "as published",
        "purpose": accounts.purpose or "any",
        "postings": [_posting(accounts, key, amount) for key, amount in sorted(accounts.net.items())],
        "accounted": _accounted(accounts),
        "accounts": [_account(accounts, *name, net) for name, net in accounts.by_account.items()],
        "batches": _batches(accounts),
        "lots": _lots(accounts),
        "market": _market(accounts),
        "meters": _meters(accounts),
        "issues": [_issue(one) for one in sorted(_issues(accounts))],
    }


def _posting(accounts: Accounts, key: PostingKey, amount: int) -> dict[str, Any]:
    fields = key._asdict()
    hour, entered, quality = fields.pop("hour_ms"), fields.pop("entered_ms"), fields.pop("quality")
    return {
        "hour_at": format_instant(hour),
        **fields,
        "entered_at": format_instant(entered),
        "quality": Quality(quality).name.lower(),
        "amount": decimal_text(amount),
        "unit": accounts.units.get(key.source, ""),
    }


def _accounted(accounts: Accounts) -> dict[str, Any]:
    """What is on all accounts but stock, by source."""
    totals: dict[str, int] = {}
    for key, amount in accounts.net.items():
        if key.account_kind != "stock":
            totals[key.source] = totals.get(key.source, 0) + amount
    return {s: {"amount": decimal_text(a), "unit": accounts.units.get(s, "")} for s, a in sorted(totals.items())}


def _account(accounts: Accounts, kind: str, name: str, net: Net) -> dict[str, Any]:
    sums: dict[str, int] = {}
    for key, amount in net.items():
        sums[key.source] = sums.get(key.source, 0) + amount
    result = footprint(net, accounts.sources, accounts.library, view=accounts.valuing.view)
    return {
        "account_kind": kind,
        "account_id": name,
        "amounts": {s: {"amount": decimal_text(a), "unit": accounts.units.get(s, "")} for s, a in sorted(sums.items())},
        "kg_co2e": result.kg_co2e,
        "complete": result.complete,
    }


def _batches(accounts: Accounts) -> dict[str, Any]:
    made = {name for kind, name in accounts.by_account if kind == "batch"}
    names = sorted({*accounts.production.batches, *made})
    closes = batches_close_ms(accounts.known.plants, accounts.production, names)
    rules = explain_accounts(accounts.graph, accounts.net)
    found = {}
    for name in names:
        body = _batch(accounts, name)
        settled_ms = accounts.known.until_ms // HOUR_MS * HOUR_MS
        texts = rules.get(("batch", name), ())
        found[name] = {
            **body,
            "status": batch_status(closes[name], settled_ms),
            "allocation_rules": [text.en for text in texts],
        }
    return found


def _batch(accounts: Accounts, name: str) -> dict[str, Any]:
    net = accounts.by_account.get(("batch", name), {})
    batch = accounts.production.batches.get(name)
    quantity, unit = (batch.quantity_micro, batch.unit) if batch else (None, "")
    sources, library, view = accounts.sources, accounts.library, accounts.valuing.view
    result = footprint(net, sources, library, quantity, unit, view).to_json()
    bought: dict[str, Any] = {}
    if accounts.market[0] is not None:
        other = footprint(net, sources, library, quantity, unit, replace(view, market=accounts.market[0]))
        bought = {"market_based_kg_co2e": other.kg_co2e, "market_based_kg_co2e_per_unit": other.kg_co2e_per_unit}
    product = accounts.product(name) if accounts.has_products else None
    missing_ms = accounts.missing_ms.get(name, 0)
    reasons = product.reasons if product else accounts.contradictions.get(name, ())
    return {
        **result,
        **bought,
        "product": batch.product if batch else "",
        "missing_ms": missing_ms,
        "incomplete": missing_ms > 0 or not result["complete"] or bool(reasons),
        "reasons": [issue_json(one) for one in reasons],
        "product_footprint": None if product is None else product_json(product),
    }


def _lots(accounts: Accounts) -> dict[str, Any]:
    """Lots that batches put out besides their own: co-products and scrap that is sold."""
    if not accounts.has_products:
        return {}
    made = {*accounts.production.batches, *(name for kind, name in accounts.by_account if kind == "batch")}
    return {lot: product_json(accounts.product(lot)) for lot in accounts.lots if lot not in made}


def _market(accounts: Accounts) -> dict[str, Any] | None:
    """How much of each hour's import certificates cover."""
    market, _ = accounts.market
    if market is None:
        return None
    claimed: dict[int, dict[str, int]] = {}
    for one in market.certificates:
        hour = claimed.setdefault(one.hour_ms, {})
        hour[one.contract] = hour.get(one.contract, 0) + one.amount
    left = unused(market)
    return {
        "source": market.source,
        "hours": [
            {
                "hour_at": format_instant(hour),
                "import": decimal_text(amount),
                "certificates": {name: decimal_text(part) for name, part in sorted(claimed.get(hour, {}).items())},
                "not_used": decimal_text(left.get(hour, 0)),
            }
            for hour, amount in sorted(market.site_import.items())
        ],
    }


def _meters(accounts: Accounts) -> list[dict[str, Any]]:
    """What each meter counted in each hour."""
    return [
        {
            "hour_at": format_instant(hour.hour_ms),
            "meter": meter,
            "amount": decimal_text(int(told.amount.sum())),
            "unit": hour.facts.graph.meters[meter].unit,
            "quality": Quality(int(told.quality.min())).name.lower(),
            "missing_ms": int(told.missing_ms.sum()),
        }
        for hour in accounts.hours
        for meter, told in sorted(hour.meters.items())
    ]


def _issues(accounts: Accounts) -> set[Issue]:
    known = accounts.known
    found = {*accounts.production.issues, *known.issues, *accounts.market[1]}
    found |= {*unbelieved_jobs(known.plants, accounts.production, known.until_ms)}
    found |= {issue for hour in accounts.hours for issue in hour.issues}
    return found | {*repeat_issues((hour.hour_ms, hour.meters) for hour in accounts.hours)}


def _issue(issue: Issue) -> dict[str, Any]:
    at = format_instant(issue.at_ms) if issue.at_ms else None
    return {"code": issue.code, "place": issue.place, "at": at, "message": issue.message, "remedy": issue.remedy}
