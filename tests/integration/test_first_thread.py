"""The first thread: a register read over Modbus becomes the footprint of a batch, every part a process of its own.

Meter → Modbus TCP → outbox → broker → COPY → interval → posting → GET /v1/batches/{id}/footprint.
"""

import contextlib
import json
import os
import socketserver
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest

from plantprint_cli.embedded.ports import find_free_port

pytestmark = [pytest.mark.integration, pytest.mark.timeout(120)]

FACTOR = Decimal("0.4974")  # cn.grid.2023.zhejiang
PLANT = """\
plantprint: 1
site: {{id: {site}, name: {{en: One machine}}, geography: CN-ZJ}}
bucket_s: 1
work_centers: [{{id: line, name: {{en: Line}}, work_units: [{{id: jig, name: {{en: Jigger}}}}]}}]
sources: [{{id: grid, name: {{en: Grid}}, unit: kWh, kind: grid, factor: cn.grid.2023.zhejiang, scope: 2}}]
meters: [{{id: m1, name: {{en: Meter}}, unit: kWh, bindings: [{{channel: gw/m1.energy}}]}}]
flows: [{{from: grid, to: jig, amount: m1}}]
"""
AGENT = """\
plantprint: 1
agent: gw
site: {site}
broker: {{url: "{broker}"}}
outbox: {{path: outbox.db}}
sources:
  - source: modbus
    name: m1
    host: 127.0.0.1
    port: {port}
    unit_id: 1
    interval_s: 0.2
    points: [{{name: m1.energy, kind: counter, unit: kWh, decimals: 2, fc: 3, addr: 0, type: u32, scale: "0.01"}}]
"""


class Meter(socketserver.ThreadingTCPServer):
    """A Modbus TCP meter written by hand: one u32 of hundredths of a kWh that the test turns on."""

    allow_reuse_address = daemon_threads = True

    def __init__(self) -> None:
        self.hundredths = 100_000
        self.reads = 0
        super().__init__(("127.0.0.1", 0), _Answer)


class _Answer(socketserver.StreamRequestHandler):
    def handle(self) -> None:
        meter = self.server
        assert isinstance(meter, Meter)
        while len(head := self.rfile.read(12)) == 12:
            tid, _, _, unit, function, _, count = struct.unpack(">HHHBBHH", head)
            assert (function, count) == (3, 2)
            meter.reads += 1
            body = struct.pack(">BBBI", unit, function, 4, meter.hundredths)
            self.wfile.write(struct.pack(">HHH", tid, 0, len(body)) + body)


@contextlib.contextmanager
def meter_served() -> Iterator[Meter]:
    with Meter() as meter:
        threading.Thread(target=meter.serve_forever, daemon=True).start()
        yield meter
        meter.shutdown()


@contextlib.contextmanager
def part(env: Mapping[str, str], log: Path, *arguments: str) -> Iterator[None]:
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "plantprint_cli", *arguments], env=dict(env), stderr=output, stdout=output
        )
    try:
        yield
    finally:
        process.terminate()
        process.wait(20)


def wait(what: str, condition: Callable[[], Any], folder: Path, timeout_s: float = 30) -> Any:
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        with contextlib.suppress(httpx.HTTPError):
            if found := condition():
                return found
        time.sleep(0.1)
    logs = "\n".join(f"== {path.name}\n{path.read_text()[-1500:]}" for path in sorted(folder.glob("*.log")))
    raise AssertionError(f"{what}: not within {timeout_s} s\n{logs}")


def tell(url: str, site: str, kind: str, event_id: str, **body: str) -> None:
    """A production event over REST, at the present."""
    event = {"kind": kind, "at": datetime.now(UTC).isoformat(), "source": "mes", "event_id": event_id, "body": body}
    answer = httpx.post(f"{url}/v1/production-events?site={site}", json=event, timeout=10)
    assert answer.is_success, answer.text


def test_a_register_becomes_a_footprint(database_url: str, broker_url: str, site: str, tmp_path: Path) -> None:
    plant, agent, port = tmp_path / "plant.yaml", tmp_path / "agent.yaml", find_free_port(set())
    plant.write_text(PLANT.format(site=site))
    env = {**os.environ, "PLANTPRINT_DATABASE_URL": database_url, "PLANTPRINT_MQTT_URL": broker_url}
    env["PLANTPRINT_COLLECTOR_CLIENT_ID"] = f"collector-{site}"
    env["PLANTPRINT_MQTT_SESSION_EXPIRY_S"] = "0"  # the broker is shared with other tests
    subprocess.run([sys.executable, "-m", "plantprint_cli", "model", "apply", str(plant)], env=env, check=True)
    url = f"http://127.0.0.1:{port}"
    with contextlib.ExitStack() as stack:
        meter = stack.enter_context(meter_served())
        agent.write_text(AGENT.format(site=site, broker=broker_url, port=meter.server_address[1]))
        stack.enter_context(part(env, tmp_path / "collector.log", "collect"))
        stack.enter_context(part(env, tmp_path / "api.log", "serve", "--port", str(port)))
        stack.enter_context(part(env, tmp_path / "edge.log", "edge", "--config", str(agent)))
        wait("read", lambda: meter.reads > 3, tmp_path)
        wait("api", lambda: httpx.get(f"{url}/readyz").is_success, tmp_path)

        tell(url, site, "order", "o1", batch="B1", product="Twill", quantity="50", unit="kg")
        tell(url, site, "job_start", "s1", job="J1", batch="B1", work_unit="jig")
        time.sleep(1.5)
        for _ in range(10):
            meter.hundredths += 25
            time.sleep(0.2)
        time.sleep(1.5)
        tell(url, site, "job_end", "e1", job="J1")

        expected = Decimal("2.50") * FACTOR

        def counted() -> dict[str, Any] | None:
            body: dict[str, Any] = httpx.get(f"{url}/v1/batches/B1/footprint?site={site}").json()
            return body if Decimal(body.get("partial_footprint_kg_co2e") or 0) == expected else None

        found = wait("the exact footprint", counted, tmp_path)
        assert [(line["source"], line["amount"]) for line in found["by_source"]] == [("grid", "2.5")]
        assert found["factors"][0]["factor"] == "cn.grid.2023.zhejiang"
        assert not found["incomplete"]
    with psycopg.connect(database_url) as conn:
        rows = conn.execute(
            "select min(value), max(value), count(*) > 10 from reading join channel using (channel_id) where site = %s",
            (site,),
        ).fetchone()
    assert rows == (100_000, 100_250, True)
    assert json.dumps(found)
