"""GET and POST /v1/shipments: batches that leave the site, and the statements that go with them."""

import asyncio
import time
from collections.abc import Sequence
from typing import Annotated, Any
from urllib.parse import quote

import orjson
from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, Response
from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from plantprint.facts import ProductionEvent
from plantprint.times import to_ms
from plantprint.wire.event_rules import REVISION_MAX
from plantprint_api import responses as r
from plantprint_api.context import Context, Ctx, Cursor, Limit, Name, SiteQuery, page, the_only
from plantprint_api.database import Row
from plantprint_api.events import store
from plantprint_api.problems import not_found, responses
from plantprint_api.routes.batches import find_batch
from plantprint_api.rows import decimal, decode_cursor, encode_cursor, instant, parse_time

router = APIRouter(prefix="/v1/shipments", tags=["shipments"])

POLL_S = 0.05
Text = Annotated[str, StringConstraints(min_length=1, max_length=200, pattern=r"^[^\x00]*$")]


class NewShipment(BaseModel):
    """A batch, or a quantity of it, that leaves the site."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [{"shipment": "S-7", "batch": "B-12", "quantity": "1200", "customer": "Hangzhou Garment"}]
        },
    )

    shipment: Text = Field(examples=["S-7"])
    batch: Text = Field(examples=["B-12"])
    quantity: r.DecimalText | None = Field(
        default=None, max_length=40, description="In the batch's unit; all of it if absent."
    )
    customer: Text | None = None
    at: Text | None = Field(default=None, description="When it left; the site's time now if absent.")
    source: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_.-]{1,64}$")] = "rest"
    event_id: Text | None = Field(default=None, description="Makes repeating safe; by default from shipment and batch.")
    revision: int = Field(default=0, ge=0, le=REVISION_MAX)


@router.get("", responses=responses())
async def list_shipments(
    ctx: Ctx, site: SiteQuery = None, limit: Limit = None, cursor: Cursor = None
) -> r.Page[r.Shipment]:
    """Shipments, the latest first, a row per batch; `pending` until the statement is issued."""
    n = ctx.limit(limit)
    at, cursor_site, shipment, batch = decode_cursor(cursor, 4)
    rows = await ctx.database.rows(
        "shipments",
        site=site,
        cursor_at=at,
        cursor_site=cursor_site,
        cursor_shipment=shipment,
        cursor_batch=batch,
        limit=n,
    )
    last = rows[-1] if rows else {}
    after = encode_cursor([last[name] for name in ("at", "site", "shipment", "batch")]) if rows else ""
    return r.Page[r.Shipment].model_validate(page([shipment_item(row) for row in rows], rows, n, after))


@router.get(
    "/{shipment:path}/statements/{batch:path}",
    response_class=Response,
    responses={
        **responses(404, 409),
        200: {"content": {"application/json": {"schema": {"type": "object"}}}, "description": "The exact bytes"},
    },
)
async def get_statement(ctx: Ctx, shipment: Name, batch: Name, site: SiteQuery = None) -> Response:
    """The statement byte for byte as it was issued; its SHA-256 is in the `ETag`."""
    rows = await ctx.database.rows("statement", shipment=shipment, batch=batch, site=site)
    if not rows:
        raise not_found("statement", f"{shipment}/{batch}", site=site, remedy="see GET /v1/shipments/{shipment}")
    row = the_only(rows, f"shipment {shipment!r}") if site is None else rows[0]
    return Response(row["body"], media_type="application/json", headers={"ETag": f'"{row["body_hash"]}"'})


@router.get("/{shipment:path}", responses=responses(404, 409))
async def get_shipment(ctx: Ctx, shipment: Name, site: SiteQuery = None) -> r.ShipmentDetail:
    """One shipment with the statement of each of its batches."""
    return r.ShipmentDetail.model_validate(shipment_detail(await find_shipment(ctx, shipment, site)))


@router.post(
    "",
    status_code=201,
    response_model=r.ShipmentDetail,
    responses={
        **responses(404, 409, 413, 415),
        202: {"model": r.ShipmentDetail, "description": "Stored; the statement is not issued yet, follow `Location`"},
    },
)
async def post_shipment(request: Request, ctx: Ctx, new: NewShipment, site: SiteQuery = None) -> Response:
    """Records a shipment and waits a moment for its statement.

    201 with the statement when it is issued in time, else 202; both with `Location`. Repeating is harmless.
    """
    row = await find_batch(ctx, new.batch, site)
    name = row["site"]
    event = ProductionEvent(
        source=new.source,
        event_id=new.event_id or f"shipment:{new.shipment}:{new.batch}"[:200],
        revision=new.revision,
        kind="shipment",
        at_ms=await _at_ms(ctx, new, name),
        body={field: value for field, value in new.model_dump(include=_BODY).items() if value is not None},
    )
    await store(ctx, name, [event])
    rows = await _wait_for_statement(ctx, new, name)
    detail = shipment_detail(rows)
    issued = any(line["batch"] == new.batch and line["statement"] for line in detail["lines"])
    location = f"{request.url.path}/{quote(new.shipment, safe='')}?site={quote(name)}"
    return JSONResponse(detail, 201 if issued else 202, {"Location": location, "Cache-Control": "no-store"})


_BODY = {"shipment", "batch", "quantity", "customer"}


async def _at_ms(ctx: Context, new: NewShipment, site: str) -> int:
    """As asked; else what the same shipment said before, so that repeating it is no conflict; else the site's now."""
    if new.at is not None:
        return to_ms(parse_time(new.at, place="body: at"))
    for line in await ctx.database.rows("shipment", shipment=new.shipment, site=site):
        if line["batch"] == new.batch and line["source"] == new.source:
            return to_ms(line["at"])
    return await ctx.site_now_ms(await ctx.site(site))


async def _wait_for_statement(ctx: Context, new: NewShipment, site: str) -> list[Row]:
    until_s = time.monotonic() + ctx.settings.http_shipment_wait_s
    while True:
        rows = await find_shipment(ctx, new.shipment, site)
        issued = any(row["batch"] == new.batch and row["body_hash"] for row in rows)
        if issued or time.monotonic() >= until_s or ctx.hub.closing.is_set():
            return rows
        await asyncio.sleep(POLL_S)


async def find_shipment(ctx: Context, shipment: str, site: str | None) -> list[Row]:
    """The lines of a shipment at its one site; raises a problem when there is none or a choice."""
    rows = await ctx.database.rows("shipment", shipment=shipment, site=site)
    if not rows:
        raise not_found("shipment", shipment, site=site, remedy="list the shipments with GET /v1/shipments")
    sites: dict[str, Row] = {row["site"]: row for row in rows}
    the_only(list(sites.values()), f"shipment {shipment!r}")
    return rows


def shipment_item(row: Row) -> dict[str, Any]:
    issued = row["body_hash"] is not None
    return {
        **{name: row[name] for name in ("site", "shipment", "batch", "customer")},
        "at": instant(row["at"]),
        "quantity": decimal(row["quantity"]),
        "status": "issued" if issued else "pending",
        "statement": {"body_hash": row["body_hash"], "issued_at": instant(row["issued_at"])} if issued else None,
    }


def shipment_detail(rows: Sequence[Row]) -> dict[str, Any]:
    lines = [
        {
            **shipment_item(row),
            "source": row["source"],
            "event_id": row["event_id"],
            "body": orjson.loads(row["statement"]) if row["statement"] else None,
        }
        for row in rows
    ]
    site, shipment = rows[0]["site"], rows[0]["shipment"]
    return {
        "site": site,
        "shipment": shipment,
        "status": "issued" if all(line["statement"] for line in lines) else "pending",
        "page": f"/shipments/{quote(shipment, safe='')}?site={quote(site)}",
        "lines": lines,
    }
