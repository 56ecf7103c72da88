"""The intake's write path on TimescaleDB: COPY, the staging table, late readings into compressed days."""

import pytest
from collector_harness import READINGS, metric, running, settings
from fake_agent import NOW_MS, FakeAgent, query, wait_until

from plantprint_collector import deadletter

pytestmark = [pytest.mark.integration, pytest.mark.timescale]

DAY_MS = 86_400_000


def test_write_path_on_timescaledb(timescale_url: str, broker_url: str, site: str) -> None:
    rows = [(n % 3, NOW_MS - 9 * DAY_MS + n * 1000, n, 3) for n in range(3000)]
    with running(settings(timescale_url, broker_url, site)) as intake, FakeAgent(broker_url, site) as agent:
        agent.send(agent.declare())
        for n in range(0, 3000, 500):
            agent.send(agent.readings(rows[n : n + 500]))
        agent.wait_acked(*range(7))
        assert metric(intake, "staged_transactions_total") == 0
        assert query(timescale_url, "select pp_compress_before('reading', now() - interval '7 days')") >= [(1,)]

        late = [(0, NOW_MS - 9 * DAY_MS + n * 1000 + 1, n, 3) for n in range(200)]
        agent.send(agent.readings(late))
        agent.send(agent.readings([*rows[:100], (0, rows[0][1], 5, 3)]))
        agent.send(agent.readings([(0, 0, 1, 3), (99, NOW_MS, 1, 3)]))
        agent.send(agent.seal("readings", b"bad", 1, table=agent.table))
        agent.wait_acked(*range(11))
        assert metric(intake, "staged_transactions_total") >= 1
        expected = sorted((f"c{c}", t, value, q, 0) for c, t, value, q in [*rows[1:], (0, rows[0][1], 5, 3), *late])
        assert query(timescale_url, READINGS) == expected
        assert query(timescale_url, "select kept, refused from reading_conflict") == [(5, 0)]
        assert query(timescale_url, "select chunks::text from received") == [("{[0,11)}",)]
        assert query(timescale_url, "select count(*) from rejected_reading") == [(2,)]
        wait_until(lambda: len(deadletter.list_letters(timescale_url)) == 1, "dead-lettered")
        assert len(set(agent.stores)) == 1
