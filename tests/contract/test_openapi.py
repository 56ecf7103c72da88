"""The api against its own description: documented, bounded, with examples that hold, and no answer it does not name."""

import asyncio
import queue
import threading
from collections.abc import Iterator
from typing import Any

import fixtures_api as f
import jsonschema_rs
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given
from hypothesis import settings as hypothesis_settings
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.core.result import Ok
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from plantprint_api.app import create_app

SPEC: dict[str, Any] = create_app(f.settings("postgresql:///nowhere")).openapi()
OPERATIONS = [
    (path, method, operation) for path, methods in SPEC["paths"].items() for method, operation in methods.items()
]
NAMES = [f"{method.upper()} {path}" for path, method, _ in OPERATIONS]
CHECKS = [not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance]
UNBOUNDED = {"/v1/stream"}


@pytest.mark.parametrize(("path", "method", "operation"), OPERATIONS, ids=NAMES)
def test_an_operation_is_documented_with_its_problems(path: str, method: str, operation: dict[str, Any]) -> None:
    assert operation.get("description"), f"{method} {path} has no description"
    for status, answer in operation["responses"].items():
        if status.startswith(("4", "5")) and path != "/readyz":
            assert list(answer["content"]) == ["application/problem+json"]
    for parameter in operation.get("parameters", ()):
        if parameter["in"] == "query":
            assert parameter.get("description"), f"{path}: {parameter['name']} has no description"


@pytest.mark.parametrize(("path", "method", "operation"), OPERATIONS, ids=NAMES)
def test_a_list_has_a_limit(path: str, method: str, operation: dict[str, Any]) -> None:
    ok = operation["responses"].get("200", {}).get("content", {}).get("application/json", {}).get("schema", {})
    if method == "get" and ok.get("$ref", "").rpartition("/")[2].startswith("Page_"):
        assert "limit" in {p["name"] for p in operation["parameters"]}


def _schemas() -> list[tuple[str, dict[str, Any]]]:
    found: list[tuple[str, dict[str, Any]]] = list(SPEC["components"]["schemas"].items())
    for name, schema in SPEC["components"]["schemas"].items():
        found += [(f"{name}.{field}", part) for field, part in schema.get("properties", {}).items()]
    for path, method, operation in OPERATIONS:
        for media in operation.get("requestBody", {}).get("content", {}).values():
            if "example" in media:
                found.append((f"{method} {path}", media["schema"] | {"examples": [media["example"]]}))
    return found


def test_every_example_holds_against_its_own_schema() -> None:
    checked = 0
    for _name, schema in _schemas():
        for example in schema.get("examples", ()):
            jsonschema_rs.validate({**schema, "components": SPEC["components"]}, example)
            checked += 1
    assert checked > 30


@pytest.fixture
def base_url(database_url: str) -> Iterator[str]:
    """The api in a thread of its own, because schemathesis calls it without asyncio."""
    f.seed(database_url)
    config = f.settings(database_url, http_shipment_wait_s=0.01, accountant_stale_s=600)
    started: queue.Queue[tuple[str, asyncio.AbstractEventLoop, asyncio.Event]] = queue.Queue()

    async def run() -> None:
        stop = asyncio.Event()
        async with f.served(config) as client:
            started.put((str(client.base_url), asyncio.get_running_loop(), stop))
            await stop.wait()

    thread = threading.Thread(target=asyncio.run, args=(run(),), name="api under test")
    thread.start()
    url, loop, stop = started.get(timeout=30)
    yield url
    loop.call_soon_threadsafe(stop.set)
    thread.join()


@pytest.mark.integration
@pytest.mark.parametrize("mode", [GenerationMode.POSITIVE, GenerationMode.NEGATIVE], ids=["valid", "broken"])
def test_generated_requests_get_documented_answers(base_url: str, mode: GenerationMode) -> None:
    """Few examples per operation: this finds wrong status codes and shapes, it is no soak."""
    schema = schemathesis.openapi.from_dict(SPEC)
    tried = 0
    for result in schema.get_all_operations():
        assert isinstance(result, Ok)
        operation = result.ok()
        if operation.path in UNBOUNDED or (
            mode is GenerationMode.NEGATIVE and not operation.definition.raw.get("parameters")
        ):
            continue

        @given(case=operation.as_strategy(generation_mode=mode))
        @hypothesis_settings(
            max_examples=12,
            deadline=None,
            derandomize=True,
            database=None,
            phases=[Phase.explicit, Phase.generate],
            suppress_health_check=list(HealthCheck),
        )
        def check(case: Any) -> None:
            nonlocal tried
            tried += 1
            case.call_and_validate(base_url=base_url, checks=CHECKS)

        check()
    assert tried > 100
