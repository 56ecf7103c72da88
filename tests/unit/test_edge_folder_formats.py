"""Files as systems export them: tables, encodings, stamps, amounts over a period, nights of the clock change."""

from pathlib import Path

import pytest
from edge_support import config
from folder_rig import CHANNELS, FIRST, QUARTER, SECOND, T0, Folder, folder_source
from structlog.testing import capture_logs

from plantprint.times import parse_instant
from plantprint_edge.channels import all_channels
from plantprint_edge.yamlfile import ConfigError

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
