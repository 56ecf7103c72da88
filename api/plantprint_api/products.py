"""Product footprints on request: the lots behind a batch, their ledger and factors, as known now or at an earlier instant."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal
from typing import Any

from plantprint.ancestry import Ancestry
from plantprint.contracts import market_of
from plantprint.contradictions import Reasons, joined
from plantprint.factors import Factor, builtin_factors, latest
from plantprint.facts import Issue, ProductionEvent, Quality
from plantprint.footprint import Footprint, footprint
from plantprint.gwp import GwpSet
from plantprint.ledger import Net, PostingKey
from plantprint.market import Market
from plantprint.meter_slopes import sampled_hours
from plantprint.plant.model import Plant
from plantprint.product import OPEN_STEP, ProductFootprint, Reach, product_footprint
from plantprint.product_lines import Valuing, background
from plantprint.production import Batch
from plantprint.quantities import MICRO, micro, round_half_even
from plantprint.source_history import SourceHistory
from plantprint.times import from_ms, hour_floor, parse_instant, to_ms
from plantprint_api.context import Context
from plantprint_api.database import Row
from plantprint_api.hourly import load_series

_CERTIFIED_MS = 366 * 86_400_000  # how far the instant of a certificate may lie from the hours that it covers


@dataclass(frozen=True, slots=True)
class Asked:
    """How a footprint is wanted: a GWP set (None: published values), and as known at an instant (None: now)."""

    gwp_set: GwpSet | None = None
    known_at: datetime | None = None

    @property
    def known_at_ms(self) -> int | None:
        return None if self.known_at is None else to_ms(self.known_at)


@dataclass(frozen=True, slots=True)
class Product:
    """A batch's product footprint, its own postings (open hours in one piece) and their gate-to-gate sums."""

    product: ProductFootprint
    own: Footprint
    net: Net


async def product_of(ctx: Context, row: Row, plant: Plant, now_ms: int, asked: Asked) -> Product:
    """The footprint of the batch in `row`, worked out beside the event loop."""
    site, batch = row["site"], row["batch"]
    ancestry = await _ancestry(ctx, site, batch, asked.known_at)
    lots = list(ancestry.lots)
    sources = await ctx.sources(site, asked.known_at)
    valuing = await _valuing(ctx, plant, sources, asked)
    known = {one["batch"]: one for one in await ctx.database.rows("lot_batches", site=site, lots=lots)}
    nets: dict[str, Net] = {lot: {} for lot in lots}
    for one in await ctx.database.rows("lot_net", site=site, lots=lots, known_at=asked.known_at):
        nets[one["batch"]][posting_key(one, one["batch"])] = one["amount"]
    if asked.known_at is None:
        for lot, one in known.items():
            if one["live"] is not None:
                nets[lot] |= _open_part(lot, one["live"], nets[lot], now_ms)
    entered = {(key.source, key.entered_ms) for net in nets.values() for key in net}
    valuing = replace(valuing, series=await load_series(ctx, site, sources, entered, asked.known_at))
    market_issues: tuple[Issue, ...] = ()
    if plant.market is not None:
        market, market_issues = await _market(ctx, site, plant, valuing, nets, asked)
        valuing = replace(valuing, market=market)
    ends_ms = now_ms if row["ended_at"] is None else to_ms(row["ended_at"])
    open_lots = frozenset(lot for lot, one in known.items() if one["live"] is not None and asked.known_at is None)
    missing = {lot: one["missing_ms"] for lot, one in known.items() if one["missing_ms"]}
    batches = {lot: _batch(one) for lot, one in known.items()} | ancestry.orders
    rows = await ctx.database.rows("lot_contradictions", site=site, lots=lots)
    against = [_against(one, one["batch"], to_ms(one["at"])) for one in rows]
    for lot in open_lots:
        against += [_against(one, lot, parse_instant(one["at"])) for one in known[lot]["live"].get("reasons", ())]

    counted: dict[int, dict[str, float]] = {}
    hours = [from_ms(hour) for hour in sampled_hours(nets[batch])]
    meters = [meter.id for meter in plant.meters]
    for one in await ctx.database.rows("meter_hours", site=site, meters=meters, hours=hours):
        counted.setdefault(to_ms(one["hour_at"]), {})[one["meter"]] = one["amount"]

    def work() -> Product:
        behind = background(valuing, ends_ms)
        reach = Reach(nets, ancestry.facts(batches, behind.materials), missing, open_lots, counted, joined(against))
        product = product_footprint(batch, reach, valuing, behind, ends_ms)
        product = replace(product, remarks=tuple(sorted({*product.remarks, *market_issues})))
        net, ordered = nets[batch], batches.get(batch)
        view = valuing.view if asked != Asked() else None
        quantity, unit = (ordered.quantity_micro, ordered.unit) if ordered else (None, "")
        own = footprint(net, sources, valuing.library, quantity, unit, view, valuing.series)
        return Product(product, own, net)

    return await asyncio.to_thread(work)


async def _ancestry(ctx: Context, site: str, batch: str, known_at: datetime | None) -> Ancestry:
    ancestry = Ancestry(batch, ctx.settings.http_lots_max)
    while wanted := ancestry.wanted:
        rows = await ctx.database.rows("lot_events", site=site, lots=wanted, known_at=known_at)
        ancestry.add(_event(one) for one in rows)
    return ancestry


async def _valuing(ctx: Context, plant: Plant, sources: SourceHistory, asked: Asked) -> Valuing:
    """The newest version of each factor that the plant names, or of each that was known then; versions for subjects."""
    ids = {source.factor for source in sources.ever()} | {one.factor for one in plant.materials if one.factor}
    if plant.market is not None:
        ids |= {one.factor for one in plant.market.contracts} | {plant.market.residual}
    rows = await ctx.database.rows("factor_versions", ids=sorted(ids), known_at=asked.known_at)
    stored = [Factor.from_json({**row["body"], "version": row["version"]}) for row in rows]
    named = [one for one in builtin_factors() if one.factor_id in ids or one.subject in ids]
    # What was known when is settled for stored rows by the time they were stored at.
    own = stored if asked.known_at is None else [replace(one, known_at="", published_on="") for one in stored]
    library = latest([*(one for one in named if one.factor_id in ids), *(s for s in own if s.factor_id in ids)])
    return Valuing(plant, library, (*named, *own), asked.gwp_set, asked.known_at_ms, sources=sources)


async def _market(
    ctx: Context, site: str, plant: Plant, valuing: Valuing, nets: Mapping[str, Net], asked: Asked
) -> tuple[Market | None, tuple[Issue, ...]]:
    """The contracts of the plant's market with the certificates and the site's import of the hours that lots used."""
    source = plant.market.source if plant.market else ""
    hours = sorted({key.entered_ms for net in nets.values() for key in net if key.source == source})
    if not hours:
        return market_of(plant, valuing.library, (), {})
    spans = {"from_at": from_ms(hours[0] - _CERTIFIED_MS), "to_at": from_ms(hours[-1] + _CERTIFIED_MS)}
    events = await ctx.database.rows("certificates", site=site, known_at=asked.known_at, **spans)
    imports = await ctx.database.rows(
        "site_import", site=site, source=source, hours=[from_ms(hour) for hour in hours], known_at=asked.known_at
    )
    return market_of(
        plant,
        valuing.library,
        [_event(row) for row in events],
        {to_ms(one["hour_at"]): one["amount"] for one in imports},
    )


def _event(row: Row) -> ProductionEvent:
    return ProductionEvent(row["source"], row["event_id"], row["revision"], row["kind"], to_ms(row["at"]), row["body"])


def posting_key(row: Row, batch: str) -> PostingKey:
    return PostingKey(
        to_ms(row["hour_at"]),
        "batch",
        batch,
        row["work_unit"],
        row["step"],
        row["source"],
        to_ms(row["entered_at"]),
        row["quality"],
        row["portion"],
    )


def _against(one: Mapping[str, Any], batch: str, at_ms: int) -> Reasons:
    return {batch: (Issue(one["code"], one["place"], one["message"], one["remedy"], at_ms),)}


def _open_part(lot: str, live: Mapping[str, Any], posted: Net, now_ms: int) -> Net:
    """What a live row knows beyond the postings, in one piece per source, or per hour of entry where it tells that."""
    sums: dict[tuple[str, int], int] = {}
    hour_ms, told = hour_floor(now_ms), live.get("by_source") or {}
    for key, amount in posted.items():
        slot = (key.source, key.entered_ms if "entered" in told.get(key.source, ()) else hour_ms)
        sums[slot] = sums.get(slot, 0) + amount
    found: Net = {}
    for source, part in told.items():
        entered = {parse_instant(at): amount for at, amount in part.get("entered", {}).items()}
        for entered_ms, text in (entered or {hour_ms: part["amount"]}).items():
            amount = round_half_even(*(Decimal(text) * MICRO).as_integer_ratio()) - sums.get((source, entered_ms), 0)
            if amount:
                key = PostingKey(hour_ms, "batch", lot, "", OPEN_STEP, source, entered_ms, Quality.MEASURED)
                found[key] = amount
    return found


def _batch(row: Row) -> Batch:
    quantity = None if row["quantity"] is None else micro(round(row["quantity"], 6))
    return Batch(row["batch"], row["product"], quantity, row["unit"], None)
