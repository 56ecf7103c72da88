"""GET /v1/grafana/series: flat long rows, as Grafana's Infinity data source likes them."""

import re
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query
from fastapi.responses import JSONResponse, Response
from pydantic import BaseModel, ConfigDict, Field

from plantprint.plant import Plant
from plantprint.quantities import EMISSION_SCALE, MICRO
from plantprint.source_history import SourceHistory
from plantprint.times import format_instant, from_ms, to_ms
from plantprint.valuation import RateBook, View
from plantprint_api import responses as r
from plantprint_api.context import Context, Ctx, SiteQuery, choices
from plantprint_api.database import Row
from plantprint_api.footprints import load_library
from plantprint_api.hourly import load_series
from plantprint_api.problems import invalid, responses
from plantprint_api.rows import instant, parse_time

router = APIRouter(prefix="/v1/grafana", tags=["grafana"])

Metric = Literal["emission_kg_co2e", "rate_kg_co2e_per_hour", "amount", "live_rate_kg_co2e_per_hour"]
HOUR_S = 3600
POINTS_MAX = 500
CACHE_S_MAX = 60  # late data corrects settled hours too, so a wall screen may be a minute behind and no more
SPAN_DEFAULT = timedelta(hours=24)
_STEP = re.compile(r"^(\d{1,9})(ms|s|m|h|d|w)?$")
_UNIT_S = {"ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800, None: 1}


class SeriesRow(BaseModel):
    """One number of one series; numbers here are floats because Grafana draws them, null is unknown."""

    model_config = ConfigDict(frozen=True)

    time: r.Instant
    site: str = Field(examples=["dyehouse"])
    work_center: str = Field(description="Empty where the amount is on no line.", examples=["line-1"])
    step: str = Field(examples=["dyeing"])
    source: str = Field(examples=["grid"])
    metric: str = Field(examples=["emission_kg_co2e"])
    value: float | None = Field(examples=[12.3])


@router.get("/series", response_model=list[SeriesRow], responses=responses(404, 409))
async def get_series(
    ctx: Ctx,
    site: SiteQuery = None,
    metric: Annotated[Metric, Query(description="What the value is.")] = "emission_kg_co2e",
    from_: Annotated[
        str | None,
        Query(alias="from", max_length=40, description="Start: RFC 3339 or ms since 1970; default a day ago."),
    ] = None,
    to: Annotated[str | None, Query(max_length=40, description="End, exclusive; default the site's now.")] = None,
    step: Annotated[
        str | None,
        Query(max_length=40, description="Seconds, or as Grafana writes it (1h, 1d); whole hours; chosen if absent."),
    ] = None,
    work_center: Annotated[
        list[str] | None, Query(description="Lines, repeated or comma-separated; `*` for all.")
    ] = None,
) -> Response:
    """Settled hours by line, step and source, or the live rates of the last hour by step.

    `live_rate_kg_co2e_per_hour` gives the rows of the live chart, the other metrics what is in the ledger. Exports and
    stocks are not in it. An empty answer is `[]`.
    """
    row = await ctx.site(site)
    end = parse_time(to, place="query: to") if to else from_ms(await ctx.site_now_ms(row))
    start = parse_time(from_, place="query: from") if from_ else end - SPAN_DEFAULT
    step_s = _step_s(step, (end - start).total_seconds())
    if metric == "live_rate_kg_co2e_per_hour":
        rows = list(await _live_rows(ctx, row["site"], start, end))
        _check_size(len(rows), ctx.settings.http_grafana_rows_max)
        return _answer(rows, step_s=1)
    model = await ctx.plant(row)
    if model is None:
        return _answer([], step_s)
    sources = await ctx.sources(row["site"])
    found = await ctx.database.rows(
        "series",
        site=row["site"],
        from_at=start,
        to_at=end,
        step_s=step_s,
        hourly=sorted(sources.by_hour()),
        limit=ctx.settings.http_grafana_rows_max + 1,
    )
    _check_size(len(found), ctx.settings.http_grafana_rows_max)
    lines = choices(work_center, [w.id for w in model[1].work_centers], place="query: work_center")
    settled = await _settled_rows(ctx, found, model[1], sources, metric, step_s)
    rows = [item for item in settled if not lines or item["work_center"] in lines]
    return _answer(rows, step_s)


def _check_size(n: int, rows_max: int) -> None:
    if n > rows_max:
        raise invalid(
            f"the series has more than {rows_max} rows",
            place="query: step; setting: PLANTPRINT_HTTP_GRAFANA_ROWS_MAX",
            remedy="ask for a longer step or a shorter time",
        )


def _answer(rows: list[dict[str, Any]], step_s: int) -> Response:
    return JSONResponse(rows, headers={"Cache-Control": f"private, max-age={min(step_s, CACHE_S_MAX)}"})


def _step_s(text: str | None, span_s: float) -> int:
    """Whole hours, at least as asked; without a usable wish so long that the span has at most `POINTS_MAX` steps."""
    match = _STEP.match(text) if text else None
    wish_s = int(match[1]) * _UNIT_S[match[2]] if match else span_s / POINTS_MAX
    return max(1, -int(-wish_s // HOUR_S)) * HOUR_S


async def _settled_rows(
    ctx: Context, found: Sequence[Row], plant: Plant, sources: SourceHistory, metric: Metric, step_s: int
) -> list[dict[str, Any]]:
    line_of = {unit.id: center.id for center in plant.work_centers for unit in center.work_units}
    value = await _values(ctx, found, sources)
    sums: defaultdict[tuple[datetime, str, str, str, str], list[tuple[int, int | None]]] = defaultdict(list)
    for row in found:
        at = (row["at"], row["site"], line_of.get(row["work_unit"], ""), row["step"], row["source"])
        sums[at].append((row["amount"], value(row)))
    return [
        {
            "time": instant(at),
            "site": site,
            "work_center": line,
            "step": step,
            "source": source,
            "metric": metric,
            "value": _value(parts, metric, step_s),
        }
        for (at, site, line, step, source), parts in sorted(sums.items())
    ]


async def _values(ctx: Context, found: Sequence[Row], sources: SourceHistory) -> Callable[[Row], int | None]:
    """What the amount of a row emits, in kg CO2e x EMISSION_SCALE, or None."""
    entered = {(row["source"], to_ms(row["entered_at"])) for row in found if row["entered_at"] is not None}
    sites = {row["site"] for row in found}
    series = await load_series(ctx, sites.pop(), sources, entered) if sites else {}
    book = RateBook(sources, await load_library(ctx, sources), View(series=series))
    known = {source.id for source in sources}

    def value(row: Row) -> int | None:
        entered_ms = 0 if row["entered_at"] is None else to_ms(row["entered_at"])
        rate = book.rate(row["source"], entered_ms) if row["source"] in known else None
        return None if rate is None else row["amount"] * rate.co2e

    return value


def _value(parts: Sequence[tuple[int, int | None]], metric: Metric, step_s: int) -> float | None:
    if metric == "amount":
        return sum(amount for amount, _ in parts) / MICRO
    emissions = [emission for _, emission in parts if emission is not None]
    if len(emissions) < len(parts):
        return None
    kg_co2e = sum(emissions) / EMISSION_SCALE
    return kg_co2e * HOUR_S / step_s if metric == "rate_kg_co2e_per_hour" else kg_co2e


async def _live_rows(ctx: Context, site: str, start: datetime, end: datetime) -> Iterator[dict[str, Any]]:
    trend = await ctx.database.find("live_one", kind="trend", id=site, site=site)
    body: Mapping[str, Any] = trend["body"] if trend else {}
    span = range(int(start.timestamp() * 1000), int(end.timestamp() * 1000))
    return (
        {
            "time": format_instant(at_ms),
            "site": site,
            "work_center": "",
            "step": step,
            "source": "",
            "metric": "live_rate_kg_co2e_per_hour",
            "value": body["rate_kg_co2e_per_hour"][step][index],
        }
        for index, at_ms in enumerate(body.get("at_ms", ()))
        if at_ms in span
        for step in body.get("steps", ())
    )
