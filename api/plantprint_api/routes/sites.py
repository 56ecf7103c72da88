"""GET /v1/sites, /v1/work-centers and /v1/quality: the places and how they are now."""

from typing import Any

from fastapi import APIRouter

from plantprint.plant import Plant
from plantprint.plant import model as plant_model
from plantprint_api import responses as r
from plantprint_api.context import Ctx, Cursor, Limit, Name, SiteQuery, page, the_only
from plantprint_api.database import Row
from plantprint_api.problems import not_found, responses
from plantprint_api.rows import decimal

router = APIRouter(prefix="/v1", tags=["places"])

UNKNOWN = {"rate_kg_co2e_per_hour": None, "status": "missing", "data_age_s": None}


@router.get("/sites", responses=responses())
async def list_sites(ctx: Ctx, limit: Limit = None, cursor: Cursor = None) -> r.Page[r.Site]:
    """The sites whose data this service holds."""
    n = ctx.limit(limit)
    rows = await ctx.database.rows("sites", after=cursor or "", limit=n)
    return r.Page[r.Site].model_validate(page([_site(row) for row in rows], rows, n, rows[-1]["site"] if rows else ""))


@router.get("/sites/{site}", responses=responses(404))
async def get_site(ctx: Ctx, site: Name) -> r.SiteDetail:
    """One site: its steps, sources and lines by the plant model in force, and its live picture."""
    row = await ctx.site(site)
    found = await ctx.plant(row)
    live = await ctx.database.find("live_one", kind="plant", id=site, site=site)
    version, plant = found or (None, None)
    return r.SiteDetail.model_validate(
        {
            **_site(row),
            "model_version": version,
            "timezone": plant.site.timezone if plant else "UTC",
            "geography": plant.site.geography if plant else "GLO",
            "steps": [{"id": s.id, "name": _text(s.name)} for s in plant.steps] if plant else [],
            "sources": [_source(s) for s in plant.sources] if plant else [],
            "work_centers": [w.id for w in plant.work_centers] if plant else [],
            "live": live["body"] if live else None,
        }
    )


@router.get("/work-centers", responses=responses(404, 409))
async def list_work_centers(
    ctx: Ctx, site: SiteQuery = None, limit: Limit = None, cursor: Cursor = None
) -> r.Page[r.WorkCenter]:
    """The lines of a site with their present rates."""
    row = await ctx.site(site)
    found = await ctx.plant(row)
    items = await work_centers(ctx, row, found[1]) if found else []
    start = next((i + 1 for i, item in enumerate(items) if item["id"] == cursor), 0)
    end = start + ctx.limit(limit)
    after = items[end - 1]["id"] if end < len(items) else None
    return r.Page[r.WorkCenter].model_validate({"items": items[start:end], "next_cursor": after})


@router.get("/work-centers/{work_center}/live", responses=responses(404, 409))
async def get_work_center_live(ctx: Ctx, work_center: Name, site: SiteQuery = None) -> r.LiveWorkCenter:
    """The live picture of one line."""
    rows = await ctx.database.rows("live_one", kind="work_center", id=work_center, site=site)
    if not rows:
        raise not_found(
            "work_center",
            work_center,
            site=site,
            remedy="see GET /v1/work-centers; a line without data has no picture yet",
        )
    row = the_only(rows, f"work center {work_center!r}")
    return {"site": row["site"], "id": work_center, **row["body"]}


@router.get("/quality", responses=responses(404, 409))
async def get_quality(ctx: Ctx, site: SiteQuery = None) -> r.QualityInfo:
    """What share of the present picture is measured, and what was refused, doubled or lost so far."""
    row = await ctx.site(site)
    name = row["site"]
    refused = await ctx.database.find("refused", site=name)
    live = await ctx.database.find("live_one", kind="plant", id=name, site=name)
    body: dict[str, Any] = live["body"] if live else {}
    meters = body.get("meters") or {}
    return r.QualityInfo.model_validate(
        {
            "site": name,
            "at": body.get("at"),
            "quality": body.get("quality") or {},
            "meters_total": meters.get("total"),
            "meters_missing": meters.get("missing_ids") or [],
            **(refused or {}),
        }
    )


async def work_centers(ctx: Ctx, site: Row, plant: Plant) -> list[dict[str, Any]]:
    """Lines of the model in its order, each with what is known of its present rate."""
    live = {
        row["id"]: row["body"]
        for row in await ctx.database.rows("live_of_site", site=site["site"], kinds=["work_center"])
    }
    return [
        {
            "site": site["site"],
            "id": center.id,
            "name": _text(center.name),
            "area": center.area,
            "budget_kg_co2e_per_hour": decimal(center.budget.kg_co2e_per_hour) if center.budget else None,
            "work_units": [{"id": u.id, "name": _text(u.name), "step": u.step} for u in center.work_units],
            **{field: live.get(center.id, UNKNOWN).get(field) for field in UNKNOWN},
        }
        for center in plant.work_centers
    ]


def _site(row: Row) -> dict[str, Any]:
    clock = row["clock"]
    return {
        "site": row["site"],
        "name": {"en": row["name"].get("en") or row["site"], "zh": row["name"].get("zh", "")},
        "clock": {"kind": clock.get("kind", "wall"), "speed": clock.get("speed", 1)},
        "has_plant_model": row["has_plant_model"],
    }


def _source(source: plant_model.Source) -> dict[str, Any]:
    return {
        "id": source.id,
        "name": _text(source.name),
        "unit": source.unit,
        "kind": source.kind,
        "factor": source.factor,
        "scope": source.scope,
    }


def _text(text: plant_model.Text) -> dict[str, str]:
    return {"en": text.en, "zh": text.zh}
