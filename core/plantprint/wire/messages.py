"""The small messages beside chunks: acknowledgements, agent state, production events and alerts."""

import hashlib
from typing import Any, Literal

import msgspec
import orjson

from plantprint.facts import EventKind, ProductionEvent
from plantprint.times import format_instant, parse_instant
from plantprint.wire import VERSION


class MessageError(ValueError):
    """A message that does not say what its topic promises."""


class Ack(msgspec.Struct, frozen=True, kw_only=True):
    """What a committed transaction of `store` holds: per epoch the received ranges of seq, both ends included."""

    v: int = VERSION
    store: str
    revision: int
    received: dict[str, list[tuple[int, int]]]


class AgentState(msgspec.Struct, frozen=True, kw_only=True):
    """Retained state of an agent; the last will says online=false."""

    v: int = VERSION
    agent: str
    epoch: str
    online: bool
    at_ms: int
    outbox_chunks: int = 0
    oldest_ms: int | None = None


class EventMessage(msgspec.Struct, frozen=True, kw_only=True):
    """A production event as it crosses MQTT, REST or an agent's outbox; without an id its canonical body is hashed."""

    kind: EventKind
    at: str
    body: dict[str, str | int | float | None]
    source: str = ""
    event_id: str = ""
    revision: int = 0
    v: int = VERSION


class EventAck(msgspec.Struct, frozen=True, kw_only=True):
    event_id: str
    revision: int
    status: Literal["stored", "known", "rejected"]
    message: str = ""
    v: int = VERSION


class Alert(msgspec.Struct, frozen=True, kw_only=True):
    """A budget alert; retained, so a late subscriber sees the present state."""

    alert_id: str
    site: str
    work_center: str
    state: Literal["firing", "resolved"]
    rate_kg_co2e_per_hour: str
    limit_kg_co2e_per_hour: str
    at: str
    v: int = VERSION


_ack_decoder = msgspec.json.Decoder(Ack)
_state_decoder = msgspec.json.Decoder(AgentState)
_event_decoder = msgspec.json.Decoder(EventMessage)
_events_decoder = msgspec.json.Decoder(list[EventMessage])


def encode(message: msgspec.Struct) -> bytes:
    return msgspec.json.encode(message)


def encode_many(messages: list[EventMessage]) -> bytes:
    return msgspec.json.encode(messages)


def _decode(decoder: msgspec.json.Decoder[Any], payload: bytes, what: str) -> Any:
    try:
        return decoder.decode(payload)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise MessageError(f"{what}: {error}") from error


def decode_ack(payload: bytes) -> Ack:
    ack: Ack = _decode(_ack_decoder, payload, "ack")
    return ack


def decode_state(payload: bytes) -> AgentState:
    state: AgentState = _decode(_state_decoder, payload, "state")
    return state


def decode_event(payload: bytes) -> EventMessage:
    event: EventMessage = _decode(_event_decoder, payload, "production event")
    return event


def decode_events(payload: bytes) -> list[EventMessage]:
    events: list[EventMessage] = _decode(_events_decoder, payload, "production events")
    return events


def to_event(message: EventMessage, source: str) -> ProductionEvent:
    """The fact behind a message; raises `MessageError` on a time without offset or a source other than the topic's."""
    if message.source and message.source != source:
        raise MessageError(f"the message says source {message.source!r}, its topic {source!r}")
    try:
        at_ms = parse_instant(message.at)
    except ValueError as error:
        raise MessageError(f"at: {error}") from error
    if message.revision < 0:
        raise MessageError("revision must not be negative")
    event_id = message.event_id or _body_hash(message)
    return ProductionEvent(source, event_id, message.revision, message.kind, at_ms, message.body)


def from_event(event: ProductionEvent) -> EventMessage:
    return EventMessage(
        kind=event.kind, at=format_instant(event.at_ms), body=event.body,
        source=event.source, event_id=event.event_id, revision=event.revision,
    )  # fmt: skip


def _body_hash(message: EventMessage) -> str:
    canonical = orjson.dumps([message.kind, message.at, message.body], option=orjson.OPT_SORT_KEYS)
    return hashlib.sha256(canonical).hexdigest()[:32]
