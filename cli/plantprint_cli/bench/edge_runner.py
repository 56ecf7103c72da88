"""What is measured, as a process of its own: the agent as fast as it can, a bare pymodbus loop, or one read per point.

`python -m plantprint_cli.bench.edge_runner agent|bare|bare_on_agents_loop|single AGENT_YAML SECONDS` prints what it did as
JSON. The agent runs on the event loop that it is shipped with, the others on asyncio's own unless the name says otherwise.
"""

import asyncio
import json
import logging
import sys
import time
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import structlog
from pymodbus.client import AsyncModbusTcpClient

from plantprint.times import SiteClock
from plantprint_edge.agent import Agent
from plantprint_edge.channels import device_of, modbus_reads, read_max
from plantprint_edge.config import AgentConfig, ModbusTcpSource
from plantprint_edge.decode import Block, plan_blocks
from plantprint_edge.load import load_config
from plantprint_edge.loop import new_loop

WARM_S = 1.0
START_S_MAX = 30.0
# So short that every device is always due.
INTERVAL_S = 0.001


class Done(NamedTuple):
    """What was done in the time that counts; CPU is that of the whole process."""

    polls: int
    points: int
    cpu_s: float


def sources_of(config: AgentConfig) -> list[ModbusTcpSource]:
    return [source for source in config.sources if isinstance(source, ModbusTcpSource)]


def blocks_of(source: ModbusTcpSource, *, single: bool) -> list[Block]:
    """The requests that the agent makes for a source in one round; with `single` one per point."""
    device, points = device_of(source), modbus_reads(source, 0)
    assert device is not None
    if single:
        return [block for point in points for block in plan_blocks([point], read_max(source, device), 0)]
    return plan_blocks(points, read_max(source, device), device.gap_max, device.forbidden)


async def agent_polls(config: AgentConfig, seconds: float) -> Done:
    """Polls, points and CPU in `seconds` of a whole agent: decoded, in chunks, committed, sent."""
    fast = tuple(source.model_copy(update={"interval_s": INTERVAL_S}) for source in sources_of(config))
    agent = Agent(config.model_copy(update={"sources": fast, "drain_s": 0}), SiteClock())
    running = asyncio.create_task(agent.run())
    # Opening files and connections is no polling; on a busy machine it takes longer than the warm-up.
    async with asyncio.timeout(START_S_MAX):
        while not (of := agent.snapshot().sources) or not all(counts.polls for counts in of):  # noqa: ASYNC110 - it has no event
            await asyncio.sleep(0.05)
    await asyncio.sleep(WARM_S)
    before, started_s = agent.snapshot(), time.process_time()
    polls = sum(counts.polls for counts in before.sources)
    await asyncio.sleep(seconds)
    now = agent.snapshot()
    done = Done(
        sum(counts.polls for counts in now.sources) - polls,
        now.readings - before.readings,
        time.process_time() - started_s,
    )
    agent.stop()
    await running
    return done


async def bare_polls(config: AgentConfig, seconds: float, *, single: bool) -> Done:
    """Rounds and points of a loop per connection that reads the same blocks and throws them away."""
    rounds = points = 0
    counting, going = False, True

    async def loop(source: ModbusTcpSource) -> None:
        nonlocal rounds, points
        client = AsyncModbusTcpClient(source.host, port=source.port, timeout=source.timeout_s, retries=0)
        blocks = blocks_of(source, single=single)
        await client.connect()
        try:
            while going:
                await _round(client, blocks, source.unit_id)
                rounds += counting
                points += counting * len(source.points)
        finally:
            client.close()

    tasks = [asyncio.create_task(loop(source)) for source in sources_of(config)]
    await asyncio.sleep(WARM_S)
    counting, started_s = True, time.process_time()
    await asyncio.sleep(seconds)
    counting, cpu_s = False, time.process_time() - started_s
    # pymodbus waits by `wait_for`, which in Python 3.11 may swallow a cancellation that comes with the answer.
    going = False
    await asyncio.gather(*tasks)
    return Done(rounds, points, cpu_s)


async def _round(client: AsyncModbusTcpClient, blocks: Iterable[Block], unit_id: int) -> None:
    for block in blocks:
        ask = client.read_holding_registers if block.fc == 3 else client.read_input_registers
        answer = await ask(block.addr, count=block.count, device_id=unit_id)
        assert not answer.isError(), answer


def main(kind: str, path: Path, seconds: float) -> None:
    logging.getLogger("pymodbus").setLevel(logging.CRITICAL)
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    config = load_config(path)
    work = agent_polls(config, seconds) if kind == "agent" else bare_polls(config, seconds, single=kind == "single")
    with asyncio.Runner(loop_factory=new_loop if "agent" in kind else None) as runner:
        done = runner.run(work)
    report = {
        "polls_per_s": round(done.polls / seconds, 1),
        "points_per_s": round(done.points / seconds, 1),
        "cpu_us_per_poll": round(done.cpu_s * 1e6 / done.polls, 1),
        "cpu_cores": round(done.cpu_s / seconds, 2),
    }
    print(json.dumps(report))  # noqa: T201 - the answer to the parent


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), float(sys.argv[3]))
