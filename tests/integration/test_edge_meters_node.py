"""Every point of every shipped device type, served by two independent servers and read back through our planning.

`meters_reference.yaml` says what a value should be; Node encodes it; this file works it out with its own arithmetic.
"""

import random
import struct
from collections.abc import Iterator
from decimal import ROUND_HALF_EVEN, Decimal, localcontext
from pathlib import Path
from typing import Any, cast

import pytest
import yaml
from edge_support import config
from line_rig import Rows
from modbus_rig import reading_once
from node_modbus_rig import node_jsmodbus, node_modbus

from plantprint_edge.channels import modbus_reads, ratio_reads
from plantprint_edge.config import ModbusSource
from plantprint_edge.decode import decode
from plantprint_edge.meters import device_ids, find_device
from plantprint_edge.sources.line import DeviceError

REFERENCE = yaml.safe_load((Path(__file__).parents[1] / "data" / "meters_reference.yaml").read_text("utf-8"))
DEVICES: dict[str, dict[str, Any]] = {device["id"]: device for device in REFERENCE["devices"]}
UNITS = {device_id: unit for unit, device_id in enumerate(DEVICES, 1)}
# Images: as the file says, with the words in the other order, and with nothing but "missing".
SWAPPED, SENTINELS = 60, 120
# Where the library deliberately says more than the source: corrected volumes are Nm3.
UNIT_OF = {"": "1"}
CORRECTED = {"volume_standard": "Nm3", "volume_standard_bcd": "Nm3", "flow_standard": "Nm3/h"}
RATIO_REGISTERS = {"pt": (141, 3), "ct": (142, 40)}
ABB = {"u16": "FFFF", "u32": "FFFFFFFF", "u64": "F" * 16, "i16": "7FFF", "i32": "7FFFFFFF"}
SUNSPEC = {"i16": "8000", "u16": "FFFF", "u32": "FFFFFFFF", "u64": "F" * 16, "f32": "7FC00000"}
HUAWEI = {"i32": "7FFFFFFF", "u32": "FFFFFFFF"}
NAN = {"f32": "7FC00000", "f64": "7FF8000000000000"}
MODEL_AT = 40_000 + 2 + 2 + 66
LENGTHS = {"sunspec_103": 50, "sunspec_203": 105, "sunspec_213": 124, "sunspec_701": 153}


def sentinels_of(device_id: str) -> dict[str, str]:
    for prefix, known in (("abb", ABB), ("sunspec", SUNSPEC), ("huawei", HUAWEI)):
        if device_id.startswith(prefix):
            return known
    return NAN


def raw_value(kind: str, chance: random.Random, most: int) -> int | float:
    """A raw value that uses the high words too, as far as a reading holds 64 bits: `most` is the largest."""
    bits = int(kind[1:]) if kind[0] in "uif" else 0
    match kind[0]:
        case "u":
            high = min(2**bits, most)
            return chance.randrange(high // 2, high)
        case "i":
            high = min(2 ** (bits - 1) - 1, most)
            return chance.choice([1, -1]) * chance.randrange(high // 2, high)
        case "f":
            value = chance.uniform(-1e6, 1e6)
            return float(struct.unpack(">f", struct.pack(">f", value))[0]) if bits == 32 else value
        case _:
            return chance.randrange(10**12)


def values_of(device_id: str) -> dict[str, int | float]:
    chance = random.Random(device_id)
    device = find_device(device_id)
    assert device is not None
    return {
        point["q"]: raw_value(point["type"], chance, most(point, device.points[point["q"]].decimals))
        for point in DEVICES[device_id]["points"]
    }


def most(point: dict[str, Any], decimals: int) -> int:
    """The largest raw value whose reading, with its scale, ratios and decimals, fits into 63 bits."""
    scale = Decimal(100) if str(point["scale"]).startswith("sf@") else Decimal(str(point["scale"]))
    for ratio in point.get("times", ()):
        scale *= RATIO_REGISTERS[ratio][1]
    return int(Decimal(2**62) / (scale * 10**decimals))


def exponents_of(device_id: str) -> dict[int, int]:
    """Addresses of scale registers, and what stands in them."""
    chance = random.Random(f"{device_id} scales")
    scales = {str(point["scale"]) for point in DEVICES[device_id]["points"]}
    return {int(s[3:]): chance.randrange(-2, 3) for s in sorted(scales) if s.startswith("sf@")}


def base_of(device_id: str) -> int:
    return MODEL_AT if device_id.startswith("sunspec") else 0


def image(device_id: str, swapped: bool) -> list[dict[str, Any]]:
    device, values, base = DEVICES[device_id], values_of(device_id), base_of(device_id)
    order = device["word_order"]
    if swapped:
        order = "little" if order == "big" else "big"
    served = [
        {
            "addr": base + p["addr"], "type": p["type"], "order": order,
            "value": str(v) if isinstance(v := values[p["q"]], int) and "64" in p["type"] else v,
        }
        for p in device["points"]
    ]  # fmt: skip
    served += [word(base + addr, value) for addr, value in exponents_of(device_id).items()]
    served += (
        [word(addr, value) for addr, value in RATIO_REGISTERS.values()] if "times" in str(device["points"]) else []
    )
    return served + chain(device_id)


def missing_image(device_id: str) -> list[dict[str, Any]]:
    base, known = base_of(device_id), sentinels_of(device_id)
    served = [
        {"addr": base + p["addr"], "type": p["type"], "order": "big", "value": {"hex": known[p["type"]]}}
        for p in DEVICES[device_id]["points"]
        if p["type"] in known
    ]
    return served + chain(device_id)


def word(addr: int, value: int) -> dict[str, Any]:
    return {"addr": addr, "type": "i16" if value < 0 else "u16", "order": "big", "value": value}


def chain(device_id: str) -> list[dict[str, Any]]:
    """The marker, a common model of 66 registers, the model asked for, and the end."""
    if not device_id.startswith("sunspec"):
        return []
    length = LENGTHS[device_id]
    heads = {40_000: 0x5375, 40_001: 0x6E53, 40_002: 1, 40_003: 66, MODEL_AT: int(device_id[8:]), MODEL_AT + 1: length}
    return [word(a, v) for a, v in (heads | {MODEL_AT + 2 + length: 0xFFFF, MODEL_AT + 3 + length: 0}).items()]


def expected(device_id: str, point: dict[str, Any], decimals: int) -> int:
    """The integer at the channel's decimals, by decimal arithmetic with far more digits than needed."""
    with localcontext() as context:
        context.prec = 400
        value = Decimal(values_of(device_id)[point["q"]])
        if point["type"] == "bcd12.4":
            value /= 10_000
        scale = str(point["scale"])
        value *= Decimal(10) ** exponents_of(device_id)[int(scale[3:])] if scale.startswith("sf@") else Decimal(scale)
        for ratio in point.get("times", ()):
            value *= RATIO_REGISTERS[ratio][1]
        return int((value * 10**decimals).to_integral_value(ROUND_HALF_EVEN))


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    units = {unit: image(i, swapped=False) for i, unit in UNITS.items()}
    units |= {unit + SWAPPED: image(i, swapped=True) for i, unit in UNITS.items()}
    units |= {unit + SENTINELS: missing_image(i) for i, unit in UNITS.items()}
    with node_modbus(units) as port:
        yield port


@pytest.fixture(scope="module")
def js_ports() -> Iterator[dict[int, int]]:
    """The devices as documented, each on a port of its own."""
    with node_jsmodbus({unit: image(i, swapped=False) for i, unit in UNITS.items()}) as ports:
        yield ports


def source(folder: Path, port: int, device_id: str, unit: int, names: list[str], more: str = "") -> ModbusSource:
    points = "".join(f"\n      - {{name: {name}, point: {name}{more}}}" for name in names)
    text = f"""
  - source: modbus
    name: m
    host: 127.0.0.1
    port: {port}
    unit_id: {unit}
    timeout_s: 5
    device: {device_id}
    points:{points}
"""
    return cast("ModbusSource", config(folder, text).sources[0])


def test_the_library_is_complete() -> None:
    assert list(device_ids()) == sorted(DEVICES)
    assert sum(len(device["points"]) for device in DEVICES.values()) == 482


@pytest.mark.parametrize("device_id", sorted(DEVICES))
def test_the_library_says_what_its_sources_say(device_id: str) -> None:
    ours, theirs = find_device(device_id), DEVICES[device_id]
    assert ours is not None
    assert (ours.fc, ours.word_order, ours.maker) == (theirs["fc"], theirs["word_order"], theirs["maker"])
    assert set(theirs["sources"]) <= set(ours.sources)
    assert set(theirs.get("notes", ())) <= set(ours.notes)
    assert set(ours.points) == {point["q"] for point in theirs["points"]}
    for point in theirs["points"]:
        mine = ours.points[point["q"]]
        unit = point["unit"]
        if device_id == "fuxin_gas_flow":
            unit = CORRECTED.get(point["q"], unit)
        assert (mine.addr, mine.type, mine.unit) == (point["addr"], point["type"], UNIT_OF.get(unit, unit)), point["q"]
        assert str(mine.scale) == str(point["scale"])
        assert tuple(ratio.partition("@")[0] for ratio in mine.times) == tuple(point.get("times", ()))
        assert (mine.kind == "counter") == ("energy" in point["q"] or point["q"].startswith("volume"))


@pytest.mark.parametrize("swapped", [False, True], ids=["as documented", "other word order"])
@pytest.mark.parametrize("device_id", sorted(DEVICES))
async def test_every_point_is_read_back_equal(tmp_path: Path, port: int, device_id: str, swapped: bool) -> None:
    device = find_device(device_id)
    assert device is not None
    names = list(device.points)
    order = "little" if device.word_order == "big" else "big"
    of = source(
        tmp_path, port, device_id, UNITS[device_id] + SWAPPED * swapped, names, f", word_order: {order}" * swapped
    )
    await expect_all_equal(of, device_id)


@pytest.mark.parametrize("device_id", sorted(DEVICES))
async def test_a_second_peer_serves_the_same(tmp_path: Path, js_ports: dict[int, int], device_id: str) -> None:
    device = find_device(device_id)
    assert device is not None
    unit = UNITS[device_id]
    await expect_all_equal(source(tmp_path, js_ports[unit], device_id, unit, list(device.points)), device_id)


async def expect_all_equal(of: ModbusSource, device_id: str) -> None:
    """Every point of the device is read back as the reference says, and every ratio."""
    device = find_device(device_id)
    assert device is not None
    rows = Rows()
    counts = await reading_once(of, rows)
    reference = {point["q"]: point for point in DEVICES[device_id]["points"]}
    got = {row[0]: row[2] for row in rows}
    names = list(device.points)
    wanted = {i: expected(device_id, reference[name], device.points[name].decimals) for i, name in enumerate(names)}
    ratios = {len(names) + i: RATIO_REGISTERS[ratio.name][1] for i, ratio in enumerate(ratio_reads(of))}
    assert got == wanted | ratios
    assert counts.missing == 0
    assert not counts.errors


def marked(device_id: str) -> list[str]:
    """The points of a device that have a value for "missing"; those multiplied by a ratio need one first."""
    points = DEVICES[device_id]["points"]
    return [point["q"] for point in points if point["type"] in sentinels_of(device_id) and "times" not in point]


@pytest.mark.parametrize("device_id", sorted(filter(marked, DEVICES)))
async def test_what_a_device_marks_as_missing_is_no_reading(tmp_path: Path, port: int, device_id: str) -> None:
    names, rows = marked(device_id), Rows()
    counts = await reading_once(source(tmp_path, port, device_id, UNITS[device_id] + SENTINELS, names), rows)
    assert not rows
    assert counts.missing == len(names)


async def test_a_device_without_the_model_says_which_it_has(tmp_path: Path, port: int) -> None:
    for unit, found in [(UNITS["sunspec_103"], "found 1, 103"), (UNITS["eastron_sdm630"], "found no SunSpec marker")]:
        of = source(tmp_path, port, "sunspec_701", unit, ["power_active"])
        with pytest.raises(DeviceError, match=f"wanted 701, {found}"):
            await reading_once(of, Rows())


def test_an_accumulator_of_zero_is_not_supported_in_sunspec(tmp_path: Path) -> None:
    for device_id, name in [("sunspec_103", "energy_active_generated"), ("sunspec_203", "energy_active_import")]:
        (point,) = modbus_reads(source(tmp_path, 1, device_id, 1, [name]), 0)
        assert decode(point, [0, 0]) is None
        assert decode(point, [0, 1]) == 1
