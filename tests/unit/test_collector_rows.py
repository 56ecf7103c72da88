"""Readings of a transaction: the winner per fact whatever the order, its COPY bytes, marks and newest values."""

import struct
from collections.abc import Sequence

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from plantprint.facts import Reading
from plantprint_collector import rows as r

FEW = st.tuples(st.integers(1, 3), st.integers(0, 4), st.integers(-2, 2), st.integers(0, 3), st.integers(0, 1))


def array(rows: Sequence[tuple[int, ...]]) -> r.Array:
    return np.array(rows, np.int64).reshape(-1, 5)


def best(rows: list[tuple[int, ...]]) -> list[list[int]]:
    winners: dict[tuple[int, int], Reading] = {}
    for channel, t, value, quality, revision in rows:
        reading = Reading(t, value, quality, revision)
        if (channel, t) not in winners or reading.rank > winners[channel, t].rank:
            winners[channel, t] = reading
    return [[c, t, w.value, w.quality, w.revision] for (c, t), w in sorted(winners.items())]


@given(st.lists(FEW, min_size=1, max_size=30), st.randoms(use_true_random=False), st.integers(1, 4))
def test_the_highest_rank_wins_in_any_order_and_cut(rows: list[tuple[int, ...]], random: object, pieces: int) -> None:
    shuffled = list(rows)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    unique = r.unique([array(shuffled[n::pieces]) for n in range(pieces)])
    assert unique.rows.tolist() == best(rows)
    assert unique.repeated == len(rows) - len(unique.rows)
    assert unique.conflicts.tolist() == r.unique([array(rows)]).conflicts.tolist()


@given(st.lists(FEW, min_size=1, max_size=30))
def test_marks_and_newest_per_channel(rows: list[tuple[int, ...]]) -> None:
    unique = r.unique([array(rows)]).rows
    channels = sorted({row[0] for row in rows})
    times = {c: [row[1] for row in rows if row[0] == c] for c in channels}
    assert r.marks(unique).tolist() == [[c, min(times[c]), max(times[c])] for c in channels]
    assert r.newest(unique)[:, :2].tolist() == [[c, max(times[c])] for c in channels]


def test_conflicts_are_unequal_values_of_one_revision() -> None:
    rows = [(1, 5, 10, 3, 0), (1, 5, 11, 3, 0), (1, 5, 9, 1, 0), (1, 5, 10, 3, 0), (2, 5, 1, 3, 0), (2, 5, 2, 3, 1)]
    assert r.unique([array(rows)]).conflicts.tolist() == [[1, 5, 11, 9], [1, 5, 11, 10]]


def test_copy_bytes() -> None:
    data = r.copy_bytes(array([(7, 946_684_800_001, -3, 2, 1)]))
    row = struct.pack("!hiqiqiiihih", 5, 8, 1000, 8, -3, 4, 7, 2, 2, 2, 1)
    assert data == b"PGCOPY\n\xff\r\n\0" + bytes(8) + row + b"\xff\xff"


def test_nothing_is_nothing() -> None:
    assert len(r.unique([]).rows) == 0
    assert r.days(np.array([], np.int64)) == set()
    assert r.days(np.array([-1, 0, 1, r.DAY_MS], np.int64)) == {-1, 0, 1}


def test_backlog_and_live_rows_do_not_mark_the_time_between_them() -> None:
    hour = 3_600_000
    table = array([(1, 0, 5, 3, 0), (1, 1000, 6, 3, 0), (1, 9 * hour, 7, 3, 0), (2, 10, 1, 3, 0)])
    assert r.marks(table).tolist() == [[1, 0, 1000], [1, 9 * hour, 9 * hour], [2, 10, 10]]
