"""What a message is, whatever bytes it has: the border at which nothing may raise."""

import numpy as np
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from plantprint.facts import Channel
from plantprint.wire import chunk as wire
from plantprint.wire import topics
from plantprint_collector import inbox
from plantprint_collector.inbox import Chunk, Event, Fault, Foreign, Ignored, Message, Rows, State, Table, Unreadable

UP = topics.up("s", "gw", "live")
SOME_TOPICS = [
    UP,
    topics.state("s", "gw"),
    topics.production("s", "mes"),
    "plantprint/v1/s/up/x/gw/live",
    "a/up/b",
    "x",
]


def seal(kind: wire.ChunkKind, body: bytes, n: int = 1, **more: object) -> bytes:
    values = {"epoch": "e", "seq": 0} | more
    return wire.seal("s", "gw", kind=kind, body=body, n=n, **values)[1]  # type: ignore[arg-type]


def read(payload: bytes, topic: str = UP, *properties: tuple[str, str]) -> inbox.Item:
    return inbox.read(Message(topic, payload, properties))


@given(st.sampled_from(SOME_TOPICS), st.binary(max_size=200))
def test_no_bytes_raise(topic: str, payload: bytes) -> None:
    read(payload, topic)


@given(st.binary(max_size=60), st.sampled_from(["readings", "declare", "events", "gap"]))
def test_no_body_in_an_intact_envelope_raises(body: bytes, kind: wire.ChunkKind) -> None:
    assert isinstance(read(seal(kind, body)), Chunk)


def test_rows() -> None:
    item = read(seal("readings", b"[[0,1,2,3],[1,2,3,3]]", 2))
    assert isinstance(item, Chunk)
    assert isinstance(item.content, Rows)
    assert item.content.array.tolist() == [[0, 1, 2, 3], [1, 2, 3, 3]]
    assert inbox.row_count(item) == 2


def test_numbers_beyond_64_bits_are_kept_apart() -> None:
    found = inbox.to_rows([(0, 1, 2, 3), (0, 1, 2**63, 3), (2**64, 0, 0, 0)])
    assert found.array.tolist() == [[0, 1, 2, 3]]
    assert found.array.dtype == np.int64
    assert found.oversize == ((0, 1, 2**63, 3), (2**64, 0, 0, 0))


def test_tables() -> None:
    body = wire.encode_table([Channel("gw", "a", "kWh", 1, "counter")])
    good = read(seal("declare", body, table=wire.table_hash(body)))
    assert isinstance(good, Chunk)
    assert good.content == Table(wire.table_hash(body), (Channel("gw", "a", "kWh", 1, "counter"),))
    wrong = read(seal("declare", body, table="0" * 16))
    assert isinstance(wrong, Chunk)
    assert isinstance(wrong.content, Fault)
    many = wire.encode_table([Channel("gw", f"c{n}", "kWh", 1, "counter") for n in range(401)])
    crowd = read(seal("declare", many, 401))
    assert isinstance(crowd, Chunk)
    assert isinstance(crowd.content, Fault)


@pytest.mark.parametrize(
    "payload",
    [
        b"", b"x", b"{}\n", seal("readings", b"[]", 0)[:-1], seal("readings", b"[]", 0, epoch="a b"),
        seal("readings", b"[]", 0, seq=-1), wire.seal("other", "gw", "e", 0, "readings", b"[]", 0)[1],
        wire.seal("s", "gw2", "e", 0, "readings", b"[]", 0)[1], b"x" * 70_000,
    ],
)  # fmt: skip
def test_envelopes_that_cannot_be_trusted(payload: bytes) -> None:
    assert isinstance(read(payload), Unreadable)


def test_properties_must_agree_where_they_are_there() -> None:
    assert isinstance(read(seal("readings", b"[]", 0), UP, ("seq", "0"), ("bridge", "yes")), Chunk)
    assert isinstance(read(seal("readings", b"[]", 0), UP, ("seq", "1")), Unreadable)


def test_an_agent_in_a_foreign_slot_is_not_trusted() -> None:
    slot = topics.slot_of("gw")
    other = next(s for s in topics.SLOTS if s != slot)
    assert isinstance(read(seal("readings", b"[]", 0), UP.replace(f"/up/{slot}/", f"/up/{other}/")), Unreadable)


def test_foreign_versions() -> None:
    item = read(b'{"v":7,"new":"shape"}\nbody')
    assert isinstance(item, Foreign)
    assert (item.site, item.agent) == ("s", "gw")


def test_states_and_events_belong_to_the_slot_of_their_sender() -> None:
    payload = b'{"agent":"gw","epoch":"e","online":true,"at_ms":1}'
    assert isinstance(read(payload, topics.state("s", "gw")), State)
    assert read(payload, topics.state("s", "gw2")) == Ignored("the state of 'gw' on the topic of 'gw2'")
    assert read(b"", topics.state("s", "gw")) == Ignored()
    others = topics.SLOTS.replace(topics.slot_of("mes"), "")
    message = Message(topics.production("s", "mes"), b"{}")
    assert inbox.read(message, others) == Ignored()
    event = inbox.read(message)
    assert isinstance(event, Event)
    assert event.event is None


@pytest.mark.parametrize("gap", [(5, 4, 1, 1), (-1, 4, 1, 1), (0, 10**15, 1, 1), (0, 1, -1, 1), (0, 1, 1, 2**70)])
def test_impossible_gaps(gap: tuple[int, int, int, int]) -> None:
    body = b'{"from_ms":%d,"to_ms":%d,"lost_chunks":%d,"lost_rows":%d,"reason":"r"}' % gap
    item = read(seal("gap", body))
    assert isinstance(item, Chunk)
    assert isinstance(item.content, Fault)


START = {
    "kind": "job_start",
    "at": "2026-11-24T15:00:00Z",
    "event_id": "a",
    "body": {"job": "J", "batch": "B", "work_unit": "w"},
}


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"body": {}}, "a job_start event needs text in body.job"),
        ({"body": {"job": "J", "batch": 5, "work_unit": "w"}}, "body.batch"),
        ({"body": {"job": "J", "batch": "B" * 201, "work_unit": "w"}}, "body.batch"),
        ({"v": 9}, "v 9 is not known"),
    ],
)
def test_an_event_that_http_refuses_is_refused_here_too(change: dict[str, object], reason: str) -> None:
    topic = topics.production("s", "mes")
    good = read(orjson.dumps(START), topic)
    assert isinstance(good, Event)
    assert good.event is not None
    bad = read(orjson.dumps(START | change), topic)
    assert isinstance(bad, Event)
    assert bad.event is None
    assert reason in bad.reason
