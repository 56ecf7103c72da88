"""A site that only a mistyped message names: stored like any other, in nobody's way, said aloud, and easy to take away."""

from collections.abc import Iterator

import psycopg
import pytest
from collector_harness import running, settings
from fake_agent import NOW_MS, FakeAgent, query, wait_until
from ledger_rig import mill
from typer.testing import CliRunner

from plantprint.plant import Plant
from plantprint.times import format_instant
from plantprint.wire import messages, topics
from plantprint_cli.__main__ import app
from plantprint_collector import sites, store, store_watch
from plantprint_collector.accountant import Accountant
from plantprint_collector.accountant_config import AccountantSettings
from plantprint_collector.connection import connect

pytestmark = pytest.mark.integration

EVENT = messages.encode(
    messages.EventMessage(kind="order", at=format_instant(NOW_MS), body={"batch": "b1"}, event_id="e1")
)


@pytest.fixture
def agent(database_url: str, broker_url: str, site: str) -> Iterator[FakeAgent]:
    with running(settings(database_url, broker_url, site)), FakeAgent(broker_url, site) as connected:
        yield connected


def apply_model(database_url: str, site: str) -> None:
    document = mill()
    document["site"]["id"] = site
    body = Plant.model_validate(document).model_dump(mode="json", by_alias=True)
    with psycopg.connect(database_url) as conn:
        store.apply_plant_model(conn, site, "", body, None)


def test_it_is_stored_and_an_issue_says_so_until_it_has_a_model(agent: FakeAgent, database_url: str) -> None:
    topic = topics.production(agent.site, "mes")
    agent.publish(topic, EVENT)
    wait_until(lambda: bool(agent.event_acks), "confirmed")
    agent.send(agent.declare())
    agent.send(agent.readings([(0, NOW_MS, 7, 3)]))
    agent.wait_acked(0, 1)
    issues = "select code, place, open from issue"
    assert query(database_url, issues) == [(store.NO_MODEL, topic, True)]
    assert query(database_url, "select count(*) from reading") == [(1,)]
    with connect(database_url, application="test", timeout_s=30) as conn:
        seen = store_watch.look(conn, "0123456789abcdef", NOW_MS)
        assert [*seen.marks, *seen.lags_s] == []
        assert seen.without_model == frozenset({agent.site})
        apply_model(database_url, agent.site)
        seen = store_watch.look(conn, "0123456789abcdef", NOW_MS)
        assert [*seen.marks, *seen.lags_s] == [agent.site] * 2
        assert seen.without_model == frozenset()
    assert query(database_url, issues) == [(store.NO_MODEL, topic, False)]


def test_an_unusable_event_makes_no_site(agent: FakeAgent, database_url: str) -> None:
    agent.publish(topics.production("nosuchsite", "mes"), b"{}")
    wait_until(lambda: query(database_url, "select count(*) from dead_letter") == [(1,)], "set aside")
    assert query(database_url, "select count(*) from site") == [(0,)]


def test_its_marks_are_no_backlog(agent: FakeAgent, database_url: str) -> None:
    """They would never be worked in; the first model marks all there is."""
    agent.send(agent.declare())
    agent.send(agent.readings([(0, NOW_MS, 7, 3)]))
    agent.wait_acked(0, 1)
    assert query(database_url, "select count(*) from dirty") == [(1,)]
    accountant = Accountant(database_url, AccountantSettings(accountant_retry_s=0.05), lambda *_: True)
    accountant.start()
    try:
        wait_until(lambda: query(database_url, "select count(*) from dirty") == [(0,)], "no mark is left")
    finally:
        assert accountant.stop(10)
    assert accountant.failures == 0


def test_it_can_be_taken_away_and_a_real_one_cannot(agent: FakeAgent, database_url: str) -> None:
    agent.send(agent.declare())
    agent.send(agent.readings([(0, NOW_MS, 7, 3)]))
    agent.publish(topics.state(agent.site, "gw-1"), b'{"agent":"gw-1","epoch":"e1","online":true,"at_ms":1}')
    agent.publish(topics.production("good", "mes"), EVENT)
    agent.wait_acked(0, 1)
    wait_until(lambda: query(database_url, "select count(*) from site") == [(2,)], "both are there")
    wait_until(lambda: query(database_url, "select count(*) from agent") == [(1,)], "the state too")
    apply_model(database_url, "good")
    found = {one.site: (one.has_plant_model, one.agents) for one in sites.list_sites(database_url)}
    assert found == {agent.site: (False, ["gw-1"]), "good": (True, [])}
    run = CliRunner().invoke(
        app, ["site", "discard", agent.site, "--yes"], env={"PLANTPRINT_DATABASE_URL": database_url}
    )
    assert run.exit_code == 0, run.output
    assert "1 reading" in run.output
    for table in ("reading", "latest", "channel", "received", "agent", "dirty"):
        named = "select count(*) from {}" + (" where site <> 'good'" if table == "dirty" else "")
        assert query(database_url, named.format(table)) == [(0,)], table
    assert query(database_url, "select site from site") == [("good",)]
    assert query(database_url, "select site from production_event") == [("good",)]
    for name in ("good", agent.site):
        with pytest.raises(sites.SiteError):
            sites.discard(database_url, name)
