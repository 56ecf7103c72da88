"""DL/T 645-2007 frames and digits, by examples from the standard's practice, and what agent.yaml may say of a meter."""

import re
from decimal import Decimal
from pathlib import Path
from typing import cast

import pytest
from edge_support import config

from plantprint_edge.channels import all_channels
from plantprint_edge.config import Dlt645SerialSource, Dlt645Source
from plantprint_edge.load import load_config
from plantprint_edge.sources import dlt645_frame
from plantprint_edge.sources.dlt645 import requests
from plantprint_edge.sources.dlt645_frame import (
    DATA_MAX,
    READ,
    Deframer,
    DigitsError,
    Frame,
    encode,
    identifier,
    number,
    refusal,
)
from plantprint_edge.sources.dlt645_items import known_items
from plantprint_edge.sources.dlt645_line import Dlt645Lines
from plantprint_edge.yamlfile import ConfigError

# A read of total active energy, worked by hand, and a recorded exchange of another meter: 0.26 kWh, then 100.1 V.
REQUEST = bytes.fromhex("68 12 90 78 56 34 12 68 11 04 33 33 34 33 68 16")
ENERGY = bytes.fromhex("68 61 01 00 00 00 00 68 91 08 33 33 34 33 59 33 33 33 8A 16")
VOLTAGE = bytes.fromhex("68 61 01 00 00 00 00 68 91 06 33 34 34 35 34 43 10 16")
ENERGY_DI, VOLTAGE_DI = identifier(0x00010000), identifier(0x02010100)


def test_a_request_is_byte_for_byte_what_the_standard_says() -> None:
    assert encode(Frame("123456789012", READ, identifier(0x00010000))) == REQUEST


def test_recorded_replies_are_understood() -> None:
    energy, voltage = Deframer().feed(b"\xfe\xfe" + ENERGY + b"\xfe" + VOLTAGE)
    assert energy == Frame("000000000161", 0x91, identifier(0x00010000) + bytes.fromhex("26000000"))
    assert number(energy.data[4:], signed=False) == 26
    assert number(voltage.data[4:], signed=False) == 1001
    assert energy.is_reply
    assert not energy.is_refusal
    assert not energy.has_more


def test_a_frame_is_found_whatever_its_pieces_and_whatever_stands_before_it() -> None:
    noise = bytes.fromhex("00 68 16 68 68 FE")
    for size in (1, 2, 7, 11, 100):
        deframer, found = Deframer(), []
        stream = noise + ENERGY + noise + VOLTAGE
        for at in range(0, len(stream), size):
            found += deframer.feed(stream[at : at + size])
        assert [frame.data[:4] for frame in found] == [ENERGY_DI, VOLTAGE_DI]


@pytest.mark.parametrize("at", [1, 6, 8, 9, 14, 18, 19])
def test_a_corrupted_frame_is_none(at: int) -> None:
    """Fault 11: what does not add up is no reply."""
    broken = bytearray(ENERGY)
    broken[at] ^= 0x04
    assert Deframer().feed(bytes(broken)) == []


def test_a_frame_that_claims_more_than_the_standard_allows_holds_nothing_up() -> None:
    claim = bytes([0x68, 1, 2, 3, 4, 5, 6, 0x68, 0x91, DATA_MAX + 1])
    assert len(Deframer().feed(claim + ENERGY)) == 1


def test_numbers_have_their_digits_from_the_end_and_their_sign_in_the_highest_bit() -> None:
    assert number(bytes.fromhex("67452301"), signed=False) == 1234567
    assert number(bytes.fromhex("563412"), signed=True) == 123456
    assert number(bytes.fromhex("563492"), signed=True) == -123456
    assert number(bytes.fromhex("99999999"), signed=False) == 99999999
    assert number(bytes.fromhex("000080"), signed=True) == 0


def test_all_ones_are_missing_and_other_bytes_that_are_no_digits_are_refused() -> None:
    """Fault 1: a sentinel is no value."""
    assert number(b"\xff\xff\xff\xff", signed=False) is None
    assert number(b"\xff\xff\xff", signed=True) is None
    assert number(b"", signed=False) is None
    for raw in ("0000000A", "A0000000", "EEEEEEEE", "FF000000"):
        with pytest.raises(DigitsError, match="is no decimal number"):
            number(bytes.fromhex(raw), signed=False)


def test_a_refusal_is_told_in_words() -> None:
    assert refusal(b"\x02") == "no such data"
    assert refusal(b"\x05") == "other error and not authorised"
    assert refusal(b"\x80") == "error 80H"
    assert refusal(b"") == "error 00H"


def test_no_request_exists_that_writes() -> None:
    """11H, 12H and 13H read; the modules hold no other function of a master."""
    texts = [path.read_text("utf-8") for path in Path(dlt645_frame.__file__).parent.glob("dlt645*.py")]
    assert len(texts) >= 4
    codes = {int(code, 16) for text in texts for code in re.findall(r"\b0x([0-9A-F]{2})\b", text)}
    assert {0x11, 0x12, 0x13} <= codes
    assert not codes & {0x08, 0x14, 0x15, 0x17, 0x18, 0x19, 0x1A, 0x1B, 0x1C}


def test_the_items_that_ship_are_consistent() -> None:
    known = known_items()
    assert len({item.di for item in known.items.values()}) == len(known.items)
    assert known.items["energy_active_import"].modulus == Decimal(1_000_000)
    assert known.items["power_active"].modulus == Decimal(80)
    assert known.items["energy_active_combined"].modulus == Decimal(800_000)
    blocks = {name: known.block_of(item) for name, item in known.items.items()}
    assert blocks["power_active_l2"] == (0x0203FF00, 2)
    assert blocks["voltage_l1"] == (0x0201FF00, 0)
    assert blocks["energy_active_import_t4"] == (0x0001FF00, 4)
    assert blocks["frequency"] is None
    assert blocks["energy_active_import_l1"] is None


METER = """
  - source: dlt645
    name: m
    host: 10.0.0.30
    port: 4001
    address: "12345678"
    points:
      - {name: e, point: energy_active_import}
      - {name: p, point: power_active, unit: W, decimals: 1}
      - {name: q, point: power_reactive}
      - {name: own, di: "02800004", format: XX.XXXX, signed: true, unit: kW, kind: gauge}
"""


def meter(folder: Path, text: str = METER) -> Dlt645Source:
    return cast("Dlt645Source", config(folder, text).sources[0])


def test_a_meter_declares_its_channels_with_exact_factors(tmp_path: Path) -> None:
    of = config(tmp_path, METER)
    channels = [(c.name, c.unit, c.decimals, c.kind) for c in all_channels(of)]
    assert channels == [
        ("e", "kWh", 2, "counter"), ("p", "W", 1, "gauge"), ("q", "var", 1, "gauge"), ("own", "kW", 4, "gauge"),
    ]  # fmt: skip
    source = meter(tmp_path)
    assert source.address == "000012345678"
    (value,) = requests(source, 0)[1].values
    # -1.2345 kW = -1234.5 W
    assert value.decode(bytes.fromhex("452381")) == -12345


def test_points_of_a_block_are_asked_for_together(tmp_path: Path) -> None:
    points = "".join(f"\n      - {{name: {n}, point: {n}}}" for n in ("voltage_l2", "power_active", "voltage_l1"))
    of = meter(tmp_path, METER.partition("    points:")[0] + "    points:" + points + "\n")
    voltages, power = requests(of, 5)
    assert voltages.di == 0x0201FF00
    assert [(v.index, v.start, v.size) for v in voltages.values] == [(5, 2, 2), (7, 0, 2)]
    assert [single.di for single in voltages.instead] == [0x02010200, 0x02010100]
    assert (power.di, power.instead) == (0x02030000, ())
    assert all(not request.instead for request in requests(of.model_copy(update={"blocks": False}), 0))


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ('"12345678"', "000012345670", r'address: write it in quotes, such as "000012345678"'),
        ('"12345678"', '"1234567890123"', r"address: String should match pattern"),
        ('"12345678"', '"999999999999"', r"address: is the address of all meters, and none answers to it"),
        ("point: energy_active_import", "point: energy", r"point 'energy' is not known; there are energy_active_comb"),
        ("unit: W,", "unit: kWh,", r"the meter counts in kW; 'kW' cannot be converted to 'kWh'"),
        ('di: "02800004"', "di: 02030000", r"points.3.di: write it in quotes"),
        ("format: XX.XXXX", "format: X.XX", r"X.XX has an odd number of digits; two digits are a byte"),
        ("format: XX.XXXX, ", "", r"format not given; write it here or name a `point`"),
        ("    port: 4001\n", "", r"port: is missing; add it"),
    ],
)
def test_errors_name_line_and_remedy(tmp_path: Path, old: str, new: str, expected: str) -> None:
    assert old in METER
    with pytest.raises(ConfigError, match=expected):
        config(tmp_path, METER.replace(old, new))


def test_meters_of_two_protocols_cannot_share_a_line(tmp_path: Path) -> None:
    modbus = """
  - source: modbus
    name: other
    host: 10.0.0.30
    port: 4001
    framing: rtu
    device: eastron_sdm630
    points: [{name: x, point: energy_active_import}]
"""
    with pytest.raises(ConfigError, match="other has Modbus, m on the same port DL/T 645"):
        config(tmp_path, METER + modbus)
    serial = METER.replace("source: dlt645\n", "source: dlt645_serial\n")
    serial = serial.replace("    host: 10.0.0.30\n    port: 4001\n", "    serial_port: /dev/ttyS9\n")
    other = serial.replace("name: m\n", "name: n\n    baud: 9600\n").replace("name: ", "name: x")
    with pytest.raises(ConfigError, match="xn has DL/T 645 at 9600 baud 8E1, m on the same port DL/T 645 at 2400 baud"):
        config(tmp_path, serial + other)


def test_a_meter_needs_a_present_to_be_polled_in(tmp_path: Path) -> None:
    from plantprint.times import SiteClock
    from plantprint_edge.agent import EXIT_CONFIG, run

    config(tmp_path, METER)
    assert run(load_config(tmp_path / "agent.yaml", {}), SiteClock(kind="data")) == EXIT_CONFIG


def test_a_line_that_everybody_has_left_is_opened_with_its_new_settings(tmp_path: Path) -> None:
    """After a reload of the configuration; while somebody is on it, it stays the same line."""
    of = meter(tmp_path).model_dump(exclude={"host", "port"}) | {"source": "dlt645_serial", "serial_port": "/dev/ttyS9"}
    slow, fast = (Dlt645SerialSource.model_validate(of | {"baud": baud}) for baud in (2400, 9600))
    lines = Dlt645Lines()
    first = lines.of(slow)
    assert lines.of(slow) is first
    first.release()
    assert lines.of(slow) is first
    first.release()
    first.release()
    second = lines.of(fast)
    assert second is not first
    assert (first.gap_s, second.gap_s) == (33 / 2400, 33 / 9600)
