"""A folder whose files are wrong, strange, too many or gone: each is told once with its place, and the rest goes on."""

import asyncio
import os
import sqlite3
from pathlib import Path

import pytest
from edge_support import until
from folder_rig import CHANNELS, FIRST, SECOND, T0, THIRD, Folder
from structlog.testing import capture_logs

from plantprint_edge.sources.folder_state import REVISION_MAX


async def test_bad_lines_are_set_aside_with_their_place_and_the_rest_goes_on(tmp_path: Path) -> None:
    channels = CHANNELS + "\n      - {name: power, column: kW, kind: gauge, unit: kW, decimals: 1}"
    folder = Folder(tmp_path, channels, bad_lines_logged_max=3)
    rows = [
        "2026-11-24 08:00,1,ERR",
        "no time,2,2",
        "2026-11-24 08:30",
        '2026-11-24 08:45,"4,4',
        "",
        "2026-11-24 09:00,-,5",
    ]
    folder.write("a.csv", *rows, header="time,kWh,kW")
    with capture_logs() as logs:
        counts = await folder.scan()
        folder.append("a.csv", "2026-11-24 09:15,6,6\n")
        await folder.scan()
    assert folder.store.of(0) == [10, 60]
    assert folder.store.of(1) == [50, 60]
    assert counts.errors == {"line": 4}
    assert counts.missing == 1
    told = [(entry["place"], entry["reason"]) for entry in logs if entry["event"] == "line_set_aside"]
    assert told == [
        (f"{folder.path}/a.csv:2", "kW: 'ERR' is not a number; correct the cell or leave it empty"),
        (f"{folder.path}/a.csv:3", "'no time' does not match time_format '%Y-%m-%d %H:%M'"),
        (f"{folder.path}/a.csv:4", "1 cells where at least 3 belong"),
    ]


async def test_a_header_that_comes_again_is_no_bad_line(tmp_path: Path) -> None:
    folder = Folder(tmp_path)
    folder.write("a.csv", FIRST, "time,kWh", SECOND)
    assert not (await folder.scan()).errors
    assert folder.store.of() == [1000, 1015]


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"\x89PNG\r\n\x1a\n" + bytes(200), "header"),
        (b"time;kWh\n2026-11-24 08:00;1\n", "header"),
        ("time,kWh\n2026-11-24 08:00,1\n".encode("utf-16"), "header"),
        (b"time,kWh\n" + b"2026-11-24 08:00,1\n" * 60, "too large"),
    ],
)
async def test_a_file_that_is_none_of_ours_is_told_once_and_stays(tmp_path: Path, content: bytes, reason: str) -> None:
    folder = Folder(tmp_path, file_mb_max=0.001)
    path = folder.path / "x.csv"
    path.write_bytes(content)
    folder.write("good.csv", FIRST)
    for _ in range(2):
        counts = await folder.scan()
    folder.restart()
    assert not (await folder.scan()).errors
    assert counts.errors == {reason: 1}
    assert path.read_bytes() == content
    assert folder.store.of() == [1000]


async def test_a_file_with_too_many_lines_is_read_up_to_there(tmp_path: Path) -> None:
    folder = Folder(tmp_path, lines_max=3)
    folder.write("a.csv", FIRST, SECOND, THIRD)
    await folder.scan()
    folder.append("a.csv", "2026-11-24 08:45,104\n")
    counts = await folder.scan()
    assert folder.store.of() == [1000, 1015]
    assert len(folder.store.sent) == 2
    assert counts.errors == {"too many lines": 2}


async def test_a_line_that_is_too_long_is_a_bad_line(tmp_path: Path) -> None:
    folder = Folder(tmp_path, line_bytes_max=100)
    folder.write("a.csv", FIRST, "x" * 3_000_000, SECOND)
    counts = await folder.scan()
    assert folder.store.of() == [1000, 1015]
    assert counts.errors == {"line": 1}


async def test_links_pipes_and_drafts_are_not_read(tmp_path: Path) -> None:
    folder = Folder(tmp_path)
    secret = tmp_path / "secret.csv"
    secret.write_text(f"time,kWh\n{FIRST}\n")
    (folder.path / "link.csv").symlink_to(secret)
    os.mkfifo(folder.path / "pipe.csv")
    (folder.path / "sub.csv").mkdir()
    (folder.path / ".a.csv.part").write_text("x")
    folder.write(".draft.csv", FIRST)
    folder.write("other.txt", FIRST)
    for _ in range(2):
        counts = await folder.scan()
    assert folder.store.sent == []
    assert counts.errors == {"symlink": 1, "no plain file": 1}


async def test_more_files_than_allowed_are_told_and_the_newest_are_read(tmp_path: Path) -> None:
    folder = Folder(tmp_path, files_max=2, files_per_scan_max=1)
    for n in range(3):
        os.utime(folder.write(f"{n}.csv", f"2026-11-24 08:0{n},{n}"), ns=(n, n))
    counts = await folder.scan()
    assert folder.store.of() == [10]
    await folder.scan()
    assert folder.store.of() == [10, 20]
    assert counts.errors == {"too many files": 1}


async def test_a_folder_that_is_gone_for_a_while_is_told_and_read_on(tmp_path: Path) -> None:
    folder = Folder(tmp_path, scan_every_s=0.01)
    folder.write("a.csv", FIRST)
    await folder.scan()
    folder.path.rename(tmp_path / "away")
    task = asyncio.create_task(folder.reader.run())
    with capture_logs() as logs:
        await until(lambda: folder.reader.counts.errors["folder"] >= 3)
        (tmp_path / "away").rename(folder.path)
        folder.append("a.csv", SECOND + "\n")
        await until(lambda: len(folder.store.sent) == 2)
    task.cancel()
    await asyncio.wait([task])
    assert folder.store.of() == [1000, 1015]
    assert [entry["event"] for entry in logs] == ["folder_failing"]


async def test_a_damaged_state_is_set_aside_and_everything_read_again(tmp_path: Path) -> None:
    folder = Folder(tmp_path)
    folder.write("a.csv", FIRST)
    await folder.scan()
    del folder.reader
    for end in ("", "-wal"):
        (tmp_path / f"outbox.db.f.files{end}").write_bytes(b"no database at all" * 1000)
    folder.restart()
    await folder.scan()
    assert folder.store.sent == [(0, T0, 1000, 0)] * 2
    assert (tmp_path / "outbox.db.f.files.damaged").exists()


async def test_what_lines_mean_has_changed_so_all_are_read_again_as_corrections(tmp_path: Path) -> None:
    folder = Folder(tmp_path)
    folder.write("a.csv", FIRST)
    await folder.scan()
    folder.restart(timezone="Asia/Tokyo", scan_every_s=5)
    await folder.scan()
    folder.restart(timezone="Asia/Shanghai")
    await folder.scan()
    assert folder.store.sent == [(0, T0, 1000, 0), (0, T0 - 3_600_000, 1000, 0), (0, T0, 1000, 1)]


async def test_old_files_and_days_are_forgotten_and_present_ones_are_not(tmp_path: Path) -> None:
    folder = Folder(tmp_path)
    gone = folder.write("gone.csv", FIRST)
    folder.write("here.csv", SECOND)
    await folder.scan()
    gone.unlink()
    folder.reader._forget_at_s = 0
    folder.restart(remember_days=-1)
    await folder.scan()
    with sqlite3.connect(tmp_path / "outbox.db.f.files") as db:
        assert db.execute("select name from file").fetchall() == [("here.csv",)]
        assert db.execute("select name from part").fetchall() == [("here.csv",)]
        assert db.execute("select count(*) from day").fetchone() == (0,)
    db.close()


async def test_revisions_end_where_the_store_ends(tmp_path: Path) -> None:
    folder = Folder(tmp_path)
    folder.write("a.csv", FIRST)
    await folder.scan()
    with sqlite3.connect(tmp_path / "outbox.db.f.files") as db:
        db.execute("update day set revision = ?", (REVISION_MAX,))
    db.close()
    folder.write("a.csv", "2026-11-24 08:00,2")
    await folder.scan()
    assert folder.store.sent[-1] == (0, T0, 20, REVISION_MAX)


# --- tables ---------------------------------------------------------------------------------------------------------------
