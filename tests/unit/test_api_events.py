"""Production events on their way in: what is taken, and what is refused where."""

from typing import Any, get_args

import orjson
import pytest

from plantprint.facts import EventKind
from plantprint.wire.event_rules import REQUIRED
from plantprint_api.events import parse
from plantprint_api.problems import ProblemError

START: dict[str, Any] = {
    "kind": "job_start",
    "at": "2026-11-24T08:00:00Z",
    "body": {"job": "J-1", "batch": "B-1", "work_unit": "l1-dye", "step": "dyeing", "weight": 1},
}


def _parse(value: Any, events_max: int = 10) -> Any:
    return parse(value if isinstance(value, bytes) else orjson.dumps(value), "rest", events_max)


def test_one_event_or_an_array() -> None:
    assert len(_parse(START)) == 1
    assert len(_parse([START, START])) == 2
    assert _parse([]) == []


def test_source_and_identity_have_defaults_that_follow_the_content() -> None:
    first, again, other = _parse([START, START, START | {"at": "2026-11-24T08:00:01Z"}])
    assert first.source == "rest"
    assert first == again
    assert first.event_id != other.event_id
    assert _parse(START | {"source": "mes", "event_id": "7", "revision": 2})[0].event_id == "7"


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"kind": "tea_break"}, "kind"),
        ({"at": "2026-11-24T08:00:00"}, "offset"),
        ({"at": "1969-12-31T23:59:59Z"}, "year"),
        ({"source": "a/b"}, "a/b"),
        ({"revision": -1}, "revision"),
        ({"revision": 2**31}, "revision"),
        ({"v": 9}, "v 9 is not known"),
        ({"event_id": "x" * 201}, "event_id"),
        ({"body": {"job": "J-1", "batch": "B-1"}}, "work_unit"),
        ({"body": START["body"] | {"batch": 7}}, "batch"),
        ({"body": START["body"] | {"batch": ""}}, "batch"),
        ({"body": START["body"] | {"batch": ["B"]}}, "body"),
    ],
)
def test_a_bad_event_names_its_place_and_nothing_of_the_request_counts(change: dict[str, Any], word: str) -> None:
    with pytest.raises(ProblemError) as caught:
        _parse([START, START | change])
    problem = caught.value.problem
    assert problem.status == 422
    assert word in problem.detail
    assert "[1]" in problem.detail or "event 1" in problem.place


@pytest.mark.parametrize("body", [b"", b"x", b"{", b"[1]", b"null", b"\xff\xfe"])
def test_what_is_no_json_event_is_a_problem(body: bytes) -> None:
    with pytest.raises(ProblemError) as caught:
        _parse(body)
    assert caught.value.problem.status == 422


def test_too_many_events_name_the_setting() -> None:
    with pytest.raises(ProblemError) as caught:
        _parse([START] * 11)
    assert caught.value.problem.status == 413
    assert "PLANTPRINT_HTTP_EVENTS_MAX" in caught.value.problem.place


def test_every_kind_of_event_has_its_required_fields() -> None:
    assert set(REQUIRED) == set(get_args(EventKind))


def test_an_idempotency_key_names_events_that_have_no_id_of_their_own() -> None:
    named = dict(START, event_id="own")
    unnamed = {name: value for name, value in START.items() if name != "event_id"}
    body = orjson.dumps([unnamed, named, unnamed | {"at": "2026-11-24T09:00:00Z"}])
    assert [event.event_id for event in parse(body, "rest", 9, "key-1")] == ["key-1.0", "own", "key-1.2"]
    assert parse(body, "rest", 9)[0].event_id not in ("", "key-1.0")
