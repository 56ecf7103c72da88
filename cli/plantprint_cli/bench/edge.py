"""The edge agent against bare pymodbus and plain SQLite, and what 1 000 meters at 1 Hz cost; medians of alternating runs."""

import json
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from plantprint_cli.bench import edge_soak
from plantprint_cli.bench.common import BenchError, Json, Servers, median, medians
from plantprint_cli.bench.edge_meters import plant
from plantprint_cli.bench.edge_outbox import bytes_per_reading, days_per_gb, rows_per_s
from plantprint_cli.bench.edge_plant import Forgetful, meters_running, sources, write_agent

CONNECTIONS = 50
# A meter as it is read for a panel: most of its registers, in few requests.
PANEL = tuple(
    f"{name}_l{phase}" for name in ("voltage", "current", "power_active", "power_reactive") for phase in (1, 2, 3)
)
BARE, BARE_ON_AGENTS_LOOP, AGENT, SINGLE = "bare", "bare_on_agents_loop", "agent", "single"


def run(servers: Servers, *, full: bool) -> Json:
    """All of it; what fails names itself."""
    rounds, seconds = (7, 6.0) if full else (3, 3.0)
    return {
        "polling": polling(servers.broker.url, rounds, seconds),
        "outbox": outbox(rounds, seconds),
        "thousand_meters": edge_soak.run(servers.broker.url, faulty=0, seconds=60 if full else 20),
    }


def soak(servers: Servers, seconds: float) -> Json:
    """1 000 meters, 20 of them faulty."""
    return edge_soak.run(servers.broker.url, seconds=seconds)


def polling(broker_url: str, rounds: int, seconds: float) -> Json:
    """The agent as fast as it can over `CONNECTIONS` connections, and the same requests without anything around them."""
    names = ("energy_active_import", "energy_active_export", "power_active", "frequency", *PANEL)
    found: dict[str, list[dict[str, float]]] = {kind: [] for kind in (AGENT, BARE, BARE_ON_AGENTS_LOOP, SINGLE)}
    with (
        tempfile.TemporaryDirectory(prefix="plantprint-bench-") as folder,
        meters_running(CONNECTIONS) as (ports, _),
        Forgetful(broker_url) as collector,
    ):
        path = write_agent(Path(folder), broker_url, sources(plant(CONNECTIONS, 0), ports, names))
        for _ in range(rounds):
            for kind, reports in found.items():
                reports.append(_measure(kind, path, seconds))
        if not collector.rows:
            raise BenchError("the agent delivered nothing")
    each = {kind: medians(reports) for kind, reports in found.items()}
    return {
        "connections": CONNECTIONS,
        **each,
        "ratio_to_bare": _ratio(found, "polls_per_s", AGENT, BARE),
        "ratio_to_bare_cpu": _ratio(found, "cpu_us_per_poll", BARE, AGENT),
        "ratio_to_bare_on_agents_loop": _ratio(found, "polls_per_s", AGENT, BARE_ON_AGENTS_LOOP),
        "ratio_to_bare_on_agents_loop_cpu": _ratio(found, "cpu_us_per_poll", BARE_ON_AGENTS_LOOP, AGENT),
        "points_ratio": round(each[BARE]["points_per_s"] / each[SINGLE]["points_per_s"], 2),
    }


def _ratio(found: Mapping[str, Sequence[Mapping[str, float]]], what: str, over: str, under: str) -> float:
    """The median over the rounds, each with its own company on the machine."""
    return median([a[what] / b[what] for a, b in zip(found[over], found[under], strict=True)])


def _measure(kind: str, path: Path, seconds: float) -> dict[str, float]:
    command = [sys.executable, "-m", "plantprint_cli.bench.edge_runner", kind, str(path), str(seconds)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60 + 2 * seconds)
    if done.returncode:
        raise BenchError(f"{kind}: {done.stderr.strip().splitlines()[-1:]}")
    report: dict[str, float] = json.loads(done.stdout)
    return report


def outbox(rounds: int, seconds: float) -> Json:
    """The outbox by itself, in turns with SQLite by itself, and how long a disk lasts."""
    ours, plain = zip(*(rows_per_s(seconds / 2) for _ in range(rounds)), strict=True)
    sizes = bytes_per_reading()
    return {
        "rows_per_s": median(ours, 0),
        "sqlite_rows_per_s": median(plain, 0),
        "ratio_to_sqlite": median([a / b for a, b in zip(ours, plain, strict=True)]),
        "bytes_per_reading": sizes,
        "days_per_gb_of_1000_readings_a_second": {name: round(days_per_gb(each), 2) for name, each in sizes.items()},
    }
