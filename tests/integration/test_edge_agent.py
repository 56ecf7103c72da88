"""The agent as a process: exit codes, a graceful end, and kills at any moment that lose and double nothing."""

import json
import os
import random
import signal
import sqlite3
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest
import servers
from edge_process import QUICK, counting_device, end, meters, start
from edge_support import IDLE_SOURCE, STEEL, MemoryCollector, config
from fake_agent import wait_until

from plantprint.wire.chunk import unseal
from plantprint_cli.embedded.ports import find_free_port
from plantprint_edge.config import AgentConfig
from plantprint_edge.diskfile import MB
from plantprint_edge.status import read_status, status_path

pytestmark = pytest.mark.integration


def replay(file: Path) -> str:
    return f"""
  - source: replay
    name: steel
    file: {file}
    time_column: date
    time_format: "%d/%m/%Y %H:%M"
    timezone: Asia/Seoul
    stamp: end
    midnight: day_end
    period_s: 900
    columns:
      - {{name: usage, column: Usage_kWh, unit: kWh, decimals: 2}}
      - {{name: co2, column: "CO2(tCO2)", unit: t, decimals: 2}}
"""


def stored_chunks(folder: Path) -> dict[tuple[str, int], bytes]:
    """Every chunk that a (dead) agent ever committed: nothing is purged within a day."""
    with sqlite3.connect(folder / "outbox.db") as connection:
        rows = connection.execute("select epoch, seq, bytes from chunk join payload using (id)").fetchall()
    connection.close()
    return {(epoch, seq): payload for epoch, seq, payload in rows}


@pytest.mark.parametrize("packing", ["none", "zstd"])
def test_a_recorded_year_is_delivered_and_ends_the_agent(
    tmp_path: Path, broker_url: str, site: str, packing: str
) -> None:
    outbox = f"size_mb_max: 16, ballast_mb: 8, reserve_mb: 1, packing: {packing}"
    config(tmp_path, replay(STEEL), "exit_when_done: true", site=site, url=broker_url, outbox=outbox)
    with MemoryCollector(broker_url, site) as collector:
        code, output = end(start(tmp_path, '{"kind": "data"}'))
        rows = collector.rows()
    assert code == 0, output
    assert len(rows) == 2 * 35_040
    assert sum(value for (name, _), value in rows.items() if name == "usage") == 95_963_671
    # The site lives by its data: the agent's word carries the newest reading's instant.
    assert collector.states[-1].at_ms == max(t_ms for _, t_ms in rows)
    assert not collector.states[-1].online


def test_a_broken_recording_delivers_what_was_before_it_and_says_so(tmp_path: Path, broker_url: str, site: str) -> None:
    file = tmp_path / "broken.csv"
    file.write_text("date,Usage_kWh,CO2(tCO2)\n01/01/2018 00:15,3.17,0\n01/01/2018 00:30,x,0\n")
    config(tmp_path, replay(file), "exit_when_done: true", site=site, url=broker_url)
    with MemoryCollector(broker_url, site) as collector:
        code, output = end(start(tmp_path, '{"kind": "data"}'))
        assert collector.rows() == {("usage", 1_514_733_300_000): 317, ("co2", 1_514_733_300_000): 0}
    assert code == 3
    assert f"{file}:3: column 'Usage_kWh': 'x' is not a number" in output


def test_exit_codes_of_what_cannot_run(tmp_path: Path) -> None:
    config(tmp_path, replay(STEEL))
    (tmp_path / "agent.yaml").write_text("agent: gw-1\n")
    code, output = end(start(tmp_path))
    assert code == 2
    assert "agent.yaml:1: site: is missing; add it" in output

    config(tmp_path, meters(1))
    code, output = end(start(tmp_path, '{"kind": "data"}'))
    assert code == 2
    assert "clock_without_present" in output

    of = config(tmp_path, meters(1))
    first = start(tmp_path)
    wait_until(status_path(of).exists, "the first agent runs")
    code, output = end(start(tmp_path))
    assert code == 4
    assert "in use by another agent" in output
    first.send_signal(signal.SIGTERM)
    assert end(first)[0] == 0

    of.outbox.path.unlink()
    of.outbox.path.mkdir()
    assert end(start(tmp_path))[0] == 4


@pytest.mark.parametrize("broker", ["there", "absent"])
def test_sigterm_ends_it_within_seconds(tmp_path: Path, broker_url: str, site: str, broker: str) -> None:
    with counting_device() as port, MemoryCollector(broker_url, site) as collector:
        url = broker_url if broker == "there" else "mqtt://127.0.0.1:1"
        of = config(tmp_path, meters(port), "status_every_s: 0.1", site=site, url=url)
        process = start(tmp_path)
        wait_until(lambda: status_path(of).exists() and read_status(of)["readings"] > 20, "readings")
        started_s = time.monotonic()
        process.send_signal(signal.SIGTERM)
        code, output = end(process)
        assert time.monotonic() - started_s < 8
        assert code == 0, output
        stored = stored_chunks(tmp_path)
        assert read_status(of)["running"] is False
        if broker == "there":
            assert {k: unseal(p) for k, p in stored.items()} == collector.chunks
            assert read_status(of)["outbox"]["unacked_chunks"] == 0
        else:
            assert read_status(of)["outbox"]["unacked_chunks"] == len(stored)


def test_sighup_makes_it_read_its_file_again(tmp_path: Path) -> None:
    with counting_device() as port:
        of = config(tmp_path, meters(port, 1), "status_every_s: 0.1")
        process = start(tmp_path)
        wait_until(lambda: status_path(of).exists() and read_status(of)["readings"] > 2, "readings")
        config(tmp_path, meters(port, 2), "status_every_s: 0.1")
        process.send_signal(signal.SIGHUP)
        wait_until(lambda: [s["name"] for s in read_status(of)["sources"]] == ["m0", "m1"], "the second source")
        process.send_signal(signal.SIGTERM)
        code, output = end(process)
    assert code == 0, output
    assert "reloaded" in output


def test_kills_at_any_moment_lose_and_double_nothing(tmp_path: Path, site: str) -> None:
    """Agent and broker die at random; in the end the collector holds exactly the chunks that were ever committed."""
    seed = int(os.environ.get("PLANTPRINT_TEST_SEED", random.randrange(1_000_000)))
    chance = random.Random(seed)
    print(f"PLANTPRINT_TEST_SEED={seed}")
    port = find_free_port(set())
    url = f"mqtt://127.0.0.1:{port}"
    with counting_device() as meter_port:
        of = config(tmp_path, meters(meter_port), site=site, url=url, uplink=QUICK)
        with servers.mosquitto(port):
            collector = MemoryCollector(url, site, lose=0.05, seed=seed)
        with collector:
            for _ in range(6):
                process = start(tmp_path)
                wait_until(lambda: _lives(of, process), "the agent works")  # noqa: B023 - waited for in the loop
                for _ in range(chance.randint(1, 2)):
                    with servers.mosquitto(port):
                        time.sleep(chance.uniform(0.2, 1.0))
                time.sleep(chance.uniform(0.0, 0.5))
                process.kill()
                end(process)
            collector.lose = 0.0
            last = start(tmp_path)
            with servers.mosquitto(port):
                wait_until(lambda: _lives(of, last), "the last life")
                last.send_signal(signal.SIGTERM)
                assert end(last)[0] == 0
            # A life that reads nothing new, and so can hand over all that is left.
            config(tmp_path, IDLE_SOURCE, "status_every_s: 0.1", site=site, url=url, uplink=QUICK)
            draining = start(tmp_path)
            with servers.mosquitto(port):
                wait_until(
                    lambda: _lives(of, draining) and read_status(of)["outbox"]["unacked_chunks"] == 0, "all drains", 60
                )
                draining.send_signal(signal.SIGTERM)
                assert end(draining)[0] == 0
        stored = stored_chunks(tmp_path)
    assert len(stored) > 20
    assert {key: unseal(payload) for key, payload in stored.items()} == collector.chunks
    assert len({epoch for epoch, _ in stored}) == 8


def _lives(of: AgentConfig, process: subprocess.Popen[str]) -> bool:
    return status_path(of).exists() and read_status(of)["pid"] == process.pid


WRITER = """
import sys
from pathlib import Path
from plantprint.wire.chunk import encode_rows
from plantprint_edge.config import OutboxLimits
from plantprint_edge.outbox import Outbox
from plantprint_edge.records import Draft
limits = OutboxLimits.model_validate({"path": Path(sys.argv[1]), "size_mb_max": 64, "ballast_mb": 8})
outbox = Outbox(limits, "s", "gw-1", lambda: 0)
i = 0
while True:
    with outbox.transaction():
        for _ in range(3):
            outbox.append(Draft("readings", encode_rows([(0, i, i, 3)]), 1, "t"))
            i += 1
    print(i, flush=True)
"""


def test_what_was_committed_survives_a_kill(tmp_path: Path) -> None:
    path = tmp_path / "outbox.db"
    confirmed = 0
    for _ in range(5):
        process = subprocess.Popen([sys.executable, "-c", WRITER, path], stdout=subprocess.PIPE, text=True)
        assert process.stdout is not None
        lines = []
        deadline_s = time.monotonic() + 0.5
        for line in process.stdout:
            lines.append(line)
            if time.monotonic() > deadline_s:
                process.kill()
                break
        lines += process.stdout.readlines()
        process.wait()
        process.stdout.close()
        confirmed += int(lines[-1])
    stored = stored_chunks(tmp_path)
    # The last transaction of each life may be stored and not yet told.
    assert confirmed <= len(stored) <= confirmed + 5 * 3
    for epoch in {epoch for epoch, _ in stored}:
        seqs = sorted(seq for of, seq in stored if of == epoch)
        assert seqs == list(range(len(seqs)))
        assert len(seqs) % 3 == 0


def test_metrics_and_status_tell_the_same(tmp_path: Path, broker_url: str, site: str) -> None:
    port = find_free_port(set())
    with counting_device() as meter_port, MemoryCollector(broker_url, site):
        top = f"status_every_s: 0.1\nmetrics_port: {port}"
        of = config(tmp_path, meters(meter_port), top, site=site, url=broker_url)
        process = start(tmp_path)
        wait_until(lambda: status_path(of).exists() and read_status(of)["uplink"]["acked"] > 5, "deliveries")
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as answer:
            page = answer.read().decode()
        process.send_signal(signal.SIGTERM)
        assert end(process)[0] == 0
    assert "plantprint_edge_connected 1.0" in page
    assert 'plantprint_edge_polls_total{source="m0"}' in page
    assert "plantprint_edge_lost_rows_total 0.0" in page
    status = read_status(of)
    assert {s["name"] for s in status["sources"]} == {f"m{i}" for i in range(5)}
    assert all(s["last_good_at"].endswith("Z") and s["errors"] == {} for s in status["sources"])
    assert json.dumps(status).count("password") == 0


def test_a_full_outbox_never_stops_the_agent(tmp_path: Path, broker_url: str, site: str) -> None:
    """A small outbox without a collector: losses are counted, and told once there is one."""
    of = config(
        tmp_path,
        replay(STEEL).replace("    period_s: 900\n", "    period_s: 900\n    backlog_chunks_max: 100000\n"),
        "status_every_s: 0.1",
        site=site,
        url=broker_url,
        outbox="size_mb_max: 1, ballast_mb: 8, reserve_mb: 1, retry_s: 0.5",
    )
    process = start(tmp_path, '{"kind": "data"}')
    wait_until(lambda: status_path(of).exists() and read_status(of)["readings"] == 2 * 35_040, "all read", 30)
    wait_until(lambda: read_status(of)["outbox"]["lost_rows"] > 0, "losses")
    assert read_status(of)["outbox"]["used_bytes"] <= 2 * MB
    with MemoryCollector(broker_url, site) as collector:
        wait_until(lambda: bool(collector.gaps()), "the gap record", 30)
        process.send_signal(signal.SIGTERM)
        code, output = end(process)
        assert code == 0, output
        (gap,) = collector.gaps()
        assert len(collector.rows()) + gap.lost_rows == 2 * 35_040
        assert gap.to_ms == 1_546_268_400_000
