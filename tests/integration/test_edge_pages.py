"""Health, readiness and metrics on loopback, and what systemd is told."""

import asyncio
import json
import socket
import threading
import time
import urllib.error
import urllib.request
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest
from edge_support import MemoryCollector, config, until

from plantprint.times import SiteClock
from plantprint_cli.embedded.ports import find_free_port
from plantprint_edge import pages
from plantprint_edge.agent import Agent
from plantprint_edge.records import Stats
from plantprint_edge.reload import ReloadCounts
from plantprint_edge.status import ClockState, Snapshot
from plantprint_edge.uplink import UplinkCounts

pytestmark = pytest.mark.integration


def page(port: int, path: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=10) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


@pytest.mark.parametrize("code", [200, 503])
async def test_ready_follows_the_broker_and_healthy_the_loop(
    tmp_path: Path, broker_url: str, site: str, code: int
) -> None:
    port = find_free_port(set())
    url = broker_url if code == 200 else "mqtt://127.0.0.1:1"
    agent = Agent(config(tmp_path, top=f"metrics_port: {port}\ndrain_s: 0", site=site, url=url), SiteClock(), {})
    with MemoryCollector(broker_url, site):
        running = asyncio.create_task(agent.run())
        await until(lambda: agent.snapshot().uplink.connected == (code == 200) and bool(agent.snapshot().sources), 10)
        assert (await asyncio.to_thread(page, port, "/healthz")) == (200, '{"problems": []}')
        ready, body = await asyncio.to_thread(page, port, "/readyz")
        assert ready == code
        assert ("the broker is not connected" in body) == (code == 503)
        metrics = await asyncio.to_thread(page, port, "/metrics")
        assert f"plantprint_edge_connected {1.0 if code == 200 else 0.0}" in metrics[1]
        assert (await asyncio.to_thread(page, port, "/elsewhere"))[0] == 404
        agent.stop()
        assert await running == 0
    with pytest.raises(OSError, match="refused"):
        await asyncio.to_thread(page, port, "/healthz")


async def test_a_loop_that_stands_still_is_not_healthy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pages, "ANSWER_S_MAX", 0.3)
    port, answers = find_free_port(set()), list[tuple[int, str]]()
    stop = pages.serve(port, lambda: Snapshot(0, Stats(), UplinkCounts(), ReloadCounts(), ClockState(), ()))
    asker = threading.Thread(target=lambda: answers.append(page(port, "/healthz")))
    asker.start()
    time.sleep(1)  # noqa: ASYNC251 - the loop stands still
    asker.join()
    await asyncio.to_thread(stop)
    assert answers[0][0] == 503
    assert "restart the agent" in answers[0][1]


def test_what_loses_readings_or_keeps_them_back_is_told_with_a_remedy() -> None:
    good = Snapshot(0, Stats(), UplinkCounts(connected=True), ReloadCounts(), ClockState(), ())
    bad = Snapshot(
        0,
        Stats(full="disk full"),
        UplinkCounts(),
        ReloadCounts(refused=1, problems=("line 3",)),
        ClockState(dates=False),
        (),
    )
    unheard = replace(good, uplink=UplinkCounts(connected=True, trouble="no collector subscribes"))
    assert pages.unready(good) == []
    assert pages.unready(unheard) == ["no collector subscribes"]
    told = pages.unready(bad)
    assert len(told) == 4
    assert "disk full: readings are being lost" in told[0]
    assert "line 3" in told[3]


async def test_systemd_is_told_of_start_life_reload_and_stop(tmp_path: Path) -> None:
    place = tmp_path / "notify"
    heard: list[str] = []
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as receiver:
        receiver.bind(str(place))
        receiver.setblocking(False)

        def listen() -> None:
            with suppress(BlockingIOError):
                heard.extend(receiver.recv(1000).decode().splitlines())

        loop = asyncio.get_running_loop()
        loop.add_reader(receiver, listen)
        environ = {"NOTIFY_SOCKET": str(place), "WATCHDOG_USEC": "150000"}
        agent = Agent(config(tmp_path), SiteClock(), environ)
        running = asyncio.create_task(agent.run())
        await until(lambda: heard.count("WATCHDOG=1") >= 3)
        agent.stop()
        assert await running == 0
        await until(lambda: "STOPPING=1" in heard)
        loop.remove_reader(receiver)
    assert heard[0] == "READY=1"
    assert "password" not in json.dumps(heard)
