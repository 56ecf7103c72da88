"""Starting and refusing to start, bodies over the limit, errors without secrets; none of it needs a database."""

import socket
from typing import Any

import httpx
import psycopg
import pytest
import structlog
from fixtures_api import settings
from pydantic import SecretStr

from plantprint_api import problems
from plantprint_api.app import bind, create_app, explain_bind, serve
from plantprint_api.config import ApiSettings
from plantprint_api.middleware import Guard


def test_a_taken_port_is_said_with_its_remedy() -> None:
    with socket.socket() as other, structlog.testing.capture_logs() as logs:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        assert serve(settings("postgresql:///nowhere", http_port=port)) == 1
    (entry,) = logs
    assert f"127.0.0.1:{port} is taken" in entry["error"]
    assert "PLANTPRINT_HTTP_PORT" in entry["remedy"]


def test_a_foreign_address_is_said_with_its_remedy() -> None:
    config = settings("postgresql:///nowhere", http_host="203.0.113.7")
    with pytest.raises(OSError) as caught:
        bind(config)
    assert "PLANTPRINT_HTTP_HOST" in explain_bind(config, caught.value)["remedy"]


def test_the_default_is_loopback_and_the_password_is_hidden() -> None:
    config = ApiSettings(database_url=SecretStr("postgresql://u:topsecret@db/x"))
    assert (config.http_host, config.http_port) == ("127.0.0.1", 8000)
    assert "topsecret" not in repr(config)


def test_no_error_text_shows_a_password() -> None:
    for text in ("bad: postgresql://u:topsecret@db/x", "connection failed: password=topsecret host=db"):
        assert "topsecret" not in problems._first_line(psycopg.OperationalError(text))


def test_a_missing_schema_a_slow_query_and_a_bad_value_are_told_apart() -> None:
    told = [
        problems.database_problem(error)
        for error in (
            psycopg.errors.UndefinedTable("x"),
            psycopg.errors.QueryCanceled("x"),
            psycopg.errors.UntranslatableCharacter("x"),
            psycopg.OperationalError("x"),
        )
    ]
    assert [p.status for p in told] == [503, 503, 422, 503]
    assert len({p.remedy for p in told}) == 4


JSON = "application/json"


async def _post(body_bytes_max: int, content: Any, content_type: str = JSON) -> httpx.Response:
    reached: list[bytes] = []

    async def inner(scope: Any, receive: Any, send: Any) -> None:
        del scope
        message = await receive()
        reached.append(message["body"])
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": message["body"]})

    transport = httpx.ASGITransport(app=Guard(inner, body_bytes_max=body_bytes_max))
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
        answer = await client.post("/x", content=content, headers={"content-type": content_type})
    assert bool(reached) is (answer.status_code == 200)
    return answer


async def test_a_body_at_the_limit_passes_and_one_byte_more_does_not() -> None:
    assert (await _post(100, b"x" * 100)).content == b"x" * 100
    refused = await _post(100, b"x" * 101)
    assert refused.status_code == 413
    assert refused.headers["content-type"] == "application/problem+json"
    assert "PLANTPRINT_HTTP_BODY_BYTES_MAX" in refused.json()["place"]


@pytest.mark.parametrize("content_type", ["text/plain", "application/x-www-form-urlencoded", "", "application/jsonx"])
async def test_a_body_that_a_foreign_page_could_send_is_refused(content_type: str) -> None:
    refused = await _post(100, b"{}", content_type)
    assert refused.status_code == 415
    assert refused.json()["place"] == "header: content-type"
    assert (await _post(100, b"{}", "application/json; charset=utf-8")).status_code == 200


async def test_a_body_in_pieces_is_counted_too() -> None:
    async def pieces() -> Any:
        for _ in range(11):
            yield b"x" * 10

    assert (await _post(100, pieces())).status_code == 413


async def test_every_answer_carries_the_security_headers() -> None:
    transport = httpx.ASGITransport(app=create_app(settings("postgresql:///nowhere")))
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
        for path in ("/healthz", "/static/plantprint.css", "/nowhere"):
            headers = (await client.get(path)).headers
            assert headers["content-security-policy"].startswith("default-src 'self'")
            assert headers["x-content-type-options"] == "nosniff"


async def test_unknown_paths_and_methods_are_problems() -> None:
    transport = httpx.ASGITransport(app=create_app(settings("postgresql:///nowhere")))
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
        for answer, status in ((await client.get("/nope"), 404), (await client.delete("/v1/batches"), 405)):
            assert answer.status_code == status
            assert answer.headers["content-type"] == "application/problem+json"
            assert {"title", "detail", "place", "remedy"} <= set(answer.json())
        assert (await client.delete("/v1/batches")).headers["allow"] == "GET"
