"""GET /v1/alerts and /v1/issues: what is over budget, and what is wrong in the facts."""

from typing import Annotated, Any, Literal, get_args

from fastapi import APIRouter, Query

from plantprint_api import responses as r
from plantprint_api.context import Context, Ctx, Cursor, Limit, SiteQuery, choices, page
from plantprint_api.problems import responses
from plantprint_api.rows import alert_json, decode_cursor, encode_cursor, instant

router = APIRouter(prefix="/v1", tags=["alerts and issues"])

PLACES_SHOWN = 5
OpenQuery = Annotated[bool | None, Query(alias="open", description="Only open, or only closed ones.")]
CodeQuery = Annotated[
    str | None, Query(max_length=64, description="Only issues of this code.", examples=["batch-incomplete"])
]
GroupedBy = Literal["code", "place"]


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
    is_open: OpenQuery = None,
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


@router.get("/issue-groups", responses=responses())
async def list_issue_groups(
    ctx: Ctx,
    site: SiteQuery = None,
    *,
    is_open: OpenQuery = None,
    code: CodeQuery = None,
    by: Annotated[GroupedBy, Query(description="A line per code and place, or per code alone.")] = "place",
    limit: Limit = None,
    cursor: Cursor = None,
) -> r.Page[r.IssueGroup]:
    """Issues for people: those of a kind as one line with first, last and number; the latest first."""
    found = await issue_groups(ctx, site, is_open=is_open, code=code, by=by, n=ctx.limit(limit), cursor=cursor)
    return r.Page[r.IssueGroup].model_validate(found)


async def issue_groups(
    ctx: Context,
    site: str | None,
    *,
    is_open: bool | None,
    by: GroupedBy,
    n: int,
    code: str | None = None,
    cursor: str | None = None,
) -> dict[str, Any]:
    """At most `n` groups as the api lists them, and the cursor of those after them."""
    at, cursor_site, cursor_code, place = decode_cursor(cursor, 4)
    rows = await ctx.database.rows(
        "issue_groups",
        site=site,
        open=is_open,
        code=code,
        by_place=by == "place",
        places=PLACES_SHOWN,
        cursor_at=at,
        cursor_site=cursor_site,
        cursor_code=cursor_code,
        cursor_place=place,
        limit=n,
    )
    last = rows[-1] if rows else {}
    after = encode_cursor([last[name] for name in ("last_at", "site", "code", "group_place")]) if rows else ""
    items = [{**row, **{name: instant(row[name]) for name in ("first_at", "last_at")}} for row in rows]
    return page(items, rows, n, after)
