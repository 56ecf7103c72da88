"""What a received MQTT message is: a chunk, a state, a production event, or something that cannot be used.

Nothing here asks the database, so that all of it happens before a transaction begins.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain

import numpy as np
from numpy.typing import NDArray

from plantprint.facts import Channel, ProductionEvent
from plantprint.wire import TABLE_CHANNELS_MAX, topics
from plantprint.wire.chunk import (
    BadBodyError,
    ChunkHeader,
    Gap,
    Row,
    UnknownVersionError,
    UnreadableEnvelopeError,
    decode_gap,
    decode_rows,
    decode_table,
    table_hash,
    unseal,
)
from plantprint.wire.event_rules import FACT_MS_MAX, FACT_MS_MIN, accept
from plantprint.wire.messages import (
    AgentState,
    MessageError,
    decode_event,
    decode_events,
    decode_state,
)
from plantprint.wire.row_arrays import compact_rows

_INT64 = range(-(2**63), 2**63)


@dataclass(frozen=True, slots=True)
class Message:
    """A message as it came; `session` and `mid` say how to acknowledge it (mid 0: QoS 0, nothing to acknowledge)."""

    topic: str
    payload: bytes
    properties: tuple[tuple[str, str], ...] = ()
    mid: int = 0
    session: int = 0


@dataclass(frozen=True, slots=True)
class Rows:
    """Readings of a chunk as int64 [channel index, t_ms, value, quality], shape (n, 4); `oversize` fit no integer."""

    array: NDArray[np.int64]
    oversize: tuple[Row, ...] = ()


@dataclass(frozen=True, slots=True)
class Table:
    hash: str
    channels: tuple[Channel, ...]


@dataclass(frozen=True, slots=True)
class Events:
    """Production events of a chunk, and what is wrong with the ones that cannot be used."""

    events: tuple[ProductionEvent, ...]
    faults: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Fault:
    """The body is not what its kind promises."""

    reason: str


@dataclass(frozen=True, slots=True)
class Chunk:
    """An intact envelope with its decoded body; `payload` are the bytes as they came."""

    topic: str
    payload: bytes
    header: ChunkHeader
    content: Rows | Table | Events | Gap | Fault

    @property
    def epoch_key(self) -> tuple[str, str, str]:
        return (self.header.site, self.header.agent, self.header.epoch)


@dataclass(frozen=True, slots=True)
class Unreadable:
    """Bytes that cannot be trusted: kept for a look, never acknowledged to the agent, who sends them again."""

    topic: str
    payload: bytes
    reason: str


@dataclass(frozen=True, slots=True)
class Foreign:
    """A chunk of a wire version that this program does not speak: an alarm, and its agent keeps it."""

    site: str
    agent: str
    reason: str


@dataclass(frozen=True, slots=True)
class State:
    site: str
    state: AgentState


@dataclass(frozen=True, slots=True)
class Event:
    """A production event sent bare; `event` is None where the message is unusable."""

    topic: str
    payload: bytes
    site: str
    source: str
    event_id: str
    revision: int
    event: ProductionEvent | None
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Ignored:
    """Nothing to store; `reason` is empty where that is as it should be."""

    reason: str = ""


Item = Chunk | Unreadable | Foreign | State | Event | Ignored


def read(message: Message, slots: str = topics.SLOTS) -> Item:
    """Never raises for what a sender may have done wrong. States and bare events of other slots are ignored."""
    if "/up/" in message.topic:
        return _read_chunk(message)
    try:
        site, kind, name = topics.parse_named(message.topic)
    except topics.TopicError as error:
        return Ignored(str(error))
    if topics.slot_of(name) not in slots:
        return Ignored()
    if kind == "production":
        return _read_event(message, site, name)
    return _read_state(message, site, name)


def row_count(item: Item) -> int:
    """Size of an item as counted towards `commit_rows_max`."""
    return max(1, item.header.n) if isinstance(item, Chunk) else 1


def _read_chunk(message: Message) -> Item:
    try:
        topic = topics.parse_up(message.topic)
        header, body = unseal(message.payload, message.properties)
        topics.check_name(header.epoch)
    except UnknownVersionError as error:
        return Foreign(topic.site, topic.agent, str(error))
    except (UnreadableEnvelopeError, topics.TopicError) as error:
        return Unreadable(message.topic, message.payload, str(error))
    if (header.site, header.agent) != (topic.site, topic.agent):
        reason = f"it names {header.site}/{header.agent}, its topic {topic.site}/{topic.agent}"
        return Unreadable(message.topic, message.payload, reason)
    try:
        return Chunk(message.topic, message.payload, header, _content(header, body))
    except (BadBodyError, MessageError) as error:
        return Chunk(message.topic, message.payload, header, Fault(str(error)))


def _content(header: ChunkHeader, body: bytes) -> Rows | Table | Events | Gap:
    match header.kind:
        case "readings":
            array = compact_rows(header, body)
            return to_rows(decode_rows(header, body)) if array is None else Rows(array)
        case "declare":
            return _table(header, body)
        case "events":
            return _events(header, body)
        case "gap":
            gap = decode_gap(body)
            if not FACT_MS_MIN <= gap.from_ms <= gap.to_ms < FACT_MS_MAX or not (
                0 <= gap.lost_chunks < 2**62 and 0 <= gap.lost_rows < 2**62
            ):
                raise BadBodyError("gap: its times or counts are impossible")
            return gap


def to_rows(rows: Sequence[Row]) -> Rows:
    try:
        flat = np.fromiter(chain.from_iterable(rows), np.int64, 4 * len(rows))
    except OverflowError:
        fitting = [row for row in rows if all(number in _INT64 for number in row)]
        oversize = tuple(row for row in rows if not all(number in _INT64 for number in row))
        return Rows(np.array(fitting, np.int64).reshape(-1, 4), oversize)
    return Rows(flat.reshape(-1, 4))


def _table(header: ChunkHeader, body: bytes) -> Table:
    channels = decode_table(header, body)
    if len(channels) > TABLE_CHANNELS_MAX:
        raise BadBodyError(f"channel table: {len(channels)} channels, at most {TABLE_CHANNELS_MAX} are allowed")
    if header.table not in ("", table_hash(body)):
        raise BadBodyError("channel table: it does not have the hash that its header says")
    return Table(table_hash(body), tuple(channels))


def _events(header: ChunkHeader, body: bytes) -> Events:
    messages = decode_events(body)
    if len(messages) != header.n:
        raise BadBodyError(f"{len(messages)} events where the header says {header.n}")
    events: list[ProductionEvent] = []
    faults: list[str] = []
    for number, message in enumerate(messages):
        try:
            events.append(accept(message, message.source or header.agent))
        except MessageError as error:
            faults.append(f"event {number}: {error}")
    return Events(tuple(events), tuple(faults))


def _read_event(message: Message, site: str, source: str) -> Event:
    event_id, revision = "", 0
    try:
        decoded = decode_event(message.payload)
        event_id, revision = decoded.event_id, decoded.revision
        event = accept(decoded, source)
    except MessageError as error:
        return Event(message.topic, message.payload, site, source, event_id, revision, None, str(error))
    return Event(message.topic, message.payload, site, source, event.event_id, event.revision, event)


def _read_state(message: Message, site: str, agent: str) -> State | Ignored:
    if not message.payload:
        return Ignored()  # the retained state was taken away
    try:
        state = decode_state(message.payload)
    except MessageError as error:
        return Ignored(str(error))
    if state.agent != agent:
        return Ignored(f"the state of {state.agent!r} on the topic of {agent!r}")
    return State(site, state)
