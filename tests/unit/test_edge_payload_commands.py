"""`plantprint edge mappings` and `try-payload`: what they print, and what they answer to wrong use."""

import json
from pathlib import Path

import pytest
from mqtt_support import GOLDEN
from typer.testing import CliRunner, Result

from plantprint_cli.__main__ import app
from plantprint_cli.errors import CommandError

SHELLY = '{"params":{"ts":1764072000.04,"em:0":{"total_act_power":2484.8},"emdata:0":{"total_act":"?"}}}'


def edge(*arguments: str, given: str | bytes = "") -> Result:
    return CliRunner().invoke(app, ["edge", *arguments], input=given)


def tried(*arguments: str, given: str | bytes = "") -> Result:
    return edge("try-payload", *arguments, given=given)


def test_all_mappings_are_listed_and_each_is_explained() -> None:
    listed = [line.split()[0] for line in edge("mappings").output.splitlines()]
    assert {"sparkplug_b", "neuron", "shelly", "tasmota", "acrel", "umh"} <= set(listed)
    assert [entry["id"] for entry in json.loads(edge("mappings", "--json").output)] == listed
    for mapping_id in listed:
        assert "gives " in edge("mappings", mapping_id).output
    assert json.loads(edge("mappings", "tasmota", "--json").output)["messages"][0]["time"]["path"] == "$.Time"


def test_readings_and_what_is_ignored() -> None:
    result = tried("-m", "shelly", "-t", "s1/events/rpc", given=SHELLY)
    assert result.exit_code == 0
    assert result.output == (
        "s1 em:0.total_act_power = 2484.8 W @ 2025-11-25T12:00:00.040Z\n"
        "ignored: s1 emdata:0.total_act: '?' is not a number\n"
    )
    body = json.loads(tried("-m", "shelly", "-t", "s1/events/rpc", "--json", given=SHELLY).output)
    assert body == {
        "readings": [
            {
                "device": "s1", "value_name": "em:0.total_act_power", "value": "2484.8", "unit": "W",
                "at": "2025-11-25T12:00:00.040Z", "quality": "measured", "why": "", "late": False,
            }
        ],
        "ignored": [{"device": "s1", "what": "emdata:0.total_act", "why": "'?' is not a number"}],
        "gone": [],
    }  # fmt: skip


def test_aliases_with_the_birth_beside_them(tmp_path: Path) -> None:
    for name in ("dbirth", "ddata_alias"):
        (tmp_path / name).write_text(GOLDEN[name]["hex"])
    arguments = (
        "-m",
        "sparkplug_b",
        "-t",
        GOLDEN["ddata_alias"]["topic"],
        "--hex",
        "-f",
        str(tmp_path / "ddata_alias"),
    )
    without = tried(*arguments)
    assert without.exit_code == 1
    assert "alias 1: no birth was seen that names it" in without.output
    result = tried(*arguments, "--birth", str(tmp_path / "dbirth"))
    assert result.output.splitlines()[0] == "plant/gw/press Energy = 123457.25 @ 2025-11-25T12:00:01Z"
    assert "gone: plant/gw/press" in tried(
        "-m", "sparkplug_b", "-t", GOLDEN["ddeath"]["topic"], given=bytes.fromhex(GOLDEN["ddeath"]["hex"])
    ).output  # fmt: skip


def test_a_unit_that_is_written_otherwise_is_remarked_on() -> None:
    record = {"location_code": "h", "properties": [{"key": "a", "value": 1, "unit": "W·min", "timestamp": 1764072000}]}
    assert "(can become kWh)" in tried("-m", "cet_gateway", "-t", "CET/x/upload", given=json.dumps(record)).output
    record["properties"][0]["unit"] = "furlong"  # type: ignore[index]
    assert "give device_unit" in tried("-m", "cet_gateway", "-t", "CET/x/upload", given=json.dumps(record)).output


def test_a_message_that_gives_nothing() -> None:
    result = tried("-m", "shelly", "-t", "s1/events/rpc", given='{"params":{"ts":1}}')
    assert result.exit_code == 1
    assert "no readings: nothing in the message is where shelly looks for it" in result.output


@pytest.mark.parametrize(
    ("arguments", "given", "message"),
    [
        (("-t", "a"), "", "name either --mapping"),
        (("-t", "a", "-m", "shelly", "-c", "x.yaml"), "", "name either --mapping"),
        (("-t", "a", "-m", "shally"), "", "no mapping 'shally'"),
        (("-t", "a", "-m", "shelly"), "{}", "topic 'a' is none of shelly: {device}/events/rpc"),
        (("-t", "s/events/rpc", "-m", "shelly"), "{", "not readable as JSON"),
        (("-t", "tele/a/SENSOR", "-m", "tasmota"), "{}", "tasmota sends local time; give --timezone"),
        (("-t", "tele/a/SENSOR", "-m", "tasmota", "--timezone", "Mars"), "{}", "no IANA time zone"),
        (("-t", "a/events/rpc", "-m", "shelly", "--hex"), "xx", "not hexadecimal"),
        (("-t", "a", "-m", "shelly", "-f", "/nowhere"), "", "cannot be read"),
        (("-t", "a", "-c", "/nowhere.yaml"), "", "cannot be read"),
        (("-t", "a", "-m", "own", "--mappings-dir", "/nowhere"), "", "is no folder"),
    ],
)
def test_wrong_use_is_told_with_a_remedy(arguments: tuple[str, ...], given: str, message: str) -> None:
    result = tried(*arguments, given=given)
    assert isinstance(result.exception, CommandError)
    assert message in str(result.exception)


def test_what_the_channels_of_an_agent_would_get(tmp_path: Path) -> None:
    agent = tmp_path / "agent.yaml"
    agent.write_text("""
agent: gw
site: s
broker: {url: "mqtt://127.0.0.1:1", password_file: /run/credentials/of-the-service-alone}
outbox: {path: o.db}
sources:
  - source: mqtt
    name: hall
    devices:
      - mapping: zigbee2mqtt
        channels:
          - {name: press, device: press, value: energy, kind: counter, unit: MWh, decimals: 6}
          - {name: volts, device: press, value: voltage, kind: gauge, unit: V, decimals: 0}
""")
    arguments = ("-c", str(agent), "-t", "zigbee2mqtt/press")
    body = '{"energy": 45.67, "voltage": null, "last_seen": "2025-11-25T12:00:00Z"}'
    result = tried(*arguments, given=body)
    assert result.output == (
        "press = 0.045670 MWh @ 2025-11-25T12:00:00Z\nmissing: 1 declared value(s) are null or marked as missing\n"
    )
    assert json.loads(tried(*arguments, "--json", given=body).output) == {
        "readings": [{"channel": "press", "value": "0.045670 MWh", "at": "2025-11-25T12:00:00Z"}],
        "refused": {}, "undeclared": [], "missing": 1,
    }  # fmt: skip
    kept = tried(*arguments, "--retained", given='{"energy": 45.67}')
    assert (kept.exit_code, kept.output[:19]) == (1, "refused (retained):")
    stranger = tried("-c", str(agent), "-t", "zigbee2mqtt/oven", given=body)
    assert stranger.output == "undeclared: no channel names oven\n"
    assert "no MQTT source of this agent.yaml listens to 'x'" in str(tried("-c", str(agent), "-t", "x").exception)
