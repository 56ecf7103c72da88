"""Dead letters and rejected readings after a repair: what works now is stored and leaves the list."""

from collections.abc import Iterator

import psycopg
import pytest
from collector_harness import READINGS, running, settings
from fake_agent import NOW_MS, FakeAgent, query, wait_until
from typer.testing import CliRunner

from plantprint.times import SiteClock
from plantprint.wire import messages, topics
from plantprint.wire.chunk import BadBodyError, UnreadableEnvelopeError
from plantprint_cli.__main__ import app
from plantprint_collector import deadletter, inbox, store

pytestmark = pytest.mark.integration


@pytest.fixture
def agent(database_url: str, broker_url: str, site: str) -> Iterator[FakeAgent]:
    with running(settings(database_url, broker_url, site)), FakeAgent(broker_url, site) as connected:
        yield connected


def test_a_letter_of_a_faulty_program_is_stored_by_the_repaired_one(
    agent: FakeAgent, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def faulty(*_: object) -> list[object]:
        raise BadBodyError("a bug")

    agent.send(agent.declare())
    with monkeypatch.context() as patch:
        patch.setattr(inbox, "compact_rows", faulty)
        agent.send(agent.readings([(0, NOW_MS, 7, 3)]))
        agent.wait_acked(0, 1)
    agent.send(agent.seal("readings", b"never", 1))
    agent.wait_acked(2)
    letters = deadletter.list_letters(database_url)
    assert [(x.seq, x.acknowledged, x.agent) for x in letters] == [(2, True, "gw-1"), (1, True, "gw-1")]

    report = deadletter.replay(database_url)
    assert (report.letters, report.readings, list(report.failed)) == (1, 0, [letters[0].dead_letter_id])
    assert query(database_url, READINGS) == [("c0", NOW_MS, 7, 3, 0)]
    again = deadletter.replay(database_url)
    assert (again.letters, len(again.failed)) == (0, 1)
    assert query(database_url, "select seen from dead_letter") == [(1,)]
    assert deadletter.discard(database_url, report.failed) == 1
    assert deadletter.list_letters(database_url) == []


def test_unacknowledged_letters_do_not_count_twice(
    agent: FakeAgent, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def faulty(*_: object) -> None:
        raise UnreadableEnvelopeError("a bug")

    agent.send(agent.declare())
    agent.wait_acked(0)
    payload = agent.readings([(0, NOW_MS, 7, 3)])
    with monkeypatch.context() as patch:
        patch.setattr(inbox, "unseal", faulty)
        agent.send(payload)
        wait_until(lambda: len(deadletter.list_letters(database_url)) == 1, "dead-lettered")
    agent.send(payload)
    agent.wait_acked(1)
    report = deadletter.replay(database_url)
    assert (report.letters, report.failed) == (1, {})
    assert query(database_url, READINGS) == [("c0", NOW_MS, 7, 3, 0)]


def test_readings_rejected_by_a_wrong_clock_are_stored_once_it_is_right(agent: FakeAgent, database_url: str) -> None:
    ahead = NOW_MS + 10**9
    agent.send(agent.declare())
    agent.send(agent.readings([(0, ahead, 7, 3), (1, ahead, 8, 3), (50, ahead, 9, 3)], revision=2))
    agent.wait_acked(0, 1)
    assert query(database_url, "select count(*) from rejected_reading") == [(3,)]
    assert deadletter.replay(database_url).readings == 0
    with psycopg.connect(database_url, autocommit=True) as conn:
        store.set_clock(conn, agent.site, SiteClock("data"))
    report = deadletter.replay(database_url)
    assert (report.readings, report.readings_left) == (2, {f"{agent.site}: channel": 1})
    assert query(database_url, READINGS) == [("c0", ahead, 7, 3, 2), ("c1", ahead, 8, 3, 2)]
    assert query(database_url, "select count(*) from latest") == [(2,)]
    assert query(database_url, "select channel from rejected_reading") == [("#50",)]


def test_a_bare_event_letter_stays_while_it_is_bad(agent: FakeAgent, database_url: str) -> None:
    event = messages.EventMessage(kind="job_end", at="never", body={"job": "j"}, event_id="e")
    agent.send(agent.declare())
    agent.wait_acked(0)
    agent.publish(topics.production(agent.site, "mes"), messages.encode(event))
    wait_until(lambda: len(deadletter.list_letters(database_url)) == 1, "dead-lettered")
    command = ["deadletter", "replay", "--database-url", database_url]
    said = CliRunner().invoke(app, command)
    assert said.exit_code == 1
    assert "stays: " in said.output
    assert "RFC 3339" in said.output
    assert deadletter.discard(database_url, [x.dead_letter_id for x in deadletter.list_letters(database_url)]) == 1
    assert CliRunner().invoke(app, command).exit_code == 0
