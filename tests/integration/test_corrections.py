"""A meter's export is corrected after it was delivered: folder, agent, broker, intake and PostgreSQL; the correction wins, once."""

import asyncio
from functools import partial
from pathlib import Path

import pytest
from collector_harness import READINGS, metric, running, settings
from edge_support import config, until
from fake_agent import NOW_MS, FakeAgent, query, wait_until
from folder_rig import EXPORT

from plantprint.times import SiteClock, parse_instant
from plantprint_edge.agent import Agent

pytestmark = pytest.mark.integration

T0 = parse_instant("2025-11-24T08:00:00+08:00")
REVISION_MAX = 32_767


def write(folder: Path, *values: int) -> None:
    lines = [f"2025-11-24 08:00:{second:02},{value / 10}" for second, value in enumerate(values)]
    draft = folder / ".draft"
    draft.write_text("\n".join(["time,kWh", *lines]) + "\n")
    draft.rename(folder / "a.csv")


def stored(database_url: str) -> list[int]:
    found = query(database_url, READINGS)
    assert [(name, t_ms) for name, t_ms, *_ in found] == [("energy", T0 + n * 1000) for n in range(len(found))]
    return [value for _, _, value, *_ in found]


async def test_the_corrected_value_wins_also_where_it_is_lower_and_over_restarts(
    tmp_path: Path, database_url: str, broker_url: str, site: str
) -> None:
    """Corrected down, up again, and while the agent is off; without a revision the highest value would stay."""
    folder = tmp_path / "in"
    folder.mkdir()
    of = config(tmp_path, EXPORT, site=site, url=broker_url)

    def shows(values: list[int]) -> bool:
        return stored(database_url) == values

    with running(settings(database_url, broker_url, site)) as intake:
        agent = Agent(of, SiteClock())
        run = asyncio.create_task(agent.run())
        for values in ([10, 20, 30], [5, 20, 30, 40], [5, 21, 30, 40]):
            write(folder, *values)
            await until(partial(shows, values), 20)
        agent.stop()
        assert await run == 0
        write(folder, 4, 21, 7, 40)
        agent = Agent(of, SiteClock())
        run = asyncio.create_task(agent.run())
        await until(partial(shows, [4, 21, 7, 40]), 20)
        agent.stop()
        assert await run == 0
        assert metric(intake, "conflicts_total") == 0
    assert query(database_url, "select value, (select max(revision) > 0 from reading) from latest") == [(40, True)]
    marked = query(database_url, "select bool_or(from_at <= to_timestamp(%s) and to_at >= to_timestamp(%s)) from dirty"
                   " where dirty_id = (select max(dirty_id) from dirty)", (T0 / 1000, T0 / 1000))  # fmt: skip
    assert marked == [(True,)], "the accountant is not told what the last correction changed"


def test_a_revision_that_no_column_holds_is_refused_and_said(database_url: str, broker_url: str, site: str) -> None:
    """Cut down to 16 bits it would be negative, and the correction would lose against what it corrects."""
    t_ms = NOW_MS - 5000
    with running(settings(database_url, broker_url, site)), FakeAgent(broker_url, site) as agent:
        agent.send(agent.declare())
        agent.send(agent.readings([(0, t_ms, 7, 3)], revision=REVISION_MAX))
        agent.send(agent.readings([(0, t_ms, 9, 3)], revision=REVISION_MAX + 1))
        agent.send(agent.readings([(0, t_ms, 9, 3)], revision=-1))
        agent.send(agent.readings([(0, t_ms, 8, 3)], revision=2**16 + REVISION_MAX))
        agent.wait_acked(0, 1)
        wait_until(lambda: query(database_url, "select count(*) from dead_letter") == [(3,)], "set aside")
        assert not any(agent.is_acked(seq) for seq in (2, 3, 4))
    assert query(database_url, READINGS) == [("c0", t_ms, 7, 3, REVISION_MAX)]
    reasons = query(database_url, "select distinct reason from dead_letter")
    assert reasons == [("seq, n or revision out of range",)]
