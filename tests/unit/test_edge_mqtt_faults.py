"""What devices on MQTT do wrong, each fault by its name; and that nobody speaks for another's meter."""

import random
from pathlib import Path

import pytest
from mqtt_support import NOON_MS, desk, mapped

from plantprint.wire.chunk import Row

TASMOTA = "tele/press/SENSOR"
SHANGHAI = "\n        timezone: Asia/Shanghai"
TOPIC = """
    topics:
      - topic: stack
        time: ts
        channels:
          - {name: co2, value: co2, kind: counter, unit: kg, decimals: 3}
"""


def value(rows: list[Row]) -> int:
    ((_, _, found, quality),) = rows
    assert quality == 3
    return found


@pytest.mark.parametrize("sentinel", [4_294_967_295, -1, "4294967295", 65535.0])
def test_an_all_ones_sentinel_is_missing(tmp_path: Path, sentinel: float | str) -> None:
    shelly = mapped(
        tmp_path, "shelly", 'name: e, device: s, value: "emdata:0.total_act", missing: [4294967295, -1, 65535]'
    )
    for ts, total in enumerate((1000, sentinel, 3000), NOON_MS // 1000):
        body = {"method": "NotifyStatus", "params": {"ts": ts, "emdata:0": {"total_act": total}}}
        assert len(shelly.take("s/events/rpc", body)) == (total != sentinel)
    assert shelly.counts.missing == 1


def test_a_failed_read_is_missing_and_never_0(tmp_path: Path) -> None:
    neuron = mapped(tmp_path, "neuron", "name: e, device: modbus/grp, value: energy")
    body = {"timestamp": NOON_MS, "node": "modbus", "group": "grp"}
    assert not neuron.take("/neuron/mqtt", {**body, "values": {}, "errors": {"energy": 2014}})
    assert not neuron.take("/neuron/mqtt", {**body, "values": {"energy": 0}, "errors": {"energy": 2014}})
    assert not neuron.take("/neuron/mqtt", {**body, "tags": [{"name": "energy", "error": 3002}]})
    assert neuron.counts.missing == 4
    assert value(neuron.take("/neuron/mqtt", {**body, "values": {"energy": 0}, "errors": {}})) == 0


@pytest.mark.parametrize("word", ["unavailable", "unknown", ""])
def test_an_unavailable_entity_is_missing(tmp_path: Path, word: str) -> None:
    house = mapped(tmp_path, "homeassistant_statestream", "name: e, device: press_energy, value: state")
    assert not house.take("homeassistant/sensor/press_energy/state", word)
    assert house.counts.missing == 1
    assert value(house.take("homeassistant/sensor/press_energy/state", "12.5")) == 12_500


def test_nan_and_infinity_are_no_values(tmp_path: Path) -> None:
    plain = desk(tmp_path, TOPIC)
    for text in ("NaN", "Infinity", '"NaN"', '"inf"', "1e999"):
        assert not plain.take("stack", f'{{"ts": 1764072000, "co2": {text}}}')
    assert plain.counts.errors == {"payload": 2, "value": 3}


def test_a_wrong_unit_string_is_overruled(tmp_path: Path) -> None:
    body = {
        "location_code": "hall",
        "properties": [{"key": "E", "value": 3274.5, "unit": "kW", "timestamp": 1764072000}],
    }
    believed = mapped(tmp_path, "cet_gateway", "name: e, device: hall, value: E")
    assert not believed.take("CET/NX/upload", body)
    assert believed.counts.errors == {"unit": 1}
    told = mapped(tmp_path, "cet_gateway", "name: e, device: hall, value: E, device_unit: kWh")
    assert value(told.take("CET/NX/upload", body)) == 3_274_500


def test_a_unit_that_changes_with_the_message_is_converted(tmp_path: Path) -> None:
    cet = mapped(tmp_path, "cet_gateway", "name: e, device: hall, value: E")
    for number, unit in ((12.5, "kWh"), (12_500, "Wh"), (0.0125, "MWH")):
        record = {"key": "E", "value": number, "unit": unit, "timestamp": 1764072000}
        assert value(cet.take("CET/NX/upload", {"location_code": "hall", "properties": [record]})) == 12_500


def test_a_corrupt_value_outside_its_range_is_refused(tmp_path: Path) -> None:
    limits = "device_unit: W, unit: kW, kind: gauge, value_min: 0, value_max: 20.5"
    shelly = mapped(tmp_path, "shelly_gen1", f"name: p, device: s, value: relay.0.power, {limits}")
    rows = [shelly.take("shellies/s/relay/0/power", watts) for watts in ("20500", "20501", "-1", "0")]
    assert [len(row) for row in rows] == [1, 0, 0, 1]
    assert shelly.counts.errors == {"range": 2}


def test_a_clock_at_1970_until_it_is_set(tmp_path: Path) -> None:
    plug = mapped(tmp_path, "tasmota", "name: e, device: press, value: total", SHANGHAI)
    assert not plug.take(TASMOTA, {"Time": "1970-01-01T00:00:12", "ENERGY": {"Total": 1}})
    assert plug.counts.errors == {"time": 1}
    ((_, t_ms, _, _),) = plug.take(TASMOTA, {"Time": "2025-11-25T20:00:00", "ENERGY": {"Total": 1}})
    assert t_ms == NOON_MS
    untrusted = mapped(tmp_path, "tasmota", "name: e, device: press, value: total", "\n        time: arrival")
    ((_, t_ms, _, _),) = untrusted.take(TASMOTA, {"Time": "1970-01-01T00:00:12", "ENERGY": {"Total": 1}})
    assert t_ms == NOON_MS


def test_a_clock_far_ahead_is_refused_unless_ours_is_not_set(tmp_path: Path) -> None:
    plain = desk(tmp_path, TOPIC)
    ahead = {"ts": NOON_MS + 86_400_001, "co2": 1}
    assert not plain.take("stack", ahead)
    assert plain.counts.errors == {"time": 1}
    assert plain.take("stack", {"ts": NOON_MS + 90_000, "co2": 1})
    plain.clock.t_ms = 1_000
    assert plain.take("stack", ahead)


def test_a_clock_that_steps_back_gives_its_times_as_they_are(tmp_path: Path) -> None:
    plain = desk(tmp_path, TOPIC)
    times = [NOON_MS, NOON_MS + 90_000, NOON_MS + 5_000]
    rows = [plain.take("stack", {"ts": t_ms, "co2": 1})[0] for t_ms in times]
    assert [row[1] for row in rows] == times
    assert plain.counts.last_good_ms == NOON_MS + 90_000


def test_a_day_of_25_hours_keeps_every_local_hour_apart(tmp_path: Path) -> None:
    plug = mapped(tmp_path, "tasmota", "name: e, device: press, value: total", "\n        timezone: Europe/Berlin")
    midnight_ms = 1_761_429_600_000  # 2025-10-26T00:00 in Berlin
    wall = ["00", "01", "02", "02", *(f"{hour:02}" for hour in range(3, 24))]
    rows = []
    for hours, text in enumerate(wall):
        plug.clock.t_ms = midnight_ms + hours * 3_600_000 + 2_000
        rows += plug.take(TASMOTA, {"Time": f"2025-10-26T{text}:00:00", "ENERGY": {"Total": hours}})
    assert [row[1] for row in rows] == [midnight_ms + hours * 3_600_000 for hours in range(25)]


def test_a_day_of_23_hours_has_no_hour_twice(tmp_path: Path) -> None:
    plug = mapped(tmp_path, "tasmota", "name: e, device: press, value: total", "\n        timezone: Europe/Berlin")
    midnight_ms = 1_743_289_200_000  # 2025-03-30T00:00 in Berlin, whose hour 2 does not exist
    wall = ["00", "01", *(f"{hour:02}" for hour in range(3, 24))]
    bodies = [{"Time": f"2025-03-30T{text}:00:00", "ENERGY": {"Total": 1}} for text in wall]
    rows = [row for body in bodies for row in plug.take(TASMOTA, body)]
    assert [row[1] for row in rows] == [midnight_ms + hours * 3_600_000 for hours in range(23)]


def test_duplicates_are_the_same_facts(tmp_path: Path) -> None:
    plain = desk(tmp_path, TOPIC)
    message = {"ts": NOON_MS, "co2": 1.5}
    assert plain.take("stack", message) == plain.take("stack", message) == [(0, NOON_MS, 1_500, 3)]


def test_10_000_old_messages_newest_first(tmp_path: Path) -> None:
    plain = desk(tmp_path, TOPIC)
    times = [NOON_MS - 1_000 * i for i in range(10_000)]
    rows = [row for t_ms in times for row in plain.take("stack", f'{{"ts":{t_ms},"co2":1}}')]
    assert [row[1] for row in rows] == times
    assert plain.counts.last_good_ms == NOON_MS


def test_a_retained_old_value_at_subscribe(tmp_path: Path) -> None:
    zigbee = mapped(tmp_path, "zigbee2mqtt", "name: e, device: press, value: energy")
    assert not zigbee.take("zigbee2mqtt/press", {"energy": 5}, retained=True)
    assert zigbee.counts.errors == {"retained": 1}
    old = {"energy": 5, "last_seen": NOON_MS - 3_600_000}
    assert zigbee.take("zigbee2mqtt/press", old, retained=True) == [(0, NOON_MS - 3_600_000, 5_000, 3)]


def test_only_what_has_a_time_of_its_own_is_to_be_kept_by_the_broker(tmp_path: Path) -> None:
    assert desk(tmp_path, TOPIC).filters() == {"stack": 1}
    assert set(mapped(tmp_path, "shelly_gen1", "name: e, device: s, value: relay.0.power").filters().values()) == {0}
    shelly = mapped(tmp_path, "shelly", "name: e, device: s, value: 'emdata:0.total_act'")
    assert shelly.filters() == {"+/events/rpc": 1, "+/status/+": 0}
    untrusted = mapped(tmp_path, "tasmota", "name: e, device: s, value: total", "\n        time: arrival")
    assert untrusted.filters() == {"tele/+/SENSOR": 0}


def test_a_split_packet_without_its_end_gives_what_it_holds(tmp_path: Path) -> None:
    kpm = mapped(tmp_path, "compere_kpm", "name: e, device: m1, value: zygsz", SHANGHAI)
    body = {"id": "m1", "time": "20251125200000", "isend": "0", "zygsz": 7.5}
    assert kpm.take("MQTT_RT_DATA", body) == [(0, NOON_MS, 7_500, 3)]
    assert not kpm.take("MQTT_RT_DATA", '{"id":"m1","time":"20251125200')
    assert kpm.counts.errors == {"payload": 1}


def test_a_ratio_of_the_message_multiplies_and_its_absence_is_missing(tmp_path: Path) -> None:
    acrel = mapped(tmp_path, "acrel", "name: e, device: gw/m1, value: wh", SHANGHAI)
    body = {"meterSN": "m1", "time": "20251125200000", "wh": 8.98, "ct": 40, "pt": 1}
    assert value(acrel.take("/gw/acrelHW/x/data/gw", body)) == 359_200
    for broken in ({"ct": 0}, {"ct": None}, {"pt": "x"}):
        assert not acrel.take("/gw/acrelHW/x/data/gw", {**body, **broken})
    assert acrel.counts.errors == {"value": 3}


def test_stored_history_keeps_its_time_and_is_not_the_newest(tmp_path: Path) -> None:
    acrel = mapped(tmp_path, "acrel", "name: e, device: gw/m1, value: wh", SHANGHAI)
    body = {"meterSN": "m1", "time": "20251125190000", "wh": 1, "ct": 1, "pt": 1}
    assert acrel.take("/gw/acrelHW/x/hstdata/gw", body) == [(0, NOON_MS - 3_600_000, 1_000, 3)]
    assert acrel.counts.last_good_ms is None


def test_one_bad_value_does_not_spoil_the_others(tmp_path: Path) -> None:
    channels = "name: e, device: press, value: total\nname: v, device: press, value: voltage, kind: gauge, unit: V"
    plug = mapped(tmp_path, "tasmota", channels, SHANGHAI)
    body = {"Time": "2025-11-25T20:00:00", "ENERGY": {"Total": {"x": 1}, "Voltage": 230, "Current": "?"}}
    assert plug.take(TASMOTA, body) == [(1, NOON_MS, 230_000, 3)]
    assert plug.counts.errors == {"value": 1}


# Carbon-data collectors and stack monitors report mass as a counter or as a rate.


@pytest.mark.parametrize(
    ("payload", "channel", "expected"),
    [
        ('{"ts":1764072000,"co2":12.3456}', "kind: counter, unit: kg, decimals: 3", 12_346),
        ('{"ts":1764072000,"co2":"12.5 kgCO2e"}', "kind: counter, unit: kg, decimals: 3", 12_500),
        ('{"ts":1764072000,"co2":12.5}', "kind: counter, unit: kg, decimals: 0, device_unit: tCO2e", 12_500),
        ('{"ts":1764072000,"co2":250}', "kind: gauge, unit: kg/h, decimals: 1, device_unit: g/s", 9_000),
        ('{"ts":1764072000,"co2":"0.25 kg/s"}', "kind: gauge, unit: kg/h, decimals: 1", 9_000),
        ('{"ts":1764072000,"co2":250}', "kind: counter, unit: kg, decimals: 3, scale: 1/1000", 250),
    ],
)
def test_carbon_as_counter_or_rate(tmp_path: Path, payload: str, channel: str, expected: int) -> None:
    text = f"""
    topics:
      - topic: stack
        time: ts
        channels:
          - {{name: co2, value: co2, {channel}}}
"""
    assert value(desk(tmp_path, text).take("stack", payload)) == expected


# A hostile device or topic.


def test_a_device_cannot_speak_for_another(tmp_path: Path) -> None:
    shelly = mapped(tmp_path, "shelly", 'name: e, device: good, value: "emdata:0.total_act"')
    forged = {"src": "good", "params": {"ts": 1764072000, "emdata:0": {"total_act": 1}, "device": "good"}}
    assert not shelly.take("evil/events/rpc", forged)
    assert shelly.counts.undeclared == {"evil": 1}
    assert shelly.take("good/events/rpc", forged)


def test_a_gateway_speaks_for_its_own_meters_only(tmp_path: Path) -> None:
    acrel = mapped(tmp_path, "acrel", "name: e, device: gw/m1, value: wh", SHANGHAI)
    body = {"gwSN": "gw", "meterSN": "m1", "time": "20251125200000", "wh": 1, "ct": 1, "pt": 1}
    assert not acrel.take("/gw/acrelHW/x/data/other", body)
    assert acrel.counts.undeclared == {"other/m1": 1}


def test_a_flood_of_devices_is_counted_within_bounds(tmp_path: Path) -> None:
    shelly = mapped(
        tmp_path, "shelly", 'name: e, device: good, value: "emdata:0.total_act"', source="\n    undeclared_max: 10"
    )
    for number in range(5_000):
        assert not shelly.take(f"evil-{number}{'x' * 300}/events/rpc", b"[" * 100)
    assert len(shelly.counts.undeclared) == 11
    assert shelly.counts.undeclared["(others)"] == 4_990
    assert max(map(len, shelly.counts.undeclared)) <= 200
    assert len(shelly._routes) <= 4_096
    assert not shelly.counts.errors, "what strangers send is not even read"


def test_too_many_values_too_many_bytes_too_deep(tmp_path: Path) -> None:
    limits = "\n    values_max: 10\n    payload_bytes_max: 2000\n    depth_max: 4"
    neuron = mapped(tmp_path, "neuron", "name: e, device: n/g, value: t0", source=limits)
    body = {"timestamp": NOON_MS, "node": "n", "group": "g"}
    assert neuron.take("/neuron/a", {**body, "values": {f"t{i}": i for i in range(10)}})
    for hostile in (
        {**body, "values": {f"t{i}": i for i in range(11)}},
        {**body, "values": {"t0": "x" * 2000}},
        {**body, "values": {"t0": [[[[1]]]]}},
    ):
        assert not neuron.take("/neuron/a", hostile)
    assert neuron.counts.errors == {"payload": 3}


def test_long_keys_cost_no_time(tmp_path: Path) -> None:
    shelly = mapped(tmp_path, "shelly", 'name: e, device: s, value: "emdata:0.total_act"')
    key = "emdata:" * 9_000
    assert not shelly.take("s/events/rpc", {"params": {"ts": 1764072000, key: {"total_act": 1, "total_act_ret": "?"}}})


def test_any_order_of_messages_of_many_devices_keeps_them_apart(tmp_path: Path) -> None:
    channels = "\n".join(f"name: e{i}, device: d{i}, value: energy" for i in range(20))
    zigbee = mapped(tmp_path, "zigbee2mqtt", channels)
    order = [(i, n) for i in range(20) for n in range(10)]
    random.Random(7).shuffle(order)
    for i, n in order:
        body = {"energy": 100 * i + n, "last_seen": NOON_MS + n}
        assert zigbee.take(f"zigbee2mqtt/d{i}", body) == [(i, NOON_MS + n, (100 * i + n) * 1_000, 3)]
