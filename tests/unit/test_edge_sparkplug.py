"""Sparkplug B: bytes of an independent encoder, births and aliases, sequence, deaths, and what is not a reading."""

import struct
from decimal import Decimal
from pathlib import Path

import pytest
from mqtt_support import GOLDEN, NOON_MS, Desk, mapped

from plantprint_edge.payloads import Limits, PayloadError
from plantprint_edge.payloads.sparkplug import as_number, parse_sparkplug, rebirth_request
from plantprint_edge.sources import mqtt_births
from plantprint_edge.sources.mqtt_births import BirthFile

PRESS = "device: plant/gw/press"
ENERGY = f"name: energy, {PRESS}, value: Energy"
POWER = f"name: power, {PRESS}, value: Power, kind: gauge, unit: kW"


def varint(value: int) -> bytes:
    out = b""
    while value > 0x7F:
        out += bytes([value & 0x7F | 0x80])
        value >>= 7
    return out + bytes([value])


def part(number: int, value: int | bytes) -> bytes:
    """A protobuf field: a varint, or bytes with their length."""
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    return varint(number << 3 | 2) + varint(len(value)) + value


def metric(name: str = "", alias: int | None = None, **fields: int | bytes) -> bytes:
    """A metric inside of a payload; fields by number as `f10=5`."""
    body = part(1, name.encode()) if name else b""
    body += b"" if alias is None else part(2, alias)
    return part(2, body + b"".join(part(int(key[1:]), value) for key, value in fields.items()))


def message(seq: int, *metrics: bytes, t_ms: int = NOON_MS) -> bytes:
    return part(1, t_ms) + b"".join(metrics) + part(3, seq)


@pytest.fixture
def press(tmp_path: Path) -> Desk:
    return mapped(tmp_path, "sparkplug_b", f"{ENERGY}\n{POWER}")


def data(desk: Desk, body: bytes, kind: str = "DDATA", place: str = "gw/press") -> list[tuple[int, ...]]:
    return list(desk.take(f"spBv1.0/plant/{kind}/{place}", body))


def test_every_numeric_type_of_the_independent_encoder() -> None:
    payload = parse_sparkplug(bytes.fromhex(GOLDEN["dbirth"]["hex"]))
    assert (payload.t_ms, payload.seq, len(payload.metrics)) == (NOON_MS, 1, 16)
    numbers = {m.name: as_number(m, m.datatype) for m in payload.metrics[:10]}
    assert numbers == {
        "Energy": Decimal("123456.789"), "Power": Decimal("12.3"), "Int8": -5, "Int16": -300, "Int32": -70_000,
        "Int64": -5_000_000_000, "UInt8": 255, "UInt16": 65_535, "UInt32": 2**32 - 1, "UInt64": 2**64 - 1,
    }  # fmt: skip
    for other in payload.metrics[10:]:
        with pytest.raises(PayloadError, match="no number"):
            as_number(other, other.datatype)


def test_names_come_with_the_birth_and_values_by_alias(press: Desk) -> None:
    assert press.golden("nbirth", "dbirth") == [(0, NOON_MS - 250, 123_456_789, 3), (1, NOON_MS, 12_300, 3)]
    assert press.golden("ddata_alias") == [(0, NOON_MS + 1_000, 123_457_250, 3), (1, NOON_MS + 1_000, 100, 3)]


def test_an_alias_before_its_birth_is_counted_and_gives_nothing(press: Desk) -> None:
    assert not press.golden("ddata_alias")
    assert press.counts.errors == {"no birth": 3}


def test_a_birth_takes_older_aliases_away(press: Desk) -> None:
    press.golden("nbirth", "dbirth", "nbirth")
    assert not data(press, message(1, metric(alias=1, f13=struct.pack("<d", 7.0))))
    assert press.counts.errors == {"no birth": 1}


def test_where_the_broker_kept_no_session_births_are_forgotten(press: Desk) -> None:
    press.golden("nbirth", "dbirth")
    press.forget_births()
    assert not press.golden("ddata_alias")
    assert press.counts.errors == {"no birth": 3}


def test_after_a_restart_aliases_hold_for_the_session_that_named_them_and_no_other(tmp_path: Path, press: Desk) -> None:
    press.golden("nbirth", "dbirth")
    kept = press.lives()
    assert {name: life.bdseq for name, life in kept.items()} == {"plant/gw": 7}

    def restarted() -> Desk:
        desk = mapped(tmp_path, "sparkplug_b", f"{ENERGY}\n{POWER}")
        desk.recall(kept)
        return desk

    assert restarted().golden("ddata_alias") == [(0, NOON_MS + 1_000, 123_457_250, 3), (1, NOON_MS + 1_000, 100, 3)]
    assert restarted().golden("ndeath_old", "ddata_alias"), "the death of an earlier session says nothing of this one"
    for end in ("ndeath", "ddeath", "nbirth"):
        assert not restarted().golden(end, "ddata_alias")
    gone = restarted()
    gone.forget_births()
    assert not gone.golden("ddata_alias")
    assert not gone.lives()


def test_only_what_channels_ask_for_and_what_names_its_session_is_remembered(tmp_path: Path, press: Desk) -> None:
    data(press, message(0), "NBIRTH", "gw")
    data(press, message(1, metric("Energy", 1, f4=3, f10=5)), "DBIRTH")
    assert not press.lives(), "without a bdSeq nobody can tell one session from another"
    press.golden("nbirth")
    data(press, message(1, metric("Energy", 1, f4=3, f10=5)), "DBIRTH", "gw/stranger")
    data(press, message(1, metric("Energy", 1, f4=3, f10=5)), "DBIRTH", "other/press")
    assert not press.lives()
    before = press.births_changed
    press.golden("dbirth")
    assert press.births_changed > before
    assert list(press.lives()["plant/gw"].births) == ["plant/gw/press"]
    stranger = mapped(tmp_path, "sparkplug_b", "name: energy, device: plant/other/press, value: Energy")
    stranger.recall(press.lives())
    assert not stranger.lives()


@pytest.mark.parametrize("age_s", [-1, 0, 59, 61])
def test_births_on_the_disk_are_believed_for_a_while_and_never_when_they_are_damaged(
    tmp_path: Path, press: Desk, monkeypatch: pytest.MonkeyPatch, age_s: int
) -> None:
    press.golden("nbirth", "dbirth")
    path = tmp_path / "births"
    file = BirthFile(path, 60)
    monkeypatch.setattr(mqtt_births, "wall_ms", lambda: NOON_MS)
    assert file.load() == {}
    file.prepare(press.lives())
    assert not path.exists()
    file.publish()
    monkeypatch.setattr(mqtt_births, "wall_ms", lambda: NOON_MS + 1_000 * age_s)
    assert file.load() == (press.lives() if 0 <= age_s < 60 else {})
    path.write_bytes(path.read_bytes()[:-3])
    assert file.load() == {}
    file.drop()
    assert not path.exists()


def test_an_alias_of_one_device_means_nothing_for_another(tmp_path: Path) -> None:
    two = mapped(tmp_path, "sparkplug_b", f"{ENERGY}\nname: other, device: plant/gw/other, value: Energy")
    two.golden("nbirth", "dbirth")
    assert not data(two, message(2, metric(alias=1, f4=3, f10=5)), place="gw/other")


def test_the_type_of_a_birth_holds_where_data_leave_it_out(press: Desk) -> None:
    data(press, message(0), "NBIRTH", "gw")
    data(press, message(1, metric("Energy", 1, f4=2, f10=100)), "DBIRTH")
    assert data(press, message(2, metric(alias=1, f10=2**32 - 5))) == [(0, NOON_MS, -5_000, 3)]
    assert data(press, message(3, metric("Energy", f10=2**16 - 6))) == [(0, NOON_MS, -6_000, 3)]


def test_an_integer_without_a_type_is_not_guessed(press: Desk) -> None:
    assert not data(press, message(0, metric("Energy", f10=5)))
    assert press.counts.errors == {"value": 1}


def test_null_and_bad_quality_are_missing(press: Desk) -> None:
    assert press.golden("ddata_null") == []
    assert press.golden("ddata_bad_quality") == [(0, NOON_MS + 4_000, 123_459_000, 3)]
    assert press.counts.missing == 2


def test_not_a_number_is_missing(press: Desk) -> None:
    for number in (float("nan"), float("inf")):
        raw = part(2, part(1, b"Energy") + b"\x69" + struct.pack("<d", number))
        assert not data(press, message(0, raw))
    assert press.counts.missing == 2


def test_a_historical_value_keeps_its_time_and_is_not_the_newest(press: Desk) -> None:
    rows = press.golden("ddata_historical")
    assert rows == [(0, NOON_MS - 3_600_000, 123_400_500, 3), (0, NOON_MS + 3_000, 123_458_000, 3)]
    late = part(1, NOON_MS + 9_000) + metric("Energy", f3=NOON_MS + 8_000, f4=3, f5=1, f10=1)
    assert data(press, late)
    assert press.counts.last_good_ms == NOON_MS + 3_000


def test_datasets_templates_texts_are_counted_where_a_channel_asks_for_them(tmp_path: Path) -> None:
    names = ("Running", "Model", "Since", "Table", "Motor", "Blob")
    odd = mapped(tmp_path, "sparkplug_b", "\n".join(f"name: {name}, {PRESS}, value: {name}" for name in names))
    assert not odd.golden("nbirth", "dbirth")
    assert odd.counts.errors == {"value": 6}


def test_a_publisher_that_lost_messages_leaves_a_hole_in_seq(press: Desk) -> None:
    press.golden("nbirth", "dbirth")
    assert data(press, message(5, metric(alias=1, f13=struct.pack("<d", 8.0)))) == [(0, NOON_MS, 8_000, 3)]
    assert press.counts.errors == {"sequence": 1}, "few are lost: the birth still holds"
    assert not data(press, message(90, metric(alias=1, f13=struct.pack("<d", 9.0))))
    assert press.counts.errors == {"sequence": 2, "no birth": 1}, "this may be another life, whose aliases nobody knows"


def test_seq_goes_round_and_duplicates_and_late_ones_do_no_harm(press: Desk) -> None:
    press.golden("nbirth", "dbirth")
    for seq in range(2, 600):
        assert data(press, message(seq % 256, metric(alias=1, f13=struct.pack("<d", 8.0))))
    assert not press.counts.errors
    for seq in (599 % 256, 597 % 256, 600 % 256):
        assert data(press, message(seq, metric(alias=1, f13=struct.pack("<d", 8.0))))
    assert press.counts.errors == {"sequence": 1}


def test_the_death_of_a_device_marks_its_channels_as_missing(press: Desk) -> None:
    press.golden("nbirth", "dbirth")
    press.clock.t_ms = NOON_MS + 7_000
    assert press.golden("ddeath") == [(0, NOON_MS + 7_000, 123_456_789, 0), (1, NOON_MS + 7_000, 12_300, 0)]
    assert press.counts.errors["device gone"] == 1
    assert not press.golden("ddeath"), "it dies once"


def test_the_death_of_a_node_takes_its_devices_along(press: Desk) -> None:
    press.golden("nbirth", "dbirth")
    assert [row[0::3] for row in press.golden("ndeath")] == [(0, 0), (1, 0)]
    assert not press.golden("ddata_alias")


def test_the_late_will_of_an_earlier_life_is_no_death(press: Desk) -> None:
    press.golden("nbirth", "dbirth")
    assert not press.golden("ndeath_old")
    assert press.golden("ddata_alias")


def test_a_value_sent_on_change_is_held_while_its_device_lives(tmp_path: Path) -> None:
    press = mapped(tmp_path, "sparkplug_b", f"{ENERGY}\n{POWER}", "\n        hold_s: 60")
    press.golden("nbirth", "dbirth")
    assert press.held() == []
    press.clock.t_ms = NOON_MS + 61_000
    assert press.held() == [(0, NOON_MS + 61_000, 123_456_789, 2), (1, NOON_MS + 61_000, 12_300, 2)]
    assert press.held() == []
    press.golden("ndeath")
    press.clock.t_ms += 61_000
    assert press.held() == []


def test_nothing_is_held_while_the_broker_is_away(tmp_path: Path) -> None:
    press = mapped(tmp_path, "sparkplug_b", ENERGY, "\n        hold_s: 60")
    press.golden("nbirth", "dbirth")
    press.lost_sight()
    press.clock.t_ms = NOON_MS + 61_000
    assert press.held() == []


def test_a_birth_is_asked_for_only_where_the_configuration_allows_it(tmp_path: Path, press: Desk) -> None:
    press.golden("ddata_alias")
    assert press.births_to_ask() == []
    asking = mapped(tmp_path, "sparkplug_b", ENERGY, "\n        request_birth: true\n        request_birth_s: 30")
    asking.golden("ddata_alias")
    assert asking.births_to_ask() == [("plant/gw", 30)]
    asking.golden("nbirth")
    assert asking.births_to_ask() == []


def test_the_request_for_a_birth_as_the_independent_decoder_reads_it() -> None:
    # npm sparkplug-payload 1.0.3 decodes these bytes to {timestamp, metrics: [{name, type: "Boolean", value: true}]}.
    expected = "0880948ad7ab33121a0a144e6f646520436f6e74726f6c2f52656269727468200b7001"
    assert rebirth_request(NOON_MS).hex() == expected


def test_undeclared_nodes_and_devices_are_listed_and_not_remembered(press: Desk) -> None:
    assert not data(press, message(0, metric("Energy", f4=3, f10=1)), place="gw/unknown")
    assert not data(press, b"\xff", place="stranger/press")
    assert not data(press, message(0, metric("Energy", f4=3, f10=1)), "NDATA", "stranger")
    assert press.counts.undeclared == {"plant/gw/unknown": 1, "plant/stranger/press": 1, "plant/stranger": 1}
    assert not press.counts.errors


@pytest.mark.parametrize("place", ["DCMD/gw/press", "NBIRTH/gw/press", "NCMD/gw", "DDATA/gw", "XDATA/gw/press"])
def test_other_messages_of_a_node_are_passed_over(press: Desk, place: str) -> None:
    assert not press.take(f"spBv1.0/plant/{place}", message(0, metric("Energy", f4=3, f10=1)))


@pytest.mark.parametrize(
    "body",
    [
        b"\xff", b"\x08", b"\x12\x05ab", b"\x0b", b"\x00\x00", b"\x08" + b"\xff" * 11, b"\x12\x03\x0a\x01\xff",
        part(2, b"\x62\x02ab"), metric("x") * 2_001,
    ],
)  # fmt: skip
def test_what_is_no_payload_is_refused(body: bytes) -> None:
    with pytest.raises(PayloadError):
        parse_sparkplug(body, Limits())


def test_an_unsigned_value_that_does_not_fit_its_type_is_refused(press: Desk) -> None:
    assert not data(press, message(0, metric("Energy", f4=5, f10=256)))
    assert press.counts.errors == {"value": 1}
