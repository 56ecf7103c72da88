"""A sheet of production events: rows become events, and what cannot says line and remedy."""

from pathlib import Path

import pytest

from plantprint_cli.errors import CommandError
from plantprint_cli.event_sheet import Row, Sheet, read_sheet


def rows(tmp_path: Path, text: str, **how: object) -> list[Row]:
    path = tmp_path / "sheet.csv"
    path.write_bytes(text.encode(str(how.get("encoding", "utf-8"))))
    return list(read_sheet(Sheet(path, **how)))  # type: ignore[arg-type]


def test_columns_are_the_fields_of_each_kind_and_empty_cells_say_nothing(tmp_path: Path) -> None:
    found = rows(
        tmp_path,
        "kind,at,event_id,revision,batch,product,quantity,unit,job,work_unit\n"
        "order,2026-11-24T08:00:00+08:00,o-1,2,B-1,navy,1200.5,kg,,\n"
        "\n"
        "job_start,2026-11-24T08:05:00+08:00,,,B-1,,,,J-1,l1-dye\n",
    )
    order, job = (row.event for row in found)
    assert order is not None
    assert job is not None
    assert (order.kind, order.at, order.event_id, order.revision) == ("order", "2026-11-24T00:00:00Z", "o-1", 2)
    assert order.body == {"batch": "B-1", "product": "navy", "quantity": "1200.5", "unit": "kg"}
    assert job.body == {"batch": "B-1", "job": "J-1", "work_unit": "l1-dye"}
    assert [row.line for row in found] == [2, 4]


def test_a_row_without_id_is_known_by_its_content_wherever_it_stands(tmp_path: Path) -> None:
    one = rows(tmp_path, "at,batch,unit\n2026-11-24T08:00:00Z,B-1,kg\n", kind="order")
    other = rows(
        tmp_path, "unit,batch,at\nt,B-2,2026-11-24T08:00:00Z\nkg,B-1,2026-11-24T16:00:00+08:00\n", kind="order"
    )
    assert one[0].event is not None
    assert other[1].event is not None
    assert one[0].event.event_id == other[1].event.event_id != ""


def test_a_german_sheet_with_other_names_a_zone_and_semicolons(tmp_path: Path) -> None:
    text = "Zeit;Auftrag;Stück;Notiz\n2026-10-24 08:00;A-1;5;x\n2026-10-25 02:30;A-2;5;x\n2026-03-29 02:30;A-3;5;x\n"
    names = {"Zeit": "at", "Auftrag": "batch", "Stück": "quantity"}
    good, twice, never = rows(
        tmp_path, text, kind="order", zone="Europe/Berlin", renamed=names, encoding="cp1252", source="erp"
    )
    assert good.event is not None
    assert (good.event.at, good.event.source) == ("2026-10-24T06:00:00Z", "erp")
    assert good.event.body == {"batch": "A-1", "quantity": "5", "Notiz": "x"}
    assert "comes twice in Europe/Berlin" in twice.problem
    assert "does not exist in Europe/Berlin" in never.problem


@pytest.mark.parametrize(
    ("time_format", "text"),
    [
        ("%d.%m.%Y %H:%M", "24.11.2026 15:00"),
        ("%m/%d/%Y %I:%M %p", "11/24/2026 3:00 PM"),
        ("%Y/%m/%d %H:%M", "2026/11/24 15:00"),
        ("excel-serial", "46350.625"),
    ],
)
def test_times_as_excel_writes_them(tmp_path: Path, time_format: str, text: str) -> None:
    sheet = f"sep=;\nat;batch;quantity\n{text};B-1;1.234,5\n"
    (row,) = rows(tmp_path, sheet, kind="order", zone="Asia/Shanghai", time_format=time_format, decimal=",")
    assert row.event is not None, row.problem
    assert (row.event.at, row.event.body["quantity"], row.line) == ("2026-11-24T07:00:00Z", "1234.5", 3)
    (row,) = rows(tmp_path, f"at,batch\n{text},B-1\n", kind="order", zone="Asia/Shanghai")
    assert "--time-format" in row.problem


@pytest.mark.parametrize("number", ["1,5", "1,234.5", "many", "nan"])
def test_a_number_that_would_be_another_is_refused_with_its_line(tmp_path: Path, number: str) -> None:
    (row,) = rows(tmp_path, f'at;batch;quantity\n2026-11-24T08:00:00Z;B-1;"{number}"\n', kind="order")
    assert (row.line, row.event) == (2, None)
    assert "quantity" in row.problem
    assert "--decimal" in row.problem


def test_a_row_without_what_its_kind_must_name_is_told_before_anything_is_sent(tmp_path: Path) -> None:
    (row,) = rows(tmp_path, "at,job\n2026-11-24T08:00:00Z,J-1\n", kind="job_start")
    assert "job_start event needs text in body.batch" in row.problem


def test_a_withdrawal_names_what_it_withdraws(tmp_path: Path) -> None:
    (row,) = rows(tmp_path, "kind,at,event_id,body.event_id\nwithdraw,2026-11-24T08:00:00Z,w-1,o-1\n")
    assert row.event is not None
    assert (row.event.event_id, row.event.body) == ("w-1", {"event_id": "o-1"})


@pytest.mark.parametrize(
    ("cells", "problem"),
    [
        ("ordre,2026-11-24T08:00:00Z,,B", "kind 'ordre' is not known; use one of order, job_start"),
        ("order,2026-11-24T08:00:00,,B", "has no offset: write one such as"),
        ("order,24.11.2026,,B", "is not an RFC 3339 time with an offset"),
        ("order,,,B", "`at` is empty"),
        ("order,2026-11-24T08:00:00Z,-1,B", "revision '-1' is no whole number"),
        ("order,2026-11-24T08:00:00Z,,B,more", "5 cells under 4 columns"),
    ],
)
def test_a_row_that_cannot_be_used_says_why_and_the_others_go_on(tmp_path: Path, cells: str, problem: str) -> None:
    bad, good = rows(tmp_path, f"kind,at,revision,batch\n{cells}\norder,2026-11-24T08:00:00Z,,B\n")
    assert problem in bad.problem
    assert bad.line == 2
    assert good.event is not None


@pytest.mark.parametrize(
    ("text", "how", "problem"),
    [
        ("kind,batch\norder,B\n", {}, "no column `at`"),
        ("at,batch\n2026-11-24T08:00:00Z,B\n", {}, "no column `kind`"),
        ("at,batch,batch\n2026-11-24T08:00:00Z,B,C\n", {"kind": "order"}, "column batch stands twice"),
        ("at,batch\n2026-11-24T08:00:00Z,B\n", {"kind": "order", "renamed": {"Los": "batch"}}, "no column Los"),
        ('at,batch\n2026-11-24T08:00:00Z,"B\n', {"kind": "order"}, "correct the file"),
    ],
)
def test_a_sheet_that_cannot_be_read_as_a_whole_is_refused(
    tmp_path: Path, text: str, how: dict[str, object], problem: str
) -> None:
    with pytest.raises(CommandError, match=problem):
        rows(tmp_path, text, **how)


def test_another_encoding_is_asked_for(tmp_path: Path) -> None:
    (tmp_path / "sheet.csv").write_bytes("at,batch\n2026-11-24T08:00:00Z,印染厂\n".encode("gb18030"))
    with pytest.raises(CommandError, match="is not utf-8-sig: name its encoding"):
        list(read_sheet(Sheet(tmp_path / "sheet.csv", kind="order")))
    (row,) = read_sheet(Sheet(tmp_path / "sheet.csv", kind="order", encoding="gb18030"))
    assert row.event is not None
    assert row.event.body["batch"] == "印染厂"
