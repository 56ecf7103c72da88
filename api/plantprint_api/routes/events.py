"""POST /v1/production-events: what an MES or ERP reports."""

from typing import Annotated, Any, get_args

from fastapi import APIRouter, Header, Query, Request

from plantprint.facts import EventKind
from plantprint_api import responses as r
from plantprint_api.context import Ctx, SiteQuery
from plantprint_api.events import parse, store
from plantprint_api.problems import responses

router = APIRouter(prefix="/v1", tags=["production events"])

EVENT_SCHEMA: dict[str, Any] = {
    "type": "object",
    "required": ["kind", "at", "body"],
    "properties": {
        "kind": {"type": "string", "enum": list(get_args(EventKind))},
        "at": {"type": "string", "format": "date-time", "description": "When it happened, with an offset."},
        "source": {
            "type": "string",
            "pattern": "^[A-Za-z0-9_.-]{1,64}$",
            "description": "Who reports; the identity of an event is (source, event_id).",
        },
        "event_id": {
            "type": "string",
            "maxLength": 200,
            "description": "Unique within the source; without it the event's content identifies it.",
        },
        "revision": {"type": "integer", "minimum": 0, "maximum": 2147483647, "description": "The highest counts."},
        "body": {
            "type": "object",
            "additionalProperties": {"type": ["string", "integer", "number", "null"]},
            "description": (
                "order {batch, product, quantity, unit}; job_start {job, batch, work_unit, step, weight}; "
                "job_end {job}; "
                "state {work_unit, state}; shipment {shipment, batch, quantity?, customer?}; withdraw {event_id}; "
                "activity {source, amount, unit, from, to, work_unit | pool}; "
                "lot {lot, kind?: purchased | opening | return, quantity, unit?, material?, supplier?, pcf_kg_co2e?, "
                "pcf_reference?, primary_share?, pcf_fossil_kg_co2e?, pcf_biogenic_kg_co2e?, pcf_land_use_kg_co2e?, "
                "pcf_uptake_kg_co2?, technological_dqr?, geographical_dqr?, temporal_dqr?}; "
                "material_use {batch, lot | material, quantity, unit?, step?}; "
                "return {batch, lot | material, quantity, unit?}; "
                "output {batch, kind?: good | rework | co-product, quantity, unit?, as_lot?, unit_price?, priced_on?, "
                "physical?, displaced_kg_co2e?}; "
                "scrap {batch, quantity, unit?, as_lot?, unit_price?, priced_on?, physical?}; "
                "certificate {contract, amount, unit?, from, to}"
            ),
        },
    },
}
EXAMPLE = [
    {
        "kind": "job_start",
        "at": "2026-11-24T08:00:00Z",
        "source": "mes",
        "event_id": "J-12-start",
        "body": {"job": "J-12", "batch": "B-12", "work_unit": "l1-dye", "step": "dyeing", "weight": 1},
    }
]
REQUEST_BODY = {
    "required": True,
    "content": {
        "application/json": {
            "schema": {"oneOf": [EVENT_SCHEMA, {"type": "array", "items": EVENT_SCHEMA}]},
            "example": EXAMPLE,
        }
    },
}


@router.post("/production-events", responses=responses(404, 409, 413, 415), openapi_extra={"requestBody": REQUEST_BODY})
async def post_production_events(
    request: Request,
    ctx: Ctx,
    site: SiteQuery = None,
    source: Annotated[
        str, Query(max_length=64, description="Source of events that name none themselves.", examples=["mes"])
    ] = "rest",
    idempotency_key: Annotated[
        str,
        Header(
            max_length=150,
            description="Events without event_id get one from it and their place in the request, so that repeating the "
            "request stores nothing twice and another body under the same key is a conflict.",
        ),
    ] = "",
) -> r.Confirmations:
    """One event or an array of them; answered after the commit, all stored or none.

    Sending an event again is harmless: its identity is (source, event_id, revision), and the confirmation then says
    `known`. Order does not matter; a job's end may come before its start.
    """
    events = parse(await request.body(), source, ctx.settings.http_events_max, idempotency_key)
    row = await ctx.site(site)
    confirmations = await store(ctx, row["site"], events)
    return r.Confirmations.model_validate({"site": row["site"], "confirmations": confirmations})
