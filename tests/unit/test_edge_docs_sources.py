"""The examples of sources in docs/edge.md can be used, and the file shown there says what its text says."""

import re
from pathlib import Path

from folder_rig import Store

from plantprint.times import format_instant
from plantprint_edge.channels import all_channels
from plantprint_edge.config import AgentConfig, FolderSource
from plantprint_edge.load import load_config
from plantprint_edge.sources.dlt645_items import known_items
from plantprint_edge.sources.folder import FolderReader

PAGE = (Path(__file__).parents[2] / "docs" / "edge.md").read_text("utf-8")
HEAD = "agent: gw-1\nsite: s\nbroker: {url: 'mqtt://127.0.0.1:1883'}\noutbox: {path: o.db}\nsources:\n"


def examples(tmp_path: Path) -> AgentConfig:
    found = re.findall(r"```yaml source\n(.*?)```", PAGE, re.DOTALL)
    path = tmp_path / "agent.yaml"
    path.write_text(HEAD + "".join(found), "utf-8")
    return load_config(path, {})


def test_all_examples_together_are_a_configuration(tmp_path: Path) -> None:
    names = [channel.name for channel in all_channels(examples(tmp_path))]
    wanted = [
        "incomer-cn.energy", "incomer-cn.peak", "incomer-cn.power", "incomer-cn.u1", "incomer-cn.u2", "dorm.energy",
        "dorm.demand", "dye.energy", "dye.use", "dye.mean", "m1.energy", "m1.power",
    ]  # fmt: skip
    assert [name for name in names if name in wanted] == wanted


def test_the_page_says_how_many_values_a_meter_has() -> None:
    assert f"one of {len(known_items().items)} values" in PAGE


async def test_the_file_on_the_page_is_read_as_the_page_says(tmp_path: Path) -> None:
    (source,) = [s for s in examples(tmp_path).sources if isinstance(s, FolderSource) and s.name == "scada"]
    (content,) = re.findall(r"```csv\n(.*?)```", PAGE, re.DOTALL)
    (tmp_path / "energy_7.csv").write_text(content, "gb18030")
    store = Store()
    reader = FolderReader(source.model_copy(update={"folder": tmp_path}), 0, store, tmp_path / "state")
    await reader.scan()
    assert {(i, format_instant(t)): value for (i, t), value in store.values.items()} == {
        (0, "2026-11-24T00:15:00Z"): 123456725,
        (1, "2026-11-24T00:15:00Z"): 12500,
        (2, "2026-11-24T00:15:00Z"): 12500,
        (0, "2026-11-24T00:30:00Z"): 123458000,
        (1, "2026-11-24T00:30:00Z"): 12750,
        (2, "2026-11-24T00:30:00Z"): 12750,
        (1, "2026-11-24T16:00:00Z"): 0,
        (2, "2026-11-24T16:00:00Z"): 0,
    }
    assert reader.counts.missing == 1
    assert not reader.counts.errors
