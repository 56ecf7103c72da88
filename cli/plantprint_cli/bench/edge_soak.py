"""A gateway with many meters, some of them faulty, at 1 Hz: does it miss a poll, does its memory grow, what does it cost."""

import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

from plantprint_cli.bench.common import Json, cpu_s, median
from plantprint_cli.bench.edge_meters import plant
from plantprint_cli.bench.edge_plant import Forgetful, meters_running, sources, write_agent

STOP_S_MAX = 30.0


def run(broker_url: str, *, meters: int = 1000, faulty: int = 20, seconds: float = 30.0) -> Json:
    """What an agent does in `seconds`, after it has warmed up: a process of its own with the shipped command."""
    with (
        tempfile.TemporaryDirectory(prefix="plantprint-soak-") as folder,
        meters_running(meters, faulty) as (ports, meters_pid),
        Forgetful(broker_url) as collector,
    ):
        which = sources(plant(meters, faulty), ports)
        path = write_agent(Path(folder), broker_url, which, drain_s=5)
        # Reading the configuration of 1 000 meters and connecting to them takes a few seconds.
        warm_s = 3 + meters / 200
        collector.counts_from = int(time.time() + warm_s) + 1
        seen_of = _observe(path, warm_s, seconds, meters_pid)
    rss_mb = seen_of.rss_mb
    good = {f"m{meter.number}" for meter in plant(meters, faulty) if not meter.fault}
    channels = [source["points"][0]["name"] for source in which if source["name"] in good]
    seen = [collector.seconds[name] for name in channels if name in collector.seconds]
    quarter = max(1, len(rss_mb) // 4)
    return {
        "meters": meters,
        "faulty": faulty,
        "seconds": round(seconds),
        "readings": collector.rows,
        "polls_missed_by_healthy_meters": sum(each.missed for each in seen),
        "most_missed_by_one": max((each.missed for each in seen), default=0),
        "healthy_meters_never_read": len(channels) - len(seen),
        "chunks_sent_twice": collector.repeats,
        "cpu_cores": round(seen_of.cores, 3),
        "waited_for_cpu_s": round(seen_of.waited_s, 2),
        "rss_mb_max": max(rss_mb),
        "rss_mb_second_quarter": median(rss_mb[quarter : 2 * quarter] or rss_mb, 1),
        "rss_mb_last_quarter": median(rss_mb[-quarter:], 1),
        "exit_code": seen_of.exit_code,
    }


class Observed(NamedTuple):
    """`waited_s`: how long agent and meters stood ready and this machine had no processor for them."""

    rss_mb: list[float]
    cores: float
    waited_s: float
    exit_code: int


def _observe(path: Path, warm_s: float, seconds: float, meters_pid: int) -> Observed:
    command = [sys.executable, "-m", "plantprint_cli", "edge", "--config", str(path)]
    with (path.parent / "log").open("wb") as log, subprocess.Popen(command, stdout=log, stderr=log) as agent:
        time.sleep(warm_s)
        rss_mb, used_s, started_s = [_rss_mb(agent.pid)], cpu_s(agent.pid), time.monotonic()
        waited_s = _waited_s(agent.pid) + _waited_s(meters_pid)
        while time.monotonic() - started_s < seconds and agent.poll() is None:
            time.sleep(1)
            rss_mb.append(_rss_mb(agent.pid))
        cores = (cpu_s(agent.pid) - used_s) / (time.monotonic() - started_s)
        waited_s = _waited_s(agent.pid) + _waited_s(meters_pid) - waited_s
        agent.send_signal(signal.SIGTERM)
        return Observed(rss_mb, cores, waited_s, agent.wait(STOP_S_MAX))


def _waited_s(pid: int) -> float:
    """How long a process's main thread has waited for a processor since it began."""
    try:
        return int(Path(f"/proc/{pid}/schedstat").read_text("ascii").split()[1]) / 1e9
    except OSError:
        return 0.0


def _rss_mb(pid: int) -> float:
    try:
        pages = int(Path(f"/proc/{pid}/statm").read_text("ascii").split()[1])
    except OSError:
        return 0.0
    return round(pages * os.sysconf("SC_PAGE_SIZE") / 2**20, 1)
