"""GET /v1/batches: production batches, running, finished and shipped, with their footprints."""

from collections.abc import Sequence
from typing import Annotated, Any, get_args

from fastapi import APIRouter, Query

from plantprint.gwp import GwpSet
from plantprint_api import responses as r
from plantprint_api.context import Context, Ctx, Cursor, Limit, Name, SiteQuery, choices, page, the_only
from plantprint_api.database import Row
from plantprint_api.footprint_responses import BatchFootprint
from plantprint_api.footprints import batch_footprint, batch_items
from plantprint_api.problems import not_found, responses
from plantprint_api.products import Asked
from plantprint_api.rows import decode_cursor, encode_cursor, instant, parse_time

router = APIRouter(prefix="/v1/batches", tags=["batches"])

GwpQuery = Annotated[
    GwpSet | None,
    Query(description="GWP set of the figures; without one factors count as published.", examples=["AR6"]),
]
KnownAt = Annotated[
    str | None,
    Query(
        max_length=40,
        description="Figures as they were known at this instant: postings, events and factors that came later are left out.",
        examples=["2026-11-24T08:00:00Z"],
    ),
]
StatusQuery = Annotated[
    list[str] | None,
    Query(
        description="planned, running, finished, shipped; several allowed; default all.",
        examples=[["finished", "shipped"]],
    ),
]
Named = Annotated[
    str | None,
    Query(max_length=200, description="Only batches whose id or product has this in it.", examples=["B-12"]),
]

NEVER = "0001-01-01T00:00:00+00:00"


@router.get("", responses=responses())
async def list_batches(
    ctx: Ctx,
    site: SiteQuery = None,
    status: StatusQuery = None,
    named: Named = None,
    limit: Limit = None,
    cursor: Cursor = None,
) -> r.Page[r.Batch]:
    """Batches, the latest start first; a running one shows what it has caused so far."""
    return r.Page[r.Batch].model_validate(await batches_of(ctx, site, status, named, ctx.limit(limit), cursor))


async def batches_of(
    ctx: Context,
    site: str | None,
    status: Sequence[str] | None,
    named: str | None,
    n: int,
    cursor: str | None,
    without: Sequence[str] = (),
) -> dict[str, Any]:
    """At most `n` batches as the api lists them, some left out, and the cursor of those after them."""
    at, cursor_site, batch = decode_cursor(cursor, 3)
    rows = await ctx.database.rows(
        "batches",
        site=site,
        statuses=choices(status, get_args(r.BatchStatus), place="query: status"),
        named=named or None,
        without=list(without),
        cursor_at="-infinity" if at == NEVER else at,
        cursor_site=cursor_site,
        cursor_batch=batch,
        limit=n,
    )
    last = rows[-1] if rows else {}
    after = encode_cursor([last["started_at"] or NEVER, last["site"], last["batch"]]) if rows else ""
    return page(await batch_items(ctx, rows), rows, n, after)


@router.get("/{batch:path}/footprint", responses=responses(404, 409))
async def get_batch_footprint(
    ctx: Ctx, batch: Name, site: SiteQuery = None, gwp: GwpQuery = None, known_at: KnownAt = None
) -> BatchFootprint:
    """The footprint of a batch: gate to gate by step, source, scope and quality, and as a product with all that went in.

    While the batch runs the gate-to-gate part is its live figure: settled hours and the open hour together.
    `product_footprint` follows lots and materials upstream: what came from the batch itself (`own`), and what came with
    them (`upstream`).
    """
    row = await find_batch(ctx, batch, site)
    return BatchFootprint.model_validate(await batch_footprint(ctx, row, asked(gwp, known_at)))


@router.get("/{batch:path}", responses=responses(404, 409))
async def get_batch(ctx: Ctx, batch: Name, site: SiteQuery = None) -> r.BatchDetail:
    """One batch, its live picture while it runs, and its statements."""
    row = await find_batch(ctx, batch, site)
    statements = await ctx.database.rows("statements_of_batch", site=row["site"], batch=batch)
    (item,) = await batch_items(ctx, [row])
    links = [{**s, "issued_at": instant(s["issued_at"])} for s in statements]
    return r.BatchDetail.model_validate({**item, "live": row["live"], "statements": links})


def asked(gwp: GwpSet | None, known_at: str | None) -> Asked:
    """How the figures are wanted; raises a problem for a time that is none."""
    return Asked(gwp, None if known_at is None else parse_time(known_at, place="query: known_at"))


async def find_batch(ctx: Context, batch: str, site: str | None) -> Row:
    rows = await ctx.database.rows("batch", batch=batch, site=site)
    if not rows:
        raise not_found("batch", batch, site=site, remedy="list the batches with GET /v1/batches")
    return the_only(rows, f"batch {batch!r}")
