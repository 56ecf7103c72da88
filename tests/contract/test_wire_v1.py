"""The wire contract, version 1: golden bytes that every later release must still read, and what a reader refuses."""

import json
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plantprint.facts import Channel, ProductionEvent
from plantprint.material_events import reduce_materials
from plantprint.wire import chunk, messages, topics

GOLDEN = Path(__file__).parent / "golden_v1"
Reader = Callable[[bytes], Any]


def _golden(name: str) -> bytes:
    return (GOLDEN / name).read_bytes()


def test_a_readings_chunk_of_release_0_1_reads_back() -> None:
    header, body = chunk.unseal(_golden("readings.bin"))
    assert (header.site, header.agent, header.epoch, header.seq, header.kind) == (
        "dyehouse",
        "gw-1",
        "0123456789abcdef",
        7,
        "readings",
    )
    assert chunk.decode_rows(header, body) == [(0, 1_764_000_000_000, 123_456, 3), (1, 1_764_000_000_250, -17, 1)]
    assert chunk.properties(header) == [
        ("v", "1"), ("epoch", "0123456789abcdef"), ("seq", "7"), ("n", "2"), ("crc", str(zlib.crc32(body))),
    ]  # fmt: skip


def test_a_channel_table_of_release_0_1_reads_back() -> None:
    header, body = chunk.unseal(_golden("declare.bin"))
    assert chunk.decode_table(header, body) == [
        Channel("gw-1", "incomer/energy_active_import", "kWh", 2, "counter"),
        Channel("gw-1", "usage", "kWh", 2, "amount", 900),
    ]
    assert header.table == chunk.table_hash(body)


MATERIAL_KINDS = ("lot", "material_use", "output", "return", "scrap")


@pytest.mark.parametrize("name", ["ack", "state", "event", "activity", "alert", "certificate", *MATERIAL_KINDS])
def test_small_messages_of_release_0_1_read_back(name: str) -> None:
    raw = _golden(f"{name}.json")
    readers: dict[str, Reader] = {
        "ack": messages.decode_ack, "state": messages.decode_state, "event": messages.decode_event,
        **dict.fromkeys(("activity", "certificate", *MATERIAL_KINDS), messages.decode_event),
        "alert": lambda payload: messages.Alert(**json.loads(payload)),
    }  # fmt: skip
    assert json.loads(messages.encode(readers[name](raw))) == json.loads(raw)


@pytest.mark.parametrize("kind", MATERIAL_KINDS)
def test_golden_material_events_are_facts_without_a_complaint(kind: str) -> None:
    event = messages.to_event(messages.decode_event(_golden(f"{kind}.json")), "mes")
    order = ProductionEvent("mes", "B-12", 0, "order", 0, {"batch": "B-12", "quantity": 1200, "unit": "kg"})
    facts = reduce_materials([order, event], units={"B-12": "kg"})
    assert facts.reported == ()
    assert len([*facts.lots, *facts.uses, *facts.outputs, *facts.returns]) == 1


def test_any_flipped_bit_of_a_body_is_noticed() -> None:
    good = _golden("readings.bin")
    start = good.index(b"\n") + 1
    for position in range(start, len(good)):
        bad = bytearray(good)
        bad[position] ^= 1
        with pytest.raises(chunk.UnreadableEnvelopeError, match="CRC"):
            chunk.unseal(bytes(bad))


@given(st.binary(max_size=300))
def test_garbage_is_unreadable_and_never_another_error(garbage: bytes) -> None:
    with pytest.raises((chunk.UnreadableEnvelopeError, chunk.UnknownVersionError)):
        chunk.unseal(garbage)


def test_an_unknown_version_is_told_apart_from_corruption() -> None:
    payload = _golden("readings.bin").replace(b'"v":1', b'"v":4')
    with pytest.raises(chunk.UnknownVersionError, match="wire version 4"):
        chunk.unseal(payload)


def test_contradicting_user_properties_make_an_envelope_unreadable() -> None:
    with pytest.raises(chunk.UnreadableEnvelopeError, match="contradicts"):
        chunk.unseal(_golden("readings.bin"), [("seq", "8")])
    chunk.unseal(_golden("readings.bin"), [("seq", "7"), ("added-by-a-bridge", "x")])


def test_a_whole_envelope_with_a_wrong_body_is_a_bad_body() -> None:
    _, payload = chunk.seal("s", "a", "e", 1, "readings", b'[[0,"x",1,3]]', 1)
    header, body = chunk.unseal(payload)
    with pytest.raises(chunk.BadBodyError):
        chunk.decode_rows(header, body)
    _, payload = chunk.seal("s", "a", "e", 1, "readings", b"[[0,1,1,3]]", 2)
    header, body = chunk.unseal(payload)
    with pytest.raises(chunk.BadBodyError, match="1 rows where the header says 2"):
        chunk.decode_rows(header, body)


def test_an_oversized_chunk_is_refused_on_both_sides() -> None:
    with pytest.raises(ValueError, match="exceeds the limit"):
        chunk.seal("s", "a", "e", 1, "readings", b"x" * 70_000, 1)
    with pytest.raises(chunk.UnreadableEnvelopeError, match="exceed the limit"):
        chunk.unseal(b"x" * 70_000)


names = st.from_regex(r"\A[A-Za-z0-9_.-]{1,64}\Z")


@given(names, names, st.sampled_from(["live", "fill"]))
def test_up_topics_round_trip(site: str, agent: str, lane: topics.Lane) -> None:
    parsed = topics.parse_up(topics.up(site, agent, lane))
    assert (parsed.site, parsed.agent, parsed.lane) == (site, agent, lane)


@given(names, names)
def test_named_topics_round_trip(site: str, name: str) -> None:
    assert topics.parse_named(topics.state(site, name)) == (site, "state", name)
    assert topics.parse_named(topics.ack(site, name)) == (site, "ack", name)
    assert topics.parse_named(topics.production(site, name)) == (site, "production", name)
    assert topics.parse_named(topics.alert(site, name)) == (site, "alert", name)


@pytest.mark.parametrize(
    "topic",
    [
        "plantprint/v1/s/up/0/gw-1/live",
        "plantprint/v2/s/up/a/gw/live",
        "plantprint/v1/s/up/x/gw/other",
        "x",
        "plantprint/v1/s/up/+/#/live",
    ],
)
def test_foreign_topics_are_refused(topic: str) -> None:
    with pytest.raises(topics.TopicError):
        topics.parse_up(topic)


def test_event_without_id_gets_one_from_its_content_alone() -> None:
    one = messages.EventMessage(kind="job_end", at="2026-11-24T08:00:00Z", body={"job": "J1", "x": 1})
    two = messages.EventMessage(kind="job_end", at="2026-11-24T08:00:00Z", body={"x": 1, "job": "J1"})
    assert messages.to_event(one, "mes") == messages.to_event(two, "mes")
    with pytest.raises(messages.MessageError, match="its topic 'erp'"):
        messages.to_event(
            messages.EventMessage(kind="job_end", at="2026-11-24T08:00:00Z", body={}, source="mes"), "erp"
        )
    with pytest.raises(messages.MessageError, match="at:"):
        messages.to_event(messages.EventMessage(kind="job_end", at="yesterday", body={}), "mes")
