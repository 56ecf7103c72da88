"""Probe and scan: what a device is, what it says, and what looks wrong, through the command and on a serial line."""

import json
import struct
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
from modbus_rig import frame, refusal, rtu_over_tcp
from node_modbus_rig import node_modbus
from typer.testing import CliRunner, Result

from plantprint_cli.edge_commands import register
from plantprint_cli.errors import CommandError
from plantprint_edge.meters import SHIPPED
from plantprint_edge.probe import Target, answers, at_unit, guess, probe
from plantprint_edge.sources.line import DeviceError
from plantprint_edge.sources.modbus_line import Line, NetworkLine

ADDRESSES = {
    "voltage_l1": 0, "voltage_l2": 2, "voltage_l3": 4, "current_l1": 6, "current_l2": 8, "current_l3": 10,
    "power_active_l1": 12, "power_active_l2": 14, "power_active_l3": 16, "power_active": 52, "frequency": 70,
    "energy_active_import": 72,
}  # fmt: skip
GOOD = {
    "voltage_l1": 230.5, "voltage_l2": 229.0, "voltage_l3": 231.25, "current_l1": 10.0, "current_l2": 10.0,
    "current_l3": 10.0, "power_active_l1": 2000.0, "power_active_l2": 2100.0, "power_active_l3": 1900.0,
    "power_active": 6000.0, "frequency": 49.98, "energy_active_import": 1234.5,
}  # fmt: skip


def eastron(values: dict[str, float], order: str = "big") -> list[dict[str, Any]]:
    return [{"addr": ADDRESSES[name], "type": "f32", "order": order, "value": v} for name, v in values.items()]


def em24() -> list[dict[str, Any]]:
    """Low word first, tenths of a volt."""
    wanted = {0: 2301, 2: 2302, 4: 2303}
    return [{"addr": a, "type": "i32", "order": "little", "value": v} for a, v in wanted.items()] + [
        {"addr": 55, "type": "i16", "order": "big", "value": 500}
    ]


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    units = {
        1: eastron(GOOD),
        2: eastron(GOOD, "little"),
        3: eastron(GOOD | {"power_active": 6.0, "frequency": 499.8}),
        4: eastron(
            GOOD
            | {"power_active": 600_000.0, "power_active_l1": 200_000.0, "power_active_l2": 2e5, "power_active_l3": 2e5}
        ),
        5: em24(),
        6: [{"addr": 50_000 + i, "type": "u16", "order": "big", "value": ord(c)} for i, c in enumerate("SOCO")],
    }
    with node_modbus(units) as port:
        yield port


def command(*arguments: object) -> "subprocess.CompletedProcess[str]":
    words = [sys.executable, "-m", "plantprint_cli", "edge", *map(str, arguments)]
    return subprocess.run(words, capture_output=True, text=True, check=False, timeout=120)


def probed(port: int, unit: int, *more: str) -> tuple[int, dict[str, Any]]:
    done = command("probe", "127.0.0.1", "--port", port, "--unit", unit, "--json", *more)
    assert done.stdout, done.stderr
    return done.returncode, json.loads(done.stdout)


def test_a_good_meter_is_recognised_and_nothing_looks_wrong(port: int) -> None:
    code, report = probed(port, 1)
    assert (code, report["findings"]) == (0, [])
    assert {report["device"], *report["could_also_be"]} == {"eastron_sdm630", "eastron_sdm72dm_v2"}
    assert report["values"]["voltage_l3"] == "231.25"
    assert report["values"]["energy_active_import"] == "1234.500"


def test_words_in_the_other_order_are_noticed(port: int) -> None:
    code, report = probed(port, 2, "--as", "eastron_sdm630")
    assert code == 1
    assert any("with word_order: little these are plausible: voltage_l1" in finding for finding in report["findings"])
    assert any(finding.startswith("voltage_l1 is ") for finding in report["findings"])


@pytest.mark.parametrize(
    ("unit", "expected"),
    [
        (3, "frequency is 499.800, not near 50 or 60 Hz"),
        (3, "power_active is 6.0, its phases add up to 6000.0"),
        (4, "power_active is 600000.0 W, voltage x current only 6908 VA"),
    ],
)
def test_wrong_scales_are_noticed(port: int, unit: int, expected: str) -> None:
    code, report = probed(port, unit, "--as", "eastron_sdm630")
    assert code == 1
    assert any(finding.startswith(expected) for finding in report["findings"]), report["findings"]


def test_text_for_people_names_values_units_and_findings(port: int) -> None:
    done = command("probe", "127.0.0.1", "--port", port, "--unit", 3, "--as", "eastron_sdm630")
    assert "as eastron_sdm630 (Eastron SDM630 (v2, MID))" in done.stdout
    assert "voltage_l1                                   230.50 V" in done.stdout
    assert "! frequency is 499.800" in done.stdout


def test_no_answer_and_no_such_type_are_told_with_a_remedy(port: int) -> None:
    done = command("probe", "127.0.0.1", "--port", 1, "--timeout", "0.5")
    assert done.returncode == 2
    assert "no connection to 127.0.0.1:1; Connection refused" in done.stderr
    assert "nobody listens on this port: check --port" in done.stderr
    done = command("probe", "/dev/ttyNONE", "--timeout", "0.5")
    assert done.returncode == 2
    assert "No such file or directory; check the adapter's plug" in done.stderr
    done = command("probe", "127.0.0.1", "--port", port, "--rtu", "--unit", 255)
    assert done.returncode == 2
    assert "--unit 255 is for Modbus TCP alone" in done.stderr
    done = command("probe", "127.0.0.1", "--port", port, "--as", "eastron")
    assert done.returncode == 2
    assert "`plantprint edge meters` lists them, among them eastron_sdm" in done.stderr


def test_a_scan_finds_units_and_what_they_look_like(port: int) -> None:
    done = command("scan", "127.0.0.1", "--port", port, "--units", "4-8", "--json")
    assert done.returncode == 0, done.stderr
    found = {one["unit"]: one["looks_like"] for one in json.loads(done.stdout)}
    assert found.keys() == {4, 5, 6}
    # Up to register 42 both maps are alike; only the frequency stands elsewhere.
    assert found[5] == ["carlogavazzi_em24"]
    assert found[6] == ["socomec_countis_e24"]
    assert command("scan", "127.0.0.1", "--port", port, "--units", "20-21").returncode == 1
    assert command("scan", "127.0.0.1", "--units", "0-300").returncode == 2


async def test_on_a_serial_line_refusals_are_answers_and_silence_is_none() -> None:
    f32 = [struct.unpack(">2H", struct.pack(">f", value)) for value in (50.0, 231.0)]

    async def answer(unit: int, fc: int, addr: int, count: int) -> list[bytes]:
        if unit == 3:
            return []
        if unit == 4 or fc == 3:
            return [refusal(unit, fc, 2 if unit == 4 else 1)]
        words = [w for a in range(addr, addr + count, 2) for w in f32[a <= 4]]
        return [frame(unit, fc, words[:count])]

    async with rtu_over_tcp(answer) as serial:
        address = NetworkLine("127.0.0.1", serial.port, "rtu")
        line = Line(address, 0.1)
        target = Target(line, address, 2, 0.1)
        assert [await answers(at_unit(target, unit)) for unit in (2, 3, 4)] == [True, False, True]
        found = await guess(target, SHIPPED)
        assert "eastron_sdm630" in [device.id for device in found]
        report = await probe(target, found[0], SHIPPED)
        assert str(report.values["voltage_l1"]) == "231.00"
        assert await guess(at_unit(target, 4), SHIPPED) == []
        with pytest.raises(DeviceError):
            await probe(at_unit(target, 3), found[0], SHIPPED)
        line.close()


def meters(*arguments: object) -> Result:
    """`plantprint edge meters` in this process: it needs no device and no log."""
    app = typer.Typer()
    app.callback()(lambda: None)
    register(app)
    return CliRunner().invoke(app, ["edge", "meters", *map(str, arguments)])


def test_meters_are_listed_and_explained() -> None:
    assert len(meters().stdout.splitlines()) == 29
    explained = meters("siemens_pac1600").stdout
    assert "the register ends before 4294967.296 kWh" in explained
    assert "source        github.com/OpenEMS/openems" in explained
    assert json.loads(meters("sunspec_103", "--json").stdout)["sunspec"] == [103, 101, 102]
    assert sum(one["points"] for one in json.loads(meters("--json").stdout)) == 482


def test_own_meters_are_listed_too(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text(
        "id: mine\nmaker: me\nmodel: M1\nsources: [my manual]\nfc: 3\nword_order: big\n"
        "points: {energy: {addr: 1, type: u32, unit: kWh, kind: counter, decimals: 0}}\n"
    )
    assert "mine " in meters("--meters-dir", tmp_path).stdout
    (tmp_path / "mine.yaml").write_text("id: yours\nmaker: me\n")
    failed = meters("--meters-dir", tmp_path)
    assert isinstance(failed.exception, CommandError)
    assert "mine.yaml:1: model: Field required" in str(failed.exception)
