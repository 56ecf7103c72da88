"""What the collector says of itself: ages, backlog and what was set aside, a bounded number of series, live and ready."""

import json
import re
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import servers
from collector_harness import READINGS, collecting, metric, running, settings
from fake_agent import NOW_MS, FakeAgent, query, wait_until
from prometheus_client import CollectorRegistry

from plantprint_cli.embedded.ports import find_free_port
from plantprint_collector.store_watch import Sight, StoreWatch, families

pytestmark = pytest.mark.integration

IN_FLIGHT, LARGE_CHUNKS = 40, 1000
# A quarter of what comes in; a process that kept it all would grow by more than all.
GROWTH_KB_MAX = 15_000


@pytest.fixture
def agent(broker_url: str, site: str) -> Iterator[FakeAgent]:
    with FakeAgent(broker_url, site) as connected:
        yield connected


def test_a_chunk_s_way_from_the_meter_to_its_commit_is_measured(
    database_url: str, broker_url: str, site: str, agent: FakeAgent
) -> None:
    """By lane, so that a backlog does not look like a slow live lane; an impossible time tells nothing."""
    with running(settings(database_url, broker_url, site)) as intake:
        agent.send(agent.declare())
        agent.wait_acked(0)
        now_ms = time.time_ns() // 1_000_000
        agent.send(agent.readings([(0, now_ms - 9000, 1, 3), (1, now_ms - 2000, 1, 3)]))
        agent.send(agent.readings([(0, now_ms - 3_600_000, 1, 3)]), "fill")
        agent.send(agent.readings([(0, now_ms - 8000, 1, 3), (1, 10**17, 1, 3)]))
        agent.wait_acked(1, 2, 3)
        wait_until(lambda: metric(intake, "chunk_latency_seconds_count", lane="fill") == 1, "counted")
        assert metric(intake, "chunk_latency_seconds_count", lane="live") == 1
        assert 2 <= metric(intake, "chunk_latency_seconds_sum", lane="live") < 60
        assert 3600 <= metric(intake, "chunk_latency_seconds_sum", lane="fill") < 3700


def test_ages_backlog_and_what_was_set_aside(database_url: str, broker_url: str, site: str, agent: FakeAgent) -> None:
    chosen = settings(database_url, broker_url, site, metrics_every_s=0.05)
    watch, registry = StoreWatch(chosen), CollectorRegistry()
    registry.register(watch)

    def value(name: str, **labels: str) -> float | None:
        return registry.get_sample_value(f"plantprint_store_{name}", labels)

    assert value("up") == 0
    now_ms = time.time_ns() // 1_000_000
    with running(chosen), FakeAgent(broker_url, site, "gw-2") as second:
        for number, who in enumerate((agent, second)):
            who.send(who.declare())
            t_ms = now_ms - 100_000 * (number + 1)
            who.send(who.readings([(0, t_ms, 1, 3), (1, t_ms - 5000, 1, 3), (2, 0, 1, 3)]))
            who.wait_acked(0, 1)
        agent.send(b"unreadable")
        agent.send(agent.seal("readings", b"not rows", 1, table=agent.table))
        agent.wait_acked(2)
    insert = "insert into plant_model (site, version, body, yaml) values (%s, 1, '{}', '')"
    query(database_url, insert, (site,))  # else neither its lag nor its marks would be told
    watch.start()
    try:
        wait_until(lambda: value("up") == 1, "the store is seen")
        ages = [value("agent_age_seconds", site=site, agent=name) for name in ("gw-1", "gw-2")]
        assert ages[0] is not None
        assert ages[1] is not None
        assert 100 <= ages[0] < 160
        assert ages[1] - ages[0] == pytest.approx(100)
        assert value("lag_seconds", site=site) == pytest.approx(ages[0], abs=1)
        assert value("dirty_marks", site=site) == 4
        assert [value("dead_letters", acknowledged=a) for a in ("yes", "no")] == [1, 1]
        assert value("rejected_readings") == 2
        assert value("series_left_out") == 0
        query(database_url, """update site set clock = '{"kind": "data"}'""")
        wait_until(lambda: value("lag_seconds", site=site) is None, "the age of recorded years is none")
        query(database_url, "alter table dirty rename to dirty_away")
        wait_until(lambda: value("up") == 0, "a look failed")
        assert value("dead_letters", acknowledged="yes") is None, "an old number would look well"
    finally:
        watch.stop()


def test_the_stalest_are_named_and_the_others_counted() -> None:
    sight = Sight({("s", f"gw-{n:03}"): float(n) for n in range(100)}, {f"s{n}": n for n in range(12)})
    found = {family.name: family.samples for family in families(sight, 10)}
    named = [sample.labels["agent"] for sample in found["plantprint_store_agent_age_seconds"]]
    assert named == [f"gw-{n:03}" for n in range(99, 89, -1)]
    assert found["plantprint_store_lag_seconds"][0].value == 0
    assert [sample.value for sample in found["plantprint_store_series_left_out"]] == [92]
    assert all(len(samples) <= 10 for samples in found.values())


def test_live_is_not_ready(broker_url: str, site: str) -> None:
    """Without its database a collector lives, so that nobody starts it anew, and is not ready; it says so where it is told to."""
    port, nobodys, host = find_free_port(set()), find_free_port(set()), "127.0.0.2"
    nobody = f"postgresql://nobody@127.0.0.1:{nobodys}/none"
    with collecting(nobody, broker_url, site, port, PLANTPRINT_DRAIN_S_MAX="0.5", PLANTPRINT_METRICS_HOST=host):
        wait_until(lambda: _get(port, "readyz", host) == (503, {"broker": True, "database": False}), "not ready", 30)
        assert _get(port, "healthz", host) == (200, {"intake": True, "accountant": True})
        assert _get(port, "healthz") is None


def test_the_memory_stays_flat_while_the_database_is_away(
    database_url: str, broker_url: str, site: str, agent: FakeAgent
) -> None:
    """60 MB come in: the collector takes what it may have in flight and no more, the broker keeps the rest."""
    servers.need_mosquitto(" (the embedded broker ignores the receive maximum)")
    port = find_free_port(set())
    name = urlsplit(database_url).path.removeprefix("/")
    server = database_url.replace(name, "postgres", 1)

    def taken() -> int:
        page = urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5).read().decode()
        return int(float(re.findall(r"^plantprint_intake_messages_total (\S+)", page, re.MULTILINE)[0]))

    def ready() -> bool:
        return (_get(port, "readyz") or (0,))[0] == 200

    limits = {"PLANTPRINT_MQTT_RECEIVE_MAX": str(IN_FLIGHT), "PLANTPRINT_METRICS_EVERY_S": "0.2"}
    with collecting(database_url, broker_url, site, port, **limits) as pid:
        wait_until(ready, "ready", 30)
        agent.send(agent.declare())
        agent.wait_acked(0)
        query(server, f'alter database "{name}" allow_connections false')
        query(server, "select pg_terminate_backend(pid) from pg_stat_activity where datname = %s", (name,))
        before = taken()
        for chunk in range(LARGE_CHUNKS):
            if chunk == 2 * IN_FLIGHT:
                wait_until(lambda: taken() == before + IN_FLIGHT, "all that may be in flight is")
                full_kb = _resident_kb(pid)
            agent.send(agent.seal("readings", _large_body(chunk), 1, table=agent.table))
        assert taken() == before + IN_FLIGHT
        assert _resident_kb(pid) - full_kb < GROWTH_KB_MAX
        assert not any(agent.is_acked(seq) for seq in range(1, LARGE_CHUNKS + 1))
        wait_until(lambda: not ready(), "not ready")
        query(server, f'alter database "{name}" allow_connections true')
        agent.wait_acked(*range(LARGE_CHUNKS + 1))
        wait_until(ready, "ready again", 30)
    found = [(t_ms, value) for _, t_ms, value, *_ in query(database_url, READINGS)]
    assert found == [(NOW_MS - 60_000 + chunk, chunk) for chunk in range(LARGE_CHUNKS)]


def _large_body(chunk: int) -> bytes:
    """One reading and much white space."""
    return b"[[0,%d,%d,3]%s]" % (NOW_MS - 60_000 + chunk, chunk, b" " * 60_000)


def _resident_kb(pid: int) -> int:
    status = Path(f"/proc/{pid}/status").read_text("ascii")
    return int(re.findall(r"VmRSS:\s+(\d+)", status)[0])


def _get(port: int, page: str, host: str = "127.0.0.1") -> tuple[int, dict[str, bool]] | None:
    try:
        with urllib.request.urlopen(f"http://{host}:{port}/{page}", timeout=2) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)
    except OSError:
        return None
