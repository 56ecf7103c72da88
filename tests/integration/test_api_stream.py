"""The event stream against a real database: fast, latest values only, and it finds its way back."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from typing import Any

import fixtures_api as f
import httpx
import orjson
import psycopg
import pytest

pytestmark = pytest.mark.integration

Event = tuple[str, str, dict[str, Any]]


@contextlib.asynccontextmanager
async def _events(client: httpx.AsyncClient, **query: str) -> AsyncIterator[AsyncIterator[Event]]:
    """(name, id, data) as they come; comments have the name ''."""
    async with client.stream("GET", "/v1/stream", params=query) as answer:
        assert answer.status_code == 200
        assert answer.headers["content-type"].startswith("text/event-stream")

        async def read() -> AsyncIterator[Event]:
            fields: dict[str, str] = {}
            async for line in answer.aiter_lines():
                if line.startswith(":"):
                    yield "", "", {}
                elif line:
                    name, _, value = line.partition(": ")
                    fields[name] = value
                elif "data" in fields:
                    yield fields["event"], fields["id"], orjson.loads(fields["data"])
                    fields = {}

        yield read()


async def _next(events: AsyncIterator[Event], kind: str, wait_s: float = 5) -> dict[str, Any]:
    async with asyncio.timeout(wait_s):
        async for name, _, data in events:
            if name == kind:
                return data
    raise AssertionError("the stream ended")


def _write(url: str, kind: str, name: str, body: dict[str, Any]) -> None:
    with psycopg.connect(url) as conn:
        f.write_live(conn, kind, name, body)


async def test_the_present_picture_comes_first_then_changes_within_a_fraction_of_a_second(database_url: str) -> None:
    f.seed(database_url)
    # The listener's regular look is an hour away, so what comes fast comes by NOTIFY.
    async with f.served(f.settings(database_url, live_reread_s=3600)) as client, _events(client) as events:
        picture = {(name, data["id"]) async for name, _, data in _until(events, 9)}
        assert picture >= {("plant", "dyehouse"), ("work_center", "line-3"), ("batch", "B-307"), ("trend", "dyehouse")}
        delays_s = []
        for wave in range(10):
            started_s = time.monotonic()
            await asyncio.to_thread(_write, database_url, "work_center", "line-1", f.line_body(1, wave=wave + 1.0))
            data = await _next(events, "work_center")
            delays_s.append(time.monotonic() - started_s)
            assert data["rate_kg_co2e_per_hour"] == f.line_body(1, wave=wave + 1.0)["rate_kg_co2e_per_hour"]
            assert data["site"] == "dyehouse"
        assert sorted(delays_s)[5] < 0.5


async def _until(events: AsyncIterator[Event], n: int) -> AsyncIterator[Event]:
    async with asyncio.timeout(5):
        for _ in range(n):
            yield await anext(events)


async def test_only_what_was_asked_for_comes(database_url: str) -> None:
    f.seed(database_url)
    async with f.served(f.settings(database_url)) as client, _events(client, kind="batch", id="B-204") as events:
        name, _, data = await anext(events)
        assert (name, data["id"]) == ("batch", "B-204")
        for batch in ("B-103", "B-204"):
            await asyncio.to_thread(_write, database_url, "batch", batch, f.batch_body(batch, 5000))
        assert (await _next(events, "batch"))["id"] == "B-204"


async def test_a_batch_that_ends_is_told(database_url: str) -> None:
    f.seed(database_url)
    async with f.served(f.settings(database_url)) as client, _events(client, kind="batch", id="B-204") as events:
        await anext(events)
        with psycopg.connect(database_url) as conn:
            conn.execute("delete from live where kind = 'batch' and id = 'B-204'")
        # No NOTIFY was sent: the regular look finds it.
        assert await _next(events, "batch") == {"site": "dyehouse", "id": "B-204", "ended": True}


async def test_alerts_are_told_when_they_fire_and_when_they_are_over(database_url: str) -> None:
    with psycopg.connect(database_url) as conn:
        f.insert_site(conn)
    async with f.served(f.settings(database_url)) as client, _events(client, kind="alert") as events:
        with psycopg.connect(database_url) as conn:
            conn.execute(
                "insert into alert (site, work_center, state, limit_kg_co2e_per_hour, rate_kg_co2e_per_hour,"
                " pending_at, firing_at) values ('dyehouse', 'line-2', 'firing', 100, 120.5, now(), now())"
            )
        assert (await _next(events, "alert"))["rate_kg_co2e_per_hour"] == "120.5"
        with psycopg.connect(database_url) as conn:
            conn.execute("update alert set state = 'resolved', resolved_at = now()")
        assert (await _next(events, "alert"))["state"] == "resolved"


async def test_a_client_that_does_not_read_gets_the_latest_and_no_backlog(database_url: str) -> None:
    f.seed(database_url)
    async with f.served(f.settings(database_url, live_interval_ms_min=0)) as client:
        async with _events(client, kind="trend") as events:
            await anext(events)
            # Much more than the sockets between us can hold.
            for step in range(150):
                body = f.trend_body(end_ms=f.NOW_MS + step * 10_000)
                await asyncio.to_thread(_write, database_url, "trend", "dyehouse", body)
            last_ms = body["at_ms"][-1]
            received = 0
            while (await _next(events, "trend"))["at_ms"][-1] != last_ms:
                received += 1
        assert received < 150


async def test_the_listener_comes_back_after_the_database_threw_it_out(database_url: str) -> None:
    f.seed(database_url)
    async with f.served(f.settings(database_url)) as client, _events(client, kind="work_center") as events:
        await anext(events)
        with psycopg.connect(database_url, autocommit=True) as conn:
            ended = conn.execute(
                "select pg_terminate_backend(pid) from pg_stat_activity"
                " where application_name = 'plantprint-api' and datname = current_database()"
            ).fetchall()
        assert ended
        await asyncio.to_thread(_write, database_url, "work_center", "line-2", f.line_body(2, wave=9.0))
        expected = f.line_body(2, wave=9.0)["rate_kg_co2e_per_hour"]
        async with asyncio.timeout(10):
            while (await _next(events, "work_center"))["rate_kg_co2e_per_hour"] != expected:
                pass
        assert (await client.get("/v1/batches")).status_code == 200


async def test_silence_is_filled_with_comments(database_url: str) -> None:
    async with f.served(f.settings(database_url, stream_heartbeat_s=0.1)) as client, _events(client) as events:
        assert [name async for name, _, _ in _until(events, 3)] == ["", "", ""]


async def test_too_many_streams_are_refused_and_the_place_is_free_again(database_url: str) -> None:
    async with f.served(f.settings(database_url, stream_clients_max=1)) as client:
        async with _events(client):
            refused = await client.get("/v1/stream")
            assert refused.status_code == 503
            assert refused.headers["retry-after"] == "10"
            assert "PLANTPRINT_STREAM_CLIENTS_MAX" in refused.json()["place"]
        async with asyncio.timeout(5):
            while True:
                async with client.stream("GET", "/v1/stream") as answer:
                    if answer.status_code == 200:
                        break
                await asyncio.sleep(0.02)


async def test_open_streams_end_at_once_when_the_service_does(database_url: str) -> None:
    f.seed(database_url)
    async with contextlib.AsyncExitStack() as outer:
        reading: list[asyncio.Task[int]] = []
        async with f.served(f.settings(database_url, http_shutdown_s=20)) as client:
            other = await outer.enter_async_context(httpx.AsyncClient(base_url=client.base_url, trust_env=False))
            for _ in range(3):
                events = await outer.enter_async_context(_events(other))
                await anext(events)
                reading.append(asyncio.create_task(_count(events)))
            started_s = time.monotonic()
        stopped_s = time.monotonic() - started_s
        await asyncio.gather(*reading)
    assert stopped_s < 3


async def _count(events: AsyncIterator[Event]) -> int:
    return len([event async for event in events])
