"""The outbox: what is stored stays until acknowledged, a full one loses with a count, a damaged one is set aside."""

import re
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import apsw
import pytest
from parts import missing

from plantprint.facts import Channel
from plantprint.wire.chunk import decode_gap, encode_rows, encode_table, table_hash, unseal
from plantprint_edge.config import OutboxLimits
from plantprint_edge.diskfile import MB, OutboxLockedError
from plantprint_edge.outbox import Outbox
from plantprint_edge.outbox_sql import ACKNOWLEDGE, PURGEABLE, SCHEMA, STORED
from plantprint_edge.records import Draft, Stored

BIG = 2**62


def limits(folder: Path, **settings: float) -> OutboxLimits:
    values = {"size_mb_max": 2, "ballast_mb": 8, "reserve_mb": 1, **settings}
    return OutboxLimits.model_validate({"path": folder / "outbox.db", **values})


@pytest.fixture
def reopen(tmp_path: Path) -> Iterator[Callable[..., Outbox]]:
    """Opens the outbox of the test's folder, closing the one opened before."""
    opened: list[Outbox] = []

    def open_outbox(**settings: float) -> Outbox:
        while opened:
            opened.pop().close()
        opened.append(Outbox(limits(tmp_path, **settings), "s", "gw-1", lambda: 1_000))
        return opened[-1]

    yield open_outbox
    for outbox in opened:
        outbox.close()


def draft(n: int = 1, size: int = 0, table: str = "t") -> Draft:
    rows = [(0, 1_000 + i, i, 3) for i in range(n)]
    return Draft("readings", encode_rows(rows) + b" " * size, n, table=table, from_ms=1_000, to_ms=1_000 + n)


def store(outbox: Outbox, *drafts: Draft) -> list[int | None]:
    with outbox.transaction():
        return [outbox.append(d) for d in drafts]


def waiting(outbox: Outbox) -> list[Stored]:
    with outbox.transaction():
        return outbox.next_unacked(0, BIG, 10_000)


def ack(outbox: Outbox, epoch: str, *ranges: tuple[int, int], at_ms: int = 5_000) -> int:
    with outbox.transaction():
        return outbox.acknowledge({epoch: ranges}, at_ms)


def fill(outbox: Outbox) -> int:
    """Store big chunks until one is lost; returns how many were stored."""
    stored = 0
    while store(outbox, draft(10, size=60_000)) != [None]:
        stored += 1
    return stored


def test_chunks_come_back_in_order_in_their_final_bytes_after_a_restart(reopen: Callable[..., Outbox]) -> None:
    first = reopen()
    store(first, draft(2), draft(3))
    before = waiting(first)
    second = reopen()
    assert waiting(second) == before
    assert second.epoch != first.epoch
    assert re.fullmatch("[0-9a-f]{16}", second.epoch)
    store(second, draft(1))
    assert [(c.epoch, c.seq, c.n) for c in waiting(second)] == [
        (first.epoch, 0, 2),
        (first.epoch, 1, 3),
        (second.epoch, 0, 1),
    ]
    for chunk in waiting(second):
        header, _ = unseal(chunk.payload)
        assert (header.epoch, header.seq, header.n, header.agent) == (chunk.epoch, chunk.seq, chunk.n, "gw-1")


def test_a_transaction_is_all_or_nothing_in_file_and_memory(reopen: Callable[..., Outbox]) -> None:
    outbox = reopen()
    store(outbox, draft())
    with pytest.raises(ValueError, match="exceeds the limit"):
        store(outbox, draft(), draft(size=70_000))
    store(outbox, draft())
    assert [c.seq for c in waiting(outbox)] == [0, 1]
    assert outbox.stats().unacked_chunks == 2


def test_only_acknowledged_chunks_of_held_epochs_are_delivered(reopen: Callable[..., Outbox]) -> None:
    outbox = reopen()
    store(outbox, *[draft()] * 6)
    assert ack(outbox, "ffffffffffffffff", (0, 100)) == 0
    assert ack(outbox, outbox.epoch, (0, 1), (4, 9)) == 4
    assert ack(outbox, outbox.epoch, (0, 2)) == 1
    assert [c.seq for c in waiting(outbox)] == [3]
    assert outbox.stats().unacked_chunks == 1


def test_delivered_chunks_stay_for_their_time_and_are_sent_again_to_another_store(
    reopen: Callable[..., Outbox],
) -> None:
    outbox = reopen()
    store(outbox, *[draft()] * 4)
    with outbox.transaction():
        assert not outbox.store_changed("first")
    ack(outbox, outbox.epoch, (0, 1), at_ms=5_000)
    ack(outbox, outbox.epoch, (2, 2), at_ms=9_000)
    with outbox.transaction():
        assert outbox.purge(9_000) == 2
        assert not outbox.store_changed("first")
    assert [c.seq for c in waiting(outbox)] == [3]
    reopened = reopen()
    with reopened.transaction():
        assert reopened.store_changed("second")
    assert [c.seq for c in waiting(reopened)] == [2, 3]
    assert reopened.stats().unacked_chunks == 2


def table(*names: str) -> tuple[bytes, int, str]:
    body = encode_table([Channel("gw-1", name, "kWh", 2, "counter") for name in names])
    return body, len(names), table_hash(body)


def test_channel_tables_are_kept_while_current_or_referred_to(reopen: Callable[..., Outbox]) -> None:
    old_body, old_n, old_hash = table("a")
    new_body, new_n, _ = table("a", "b")
    outbox = reopen()
    with outbox.transaction():
        outbox.declare(old_body, old_n)
        outbox.append(draft(table=old_hash))
    former = outbox.epoch
    outbox = reopen()
    with outbox.transaction():
        outbox.declare(new_body, new_n)
        assert len(outbox.declares()) == 2
    ack(outbox, former, (0, 0))
    ack(outbox, outbox.epoch, (0, 0))
    with outbox.transaction():
        assert outbox.purge(BIG) == 0
        assert len(outbox.declares()) == 2
    ack(outbox, former, (1, 1))
    with outbox.transaction():
        assert outbox.purge(BIG) + outbox.purge(BIG) == 2
        assert [unseal(c.payload)[1] for c in outbox.declares()] == [new_body]


def test_a_table_declared_again_makes_its_older_copy_purgeable(reopen: Callable[..., Outbox]) -> None:
    body, n, _ = table("a")
    for _ in range(3):
        outbox = reopen()
        with outbox.transaction():
            outbox.declare(body, n)
        ack(outbox, outbox.epoch, (0, 0))
    with outbox.transaction():
        assert len(outbox.declares()) == 1
        assert outbox.purge(BIG) == 2


def test_a_full_outbox_counts_its_losses_and_reports_them_once_there_is_room(reopen: Callable[..., Outbox]) -> None:
    outbox = reopen()
    stored = fill(outbox)
    store(outbox, Draft("readings", b"[]" + b" " * 60_000, 7, table="t", from_ms=500, to_ms=9_000))
    stats = outbox.stats()
    assert stored > 10
    assert (stats.lost_chunks, stats.lost_rows, stats.unacked_chunks) == (2, 17, stored)
    assert stats.full.startswith("outbox full")
    ack(outbox, outbox.epoch, (0, stored // 2))
    assert store(outbox, draft()) != [None]
    gap_chunk, data_chunk = waiting(outbox)[-2:]
    header, body = unseal(gap_chunk.payload)
    gap = decode_gap(body)
    assert header.kind == "gap"
    assert (gap.from_ms, gap.to_ms, gap.lost_chunks, gap.lost_rows) == (500, 9_000, 2, 17)
    # What was lost never had a number: only a chunk that was stored may leave one.
    assert [c.seq for c in (gap_chunk, data_chunk)] == [stored, stored + 1]
    assert not outbox.stats().full


def test_losses_survive_a_restart(reopen: Callable[..., Outbox]) -> None:
    outbox = reopen()
    stored = fill(outbox)
    former = outbox.epoch
    outbox = reopen()
    ack(outbox, former, (0, stored))
    store(outbox, draft())
    kinds = [unseal(c.payload)[0].kind for c in waiting(outbox)]
    assert kinds == ["gap", "readings"]


def test_a_full_outbox_still_declares_its_channels(reopen: Callable[..., Outbox]) -> None:
    """Restart upon restart while nothing is delivered: the reserve takes some tables, then an older copy serves."""
    body, n, name = table(*(f"channel-with-a-long-name-{i:03}" for i in range(400)))
    outbox = reopen()
    with outbox.transaction():
        outbox.declare(body, n)
    fill(outbox)
    for _ in range(100):
        outbox = reopen()
        with outbox.transaction():
            outbox.declare(body, n)
        assert [table_hash(unseal(c.payload)[1]) for c in outbox.declares()] == [name]
    assert outbox.stats().used_bytes <= 3 * MB
    assert store(outbox, draft()) == [None]


def test_delivered_chunks_make_room_before_anything_is_lost(reopen: Callable[..., Outbox]) -> None:
    outbox = reopen()
    for seq in range(200):
        assert store(outbox, draft(1, size=60_000)) != [None]
        ack(outbox, outbox.epoch, (seq, seq), at_ms=10_000)
    assert outbox.stats().lost_chunks == 0
    assert outbox.stats().used_bytes <= 2 * MB


@pytest.mark.parametrize("damage", ["header", "page", "garbage"])
def test_a_damaged_file_is_set_aside_and_reported(reopen: Callable[..., Outbox], tmp_path: Path, damage: str) -> None:
    outbox = Outbox(limits(tmp_path), "s", "gw-1", lambda: 1_000)
    store(outbox, *[draft(50, size=20_000)] * 20)
    outbox.close()
    path = tmp_path / "outbox.db"
    data = bytearray(path.read_bytes())
    if damage == "header":
        data[:40] = b"\0" * 40
    elif damage == "page":
        data[4096:12_288] = b"\xff" * 8_192
    else:
        data = bytearray(b"no database at all" * 1_000)
    path.write_bytes(data)

    outbox = reopen()
    store(outbox, draft())
    assert bytes(data) in [p.read_bytes() for p in tmp_path.glob("outbox.db.damaged-*")]
    gaps = [decode_gap(body) for header, body in (unseal(c.payload) for c in waiting(outbox)) if header.kind == "gap"]
    assert len(gaps) == 1
    assert "damaged" in gaps[0].reason
    assert outbox.stats().generation == 1


def test_ids_grow_for_ever(reopen: Callable[..., Outbox]) -> None:
    """The uplink reads on from an id; a deleted one that came back would never be sent."""
    outbox = reopen()
    (first,) = store(outbox, draft())
    ack(outbox, outbox.epoch, (0, 0))
    with outbox.transaction():
        assert outbox.purge(BIG) == 1
    outbox = reopen()
    assert outbox.stats().newest_id == first
    assert store(outbox, draft()) == [2]


@pytest.mark.parametrize(
    ("sql", "index"),
    [
        (ACKNOWLEDGE, "chunk_acked (acked_ms=? AND rowid>? AND rowid<?)"),
        (ACKNOWLEDGE, "sqlite_autoindex_chunk_1 (epoch=? AND seq>?)"),
        (f"{STORED} where acked_ms is null and id > 1 and id <= 9 order by id limit 5", "chunk_acked"),
        ("select created_ms from chunk where acked_ms is null order by id limit 1", "chunk_acked"),
        (PURGEABLE, "chunk_acked (acked_ms<?)"),
        (PURGEABLE, "chunk_declare (table_hash=? AND rowid>?)"),
    ],
)
def test_a_day_of_delivered_chunks_does_not_slow_down_the_next(sql: str, index: str) -> None:
    connection = apsw.Connection(":memory:")
    connection.execute(SCHEMA)
    plan = " ".join(
        row[3]
        for row in connection.execute(f"explain query plan {sql}", (None,) * (4 if "?4" in sql else sql.count("?")))
    )
    assert re.search(rf"SEARCH (chunk|c|d) USING (COVERING )?INDEX {re.escape(index)}", plan), plan


def test_acknowledgements_of_several_epochs_meet_only_what_they_name(reopen: Callable[..., Outbox]) -> None:
    """Three starts, so the ids of each begin elsewhere; ranges reach beyond what there is, and over what is delivered."""
    epochs = []
    for _ in range(3):
        outbox = reopen()
        store(outbox, *[draft() for _ in range(5)])
        epochs.append(outbox.epoch)
    assert ack(outbox, epochs[1], (1, 2)) == 2
    assert ack(outbox, epochs[1], (0, 3)) == 2
    assert ack(outbox, epochs[2], (4, 900)) == 1
    assert ack(outbox, epochs[2], (5, 900)) == 0
    assert ack(outbox, "0" * 16, (0, 900)) == 0
    left = [(epochs.index(chunk.epoch), chunk.seq) for chunk in waiting(outbox)]
    assert left == [*((0, seq) for seq in range(5)), (1, 4), *((2, seq) for seq in range(4))]


def test_an_outbox_of_an_earlier_version_is_opened_and_loses_its_old_indexes(tmp_path: Path) -> None:
    def opened() -> Outbox:
        return Outbox(limits(tmp_path), "s", "gw-1", lambda: 1_000)

    def in_sqlite(sql: str) -> list[object]:
        file = apsw.Connection(str(tmp_path / "outbox.db"))
        try:
            return list(file.execute(sql))
        finally:
            file.close()

    outbox = opened()
    store(outbox, draft(), draft())
    outbox.close()
    in_sqlite("create index chunk_unacked on chunk (epoch, seq) where acked_ms is null")
    in_sqlite("create index chunk_table on chunk (kind, table_hash)")
    outbox = opened()
    assert [chunk.seq for chunk in waiting(outbox)] == [0, 1]
    outbox.close()
    assert not in_sqlite("select 1 from sqlite_master where name in ('chunk_unacked', 'chunk_table')")


def test_one_file_has_one_agent(tmp_path: Path, reopen: Callable[..., Outbox]) -> None:
    reopen()
    with pytest.raises(OutboxLockedError, match=r"outbox\.db"):
        Outbox(limits(tmp_path), "s", "gw-2", lambda: 0)


def test_a_full_disk_loses_with_a_count_and_recovers(tmp_path: Path, reopen: Callable[..., Outbox]) -> None:
    """On a real small file system: SQLite cannot even delete on a full disk, the ballast makes it possible."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=40m", "none", disk], capture_output=True, check=False)
    if mounted.returncode:
        missing("no right to mount a small file system (mount -t tmpfs)")
    try:
        outbox = Outbox(limits(disk, size_mb_max=64), "s", "gw-1", lambda: 1_000)
        stored = _fill_disk(outbox)
        assert stored > 5
        assert not (disk / "outbox.db.ballast").exists()
        assert store(outbox, draft()) == [None]
        _try_recover(outbox)
        assert store(outbox, draft()) == [None], "what the ballast alone frees is full again within a minute"
        assert ack(outbox, outbox.epoch, (0, stored)) == stored
        somebody_elses = disk / "data"
        somebody_elses.write_bytes(b"x" * 6 * MB)
        _try_recover(outbox)
        assert store(outbox, draft()) == [None], "no room for the ballast yet"
        somebody_elses.unlink()
        _try_recover(outbox)
        assert store(outbox, draft()) != [None]
        assert [unseal(c.payload)[0].kind for c in waiting(outbox)] == ["gap", "readings"]
        outbox.close()
    finally:
        subprocess.run(["umount", "--lazy", disk], check=True)


def _try_recover(outbox: Outbox) -> None:
    for _ in range(5):
        with outbox.transaction():
            outbox.try_recover()


def _fill_disk(outbox: Outbox) -> int:
    stored = 0
    while True:
        try:
            store(outbox, draft(1, size=60_000))
        except apsw.FullError:
            outbox.disk_full()
            return stored
        stored += 1
