"""Folders of CSV files: growing, rewritten, renamed, overlapping, broken; and a process that dies at any point."""

import asyncio
import os
import random
import sqlite3
import time
from pathlib import Path

import pytest
from edge_support import config
from folder_rig import CHANNELS, Folder, folder_source
from modbus_rig import until
from structlog.testing import capture_logs

from plantprint.times import parse_instant
from plantprint_edge.channels import all_channels
from plantprint_edge.sources.folder_state import REVISION_MAX
from plantprint_edge.yamlfile import ConfigError

FIRST, SECOND, THIRD = "2026-11-24 08:00,100.0", "2026-11-24 08:15,101.5", "2026-11-24 08:30,103"
T0 = parse_instant("2026-11-24T08:00:00+08:00")
QUARTER = 900_000


async def test_a_file_is_read_once(tmp_path: Path) -> None:
    folder = Folder(tmp_path)
    folder.write("a.csv", FIRST, SECOND)
    counts = await folder.scan()
    await folder.scan()
    assert folder.store.sent == [(0, T0, 1000, 0), (0, T0 + QUARTER, 1015, 0)]
    assert (counts.polls, counts.readings, counts.missing, counts.errors) == (2, 2, 0, {})
    assert counts.last_good_ms == T0 + QUARTER


async def test_a_growing_file_is_read_on_and_its_half_written_line_waits(tmp_path: Path) -> None:
    folder = Folder(tmp_path)
    folder.write("a.csv", FIRST, "2026-11-24 08:15,10", end="")
    await folder.scan()
    assert folder.store.of() == [1000]
    folder.append("a.csv", "1.5\n2026-11-24 08:")
    await folder.scan()
    folder.append("a.csv", "30,103\n")
    await folder.scan()
    assert [row[2:] for row in folder.store.sent] == [(1000, 0), (1015, 0), (1030, 0)]
    assert not folder.reader.counts.errors


def rest(path: Path, age_s: float) -> None:
    """Make a file as old as if nobody had written into it for a while."""
    os.utime(path, (time.time() - age_s,) * 2)


async def test_a_last_line_without_its_end_counts_when_nobody_goes_on_writing(tmp_path: Path) -> None:
    folder = Folder(tmp_path, last_line_after_s=1000)
    path = folder.write("a.csv", FIRST, SECOND, end="")
    await folder.scan()
    assert folder.store.of() == [1000]
    rest(path, 1001)
    await folder.scan()
    await folder.scan()
    assert [row[2] for row in folder.store.sent] == [1000, 1015]
    # It went on after all: the line that was taken is not taken again, nor is a longer one another fact.
    folder.append("a.csv", "\n" + THIRD)
    await folder.scan()
    folder.append("a.csv", ".5\n")
    await folder.scan()
    assert [row[2:] for row in folder.store.sent] == [(1000, 0), (1015, 0), (1035, 0)]


async def test_a_corrected_file_sends_what_changed_and_the_correction_wins(tmp_path: Path) -> None:
    folder = Folder(tmp_path)
    folder.write("a.csv", FIRST, SECOND, THIRD)
    await folder.scan()
    for n, value in enumerate(("99.9", "101.5", "98.0"), 1):
        folder.write("a.csv", FIRST, f"2026-11-24 08:15,{value}", THIRD)
        await folder.scan()
        assert folder.store.sent[3:] == [
            (0, T0 + QUARTER, int(float(v) * 10), r) for r, v in enumerate(("99.9", "101.5", "98.0")[:n], 1)
        ]
        assert folder.store.of() == [1000, int(float(value) * 10), 1030]


async def test_a_file_with_the_newest_line_on_top_is_no_correction_of_itself(tmp_path: Path) -> None:
    folder = Folder(tmp_path)
    lines = [FIRST, SECOND, THIRD]
    for n in range(1, 4):
        folder.write("a.csv", *reversed(lines[:n]))
        await folder.scan()
    assert [row[2:] for row in folder.store.sent] == [(1000, 0), (1015, 0), (1030, 0)]


async def test_a_new_report_head_does_not_bring_everything_again(tmp_path: Path) -> None:
    """Year files that a program writes anew every hour begin with the time of the export."""
    folder = Folder(tmp_path, header_line=2)
    for n in range(1, 4):
        folder.write("year.csv", "time,kWh", *[FIRST, SECOND, THIRD][:n], header=f"exported {n} o'clock")
        await folder.scan()
    assert [row[2:] for row in folder.store.sent] == [(1000, 0), (1015, 0), (1030, 0)]


async def test_a_later_file_wins_where_it_overlaps_an_earlier_one(tmp_path: Path) -> None:
    folder = Folder(tmp_path)
    folder.write("a.csv", FIRST, SECOND)
    await folder.scan()
    folder.write("b.csv", "2026-11-24 08:15,50", THIRD)
    await folder.scan()
    assert folder.store.of() == [1000, 500, 1030]
    assert folder.store.sent[2:] == [(0, T0 + QUARTER, 500, 1), (0, T0 + 2 * QUARTER, 1030, 0)]


async def test_files_that_come_together_are_read_in_the_order_of_writing(tmp_path: Path) -> None:
    folder = Folder(tmp_path)
    old, new = folder.write("z.csv", "2026-11-24 08:00,1"), folder.write("a.csv", "2026-11-24 08:00,2")
    os.utime(old, ns=(1, 1_000_000_000))
    os.utime(new, ns=(2, 2_000_000_000))
    await folder.scan()
    assert folder.store.of() == [20]


async def test_within_a_file_the_later_line_of_an_instant_wins(tmp_path: Path) -> None:
    folder = Folder(tmp_path)
    folder.write("a.csv", FIRST, "2026-11-24 08:00,50", SECOND)
    await folder.scan()
    assert folder.store.of() == [500, 1015]


async def test_a_renamed_file_is_not_read_again_and_the_new_one_of_its_name_is(tmp_path: Path) -> None:
    folder = Folder(tmp_path)
    current = folder.write("current.csv", FIRST, SECOND)
    await folder.scan()
    current.rename(folder.path / "2026-11-24.csv")
    folder.write("current.csv", THIRD)
    await folder.scan()
    folder.restart()
    await folder.scan()
    assert [row[2] for row in folder.store.sent] == [1000, 1015, 1030]


async def test_a_number_of_a_file_that_is_gone_is_no_proof(tmp_path: Path) -> None:
    """The file system gives inodes again: what counts is the content."""
    folder = Folder(tmp_path)
    old = folder.write("a.csv", FIRST)
    await folder.scan()
    old.rename(folder.path / "b.csv")
    folder.write("b.csv", SECOND, "2026-11-24 09:15,7")
    await folder.scan()
    assert folder.store.of() == [1000, 1015, 70]


async def test_a_rewritten_file_is_left_alone_until_it_is_settled(tmp_path: Path) -> None:
    folder = Folder(tmp_path, settle_s=1000)
    folder.write("a.csv", FIRST, SECOND)
    await folder.scan()
    # Truncated and half written in place.
    folder.write("a.csv", "2026-11-24 08:00,9")
    await folder.scan()
    path = folder.write("a.csv", "2026-11-24 08:00,90", SECOND)
    await folder.scan()
    assert folder.store.of() == [1000, 1015]
    rest(path, 1001)
    await folder.scan()
    assert folder.store.of() == [900, 1015]
    assert len(folder.store.sent) == 3


async def test_after_a_restart_nothing_is_read_again_and_corrections_still_win(tmp_path: Path) -> None:
    folder = Folder(tmp_path)
    folder.write("a.csv", FIRST, SECOND)
    await folder.scan()
    folder.write("a.csv", FIRST, "2026-11-24 08:15,1")
    await folder.scan()
    folder.restart()
    await folder.scan()
    assert len(folder.store.sent) == 3
    folder.write("a.csv", FIRST, "2026-11-24 08:15,0.5")
    await folder.scan()
    assert folder.store.of() == [1000, 5]


@pytest.mark.parametrize("seed", range(3))
async def test_a_process_that_dies_at_any_point_loses_nothing_and_doubles_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    """The outbox keeps what was put, and what was read is often not remembered any more."""
    chance = random.Random(seed)
    folder = Folder(tmp_path)
    wanted: dict[int, int] = {}
    lines: dict[str, dict[int, int]] = {"a.csv": {}, "b.csv": {}}
    for step in range(25):
        name = chance.choice(list(lines))
        at = chance.choice([step, step, chance.randrange(step + 1)])
        lines[name][at] = wanted[at] = chance.randrange(10_000)
        rows = (f"2026-11-24 {8 + at // 60:02}:{at % 60:02},{value / 10}" for at, value in lines[name].items())
        folder.write(name, *rows)
        if chance.random() < 0.3:
            # Put on disk, then killed before it is remembered.
            monkeypatch.setattr(folder.reader, "_remember", _killed)
            with pytest.raises(KilledError):
                await folder.scan()
            folder.restart()
        await folder.scan()
    assert {(t - T0) // 60_000: value for (_, t), value in folder.store.values.items()} == wanted


async def test_a_correction_of_a_correction_wins_although_a_kill_forgot_the_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = Folder(tmp_path)
    folder.write("a.csv", FIRST)
    await folder.scan()
    folder.write("a.csv", "2026-11-24 08:00,900")
    monkeypatch.setattr(folder.reader, "_remember", _killed)
    with pytest.raises(KilledError):
        await folder.scan()
    folder.restart()
    folder.write("a.csv", "2026-11-24 08:00,300")
    await folder.scan()
    assert folder.store.of() == [3000]


class KilledError(Exception):
    pass


async def _killed(*_: object) -> None:
    raise KilledError


async def test_what_was_lost_on_the_way_to_the_disk_is_read_again(tmp_path: Path) -> None:
    folder = Folder(tmp_path)
    folder.write("a.csv", FIRST)
    folder.store.loses = True
    counts = await folder.scan()
    assert counts.errors == {"not stored": 1}
    folder.store.loses = False
    await folder.scan()
    assert folder.store.sent == [(0, T0, 1000, 0)]


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

LONG = """
      - {name: m1.energy, key: [M-01, kWh], kind: counter, unit: kWh, decimals: 2}
      - {name: m1.power, key: [M-01, kW], kind: gauge, unit: kW, decimals: 1}
      - {name: m2.energy, key: [M-02, kWh], kind: counter, unit: kWh, decimals: 0}"""


async def test_a_long_table_names_the_meter_in_every_row(tmp_path: Path) -> None:
    folder = Folder(tmp_path, LONG, key_columns="[Meter, Quantity]", value_column="Value")
    rows = ["08:00,M-01,kWh,1.25", "08:00,M-01,kW,7", "08:00,M-02,kWh,9", "08:00,M-09,kWh,1", "08:15,M-01,kWh,1.50"]
    folder.write("a.csv", *(f"2026-11-24 {row}" for row in rows), header="time,Meter,Quantity,Value")
    with capture_logs() as logs:
        counts = await folder.scan()
    assert (folder.store.of(0), folder.store.of(1), folder.store.of(2)) == ([125, 150], [70], [9])
    assert counts.errors == {"unknown key": 1}
    assert [entry["name"] for entry in logs] == ["M-09/kWh"]


async def test_a_chinese_export_with_its_own_encoding_and_a_german_one_with_commas(tmp_path: Path) -> None:
    chinese = Folder(tmp_path / "a", "\n      - {name: e, column: 电量, kind: counter, unit: kWh, decimals: 2}",
                     encoding="gb18030", time_columns="[日期, 时间]", time_format='"%Y/%m/%d %H:%M:%S"')  # fmt: skip
    chinese.write("a.csv", "2026/11/24,08:00:00,12.5,一号", header="日期,时间,电量,备注")
    await chinese.scan()
    assert chinese.store.rows == {(0, T0): (0, 1250)}
    german = Folder(tmp_path / "b", "\n      - {name: e, column: Zähler, kind: counter, unit: kWh, decimals: 2}",
                    encoding="cp1252", delimiter='";"', decimal='","', thousands='"."', timezone="Europe/Berlin",
                    time_columns="Zeit", time_format='"%d.%m.%Y %H:%M"')  # fmt: skip
    german.write("a.csv", "24.11.2026 01:00;1.234.567,89", header="Zeit;Zähler")
    await german.scan()
    assert german.store.rows == {(0, T0): (0, 123456789)}


async def test_a_mark_of_byte_order_lines_before_the_header_and_units_below_it_are_no_data(tmp_path: Path) -> None:
    folder = Folder(tmp_path, header_line=3, first_line=5)
    (folder.path / "a.csv").write_text(f"\ufeffPlant 7\r\n\r\ntime,kWh\r\n,kWh\r\n{FIRST}\r\n", "utf-8")
    counts = await folder.scan()
    assert folder.store.of() == [1000]
    assert not counts.errors


async def test_a_file_without_header_has_numbered_columns(tmp_path: Path) -> None:
    folder = Folder(tmp_path, "\n      - {name: e, column: '2', kind: counter, unit: kWh, decimals: 1}",
                    header_line=0, time_columns="'1'")  # fmt: skip
    (folder.path / "a.csv").write_text(f"{FIRST}\n{SECOND}\n")
    await folder.scan()
    assert folder.store.of() == [1000, 1015]


@pytest.mark.parametrize(
    ("time_format", "text"),
    [
        ("iso", "2026-11-24T00:00:00Z"), ("iso", "2026-11-24 08:00"), ("unix_s", "1795478400"),
        ("unix_ms", "1795478400000"), ('"%Y-%m-%d %H:%M%z"', "2026-11-24 01:00+0100"),
    ],
)  # fmt: skip
async def test_stamps_come_in_many_formats(tmp_path: Path, time_format: str, text: str) -> None:
    folder = Folder(tmp_path, time_format=time_format)
    folder.write("a.csv", f"{text},1")
    await folder.scan()
    assert folder.store.rows == {(0, T0): (0, 10)}


AMOUNTS = """
      - {name: use, column: kWh, kind: amount, unit: kWh, decimals: 2}
      - {name: mean, column: kW, kind: amount, unit: kWh, decimals: 2, mean_rate: true}
      - {name: level, column: level, kind: counter, unit: kWh, decimals: 0}"""


@pytest.mark.parametrize(("stamp", "ends_at", "level_at"), [("start", QUARTER, 0), ("end", 0, 0)])
async def test_amounts_end_with_their_period_and_are_exact(
    tmp_path: Path, stamp: str, ends_at: int, level_at: int
) -> None:
    folder = Folder(tmp_path, AMOUNTS, stamp=stamp, period_s=900)
    folder.write("a.csv", "2026-11-24 08:00,1.25,5,7.6", "2026-11-24 08:15,1.255,5,8", header="time,kWh,kW,level")
    counts = await folder.scan()
    assert folder.store.values == {
        (0, T0 + ends_at): 125, (1, T0 + ends_at): 125, (2, T0 + level_at): 8,
        (1, T0 + QUARTER + ends_at): 125, (2, T0 + QUARTER + level_at): 8,
    }  # fmt: skip
    # A remainder of an amount would be lost row by row; a counter's rest is in its next reading.
    assert counts.errors == {"line": 1}


async def test_a_day_of_load_curve_ends_at_24_00(tmp_path: Path) -> None:
    folder = Folder(tmp_path)
    folder.write("a.csv", "2026-11-24 23:45,1", "2026-11-24 24:00,2")
    await folder.scan()
    midnight = parse_instant("2026-11-25T00:00:00+08:00")
    assert sorted(folder.store.rows) == [(0, midnight - QUARTER), (0, midnight)]


NIGHT = [f"2026-10-25 {text},{n}" for n, text in enumerate(["01:30", "02:00", "02:30", "02:00", "02:30", "03:00"])]


@pytest.mark.parametrize("cut", range(6))
async def test_both_hours_of_the_autumn_night_are_told_apart(tmp_path: Path, cut: int) -> None:
    """Fault 16, also when the file is read in two parts with a restart between, or has the newest line on top."""
    folder = Folder(tmp_path, timezone="Europe/Berlin", period_s=1800)
    if not cut:
        folder.write("a.csv", *reversed(NIGHT))
    else:
        folder.write("a.csv", *NIGHT[:cut])
        await folder.scan()
        folder.restart()
        folder.append("a.csv", "".join(line + "\n" for line in NIGHT[cut:]))
    counts = await folder.scan()
    first = parse_instant("2026-10-25T01:30:00+02:00")
    assert folder.store.values == {(0, first + n * 1_800_000): n * 10 for n in range(6)}
    assert not counts.errors


async def test_amounts_of_the_spring_night_have_no_gap(tmp_path: Path) -> None:
    """Fault 16: 01:45 is followed by 03:00, and the period that the clock calls 03:00 ends where 02:00 would have been."""
    folder = Folder(tmp_path, "\n      - {name: a, column: kWh, kind: amount, unit: kWh, decimals: 0}",
                    timezone="Europe/Berlin", period_s=900)  # fmt: skip
    stamps = ["01:30", "01:45", "02:00", "03:15", "03:30"]
    folder.write("a.csv", *(f"2026-03-29 {text},{n}" for n, text in enumerate(stamps)))
    counts = await folder.scan()
    first = parse_instant("2026-03-29T00:30:00Z")
    assert folder.store.values == {(0, first + n * QUARTER): n for n in range(5)}
    assert not counts.errors


async def test_an_hour_that_never_was_and_one_that_nothing_decides_are_set_aside(tmp_path: Path) -> None:
    folder = Folder(tmp_path, timezone="Europe/Berlin")
    folder.write("a.csv", "2026-03-29 02:30,1", "2026-10-25 02:30,2", "2026-11-24 01:00,3")
    with capture_logs() as logs:
        counts = await folder.scan()
    assert folder.store.of() == [30]
    assert counts.errors == {"line": 2}
    assert "leaves out in Europe/Berlin" in logs[0]["reason"]
    assert "twice in the autumn night" in logs[1]["reason"]


@pytest.mark.parametrize(
    ("keys", "channels", "expected"),
    [
        ({"pattern": "../*.csv"}, CHANNELS, "is a pattern for the names of files in this folder"),
        ({"key_columns": "M"}, CHANNELS, "key_columns and value_column belong together"),
        ({}, LONG, "m1.energy: key needs key_columns and value_column"),
        ({"key_columns": "M", "value_column": "V"}, LONG, "key has as many parts as key_columns"),
        ({"key_columns": "M", "value_column": "V"}, CHANNELS, "with key_columns every channel needs a key"),
        ({"decimal": '","'}, CHANNELS, "decimal, thousands and delimiter are three different characters"),
        ({"stamp": "start", "midnight": "day_end"}, CHANNELS, "midnight: day_end is about stamps at the end"),
        ({"header_line": 3, "first_line": 3}, CHANNELS, "first_line comes after header_line"),
        ({}, "\n      - {name: a, kind: counter, unit: kWh, decimals: 0}", "a: give either column, or key"),
        ({}, AMOUNTS, "an amount needs period_s"),
        ({"encoding": "utf-16"}, CHANNELS, "encoding"),
    ],
)
def test_configuration_errors_say_what_to_do(
    tmp_path: Path, keys: dict[str, object], channels: str, expected: str
) -> None:
    with pytest.raises(ConfigError, match=expected):
        folder_source(tmp_path, channels, **keys)


def test_channels_are_declared_with_their_kind_and_period(tmp_path: Path) -> None:
    folder_source(tmp_path, AMOUNTS, period_s=900)
    of = config(tmp_path, (tmp_path / "agent.yaml").read_text().partition("sources:")[2])
    assert [(c.name, c.kind, c.period_s) for c in all_channels(of)] == [
        ("use", "amount", 900), ("mean", "amount", 900), ("level", "counter", 0),
    ]  # fmt: skip
