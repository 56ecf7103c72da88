"""Footprints of batches: settled postings times factors, or the live row while a batch runs."""

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

from plantprint.factors import Factor, builtin_factors, latest
from plantprint.facts import Quality
from plantprint.footprint import Footprint, footprint
from plantprint.ledger import Net, PostingKey
from plantprint.plant.model import Plant
from plantprint.product_json import product_json
from plantprint.quantities import MICRO, decimal_text, micro, round_half_even
from plantprint.source_history import SourceHistory
from plantprint.times import format_instant, from_ms, parse_instant
from plantprint_api.context import Context
from plantprint_api.database import Row
from plantprint_api.hourly import load_series
from plantprint_api.products import Asked, posting_key, product_of
from plantprint_api.rows import decimal, instant

PER_UNIT_DIGITS = 10**9
NOW = Asked()


async def load_library(ctx: Context, sources: SourceHistory) -> dict[str, Factor]:
    """The newest version of every factor that `sources` ever named: the site's own table over the one that ships."""
    ids = sorted({source.factor for source in sources.ever()})
    rows = await ctx.database.rows("factors", ids=ids)
    stored = [Factor.from_json({**row["body"], "version": row["version"]}) for row in rows]
    return latest([*(factor for factor in builtin_factors() if factor.factor_id in ids), *stored])


async def settled(ctx: Context, site: str, batches: Sequence[Row]) -> dict[str, Footprint]:
    """Footprints from the ledger, by batch; batches without postings are absent."""
    if not batches:
        return {}
    rows = await ctx.database.rows("batch_net", site=site, batches=[row["batch"] for row in batches])
    nets: dict[str, Net] = {}
    for row in rows:
        nets.setdefault(row["batch"], {})[posting_key(row, row["batch"])] = row["amount"]
    sources = await ctx.sources(site)
    library = await load_library(ctx, sources)
    entered = {(key.source, key.entered_ms) for net in nets.values() for key in net}
    series = await load_series(ctx, site, sources, entered)
    by_name = {row["batch"]: row for row in batches}
    return {
        batch: footprint(net, sources, library, _quantity_micro(by_name[batch]), by_name[batch]["unit"], series=series)
        for batch, net in nets.items()
    }


async def batch_items(ctx: Context, rows: Sequence[Row]) -> list[dict[str, Any]]:
    """Rows of `batch` as list items with their footprints, in the same order."""
    found: dict[tuple[str, str], Footprint] = {}
    for name in sorted({row["site"] for row in rows}):
        of_site = [row for row in rows if row["site"] == name and row["live"] is None]
        settled_here = await settled(ctx, name, of_site)
        found |= {(name, batch): result for batch, result in settled_here.items()}
    return [batch_item(row, found.get((row["site"], row["batch"]))) for row in rows]


def batch_item(row: Row, result: Footprint | None) -> dict[str, Any]:
    """One list item: the live figure while there is one, else the settled one, else null."""
    live: Mapping[str, Any] | None = row["live"]
    if live is not None:
        total, incomplete = live.get("partial_footprint_kg_co2e"), live.get("incomplete")
    elif result is not None:
        total, incomplete = result.kg_co2e, is_incomplete(result)
    else:
        total, incomplete = None, None
    return {
        **{name: row[name] for name in ("site", "batch", "product", "unit", "status")},
        "quantity": decimal(row["quantity"]),
        "started_at": instant(row["started_at"]),
        "ended_at": instant(row["ended_at"]),
        "output_reported": row["output_reported"],
        "partial_footprint_kg_co2e": total,
        "kg_co2e_per_unit": per_unit(total, decimal(row["quantity"])),
        "footprint_status": row["footprint_status"],
        "includes_open_hour": live is not None,
        "incomplete": row["has_reasons"] or incomplete,
    }


async def batch_footprint(ctx: Context, row: Row, asked: Asked = NOW) -> dict[str, Any]:
    """The whole breakdown of one batch: gate to gate, and with all that went into it."""
    site = await ctx.site(row["site"])
    now_ms = await ctx.site_now_ms(site)
    model = await ctx.plant(site, asked.known_at)
    plant = model[1] if model else None
    how: dict[str, Any] = {"gwp_set": asked.gwp_set or "as published", "known_at": instant(asked.known_at)}
    if plant is None:
        return {
            **batch_item(row, None),
            "at": format_instant(now_ms),
            **_breakdown(None, row["unit"]),
            "by_step": [],
            **how,
        }
    found = await product_of(ctx, row, plant, now_ms, asked)
    how["product_footprint"] = product_json(found.product)
    live: Mapping[str, Any] | None = row["live"] if asked == NOW else None
    if live is not None:
        sources, net = await ctx.sources(row["site"]), _live_net(row, live)
        library = await load_library(ctx, sources)
        series = await load_series(ctx, row["site"], sources, {(key.source, key.entered_ms) for key in net})
        shown = footprint(net, sources, library, _quantity_micro(row), row["unit"], series=series)
        answer = _running(row, live, shown)
        return answer | {"by_step": _by_step(live.get("by_step") or {}, plant)} | how
    result = found.own if found.net else None
    steps = result.to_json()["by_step"] if result else {}
    item = batch_item({**row, "live": None}, result)
    item["incomplete"] = bool(found.product.reasons) or item["incomplete"]
    answer = {**item, "at": format_instant(now_ms), **_breakdown(result, row["unit"])}
    return answer | {"by_step": _by_step(steps, plant)} | how


def _running(row: Row, live: Mapping[str, Any], result: Footprint) -> dict[str, Any]:
    """The live row's own sums; scopes and factors follow from its amounts."""
    item = batch_item(row, None)
    by_source = live.get("by_source") or {}
    parts = _breakdown(result, row["unit"])
    return {
        **item,
        **parts,
        "at": live["at"],
        "kg_co2e_per_unit": per_unit(item["partial_footprint_kg_co2e"], item["quantity"]),
        "direct_kg_co2e": None,
        "idle_kg_co2e": None,
        "by_source": [
            {**line, "kg_co2e": by_source[line["source"]].get("kg_co2e", line["kg_co2e"])}
            for line in parts["by_source"]
        ],
        "quality": live.get("quality") or {},
    }


def _live_net(row: Row, live: Mapping[str, Any]) -> Net:
    """The amounts of a live row as if posted in one piece per hour of entry: good for sums per source, scope and factor."""
    net: Net = {}
    begun_at = instant(row["started_at"]) if row["started_at"] else instant(from_ms(0))
    for source, part in (live.get("by_source") or {}).items():
        for at, amount in part.get("entered", {begun_at: part["amount"]}).items():
            key = PostingKey(0, "batch", row["batch"], "", "", source, parse_instant(at), 3)
            net[key] = round_half_even(*(Decimal(amount) * MICRO).as_integer_ratio())
    return net


def _breakdown(result: Footprint | None, unit: str) -> dict[str, Any]:
    body = result.to_json() if result is not None else {}
    return {
        "unit": unit,
        "kg_co2e_per_unit": body.get("kg_co2e_per_unit"),
        "direct_kg_co2e": body.get("direct_kg_co2e"),
        "idle_kg_co2e": body.get("idle_kg_co2e"),
        "by_source": body.get("inventory", []),
        "by_scope": [{"scope": int(scope), "kg_co2e": kg} for scope, kg in body.get("by_scope", {}).items()],
        "quality": {name: float(part["share"]) for name, part in body.get("quality", {}).items()},
        "factors": body.get("factors", []),
        "issues": body.get("issues", []),
    }


def _by_step(by_step: Mapping[str, str], plant: Plant | None) -> list[dict[str, str]]:
    """In the order of the plant model, what it does not know last."""
    order = {step.id: index for index, step in enumerate(plant.steps)} if plant else {}
    names = sorted(by_step, key=lambda step: (order.get(step, len(order)), step))
    return [{"step": step, "kg_co2e": by_step[step]} for step in names]


def is_incomplete(result: Footprint) -> bool:
    """True when something behind the sum is missing or has no factor."""
    return not result.complete or Quality.MISSING in result.by_quality


def per_unit(kg_co2e: str | None, quantity: str | None) -> str | None:
    """Kg CO2e per unit of quantity, rounded to nine decimals; None where one of them is unknown."""
    if kg_co2e is None or quantity is None or Decimal(quantity) <= 0:
        return None
    ratio = Decimal(kg_co2e) * PER_UNIT_DIGITS / Decimal(quantity)
    return decimal_text(round_half_even(*ratio.as_integer_ratio()), PER_UNIT_DIGITS)


def _quantity_micro(row: Row) -> int | None:
    return None if row["quantity"] is None else micro(round(row["quantity"], 6))
