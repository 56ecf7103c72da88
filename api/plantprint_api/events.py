"""Production events on their way in: checked, then stored in one transaction, each confirmed."""

from collections.abc import Sequence
from typing import Any

from msgspec import structs
from psycopg import AsyncConnection
from psycopg.types.json import Jsonb

from plantprint.facts import ProductionEvent
from plantprint.times import format_instant, from_ms
from plantprint.wire.event_rules import RefusedEventError, accept
from plantprint.wire.messages import EventMessage, MessageError, decode_event, decode_events
from plantprint_api import database, metrics
from plantprint_api.context import Context
from plantprint_api.database import Row
from plantprint_api.problems import ProblemError, invalid


def parse(body: bytes, default_source: str, events_max: int, key: str = "") -> list[ProductionEvent]:
    """The events of a request, one object or an array; raises a problem that names the first bad one.

    With an idempotency `key` an event without an id gets one of the key and its place in the request.
    """
    try:
        messages = decode_events(body) if body.lstrip()[:1] == b"[" else [decode_event(body)]
    except MessageError as error:
        raise invalid(str(error), place="body", remedy="see the request's schema in /openapi.json") from error
    if len(messages) > events_max:
        raise ProblemError(
            413, "Too large", f"{len(messages)} events in one request, the limit is {events_max}",
            place="body; setting: PLANTPRINT_HTTP_EVENTS_MAX",
            remedy="send them in several requests; repeating is harmless",
        )  # fmt: skip
    named = [
        structs.replace(message, event_id=f"{key}.{index}") if key and not message.event_id else message
        for index, message in enumerate(messages)
    ]
    return [_event(message, index, default_source) for index, message in enumerate(named)]


def _event(message: EventMessage, index: int, default_source: str) -> ProductionEvent:
    place, remedy = f"body: event {index}", "correct it and send the request again"
    try:
        return accept(message, message.source or default_source)
    except RefusedEventError as error:
        place = f"{place}: body.{error.field}" if error.field else place
        raise invalid(str(error), place=place, remedy=error.remedy or remedy) from error
    except MessageError as error:
        raise invalid(str(error), place=place, remedy=remedy) from error


async def store(ctx: Context, site: str, events: Sequence[ProductionEvent]) -> list[dict[str, Any]]:
    """Stores all events or none and returns their confirmations after the commit.

    An event that is there already, equal in everything, is `known`; one that says something else under the same
    identity and revision raises a problem, and then nothing of the request is stored.
    """
    async with ctx.database.writing() as connection:
        statuses = [await _store_one(connection, site, event) for event in events]
    for status in statuses:
        metrics.EVENTS.labels(status).inc()
    return [
        {"source": event.source, "event_id": event.event_id, "revision": event.revision, "status": status}
        for event, status in zip(events, statuses, strict=True)
    ]


async def _store_one(connection: AsyncConnection[Row], site: str, event: ProductionEvent) -> str:
    identity = {"site": site, "source": event.source, "event_id": event.event_id, "revision": event.revision}
    at = from_ms(event.at_ms)
    inserted = await database.rows(
        connection, "insert_event", **identity, kind=event.kind, at=at, body=Jsonb(dict(event.body))
    )
    if inserted:
        return "stored"
    (known,) = await database.rows(connection, "known_event", **identity)
    if (known["kind"], known["at"], known["body"]) == (event.kind, at, dict(event.body)):
        return "known"
    metrics.EVENTS.labels("conflict").inc()
    raise ProblemError(
        409,
        "Conflict",
        f"event {event.event_id!r} revision {event.revision} of {event.source!r} is stored with another content "
        f"({known['kind']} at {format_instant(event.at_ms)}); nothing of this request was stored",
        place=f"event: {event.source}/{event.event_id}",
        remedy="a correction has the same event_id and a higher revision",
    )
