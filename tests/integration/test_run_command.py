"""`plantprint run` as a user has it: live within a minute, continued by a second run, refused twice, clean after kill -9."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from decimal import Decimal
from functools import partial
from pathlib import Path

import psycopg
import pytest
from plant_rig import RunningPlant, database_of, reachable_folder, running_plant

pytestmark = [pytest.mark.integration, pytest.mark.timeout(280)]


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    with reachable_folder() as parent:
        yield parent / "plant"


def audit(folder: Path) -> None:
    with database_of(folder) as dsn, psycopg.connect(dsn) as conn:
        falls = conn.execute(
            "select count(*) from (select value - lag(value) over (partition by channel_id order by measured_at) as step "
            "from reading join channel using (channel_id) where kind = 'counter') steps where step < 0"
        ).fetchone()
        assert falls == (0,)


def gone(pids: dict[str, int], timeout_s: float = 15.0) -> bool:
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        if not any(Path(f"/proc/{pid}").exists() for pid in pids.values()):
            return True
        time.sleep(0.1)
    return False


def test_the_whole_plant_lives_ships_and_alerts_once(folder: Path) -> None:
    with running_plant(folder, "--for", "75s") as plant:
        plant.wait_live()
        first = plant.wait("running batches", lambda: plant.get("/v1/batches?status=running")["items"])
        before = {b["batch"]: Decimal(b["partial_footprint_kg_co2e"] or 0) for b in first}
        time.sleep(5)
        after = {
            b["batch"]: Decimal(b["partial_footprint_kg_co2e"] or 0)
            for b in plant.get("/v1/batches?status=running")["items"]
        }
        assert any(after[name] > before[name] for name in before.keys() & after.keys())
        assert all(after[name] >= before[name] for name in before.keys() & after.keys())
        issued = plant.wait(
            "a statement", lambda: [s for s in plant.get("/v1/shipments")["items"] if s["status"] == "issued"], 90
        )
        shipment = plant.get(f"/v1/shipments/{issued[0]['shipment']}")
        assert "partial_footprint_kg_co2e" in str(shipment)
        alerts = plant.wait("an alert", lambda: [a for a in plant.get("/v1/alerts")["items"] if a["firing_at"]], 60)
        assert [a["work_center"] for a in alerts] == ["line-2"]
        assert plant.process.wait(120) == 0
    audit(folder)


def test_a_second_run_continues_and_a_second_instance_is_refused(folder: Path) -> None:
    with running_plant(folder, "--speed", "10") as plant:
        plant.wait_live()
        assert len(plant.get("/v1/batches")["items"]) > 3
        second = RunningPlant(folder)
        assert second.process.wait(60) == 2
        assert "is in use" in plant.log.read_text() or "another" in plant.log.read_text()
        assert plant.get("/healthz")["status"] == "up"
    audit(folder)


def is_another(plant: RunningPlant, part: str, pid: int) -> bool:
    return plant.pid(part) != pid


def test_kill_9_of_every_part_is_survived_and_of_the_supervisor_leaves_nothing(folder: Path) -> None:
    with running_plant(folder) as plant:
        plant.wait_live()
        for part in ("edge", "collector", "broker", "postgres", "api", "simulator"):
            # The page may be live by what the run before read.
            pid = plant.wait(f"{part} runs", partial(plant.pid, part), 60)
            os.kill(pid, signal.SIGKILL)
            plant.wait(f"{part} again", partial(is_another, plant, part, pid), 60)
            plant.wait_live()
        pids = plant.pids()
        plant.process.kill()
        plant.process.wait()
        assert gone(pids)
    with running_plant(folder, "--for", "8s") as plant:
        plant.wait_live()
        assert plant.process.wait(60) == 0
    audit(folder)


def test_a_taken_port_is_told_before_anything_starts(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        command = [
            sys.executable,
            "-m",
            "plantprint_cli",
            "run",
            "--port",
            str(port),
            "--instance",
            str(tmp_path / "x"),
        ]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 2
    assert f"port {port} is taken" in done.stderr
    assert not (tmp_path / "x").exists()


def test_an_unreachable_folder_is_refused_with_a_remedy(tmp_path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root runs the database as somebody else")
    tmp_path.chmod(0o700)
    command = [sys.executable, "-m", "plantprint_cli", "run", "--port", "18999", "--instance", str(tmp_path / "x")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    assert str(tmp_path) in done.stderr.replace("\n", "")
