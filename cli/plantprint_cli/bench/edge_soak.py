"""A gateway with many meters, some of them faulty, at 1 Hz: does it miss a poll, does its memory grow, what does it cost."""

import os
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import linear_regression
from typing import NamedTuple

import typer

from plantprint_cli.bench.common import Json, cpu_s, median
from plantprint_cli.bench.edge_meters import plant
from plantprint_cli.bench.edge_plant import Forgetful, meters_running, missed_polls, sources, write_agent
from plantprint_cli.embedded import Child, Command
from plantprint_cli.embedded.logs import SizeLimitedLog

START_S_MAX = 120.0
STOP_S_MAX = 30.0
LOG_BYTES_MAX = 16_777_216
REPORT_EVERY_S = 60
NAMED_MAX = 20


def run(broker_url: str, *, meters: int = 1000, faulty: int = 20, seconds: float = 30.0) -> Json:
    """What an agent does in `seconds` once it reads all healthy meters: a process of its own with the shipped command."""
    with (
        tempfile.TemporaryDirectory(prefix="plantprint-soak-") as folder,
        meters_running(meters, faulty) as (ports, meters_pid),
    ):
        which = sources(plant(meters, faulty), ports)
        good = {f"m{meter.number}" for meter in plant(meters, faulty) if not meter.fault}
        channels = [source["points"][0]["name"] for source in which if source["name"] in good]
        path = write_agent(Path(folder), broker_url, which, drain_s=5)
        with Forgetful(broker_url, channels) as collector:
            seen = _observe(path, collector, seconds, meters_pid)
    missed = {
        name: missed_polls(times, seen.from_ms, seen.to_ms) for name, times in collector.times_ms.items() if times
    }
    quarter = max(1, len(seen.rss_mb) // 4)
    return {
        "meters": meters,
        "faulty": faulty,
        "seconds": round(seconds),
        "readings": seen.rows,
        "polls_missed_by_healthy_meters": sum(missed.values()),
        "most_missed_by_one": max(missed.values(), default=0),
        "missed_by": {name: n for name, n in sorted(missed.items(), key=lambda of: -of[1])[:NAMED_MAX] if n},
        "healthy_meters_never_read": len(channels) - len(missed),
        "chunks_sent_twice": collector.repeats,
        "cpu_cores": round(seen.cores, 3),
        "waited_for_cpu_s": round(seen.waited_s, 2),
        "rss_mb_max": max(seen.rss_mb),
        "rss_mb_second_quarter": median(seen.rss_mb[quarter : 2 * quarter] or seen.rss_mb, 1),
        "rss_mb_last_quarter": median(seen.rss_mb[-quarter:], 1),
        "rss_mb_per_hour": rss_mb_per_hour(seen.rss_mb[quarter:]),
        "exit_code": seen.exit_code,
    }


def rss_mb_per_hour(rss_mb: Sequence[float]) -> float:
    """By how much the memory grows an hour, from samples a second apart: the slope of the line that fits them best."""
    return round(linear_regression(range(len(rss_mb)), rss_mb).slope * 3600, 2) if len(rss_mb) > 1 else 0.0


class Observed(NamedTuple):
    """`rows` came between the instants; `waited_s`: how long agent and meters stood ready and no processor was free."""

    from_ms: int
    to_ms: int
    rows: int
    rss_mb: list[float]
    cores: float
    waited_s: float
    exit_code: int


def _observe(path: Path, collector: Forgetful, seconds: float, meters_pid: int) -> Observed:
    """The agent ends with this process, however that ends."""
    command = Command([sys.executable, "-m", "plantprint_cli", "edge", "--config", str(path)])
    with Child("agent", command, SizeLimitedLog(path.parent / "log", LOG_BYTES_MAX)) as agent:
        assert agent.pid is not None
        started_s = time.monotonic()
        while not all(collector.times_ms.values()) and agent.is_alive() and _since(started_s) < START_S_MAX:
            time.sleep(0.2)
        # The second in which the last of them was read for the first time counts for none.
        time.sleep(1)
        rows, from_ms, waited_s = collector.rows, _now_ms(), _waited_s(agent.pid) + _waited_s(meters_pid)
        rss_mb, used_s, started_s = [_rss_mb(agent.pid)], cpu_s(agent.pid), time.monotonic()
        while _since(started_s) < seconds and agent.is_alive():
            time.sleep(1)
            rss_mb.append(_rss_mb(agent.pid))
            if len(rss_mb) % REPORT_EVERY_S == 0:
                _report(collector, round(_since(started_s)), rss_mb)
        cores = (cpu_s(agent.pid) - used_s) / _since(started_s)
        to_ms, waited_s = _now_ms(), _waited_s(agent.pid) + _waited_s(meters_pid) - waited_s
        agent.stop(STOP_S_MAX)
        assert agent.exit_code is not None
        return Observed(from_ms, to_ms, collector.rows - rows, rss_mb, cores, waited_s, agent.exit_code)


def _report(collector: Forgetful, passed_s: int, rss_mb: Sequence[float]) -> None:
    """A line about the minute that has passed, up to what is surely delivered."""
    to_ms = _now_ms() - 3000
    from_ms = to_ms - REPORT_EVERY_S * 1000
    missed = {
        name: missed_polls(times[-2 * REPORT_EVERY_S :], from_ms, to_ms) for name, times in collector.times_ms.items()
    }
    worst = max(missed, key=lambda name: missed[name], default="")
    told = f", {worst} {missed[worst]} of them" if worst and missed[worst] else ""
    typer.echo(
        f"{round(passed_s / 60):4} min: {collector.rows} readings, {sum(missed.values())} polls missed in the last minute{told},"
        f" {rss_mb[-1]} MB ({rss_mb_per_hour(rss_mb[-10 * REPORT_EVERY_S :]):+} MB/h over ten minutes)",
        err=True,
    )


def _since(instant_s: float) -> float:
    return time.monotonic() - instant_s


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


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
