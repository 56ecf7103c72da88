"""How a batch is shared among sessions: by agent, about equally, every item once and in its order."""

from hypothesis import given
from hypothesis import strategies as st

from plantprint.wire import chunk as wire
from plantprint.wire import topics
from plantprint_collector import inbox
from plantprint_collector.inbox import Chunk, Item, Message, State
from plantprint_collector.sessions import shares


def chunk(agent: str, seq: int, n: int) -> Item:
    body = wire.encode_rows([(0, 1_764_000_000_000 + i, i, 3) for i in range(n)])
    return inbox.read(Message(topics.up("s", agent, "live"), wire.seal("s", agent, "e", seq, "readings", body, n)[1]))


def seqs(items: list[Item], agent: str) -> list[int]:
    return [i.header.seq for i in items if isinstance(i, Chunk) and i.header.agent == agent]


def rows(items: list[Item]) -> int:
    return sum(inbox.row_count(item) for item in items)


@given(st.lists(st.tuples(st.sampled_from("abcde"), st.integers(1, 9)), min_size=1, max_size=30), st.integers(1, 4))
def test_every_chunk_is_in_one_share_with_all_of_its_agent_in_order(drawn: list[tuple[str, int]], number: int) -> None:
    items = [chunk(agent, seq, n) for seq, (agent, n) in enumerate(drawn)]
    parts = shares(items, number, 0)
    assert 1 <= len(parts) <= number
    assert all(parts)
    for agent in {agent for agent, _ in drawn}:
        holding = [seqs(part, agent) for part in parts if seqs(part, agent)]
        assert holding == [seqs(items, agent)]
    largest = max(sum(n for agent, n in drawn if agent == name) for name in "abcde")
    assert max(map(rows, parts)) - min(map(rows, parts)) <= largest


def test_small_batches_and_those_of_one_agent_stay_whole_and_what_is_no_chunk_goes_first() -> None:
    items = [chunk("a", 0, 5), chunk("b", 0, 5)]
    assert shares(items, 2, 11) == [items]
    assert len(shares(items, 2, 10)) == 2
    alone = [chunk("a", n, 9) for n in range(3)]
    assert shares(alone, 2, 0) == [alone]
    body = b'{"v":1,"agent":"b","epoch":"e","online":true,"at_ms":1}'
    state = inbox.read(Message(topics.state("s", "b"), body))
    assert isinstance(state, State)
    assert shares([state], 2, 0) == [[state]]
    assert state in shares([*items, state], 2, 0)[0]
