"""The live hub without a database: latest values, one slot per key, limits, the end."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson
import pytest
from fixtures_api import settings

from plantprint_api import metrics
from plantprint_api.live import LiveHub, selection
from plantprint_api.problems import ProblemError
from plantprint_api.stream import EventStream

AT = datetime(2026, 11, 24, tzinfo=UTC)
EVERYTHING = selection(set(), set(), set())


def _hub(**changes: Any) -> LiveHub:
    return LiveHub(settings("postgresql:///nowhere", **changes))


def _row(name: str, value: int | None, second: int = 0, kind: str = "work_center", site: str = "s") -> dict[str, Any]:
    body = None if value is None else f'{{"rate": {value}}}'
    return {"site": site, "kind": kind, "id": name, "updated_at": AT + timedelta(seconds=second), "body": body}


def _alert(state: str) -> dict[str, Any]:
    return {
        "site": "s",
        "id": "a1",
        "work_center": "line-1",
        "state": state,
        "limit_kg_co2e_per_hour": 5,
        "rate_kg_co2e_per_hour": 6,
        "pending_at": AT,
        "firing_at": AT,
        "resolved_at": None,
    }


def _events(stream: bytes) -> list[tuple[str, dict[str, Any]]]:
    found = []
    for frame in stream.decode().split("\n\n"):
        lines = dict(line.split(": ", 1) for line in frame.splitlines() if ": " in line and not line.startswith(":"))
        if "data" in lines:
            found.append((lines["event"], orjson.loads(lines["data"])))
    return found


def test_a_newcomer_gets_the_present_picture_and_then_changes() -> None:
    hub = _hub()
    hub._take_live([_row("line-1", 1), _row("line-2", 2)])
    client = hub.subscribe(EVERYTHING)
    assert [(kind, body["id"], body["rate"]) for kind, body in _events(client.take())] == [
        ("work_center", "line-1", 1),
        ("work_center", "line-2", 2),
    ]
    hub._take_live([_row("line-1", 3, second=1), _row("line-2", None)])
    assert _events(client.take()) == [("work_center", {"site": "s", "id": "line-1", "rate": 3})]
    assert client.take() == b""


def test_a_client_that_does_not_read_holds_one_frame_per_key() -> None:
    hub = _hub()
    client = hub.subscribe(EVERYTHING)
    before = metrics.STREAM_OVERWRITTEN._value.get()
    for value in range(1000):
        hub._take_live([_row("line-1", value, second=value)])
    assert len(client.pending) == 1
    assert _events(client.take()) == [("work_center", {"site": "s", "id": "line-1", "rate": 999})]
    assert metrics.STREAM_OVERWRITTEN._value.get() - before == 999


def test_a_row_that_is_gone_ends_for_those_who_saw_it_and_newcomers_never_hear_of_it() -> None:
    hub = _hub()
    hub._take_live([_row("B-1", 1, kind="batch")])
    client = hub.subscribe(EVERYTHING)
    client.take()
    hub._take_live([])
    assert _events(client.take()) == [("batch", {"site": "s", "id": "B-1", "ended": True})]
    assert hub.subscribe(EVERYTHING).take() == b""


def test_an_alert_is_told_once_per_change_and_forgotten_when_resolved() -> None:
    hub = _hub()
    client = hub.subscribe(EVERYTHING)
    for state in ("firing", "firing", "resolved"):
        hub._take_alerts([_alert(state)])
        told = _events(client.take())
        assert [body["state"] for _, body in told] == ([] if state == "firing" and told == [] else [state])
    assert hub.subscribe(EVERYTHING).take() == b""


def test_an_empty_body_stays_an_object() -> None:
    hub = _hub()
    hub._take_live([_row("x", 1) | {"body": "{}"}])
    assert _events(hub.subscribe(EVERYTHING).take()) == [("work_center", {"site": "s", "id": "x"})]


@pytest.mark.parametrize(
    ("sites", "kinds", "ids", "wanted"),
    [
        (set(), set(), set(), True),
        ({"s"}, {"batch"}, {"B-1"}, True),
        ({"t"}, set(), set(), False),
        (set(), {"plant"}, set(), False),
        (set(), set(), {"B-2"}, False),
    ],
)
def test_a_client_gets_what_it_asked_for(sites: set[str], kinds: set[str], ids: set[str], wanted: bool) -> None:
    assert selection(sites, kinds, ids)(("s", "batch", "B-1")) is wanted


def test_too_many_clients_are_refused_with_the_setting_to_change() -> None:
    hub = _hub(stream_clients_max=1)
    first = hub.subscribe(EVERYTHING)
    with pytest.raises(ProblemError) as caught:
        hub.subscribe(EVERYTHING)
    assert caught.value.problem.status == 503
    assert "PLANTPRINT_STREAM_CLIENTS_MAX" in caught.value.problem.place
    hub.unsubscribe(first)
    hub.subscribe(EVERYTHING)


def test_the_pulse_is_the_plant_rows() -> None:
    hub = _hub()
    assert hub.plant_ages_s() == {}
    hub._take_live([_row("s", 1, kind="plant"), _row("t", 1, kind="plant", site="t")])
    assert set(hub.plant_ages_s()) == {"s", "t"}
    hub._take_live([_row("s", None, kind="plant")])
    assert set(hub.plant_ages_s()) == {"s"}


async def _serve(hub: LiveHub, send: Any, receive: Any, **changes: float) -> None:
    waits = {"heartbeat_s": 0.05, "send_timeout_s": 5.0} | changes
    await EventStream(hub, hub.subscribe(EVERYTHING), **waits)({"type": "http"}, receive, send)


async def _forever() -> dict[str, Any]:
    await asyncio.Event().wait()
    raise AssertionError


async def test_a_silent_stream_sends_comments_and_ends_with_the_hub() -> None:
    hub = _hub()
    sent: list[bytes] = []

    async def send(message: Any) -> None:
        sent.append(message.get("body", b""))
        if len(sent) == 4:
            hub.close()

    await asyncio.wait_for(_serve(hub, send, _forever), 2)
    assert sent[1] == b"retry: 2000\n\n"
    assert sent[2].startswith(b":")
    assert hub._clients == set()
    with pytest.raises(ProblemError):
        hub.subscribe(EVERYTHING)


async def test_a_client_that_reads_nothing_is_dropped_and_counted() -> None:
    hub = _hub()
    before = metrics.STREAM_DROPPED._value.get()

    async def send(message: Any) -> None:
        if message["type"] == "http.response.body":
            await asyncio.Event().wait()

    await asyncio.wait_for(_serve(hub, send, _forever, send_timeout_s=0.05), 2)
    assert metrics.STREAM_DROPPED._value.get() - before == 1
    assert hub._clients == set()


async def test_a_client_that_leaves_is_forgotten_at_once() -> None:
    hub = _hub()

    async def send(message: Any) -> None:
        del message

    async def receive() -> dict[str, Any]:
        return {"type": "http.disconnect"}

    await asyncio.wait_for(_serve(hub, send, receive, heartbeat_s=60), 2)
    assert hub._clients == set()


async def test_a_bug_in_sending_is_not_hidden() -> None:
    hub = _hub()

    async def send(message: Any) -> None:
        raise RuntimeError(message["type"])

    with pytest.raises(RuntimeError, match=r"http\.response\.start"):
        await asyncio.wait_for(_serve(hub, send, _forever), 2)
    assert hub._clients == set()
