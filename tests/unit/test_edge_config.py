"""agent.yaml: every error with its line and a remedy, secrets only by reference, and the channels that it declares."""

from decimal import Decimal
from fractions import Fraction
from pathlib import Path

import pytest
from accounting_cases import make_graph
from edge_support import IDLE_SOURCE, config

from plantprint.facts import Quality, Reading
from plantprint.intervals import MeterSeries
from plantprint.stores import Level, read_level
from plantprint.times import HOUR_MS
from plantprint_edge.channels import all_channels, modbus_reads, tables
from plantprint_edge.config import Broker, ModbusSource
from plantprint_edge.endpoint import resolve
from plantprint_edge.load import load_config
from plantprint_edge.yamlfile import ConfigError

GOOD = """agent: gw-1
site: s
broker: {url: "mqtt://127.0.0.1:1883"}
outbox: {path: o.db}
sources:
  - source: modbus
    name: m1
    host: 10.0.0.5
    device: eastron_sdm630
    points:
      - {name: energy, point: energy_active_import}
      - {name: power, point: power_active, unit: kW, decimals: 4}
  - source: mqtt
    name: stack
    topics:
      - topic: devices/stack
        time: ts
        channels:
          - {name: co2, value: co2_kg, kind: counter, unit: kg, decimals: 3}
  - source: replay
    name: year
    file: year.csv
    time_column: t
    time_format: "%Y"
    timezone: Asia/Shanghai
    stamp: end
    period_s: 900
    columns:
      - {name: usage, column: kWh, unit: kWh, decimals: 2}
"""


def problems(tmp_path: Path, text: str, environ: dict[str, str] | None = None) -> list[str]:
    path = tmp_path / "agent.yaml"
    path.write_text(text, "utf-8")
    with pytest.raises(ConfigError) as caught:
        load_config(path, environ or {})
    return [problem.removeprefix(f"{path}:") for problem in caught.value.problems]


def changed(old: str, new: str) -> str:
    assert old in GOOD
    return GOOD.replace(old, new)


def test_a_good_file_declares_its_channels_in_order(tmp_path: Path) -> None:
    path = tmp_path / "agent.yaml"
    path.write_text(GOOD, "utf-8")
    read = load_config(path, {})
    assert [(c.name, c.unit, c.decimals, c.kind, c.period_s) for c in all_channels(read)] == [
        ("energy", "kWh", 3, "counter", 0),
        ("power", "kW", 4, "gauge", 0),
        ("co2", "kg", 3, "counter", 0),
        ("usage", "kWh", 2, "amount", 900),
    ]
    assert read.outbox.path == tmp_path / "o.db"


def test_a_unit_other_than_the_devices_is_converted_exactly(tmp_path: Path) -> None:
    path = tmp_path / "agent.yaml"
    path.write_text(GOOD, "utf-8")
    source = load_config(path, {}).sources[0]
    assert isinstance(source, ModbusSource)
    energy, power = modbus_reads(source, 7)
    assert (energy.index, energy.fc, energy.addr, energy.factor) == (7, 4, 72, Fraction(1000))
    assert (power.index, power.addr, power.factor) == (8, 52, Fraction(10))


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("agent: gw-1\n", "", "1: agent: is missing; add it"),
        ("site: s\n", "site: s\nsite: t\n", "3: key 'site' stands twice (first in line 2); remove one of them"),
        ("host: 10.0.0.5", "hots: 10.0.0.5", "8: sources.0.modbus.hots: is not a known key; did you mean 'host'?"),
        ("site: s\n", "site: s\nsize_mb_max: 9\n", "3: size_mb_max: is not a known key; it belongs elsewhere"),
        ("site: s\n", "site: s\nqwx: 9\n", "3: qwx: is not a known key; remove it or correct its spelling"),
        ("source: modbus", "source: canbus", "6: sources.0: each source needs `source: modbus`"),
        ("device: eastron_sdm630", "device: eastron", "9: device 'eastron' is not in the library; known are abb"),
        (
            "point: power_active,",
            "point: power,",
            "12: power: eastron_sdm630 has no point 'power'; it has power_active",
        ),
        ("unit: kW,", "unit: kWh,", "12: power: the device counts in W; 'W' cannot be converted to 'kWh'"),
        ("name: power,", "name: energy,", "12: channel 'energy' is already declared by source 'm1'; rename one"),
        ("unit: kg, decimals: 3", "unit: kilos, decimals: 3", "19: channel 'co2': unit 'kilos' is not known"),
        (
            "kind: counter, unit: kg",
            "kind: counter, unit: kg/h",
            "19: channel 'co2': kg/h is a rate: declare it as a gauge",
        ),
        ("kind: counter, unit: kg", "kind: amount, unit: kg", "19: channel 'co2': an amount needs period_s"),
        (
            "timezone: Asia/Shanghai",
            "timezone: Shanghai",
            "25: sources.2.replay.timezone: 'Shanghai' is no IANA time zone",
        ),
        (
            "stamp: end",
            "stamp: start\n    midnight: day_end",
            "20: sources.2.replay: midnight: day_end is about stamps",
        ),
        (
            '"mqtt://127.0.0.1:1883"',
            '"mqtt://u:secret@127.0.0.1"',
            "3: broker.url: must look like mqtt://host:1883; user",
        ),
        (
            "path: o.db",
            "path: o.db, size_mb_max: 0",
            "4: outbox.size_mb_max: Input should be greater than or equal to 1",
        ),
        ("site: s\n", "site: s\nexit_when_done: [\n", "5: not readable as YAML"),
        ("name: stack", "name: m1", "14: source 'm1' stands twice; give each source its own name"),
    ],
)
def test_errors_name_line_and_remedy(tmp_path: Path, old: str, new: str, expected: str) -> None:
    found = problems(tmp_path, changed(old, new))
    assert any(problem.startswith(expected) for problem in found), found


@pytest.mark.parametrize(
    ("unit", "store_unit", "level"), [("kWh", "kWh", 12_345_000), ("t", "kg", 12_345_000_000), ("m3", "m3", 12_345_000)]
)
def test_the_level_of_a_store_may_be_told_as_an_amount(tmp_path: Path, unit: str, store_unit: str, level: int) -> None:
    path = tmp_path / "agent.yaml"
    path.write_text(changed("kind: counter, unit: kg", f"kind: gauge, unit: {unit}"), "utf-8")
    channel = next(c for c in all_channels(load_config(path, {})) if c.name == "co2")
    graph = make_graph(
        [("grid", "bus", "m-grid"), ("bus", "tank", "m-in"), ("tank", "bus", "m-out"), ("bus", "u", "m-u")],
        pools={"bus": "conserving hour"},
        sources={"grid": "grid"},
        work_units=["u"],
        units={"tank": store_unit, "grid": store_unit, "bus": store_unit},
        stores={"tank": {"kind": "fifo", "level": "m-level"}},
    )
    series = MeterSeries(channel, graph.meters["m-level"], Decimal(1), (Reading(HOUR_MS, 12_345),))
    assert read_level(series, graph.stores["tank"], 0) == Level(level, Quality.MEASURED)


def test_all_problems_are_told_at_once(tmp_path: Path) -> None:
    found = problems(tmp_path, changed("host: 10.0.0.5", "port: 0").replace("decimals: 2", "decimals: 20"))
    assert [f.split(":")[0] for f in found] == ["6", "8", "29"]


def test_what_a_source_names_in_vain_hides_no_mistake_of_another(tmp_path: Path) -> None:
    found = problems(tmp_path, changed("device: eastron_sdm630", "device: eastron").replace("unit: kg,", "unit: kgs,"))
    assert [f.split(":")[0] for f in found] == ["9", "19"]
    assert "'kgs' is not known" in found[1]


def test_a_secret_is_taken_from_file_or_environment_and_never_shown(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("from-file\n")
    by_file = Broker(url="mqtt://h", username="gw", password_file=secret)
    by_name = Broker(url="mqtts://h", username="gw", password_env="GW_PASSWORD")
    assert resolve(by_file, {}).password == "from-file"
    end = resolve(by_name, {"GW_PASSWORD": "from-env"})
    assert (end.password, end.port) == ("from-env", 8883)
    assert "from-env" not in f"{end} {end!r}"
    from_url = resolve(Broker(), {"PLANTPRINT_MQTT_URL": "mqtt://u:p%40ss@h:1884"})
    assert (from_url.host, from_url.port, from_url.username, from_url.password) == ("h", 1884, "u", "p@ss")
    assert "p@ss" not in repr(from_url)


def test_a_missing_secret_or_broker_is_told_at_once(tmp_path: Path) -> None:
    url = 'url: "mqtt://127.0.0.1:1883"'
    assert problems(tmp_path, changed(url, f"{url}, password_env: NOPE"))[0].startswith(
        "3: the environment variable NOPE"
    )
    assert problems(tmp_path, changed(url, f"{url}, password_file: nope"))[0].startswith(
        "3: broker.password_file cannot"
    )
    assert problems(tmp_path, changed(f"broker: {{{url}}}\n", ""))[0].startswith("1: no broker: write broker.url")
    bad = {"PLANTPRINT_MQTT_URL": "mqtt://u:hunter2@h:port"}
    found = problems(tmp_path, changed(f"broker: {{{url}}}\n", ""), bad)
    assert "malformed" in found[0]
    assert "hunter2" not in found[0]
    # Who only looks at the file needs no secret.
    path = tmp_path / "agent.yaml"
    path.write_text(changed(url, f"{url}, password_file: /nowhere"), "utf-8")
    assert load_config(path, None).broker.password_file == Path("/nowhere")


def test_a_file_without_keys_says_with_what_to_begin(tmp_path: Path) -> None:
    for text in ("", "# nothing yet\n", "[]\n"):
        assert problems(tmp_path, text) == [
            "1: the file: holds no keys; begin with agent, site, outbox and sources, see docs/edge.md"
        ]


def test_only_a_replay_can_be_done(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"agent\.yaml:8: only a replay can be done"):
        config(tmp_path, IDLE_SOURCE, "exit_when_done: true")


def test_many_channels_make_several_tables(tmp_path: Path) -> None:
    points = "".join(
        f"\n      - {{name: c{i}, addr: {i}, type: u16, kind: gauge, unit: kW, decimals: 0}}" for i in range(401)
    )
    source = f"\n  - source: modbus\n    name: m\n    host: h\n    points:{points}\n"
    first, second = tables(all_channels(config(tmp_path, source)))
    assert (first.first, first.n, second.first, second.n) == (0, 400, 400, 1)
    assert first.hash != second.hash


def test_names_too_long_to_declare_are_refused(tmp_path: Path) -> None:
    points = "".join(
        f"\n      - {{name: {'长' * 100}{i}, addr: {i}, type: u16, kind: gauge, unit: kW, decimals: 0}}"
        for i in range(400)
    )
    with pytest.raises(ConfigError, match="too long to be declared"):
        config(tmp_path, f"\n  - source: modbus\n    name: m\n    host: h\n    points:{points}\n")
