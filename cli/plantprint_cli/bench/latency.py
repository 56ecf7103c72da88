"""`bench latency`: from the instant of a reading to the moment when a client of the event stream holds a figure with it.

Gateways of 100 meters send over MQTT as edge agents do (a chunk waits at most 250 ms). Every gateway is a line of four
machines and one probe: a work unit that a single meter feeds and one batch occupies, so that the batch's exact amount
tells which readings are in it. The probes' meters fall due at different instants of the second, as all do.
"""

import json
import threading
import time
from contextlib import ExitStack
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any
from urllib.request import urlopen

import numpy as np
from numpy.typing import NDArray

from plantprint.facts import ProductionEvent
from plantprint.plant.model import Plant
from plantprint.times import SiteClock
from plantprint_cli import setup
from plantprint_cli.bench import passes
from plantprint_cli.bench.common import BenchError, Conn, Json, Servers, connect, cpu_s, fresh_database, wait_until
from plantprint_cli.embedded import Child
from plantprint_cli.parts import Collector, Page, plantprint
from plantprint_collector import store

SITE = "load"
_METERS_PER_GATEWAY = 100
_PROBES_MAX = 40  # the stream's filter takes 50 names
_MACHINES = 4
_WARM_UP_S = 8.0  # agents connect, channels are declared, meters are new
_PASSES_S = 6
_TAIL_S = 2.0
_READY_S = 60.0
_COUNTS_PER_KWH = 100  # of the load's counters


@dataclass(frozen=True)
class Probe:
    """A meter whose counter grows by `step` with each reading, alone behind a batch."""

    batch: str
    agent: str
    number: int

    @property
    def step(self) -> int:
        """As `plantprint load` makes it."""
        return 1 + (self.number * 7919 + 7) % 97


@dataclass
class Seen:
    """What the stream said: per batch (wall ms, kWh) in order, and when the plant's row came."""

    amounts: dict[str, list[tuple[float, Decimal]]] = field(default_factory=dict)
    plant_ms: list[float] = field(default_factory=list)

    def take(self, event: Json) -> None:
        """One event of the stream, at this moment."""
        now_ms = time.time() * 1000
        if event["id"] == SITE:
            self.plant_ms.append(now_ms)
        elif (grid := event.get("by_source", {}).get("grid")) is not None:
            self.amounts.setdefault(event["id"], []).append((now_ms, Decimal(grid["amount"])))


def run(servers: Servers, *, full: bool, sizes: tuple[int, ...] = (), seconds: int = 0) -> Json:
    """One run per number of meters, each with a database and processes of its own."""
    sizes = sizes or ((1000, 5000, 10_000) if full else (1000, 5000))
    seconds = seconds or (40 if full else 20)
    return {
        "broker": servers.broker_name,
        "seconds": seconds,
        "modbus_meters": 0,
        "results": [measure(servers, meters, seconds) for meters in sizes],
    }


def measure(servers: Servers, meters: int, seconds: int) -> Json:
    gateways = max(meters // _METERS_PER_GATEWAY, 1)
    probes = [_probe(number) for number in range(gateways)]
    with ExitStack() as stack:
        dsn = stack.enter_context(fresh_database(servers.postgres.dsn))
        conn = stack.enter_context(connect(dsn))
        _set_up(conn, servers, dsn, probes)
        env = servers.environment(dsn, PLANTPRINT_COLLECTOR_CLIENT_ID=f"bench-latency-{meters}")
        port = servers.instance.port("api")
        page = Page(plantprint(env, "serve", "--port", str(port)), servers.instance, f"http://127.0.0.1:{port}")
        amounts = ("--meters", str(gateways * _METERS_PER_GATEWAY), "--agents", str(gateways), "--for", f"{seconds}s")
        load = Child("load", plantprint(env, "load", *amounts, "--json"), servers.instance.log("load"))
        parts: dict[str, Child] = {"collector": Collector(env, servers.instance), "api": page, "load": load}
        for name in ("collector", "api"):
            stack.enter_context(parts[name])
        seen = _listen(stack, port, probes[:_PROBES_MAX])
        stack.enter_context(load)
        parts |= {"broker": servers.broker, "database": servers.postgres}
        time.sleep(_warm_up_s(seconds))
        before, began_s = _cpu(parts), time.monotonic()
        time.sleep(max(seconds - _warm_up_s(seconds) - _TAIL_S, 1.0))
        used, elapsed_s = _cpu(parts), time.monotonic() - began_s
        wait_until("the load is done", lambda: not load.is_alive(), _READY_S)
        shares = {name: round((used[name] - before[name]) / elapsed_s, 2) for name in parts}
        result = {"meters": meters, **_shown(conn, probes[:_PROBES_MAX], seen, seconds), **_committed(load),
                  "cpu_by_process": shares}  # fmt: skip
    return result | _passes(servers, probes)


def _warm_up_s(seconds: int) -> float:
    return min(_WARM_UP_S, seconds / 2)


def _passes(servers: Servers, probes: list[Probe]) -> Json:
    """What a pass costs by itself, everything else left out."""
    plant = Plant.model_validate(_plant(probes)).model_dump(mode="json", by_alias=True)
    channels = [(p.agent, f"m{number:05d}.energy") for p in probes for number in range(_METERS_PER_GATEWAY)]
    return passes.measure(servers, SITE, plant, channels, _PASSES_S)


def _probe(number: int) -> Probe:
    return Probe(f"probe-{number + 1}", f"load-{number + 1}", number * 37 % _METERS_PER_GATEWAY)


def _set_up(conn: Conn, servers: Servers, dsn: str, probes: list[Probe]) -> None:
    file = servers.instance.path / "bench-plant.yaml"
    file.write_text(json.dumps(_plant(probes)), encoding="utf-8")
    setup.prepare(dsn, file, SiteClock())
    # Long before the first bucket with readings, of which a later start would leave a part to nobody.
    start_ms = time.time_ns() // 1_000_000 - 600_000
    jobs = [(p.batch, f"{p.agent}-probe") for p in probes]
    jobs += [(f"lot-{p.agent}", f"{p.agent}-m{i}") for p in probes for i in range(_MACHINES)]
    for number, (batch, unit) in enumerate(jobs):
        body: dict[str, Any] = {"job": f"job-{number}", "batch": batch, "work_unit": unit}
        store.insert_event(conn, SITE, ProductionEvent("bench", f"start-{number}", 0, "job_start", start_ms, body))


def _plant(probes: list[Probe]) -> Json:
    """A line per gateway; each of its machines takes what a quarter of the other meters count."""
    lines, meters, flows = [], [], []
    for probe in probes:
        units = [f"{probe.agent}-m{i}" for i in range(_MACHINES)]
        named = [{"id": unit, "name": {"en": unit}} for unit in (*units, f"{probe.agent}-probe")]
        lines.append({"id": probe.agent, "name": {"en": probe.agent}, "work_units": named})
        behind: dict[str, list[str]] = {unit: [] for unit in units}
        for number in range(_METERS_PER_GATEWAY):
            meter = f"{probe.agent}-{number}"
            bindings = [{"channel": f"{probe.agent}/m{number:05d}.energy"}]
            meters.append({"id": meter, "name": {"en": meter}, "unit": "kWh", "bindings": bindings})
            if number == probe.number:
                flows.append({"from": "grid", "to": f"{probe.agent}-probe", "amount": meter})
            else:
                behind[units[number % _MACHINES]].append(meter)
        flows += [{"from": "grid", "to": unit, "amount": " + ".join(terms)} for unit, terms in behind.items()]
    grid = {
        "id": "grid",
        "name": {"en": "Grid"},
        "unit": "kWh",
        "kind": "grid",
        "factor": "cn.grid.2023.zhejiang",
        "scope": 2,
    }
    return {"plantprint": 1, "site": {"id": SITE, "name": {"en": "Bench"}}, "bucket_s": 10, "work_centers": lines,
            "sources": [grid], "meters": meters, "flows": flows}  # fmt: skip


def _listen(stack: ExitStack, port: int, probes: list[Probe]) -> Seen:
    """A client of the event stream in a thread of its own, until the stack closes."""
    seen = Seen()
    names = "".join(f"&id={name}" for name in (SITE, *(p.batch for p in probes)))
    answer = stack.enter_context(
        urlopen(f"http://127.0.0.1:{port}/v1/stream?site={SITE}&kind=plant&kind=batch{names}", timeout=60)
    )
    ending = threading.Event()
    stack.callback(ending.set)

    def read() -> None:
        try:
            for line in answer:
                if line.startswith(b"data:"):
                    seen.take(json.loads(line[5:]))
        except (OSError, ValueError, AttributeError):
            if not ending.is_set():
                raise

    threading.Thread(target=read, name="stream client", daemon=True).start()
    return seen


def _cpu(parts: dict[str, Child]) -> dict[str, float]:
    """Processor seconds of each part up to now."""
    return {name: cpu_s(child.pid) for name, child in parts.items() if child.pid is not None}


def _committed(load: Child) -> Json:
    """What the load itself measured: to the acknowledgement, which follows the commit."""
    assert load.log is not None
    for line in reversed(load.log.tail(50).splitlines()):
        if line.startswith('{"agents"'):
            report = json.loads(line)
            return {
                "committed_p50_ms": report["latency_ms_p50"], "committed_p99_ms": report["latency_ms_p99"],
                "readings_per_s": report["rows_per_s"], "lost": report["lost"], "duplicates": report["duplicates"],
            }  # fmt: skip
    raise BenchError(str(load.failure("left no report")))


def _shown(conn: Conn, probes: list[Probe], seen: Seen, seconds: int) -> Json:
    """Latency of the probes' readings after the warm-up; those never shown count as infinitely late."""
    found: list[NDArray[np.float64]] = []
    for probe in probes:
        channel = f"m{probe.number:05d}.energy"
        rows = conn.execute(
            "select extract(epoch from measured_at)::float8 * 1000 from reading join channel using (channel_id)"
            " where site = %s and agent = %s and name = %s order by measured_at",
            (SITE, probe.agent, channel),
        ).fetchall()
        at_ms = np.array([row[0] for row in rows])
        judged = np.arange(round(_warm_up_s(seconds)), min(len(at_ms), seconds - round(_TAIL_S)))
        told = seen.amounts.get(probe.batch, [])
        counted = np.array([float(amount * _COUNTS_PER_KWH) / probe.step for _, amount in told])
        wall_ms = np.array([*(ms for ms, _ in told), np.inf])
        # The first figure that contains reading k; amounts never shrink while nothing is corrected.
        first = [int(np.argmax(counted >= k - 0.01)) if (counted >= k - 0.01).any() else len(told) for k in judged]
        found.append(wall_ms[first] - at_ms[judged])
    latency_ms = np.concatenate(found)
    every_ms = np.diff(np.array(seen.plant_ms))
    return {
        "p50_ms": _percentile(latency_ms, 50), "p99_ms": _percentile(latency_ms, 99), "max_ms": _percentile(latency_ms, 100),
        "judged": len(latency_ms), "never_shown": int(np.isinf(latency_ms).sum()),
        "picture_every_ms_p50": _percentile(every_ms, 50), "picture_every_ms_p99": _percentile(every_ms, 99),
    }  # fmt: skip


def _percentile(values: NDArray[np.float64], percent: int) -> int | None:
    """Of a list that may hold infinities; None for one of them, or without values."""
    if not len(values):
        return None
    value = float(np.percentile(values, percent, method="higher"))
    return None if np.isinf(value) else round(value)
