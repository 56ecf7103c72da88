"""From a figure down to its sources: postings, what meters counted, the raw readings, and the rules in words."""

from collections.abc import Sequence
from typing import Any

from plantprint.compare import compare
from plantprint.explain import explain_accounts, explain_comparison, meters_of
from plantprint.footprint import footprint
from plantprint.ledger import PostingKey
from plantprint.lots import Vector
from plantprint.plant.graph import PlantGraph, compile_plant
from plantprint.plant.model import Plant, Text
from plantprint.product_compare import side_of
from plantprint.product_lines import CO2E, of_measure
from plantprint.quantities import EMISSION_SCALE, MICRO, decimal_text
from plantprint.times import HOUR_MS, from_ms, hour_floor
from plantprint_api.context import Context
from plantprint_api.database import Row
from plantprint_api.problems import ProblemError
from plantprint_api.products import Asked, Product, product_of
from plantprint_api.rows import instant

_QUALITIES = ("missing", "estimated", "recovered", "measured")


async def the_plant(ctx: Context, site: str, asked: Asked) -> tuple[Plant, int]:
    """The model in force as known when it is asked for, and the site's time; raises a problem before the first model."""
    row = await ctx.site(site)
    model = await ctx.plant(row, asked.known_at)
    if model is None:
        raise ProblemError(
            404, "Not found", f"site {site!r} has no plant model yet", place=f"site: {site}",
            remedy="apply one: plantprint model apply plant.yaml",
        )  # fmt: skip
    return model[1], await ctx.site_now_ms(row)


async def explain(
    ctx: Context, row: Row, asked: Asked, step: str | None, source: str | None, hour_ms: int | None
) -> dict[str, Any]:
    """One line of a batch's footprint (a step, a source, both or all of it), with everything behind it, bounded."""
    plant, now_ms = await the_plant(ctx, row["site"], asked)
    found = await product_of(ctx, row, plant, now_ms, asked)
    graph = compile_plant(plant)
    net = {key: amount for key, amount in found.net.items() if _fits(key, step, source, hour_ms)}
    hours = sorted({key.hour_ms for key in net})
    shown = set(hours[-ctx.settings.http_explain_hours_max :])
    result = footprint(
        net, found.product.valuing.history, found.product.valuing.library, view=found.product.valuing.view
    )
    postings, is_cut = await _postings(ctx, row, asked, (step, source), shown)
    units = sorted({key.work_unit for key in net if key.work_unit})
    meters = meters_of(graph, units, {key.source for key in net})
    readings_from = (await ctx.database.rows("readings_from"))[0]["at"]
    return {
        "site": row["site"],
        "batch": row["batch"],
        "step": step,
        "source": source,
        "own_kg_co2e": result.kg_co2e,
        "upstream_kg_co2e": _kg(found.product.upstream, step, source),
        "amounts": result.to_json()["inventory"],
        "factors": result.to_json()["factors"],
        "rules": _texts(explain_accounts(graph, net).get(("batch", row["batch"]), ())),
        "hours": [instant(from_ms(hour)) for hour in hours],
        "postings": postings,
        "meters": await _meters(ctx, row["site"], graph, meters[: ctx.settings.http_explain_meters_max], shown),
        "readings_from": instant(readings_from) if shown and from_ms(min(shown)) < readings_from else None,
        "inputs": [
            {"kind": one.kind, "id": one.id, "material": one.material, "step": one.step,
             "quantity": decimal_text(one.quantity_micro), "unit": one.unit, "reference": one.reference,
             "kg_co2e": _kg(one.lines, None, source)}
            for one in found.product.inputs
            if source is None or any(key.source == source for key in one.lines)
        ],
        "is_cut": is_cut or len(shown) < len(hours) or len(meters) > ctx.settings.http_explain_meters_max,
    }  # fmt: skip


def _fits(key: PostingKey, step: str | None, source: str | None, hour_ms: int | None) -> bool:
    return (
        (step is None or key.step == step)
        and (source is None or key.source == source)
        and (hour_ms is None or key.hour_ms == hour_floor(hour_ms))
    )


def _kg(lines: Vector, step: str | None, source: str | None) -> str:
    kg = sum(
        value
        for key, value in of_measure(lines, CO2E).items()
        if (step is None or key.step == step) and (source is None or key.source == source)
    )
    return decimal_text(kg, EMISSION_SCALE)


def _texts(texts: Sequence[Text]) -> dict[str, list[str]]:
    return {"en": [text.en for text in texts], "zh": [text.zh for text in texts]}


async def _postings(
    ctx: Context, row: Row, asked: Asked, line: tuple[str | None, str | None], hours: set[int]
) -> tuple[list[dict[str, Any]], bool]:
    """The ledger's rows as they were written, corrections among them, the earliest first."""
    limit = ctx.settings.http_explain_postings_max
    rows = await ctx.database.rows(
        "postings_behind", site=row["site"], batch=row["batch"], step=line[0], source=line[1], limit=limit + 1,
        hours=[from_ms(hour) for hour in sorted(hours)], known_at=asked.known_at,
    )  # fmt: skip
    found = [
        {
            **{name: one[name] for name in ("work_unit", "step", "source", "portion", "cause")},
            "hour_at": instant(one["hour_at"]),
            "entered_at": instant(one["entered_at"]),
            "known_at": instant(one["known_at"]),
            "quality": _QUALITIES[one["quality"]],
            "amount": decimal_text(one["amount"]),
        }
        for one in rows[:limit]
    ]
    return found, len(rows) > limit


async def _meters(
    ctx: Context, site: str, graph: PlantGraph, meters: Sequence[str], hours: set[int]
) -> list[dict[str, Any]]:
    """What each meter counted in the hours, and the readings that this comes from."""
    if not meters or not hours:
        return []
    at = [from_ms(hour) for hour in sorted(hours)]
    intervals = await ctx.database.rows("intervals_behind", site=site, meters=list(meters), hours=at)
    by_meter: dict[str, list[Row]] = {}
    for one in intervals:
        by_meter.setdefault(one["meter"], []).append(one)
    # One channel may tell of several: the pressure of a header.
    told = {meter: {channel for b in graph.meters[meter].bindings for channel in b.channels} for meter in meters}
    channels = sorted(set().union(*told.values()))
    readings = await ctx.database.rows(
        "readings_behind", site=site, channels=channels, from_at=at[0], to_at=from_ms(max(hours) + HOUR_MS),
        limit=ctx.settings.http_explain_readings_max,
    )  # fmt: skip
    raw: dict[str, list[Row]] = {}
    for one in readings:
        for meter in (meter for meter in meters if one["channel"] in told[meter]):
            raw.setdefault(meter, []).append(one)
    return [_meter_json(graph, meter, by_meter.get(meter, []), raw.get(meter, [])) for meter in meters]


def _meter_json(graph: PlantGraph, meter: str, intervals: Sequence[Row], readings: Sequence[Row]) -> dict[str, Any]:
    known = graph.meters[meter]
    return {
        "meter": meter,
        "name": known.name.model_dump(),
        "unit": known.unit,
        "intervals": [
            {
                "hour_at": instant(one["hour_at"]),
                "amount": decimal_text(one["amount"]),
                "quality": _QUALITIES[one["quality"]],
                "missing_s": one["missing_ms"] / 1000,
            }
            for one in intervals
        ],
        "readings": [
            {
                "channel": one["channel"],
                "at": instant(one["measured_at"]),
                "value": decimal_text(one["value"], 10 ** one["decimals"]),
                "unit": one["unit"],
                "quality": _QUALITIES[one["quality"]],
            }
            for one in readings
        ],
    }


async def compare_batches(ctx: Context, one: Row, other: Row, asked: Asked) -> dict[str, Any]:
    """What makes the difference between the product footprints of two batches, per unit where both know theirs."""
    plant, now_ms = await the_plant(ctx, one["site"], asked)
    before = await product_of(ctx, one, plant, now_ms, asked)
    after = await product_of(ctx, other, plant, now_ms, asked)
    units = {found.product.unit for found in (before, after)}
    per_unit = len(units) == 1 and all(found.product.quantity_micro for found in (before, after))
    sides = [_side(found, per_unit=per_unit) for found in (before, after)]
    result = compare(*sides)
    return {
        "site": one["site"],
        "a": _summary(one, before),
        "b": _summary(other, after),
        "per_unit": units.pop() if per_unit else None,
        **result.to_json(),
        "by_cause": {cause: _round(kg) for cause, kg in result.by_cause().items()},
        "sentences": _texts(explain_comparison(compile_plant(plant), result)),
    }


def _side(found: Product, *, per_unit: bool) -> Any:
    side = side_of(found.product, found.net)
    return side if per_unit else type(side)(side.activities)


def _summary(row: Row, found: Product) -> dict[str, Any]:
    return {
        "batch": row["batch"],
        "product": row["product"],
        "kg_co2e": decimal_text(found.product.kg, EMISSION_SCALE),
        "quantity": None if found.product.quantity_micro is None else decimal_text(found.product.quantity_micro),
        "unit": found.product.unit,
        "incomplete": bool(found.product.reasons),
    }


def _round(kg: Any) -> str:
    return decimal_text(round(kg * MICRO))
