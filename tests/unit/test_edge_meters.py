"""Device types as data: those of users beside the shipped ones, scales in registers, ratios, where counters end."""

from decimal import Decimal
from fractions import Fraction
from pathlib import Path

import pytest
from edge_support import config
from pydantic import ValidationError

from plantprint_edge.channels import all_channels, modbus_reads, ratio_reads
from plantprint_edge.config import ModbusSource
from plantprint_edge.decode import Block, Point, decode_from, plan_blocks, split
from plantprint_edge.meters import Device, DevicePoint, find_device
from plantprint_edge.yamlfile import ConfigError

MINE = """id: mine
maker: me
model: M1
sources: [my manual, page 3]
fc: 3
word_order: little
points:
  energy: {addr: 1, type: u32, scale: sf@3, unit: kWh, kind: counter, decimals: 1}
"""
SOURCE = """
  - source: modbus
    name: m1
    host: h
    device: %s
    points: [%s]
"""


def one(folder: Path, device: str, points: str, top: str = "") -> ModbusSource:
    (source,) = config(folder, SOURCE % (device, points), top).sources
    assert isinstance(source, ModbusSource)
    return source


def test_own_types_stand_beside_the_shipped_ones(tmp_path: Path) -> None:
    (tmp_path / "meters").mkdir()
    (tmp_path / "meters" / "mine.yaml").write_text(MINE)
    (point,) = modbus_reads(one(tmp_path, "mine", "{name: e, point: energy}", "meters_dir: meters"), 0)
    assert (point.addr, point.word_order, point.scale_addr, point.factor) == (1, "little", 3, Fraction(10))
    (point,) = modbus_reads(one(tmp_path, "eastron_sdm630", "{name: e, point: frequency}", "meters_dir: meters"), 0)
    assert point.addr == 70


def test_an_own_type_replaces_a_shipped_one_of_its_name(tmp_path: Path) -> None:
    (tmp_path / "meters").mkdir()
    (tmp_path / "meters" / "eastron_sdm630.yaml").write_text(MINE.replace("id: mine", "id: eastron_sdm630"))
    (point,) = modbus_reads(one(tmp_path, "eastron_sdm630", "{name: e, point: energy}", "meters_dir: meters"), 0)
    assert point.addr == 1


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("id: mine\n", "mine.yaml:1: maker: Field required"),
        (MINE.replace("u32", "u33"), "mine.yaml:8: points.energy.type: String should match pattern"),
        (MINE.replace("id: mine", "id: other"), "mine.yaml:1: id: is 'other', not the name of its file"),
        (MINE.replace("sf@3", "sf@x"), "mine.yaml:8: points.energy.scale"),
        (MINE + "fc: 4\n", "mine.yaml:9: key 'fc' stands twice"),
        ("[", "mine.yaml:1: not readable as YAML"),
    ],
)
def test_errors_in_own_types_name_file_and_line(tmp_path: Path, text: str, expected: str) -> None:
    folder = tmp_path / "meters"
    folder.mkdir()
    (folder / "mine.yaml").write_text(text)
    with pytest.raises(ConfigError) as caught:
        one(tmp_path, "mine", "{name: e, point: energy}", "meters_dir: meters")
    assert any(f"{folder}/{expected}" in problem for problem in caught.value.problems), caught.value.problems


def test_a_folder_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="is no folder; correct meters_dir"):
        one(tmp_path, "mine", "{name: e, point: energy}", "meters_dir: nowhere")


def test_quantities_that_are_never_accounted_may_be_read_too(tmp_path: Path) -> None:
    points = "{name: v, point: voltage_l1}, {name: pf, point: power_factor}, {name: q, point: energy_reactive_import}"
    folder = tmp_path
    found = all_channels(config(folder, SOURCE % ("eastron_sdm630", points)))
    assert [(c.name, c.unit, c.kind) for c in found] == [
        ("v", "V", "gauge"),
        ("pf", "1", "gauge"),
        ("q", "kvarh", "counter"),
    ]
    with pytest.raises(ConfigError, match="channel 'v': V is the unit of a gauge"):
        config(folder, SOURCE % ("eastron_sdm630", "{name: v, point: voltage_l1, kind: counter}"))


def test_ratios_are_channels_of_their_own(tmp_path: Path) -> None:
    points = "{name: e, point: energy_active_import}, {name: hz, point: frequency}"
    of = one(tmp_path, "acrel_dtsd1352", points)
    assert [(r.name, r.addr) for r in ratio_reads(of)] == [("pt", 141), ("ct", 142)]
    found = all_channels(config(tmp_path, SOURCE % ("acrel_dtsd1352", points)))
    assert [c.name for c in found] == ["e", "hz", "m1.pt", "m1.ct"]
    only_hz = one(tmp_path, "acrel_dtsd1352", "{name: hz, point: frequency}")
    assert ratio_reads(only_hz) == ()


@pytest.mark.parametrize(
    ("points", "more", "expected"),
    [
        ("{name: e, point: energy_active_import}", "ratios: {cd: 4}", "no point is multiplied by a ratio 'cd'"),
        ("{name: e, point: energy_active_import}", "ratios: {ct: 0}", "greater than 0"),
        (
            "{name: a, point: current_l1}, {name: b, point: current_l2, times: [ct@5]}",
            "",
            "ratio ct stands in register 142",
        ),
        ("{name: a, point: current_l1, times: [ct]}", "", "should match pattern"),
        ("{name: a, point: current_l1, scale: sf@90}", "", "value and scale are 11 registers, read_max is 8"),
        ("{name: a, point: current_l1}, {name: m1.ct, point: frequency}", "", "channel 'm1.ct' is already declared"),
    ],
)
def test_wrong_ratios_and_scales_are_told(tmp_path: Path, points: str, more: str, expected: str) -> None:
    source = SOURCE.rstrip() % ("acrel_dtsd1352", points) + f"\n    read_max: 8\n    {more}\n"
    with pytest.raises(ConfigError) as caught:
        config(tmp_path, source)
    assert any(expected in problem for problem in caught.value.problems), caught.value.problems


@pytest.mark.parametrize(
    ("device_id", "name", "expected"),
    [
        ("siemens_pac1600", "energy_active_import", "4294967.296"),
        ("carlogavazzi_em24", "energy_active_import", "214748364.8"),
        ("fuxin_gas_flow", "volume_standard_bcd", "100000000"),
        ("eastron_sdm630", "energy_active_import", None),
        ("sunspec_103", "energy_active_generated", "4294967296"),
    ],
)
def test_where_a_counter_must_wrap_at_the_latest(device_id: str, name: str, expected: str | None) -> None:
    device = find_device(device_id)
    assert device is not None
    assert device.points[name].modulus == (None if expected is None else Decimal(expected))


def test_value_and_scale_are_read_in_one_request() -> None:
    points = [
        Point(0, 3, 10, "i16", "big", Fraction(1), scale_addr=116),
        Point(1, 3, 19, "u32", "big", Fraction(1), scale_addr=5),
        Point(2, 3, 300, "u16", "big", Fraction(1)),
    ]
    blocks = plan_blocks(points, read_max=120, gap_max=0)
    assert [(b.addr, b.count) for b in blocks] == [(5, 112), (300, 1)]
    assert [(b.addr, b.count) for b in split(blocks[0])] == [(5, 16), (10, 107)]


@pytest.mark.parametrize(
    ("power", "expected"), [(0, 70), (2, 7000), (0xFFFF, 7), (0xFFFE, 1), (0x8000, None), (11, None)]
)
def test_a_power_of_ten_scales_exactly_or_is_missing(power: int, expected: int | None) -> None:
    point = Point(0, 3, 10, "u16", "big", Fraction(10), scale_addr=11)
    assert decode_from(Block(3, 10, 2, (point,)), point, [7, power], {}) == expected


def test_a_value_waits_for_its_ratios() -> None:
    point = Point(0, 3, 10, "u16", "big", Fraction(1), times=("ct", "pt"))
    block = Block(3, 10, 1, (point,))
    assert decode_from(block, point, [7], {"ct": 40}) is None
    assert decode_from(block, point, [7], {"ct": 40, "pt": 3}) == 840


def test_a_ratio_has_one_register_in_a_type() -> None:
    def point(ratio: str) -> DevicePoint:
        return DevicePoint(addr=1, type="u16", unit="A", kind="gauge", decimals=0, times=(ratio,))

    with pytest.raises(ValidationError, match="a ratio has one register"):
        Device(
            id="d", maker="m", model="m", sources=("s",), fc=3, word_order="big",
            points={"a": point("ct@1"), "b": point("ct@2")},
        )  # fmt: skip
