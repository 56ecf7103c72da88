"""The outbox thread: group commit, a disk that fails under it, and the death of the thread itself."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import apsw
import pytest

from plantprint.wire.chunk import encode_rows, unseal
from plantprint_edge.committer import Committer, OutboxUnusableError
from plantprint_edge.config import OutboxLimits
from plantprint_edge.diskfile import DamagedError
from plantprint_edge.outbox import Outbox
from plantprint_edge.records import Draft

BIG = 2**62


def limits(folder: Path, **settings: float) -> OutboxLimits:
    values = {"size_mb_max": 8, "ballast_mb": 8, "reserve_mb": 1, "retry_s": 0.05, **settings}
    return OutboxLimits.model_validate({"path": folder / "outbox.db", **values})


def draft(i: int = 0) -> Draft:
    return Draft("readings", encode_rows([(0, 1_000 + i, i, 3)]), 1, table="t", from_ms=1_000 + i, to_ms=1_000 + i)


@asynccontextmanager
async def running(folder: Path, **settings: float) -> AsyncIterator[Committer]:
    of = limits(folder, **settings)
    committer = Committer(of, lambda: Outbox(of, "s", "gw-1", lambda: 1_000))
    await committer.start()
    try:
        yield committer
    finally:
        await committer.close()


async def kinds(committer: Committer) -> list[str]:
    chunks = await committer.call(lambda outbox: outbox.next_unacked(0, BIG, 10_000))
    return [unseal(chunk.payload)[0].kind for chunk in chunks]


class Disk(apsw.VFS):
    """SQLite's way to the disk, with failures switched on from outside; counts what reaches the disk."""

    def __init__(self) -> None:
        self.failing: type[apsw.Error] | None = None
        self.fails_after_sync = False
        self.syncs = 0
        super().__init__("faulty", "unix", makedefault=True)

    def xOpen(self, name: Any, flags: Any) -> "DiskFile":  # noqa: N802 - apsw's name
        return DiskFile(self, name, flags)


class DiskFile(apsw.VFSFile):
    def __init__(self, disk: Disk, name: Any, flags: Any) -> None:
        self._disk = disk
        super().__init__("unix", name, flags)

    def xSync(self, flags: int) -> None:  # noqa: N802 - apsw's name
        self._disk.syncs += 1
        if self._disk.fails_after_sync:
            super().xSync(flags)
            self._disk.fails_after_sync = False
            raise apsw.IOError
        if self._disk.failing:
            raise self._disk.failing
        super().xSync(flags)

    def xWrite(self, data: Any, offset: int) -> None:  # noqa: N802 - apsw's name
        if self._disk.failing is apsw.FullError:
            raise apsw.FullError
        super().xWrite(data, offset)


@pytest.fixture
def disk() -> Iterator[Disk]:
    vfs = Disk()
    yield vfs
    vfs.unregister()


async def test_what_waits_is_committed_together(tmp_path: Path, disk: Disk) -> None:
    async with running(tmp_path, pending_chunks_max=1_000) as committer:
        before = disk.syncs
        ids = await asyncio.gather(*(committer.append(draft(i)) for i in range(500)))
        assert ids == list(range(1, 501))
        assert disk.syncs - before < 20
        assert committer.stats.unacked_chunks == 500


async def test_sources_wait_while_the_disk_is_behind(tmp_path: Path) -> None:
    async with running(tmp_path, pending_chunks_max=3) as committer:
        futures = [committer.append(draft(i)) for i in range(3)]
        assert not any(future.done() for future in futures)
        await committer.room()
        assert futures[0].done()


async def test_patient_sources_wait_for_deliveries_too(tmp_path: Path) -> None:
    async with running(tmp_path) as committer:
        await asyncio.gather(*(committer.append(draft(i)) for i in range(5)))
        waiting = asyncio.create_task(committer.room(backlog_chunks_max=2))
        await asyncio.sleep(0.05)
        assert not waiting.done()
        await committer.call(lambda outbox: outbox.acknowledge({outbox.epoch: [(0, 2)]}, 0))
        await asyncio.wait_for(waiting, 5)


async def test_a_failed_fsync_reopens_the_file_and_loses_nothing(tmp_path: Path, disk: Disk) -> None:
    async with running(tmp_path) as committer:
        await committer.append(draft(0))
        disk.failing = apsw.IOError
        doubtful = committer.append(draft(1))
        await asyncio.sleep(0.2)
        disk.failing = None
        await doubtful
        await committer.append(draft(2))
        chunks = await committer.call(lambda outbox: outbox.next_unacked(0, BIG, 100))
        data = [c for c in chunks if unseal(c.payload)[0].kind == "readings"]
        # The doubtful one is stored or reported, never neither and never both.
        assert len(data) + committer.stats.lost_chunks == 3
        assert [c.seq for c in chunks] == list(range(len(chunks)))


async def test_a_commit_that_arrived_but_reported_an_error_is_not_stored_twice(tmp_path: Path, disk: Disk) -> None:
    async with running(tmp_path) as committer:
        await committer.append(draft(0))
        disk.fails_after_sync = True
        assert await committer.append(draft(1)) == 2
        await committer.append(draft(2))
        chunks = await committer.call(lambda outbox: outbox.next_unacked(0, BIG, 100))
        assert [c.seq for c in chunks] == [0, 1, 2]
        assert committer.stats.unacked_chunks == 3
        assert committer.stats.lost_chunks == 0


async def test_a_dead_disk_costs_a_counted_loss_and_never_the_agent(tmp_path: Path, disk: Disk) -> None:
    async with running(tmp_path) as committer:
        await committer.append(draft(0))
        disk.failing = apsw.IOError
        assert await committer.append(draft(1)) is None
        with pytest.raises(OutboxUnusableError):
            await committer.call(lambda outbox: outbox.next_unacked(0, BIG, 100))
        assert await committer.append(draft(2)) is None
        disk.failing = None
        assert await committer.append(draft(3)) is not None
        told = await kinds(committer)
        assert told[-2:] == ["gap", "readings"]
        assert told.count("readings") + committer.stats.lost_chunks == 4
        assert committer.stats.lost_chunks >= 1


async def test_chunks_in_doubt_are_shown_and_at_a_stop_on_a_dead_disk_counted_as_lost(
    tmp_path: Path, disk: Disk
) -> None:
    """The commit may have arrived: the next start sends what the file holds, and a loss told in vain is no silent one."""
    async with running(tmp_path, retry_s=0.01) as committer:
        await committer.append(draft(0))
        disk.failing = apsw.IOError
        assert await committer.append(draft(1)) is None
        assert (committer.stats.doubtful_chunks, committer.stats.doubtful_rows) == (1, 1)
        assert committer.stats.lost_chunks == 0
    assert (committer.stats.doubtful_chunks, committer.stats.lost_chunks, committer.stats.lost_rows) == (0, 1, 1)
    disk.failing = None
    async with running(tmp_path) as committer:
        assert await kinds(committer) == ["readings"] * 2


async def test_a_full_disk_costs_a_counted_loss_and_recovers_by_itself(tmp_path: Path, disk: Disk) -> None:
    async with running(tmp_path) as committer:
        await committer.append(draft(0))
        disk.failing = apsw.FullError
        assert await committer.append(draft(1)) is None
        disk.failing = None
        for _ in range(100):
            if not committer.stats.full and await committer.append(draft(2)):
                break
            await asyncio.sleep(0.05)
        assert (await kinds(committer))[-2:] == ["gap", "readings"]


async def test_damage_found_while_running_goes_on_with_a_new_file(tmp_path: Path) -> None:
    def damaged(_: Outbox) -> None:
        raise DamagedError("as if a page were broken")

    async with running(tmp_path) as committer:
        await committer.append(draft(0))
        former = committer.stats.epoch
        with pytest.raises(OutboxUnusableError):
            await committer.call(damaged)
        assert await committer.append(draft(1)) is not None
        assert committer.stats.generation == 1
        assert committer.stats.epoch != former
        assert await kinds(committer) == ["gap", "readings"]
    assert len(list(tmp_path.glob("outbox.db.damaged-*"))) == 1  # noqa: ASYNC240 - a test's folder


async def test_a_bug_in_the_thread_leaves_nobody_waiting(tmp_path: Path) -> None:
    def bug(_: Outbox) -> None:
        raise ZeroDivisionError

    async with running(tmp_path) as committer:
        watch = asyncio.create_task(committer.watch())
        with pytest.raises(OutboxUnusableError):
            await committer.call(bug)
        with pytest.raises(ZeroDivisionError):
            await watch
        assert await asyncio.wait_for(committer.append(draft(0)), 5) is None
        with pytest.raises(OutboxUnusableError):
            await committer.call(lambda outbox: outbox.seq)
