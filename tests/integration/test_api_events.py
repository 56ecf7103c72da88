"""Production events and shipments over HTTP: stored once, whole or not at all, answered after the commit."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import fixtures_api as f
import httpx
import psycopg
import pytest

from plantprint.times import format_instant

pytestmark = pytest.mark.integration

START = {
    "kind": "job_start",
    "at": "2026-11-24T08:00:00Z",
    "source": "mes",
    "event_id": "J-1",
    "body": {"job": "J-1", "batch": "B-1", "work_unit": "l1-dye", "step": "dyeing", "weight": 1},
}
STATE = {"kind": "state", "at": "2026-11-24T08:01:00+08:00", "body": {"work_unit": "l1-dye", "state": "idle"}}
SHIPMENT = {"shipment": "S-200", "batch": "B-102", "quantity": "600.5", "customer": "Nordlys"}


@pytest.fixture
async def client(database_url: str) -> AsyncIterator[httpx.AsyncClient]:
    f.seed(database_url)
    async with f.served(f.settings(database_url)) as opened:
        yield opened


def _stored(url: str, source: str) -> list[tuple[Any, ...]]:
    with psycopg.connect(url) as conn:
        return conn.execute(
            "select event_id, revision, kind, body from production_event where source = %s order by 1, 2", (source,)
        ).fetchall()


async def _post(client: httpx.AsyncClient, body: Any, **query: str) -> httpx.Response:
    return await client.post("/v1/production-events", json=body, params=query)


async def test_events_are_stored_confirmed_and_known_again(client: httpx.AsyncClient, database_url: str) -> None:
    first = await _post(client, [START, STATE], source="erp")
    assert first.status_code == 200
    assert [c["status"] for c in first.json()["confirmations"]] == ["stored", "stored"]
    again = await _post(client, [STATE, START], source="erp")
    assert [c["status"] for c in again.json()["confirmations"]] == ["known", "known"]
    assert {c["event_id"] for c in first.json()["confirmations"]} == {
        c["event_id"] for c in again.json()["confirmations"]
    }
    assert [row[0] for row in _stored(database_url, "erp")] == [first.json()["confirmations"][1]["event_id"]]
    single = await _post(client, START)
    assert [c["status"] for c in single.json()["confirmations"]] == ["known"]


async def test_an_event_wakes_the_accountant(client: httpx.AsyncClient, database_url: str) -> None:
    async with await psycopg.AsyncConnection.connect(database_url, autocommit=True) as conn:
        await conn.execute("delete from dirty")
        await conn.execute("listen plantprint_event")
        await _post(client, START | {"event_id": "J-wake"})
        notices = [n async for n in conn.notifies(timeout=2, stop_after=1)]
        marks = await (await conn.execute("select site, cause from dirty")).fetchall()
    assert [n.payload for n in notices] == ["dyehouse"]
    assert marks == [("dyehouse", "event job_start")]


async def test_another_content_under_a_known_identity_is_refused_with_the_whole_request(
    client: httpx.AsyncClient, database_url: str
) -> None:
    await _post(client, START)
    changed = START | {"at": "2026-11-24T08:00:05Z"}
    answer = await _post(client, [START | {"event_id": "J-new"}, changed])
    assert answer.status_code == 409
    assert "higher revision" in answer.json()["remedy"]
    assert "J-new" not in [row[0] for row in _stored(database_url, "mes")]
    corrected = await _post(client, changed | {"revision": 1})
    assert [c["status"] for c in corrected.json()["confirmations"]] == ["stored"]


async def test_one_bad_event_stores_none(client: httpx.AsyncClient, database_url: str) -> None:
    answer = await _post(
        client, [START | {"event_id": "J-good"}, {"kind": "job_end", "at": "2026-11-24T08:00:00Z", "body": {}}]
    )
    assert answer.status_code == 422
    assert answer.json()["place"] == "body: event 1: body.job"
    assert "J-good" not in [row[0] for row in _stored(database_url, "mes")]


async def test_many_senders_of_one_event_store_it_once(client: httpx.AsyncClient, database_url: str) -> None:
    answers = await asyncio.gather(*(_post(client, START | {"event_id": "J-race"}) for _ in range(12)))
    statuses = [a.json()["confirmations"][0]["status"] for a in answers]
    assert sorted(statuses) == ["known"] * 11 + ["stored"]
    assert [row[0] for row in _stored(database_url, "mes")].count("J-race") == 1


async def test_what_the_database_cannot_hold_is_the_senders_problem(client: httpx.AsyncClient) -> None:
    answer = await _post(client, START | {"event_id": "nul\x00"})
    assert answer.status_code == 422
    assert "NUL" in answer.json()["remedy"]


async def test_a_body_over_the_limit_is_refused(client: httpx.AsyncClient, database_url: str) -> None:
    del client
    async with f.served(f.settings(database_url, http_body_bytes_max=500)) as other:
        assert (await _post(other, [START] * 5)).status_code == 413


async def test_a_foreign_site_is_no_site(client: httpx.AsyncClient) -> None:
    assert (await _post(client, START, site="nope")).status_code == 404


async def test_a_shipment_without_statement_yet_is_accepted_with_a_link(
    client: httpx.AsyncClient, database_url: str
) -> None:
    answer = await client.post("/v1/shipments", json=SHIPMENT)
    assert answer.status_code == 202
    link = answer.headers["location"]
    assert link == "/v1/shipments/S-200?site=dyehouse"
    detail = (await client.get(link)).json()
    assert detail == answer.json()
    assert detail["status"] == "pending"
    (line,) = detail["lines"]
    assert (line["quantity"], line["customer"], line["at"]) == ("600.5", "Nordlys", format_instant(f.NOW_MS))
    assert _stored(database_url, "rest") == [("shipment:S-200:B-102", 0, "shipment", SHIPMENT)]


async def test_a_shipment_waits_for_its_statement(client: httpx.AsyncClient, database_url: str) -> None:
    del client
    async with f.served(f.settings(database_url, http_shipment_wait_s=5)) as waiting:
        asked = asyncio.create_task(waiting.post("/v1/shipments", json=SHIPMENT))
        await asyncio.sleep(0.3)
        assert not asked.done()
        with psycopg.connect(database_url) as conn:
            f.issue_statement(conn, "S-200", "B-102", f.NOW_MS)
        answer = await asyncio.wait_for(asked, 2)
        assert answer.status_code == 201
        assert answer.json()["lines"][0]["body"]["batch"]["id"] == "B-102"
        assert (await waiting.post("/v1/shipments", json=SHIPMENT)).status_code == 201
    assert len(_stored(database_url, "rest")) == 1


async def test_repeating_a_shipment_is_harmless_and_changing_it_is_a_conflict(
    client: httpx.AsyncClient, database_url: str
) -> None:
    for _ in range(2):
        assert (await client.post("/v1/shipments", json=SHIPMENT)).status_code == 202
    changed = await client.post("/v1/shipments", json=SHIPMENT | {"quantity": "601"})
    assert changed.status_code == 409
    revised = await client.post("/v1/shipments", json=SHIPMENT | {"quantity": "601", "revision": 1})
    assert revised.json()["lines"][0]["quantity"] == "601"
    assert [(row[1], row[3]["quantity"]) for row in _stored(database_url, "rest")] == [(0, "600.5"), (1, "601")]


@pytest.mark.parametrize(
    ("change", "status"),
    [
        ({"batch": "nope"}, 404),
        ({"quantity": "many"}, 422),
        ({"quantity": 600}, 422),
        ({"at": "yesterday"}, 422),
        ({"surprise": 1}, 422),
        ({"shipment": ""}, 422),
        ({"source": "a/b"}, 422),
    ],
)
async def test_a_bad_shipment_is_refused(client: httpx.AsyncClient, change: dict[str, Any], status: int) -> None:
    answer = await client.post("/v1/shipments", json=SHIPMENT | change)
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["place"]
