"""Shipped mappings: every one says what it becomes by example, and a mapping of one's own is told what is wrong with it."""

from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from edge_support import config
from mqtt_support import NOON_MS, mapped

from plantprint_edge.mappings import SHIPPED, Example, Mapping, find_mapping, mapping_ids, read_mappings
from plantprint_edge.payloads import PayloadError
from plantprint_edge.trying import line, try_payload
from plantprint_edge.yamlfile import ConfigError

EXAMPLES = [
    pytest.param(mapping, example, id=f"{mapping.id}-{number}")
    for mapping in filter(None, map(find_mapping, mapping_ids()))
    for number, example in enumerate(mapping.examples)
]
OWN = """
id: own
title: A logger
sources: [its manual]
base: loggers
messages:
  - topic: "{base}/{site}/{device}"
    device: "{site}/{device}"
    time: {path: $.t, format: "%d.%m.%Y %H:%M:%S", local: true}
    values:
      - {each: "rows.*", value: v, name: "{.n}", unit_path: u, scale: 1/10, quality: {path: q, good: [ok]}, missing: [-1]}
"""


@pytest.mark.parametrize(("mapping", "example"), EXAMPLES)
def test_what_an_example_becomes(mapping: Mapping, example: Example) -> None:
    zone = ZoneInfo(example.timezone) if example.timezone else None
    decoded = try_payload(mapping, example.topic, example.body, NOON_MS, zone=zone)
    assert [line(found) for found in decoded.found] == list(example.gives)


def test_every_shipped_mapping_has_examples_sources_and_the_name_of_its_file() -> None:
    assert len(mapping_ids()) >= 15
    for mapping_id in mapping_ids():
        mapping = find_mapping(mapping_id)
        assert mapping is not None
        assert mapping.id == mapping_id
        assert mapping.examples
        assert mapping.needs_zone == any(example.timezone for example in mapping.examples)


def own(folder: Path, text: str = OWN, name: str = "own") -> Path:
    folder = folder / "mappings"
    folder.mkdir(exist_ok=True)
    (folder / f"{name}.yaml").write_text(text)
    return folder


def test_a_mapping_of_ones_own(tmp_path: Path) -> None:
    library = read_mappings(own(tmp_path))
    assert library.ids() == tuple(sorted([*mapping_ids(), "own"]))
    mapping = library.find("own")
    assert mapping is not None
    body = b"""{"t": "25.11.2025 13:00:00", "rows": [{"n": "e", "v": 12.5, "u": "Wh", "q": "ok"},
        {"n": "f", "v": 1, "q": "old"}, {"n": "g", "v": -1}, {"v": 1}]}"""
    decoded = try_payload(mapping, "loggers/a/b", body, NOON_MS, zone=ZoneInfo("Europe/Berlin"))
    assert [line(found) for found in decoded.found] == [
        "a/b e = 1.25 Wh @ 2025-11-25T12:00:00Z",
        "a/b f = missing (quality old) @ 2025-11-25T12:00:00Z",
        "a/b g = missing (-1 means missing) @ 2025-11-25T12:00:00Z",
    ]
    assert decoded.ignored == [("a/b", "?", "no name in the message")]
    with pytest.raises(PayloadError, match=r"none of own: loggers/\{site\}/\{device\}"):
        try_payload(mapping, "elsewhere/a/b", body, NOON_MS)


def test_a_mapping_of_ones_own_takes_the_place_of_a_shipped_one(tmp_path: Path) -> None:
    library = read_mappings(own(tmp_path, OWN.replace("id: own", "id: tasmota"), "tasmota"))
    replaced = library.find("tasmota")
    assert replaced is not None
    assert replaced.title == "A logger"
    assert library.ids() == SHIPPED.ids()


@pytest.mark.parametrize(
    ("was", "becomes", "message"),
    [
        ("id: own", "id: other", r"own.yaml:2: id: is 'other', not the name of its file"),
        ("value: v", "value: v..w", r"own.yaml:11: messages.0.values.0.value: path 'v..w' has an empty part"),
        ('"{.n}"', '"{nobody}"', "'nobody' is no name of the topic"),
        ("%d.%m.%Y %H:%M:%S", "%H:%M", "messages.0.time.format: time format '%H:%M'"),
        ("{base}/{site}/{device}", "{site}/{device}", "needs a level of plain text"),
        ("scale: 1/10", "scale: 0", "'0' is no scale|0 is no scale"),
        ("value: v", "valeu: v", "messages.0.values.0.valeu"),
        ("quality: {path: q", "quality: {path: 7", "must be text, not 7"),
        ("sources: [its manual]", "sources: []", "sources"),
        ("values:", "format: sparkplug\n    values:", "Sparkplug has the levels"),
        ('each: "rows.*"', 'each: "{a}{b}"', "a part holds one {name}"),
    ],
)
def test_what_is_wrong_with_a_mapping_is_told_with_its_place(
    tmp_path: Path, was: str, becomes: str, message: str
) -> None:
    assert was in OWN
    with pytest.raises(ConfigError, match=message):
        read_mappings(own(tmp_path, OWN.replace(was, becomes)))


GOOD = "name: e, device: press, value: total"


@pytest.mark.parametrize(
    ("mapping", "channels", "keys", "message"),
    [
        ("tasmotta", GOOD, "", "agent.yaml:13: mapping 'tasmotta' is not known; known are acrel, "),
        ("tasmota", GOOD, "", "tasmota sends local time; give `timezone`"),
        ("shelly_gen1", GOOD, "\n        hold_s: 5", "only Sparkplug says who is alive"),
        ("zigbee2mqtt", GOOD, "", "zigbee2mqtt has no value 'total'; it has energy, power"),
        ("sparkplug_b", GOOD, "", "write group/node or group/node/device"),
        ("sparkplug_b", "name: e, device: a/b, value: c", "\n        base: x", "have a fixed start; remove it"),
        ("umh", f"{GOOD}\n{GOOD}", "", "already"),
        ("umh", f"{GOOD}, device_unit: kW", "", "'kW' cannot be converted to 'kWh'"),
        ("umh", f"{GOOD}, device_unit: furlong", "", "is not known; give its real one as device_unit"),
        ("umh", GOOD, "\n        base: a/#", "base"),
        ("umh", GOOD, "\n        timezone: Mars/Base", "is no IANA time zone"),
        ("umh", f"{GOOD}, scale: x", "", "'x' is no number; write 0.1 or 1/60"),
        ("umh", f"{GOOD}, kind: counter, unit: kW", "", "kW is a rate: declare it as a gauge"),
    ],
)
def test_what_is_wrong_with_an_entry_is_told_with_its_line(
    tmp_path: Path, mapping: str, channels: str, keys: str, message: str
) -> None:
    with pytest.raises(ConfigError) as error:
        mapped(tmp_path, mapping, channels, keys)
    assert message in str(error.value)


def test_a_source_without_anything_to_read_and_a_topic_twice_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="name `topics` with paths"):
        config(tmp_path, "\n  - {source: mqtt, name: shop}")
    topic = "{topic: a, channels: [{name: e, value: v, kind: counter, unit: kWh, decimals: 0}]}"
    with pytest.raises(ConfigError, match="topic 'a' stands twice"):
        config(tmp_path, f"\n  - {{source: mqtt, name: shop, topics: [{topic}, {topic}]}}")
    with pytest.raises(ConfigError, match="names many places"):
        config(tmp_path, f"\n  - {{source: mqtt, name: shop, topics: [{topic.replace('value: v', 'value: a.*')}]}}")


def test_an_agent_uses_a_mapping_of_its_own(tmp_path: Path) -> None:
    own(tmp_path)
    text = """
  - source: mqtt
    name: shop
    devices:
      - mapping: own
        timezone: Europe/Berlin
        channels: [{name: e, device: a/b, value: e, kind: counter, unit: kWh, decimals: 3}]"""
    assert config(tmp_path, text, "mappings_dir: mappings").sources[0].name == "shop"
