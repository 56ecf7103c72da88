"""Whatever arrives over MQTT: no decoder raises, hangs or invents, and only the named device's channels get rows."""

import json
import tempfile
from contextlib import suppress
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mqtt_support import GOLDEN, NOON_MS, Desk, desk

from plantprint.quantities import INT64_MAX
from plantprint_edge.mappings import find_mapping, mapping_ids, number_text
from plantprint_edge.payloads import Limits, PayloadError
from plantprint_edge.payloads.influx import parse_lines
from plantprint_edge.payloads.jsons import parse_json
from plantprint_edge.payloads.numbers import at_decimals, read_number, unit_factor
from plantprint_edge.payloads.paths import parse_path, topic_of
from plantprint_edge.payloads.sparkplug import parse_sparkplug
from plantprint_edge.payloads.times import read_time

# A value that each mapping is sure to know, by a device that its topics can name.
WANTED = {
    "acrel": ("d/m", "wh"), "alibaba_thing_model": ("d/d", "EPI"), "cet_gateway": ("hall", "EPI"),
    "compere_kpm": ("m", "zygsz"), "homeassistant_statestream": ("d", "state"), "huawei_iotda": ("d", "Meter.energy"),
    "influx_line": ("meter/m1", "energy"), "neuron": ("n/g", "energy"), "shelly": ("d", "emdata:0.total_act"),
    "shelly_gen1": ("d", "relay.0.energy"), "siemens_databus": ("d/d/d", "101"), "sparkplug_b": ("d/d/d", "Energy"),
    "tasmota": ("d", "total"), "umh": ("d", "d"), "zigbee2mqtt": ("d", "energy"),
}  # fmt: skip
WORDS = [
    "params", "emdata:0", "total_act", "ts", "values", "errors", "tags", "name", "value", "error", "energy", "ENERGY", "Total",
    "Time", "time", "timestamp", "timestamp_ms", "wh", "ct", "pt", "meterSN", "m", "EPI", "properties", "key", "unit",
    "location_code", "hall", "services", "service_id", "Meter", "event_time", "vals", "id", "val", "qc", "101", "node", "n",
    "group", "g", "zygsz", "last_seen", "1764072000", "2025-11-25T12:00:00Z", "20251125200000", "kWh", "kW", "", "0", "-1", "NaN",
]  # fmt: skip
NUMBERS = st.integers() | st.floats() | st.sampled_from([NOON_MS, NOON_MS // 1000, 0, -1, 2**64, 10**40, 1e-320, 1e308])
LEAVES = st.none() | st.booleans() | NUMBERS | st.sampled_from(WORDS) | st.text(max_size=8)
KEYS = st.sampled_from(WORDS) | st.text(max_size=5)
BODIES = st.recursive(LEAVES, lambda c: st.lists(c, max_size=4) | st.dictionaries(KEYS, c, max_size=5), max_leaves=25)


@pytest.fixture(scope="module")
def every() -> Desk:
    """All mappings in one source, one channel each."""
    entries = "".join(
        f"""
      - mapping: {mapping}
        timezone: Europe/Berlin
        channels: [{{name: {mapping}, device: "{device}", value: "{value}", kind: counter, unit: kWh, decimals: 3}}]"""
        for mapping, (device, value) in WANTED.items()
    )
    with tempfile.TemporaryDirectory() as folder:
        return desk(Path(folder), f"\n    undeclared_max: 20\n    devices:{entries}\n")


def topics() -> list[tuple[str, int]]:
    """A topic for each rule of each mapping, all names in it `d`, and the channel that it may fill."""
    found = []
    for index, mapping_id in enumerate(WANTED):
        mapping = find_mapping(mapping_id)
        assert mapping
        for rule in mapping.messages:
            levels = topic_of(rule.topic, mapping.base).text.split("/")
            found.append(("/".join("d" if level.startswith("{") else level for level in levels), index))
    return found


TOPICS = topics()


def check(desk: Desk, topic: str, payload: bytes, *, retained: bool = False) -> None:
    allowed = {index for one, index in TOPICS if one == topic}
    for index, t_ms, value, quality in desk.read(topic, payload, retained=retained):
        assert index in allowed
        assert 946_684_800_000 <= t_ms <= NOON_MS + 86_400_000
        assert -INT64_MAX <= value <= INT64_MAX
        assert quality in (0, 3)
    assert len(desk.counts.undeclared) <= 21
    assert len(desk.counts.errors) <= 10


def test_every_mapping_is_tried() -> None:
    assert tuple(WANTED) == mapping_ids()


@given(st.sampled_from(TOPICS), BODIES, st.booleans())
def test_any_json_on_any_topic(every: Desk, topic: tuple[str, int], body: Any, retained: bool) -> None:
    check(every, topic[0], json.dumps(body).encode(), retained=retained)


@given(st.sampled_from(TOPICS), st.binary(max_size=200) | st.text(max_size=200).map(str.encode))
def test_any_bytes_on_any_topic(every: Desk, topic: tuple[str, int], payload: bytes) -> None:
    check(every, topic[0], payload)


SHAPES = {
    "d/events/rpc": '{"params":{"ts":%s,"emdata:0":{"total_act":%s}}}',
    "/neuron/d": '{"timestamp":%s,"node":"n","group":"g","values":{"energy":%s}}',
    "tele/d/SENSOR": '{"Time":%s,"ENERGY":{"Total":%s}}',
    "zigbee2mqtt/d": '{"last_seen":%s,"energy":%s}',
    "umh/v1/d/d": '{"timestamp_ms":%s,"value":%s}',
    "/gw/acrelHW/d/data/d": '{"time":%s,"meterSN":"m","pt":1,"ct":40,"wh":%s}',
    "CET/d/upload": '{"location_code":"hall","properties":[{"timestamp":%s,"key":"EPI","value":%s}]}',
}
SCALARS = LEAVES | st.sampled_from(["12.5 kWh", "7 Wh", "1 furlong", "2025-11-25T13:00:00"])


@given(st.sampled_from(list(SHAPES)), SCALARS, SCALARS)
def test_any_time_and_value_in_the_right_place(every: Desk, topic: str, time: Any, value: Any) -> None:
    check(every, topic, (SHAPES[topic] % (json.dumps(time), json.dumps(value))).encode())


@given(
    st.sampled_from(list(GOLDEN)), st.lists(st.tuples(st.integers(0, 400), st.integers(0, 255)), max_size=6),
    st.integers(0, 400), st.sampled_from([t for t, i in TOPICS if t.startswith("spBv1.0")]),
    st.sampled_from(["NBIRTH", "DBIRTH", "NDATA", "DDATA", "NDEATH", "DDEATH", "NCMD"]),
)  # fmt: skip
def test_any_damage_to_sparkplug_bytes(
    every: Desk, name: str, damage: list[tuple[int, int]], length: int, topic: str, kind: str
) -> None:
    body = bytearray.fromhex(GOLDEN[name]["hex"])
    for place, byte in damage:
        body[place % len(body)] = byte
    parts = topic.split("/")
    parts[2] = kind
    for _ in every.read("/".join(parts), bytes(body[: length or None]), retained=False):
        pass
    with suppress(PayloadError):
        assert len(parse_sparkplug(bytes(body)).metrics) <= Limits().values_max


@given(st.text(alphabet='meter,id=1. \\"\n#ti-eE+9é', max_size=80))
def test_any_line_protocol(text: str) -> None:
    with suppress(PayloadError):
        for point in parse_lines(text.encode()):
            assert point["fields"]


@given(BODIES, st.sampled_from(["auto", "rfc3339", "s", "ms", "us", "ns", "%Y%m%d%H%M%S", "%d.%m.%y %H:%M"]))
def test_any_time(found: Any, time_format: str) -> None:
    body = json.loads(json.dumps(found), parse_float=Decimal)
    with suppress(PayloadError):
        assert isinstance(read_time(body, time_format, None, NOON_MS), int)


@given(BODIES, st.integers(0, 12), st.sampled_from(["Wmin", "kWh", "MWh"]))
def test_any_number(found: Any, decimals: int, unit: str) -> None:
    body = json.loads(json.dumps(found), parse_float=Decimal)
    with suppress(PayloadError):
        number, _ = read_number(body)
        factor = unit_factor(unit, "kWh")
        assert len(number_text(number, factor)) < 200
        assert -INT64_MAX <= at_decimals(number, factor, decimals) <= INT64_MAX


@given(BODIES, st.sampled_from(["values.*", "*.*.*", "values.{a}.{a}", "$.params.emdata:{n}.total_act", "*.value", ""]))
def test_any_body_has_no_more_at_a_path_than_it_has_leaves(body: Any, path: str) -> None:
    read = parse_json(json.dumps(body).replace("NaN", "1").replace("-Infinity", "1").replace("Infinity", "1").encode())
    found = list(parse_path(path).walk(read, read, {}))
    assert len(found) <= len(json.dumps(body))
