"""The pages: plant now, a batch, a shipment's statement; rendered whole here, kept fresh by small modules of ours."""

from collections.abc import Mapping
from decimal import Decimal
from typing import Annotated, Any, get_args

from fastapi import APIRouter, Query, Request
from fastapi.responses import Response
from starlette.staticfiles import StaticFiles

from plantprint.times import to_ms
from plantprint_api import explanations, footprints
from plantprint_api import responses as r
from plantprint_api.context import Context, Ctx, Cursor, Name, SiteQuery
from plantprint_api.database import Row
from plantprint_api.pages.render import PageRoute, page
from plantprint_api.pages.text import choose_language, strings
from plantprint_api.pages.view import View, zone
from plantprint_api.routes.alerts import CodeQuery, issue_groups
from plantprint_api.routes.batches import Named, batches_of, find_batch
from plantprint_api.routes.explain import BatchQuery, HourQuery, SourceQuery, StepQuery
from plantprint_api.routes.shipments import find_shipment, shipment_detail, shipment_item
from plantprint_api.rows import parse_time

SHIPMENTS_SHOWN = 6
ISSUES_SHOWN = 6
FINISHED_SHOWN = 8
LIST_ROWS = 50
NOT_RUNNING = ("waiting", "finished", "shipped")
IN_PRODUCTION = ("running", "waiting")


router = APIRouter(route_class=PageRoute, include_in_schema=False)


class _Static(StaticFiles):
    def file_response(self, *args: Any, **kwargs: Any) -> Response:
        response = super().file_response(*args, **kwargs)
        # Modules import each other by plain names, so every file is asked for again; the ETag makes that cheap.
        response.headers["Cache-Control"] = "no-cache"
        return response


def static_files() -> StaticFiles:
    return _Static(packages=[("plantprint_api.pages", "static")])


@router.get("/")
async def live_page(request: Request, ctx: Ctx, site: SiteQuery = None) -> Response:
    """The plant now."""
    sites = await ctx.database.rows("sites_to_choose", limit=50)
    if site is None and sites:
        site = sites[0]["site"]
    row = await ctx.site(site)
    view = await _view(request, ctx, row)
    live = await _live(ctx, row["site"])
    lists = await _lists(ctx, row["site"], live["plant"].get(row["site"]))
    # A batch keeps its live row until its last hour is settled; only those that are not over are shown here.
    running = [(name, body) for name, body in live["batch"].items() if body.get("status") in IN_PRODUCTION]
    batches = sorted(running, key=lambda item: (item[1].get("started_at") or "", item[0]))
    return page(
        request,
        "live.html",
        view,
        row,
        sites=sites,
        live=live,
        plant_live=live["plant"].get(row["site"]),
        batches=batches,
        state=_state(view, row, live),
        **lists,
    )


@router.get("/live-lists")
async def live_lists(request: Request, ctx: Ctx, site: SiteQuery = None) -> Response:
    """The lists of the live page alone, for the page to put in place of older ones."""
    row = await ctx.site(site)
    live = await ctx.database.find("live_one", kind="plant", id=row["site"], site=row["site"])
    lists = await _lists(ctx, row["site"], live["body"] if live else None)
    return page(request, "lists.html", await _view(request, ctx, row), row, keep_language=False, **lists)


async def _lists(ctx: Context, site: str, plant_live: Mapping[str, Any] | None) -> dict[str, Any]:
    shipments = await ctx.database.rows(
        "shipments", site=site, cursor_at=None, cursor_site=None, cursor_shipment=None, cursor_batch=None,
        limit=SHIPMENTS_SHOWN,
    )  # fmt: skip
    # A batch between two steps is shown with those that run as long as an open hour has something of it.
    waiting = [one["batch"] for one in await ctx.database.rows("waiting_batches", site=site)]
    finished = await batches_of(ctx, site, NOT_RUNNING, None, FINISHED_SHOWN, None, without=waiting)
    issues = await issue_groups(ctx, site, is_open=True, by="code", n=ISSUES_SHOWN)
    return {
        "finished": finished["items"],
        "shipments": [shipment_item(shipment) for shipment in shipments],
        "issues": issues["items"],
        "issues_open": (plant_live or {}).get("issues_open"),
    }


@router.get("/batches")
async def batches_page(
    request: Request,
    ctx: Ctx,
    site: SiteQuery = None,
    named: Named = None,
    status: Annotated[str | None, Query(max_length=20)] = None,
    cursor: Cursor = None,
) -> Response:
    """All batches, a page at a time."""
    row = await ctx.site(site)
    found = await batches_of(ctx, row["site"], [status] if status else None, named, LIST_ROWS, cursor or None)
    chosen: dict[str, Any] = {
        "named": named,
        "status": status,
        "statuses": get_args(r.BatchStatus),
        "is_first": not cursor,
    }
    return page(request, "batches.html", await _view(request, ctx, row), row, **chosen, **found)


@router.get("/issues")
async def issues_page(
    request: Request,
    ctx: Ctx,
    site: SiteQuery = None,
    is_open: Annotated[str, Query(alias="open", max_length=5)] = "true",
    code: CodeQuery = None,
    cursor: Cursor = None,
) -> Response:
    """Issues by kind, or those of one kind by place, a page at a time; all of them, or the open ones."""
    row = await ctx.site(site)
    only_open = is_open == "true"
    found = await issue_groups(
        ctx,
        row["site"],
        is_open=True if only_open else None,
        code=code or None,
        by="place" if code else "code",
        n=LIST_ROWS,
        cursor=cursor or None,
    )
    chosen: dict[str, Any] = {"is_open": only_open, "code": code, "is_first": not cursor}
    return page(request, "issues.html", await _view(request, ctx, row), row, **chosen, **found)


@router.get("/batches/{batch:path}/explain")
async def explain_page(
    request: Request,
    ctx: Ctx,
    batch: Name,
    site: SiteQuery = None,
    step: StepQuery = None,
    source: SourceQuery = None,
    hour: HourQuery = None,
) -> Response:
    """Where a figure of a batch comes from."""
    found = await find_batch(ctx, batch, site)
    row = await ctx.site(found["site"])
    hour_ms = None if hour is None else to_ms(parse_time(hour, place="query: hour"))
    item = await explanations.explain(ctx, found, footprints.NOW, step, source, hour_ms)
    return page(request, "explain.html", await _view(request, ctx, row), row, item=item)


@router.get("/compare")
async def compare_page(request: Request, ctx: Ctx, a: BatchQuery, b: BatchQuery, site: SiteQuery = None) -> Response:
    """Why the footprints of two batches differ."""
    before = await find_batch(ctx, a, site)
    after = await find_batch(ctx, b, site or before["site"])
    row = await ctx.site(before["site"])
    item = await explanations.compare_batches(ctx, before, after, footprints.NOW)
    item["effects"] = sorted(item["effects"], key=lambda effect: -_size(effect))
    return page(request, "compare.html", await _view(request, ctx, row), row, item=item)


@router.get("/batches/{batch:path}")
async def batch_page(request: Request, ctx: Ctx, batch: Name, site: SiteQuery = None) -> Response:
    """One batch and what it consists of."""
    found = await find_batch(ctx, batch, site)
    row = await ctx.site(found["site"])
    view = await _view(request, ctx, row)
    statements = await ctx.database.rows("statements_of_batch", site=row["site"], batch=batch)
    return page(
        request,
        "batch.html",
        view,
        row,
        item=await footprints.batch_footprint(ctx, found),
        statements=statements,
        other=await _like(ctx, found),
        state={**_state(view, row, None), "batch": batch, "running": found["live"] is not None},
    )


def _size(effect: Mapping[str, Any]) -> Decimal:
    """How much an effect moves in kg CO2e, all its causes together."""
    return sum((abs(Decimal(effect[f"{cause}_kg_co2e"])) for cause in ("activity", "mix", "factor")), Decimal(0))


async def _like(ctx: Context, batch: Row) -> str | None:
    """The last batch of the same product before this one, to compare it with."""
    found = await ctx.database.find("batch_before", site=batch["site"], batch=batch["batch"])
    return None if found is None else str(found["batch"])


@router.get("/shipments/{shipment:path}")
async def shipment_page(request: Request, ctx: Ctx, shipment: Name, site: SiteQuery = None) -> Response:
    """The printable statement of a shipment."""
    rows = await find_shipment(ctx, shipment, site)
    row = await ctx.site(rows[0]["site"])
    view = await _view(request, ctx, row)
    detail = shipment_detail(rows)
    return page(request, "shipment.html", view, row, shipment=detail, state=_state(view, row, None))


@router.get("/docs")
async def docs_page(request: Request) -> Response:
    """The routes of the api in words; schemas and examples are in /openapi.json."""
    view = View(choose_language(request), None, zone("UTC"))
    return page(request, "docs.html", view, None, paths=request.app.openapi()["paths"])


async def _view(request: Request, ctx: Context, site: Row) -> View:
    model = await ctx.plant(site)
    plant = model[1] if model else None
    return View(choose_language(request), plant, zone(plant.site.timezone if plant else "UTC"))


async def _live(ctx: Context, site: str) -> dict[str, dict[str, Any]]:
    """Bodies of the live rows by kind and id."""
    kinds = ["plant", "work_center", "batch", "trend"]
    found: dict[str, dict[str, Any]] = {kind: {} for kind in kinds}
    for row in await ctx.database.rows("live_of_site", site=site, kinds=kinds):
        found[row["kind"]][row["id"]] = row["body"]
    return found


def _state(view: View, site: Row, live: Mapping[str, Any] | None) -> dict[str, Any]:
    """What the browser's modules start from."""
    plant = view.plant
    lines = plant.work_centers if plant else ()
    return {
        "site": site["site"],
        "language": view.language,
        "timezone": plant.site.timezone if plant else "UTC",
        "steps": [{"id": s.id, "name": view.step_name(s.id), "css": view.step_css(s.id)} for s in plant.steps]
        if plant
        else [],
        "sources": {s.id: view.source_name(s.id) for s in plant.sources} if plant else {},
        "lines": {line.id: view.line_name(line.id) for line in lines},
        "units": {u.id: view.unit_name(u.id) for line in lines for u in line.work_units},
        "strings": strings(view.language),
        "live": live,
    }
