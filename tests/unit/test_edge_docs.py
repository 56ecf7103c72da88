"""The example in docs/edge.md is a configuration that works."""

import re
from pathlib import Path

from plantprint_edge.channels import all_channels
from plantprint_edge.load import load_config

PAGE = Path(__file__).parents[2] / "docs" / "edge.md"


def test_the_example_can_be_used(tmp_path: Path) -> None:
    (example,) = re.findall(r"```yaml\n(.*?)```", PAGE.read_text("utf-8"), re.DOTALL)
    (tmp_path / "agent.yaml").write_text(example)
    (tmp_path / "meters").mkdir()
    config = load_config(tmp_path / "agent.yaml", {"GW_PASSWORD": "secret"})
    names = [channel.name for channel in all_channels(config)]
    assert names == [
        "incomer.t1", "incomer.t2", "incomer.power", "dyeing-1.energy", "dyeing-1.pt", "dyeing-1.ct",
        "gas.volume", "press.energy",
    ]  # fmt: skip
