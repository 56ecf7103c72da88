"""Recorded plants: the traps of two public data sets, and an error with line and remedy for everything else."""

import gzip
from collections import Counter
from datetime import UTC, date, datetime
from itertools import pairwise
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from edge_support import PV, STEEL

from plantprint.times import format_instant, from_ms, parse_instant
from plantprint_edge.config import ReplaySource
from plantprint_edge.sources.replay import Record, ReplayError, read_records

QUARTER_MS = 900_000


def source(file: Path, *columns: tuple[str, int, bool], **changes: object) -> ReplaySource:
    values: dict[str, object] = {
        "source": "replay",
        "name": "file",
        "file": file,
        "time_column": "time",
        "time_format": "%Y-%m-%d %H:%M",
        "timezone": "Europe/Zurich",
        "stamp": "end",
        "period_s": 900,
        "columns": [
            {"name": name, "column": name, "unit": "kWh", "decimals": decimals, "mean_rate": rate}
            for name, decimals, rate in columns or (("kWh", 2, False),)
        ],
    }
    return ReplaySource.model_validate({**values, **changes})


def steel() -> ReplaySource:
    return source(
        STEEL,
        ("Usage_kWh", 2, False),
        time_column="date",
        time_format="%d/%m/%Y %H:%M",
        timezone="Asia/Seoul",
        midnight="day_end",
    )


def pv() -> ReplaySource:
    columns = ("Generation_kW", "Grid_Feed-In_kW", "Grid_Supply_kW")
    return source(PV, *((c, 5, True) for c in columns), time_column="Timestamp", time_format="%Y-%m-%d %H:%M:%S")


def test_the_steel_year_is_complete_to_the_last_digit_with_its_midnights_in_place() -> None:
    records = list(read_records(steel()))
    assert len(records) == 35_040
    assert sum(r.values[0] or 0 for r in records) == 95_963_671
    assert {b.end_ms - a.end_ms for a, b in pairwise(records)} == {QUARTER_MS}
    assert format_instant(records[0].end_ms) == "2017-12-31T15:15:00Z"
    assert format_instant(records[-1].end_ms) == "2018-12-31T15:00:00Z"
    # 3.42 kWh is written as 00:00 of the first of January and belongs to its end.
    assert records[95].values == (342,)
    assert format_instant(records[95].end_ms) == "2018-01-01T15:00:00Z"


def test_without_its_midnight_rule_the_steel_year_is_refused() -> None:
    with pytest.raises(
        ReplayError, match=r"steel_daewoo_15min\.csv\.gz:97: '01/01/2018 00:00' is before the row above"
    ):
        list(read_records(steel().model_copy(update={"midnight": "day_start"})))


def test_both_clock_changes_of_the_pv_year_leave_no_gap_and_no_double() -> None:
    records = list(read_records(pv()))
    assert len(records) == 35_040
    assert {b.end_ms - a.end_ms for a, b in pairwise(records)} == {QUARTER_MS}
    assert format_instant(records[0].end_ms) == "2018-12-31T23:00:00Z"
    assert format_instant(records[-1].end_ms) == "2019-12-31T22:45:00Z"
    zurich = ZoneInfo("Europe/Zurich")
    days = Counter(from_ms(r.end_ms - QUARTER_MS).astimezone(zurich).date() for r in records)
    assert (days[date(2019, 3, 31)], days[date(2019, 10, 27)], days[date(2019, 6, 1)]) == (92, 100, 96)
    # Mean kW of a quarter of an hour, exact at five decimals of a kWh.
    assert sum(r.values[0] or 0 for r in records) == 6_243_751_800
    assert sum(r.values[1] or 0 for r in records) == 4_756_755_100
    assert sum(r.values[2] or 0 for r in records) == 2_050_722_200
    doubled = [r for r in records if from_ms(r.end_ms) in (datetime(2019, 10, 27, h, 30, tzinfo=UTC) for h in (0, 1))]
    assert [r.line for r in doubled] == [28_712, 28_716]


def written(tmp_path: Path, *rows: str, header: str = "time,kWh") -> Path:
    path = tmp_path / "year.csv"
    path.write_text("\n".join([header, *rows, ""]), "utf-8")
    return path


def read(path: Path, *columns: tuple[str, int, bool], **changes: object) -> list[Record]:
    return list(read_records(source(path, *columns, **changes)))


FIRST, SECOND = "2019-06-01 00:15,1", "2019-06-01 00:30,2"


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        ([FIRST, "2019-06-01 00:30,1.234"], r":3: column 'kWh': 1.234 is not exact with decimals: 2; set decimals: 3"),
        (
            [FIRST, "2019-06-01 00:30,n/a"],
            r":3: column 'kWh': 'n/a' is not a number; correct the cell or leave it empty",
        ),
        ([FIRST, "2019-06-01 00:30,1_0"], r":3: column 'kWh': '1_0' is not a number"),
        ([FIRST, "2019-06-01 00:30,nan"], r":3: column 'kWh': 'nan' is not a number"),
        ([FIRST, "2019-06-01 00:30,1e200"], r":3: column 'kWh': 1e200 is too large"),
        ([FIRST, "2019-06-01 00:30,1,2"], r":3: 3 cells where the header has 2; repair the row"),
        ([FIRST, "01.06.2019,1"], r":3: '01.06.2019' does not match time_format '%Y-%m-%d %H:%M'"),
        ([SECOND, FIRST], r":3: '2019-06-01 00:15' is before the row above .*; sort the file by time"),
        ([FIRST, FIRST], r":3: '2019-06-01 00:15' is the same period as the row before; remove one of them"),
        ([FIRST, "2019-06-01 00:20,1"], r":3: '2019-06-01 00:20' overlaps the row above; check `period_s`"),
        (["2019-03-31 02:30,1"], r":2: '2019-03-31 02:30' falls into the hour that the clock change leaves out"),
        (["2019-10-27 02:30,1"], r":2: '2019-10-27 02:30' is ambiguous and no row before it decides"),
        (["2019-10-27 01:30,1", "2019-10-27 02:30,1"], r":3: '2019-10-27 02:30' is ambiguous after a gap"),
        ([FIRST, '"2019'], r":2: no readable CSV in UTF-8 after this line"),
    ],
)
def test_errors_name_file_line_and_remedy(tmp_path: Path, rows: list[str], expected: str) -> None:
    path = written(tmp_path, *rows)
    with pytest.raises(ReplayError, match=expected) as caught:
        read(path)
    assert str(caught.value).startswith(str(path))


def test_what_was_read_before_an_error_stays(tmp_path: Path) -> None:
    records: list[Record] = []
    with pytest.raises(ReplayError, match=":4: "):
        records.extend(read_records(source(written(tmp_path, FIRST, SECOND, "broken"))))
    assert [r.values for r in records] == [(100,), (200,)]


def test_header_and_file_errors(tmp_path: Path) -> None:
    with pytest.raises(ReplayError, match=r"cannot be opened \(No such file"):
        read(tmp_path / "nowhere.csv")
    with pytest.raises(ReplayError, match=r":1: column 'kWh' is missing; the file has 'time', 'MWh'"):
        read(written(tmp_path, FIRST, header="time,MWh"))
    with pytest.raises(ReplayError, match=r":1: column 'kWh' stands more than once"):
        read(written(tmp_path, header="time,kWh,kWh"))
    empty = tmp_path / "empty.csv"
    empty.write_text("")
    with pytest.raises(ReplayError, match="the file is empty"):
        read(empty)


@pytest.mark.parametrize("cut", [200, -1, -2_000])
def test_a_truncated_archive_is_told_with_the_last_good_line(tmp_path: Path, cut: int) -> None:
    path = tmp_path / "cut.csv.gz"
    path.write_bytes(STEEL.read_bytes()[:cut])
    records: list[Record] = []
    with pytest.raises(ReplayError, match=r":\d+: the compressed file ends after this line; .*copy it again") as caught:
        records.extend(read_records(steel().model_copy(update={"file": path})))
    assert len(records) > (30_000 if cut < 0 else -1)
    assert f":{len(records) + 1 if records else 0}: " in str(caught.value)


def test_a_damaged_archive_is_told(tmp_path: Path) -> None:
    path = tmp_path / "bad.csv.gz"
    data = bytearray(STEEL.read_bytes())
    data[100_000:100_050] = b"\0" * 50
    path.write_bytes(data)
    with pytest.raises(ReplayError, match=r"bad\.csv\.gz:\d+: "):
        list(read_records(steel().model_copy(update={"file": path})))
    plain = tmp_path / "plain.csv.gz"
    plain.write_text("time,kWh\n")
    with pytest.raises(ReplayError, match=r"plain\.csv\.gz:0: cannot be read on"):
        read(plain)


def test_bytes_that_are_no_utf8_are_told(tmp_path: Path) -> None:
    path = tmp_path / "latin.csv"
    path.write_bytes(b"time,kWh\n2019-06-01 00:15,1\n2019-06-01 00:30,\xe9\n")
    with pytest.raises(ReplayError, match=r"latin\.csv:\d: no readable CSV in UTF-8"):
        read(path)


def test_an_empty_cell_is_missing_and_zero_is_not(tmp_path: Path) -> None:
    assert [r.values for r in read(written(tmp_path, "2019-06-01 00:15,", "2019-06-01 00:30,0"))] == [(None,), (0,)]


def test_a_mark_of_byte_order_is_no_part_of_the_first_column(tmp_path: Path) -> None:
    path = tmp_path / "marked.csv"
    path.write_text(f"\ufefftime,kWh\r\n{FIRST}\r\n", "utf-8")
    assert [r.values for r in read(path)] == [(100,)]


def test_a_mean_rate_is_exact_or_refused(tmp_path: Path) -> None:
    rows = written(tmp_path, "2019-06-01 00:15,0.333", header="time,kW")
    assert read(rows, ("kW", 5, True))[0].values == (8_325,)
    with pytest.raises(ReplayError, match=r"0.333 is not exact with decimals: 3; set decimals: 5"):
        read(rows, ("kW", 3, True))
    with pytest.raises(ReplayError, match="no number of decimals makes it exact"):
        read(written(tmp_path, "2019-06-01 00:15,0.1", header="time,kW"), ("kW", 3, True), period_s=700)


def test_stamps_at_the_start_and_gaps_outside_the_clock_change(tmp_path: Path) -> None:
    rows = written(tmp_path, "2019-06-01 00:00,1", "2019-06-01 03:00,2")
    records = read(rows, stamp="start", timezone="UTC")
    assert [r.end_ms for r in records] == [parse_instant("2019-06-01T00:15:00Z"), parse_instant("2019-06-01T03:15:00Z")]


def test_stamps_with_an_offset_need_no_zone(tmp_path: Path) -> None:
    rows = written(tmp_path, "2019-10-27 02:30+0100,1")
    assert format_instant(read(rows, time_format="%Y-%m-%d %H:%M%z")[0].end_ms) == "2019-10-27T01:30:00Z"


def test_an_archive_may_hold_several_members(tmp_path: Path) -> None:
    path = tmp_path / "two.csv.gz"
    path.write_bytes(gzip.compress(f"time,kWh\n{FIRST}\n".encode()) + gzip.compress(f"{SECOND}\n".encode()))
    assert [r.values for r in read(path)] == [(100,), (200,)]
