"""Continuity: a chunk that never comes is found, one that may still come is not, and a loss on record explains it."""

from collections.abc import Iterator

import pytest
from accounting_cases import HOUR
from ledger_rig import SITE
from statement_scenario import AGENT, Gateway
from typer.testing import CliRunner

from plantprint.wire import chunk as wire
from plantprint.wire import messages, topics
from plantprint_cli.__main__ import app
from plantprint_collector.audit import SiteAudit, audit_site
from plantprint_collector.inbox import Message
from plantprint_collector.store_watch import look

pytestmark = pytest.mark.integration

holes = pytest.mark.contradicts("chunks that never come")
IDLE = messages.AgentState(agent=AGENT, epoch="e1", online=True, at_ms=HOUR)


@pytest.fixture
def gateway(database_url: str) -> Iterator[Gateway]:
    made = Gateway(database_url)
    with made.conn:
        yield made


def told(state: messages.AgentState = IDLE) -> Message:
    return Message(topics.state(SITE, AGENT), messages.encode(state))


def gap(gateway: Gateway, reason: str, chunks: int) -> Message:
    lost = wire.Gap(from_ms=HOUR, to_ms=HOUR, lost_chunks=chunks, lost_rows=0, reason=reason)
    return gateway.chunk("gap", wire.encode_gap(lost), 1)


def audit(gateway: Gateway) -> SiteAudit:
    return audit_site(gateway.conn, SITE)


def deliver_without(gateway: Gateway, *absent: int) -> list[Message]:
    """Seven chunks, of which some do not come yet."""
    several = [gateway.declare() for _ in range(7)]
    gateway.write(*(message for seq, message in enumerate(several) if seq not in absent))
    return several


def test_what_an_agent_that_has_delivered_all_did_not_bring_is_missed_until_it_comes(gateway: Gateway) -> None:
    several = deliver_without(gateway, 1, 3, 4)
    assert not audit(gateway).findings
    gateway.write(told())
    ((check, place, _, found),) = [(f.check, f.place, f.expected, f.found) for f in audit(gateway).findings]
    assert (check, place) == ("continuity", f"{SITE} {AGENT}")
    assert found.startswith("3 chunks never came")
    assert found.endswith("{'e1': [(1, 1), (3, 4)]}")
    assert look(gateway.conn, topics.SLOTS, HOUR).missed == {(SITE, AGENT): 3}
    gateway.write(several[3], several[1])
    assert audit(gateway).findings[0].found.startswith("1 chunks never came")
    gateway.write(several[4], told())
    assert (audit(gateway).findings, audit(gateway).outstanding) == ([], {})
    assert look(gateway.conn, topics.SLOTS, HOUR).missed == {}


@pytest.mark.parametrize(
    ("state", "is_missed"),
    [
        (messages.AgentState(agent=AGENT, epoch="e1", online=False, at_ms=HOUR), False),
        (messages.AgentState(agent=AGENT, epoch="e1", online=True, at_ms=HOUR, outbox_chunks=9), False),
        (messages.AgentState(agent=AGENT, epoch="e1", online=True, at_ms=HOUR, outbox_chunks=9, oldest_ms=HOUR - 60_000), False),
        (messages.AgentState(agent=AGENT, epoch="e1", online=True, at_ms=HOUR, outbox_chunks=9, oldest_ms=HOUR + 1), False),
        pytest.param(
            messages.AgentState(agent=AGENT, epoch="e1", online=True, at_ms=HOUR, outbox_chunks=9, oldest_ms=HOUR - 300),
            True, marks=holes,
        ),
    ],
    ids=["its broker says it is gone", "a backlog", "an old backlog", "its clock was set back", "only what is on its way"],
)  # fmt: skip
def test_a_chunk_is_missed_only_when_its_agent_cannot_have_it(
    gateway: Gateway, state: messages.AgentState, is_missed: bool
) -> None:
    deliver_without(gateway, 2)
    gateway.write(told(state))
    assert bool(audit(gateway).findings) is is_missed
    assert audit(gateway).outstanding == {f"{AGENT}/e1": [[2, 2]]}


def test_a_state_that_comes_with_what_was_absent_makes_nothing_missed(gateway: Gateway) -> None:
    several = deliver_without(gateway, 2)
    gateway.write(told(), several[2])
    assert gateway.conn.execute("select isempty(missed) from received").fetchall() == [(True,)]


def test_only_a_record_of_numbered_chunks_explains_what_is_missed(gateway: Gateway) -> None:
    deliver_without(gateway, 2, 4)
    gateway.write(gap(gateway, "disk full", 5), gap(gateway, wire.CHUNK_DAMAGED, 1), told())
    assert audit(gateway).findings
    gateway.write(gap(gateway, f"{wire.OUTBOX_DAMAGED}, set aside as x", 1))
    assert not audit(gateway).findings


@holes
def test_an_operator_can_say_why_they_never_come(gateway: Gateway, database_url: str) -> None:
    deliver_without(gateway, 2, 3, 5)
    gateway.write(told())
    command = ["lost", AGENT, "--site", SITE, "--why", "the gateway burnt", "--database-url", database_url]
    said = CliRunner().invoke(app, command)
    assert (said.exit_code, said.output) == (0, "3 chunks of gw are on record as lost\n")
    assert CliRunner().invoke(app, command).exit_code == 1
    assert not audit(gateway).findings
    assert gateway.conn.execute("select seq, lost_chunks, reason from gap order by 1").fetchall() == [
        (2, 2, "explained: the gateway burnt"),
        (5, 1, "explained: the gateway burnt"),
    ]
    gateway.epoch, gateway.seq = "e2", 1
    gateway.write(gateway.declare(), told())
    assert [f.found.split()[0] for f in audit(gateway).findings] == ["4"]


@holes
def test_what_was_delivered_before_the_database_knew_the_agent_is_not_missed(gateway: Gateway) -> None:
    gateway.seq = 5
    gateway.write(gateway.declare(), told())
    assert not audit(gateway).findings
    gateway.epoch, gateway.seq = "e2", 3
    gateway.write(gateway.declare(), told())
    assert [f.found.endswith("{'e2': [(0, 2)]}") for f in audit(gateway).findings] == [True]
