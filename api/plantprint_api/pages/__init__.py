"""The pages: plant now, a batch, a shipment's statement; rendered whole here, kept fresh by small modules of ours."""

import hashlib
from collections.abc import Callable, Coroutine, Mapping
from decimal import Decimal
from functools import cache
from importlib import resources
from typing import Any

import jinja2
from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse, Response
from fastapi.routing import APIRoute
from starlette.staticfiles import StaticFiles

from plantprint import __version__
from plantprint.times import to_ms
from plantprint_api import explanations, footprints
from plantprint_api.context import Context, Ctx, Name, SiteQuery
from plantprint_api.database import Row
from plantprint_api.pages.text import COOKIE, LANGUAGES, Language, choose_language, issue_texts, name_in, strings
from plantprint_api.pages.view import View, budget_bar, zone
from plantprint_api.problems import EXPECTED, Problem, ProblemError, database_problem
from plantprint_api.routes.batches import find_batch
from plantprint_api.routes.explain import BatchQuery, HourQuery, SourceQuery, StepQuery
from plantprint_api.routes.shipments import find_shipment, shipment_detail, shipment_item
from plantprint_api.rows import parse_time

FOLDER = resources.files("plantprint_api.pages")
YEAR_S = 31_536_000
LANGUAGE_NAMES = {"en": "English", "zh": "中文"}
SHIPMENTS_SHOWN = 6
ISSUES_SHOWN = 6


class PageRoute(APIRoute):
    """Shows problems as pages too."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handle = super().get_route_handler()

        async def handler(request: Request) -> Response:
            try:
                return await handle(request)
            except ProblemError as error:
                return _problem_page(request, error.problem)
            except EXPECTED as error:
                return _problem_page(request, database_problem(error))

        return handler


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
    sites = await ctx.database.rows("sites", after="", limit=50)
    if site is None and sites:
        site = sites[0]["site"]
    row = await ctx.site(site)
    view = await _view(request, ctx, row)
    live = await _live(ctx, row["site"])
    shipments = await ctx.database.rows(
        "shipments", site=row["site"], cursor_at=None, cursor_site=None, cursor_shipment=None, cursor_batch=None,
        limit=SHIPMENTS_SHOWN,
    )  # fmt: skip
    issues = await ctx.database.rows(
        "issues", site=row["site"], open=True, cursor_at=None, cursor_site=None, cursor_code=None, cursor_place=None,
        limit=ISSUES_SHOWN,
    )  # fmt: skip
    # A batch keeps its live row until its last hour is settled; only running ones are shown here.
    running = [(name, body) for name, body in live["batch"].items() if body.get("status") == "running"]
    batches = sorted(running, key=lambda item: (item[1].get("started_at") or "", item[0]))
    return _page(
        request,
        "live.html",
        view,
        row,
        sites=sites,
        live=live,
        plant_live=live["plant"].get(row["site"]),
        batches=batches,
        shipments=[shipment_item(s) for s in shipments],
        issues=issues,
        state=_state(view, row, live),
    )


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
    return _page(request, "explain.html", await _view(request, ctx, row), row, item=item)


@router.get("/compare")
async def compare_page(request: Request, ctx: Ctx, a: BatchQuery, b: BatchQuery, site: SiteQuery = None) -> Response:
    """Why the footprints of two batches differ."""
    before = await find_batch(ctx, a, site)
    after = await find_batch(ctx, b, site or before["site"])
    row = await ctx.site(before["site"])
    item = await explanations.compare_batches(ctx, before, after, footprints.NOW)
    item["effects"] = sorted(item["effects"], key=lambda effect: -_size(effect))
    return _page(request, "compare.html", await _view(request, ctx, row), row, item=item)


@router.get("/batches/{batch:path}")
async def batch_page(request: Request, ctx: Ctx, batch: Name, site: SiteQuery = None) -> Response:
    """One batch and what it consists of."""
    found = await find_batch(ctx, batch, site)
    row = await ctx.site(found["site"])
    view = await _view(request, ctx, row)
    statements = await ctx.database.rows("statements_of_batch", site=row["site"], batch=batch)
    return _page(
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
    return _page(request, "shipment.html", view, row, shipment=detail, state=_state(view, row, None))


@router.get("/docs")
async def docs_page(request: Request) -> Response:
    """The routes of the api in words; schemas and examples are in /openapi.json."""
    view = View(choose_language(request), None, zone("UTC"))
    return _page(request, "docs.html", view, None, paths=request.app.openapi()["paths"])


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
        "issues": issue_texts(view.language),
        "live": live,
    }


def _page(request: Request, template: str, view: View, site: Row | None, **values: Any) -> Response:
    text = _templates().get_template(template).render(
        v=view,
        t=view.t,
        site=site,
        site_name=name_in(view.language, site["name"], site["site"]) if site else "",
        static=static_url,
        budget_bar=budget_bar,
        version=__version__,
        languages=[(code, LANGUAGE_NAMES[code], _here(request, lang=code)) for code in LANGUAGES],
        here=lambda **changes: _here(request, **changes),
        **values,
    )  # fmt: skip
    headers = {"Cache-Control": "no-store", "Vary": "Accept-Language, Cookie", "Content-Language": view.language}
    response = HTMLResponse(text, headers=headers)
    if request.query_params.get("lang") in LANGUAGES:
        response.set_cookie(COOKIE, view.language, max_age=YEAR_S, samesite="lax", httponly=True)
    return response


def _here(request: Request, **changes: str) -> str:
    """The same page with other query parameters, as a path on this origin."""
    url = request.url.include_query_params(**changes)
    return f"{url.path}?{url.query}"


def _problem_page(request: Request, problem: Problem) -> Response:
    language: Language = choose_language(request)
    view = View(language, None, zone("UTC"))
    response = _page(request, "problem.html", view, None, problem=problem)
    response.status_code = problem.status
    return response


@cache
def _templates() -> jinja2.Environment:
    return jinja2.Environment(
        loader=jinja2.PackageLoader("plantprint_api.pages", "templates"),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.ChainableUndefined,  # a field that a live row lacks is unknown, not an error
    )


@cache
def static_url(path: str) -> str:
    """The address of a static file, which changes with its content, so that no browser keeps an old one."""
    content = FOLDER.joinpath("static", path).read_bytes()
    return f"/static/{path}?v={hashlib.sha256(content).hexdigest()[:10]}"
