"""The first thread: one meter's register, through every process, to the footprint of a batch, exact to the last digit."""

import asyncio
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AsyncExitStack, ExitStack, contextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx
import pytest
from fake_agent import query

from plantprint.factors import builtin_factors, latest
from plantprint.times import SiteClock, format_instant
from plantprint_cli.embedded.ports import find_free_port
from plantprint_cli.setup import prepare
from plantprint_simulators.meters import KWH, METERS
from plantprint_simulators.modbus import serve_gateways
from plantprint_simulators.physics import QUANTITIES, Total

pytestmark = pytest.mark.integration

FACTOR = latest(builtin_factors())["cn.grid.2023.zhejiang"].value
USED_KWH = Decimal("7.531")

PLANT = """
plantprint: 1
site: {{id: {site}, name: {{en: One press}}}}
bucket_s: 1
work_centers:
  - {{id: line, name: {{en: Line}}, work_units: [{{id: press, name: {{en: Press}}}}]}}
sources:
  - {{id: grid, name: {{en: Grid}}, unit: kWh, kind: grid, factor: cn.grid.2023.zhejiang, scope: 2}}
meters:
  - {{id: m, name: {{en: Meter}}, unit: kWh, bindings: [{{channel: gw/press.energy}}]}}
flows:
  - {{from: grid, to: press, amount: m}}
"""
AGENT = """
plantprint: 1
agent: gw
site: {site}
broker: {{url: "{broker}"}}
outbox: {{path: "{folder}/outbox.db", size_mb_max: 16, ballast_mb: 8, reserve_mb: 1}}
sources:
  - source: modbus
    name: press
    host: 127.0.0.1
    port: {port}
    unit_id: 3
    device: siemens_pac2200
    points: [{{name: press.energy, point: energy_active_import_t1}}]
"""


class Register:
    """The kWh that the simulated meter has counted since it was set up."""

    kwh = Decimal(0)

    def look(self) -> Total:
        counted = dict.fromkeys(QUANTITIES, 0) | {"boiler-aux": int(self.kwh * KWH)}
        return Total(time.time_ns() // 1_000_000, counted, dict.fromkeys(QUANTITIES, 0))

    @property
    def shown(self) -> int:
        return METERS["boiler-aux"].count(1, self.look())


@contextmanager
def process(env: dict[str, str], *arguments: str) -> Iterator[None]:
    """A part of plantprint as a process of its own."""
    running = subprocess.Popen([sys.executable, "-m", "plantprint_cli", *arguments], env=os.environ | env)
    try:
        yield
    finally:
        running.terminate()
        assert running.wait(20) == 0, arguments


def _second(after: int) -> int:
    """A whole second from now: jobs begin and end on bucket edges here, so that no bucket is cut by time."""
    return (time.time_ns() // 1_000_000_000 + after) * 1000


async def wait_for(found: Callable[[], Any], what: str, timeout_s: float = 25.0) -> Any:
    deadline_s = time.monotonic() + timeout_s
    while not (value := found()):
        assert time.monotonic() < deadline_s, f"after {timeout_s} s still not: {what}"
        await asyncio.sleep(0.05)
    return value


async def test_from_a_register_to_a_footprint(database_url: str, broker_url: str, site: str, tmp_path: Path) -> None:
    plant, agent = tmp_path / "plant.yaml", tmp_path / "agent.yaml"
    ports = [find_free_port(set()) for _ in range(5)]
    plant.write_text(PLANT.format(site=site), "utf-8")
    agent.write_text(AGENT.format(site=site, broker=broker_url, port=ports[0], folder=tmp_path), "utf-8")
    prepare(database_url, plant, SiteClock())
    register = Register()
    env = {
        "PLANTPRINT_DATABASE_URL": database_url,
        "PLANTPRINT_MQTT_URL": broker_url,
        "PLANTPRINT_COLLECTOR_CLIENT_ID": f"c-{site}",
    }

    def stored() -> list[int]:
        return [value for (value,) in query(database_url, "select value from reading order by measured_at")]

    def event(kind: str, at_ms: int, **body: Any) -> dict[str, Any]:
        return {"kind": kind, "at": format_instant(at_ms), "source": "mes", "body": body}

    async with AsyncExitStack() as servers, httpx.AsyncClient(base_url=f"http://127.0.0.1:{ports[4]}") as api:
        await serve_gateways(servers, "127.0.0.1", ports[:4], 1, register.look)
        with ExitStack() as parts:
            parts.enter_context(process(env, "serve", "--port", str(ports[4])))
            parts.enter_context(process(env, "collect"))
            parts.enter_context(process(env, "edge", "--config", str(agent)))
            start_ms = _second(-1)
            first = register.shown
            await wait_for(lambda: first in stored(), "the first reading is stored")
            register.kwh = USED_KWH
            last = await wait_for(
                lambda: stored()[-1] if stored()[-1] != first else None, "the next register is stored"
            )
            assert last - first == register.shown - first == int(USED_KWH * 1000)
            orders = [
                event("order", start_ms, batch="B-1", product="bracket", quantity=20, unit="piece"),
                event("job_start", start_ms, job="J-1", batch="B-1", work_unit="press"),
                event("job_end", _second(+1), job="J-1"),
            ]
            answer = await api.post(f"/v1/production-events?site={site}", json=orders)
            assert answer.status_code == 200, answer.text
            await wait_for(lambda: query(database_url, "select 1 from live where id = 'B-1'"), "the batch is on the page")
            answer = await api.post(f"/v1/shipments?site={site}", json={"shipment": "S-1", "batch": "B-1"}, timeout=10)
            assert answer.status_code in (201, 202), answer.text
            await wait_for(lambda: query(database_url, "select 1 from statement"), "the statement is issued")
            footprint = (await api.get("/v1/batches/B-1/footprint", params={"site": site})).json()
    assert Decimal(footprint["partial_footprint_kg_co2e"]) == USED_KWH * FACTOR
    assert [(line["source"], line["amount"]) for line in footprint["by_source"]] == [("grid", str(USED_KWH))]
    ((amount,),) = query(database_url, "select sum(amount)::bigint from posting where account_id = 'B-1'")
    assert amount == int(USED_KWH * 1_000_000)
    ((body,),) = query(database_url, "select body from statement")
    assert Decimal(json.loads(body)["partial_footprint_kg_co2e"]) == USED_KWH * FACTOR
