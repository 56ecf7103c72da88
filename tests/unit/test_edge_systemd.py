"""The systemd unit: what it starts exists, it keeps the agent running and tells it to reload, and it is hardened."""

import re
import shutil
import subprocess
import sys
from collections import defaultdict
from pathlib import Path

import pytest
from edge_support import config

from plantprint_edge import agent

ROOT = Path(__file__).resolve().parents[2]
UNIT = ROOT / "deploy/systemd/plantprint-edge.service"


def unit() -> dict[str, dict[str, list[str]]]:
    """Section → key → values in their order; a line that is neither is an error."""
    sections: dict[str, dict[str, list[str]]] = {}
    keys: dict[str, list[str]] = {}
    for line in UNIT.read_text("utf-8").splitlines():
        if not line or line.startswith("#"):
            continue
        if match := re.fullmatch(r"\[(\w+)\]", line):
            keys = sections.setdefault(match[1], defaultdict(list))
            continue
        key, equals, value = line.partition("=")
        assert equals, line
        keys[key].append(value)
    return sections


def test_the_unit_runs_the_agent_as_nobody_in_particular_and_for_good() -> None:
    service = unit()["Service"]
    program, *arguments = service["ExecStart"][0].split()
    assert Path(program).name == "plantprint"
    assert arguments == ["edge", "--config", "/etc/plantprint/agent.yaml"]
    assert service["ExecReload"] == ["/bin/kill -HUP $MAINPID"]
    assert service["Type"] == ["notify"]
    assert int(service["WatchdogSec"][0]) > 0
    assert service["Restart"] == ["always"]
    assert [int(code) for code in service["RestartPreventExitStatus"]] == [agent.EXIT_CONFIG]
    assert unit()["Unit"]["StartLimitIntervalSec"] == ["0"], "it is started again however often it fails"
    assert service["DynamicUser"] == ["yes"]
    assert service["NoNewPrivileges"] == ["yes"]
    assert service["CapabilityBoundingSet"] == [""]
    assert service["ProtectSystem"] == ["strict"]
    assert service["LoadCredential"] == ["gw-password:/etc/plantprint/secrets/gw-password"]


def test_the_stop_leaves_time_for_the_drain(tmp_path: Path) -> None:
    of = config(tmp_path)
    assert int(unit()["Service"]["TimeoutStopSec"][0]) > of.drain_s + 10


def test_the_paths_that_the_unit_tells_of_are_those_that_it_makes() -> None:
    text, service = UNIT.read_text("utf-8"), unit()["Service"]
    assert f"/var/lib/{service['StateDirectory'][0]}/outbox.db" in text
    name = service["LoadCredential"][0].partition(":")[0]
    assert f"/run/credentials/{UNIT.name}/{name}" in text


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd is not installed")
def test_systemd_takes_the_unit_and_finds_it_well_guarded(tmp_path: Path) -> None:
    here = tmp_path / UNIT.name
    # `verify` wants programs that are there.
    here.write_text(UNIT.read_text("utf-8").replace("/opt/plantprint/bin/plantprint", sys.executable), "utf-8")
    said = subprocess.run(["systemd-analyze", "verify", here], capture_output=True, text=True, check=False)
    assert (said.returncode, said.stdout + said.stderr) == (0, "")
    guarded = ["systemd-analyze", "security", "--offline=true", "--threshold=20", "--no-pager", str(here)]
    exposure = subprocess.run(guarded, capture_output=True, text=True, check=False)
    assert exposure.returncode == 0, exposure.stdout[-500:]
