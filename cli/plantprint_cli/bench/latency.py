"""`bench latency`: from the instant of a reading to the moment when a client of the event stream holds a figure with it.

Up to 500 meters are read by the shipped edge agent over Modbus TCP, the others send over MQTT as edge agents do (a chunk
waits at most 250 ms), 100 behind a gateway. The site's clock is set so that an hour ends, and is settled, in between.
"""

import json
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, field, replace
from decimal import Decimal
from pathlib import Path
from tempfile import TemporaryDirectory
from urllib.request import urlopen

from plantprint.plant.model import Plant
from plantprint.times import HOUR_MS, SiteClock, from_ms, hour_floor
from plantprint_cli.bench import history, latency_plant, passes
from plantprint_cli.bench.common import (
    BenchError,
    Conn,
    Json,
    Servers,
    connect,
    cpu_s,
    fresh_database,
    scalar,
    wait_until,
)
from plantprint_cli.bench.edge_meters import ENERGY
from plantprint_cli.bench.edge_meters import plant as modbus_plant
from plantprint_cli.bench.edge_plant import meters_running, sources, write_agent
from plantprint_cli.bench.latency_figures import Run, figures
from plantprint_cli.bench.latency_plant import METERS_PER_LINE, MODBUS_AGENT, SITE, Line, Probe
from plantprint_cli.embedded import Child
from plantprint_cli.parts import Collector, Page, plantprint
from plantprint_collector import store

_MODBUS_METERS = 500
_PROBES_MAX = 49  # the stream's filter takes 50 names, the plant is one
_BEFORE = 0.4  # of the judged time is before the hour's end, so that settling comes well before its own end
_SETTLING_IN_S = 3.0  # agents have connected, meters are known
_PASSES_S = 6
_TAIL_S = 2.0
_READY_S = 180.0


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
    """One run per number of meters, each with a database and processes of its own; `seconds` of it are judged."""
    sizes = sizes or ((1000, 5000, 10_000) if full else (1000, 5000))
    seconds = seconds or (30 if full else 15)
    return {
        "broker": servers.broker_name,
        "seconds": seconds,
        "results": [measure(servers, meters, seconds) for meters in sizes],
    }


def measure(servers: Servers, meters: int, seconds: int) -> Json:
    """Half of up to a thousand meters are read over Modbus, in whole lines."""
    modbus = min(_MODBUS_METERS, meters // 2 // METERS_PER_LINE * METERS_PER_LINE)
    lines = latency_plant.lines_of(meters, modbus)
    probes = latency_plant.probes(lines)[:_PROBES_MAX]
    hour_end_ms = hour_floor(_now_ms())
    with ExitStack() as stack:
        dsn = stack.enter_context(fresh_database(servers.postgres.dsn))
        conn = stack.enter_context(connect(dsn))
        latency_plant.set_up(conn, servers, dsn, lines, hour_end_ms)
        env = servers.environment(dsn, PLANTPRINT_COLLECTOR_CLIENT_ID=f"bench-latency-{meters}")
        port = servers.instance.port("api")
        page = Page(plantprint(env, "serve", "--port", str(port)), servers.instance, f"http://127.0.0.1:{port}")
        parts: dict[str, Child] = {"collector": Collector(env, servers.instance), "api": page}
        starting_s = time.monotonic()
        for child in parts.values():
            stack.enter_context(child)
        seen = _listen(stack, port, probes)
        # The agents will take about as long to start, and then must connect and read.
        lead_s = min(2 * (time.monotonic() - starting_s) + 2 * _SETTLING_IN_S + _BEFORE * seconds, history.QUIET_S - 5)
        began_ms = _now_ms()
        clock = SiteClock("run", began_ms, hour_end_ms - round(lead_s * 1000))
        store.set_clock(conn, SITE, clock)
        at_the_site = {**env, "PLANTPRINT_CLOCK": json.dumps(asdict(clock))}
        edge, meters_pid = stack.enter_context(_modbus(servers, at_the_site, modbus, began_ms))
        load_s = round(lead_s + seconds + _TAIL_S)
        load = stack.enter_context(_load(servers, at_the_site, meters - modbus, load_s))
        parts |= {"edge": edge, "load": load, "broker": servers.broker, "database": servers.postgres}
        pids = {"meters": meters_pid} | {name: child.pid for name, child in parts.items() if child.pid is not None}
        judged = Run(
            began_ms, clock, hour_end_ms, _await_meters(conn, clock, meters, hour_end_ms, seconds), meters, modbus
        )
        shares = _cpu_cores(pids, clock, judged.span_ms)
        wait_until("the load is done", lambda: not load.is_alive(), load_s + _READY_S)
        _wait_settled(conn, hour_end_ms - HOUR_MS)
        result = {"meters": meters, **figures(conn, judged, probes, seen.amounts, seen.plant_ms), **_committed(load),
                  "cpu_by_process": shares}  # fmt: skip
    return result | _passes(servers, lines)


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


def _await_meters(conn: Conn, clock: SiteClock, meters: int, hour_end_ms: int, seconds: int) -> tuple[int, int]:
    """Waits until all meters are read and it has gone on a while; the span to judge by the site's clock, ms."""
    query = (
        "select count(*) from latest join channel using (channel_id)"
        " where site = %s and kind = 'counter' and measured_at > %s"
    )
    since = from_ms(clock.site_origin_ms)
    wait_until("all meters are read", lambda: scalar(conn, query, (SITE, since)) == meters, _READY_S, 0.2)
    start_ms = max(
        clock.now_ms(_now_ms()) + round(_SETTLING_IN_S * 1000), hour_end_ms - round(_BEFORE * seconds * 1000)
    )
    end_ms = hour_end_ms + round((1 - _BEFORE) * seconds * 1000)
    if start_ms >= end_ms:
        raise BenchError("latency: the agents took so long to start that the hour had ended; is the machine very busy?")
    time.sleep((start_ms - clock.now_ms(_now_ms())) / 1000)
    return start_ms, end_ms


@contextmanager
def _modbus(servers: Servers, env: dict[str, str], meters: int, began_ms: int) -> Iterator[tuple[Child, int]]:
    """The shipped agent and the process of the meters that it reads once a second, their energy alone."""
    with (
        meters_running(meters, counts_from_ms=began_ms) as (ports, pid),
        TemporaryDirectory(prefix="plantprint-") as folder,
    ):
        read = sources(modbus_plant(meters, 0), ports, ENERGY)
        path = write_agent(Path(folder), servers.broker.url, read, site=SITE, agent=MODBUS_AGENT, drain_s=5)
        command = plantprint(env, "edge", "--config", str(path))
        with Child("edge", command, servers.instance.log("edge")) as edge:
            yield edge, pid


def _load(servers: Servers, env: dict[str, str], meters: int, seconds: int) -> Child:
    """Synthetic gateways of 100 meters."""
    amounts = ("--meters", str(meters), "--agents", str(meters // METERS_PER_LINE), "--for", f"{seconds}s")
    return Child("load", plantprint(env, "load", *amounts, "--json"), servers.instance.log("load"))


def _wait_settled(conn: Conn, hour_ms: int) -> None:
    """What is said to include settling an hour does."""
    query = "select count(*) from accounted_hour where site = %s and hour_at = %s"
    wait_until("the hour is settled", lambda: scalar(conn, query, (SITE, from_ms(hour_ms))) > 0, _READY_S)


def _passes(servers: Servers, lines: Sequence[Line]) -> Json:
    """What a pass costs by itself, everything else left out."""
    plant = Plant.model_validate(latency_plant.plant(lines)).model_dump(mode="json", by_alias=True)
    channels = [replace(channel, decimals=2) for channel in latency_plant.channels(lines)]
    return passes.measure(servers, SITE, plant, channels, _PASSES_S)


def _listen(stack: ExitStack, port: int, probes: Sequence[Probe]) -> Seen:
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


def _cpu_cores(pids: dict[str, int], clock: SiteClock, span_ms: tuple[int, int]) -> dict[str, float]:
    """Processor seconds a second of each part in the judged time, which begins now."""
    before, began_s = {name: cpu_s(pid) for name, pid in pids.items()}, time.monotonic()
    time.sleep(max(0.0, span_ms[1] - clock.now_ms(_now_ms())) / 1000)
    elapsed_s = time.monotonic() - began_s
    return {name: round((cpu_s(pid) - before[name]) / elapsed_s, 2) for name, pid in pids.items()}


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
