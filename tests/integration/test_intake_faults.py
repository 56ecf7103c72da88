"""Faults between collector and database, and agents that are there twice: nothing lost, doubled or acknowledged too early."""

import asyncio
import random
import shutil
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import cycle
from pathlib import Path
from typing import Any

import psycopg
import pytest
from collector_harness import READINGS, metric, running, settings
from edge_support import config
from fake_agent import NOW_MS, FakeAgent, query, wait_until
from prometheus_client import CollectorRegistry
from tcp_proxy import Proxy, before_database, through

from plantprint.times import SiteClock
from plantprint.wire.chunk import Row
from plantprint_collector import connection, store_watch
from plantprint_collector import intake as collector_intake
from plantprint_collector.inbox import Item
from plantprint_collector.sessions import Session
from plantprint_collector.store_watch import StoreWatch
from plantprint_collector.transaction import Outcome
from plantprint_edge.agent import Agent

pytestmark = pytest.mark.integration

CHUNKS, ROWS = 60, 50
START_MS = NOW_MS - 12 * 3_600_000


@pytest.fixture
def agent(broker_url: str, site: str) -> Iterator[FakeAgent]:
    with FakeAgent(broker_url, site) as made:
        yield made


@pytest.fixture
def proxy(database_url: str) -> Iterator[Proxy]:
    with before_database(database_url) as made:
        yield made


def rows(chunk: int) -> list[Row]:
    return [(0, START_MS + (chunk * ROWS + n) * 1000, chunk * ROWS + n, 3) for n in range(ROWS)]


def check_all(database_url: str, chunks: int = CHUNKS) -> None:
    expected = [("c0", START_MS + n * 1000, n, 3, 0) for n in range(chunks * ROWS)]
    assert query(database_url, READINGS) == expected
    assert query(database_url, "select count(*) from reading_conflict") == [(0,)]


@pytest.mark.parametrize("seed", [1, 2])
def test_a_connection_that_is_cut_anywhere_loses_and_doubles_nothing(
    database_url: str, broker_url: str, site: str, agent: FakeAgent, proxy: Proxy, seed: int
) -> None:
    draw = random.Random(seed)
    with running(settings(through(proxy, database_url), broker_url, site)):
        agent.send(agent.declare())
        for chunk in range(CHUNKS):
            agent.send(agent.readings(rows(chunk)))
            if draw.random() < 0.3:
                wait_until(lambda: proxy.is_used, "connected")
                time.sleep(draw.random() * 0.03)
                proxy.cut()
        agent.wait_acked(*range(CHUNKS + 1))
    assert proxy.cuts >= 5
    check_all(database_url)


@pytest.mark.parametrize(("moment", "forward"), [(b"copy reading", True), (b"COMMIT", True), (b"COMMIT", False)])
def test_an_answer_that_never_comes_is_no_loss_and_no_double(
    database_url: str, broker_url: str, site: str, agent: FakeAgent, proxy: Proxy, moment: bytes, forward: bool
) -> None:
    """Cut inside a COPY, before a COMMIT arrives, and after it: then the server has stored what the collector thinks lost."""
    with running(settings(through(proxy, database_url), broker_url, site)) as intake:
        agent.send(agent.declare())
        agent.wait_acked(0)
        proxy.cut_at(moment, 5, forward=forward)
        for chunk in range(CHUNKS):
            agent.send(agent.readings(rows(chunk)))
            time.sleep(0.005)
        agent.wait_acked(*range(CHUNKS + 1))
        assert metric(intake, "reconnects_total", part="database") >= 3
    assert proxy.cuts >= 3
    check_all(database_url)


def test_a_database_that_hangs_is_known_by_the_clock(
    database_url: str, broker_url: str, site: str, agent: FakeAgent, proxy: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It takes connections and packets and says nothing: health must not go by its silence, nor a statement wait for it."""
    monkeypatch.setattr(connection, "_GRACE_S", 1.0)
    monkeypatch.setattr(store_watch, "_STALE_S_MIN", 1.0)
    monkeypatch.setattr(collector_intake, "_ANSWER_S", 1.0)
    chosen = settings(
        through(proxy, database_url), broker_url, site, database_timeout_s=3, metrics_every_s=0.2, commit_sessions=1
    )
    watch, registry = StoreWatch(chosen), CollectorRegistry()
    registry.register(watch)

    def lag_s() -> float:
        return registry.get_sample_value("plantprint_store_lag_seconds", {"site": site}) or 0.0

    query(database_url, "insert into plant_model (site, version, body, yaml) values (%s, 1, '{}', '')", (site,))
    with running(chosen) as intake:
        agent.send(agent.declare())
        agent.send(agent.readings([(0, NOW_MS, 1, 3)]))
        agent.wait_acked(0, 1)
        assert metric(intake, "connected", part="database") == 1
        watch.start()
        wait_until(lambda: watch.up and lag_s() > 0, "seen")
        proxy.hang()
        agent.send(agent.readings([(0, NOW_MS + 1, 2, 3)]))
        wait_until(lambda: metric(intake, "connected", part="database") == 0, "the intake's silence is known")
        wait_until(lambda: not watch.up, "an old look is no look")
        before_s = lag_s()
        wait_until(lambda: lag_s() > before_s + 0.5 > 0.5, "the lag grows by the clock")
        assert registry.get_sample_value("plantprint_store_rejected_readings") is None
        wait_until(lambda: metric(intake, "reconnects_total", part="database") > 0, "the statement has ended")
        assert not agent.is_acked(2)
        proxy.go_on()
        agent.wait_acked(2)
        wait_until(lambda: watch.up and metric(intake, "connected", part="database") == 1, "it goes on by itself")
        watch.stop()
    assert [value for _, _, value, *_ in query(database_url, READINGS)] == [1, 2]


def test_a_database_whose_disk_is_full_gets_nothing_acknowledged_and_goes_on_when_it_has_room(
    database_url: str, broker_url: str, site: str, agent: FakeAgent
) -> None:
    """The server's own error (SQLSTATE 53100) out of the COPY, for as long as the trigger is there."""
    with running(settings(database_url, broker_url, site)):
        agent.send(agent.declare())
        agent.send(agent.readings(rows(0)))
        agent.wait_acked(0, 1)
        query(
            database_url,
            "create function no_room() returns trigger language plpgsql as $$ begin "
            "raise exception 'could not extend file: No space left on device' using errcode = '53100'; end $$",
        )
        query(database_url, "create trigger no_room before insert on reading for each row execute function no_room()")
        for chunk in range(1, CHUNKS):
            agent.send(agent.readings(rows(chunk)))
        time.sleep(1.0)
        assert not agent.is_acked(2)
        assert len(query(database_url, READINGS)) == ROWS
        assert query(database_url, "select count(*) from dead_letter") == [(0,)]
        query(database_url, "drop trigger no_room on reading")
        agent.wait_acked(*range(CHUNKS + 1))
    check_all(database_url)


def test_a_shared_batch_is_stored_once_whatever_happens_to_its_other_session(
    database_url: str, broker_url: str, site: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second session works, does nothing, or commits and never says so, in turns; the first one then writes its share."""
    faults, seen, write = cycle(("none", "before", "after")), Counter[str](), Session.write

    def unreliable(session: Session, items: Sequence[Item], *more: Any) -> list[Outcome]:
        if not threading.current_thread().name.startswith("intake-share"):
            return write(session, items, *more)
        seen[fault := next(faults)] += 1
        if fault == "before":
            raise psycopg.OperationalError("gone")
        outcomes = write(session, items, *more)
        if fault == "after":
            raise psycopg.OperationalError("no answer")
        return outcomes

    monkeypatch.setattr(Session, "write", unreliable)
    shared = settings(database_url, broker_url, site, commit_shared_rows_min=1, commit_ms_max=50)
    with running(shared), FakeAgent(broker_url, site) as one, FakeAgent(broker_url, site, "gw-2") as two:
        for who in (one, two):
            who.send(who.declare())
        for chunk in range(CHUNKS):
            for who in (one, two):
                who.send(who.readings(rows(chunk)))
            time.sleep(0.01)
        for who in (one, two):
            who.wait_acked(*range(CHUNKS + 1))
    assert min(seen[fault] for fault in ("none", "before", "after")) > 0
    for agent in ("gw-1", "gw-2"):
        stored = READINGS.replace("order by", f"where agent = '{agent}' order by")
        assert query(database_url, stored) == [("c0", START_MS + n * 1000, n, 3, 0) for n in range(CHUNKS * ROWS)]
    assert query(database_url, "select chunks::text from received") == [(f"{{[0,{CHUNKS + 1})}}",)] * 2


def test_two_agents_under_one_id_keep_both_of_their_readings(database_url: str, broker_url: str, site: str) -> None:
    """Each start draws its own epoch, so their numbers never meet."""
    with (
        running(settings(database_url, broker_url, site)),
        FakeAgent(broker_url, site, epoch="one") as one,
        FakeAgent(broker_url, site, epoch="two") as two,
    ):
        for who in (one, two):
            who.send(who.declare())
        for chunk in range(0, CHUNKS, 2):
            one.send(one.readings(rows(chunk)))
            two.send(two.readings(rows(chunk + 1)))
        for who in (one, two):
            who.wait_acked(*range(CHUNKS // 2 + 1))
    check_all(database_url)


def test_a_day_of_backlog_and_what_is_new_are_stored_side_by_side(
    database_url: str, broker_url: str, site: str, agent: FakeAgent
) -> None:
    """A day at one reading a second in the fill lane; chunks of now in between are acknowledged before the rest."""
    backlog = 86_400 // 500
    with running(settings(database_url, broker_url, site)):
        agent.send(agent.declare())
        live = 0
        for n in range(backlog):
            past = START_MS - 86_400_000 + n * 500_000
            agent.send(agent.readings([(1, past + s * 1000, s, 3) for s in range(500)]), "fill")
            if n % 20 == 0:
                seq = agent.seq
                agent.send(agent.readings(rows(live)))
                agent.wait_acked(seq)
                live += 1
        agent.wait_acked(*range(agent.seq))
    stored = query(database_url, READINGS)
    assert [row for row in stored if row[0] == "c0"] == [
        ("c0", START_MS + n * 1000, n, 3, 0) for n in range(live * ROWS)
    ]
    assert len(stored) == backlog * 500 + live * ROWS


def test_an_agent_restored_from_an_old_copy_loses_only_what_nobody_had_stored(
    database_url: str, broker_url: str, site: str, tmp_path: Path
) -> None:
    """Its outbox is put back to what it was two lives ago; chunks sent since are known by another epoch."""
    gateway, copy = tmp_path / "gateway", tmp_path / "copy"
    gateway.mkdir()
    with running(settings(database_url, broker_url, site)):
        for life in range(4):
            _record(gateway, broker_url, site, life)
            if life == 1:
                shutil.copytree(gateway, copy)
            if life == 2:
                shutil.rmtree(gateway)
                shutil.copytree(copy, gateway)
    found = query(database_url, READINGS)
    assert [(t, value) for _, t, value, _, _ in found] == [(_instant(n) * 1000, n * 100) for n in range(4 * ROWS)]


def _instant(n: int) -> int:
    return 1_764_547_200 + (n + 1) * 60


def _record(folder: Path, broker_url: str, site: str, life: int) -> None:
    """One life of a real agent: a file of its own, until everything is acknowledged."""
    lines = [
        f"{time.strftime('%Y-%m-%d %H:%M', time.gmtime(_instant(n)))},{n}"
        for n in range(life * ROWS, (life + 1) * ROWS)
    ]
    file = folder / f"{life}.csv"
    file.write_text("\n".join(["at,kwh", *lines]) + "\n", encoding="utf-8")
    source = f"""
  - source: replay
    name: recorded
    file: {file}
    time_column: at
    time_format: "%Y-%m-%d %H:%M"
    timezone: UTC
    stamp: end
    period_s: 60
    columns: [{{name: usage, column: kwh, unit: kWh, decimals: 2}}]
"""
    made = Agent(config(folder, source, "exit_when_done: true", site=site, url=broker_url), SiteClock("data"))
    assert asyncio.run(made.run()) == 0
