"""A disk that turns read-only under a running agent, as Linux makes a failing one: a real file system, with root's rights."""

import asyncio
import os
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from edge_support import config, until
from folder_rig import Folder
from parts import missing, need_program

from plantprint.wire.chunk import decode_gap, encode_rows, unseal
from plantprint_edge import agent
from plantprint_edge.committer import Committer
from plantprint_edge.config import OutboxLimits
from plantprint_edge.outbox import Outbox
from plantprint_edge.records import Draft

pytestmark = pytest.mark.integration


def _root(*command: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(command, capture_output=True, text=True, check=False)


class Disk:
    """An ext4 file system in a file; `fails` does to it what a write error does, `repaired` what an administrator does."""

    def __init__(self, folder: Path) -> None:
        if os.geteuid() != 0:
            missing("only root can mount a file system")
        self.path = folder / "disk"
        self._image = folder / "image"
        self.path.mkdir()
        with self._image.open("wb") as image:
            image.truncate(48 << 20)
        subprocess.run([need_program("mkfs.ext4", "e2fsprogs"), "-qF", str(self._image)], check=True)
        self._mount()

    def _mount(self) -> None:
        mounted = _root("mount", "-o", "loop,errors=remount-ro", str(self._image), str(self.path))
        if mounted.returncode:
            missing(f"no file system can be mounted here: {mounted.stderr.strip()}")

    def fails(self) -> None:
        subprocess.run(["mount", "-o", "remount,abort", str(self.path)], check=True)
        with pytest.raises(OSError, match="Read-only file system"):
            (self.path / "probe").touch()

    def repaired(self) -> None:
        """Needs the agent to keep no file open while it can use none."""
        deadline_s = time.monotonic() + 20
        while _root("umount", str(self.path)).returncode:
            assert time.monotonic() < deadline_s, "the agent holds files of a disk that it cannot use"
            time.sleep(0.05)
        _root(need_program("fsck.ext4", "e2fsprogs"), "-p", str(self._image))
        time.sleep(0.5)
        assert not list(self.path.iterdir()), "something began anew where the disk is not mounted"
        self._mount()

    def close(self) -> None:
        _root("umount", "-l", str(self.path))


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    made = Disk(tmp_path)
    yield made
    made.close()


def _draft(i: int) -> Draft:
    return Draft("readings", encode_rows([(0, 1_000 + i, i, 3)]), 1, "t", 1_000 + i, 1_000 + i)


async def test_readings_on_a_read_only_disk_are_counted_told_and_reported_once_it_takes_writes_again(
    disk: Disk,
) -> None:
    values = {"size_mb_max": 8, "ballast_mb": 8, "reserve_mb": 1, "retry_s": 0.2}
    limits = OutboxLimits.model_validate({"path": disk.path / "outbox.db", **values})
    committer = Committer(limits, lambda: Outbox(limits, "s", "gw-1", lambda: 1_000))
    await committer.start()
    try:
        assert await committer.append(_draft(0)) == 1
        disk.fails()
        assert [await committer.append(_draft(i)) for i in (1, 2, 3)] == [None, None, None]
        # What became of the first is known only when the disk can be read again.
        assert committer.stats.full == "outbox file unusable"
        assert (committer.stats.lost_chunks, committer.stats.lost_rows) == (2, 2)
        await asyncio.to_thread(disk.repaired)
        assert await committer.append(_draft(4)) is not None
        assert committer.stats.full == ""
        assert committer.stats.lost_chunks == 3
        stored = [unseal(c.payload) for c in await committer.call(lambda outbox: outbox.next_unacked(0, 99, 99))]
        assert [header.kind for header, _ in stored] == ["readings", "gap", "readings"]
        gap = decode_gap(stored[1][1])
        assert (gap.from_ms, gap.to_ms, gap.lost_rows, gap.reason) == (1_001, 1_003, 3, "outbox file unusable")
    finally:
        await committer.close()


async def test_a_folder_whose_memory_is_on_a_read_only_disk_waits_and_then_reads_on(disk: Disk) -> None:
    folder = Folder(disk.path, scan_every_s=0.05)
    elsewhere = disk.path.parent / "in"
    elsewhere.mkdir()
    folder.path = elsewhere
    folder.restart(folder=elsewhere)
    counts, store = folder.reader.counts, folder.store
    running = asyncio.create_task(folder.reader.run())
    try:
        folder.write("a.csv", "2025-01-01 00:00,1.0")
        await until(lambda: len(store.of()) == 1)
        disk.fails()
        folder.write("b.csv", "2025-01-01 00:15,2.0")
        await until(lambda: counts.errors["state"] > 2)
        # Read at most once, for it could not be remembered; and nothing more since.
        assert len(store.sent) <= 2
        folder.write("c.csv", "2025-01-01 00:30,3.0")
        before = counts.errors["state"]
        await until(lambda: counts.errors["state"] > before + 2)
        assert 30 not in store.of()
        await asyncio.to_thread(disk.repaired)
        await until(lambda: store.of() == [10, 20, 30])
        sent = len(store.sent)
        troubles = counts.errors["state"]
        await asyncio.sleep(0.3)
        assert (len(store.sent), counts.errors["state"]) == (sent, troubles)
    finally:
        running.cancel()
        await asyncio.wait([running])
    folder.restart()
    await folder.scan()
    assert len(store.sent) == sent


def test_an_agent_that_starts_on_a_read_only_disk_says_so_and_ends(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    if os.geteuid() != 0:
        missing("only root can mount a file system")
    place = tmp_path / "disk"
    place.mkdir()
    mounted = _root("mount", "-t", "tmpfs", "-o", "ro,size=1m", "tmpfs", str(place))
    if mounted.returncode:
        missing(f"no file system can be mounted here: {mounted.stderr.strip()}")
    try:
        of = config(tmp_path)
        of = of.model_copy(update={"outbox": of.outbox.model_copy(update={"path": place / "outbox.db"})})
        assert agent.run(of) == agent.EXIT_OUTBOX
    finally:
        _root("umount", str(place))
    told = capsys.readouterr().out
    assert "outbox_not_opened" in told
    assert "read-only" in told.lower()
