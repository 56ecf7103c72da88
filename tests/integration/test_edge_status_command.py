"""`plantprint edge status`: what a running agent says about its devices, its outbox and its broker."""

import asyncio
import json
import subprocess
import sys
from pathlib import Path

from edge_support import config, until
from modbus_rig import frame, rtu_over_tcp

from plantprint.times import SiteClock
from plantprint_edge.agent import Agent
from plantprint_edge.status import read_status, status_path, write_status

SOURCES = """
  - {{source: modbus, name: good, host: 127.0.0.1, port: {port}, framing: rtu, unit_id: 1, interval_s: 0.1, timeout_s: 0.2,
     points: [{{name: a, addr: 1, type: u16, kind: counter, unit: kWh, decimals: 0}}]}}
  - {{source: modbus, name: dead, host: 127.0.0.1, port: {port}, framing: rtu, unit_id: 2, interval_s: 0.1, timeout_s: 0.2,
     points: [{{name: b, addr: 1, type: u16, kind: counter, unit: kWh, decimals: 0}}]}}
"""


def status(folder: Path, *more: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "plantprint_cli", "edge", "status", "--config", str(folder / "agent.yaml"), *more]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)


async def test_a_running_agent_tells_of_each_device_and_of_what_waits(tmp_path: Path) -> None:
    async def answer(unit: int, fc: int, addr: int, count: int) -> list[bytes]:
        return [frame(unit, fc, [7])] if unit == 1 else []

    async with rtu_over_tcp(answer) as line:
        of = config(tmp_path, SOURCES.format(port=line.port), "status_every_s: 0.1")
        agent = Agent(of, SiteClock())
        running = asyncio.create_task(agent.run())
        await until(
            lambda: status_path(of).exists() and read_status(of)["outbox"]["unacked_chunks"] > 3,
            15,
        )
        await until(lambda: read_status(of)["sources"][1]["failed_share"] == 1, 15)
        text = await asyncio.to_thread(status, tmp_path)
        said = json.loads((await asyncio.to_thread(status, tmp_path, "--json")).stdout)
        agent.stop()
        assert await asyncio.wait_for(running, 20) == 0
    assert text.returncode == 0, text.stdout
    lines = text.stdout.splitlines()
    assert lines[0].startswith("agent gw-1 of site s runs")
    assert "chunks wait" in lines[1]
    assert "all before 20" in lines[1]
    assert "NOT CONNECTED; last acknowledgement never" in lines[2]
    assert "ms   0.0 % of polls fail" in lines[3]
    assert "last good never" in lines[4]
    assert "100.0 % of polls fail" in lines[4]
    assert "timeout" in lines[4]
    good, dead = said["sources"]
    assert (said["alive"], good["failed_share"], dead["failed_share"]) == (True, 0, 1)
    assert 0 < good["latency_ms"] < 200
    # A file that cannot be used, or a secret that this user may not read, hides nothing.
    file = tmp_path / "agent.yaml"
    file.write_text(
        file.read_text("utf-8").replace("broker: {", "broker: {password_file: /nowhere, hots: x, "), "utf-8"
    )
    after = status(tmp_path)
    assert after.returncode == 1
    assert "does not run" in after.stdout


def test_an_agent_that_went_silent_is_not_called_running(tmp_path: Path) -> None:
    of = config(tmp_path)
    failed = status(tmp_path)
    assert failed.returncode == 2
    assert "plantprint edge --config" in failed.stderr
    outbox = {"unacked_chunks": 0, "used_bytes": 0, "oldest_at": None, "full": "disk", "lost_rows": 5}
    uplink = {"connected": True, "last_ack_at": None}
    said = {"agent": "gw-1", "site": "s", "pid": 1, "running": True, "at": "2024-01-01T00:00:00Z"}
    clock = {"dates": False, "undated_rows": 7, "undated_rows_lost": 9}
    reloads = {"problems": ["agent.yaml:3: wrong"]}
    write_status(of, {**said, "outbox": outbox, "uplink": uplink, "clock": clock, "reloads": reloads, "sources": []})
    silent = status(tmp_path)
    assert silent.returncode == 1
    assert "has stopped answering" in silent.stdout
    assert "or the disk of its outbox takes no writes: see its log" in silent.stdout
    assert "everything is acknowledged" in silent.stdout
    assert "5 readings lost; full: disk" in silent.stdout
    assert "7 readings wait for it in memory" in silent.stdout
    assert "9 readings whose time was never known" in silent.stdout
    assert "REFUSED  the changed configuration: agent.yaml:3: wrong" in silent.stdout
