"""GET /v1/alerts and /v1/issues: what is over budget, and what is wrong in the facts."""

from typing import Annotated, get_args

from fastapi import APIRouter, Query

from plantprint_api import responses as r
from plantprint_api.context import Ctx, Cursor, Limit, SiteQuery, choices, page
from plantprint_api.problems import responses
from plantprint_api.rows import alert_json, decode_cursor, encode_cursor, instant

router = APIRouter(prefix="/v1", tags=["alerts and issues"])


@router.get("/alerts", responses=responses())
async def list_alerts(
    ctx: Ctx,
    site: SiteQuery = None,
    state: Annotated[list[str] | None, Query(description="pending, firing, resolved; several allowed.")] = None,
    limit: Limit = None,
    cursor: Cursor = None,
) -> r.Page[r.AlertInfo]:
    """Budget alerts, the newest first."""
    n = ctx.limit(limit)
    at, alert_id = decode_cursor(cursor, 2)
    rows = await ctx.database.rows(
        "alerts",
        site=site,
        states=choices(state, get_args(r.AlertState), place="query: state"),
        cursor_at=at,
        cursor_id=alert_id,
        limit=n,
    )
    after = encode_cursor([rows[-1]["pending_at"], rows[-1]["id"]]) if rows else ""
    return r.Page[r.AlertInfo].model_validate(page([alert_json(row) for row in rows], rows, n, after))


@router.get("/issues", responses=responses())
async def list_issues(
    ctx: Ctx,
    site: SiteQuery = None,
    *,
    is_open: Annotated[bool | None, Query(alias="open", description="Only open, or only closed ones.")] = None,
    limit: Limit = None,
    cursor: Cursor = None,
) -> r.Page[r.IssueInfo]:
    """Problems in the recorded facts, each with its remedy, the latest first."""
    n = ctx.limit(limit)
    at, cursor_site, code, place = decode_cursor(cursor, 4)
    rows = await ctx.database.rows(
        "issues",
        site=site,
        open=is_open,
        cursor_at=at,
        cursor_site=cursor_site,
        cursor_code=code,
        cursor_place=place,
        limit=n,
    )
    last = rows[-1] if rows else {}
    after = encode_cursor([last[name] for name in ("at", "site", "code", "place")]) if rows else ""
    items = [{**row, **{name: instant(row[name]) for name in ("at", "first_seen_at", "last_seen_at")}} for row in rows]
    return r.Page[r.IssueInfo].model_validate(page(items, rows, n, after))
