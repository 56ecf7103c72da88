"""Shards of the intake: two collectors on one, and a shard added while agents send; every reading once, nothing lost."""

import contextlib
import time
from collections.abc import Iterator

import pytest
from collector_harness import running, settings
from fake_agent import NOW_MS, FakeAgent, query, wait_until

from plantprint.wire import topics
from plantprint_collector.config import Settings

pytestmark = pytest.mark.integration

AGENTS = 6
ROUNDS = 30
LOW, HIGH = topics.SLOTS[:8], topics.SLOTS[8:]


class Fleet:
    """Agents of several slots that send again what nobody has acknowledged, as real ones do."""

    def __init__(self, agents: list[FakeAgent]) -> None:
        self.agents = agents
        self._sent: dict[tuple[str, int], bytes] = {}
        for agent in agents:
            self._send(agent, 0, agent.declare())

    def round(self, number: int) -> None:
        for agent in self.agents:
            seq = agent.seq
            self._send(agent, seq, agent.readings([(c, NOW_MS + number * 1000, number, 3) for c in range(3)]))

    def _send(self, agent: FakeAgent, seq: int, payload: bytes) -> None:
        self._sent[agent.agent, seq] = payload
        agent.send(payload)

    def settle(self) -> None:
        """Until all is acknowledged."""

        def done() -> bool:
            left = [(a, seq) for a in self.agents for seq in range(a.seq) if not a.is_acked(seq)]
            for agent, seq in left:
                agent.send(self._sent[agent.agent, seq])
            time.sleep(0.3 if left else 0)
            return not left

        wait_until(done, "everything acknowledged", 30)


@contextlib.contextmanager
def fleet(broker_url: str, site: str) -> Iterator[Fleet]:
    with contextlib.ExitStack() as stack:
        names = [f"gw-{n}" for n in range(AGENTS)]
        assert len({topics.slot_of(name) in LOW for name in names}) == 2
        yield Fleet([stack.enter_context(FakeAgent(broker_url, site, name)) for name in names])


def shard(database_url: str, broker_url: str, site: str, name: str, slots: str = topics.SLOTS) -> Settings:
    return settings(database_url, broker_url, site, collector_client_id=f"{name}-{site}", collector_slots=slots)


def check_all_once(database_url: str, site: str) -> None:
    rows = query(
        database_url,
        "select agent, name, value, count(*) from reading join channel using (channel_id) where site = %s group by 1, 2, 3",
        (site,),
    )
    assert len(rows) == AGENTS * 3 * ROUNDS
    assert {count for *_, count in rows} == {1}
    assert query(database_url, "select coalesce(sum(kept + refused), 0)::int from reading_conflict") == [(0,)]
    chunks = query(database_url, "select chunks::text from received where site = %s", (site,))
    assert chunks == [(f"{{[0,{ROUNDS + 1})}}",)] * AGENTS


def test_two_collectors_under_one_client_id_store_everything_once(
    database_url: str, broker_url: str, site: str
) -> None:
    """The broker lets them throw each other out again and again; each keeps what it took."""
    with (
        running(shard(database_url, broker_url, site, "c1")),
        running(shard(database_url, broker_url, site, "c1")),
        fleet(broker_url, site) as agents,
    ):
        for number in range(ROUNDS):
            agents.round(number)
        agents.settle()
    check_all_once(database_url, site)


def test_a_shard_is_added_while_agents_send(database_url: str, broker_url: str, site: str) -> None:
    """The new one takes its half beside the old one, which is then started again for the other half."""
    with contextlib.ExitStack() as later, fleet(broker_url, site) as agents:
        with running(shard(database_url, broker_url, site, "c1")):
            for number in range(ROUNDS // 3):
                agents.round(number)
            later.enter_context(running(shard(database_url, broker_url, site, "c2", HIGH)))
            for number in range(ROUNDS // 3, 2 * ROUNDS // 3):
                agents.round(number)
        first = later.enter_context(running(shard(database_url, broker_url, site, "c1", LOW)))
        for number in range(2 * ROUNDS // 3, ROUNDS):
            agents.round(number)
        agents.settle()
        assert first.metrics.registry.get_sample_value("plantprint_intake_connected", {"part": "broker"}) == 1
    check_all_once(database_url, site)
