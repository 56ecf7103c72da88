"""The clock of a gateway goes wrong, through a real agent, broker, intake and database: no reading is lost or misdated."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import urlsplit

import aiomqtt
import pytest
from collector_harness import READINGS, running, settings
from edge_support import config, until
from fake_agent import query

from plantprint.times import SiteClock
from plantprint_edge import clock as clocks
from plantprint_edge.agent import Agent

pytestmark = pytest.mark.integration

DAY_MS = 86_400_000
BOOT_1970_MS = 4_000
ROUNDS = 20
REJECTED = "select t_ms::bigint, value::bigint, reason from rejected_reading order by value"


class Machine:
    """Its wall clock is off by `wrong_ms`, or says `says_ms`; the steady clock is the real one."""

    def __init__(self) -> None:
        self.wrong_ms = 0
        self.says_ms: int | None = None

    def wall_ms(self) -> int:
        return time.time_ns() // 1_000_000 + self.wrong_ms if self.says_ms is None else self.says_ms


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Machine:
    made = Machine()
    monkeypatch.setattr(clocks, "wall_ms", made.wall_ms)
    return made


class Meter:
    """Counts, and says so on MQTT without a time: the agent's clock dates what it says."""

    def __init__(self, client: aiomqtt.Client, site: str) -> None:
        self._client, self._topic = client, f"{site}/meter"
        self._value = 0

    async def warm_up(self) -> None:
        """Shows zero, which no test looks at."""
        await self._client.publish(self._topic, '{"kwh":0}', qos=1)
        await asyncio.sleep(0.1)

    async def says(self, times: int) -> None:
        for _ in range(times):
            self._value += 1
            await self._client.publish(self._topic, f'{{"kwh":{self._value}}}', qos=1)
            await asyncio.sleep(0.004)


@asynccontextmanager
async def metered(folder: Path, database_url: str, broker_url: str, site: str) -> AsyncIterator[Meter]:
    """A meter and the agent that reads it; at the end three rounds of what it said have arrived, one way or the other."""
    source = f"""
  - source: mqtt
    name: meters
    broker: {{url: "{broker_url}"}}
    topics:
      - topic: {site}/meter
        channels:
          - {{name: energy, value: kwh, kind: counter, unit: kWh, decimals: 0}}
"""
    agent = Agent(config(folder, source, site=site, url=broker_url), SiteClock())
    run = asyncio.create_task(agent.run())
    url = urlsplit(broker_url)
    async with aiomqtt.Client(str(url.hostname), url.port or 1883, protocol=aiomqtt.ProtocolVersion.V5) as client:
        meter = Meter(client, site)
        while not any(source.readings for source in agent.snapshot().sources):
            await meter.warm_up()
        yield meter
        await until(lambda: len(stored(database_url)) + len(query(database_url, REJECTED)) == 3 * ROUNDS, 20)
    agent.stop()
    assert await run == 0


def stored(database_url: str) -> list[tuple[int, int]]:
    return [(t_ms, value) for _, t_ms, value, *_ in query(database_url, READINGS) if value]


async def test_a_jump_to_1970_and_back_moves_no_reading(
    tmp_path: Path, database_url: str, broker_url: str, site: str, machine: Machine
) -> None:
    began_ms = time.time_ns() // 1_000_000
    with running(settings(database_url, broker_url, site)):
        async with metered(tmp_path, database_url, broker_url, site) as meter:
            await meter.says(ROUNDS)
            machine.says_ms = BOOT_1970_MS
            await meter.says(ROUNDS)
            machine.says_ms = None
            await meter.says(ROUNDS)
    found = stored(database_url)
    assert [value for _, value in found] == list(range(1, 3 * ROUNDS + 1)), "in the order of their instants"
    assert began_ms <= found[0][0] <= found[-1][0] <= time.time_ns() // 1_000_000
    assert query(database_url, REJECTED) == []


async def test_readings_of_a_clock_a_day_ahead_are_set_aside_and_not_lost(
    tmp_path: Path, database_url: str, broker_url: str, site: str, machine: Machine
) -> None:
    """The collector cannot know what time it was; it keeps them for whoever does, and takes what comes after."""
    with running(settings(database_url, broker_url, site)):
        async with metered(tmp_path, database_url, broker_url, site) as meter:
            await meter.says(ROUNDS)
            machine.wrong_ms = DAY_MS
            await meter.says(ROUNDS)
            machine.wrong_ms = 0
            await meter.says(ROUNDS)
    rejected = query(database_url, REJECTED)
    kept = stored(database_url)
    assert sorted([*(v for _, v in kept), *(v for _, v, _ in rejected)]) == list(range(1, 3 * ROUNDS + 1))
    assert {reason for *_, reason in rejected} == {"future"}
    assert len(rejected) >= ROUNDS - 1
    assert all(t_ms > time.time_ns() // 1_000_000 + DAY_MS // 2 for t_ms, *_ in rejected)
