"""A changed agent.yaml, taken up while running: what has not changed loses no poll, and each reading keeps its channel."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from edge_support import MemoryCollector, config, until
from modbus_rig import RtuLine, frame, rtu_over_tcp

from plantprint.times import SiteClock
from plantprint_edge.agent import Agent
from plantprint_edge.config import AgentConfig
from plantprint_edge.load import load_config
from plantprint_edge.reload import ConfigFile
from plantprint_edge.status import read_status

pytestmark = pytest.mark.integration

INTERVAL_S = 0.05


def source(name: str, port: int, unit: int = 1, more: str = "") -> str:
    return f"""
  - {{source: modbus, name: {name}, host: 127.0.0.1, port: {port}, framing: rtu, unit_id: {unit}, interval_s: {INTERVAL_S},
     timeout_s: 1, points: [{{name: {name}.e, addr: {unit}, type: u16, kind: counter, unit: kWh, decimals: 0}}{more}]}}"""


@dataclass
class Plant:
    """Serial lines whose unit u always counts 100·u, so that a value tells the channel it belongs to."""

    folder: Path
    lines: list[RtuLine] = field(default_factory=list)
    top: str = ""
    site: str = "s"
    url: str = "mqtt://127.0.0.1:1"

    def write(self, *sources: str) -> AgentConfig:
        return config(self.folder, "".join(sources) + "\n", self.top, site=self.site, url=self.url)


async def by_unit(unit: int, fc: int, addr: int, count: int) -> list[bytes]:
    return [frame(unit, fc, [100 * unit] * count)]


@asynccontextmanager
async def lines(plant: Plant, n: int) -> AsyncIterator[list[int]]:
    async with AsyncExitStack() as stack:
        plant.lines = [await stack.enter_async_context(rtu_over_tcp(by_unit)) for _ in range(n)]
        yield [line.port for line in plant.lines]


@asynccontextmanager
async def running(of: AgentConfig) -> AsyncIterator[Agent]:
    path = of.outbox.path.with_name("agent.yaml")
    agent = Agent(of, SiteClock(), {}, file=ConfigFile(path, lambda: load_config(path, {})))
    task = asyncio.create_task(agent.run())
    try:
        await until(lambda: bool(agent.snapshot().sources) or task.done(), 10)
        yield agent
    finally:
        agent.stop()
        assert await task == 0


def readings(agent: Agent) -> dict[str, int]:
    return {counts.name: counts.readings for counts in agent.snapshot().sources}


async def taken(agent: Agent, n: int = 1) -> None:
    await until(lambda: agent.snapshot().reloads.taken == n or agent.snapshot().reloads.refused > 0, 10)
    assert agent.snapshot().reloads.problems == ()


async def test_only_what_changed_is_exchanged_and_no_other_poll_is_lost(
    tmp_path: Path, broker_url: str, site: str
) -> None:
    """One source goes, one changes, one comes in front: the places of all channels move under readings that go on."""
    plant = Plant(tmp_path, site=site, url=broker_url)
    async with lines(plant, 4) as ports:
        of = plant.write(source("gone", ports[0], 1), source("stays", ports[1], 2), source("grows", ports[2], 3))
        with MemoryCollector(broker_url, site) as collector:
            async with running(of) as agent:
                await until(lambda: min(readings(agent).values()) >= 5)
                more = ", {name: grows.v, addr: 9, type: u16, kind: gauge, unit: V, decimals: 0}"
                plant.write(
                    source("new", ports[3], 4), source("grows", ports[2], 3, more), source("stays", ports[1], 2)
                )
                agent.reload()
                await taken(agent)
                await until(lambda: min(readings(agent).values()) >= 5)
                assert list(readings(agent)) == ["new", "grows", "stays"]
                asked = [at for at, *_ in plant.lines[1].requests]
                stopped_at = len(plant.lines[0].requests)
                await until(lambda: readings(agent)["stays"] >= 25)
                assert len(plant.lines[0].requests) == stopped_at
            got = collector.rows()
    # Not one multiple of the interval without its poll, over one connection.
    slots = {round(at / INTERVAL_S) for at in asked}
    assert len(slots) >= (max(slots) - min(slots)) * 0.9
    assert plant.lines[1].connections == 1
    values = {(name, value) for (name, _), value in got.items()}
    assert values == {("gone.e", 100), ("stays.e", 200), ("grows.e", 300), ("grows.v", 300), ("new.e", 400)}
    assert Counter(name for name, _ in got)["stays.e"] >= 25
    assert collector.kinds()["declare"] == 2


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ("text", "agent.yaml:11: sources.0.modbus.points.0.type"),
        ("outbox", "outbox, metrics_port: cannot be changed while running; restart the agent"),
        ("done", "takes no new configuration"),
    ],
)
async def test_what_cannot_be_used_is_refused_and_the_old_one_stays(tmp_path: Path, change: str, problem: str) -> None:
    plant = Plant(tmp_path, top="status_every_s: 0.1")
    async with lines(plant, 1) as ports:
        of = plant.write(source("one", ports[0]))
        async with running(of) as agent:
            await until(lambda: readings(agent)["one"] >= 3)
            path = tmp_path / "agent.yaml"
            text = path.read_text("utf-8")
            if change == "text":
                path.write_text(text.replace("type: u16", "type: u17"), "utf-8")
            elif change == "outbox":
                path.write_text(text.replace("outbox.db", "other.db") + "\nmetrics_port: 9999\n", "utf-8")
            else:
                replay = (
                    "\n  - {source: replay, name: r, file: r.csv, time_column: t, time_format: '%Y', timezone: UTC,"
                    " stamp: end, period_s: 60, columns: [{name: r, column: c, unit: kWh, decimals: 0}]}"
                )
                path.write_text(text + replay + "\nexit_when_done: true\n", "utf-8")
            agent.reload()
            await until(lambda: agent.snapshot().reloads.refused == 1)
            assert any(problem in p for p in agent.snapshot().reloads.problems), agent.snapshot().reloads.problems
            before = readings(agent)["one"]
            await until(lambda: readings(agent)["one"] >= before + 3)
            await until(lambda: read_status(of)["reloads"]["refused"] == 1)
            assert plant.lines[0].connections == 1
            # Put right, it is taken up.
            path.write_text(text, "utf-8")
            agent.reload()
            await until(lambda: agent.snapshot().reloads.taken == 1)
            assert agent.snapshot().reloads.problems == ()


async def test_a_changed_file_is_noticed_without_a_signal(tmp_path: Path) -> None:
    plant = Plant(tmp_path, top="reload_s: 0.1")
    async with lines(plant, 2) as ports, running(plant.write(source("one", ports[0]))) as agent:
        await until(lambda: readings(agent)["one"] >= 2)
        plant.write(source("one", ports[0]), source("two", ports[1]))
        await taken(agent)
        await until(lambda: readings(agent).get("two", 0) >= 2)
        await asyncio.sleep(0.3)
        assert agent.snapshot().reloads.taken == 1


async def test_a_changed_device_type_of_ones_own_exchanges_its_sources(tmp_path: Path) -> None:
    types = tmp_path / "types"
    types.mkdir()
    text = (
        "id: own\nmaker: we\nmodel: m\nkind: meter\ntransport: [tcp]\nfc: 3\nword_order: big\nsources: [ours]\n"
        "points: {e: {addr: 1, type: u16, kind: counter, unit: kWh, decimals: 0, scale: SCALE}}\n"
    )
    (types / "own.yaml").write_text(text.replace("SCALE", "1"))
    plant = Plant(tmp_path, top=f"reload_s: 0.1\nmeters_dir: {types}")
    async with lines(plant, 2) as ports:
        one = (
            source("one", ports[0]).replace("points:", "device: own, points:").replace("addr: 1, type: u16", "point: e")
        )
        async with running(plant.write(one, source("two", ports[1]))) as agent:
            await until(lambda: readings(agent)["one"] >= 2)
            (types / "own.yaml").write_text(text.replace("SCALE", "10"))
            await taken(agent)
            await until(lambda: plant.lines[0].connections == 2)
            assert plant.lines[1].connections == 1


async def test_another_broker_is_connected_to_and_the_outbox_is_untouched(
    tmp_path: Path, broker_url: str, site: str
) -> None:
    plant = Plant(tmp_path, site=site)
    async with lines(plant, 1) as ports, running(plant.write(source("one", ports[0]))) as agent:
        await until(lambda: agent.snapshot().outbox.unacked_chunks > 3, 10)
        epoch = agent.snapshot().outbox.epoch
        with MemoryCollector(broker_url, site) as collector:
            plant.url = broker_url
            plant.write(source("one", ports[0]))
            agent.reload()
            await until(lambda: agent.snapshot().uplink.acked > 3, 15)
            plant.url = "mqtt://127.0.0.1:1"
            plant.write(source("one", ports[0]))
            agent.reload()
            await until(lambda: agent.snapshot().reloads.taken == 2 and not agent.snapshot().uplink.connected, 15)
            await until(lambda: not collector.states[-1].online)
        assert {of for of, _ in collector.chunks} == {epoch}
        assert plant.lines[0].connections == 1
