"""The benchmark of the edge agent on tiny loads: it measures what it says; no time is judged."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from plantprint.wire.chunk import encode_rows
from plantprint_cli.bench import edge
from plantprint_cli.bench.edge_meters import FAULTS, MODELS, plant
from plantprint_cli.bench.edge_outbox import METERS, days_per_gb, rows_of
from plantprint_cli.bench.edge_plant import Seen, missed_polls, sources
from plantprint_cli.bench.edge_runner import blocks_of
from plantprint_edge.config import AgentConfig

pytestmark = pytest.mark.integration


def test_agent_and_bare_loop_are_compared_over_the_same_blocks(broker_url: str) -> None:
    result = edge.polling(broker_url, 1, 0.5)
    agent, bare, loop, single = (result[kind] for kind in ("agent", "bare", "bare_on_agents_loop", "single"))
    assert result["ratio_to_bare"] == pytest.approx(agent["polls_per_s"] / bare["polls_per_s"], abs=0.001)
    assert result["points_ratio"] == pytest.approx(bare["points_per_s"] / single["points_per_s"], abs=0.01)
    other = result["ratio_to_bare_on_agents_loop"]
    assert other == pytest.approx(agent["polls_per_s"] / loop["polls_per_s"], abs=0.001)
    for of in (agent, bare, loop, single):
        assert of["points_per_s"] > of["polls_per_s"] > 0


def test_with_planning_there_are_fewer_requests_for_the_same_points() -> None:
    raw = {"agent": "a", "site": "s", "outbox": {"path": "o"}, "sources": sources(plant(5, 0), [1], edge.PANEL)}
    for source in AgentConfig.model_validate(raw).sources:
        planned, single = blocks_of(source, single=False), blocks_of(source, single=True)  # type: ignore[arg-type]
        assert sum(len(block.points) for block in planned) == len(single)
        assert len(planned) < len(single)


def test_the_outbox_is_compared_with_sqlite_and_says_how_long_a_disk_lasts() -> None:
    result = edge.outbox(1, 0.4)
    assert result["ratio_to_sqlite"] == pytest.approx(result["rows_per_s"] / result["sqlite_rows_per_s"], abs=0.001)
    plain, packed = result["bytes_per_reading"]["none"], result["bytes_per_reading"]["zstd"]
    assert len(encode_rows(rows_of(7, METERS))) / METERS < plain < 60
    assert packed < plain / 2
    assert days_per_gb(10) == pytest.approx(1e9 / (10 * METERS * 86_400))


def test_a_missed_poll_is_seen_and_one_that_is_late_is_none() -> None:
    """Polled at .998 of each second: a few milliseconds later is the next second, and nothing is missing."""
    times = [998, 2_003, 2_999, 3_998, 5_004, 5_998]
    assert missed_polls(times, 0, 6_500) == 0
    assert missed_polls([t_ms for t_ms in reversed(times) if t_ms != 2_999], 0, 6_500) == 1
    assert missed_polls(times, 0, 9_100) == 2
    assert missed_polls([], 0, 5_000) == 4


def test_an_overtaking_chunk_is_no_hole() -> None:
    seen = Seen()
    for seq in (0, 1, 3):
        seen.add(seq)
    assert (seen.ranges(), 2 in seen, 3 in seen) == ([(0, 1), (3, 3)], False, True)
    seen.add(2)
    assert seen.ranges() == [(0, 3)]


def test_the_faulty_are_spread_among_the_models_and_the_faults() -> None:
    meters = plant(1000, 20)
    faulty = [meter for meter in meters if meter.fault]
    assert len(faulty) == 20
    assert {meter.fault for meter in faulty} == set(FAULTS)
    assert {meter.model for meter in faulty} == set(MODELS)
    assert len({meter.place for meter in meters}) == 1000


SOAK = """
import sys
from plantprint_cli.bench import common, edge_soak
with common.interruptible():
    edge_soak.run(sys.argv[1], meters=4, faulty=0, seconds=300)
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_a_soak_that_is_ended_takes_its_agent_with_it(broker_url: str, tmp_path: Path, number: int) -> None:
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    with subprocess.Popen([sys.executable, "-c", SOAK, broker_url], env=environment) as soak:
        agents: list[int] = []
        while not agents:
            assert soak.poll() is None
            time.sleep(0.05)
            if not list(tmp_path.glob("*/*.status.json")):
                continue  # it is only starting
            agents = [
                int(pid.name) for pid in Path("/proc").iterdir() if pid.name.isdigit() and _is_agent(pid, tmp_path)
            ]
        soak.send_signal(number)
        assert soak.wait(30) != 0
    until_s = time.monotonic() + 30
    while Path(f"/proc/{agents[0]}").exists():
        assert time.monotonic() < until_s, "the agent runs on"
        time.sleep(0.05)
    assert number == signal.SIGKILL or not list(tmp_path.iterdir()), "its folder is left"


def _is_agent(process: Path, folder: Path) -> bool:
    try:
        command = (process / "cmdline").read_bytes()
    except OSError:
        return False
    return b"plantprint_cli\0edge" in command and str(folder).encode() in command
