"""Folders of CSV files: growing, rewritten, renamed, overlapping; and a process that dies at any point."""

import os
import random
import time
from pathlib import Path

import pytest
from folder_rig import FIRST, QUARTER, SECOND, T0, THIRD, Folder


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
