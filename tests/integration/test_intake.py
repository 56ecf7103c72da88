"""The delivery contract at the collector: nothing lost, nothing doubled, whatever breaks in between."""

import contextlib
import itertools
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import urlsplit

import psycopg
import pytest
import servers
from collector_harness import READINGS, metric, running, settings
from fake_agent import NOW_MS, FakeAgent, query, wait_until

from plantprint.wire import chunk as wire
from plantprint.wire import topics
from plantprint_cli.embedded import EmbeddedBroker, Instance
from plantprint_cli.embedded.ports import find_free_port
from plantprint_collector import connection, inbox
from plantprint_collector.inbox import Message
from plantprint_collector.intake import AckOrder, Intake
from plantprint_collector.metrics import Metrics
from plantprint_collector.received import Ranges
from plantprint_collector.writer import Writer

pytestmark = pytest.mark.integration

Row = tuple[str, int, int, int, int]
FAST_CLOCK = f'{{"kind": "run", "wall_origin_ms": {NOW_MS}, "site_origin_ms": {NOW_MS + 10**9}, "speed": 60}}'


@pytest.fixture
def intake(database_url: str, broker_url: str, site: str) -> Iterator[Intake]:
    with running(settings(database_url, broker_url, site)) as started:
        yield started


@pytest.fixture
def agent(broker_url: str, site: str) -> Iterator[FakeAgent]:
    with FakeAgent(broker_url, site) as connected:
        yield connected


def series(count: int, start: int = 0, channels: int = 3) -> list[wire.Row]:
    return [(n % channels, NOW_MS - 60_000 + n, 1000 + n, 3) for n in range(start, start + count)]


def stored_rows(rows: list[wire.Row], revision: int = 0) -> list[Row]:
    return sorted((f"c{c}", t, value, quality, revision) for c, t, value, quality in rows)


def received(database_url: str, site: str) -> Ranges:
    found = query(database_url, "select chunks from received where site = %s", (site,))
    return [(part.lower, part.upper - 1) for part in found[0][0]] if found else []


# ---- what is stored


def test_readings_latest_marks_site_and_state(intake: Intake, agent: FakeAgent, database_url: str) -> None:
    rows = series(300)
    agent.send(agent.declare())
    agent.send(agent.readings(rows))
    agent.wait_acked(0, 1)
    assert query(database_url, READINGS) == stored_rows(rows)
    newest = [(f"c{c}", max(t for i, t, *_ in rows if i == c)) for c in range(3)]
    latest = "select name, (extract(epoch from measured_at) * 1000)::bigint from latest join channel using (channel_id) order by 1"
    assert query(database_url, latest) == newest
    marks = (
        "select name, (extract(epoch from from_at) * 1000)::bigint, (extract(epoch from to_at) * 1000)::bigint, d.site"
        " from dirty d join channel using (channel_id) order by 1"
    )
    oldest = [min(t for i, t, *_ in rows if i == c) for c in range(3)]
    assert query(database_url, marks) == [(n, oldest[i], t, agent.site) for i, (n, t) in enumerate(newest)]
    assert query(database_url, "select site from site") == [(agent.site,)]
    state = f'{{"agent":"gw-1","epoch":"e1","online":true,"at_ms":{NOW_MS},"outbox_chunks":4}}'
    agent.publish(topics.state(agent.site, "gw-1"), state.encode())
    wait_until(lambda: bool(query(database_url, "select 1 from agent")), "state stored")
    assert query(database_url, "select agent, state ->> 'outbox_chunks' from agent") == [("gw-1", "4")]
    assert metric(intake, "rows_total") == 300


def test_redelivered_and_out_of_order_chunks_count_once(intake: Intake, agent: FakeAgent, database_url: str) -> None:
    payloads = [agent.declare(), *(agent.readings(series(10, 10 * n)) for n in range(8))]
    agent.send(payloads[0])
    for number in (5, 1, 7, 1, 2, 5, 8):
        agent.send(payloads[number], "fill" if number % 2 else "live")
    agent.wait_acked(0, 1, 2, 5, 7, 8)
    assert received(database_url, agent.site) == [(0, 2), (5, 5), (7, 8)]
    for number in (3, 4, 6, 3):
        agent.send(payloads[number])
    agent.wait_acked(*range(9))
    assert received(database_url, agent.site) == [(0, 8)]
    assert query(database_url, READINGS) == stored_rows(series(80))
    assert metric(intake, "rows_total") == 80
    assert query(database_url, "select count(*) from reading_conflict") == [(0,)]


def test_the_same_facts_in_other_chunks_count_once(intake: Intake, agent: FakeAgent, database_url: str) -> None:
    rows = series(90)
    agent.send(agent.declare())
    agent.send(agent.readings(rows))
    agent.wait_acked(1)
    query(database_url, "delete from dirty")
    agent.epoch, agent.seq = "e2", 0
    agent.send(agent.readings(rows[:60]))
    agent.send(agent.readings(rows[30:] + series(10, 90)))
    agent.wait_acked(0, 1)
    assert query(database_url, READINGS) == stored_rows(series(100))
    assert metric(intake, "repeated_rows_total") == 120
    assert metric(intake, "conflicts_total") == 0
    low = query(database_url, "select min((extract(epoch from from_at) * 1000)::bigint) from dirty")
    assert low == [(NOW_MS - 60_000 + 90,)], "only what changed is marked"


@pytest.mark.parametrize("order", list(itertools.permutations(range(4)))[::3])
def test_the_winner_does_not_depend_on_the_order(
    intake: Intake, agent: FakeAgent, database_url: str, order: tuple[int, ...]
) -> None:
    t = NOW_MS - 5000
    agent.send(agent.declare())
    agent.wait_acked(0)
    variants = [((0, t, 500, 3), 0), ((0, t, 900, 1), 0), ((0, t, 600, 3), 0), ((0, t, 100, 2), 1)]
    for number in order:
        row, revision = variants[number]
        agent.send(agent.readings([row], seq=number + 1, revision=revision))
        agent.wait_acked(number + 1)
    assert query(database_url, READINGS) == [("c0", t, 100, 2, 1)]
    assert query(database_url, "select value from latest") == [(100,)]


def test_unequal_repeats_are_counted(intake: Intake, agent: FakeAgent, database_url: str) -> None:
    t = NOW_MS - 5000
    agent.send(agent.declare())
    agent.send(agent.readings([(0, t, 5, 3), (0, t, 7, 3), (1, t, 5, 3), (1, t, 5, 3)]))
    agent.send(agent.readings([(0, t, 6, 3), (1, t, 9, 3)]))
    agent.wait_acked(0, 1, 2)
    conflicts = "select name, kept, refused from reading_conflict join channel using (channel_id) order by 1, 3"
    assert query(database_url, conflicts) == [("c0", 7, 5), ("c0", 7, 6), ("c1", 9, 5)]
    assert metric(intake, "conflicts_total") == 3


# ---- what cannot be stored


def test_a_corrupt_payload_heals_by_resending(intake: Intake, agent: FakeAgent, database_url: str) -> None:
    agent.send(agent.declare())
    good = agent.readings(series(5))
    agent.send(good[:-3] + b"9]]")
    agent.publish(topics.up(agent.site, agent.agent, "live"), good, [("seq", "77")])
    wait_until(lambda: query(database_url, "select count(*) from dead_letter") == [(2,)], "dead-lettered")
    assert not agent.is_acked(1)
    agent.send(good)
    agent.wait_acked(1)
    assert query(database_url, "select acknowledged from dead_letter") == [(False,), (False,)]
    assert query(database_url, READINGS) == stored_rows(series(5))


def test_an_unknown_version_is_never_acknowledged_and_raises_an_alarm(
    intake: Intake, agent: FakeAgent, database_url: str
) -> None:
    agent.send(agent.declare().replace(b'{"v":3', b'{"v":9', 1))
    agent.send(agent.declare())
    agent.wait_acked(1)
    assert not agent.is_acked(0)
    assert received(database_url, agent.site) == [(1, 1)]
    assert query(database_url, "select code, place, open from issue where code <> 'site-without-model'") == [
        ("wire_version", "gw-1", True)
    ]
    assert metric(intake, "held_chunks_total", reason="version") == 1


def test_readings_of_an_undeclared_table_wait_for_it(intake: Intake, agent: FakeAgent, database_url: str) -> None:
    declaration, readings = agent.declare(), agent.readings(series(5))
    agent.send(readings)
    wait_until(lambda: metric(intake, "held_chunks_total", reason="unknown_table") == 1, "held")
    agent.send(declaration)
    agent.wait_acked(0)
    assert not agent.is_acked(1)
    agent.send(readings)
    agent.wait_acked(1)
    assert query(database_url, READINGS) == stored_rows(series(5))


def test_a_bad_body_is_kept_as_bytes_and_the_agent_goes_on(intake: Intake, agent: FakeAgent, database_url: str) -> None:
    agent.send(agent.declare())
    bad = agent.seal("readings", b'[[0,"yesterday",1,3]]', 1, table=agent.table)
    nul = agent.seal("declare", b'[{"name":"a\\u0000b","unit":"kWh","decimals":0,"kind":"gauge"}]', 1)
    agent.send(bad)
    agent.send(nul)
    agent.send(agent.readings(series(4)))
    agent.wait_acked(0, 1, 2, 3)
    letters = query(database_url, "select seq, acknowledged, payload, reason from dead_letter order by seq")
    assert [(seq, acked, bytes(payload)) for seq, acked, payload, _ in letters] == [(1, True, bad), (2, True, nul)]
    assert "NUL" in letters[1][3]
    assert query(database_url, READINGS) == stored_rows(series(4))


def test_bad_rows_are_set_aside_and_the_rest_is_stored(intake: Intake, agent: FakeAgent, database_url: str) -> None:
    good = series(3)
    bad: list[wire.Row] = [
        (99, NOW_MS, 1, 3), (-1, NOW_MS, 2, 3), (0, 0, 3, 3), (0, NOW_MS + 3_600_000, 4, 3), (1, NOW_MS, 5, 9),
        (1, NOW_MS, 10**25, 3),
    ]  # fmt: skip
    agent.send(agent.declare())
    agent.send(agent.readings([bad[0], *good, *bad[1:5]]))
    body = b"[[1,%d,%d,3]]" % (NOW_MS, 10**25)
    agent.send(agent.seal("readings", body, 1, table=agent.table))
    agent.wait_acked(0, 1, 2)
    assert query(database_url, READINGS) == stored_rows(good)
    rejected = query(database_url, "select channel, value, reason from rejected_reading order by value")
    assert rejected == [
        ("#99", 1, "channel"), ("#-1", 2, "channel"), ("c0", 3, "past"), ("c0", 4, "future"), ("c1", 5, "quality"),
        ("c1", 10**25, "value"),
    ]  # fmt: skip


def test_a_gap_is_on_record_and_marked(intake: Intake, agent: FakeAgent, database_url: str) -> None:
    gap = wire.Gap(from_ms=NOW_MS - 9000, to_ms=NOW_MS, lost_chunks=3, lost_rows=700, reason="disk full")
    agent.send(agent.seal("gap", wire.encode_gap(gap), 1))
    agent.wait_acked(0)
    assert query(database_url, "select agent, seq, lost_rows, reason from gap") == [("gw-1", 0, 700, "disk full")]
    assert query(database_url, "select channel_id, cause from dirty") == [(None, "gap gw-1")]
    assert metric(intake, "gap_rows_total") == 700


def test_at_its_cap_the_quarantine_stops_the_acknowledgement(
    database_url: str, broker_url: str, site: str, agent: FakeAgent
) -> None:
    chosen = settings(
        database_url, broker_url, site, dead_letter_mb_max=0.0003, rejected_rows_max=2, quarantine_check_s=0
    )
    with running(chosen) as intake:
        agent.send(agent.declare())
        bodies = [agent.seal("readings", b"not rows %d" % n, 1, table=agent.table) for n in range(3)]
        for payload in bodies:
            agent.send(payload)
        agent.send(agent.readings([(0, 0, 1, 3), (0, 1, 1, 3)]))
        agent.send(agent.readings([(0, 2, 1, 3), *series(2)]))
        agent.send(agent.readings(series(2)))
        agent.wait_acked(0, 1, 4, 6)
        assert not agent.is_acked(3)
        assert not agent.is_acked(5)
        assert metric(intake, "quarantine_full", table="dead_letter") == 1
        query(database_url, "delete from dead_letter")
        query(database_url, "delete from rejected_reading")
        for payload in (bodies[2], agent.readings([(0, 2, 1, 3), *series(2)], seq=5)):
            agent.send(payload)
        agent.wait_acked(3, 5)


@pytest.mark.parametrize(
    ("clock", "ahead_ms", "accepted"),
    [
        ('{"kind": "wall"}', 200_000, True),
        ('{"kind": "wall"}', 400_000, False),
        ('{"kind": "data"}', 10**10, True),
        (FAST_CLOCK, 10**9, True),
    ],
    ids=["wall, a little", "wall, too far", "data", "run"],
)
def test_impossible_times_are_told_by_the_clock_of_the_site(
    intake: Intake, agent: FakeAgent, database_url: str, clock: str, ahead_ms: int, accepted: bool
) -> None:
    query(database_url, "insert into site (site, clock) values (%s, %s)", (agent.site, clock))
    agent.send(agent.declare())
    # Not NOW_MS: this file may have been imported minutes ago.
    agent.send(agent.readings([(0, time.time_ns() // 1_000_000 + ahead_ms, 1, 3)]))
    agent.wait_acked(0, 1)
    assert query(database_url, "select count(*) from reading") == [(int(accepted),)]
    assert query(database_url, "select count(*) from rejected_reading") == [(int(not accepted),)]


# ---- what breaks


@contextlib.contextmanager
def held_at_dirty(database_url: str) -> Iterator[psycopg.Connection[Any]]:
    """Stops the writer after its COPY and before its commit."""
    with psycopg.connect(database_url) as conn:
        conn.execute("lock table dirty in access exclusive mode")
        yield conn


def wait_blocked(database_url: str) -> int:
    blocked = (
        "select pid from pg_stat_activity where application_name = 'plantprint-intake' and wait_event_type = 'Lock'"
    )
    wait_until(lambda: bool(query(database_url, blocked)), "the writer waits between COPY and commit")
    return int(query(database_url, blocked)[0][0])


def test_a_kill_between_copy_and_commit_loses_and_doubles_nothing(
    intake: Intake, agent: FakeAgent, database_url: str
) -> None:
    agent.send(agent.declare())
    agent.wait_acked(0)
    with held_at_dirty(database_url):
        agent.send(agent.readings(series(50)))
        pid = wait_blocked(database_url)
        assert not agent.is_acked(1)
        query(database_url, "select pg_terminate_backend(%s)", (pid,))
    agent.wait_acked(1)
    assert query(database_url, READINGS) == stored_rows(series(50))
    assert received(database_url, agent.site) == [(0, 1)]


@pytest.mark.parametrize("ack_order", ["after_commit", "before_commit"])
def test_what_is_acknowledged_is_stored_and_this_test_can_see_the_difference(
    database_url: str, broker_url: str, site: str, agent: FakeAgent, ack_order: AckOrder
) -> None:
    """A collector that dies between COPY and commit must not have told the agent that it may forget."""
    with running(settings(database_url, broker_url, site), ack_order) as intake:
        agent.send(agent.declare())
        agent.wait_acked(0)
        query(
            database_url,
            "create function fail() returns trigger language plpgsql as 'begin raise sqlstate ''57014''; end'",
        )
        query(
            database_url,
            "create constraint trigger fail after insert on dirty initially deferred for each row execute function fail()",
        )
        agent.send(agent.readings(series(5)))
        wait_until(lambda: metric(intake, "transactions_total", outcome="failed") > 0, "a failed commit")
        intake.stop(0.0)
        lost = agent.is_acked(1) and not query(database_url, "select 1 from reading")
        assert lost == (ack_order == "before_commit")


def test_a_batch_leaves_room_for_more_to_arrive(
    database_url: str, broker_url: str, agent: FakeAgent, site: str
) -> None:
    """Were it to gather all that may be under way, it would wait for `commit_ms_max`, and nothing could come meanwhile."""
    slow = settings(database_url, broker_url, site, mqtt_receive_max=4, commit_ms_max=500)
    with running(slow) as intake:
        agent.send(agent.declare())
        for n in range(19):
            agent.send(agent.readings(series(3, start=3 * n)))
        agent.wait_acked(*range(20))
        assert metric(intake, "transactions_total", outcome="committed") >= 10


def test_database_away_and_back(agent: FakeAgent, database_url: str, broker_url: str, site: str) -> None:
    name = urlsplit(database_url).path.removeprefix("/")
    server = database_url.replace(name, "postgres", 1)
    with running(settings(database_url, broker_url, site, intake_queue_messages_max=5, commit_ms_max=0)) as intake:
        agent.send(agent.declare())
        agent.wait_acked(0)
        query(server, f'alter database "{name}" allow_connections false')
        query(server, "select pg_terminate_backend(pid) from pg_stat_activity where datname = %s", (name,))
        for n in range(40):
            agent.send(agent.readings(series(5, 5 * n)))
        wait_until(lambda: metric(intake, "queue_messages") == 5, "the queue is full and no longer grows")
        assert not any(agent.is_acked(n) for n in range(1, 41))
        query(server, f'alter database "{name}" allow_connections true')
        agent.wait_acked(*range(41))
    assert query(database_url, READINGS) == stored_rows(series(200))


def test_two_collectors_on_one_shard_stay_correct(
    agent: FakeAgent, database_url: str, broker_url: str, site: str
) -> None:
    chosen = settings(database_url, broker_url, site)
    other = settings(database_url, broker_url, site, collector_client_id=f"d-{site}", staged_s=0.05)
    with running(chosen) as one, running(other) as two, FakeAgent(broker_url, site, "gw-2") as second:
        for a in (agent, second):
            a.send(a.declare())
        for n in range(60):
            for a in (agent, second):
                a.send(a.readings(series(20, 20 * n)))
        for a in (agent, second):
            a.wait_acked(*range(61))
        wait_until(lambda: metric(one, "messages_total") + metric(two, "messages_total") >= 244, "both saw everything")
    assert query(database_url, READINGS.replace("name,", "agent || name,")) == [
        (f"gw-{g}{n}", *more) for g in (1, 2) for n, *more in stored_rows(series(1200))
    ]
    assert query(database_url, "select distinct chunks::text from received") == [("{[0,61)}",)]
    assert query(database_url, "select count(*) from reading_conflict") == [(0,)]


def test_messages_in_flight_at_a_stop_are_stored_by_the_next_collector(
    agent: FakeAgent, database_url: str, broker_url: str, site: str
) -> None:
    """The broker keeps the session, so even without a resend of the agent nothing is missing."""
    chosen = settings(database_url, broker_url, site)
    with running(chosen):
        agent.send(agent.declare())
        agent.wait_acked(0)
    for n in range(30):
        agent.send(agent.readings(series(5, 5 * n)))
    with running(chosen):
        agent.wait_acked(*range(31))
    assert query(database_url, READINGS) == stored_rows(series(150))


def test_a_retention_run_under_a_running_collector(intake: Intake, agent: FakeAgent, database_url: str) -> None:
    """What comes for dropped days is set aside. A day that the collector has made and that is gone is made again."""
    t = NOW_MS - 40 * 86_400_000
    agent.send(agent.declare())
    agent.send(agent.readings([(0, t, 1, 3)]))
    agent.wait_acked(0, 1)
    query(database_url, "select pp_drop_before('reading', now() - interval '10 days')")
    agent.send(agent.readings([(0, t + 1, 2, 3)]))
    agent.wait_acked(2)
    assert query(database_url, READINGS) == []
    assert query(database_url, "select t_ms, reason from rejected_reading") == [(t + 1, "dropped")]
    assert metric(intake, "rejected_rows_total", reason="dropped") == 1
    query(database_url, "delete from reading_drop")
    agent.send(agent.readings([(0, t + 2, 2, 3)]))
    agent.wait_acked(3)
    assert query(database_url, READINGS) == [("c0", t + 2, 2, 3, 0)]


def test_a_shard_takes_only_its_slots(database_url: str, broker_url: str, site: str, agent: FakeAgent) -> None:
    mine = topics.slot_of(agent.agent)
    others = "".join(s for s in topics.SLOTS if s != mine)
    with running(settings(database_url, broker_url, site, collector_slots=others)):
        agent.send(agent.declare())
        with running(
            settings(database_url, broker_url, site, collector_slots=mine, collector_client_id=f"m-{site}")
        ) as shard:
            agent.send(agent.declare())
            agent.wait_acked(1)
            assert metric(shard, "messages_total") == 1
    assert received(database_url, site) == [(1, 1)]


def test_run_ends_when_asked(database_url: str, broker_url: str, site: str, agent: FakeAgent) -> None:
    intake = Intake(settings(database_url, broker_url, site))
    stop = threading.Event()
    thread = threading.Thread(target=intake.run, args=(stop,))
    thread.start()
    wait_until(lambda: metric(intake, "connected", part="broker") == 1, "connected")
    agent.send(agent.declare())
    agent.wait_acked(0)
    stop.set()
    thread.join(10)
    assert not thread.is_alive()


def test_broker_away_and_back_without_its_memory(database_url: str, site: str) -> None:
    """The subscriptions are gone with the broker's sessions; agents send again what was not acknowledged."""
    servers.need_mosquitto()
    port = find_free_port(set())
    with servers.mosquitto(port) as url:
        intake = Intake(settings(database_url, url, site))
        intake.start()
        with FakeAgent(url, site) as agent:
            wait_until(lambda: metric(intake, "connected", part="broker") == 1, "connected")
            declaration = agent.declare()
            agent.send(declaration)
            agent.wait_acked(0)
    wait_until(lambda: metric(intake, "connected", part="broker") == 0, "lost")
    with servers.mosquitto(port) as url, FakeAgent(url, site) as agent:
        wait_until(lambda: metric(intake, "connected", part="broker") == 1, "back")
        agent.send(declaration)
        agent.seq = 1
        agent.send(agent.readings(series(5)))
        agent.wait_acked(0, 1)
        intake.stop()
    assert query(database_url, READINGS) == stored_rows(series(5))


def test_the_embedded_broker_never_stalls(database_url: str, instance: Instance, site: str) -> None:
    """It wants acknowledgements in order and has 100 in flight at most: what is not stored must not block the rest."""
    with (
        EmbeddedBroker(instance) as broker,
        running(settings(database_url, broker.url, site)),
        FakeAgent(broker.url, site) as agent,
    ):
        time.sleep(0.5)  # until the collector's subscriptions are in force
        agent.send(agent.declare())
        for n in range(150):
            agent.send(b"unreadable %d" % n)
            agent.send(agent.readings(series(2, 2 * n), table="not-declared" if n % 3 else agent.table))
        agent.wait_acked(0, *range(1, 151, 3))
    assert query(database_url, "select count(*) from dead_letter") == [(150,)]
    assert query(database_url, "select count(*) from reading") == [(100,)]


def test_two_writers_of_one_epoch_forget_nothing(
    database_url: str, broker_url: str, site: str, agent: FakeAgent
) -> None:
    """Each gets other chunks, and all chunks hold the same facts: `received` is the union, no order deadlocks for good."""
    chosen = settings(database_url, broker_url, site)
    topic = topics.up(site, agent.agent, "live")
    messages = [Message(topic, agent.declare())]
    messages += [
        Message(topic, agent.readings([*series(30, n % 7), *series(30)][:: 1 - 2 * (n % 2)])) for n in range(80)
    ]

    def write(part: list[Message]) -> None:
        with connection.connect(database_url, application="test", timeout_s=30) as conn:
            writer = Writer(chosen, Metrics())
            for message in part:
                writer.write(conn, [inbox.read(message)])

    write(messages[:1])
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(write, [messages[1::2], messages[2::2]]))
    assert received(database_url, site) == [(0, 80)]
    assert query(database_url, READINGS) == stored_rows(series(36))
