"""The examples in docs/edge.md work: its configurations can be used, its commands say what it says."""

import re
import shlex
from pathlib import Path

import pytest
from typer.testing import CliRunner

from plantprint_cli.__main__ import app
from plantprint_edge.channels import all_channels
from plantprint_edge.config import AgentConfig
from plantprint_edge.load import load_config

PAGE = Path(__file__).parents[2] / "docs" / "edge.md"


def section(heading: str) -> str:
    """The text below a heading of the second level."""
    (found,) = re.findall(
        rf"^## {re.escape(heading)}\n(.*?)(?=^## |\Z)", PAGE.read_text("utf-8"), re.DOTALL | re.MULTILINE
    )
    return str(found)


def blocks(heading: str, language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", section(heading), re.DOTALL)


def example(heading: str, folder: Path) -> AgentConfig:
    """The one agent.yaml in a section, in `folder`."""
    (text,) = blocks(heading, "yaml")
    (folder / "agent.yaml").write_text(text)
    for name in ("meters", "mappings"):
        (folder / name).mkdir(exist_ok=True)
    return load_config(folder / "agent.yaml", {"GW_PASSWORD": "secret"})


def test_the_example_can_be_used(tmp_path: Path) -> None:
    names = [channel.name for channel in all_channels(example("agent.yaml", tmp_path))]
    assert names == [
        "incomer.t1", "incomer.t2", "incomer.power", "dyeing-1.energy", "dyeing-1.pt", "dyeing-1.ct",
        "gas.volume", "press.energy",
    ]  # fmt: skip


def test_the_mqtt_example_can_be_used_and_its_messages_become_what_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = [channel.name for channel in all_channels(example("MQTT devices", tmp_path))]
    assert names == ["stack-2.co2", "stack-2.rate", "press.energy", "oven.energy", "line-1.power", "fan.energy"]
    monkeypatch.chdir(tmp_path)
    said = re.findall(r"`(\w+\.json)`:\n\n```json\n(.*?)```\n\n```console\n\$ plantprint (.*?)\n(.*?)```",
                      section("MQTT devices"), re.DOTALL)  # fmt: skip
    assert len(said) == 2
    for name, payload, command, output in said:
        Path(name).write_text(payload)
        result = CliRunner().invoke(app, shlex.split(command))
        assert result.output == output
