"""GET /v1/stream: live figures and alerts as server-sent events."""

from typing import Annotated

from fastapi import APIRouter, Query
from starlette.responses import Response

from plantprint_api.context import Ctx, SiteQuery, choices
from plantprint_api.live import KINDS, selection
from plantprint_api.problems import MEDIA_TYPE, responses
from plantprint_api.stream import EventStream

router = APIRouter(prefix="/v1", tags=["live"])

_EXAMPLE = """retry: 2000

event: work_center
id: 1f0c9a2b-17
data: {"site":"dyehouse","id":"line-1","at":"2026-11-24T08:00:00.250Z","rate_kg_co2e_per_hour":"41.2","status":"live"}

"""


@router.get(
    "/stream",
    response_class=Response,
    responses={
        **responses(),
        200: {
            "description": "Server-sent events",
            "content": {"text/event-stream": {"schema": {"type": "string"}, "example": _EXAMPLE}},
        },
        503: {
            "description": "Too many streams, or the service is ending",
            "content": {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}},
        },
    },
)
async def stream(
    ctx: Ctx,
    site: SiteQuery = None,
    kind: Annotated[
        list[str] | None, Query(description="plant, work_center, batch, trend, alert; several allowed; default all.")
    ] = None,
    name: Annotated[
        list[str] | None, Query(alias="id", max_length=50, description="Only these ids, such as one batch.")
    ] = None,
) -> Response:
    """Live figures: first the present picture, then every change, always the latest value and never a backlog.

    Each event's name is its kind; its data is the body of the live row with `site` and `id` (an alert as in
    `/v1/alerts`), or `{"site", "id", "ended": true}` when the row is gone. `id` tells the service's epoch and
    revision; after a reconnect the present picture comes again, so nothing has to be replayed. A comment every 15 s
    keeps proxies awake.
    """
    kinds = choices(kind, KINDS, place="query: kind")
    wants = selection({site} if site else set(), set(kinds or ()), set(name or ()))
    client = ctx.hub.subscribe(wants)
    settings = ctx.settings
    return EventStream(
        ctx.hub, client, heartbeat_s=settings.stream_heartbeat_s, send_timeout_s=settings.stream_send_timeout_s
    )
