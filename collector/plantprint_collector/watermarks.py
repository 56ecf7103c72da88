"""Continuity of what each agent delivers: chunks that have not come yet, and those that never will.

An agent numbers its chunks (`seq`), and `received` holds per epoch which came. One below the newest that is not there may
still be in the agent's outbox: live data overtakes a backlog. Once the agent says that it has nothing old left to deliver, it
is missed.
"""

from collections.abc import Iterable
from typing import Any

from psycopg import Connection

from plantprint.wire.chunk import CHUNK_DAMAGED, OUTBOX_DAMAGED
from plantprint.wire.messages import AgentState
from plantprint_collector.received import Ranges

Conn = Connection[tuple[Any, ...]]

EXPLAINED = "explained: "
# By the agent's own clock. On the way are chunks of the last moments, and they come in order unless one is sent again.
_YOUNG_MS = 5_000
# Losses on record of chunks that had a number; of those that an outbox had no room for none was given.
_REASONS = (CHUNK_DAMAGED, OUTBOX_DAMAGED, EXPLAINED)
_HOLES = "(int8multirange(int8range(0, upper(range_merge(chunks)))) - chunks)"
_OUTSTANDING = f"""
select agent, epoch, lower(hole), upper(hole) - 1 from received, unnest({_HOLES}) as hole
where site = %s and not isempty(chunks) order by 1, 2, 3
"""
_NOTE = f"""
update received r set missed = r.missed + {_HOLES} from unnest(%s::text[], %s::text[]) as a(site, agent)
where (r.site, r.agent) = (a.site, a.agent) and not isempty(chunks) and not {_HOLES} <@ r.missed
"""
# The start of an epoch is missed only where the agent had an older one here.
_MISSED = f"""
select agent, epoch, lower(hole), upper(hole) - 1 from received r, unnest({_HOLES} * missed) as hole
where site = %s and not isempty(chunks) and (lower(hole) > 0 or exists (
    select from received o where (o.site, o.agent) = (r.site, r.agent) and o.updated_at < r.first_at))
order by 1, 2, 3
"""
_ON_RECORD = """
select agent, sum(lost_chunks)::bigint from gap
where site = %s and exists (select from unnest(%s::text[]) as known where starts_with(reason, known)) group by agent
"""
_EXPLAIN = """
insert into gap (site, agent, epoch, seq, from_at, to_at, lost_chunks, lost_rows, reason)
values (%s, %s, %s, %s, now(), now(), %s, 0, %s) on conflict do nothing
"""


def has_delivered(state: AgentState) -> bool:
    """Whether an agent has nothing left but what is on its way. What a broker says for one that is gone tells nothing."""
    if not state.online:
        return False
    return state.outbox_chunks == 0 or (state.oldest_ms is not None and 0 <= state.at_ms - state.oldest_ms < _YOUNG_MS)


def note_missed(conn: Conn, agents: Iterable[tuple[str, str]]) -> None:
    """Writes down what has not come of agents (site, agent) that have delivered all."""
    columns = [list(column) for column in zip(*sorted(agents), strict=True)]
    if columns:
        conn.execute(_NOTE.encode(), columns)


def outstanding(conn: Conn, site: str) -> dict[str, list[list[int]]]:
    """By `agent/epoch` the chunks below the newest that have not come, as first and last of each run."""
    found: dict[str, list[list[int]]] = {}
    for agent, epoch, low, high in conn.execute(_OUTSTANDING.encode(), (site,)).fetchall():
        found.setdefault(f"{agent}/{epoch}", []).append([low, high])
    return found


def missed(conn: Conn, site: str) -> dict[str, dict[str, Ranges]]:
    """By agent and epoch the chunks that never come, of agents that have more of them than losses on record."""
    found: dict[str, dict[str, Ranges]] = {}
    for agent, epoch, low, high in conn.execute(_MISSED.encode(), (site,)).fetchall():
        found.setdefault(agent, {}).setdefault(epoch, []).append((low, high))
    on_record: dict[str, int] = dict(conn.execute(_ON_RECORD, (site, list(_REASONS))).fetchall())
    return {agent: epochs for agent, epochs in found.items() if count(epochs) > on_record.get(agent, 0)}


def missed_everywhere(conn: Conn) -> dict[tuple[str, str], int]:
    """How many chunks never come, by site and agent; none where a record explains them."""
    sites = conn.execute("select distinct site from received where not isempty(missed)").fetchall()
    return {(site, agent): count(epochs) for (site,) in sites for agent, epochs in missed(conn, site).items()}


def count(epochs: dict[str, Ranges]) -> int:
    return sum(high - low + 1 for ranges in epochs.values() for low, high in ranges)


def explain(conn: Conn, site: str, agent: str, why: str) -> int:
    """Records what an agent misses now as lost, with the reason; returns how many chunks that are."""
    epochs = missed(conn, site).get(agent, {})
    for epoch, ranges in epochs.items():
        for low, high in ranges:
            conn.execute(_EXPLAIN, (site, agent, epoch, low, high - low + 1, EXPLAINED + why))
    return count(epochs)
