"""Production events: identity and revision, confirmation after the commit, and the marks of what they change."""

from collections.abc import Iterator

import psycopg
import pytest
from collector_harness import running, settings
from fake_agent import NOW_MS, FakeAgent, query, wait_until

from plantprint.facts import ProductionEvent
from plantprint.times import SiteClock, format_instant, hour_floor
from plantprint.wire import messages, topics
from plantprint_collector import store

pytestmark = pytest.mark.integration

HOUR_MS = 3_600_000
EVENTS = (
    "select source, event_id, revision, kind, (extract(epoch from at) * 1000)::bigint, body"
    " from production_event order by 1, 2, 3"
)
MARKS = (
    "select (extract(epoch from from_at) * 1000)::bigint, (extract(epoch from to_at) * 1000)::bigint, cause"
    " from dirty where channel_id is null order by dirty_id"
)


@pytest.fixture
def agent(database_url: str, broker_url: str, site: str) -> Iterator[FakeAgent]:
    with running(settings(database_url, broker_url, site)), FakeAgent(broker_url, site) as connected:
        connected.publish(topics.state(site, "gw-1"), b'{"agent":"gw-1","epoch":"e1","online":true,"at_ms":1}')
        wait_until(lambda: bool(query(database_url, "select 1 from agent")), "the collector has subscribed")
        yield connected


def message(**more: object) -> messages.EventMessage:
    values: dict[str, object] = {
        "kind": "job_end",
        "at": format_instant(NOW_MS),
        "body": {"job": "j1"},
        "event_id": "e1",
    }
    return messages.EventMessage(**(values | more))  # type: ignore[arg-type]


def publish(agent: FakeAgent, payload: bytes, source: str = "mes") -> messages.EventAck:
    before = len(agent.event_acks)
    agent.publish(topics.production(agent.site, source), payload)
    wait_until(lambda: len(agent.event_acks) > before, "confirmed")
    return agent.event_acks[-1]


def test_bare_events_are_confirmed_after_the_commit(agent: FakeAgent, database_url: str) -> None:
    event = message(body={"job": "j1", "note": "完成", "weight": 1.5, "none": None})
    stored = publish(agent, messages.encode(event))
    assert (stored.event_id, stored.revision, stored.status) == ("e1", 0, "stored")
    rows = query(database_url, EVENTS)
    assert rows == [("mes", "e1", 0, "job_end", NOW_MS, {"job": "j1", "note": "完成", "weight": 1.5, "none": None})]
    assert publish(agent, messages.encode(event)).status == "known"
    other = publish(agent, messages.encode(message(body={"job": "j2"})))
    assert other.status == "rejected"
    assert "send the correction as revision 1" in other.message
    assert publish(agent, messages.encode(message(body={"job": "j2"}, revision=1))).status == "stored"
    assert query(database_url, EVENTS)[0] == rows[0]
    assert query(database_url, "select count(*) from production_event") == [(2,)]


def test_without_an_id_equal_content_is_one_event(agent: FakeAgent, database_url: str) -> None:
    first = publish(agent, messages.encode(message(event_id="")))
    again = publish(agent, messages.encode(message(event_id="")))
    assert (first.status, again.status) == ("stored", "known")
    assert first.event_id == again.event_id != ""


def test_a_bad_event_is_refused_with_its_reason_and_kept(agent: FakeAgent, database_url: str) -> None:
    bad = messages.encode(message(at="2026-11-24T08:00:00", event_id="e9"))
    refused = publish(agent, bad)
    assert (refused.event_id, refused.status) == ("e9", "rejected")
    assert "offset" in refused.message
    assert publish(agent, b"{}").status == "rejected"
    assert publish(agent, messages.encode(message(body={"job": "a\0b"}))).status == "rejected"
    assert publish(agent, messages.encode(message(event_id="x" * 300))).status == "rejected"
    assert publish(agent, messages.encode(message(source="erp"))).status == "rejected"
    kept = query(database_url, "select payload, acknowledged from dead_letter order by dead_letter_id")
    assert len(kept) == 5
    assert (bytes(kept[0][0]), kept[0][1]) == (bad, True)
    assert publish(agent, messages.encode(message())).status == "stored"


def test_events_through_an_agent(agent: FakeAgent, database_url: str) -> None:
    events = [message(source="mes", event_id="a"), message(source="", event_id="b"), message(at="yesterday")]
    agent.send(agent.seal("events", messages.encode_many(events), 3))
    agent.wait_acked(0)
    assert [row[:2] for row in query(database_url, EVENTS)] == [("gw-1", "b"), ("mes", "a")]
    assert query(database_url, "select seq, acknowledged, reason like 'event 2: at:%%' from dead_letter") == [
        (0, True, True)
    ]


def test_an_event_marks_the_instants_at_which_it_changes_something_and_notifies(
    agent: FakeAgent, database_url: str
) -> None:
    with psycopg.connect(database_url, autocommit=True) as listener:
        listener.execute("listen plantprint_event")
        publish(agent, messages.encode(message()))
        heard = [(n.channel, n.payload) for n in listener.notifies(timeout=5, stop_after=1)]
    assert heard == [("plantprint_event", agent.site)]
    publish(agent, messages.encode(message(at=format_instant(NOW_MS - HOUR_MS), revision=1)))
    later = NOW_MS + 2 * HOUR_MS
    publish(
        agent,
        messages.encode(message(kind="withdraw", event_id="w", at=format_instant(later), body={"event_id": "e1"})),
    )
    assert sorted(query(database_url, MARKS)) == [
        (NOW_MS - HOUR_MS, NOW_MS - HOUR_MS, "event job_end"),
        (NOW_MS - HOUR_MS, NOW_MS - HOUR_MS, "event withdraw"),
        (NOW_MS, NOW_MS, "event job_end"),
        (NOW_MS, NOW_MS, "event job_end"),
        (NOW_MS, NOW_MS, "event withdraw"),
        (later, later, "event withdraw"),
    ]


def test_store_functions(database_url: str) -> None:
    event = ProductionEvent("mes", "e1", 0, "job_end", NOW_MS, {"job": "j"})
    plant = {"site": {"id": "s", "name": {"en": "S", "zh": "厂"}}}
    with psycopg.connect(database_url, autocommit=True) as conn:
        assert store.insert_event(conn, "s", event) == "stored"
        assert store.insert_event(conn, "s", event) == "known"
        conn.execute("delete from dirty")

        hour_ms = hour_floor(NOW_MS)
        assert store.apply_plant_model(conn, "s", "v1", plant, hour_ms) == 1
        assert store.apply_plant_model(conn, "s", "v1", plant, None) == 1
        assert store.apply_plant_model(conn, "s", "v2", plant, hour_ms) == 2
        assert conn.execute("select version, effective_at is null from plant_model order by 1").fetchall() == [
            (1, True), (2, False),
        ]  # fmt: skip
        assert conn.execute("select name from site").fetchone() == ({"en": "S", "zh": "厂"},)
        assert query(database_url, MARKS) == [
            (store.OPEN_START_MS, store.OPEN_END_MS, "model 1"), (hour_ms - HOUR_MS, store.OPEN_END_MS, "model 2"),
        ]  # fmt: skip

        factors = [("cn.grid", {"kg": "0.5"}), ("cn.gas", {"kg": "2"})]
        assert store.load_factors(conn, factors) == 2
        assert store.load_factors(conn, [*factors[:1], ("cn.gas", {"kg": "2.1"})]) == 1
        assert conn.execute("select factor_id, version from factor order by 1, 2").fetchall() == [
            ("cn.gas", 1), ("cn.gas", 2), ("cn.grid", 1),
        ]  # fmt: skip

        assert store.get_clock(conn, "elsewhere") == SiteClock()
        clock = SiteClock("run", 1, 2, 60)
        store.set_clock(conn, "s", clock)
        assert store.get_clock(conn, "s") == clock

        before = store.store_id(conn)
        assert store.store_id(conn) == before
        assert store.renew_store_id(conn) != before
