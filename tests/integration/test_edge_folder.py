"""A folder of CSV files through a whole agent: delivered, corrected, and killed at any moment while files grow."""

import asyncio
import random
import sys
from pathlib import Path

import pytest
from edge_support import MemoryCollector, config, until
from folder_rig import EXPORT

from plantprint.times import SiteClock, parse_instant
from plantprint.wire import chunk
from plantprint_edge.agent import Agent

pytestmark = pytest.mark.integration

RUN = "import sys; from pathlib import Path; from plantprint_edge.agent import run_file; sys.exit(run_file(Path(sys.argv[1])))"
T0 = parse_instant("2026-11-24T08:00:00+08:00")


def winners(collector: MemoryCollector) -> dict[int, int]:
    """t_ms → the value that a store keeps: the highest (revision, value), whatever came first."""
    best: dict[int, tuple[int, int]] = {}
    for header, body in list(collector.chunks.values()):
        if header.kind == "readings":
            for _, t_ms, value, _ in chunk.decode_rows(header, body):
                best[t_ms] = max(best.get(t_ms, (-1, 0)), (header.revision, value))
    return {t_ms: value for t_ms, (_, value) in best.items()}


def line(second: int, value: int) -> str:
    return f"2026-11-24 08:{second // 60:02}:{second % 60:02},{value / 10}\n"


async def test_an_agent_delivers_a_folder_and_its_corrections(tmp_path: Path, broker_url: str) -> None:
    (tmp_path / "in").mkdir()
    of = config(tmp_path, EXPORT, site="folder", url=broker_url)
    file = tmp_path / "in" / "a.csv"
    file.write_text("time,kWh\n" + line(0, 10) + line(1, 20))
    with MemoryCollector(broker_url, "folder") as collector:
        agent = Agent(of, SiteClock())
        run = asyncio.create_task(agent.run())
        await until(lambda: winners(collector) == {T0: 10, T0 + 1000: 20}, 20)
        file.write_text("time,kWh\n" + line(0, 5) + line(1, 20) + line(2, 30))
        await until(lambda: winners(collector) == {T0: 5, T0 + 1000: 20, T0 + 2000: 30}, 20)
        (counts,) = agent.snapshot().sources
        assert (counts.kind, counts.readings, counts.errors) == ("folder", 4, {})
        agent.stop()
        assert await run == 0


async def test_killed_at_any_moment_nothing_is_lost_and_nothing_counts_twice(tmp_path: Path, broker_url: str) -> None:
    """kill -9 while one file grows, another is rewritten and others come and go; the same rows are there in the end."""
    chance = random.Random(9)
    (tmp_path / "in").mkdir()
    config(tmp_path, EXPORT, site="folder-kill", url=broker_url)
    wanted: dict[int, int] = {}
    rewritten: dict[int, int] = {}

    def write(step: int) -> None:
        wanted[step] = chance.randrange(1000)
        with (tmp_path / "in" / "grows.csv").open("a") as file:
            file.write(("time,kWh\n" if not step else "") + line(step, wanted[step]))
        rewritten[1000 + chance.randrange(20)] = chance.randrange(1000)
        draft = tmp_path / "in" / ".rewritten.tmp"
        draft.write_text("time,kWh\n" + "".join(line(at, value) for at, value in rewritten.items()))
        draft.rename(tmp_path / "in" / "rewritten.csv")

    step = 0
    with MemoryCollector(broker_url, "folder-kill") as collector:
        for life in range(4):
            process = await asyncio.create_subprocess_exec(
                sys.executable, "-c", RUN, str(tmp_path / "agent.yaml"), stdout=asyncio.subprocess.DEVNULL
            )
            seen = len(collector.chunks)
            while life < 3 and len(collector.chunks) < seen + 8:
                write(step)
                step += 1
                await asyncio.sleep(chance.random() * 0.05)
                assert step < 2000
            if life < 3:
                process.kill()
                await process.wait()
        expected = {T0 + at * 1000: value for at, value in (wanted | rewritten).items()}
        await until(lambda: winners(collector) == expected, 30)
        process.terminate()
        assert await process.wait() == 0
