"""Health, readiness and metrics, and how the api lives without its database."""

import asyncio
import os
import signal
import sys
import time
from typing import Any

import fixtures_api as f
import httpx
import psycopg
import pytest
from tcp_proxy import before_database, through

from plantprint_api.database import connect
from plantprint_cli.embedded.ports import find_free_port

pytestmark = pytest.mark.integration

SERVE = """
import sys
from plantprint_api.app import serve
from plantprint_api.config import ApiSettings
sys.exit(serve(ApiSettings()))
"""


async def _ready(client: httpx.AsyncClient, wanted: int, wait_s: float = 10) -> dict[str, Any]:
    """The readiness answer once it has the wanted status."""
    until_s = time.monotonic() + wait_s
    while True:
        answer = await client.get("/readyz")
        if answer.status_code == wanted or time.monotonic() > until_s:
            assert answer.status_code == wanted, answer.text
            body: dict[str, Any] = answer.json()
            return body
        await asyncio.sleep(0.05)


async def test_ready_with_database_schema_and_a_live_accountant(database_url: str) -> None:
    f.seed(database_url)
    async with f.served(f.settings(database_url, accountant_stale_s=0.6)) as client:
        body = await _ready(client, 200)
        assert all(check["ok"] for check in body["checks"].values())
        stale = await _ready(client, 503)
        assert not stale["checks"]["accountant"]["ok"]
        assert "dyehouse" in stale["checks"]["accountant"]["detail"]
        with psycopg.connect(database_url) as conn:
            f.write_live(conn, "plant", "dyehouse", f.plant_body(wave=1.0))
        await _ready(client, 200)


async def test_not_ready_before_the_accountant(database_url: str) -> None:
    async with f.served(f.settings(database_url)) as client:
        body = await _ready(client, 503)
        assert body["checks"]["database"]["ok"]
        assert "no live picture" in body["checks"]["accountant"]["detail"]


async def test_not_ready_before_the_migrations(empty_database_url: str) -> None:
    async with f.served(f.settings(empty_database_url)) as client:
        body = await _ready(client, 503)
        assert "plantprint migrate" in body["checks"]["schema"]["detail"]
        answer = await client.get("/v1/batches")
        assert answer.status_code == 503
        assert "plantprint migrate" in answer.json()["remedy"]


async def test_an_older_schema_is_said(database_url: str) -> None:
    with psycopg.connect(database_url) as conn:
        conn.execute("delete from schema_migration where number > 5")
    async with f.served(f.settings(database_url)) as client:
        assert "version 5" in (await _ready(client, 503))["checks"]["schema"]["detail"]


async def test_without_a_database_it_is_up_and_says_what_is_wrong() -> None:
    port = find_free_port(set())
    config = f.settings(f"postgresql://x:topsecret@127.0.0.1:{port}/x", http_connection_wait_s=0.3)
    async with f.served(config) as client:
        assert (await client.get("/healthz")).json()["status"] == "up"
        assert not (await _ready(client, 503))["checks"]["database"]["ok"]
        answer = await client.get("/v1/batches")
        assert answer.status_code == 503
        assert answer.headers["retry-after"] == "2"
        assert answer.headers["content-type"] == "application/problem+json"
        page = await client.get("/")
        assert page.status_code == 503
        assert "text/html" in page.headers["content-type"]
        metrics = (await client.get("/metrics")).text
        assert "topsecret" not in answer.text + page.text + metrics
        errors = next(line for line in metrics.splitlines() if line.startswith("plantprint_api_live_errors_total"))
        assert float(errors.split()[1]) >= 1


async def test_a_query_over_its_time_is_cut_off(database_url: str) -> None:
    f.seed(database_url)
    async with f.served(f.settings(database_url, http_statement_timeout_ms=150)) as client:
        with psycopg.connect(database_url) as conn:
            conn.execute("lock table batch in access exclusive mode")
            answer = await client.get("/v1/batches")
        assert answer.status_code == 503
        assert "longer than its limit" in answer.json()["detail"]
        assert (await client.get("/v1/batches")).status_code == 200


async def test_a_database_that_hangs_is_told_in_time_and_served_again_when_it_goes_on(database_url: str) -> None:
    """As when its process is stopped: connections stay, nothing answers; also to a statement that is under way."""
    f.seed(database_url)
    with before_database(database_url) as proxy, psycopg.connect(database_url) as lock:
        limits = {"http_statement_timeout_ms": 300, "http_statement_grace_s": 0.3, "http_connection_wait_s": 0.3}
        async with f.served(f.settings(through(proxy, database_url), accountant_stale_s=0.6, **limits)) as client:
            await _ready(client, 503)  # the live picture is read once, and has become old
            lock.execute("lock table batch in access exclusive mode")
            under_way = asyncio.create_task(client.get("/v1/batches", timeout=20))
            await asyncio.sleep(0.1)
            proxy.hang()
            body = {"job": "j", "batch": "b", "work_unit": "l1-dye"}
            event = {"event_id": "e", "kind": "job_start", "at": "2026-11-24T08:00:00Z", "body": body}
            posted = client.post("/v1/production-events", json=event, params={"site": "dyehouse"}, timeout=20)
            for answer in (await under_way, await client.get("/v1/batches", timeout=20), await posted):
                assert answer.status_code == 503, answer.text
                assert answer.json()["detail"] == "the database does not answer"
                assert "/readyz" in answer.json()["remedy"]
            assert (await client.get("/healthz")).status_code == 200
            assert not (await _ready(client, 503))["checks"]["database"]["ok"]
            lock.rollback()
            proxy.go_on()
            with psycopg.connect(database_url) as conn:
                f.write_live(conn, "plant", "dyehouse", f.plant_body(wave=1.0))
            await _ready(client, 200)  # the listener is back too
            assert (await client.get("/v1/batches")).status_code == 200


async def test_reading_connections_cannot_write(database_url: str) -> None:
    async with await connect(f.settings(database_url)) as connection:
        with pytest.raises(psycopg.errors.ReadOnlySqlTransaction):
            await connection.execute("insert into site (site) values ('x')")


async def test_requests_are_counted_by_route_and_not_by_address(database_url: str) -> None:
    f.seed(database_url)
    async with f.served(f.settings(database_url)) as client:
        for batch in ("B-100", "B-101"):
            await client.get(f"/v1/batches/{batch}")
        await client.request("BREW", "/v1/batches")
        text = (await client.get("/metrics")).text
    assert 'route="/v1/batches/{batch:path}"' in text
    assert "B-100" not in text
    assert "BREW" not in text


async def test_serve_runs_until_the_signal_and_ends_with_zero(database_url: str) -> None:
    f.seed(database_url)
    port = find_free_port(set())
    env = {**os.environ, "PLANTPRINT_DATABASE_URL": database_url, "PLANTPRINT_HTTP_PORT": str(port)}
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", SERVE, env=env, stdout=asyncio.subprocess.PIPE)
    try:
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", trust_env=False) as client:
            async with asyncio.timeout(20):
                while True:
                    try:
                        await client.get("/healthz")
                        break
                    except httpx.TransportError:
                        await asyncio.sleep(0.05)
            async with client.stream("GET", "/v1/stream") as answer:
                lines = answer.aiter_lines()
                await anext(lines)
                process.send_signal(signal.SIGTERM)
                started_s = time.monotonic()
                async for _ in lines:
                    pass
        assert await asyncio.wait_for(process.wait(), 10) == 0
        assert time.monotonic() - started_s < 5
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
