"""`bench ingest`: a broker full of chunks, drained by real collector processes into committed, deduplicated readings.

The clock runs from the moment a collector begins to connect to the last acknowledgement that an agent would get, which
follows the commit. The yardstick is COPY of the same readings, in the order in which they arrive, from bytes that are
ready, into a plain table with the same columns and key on the same server.
"""

import json
import os
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass

from plantprint.times import parse_instant
from plantprint.wire import topics
from plantprint_cli.bench.backlog import Acked, Backlog, filled, make_backlog, watched
from plantprint_cli.bench.common import (
    BenchError,
    Json,
    Servers,
    connect,
    cpu_s,
    fresh_database,
    medians,
    scalar,
    wait_until,
)
from plantprint_cli.bench.ingest_tables import Shape, check, copy_rates, postmaster, reshape, sizes
from plantprint_cli.embedded import Child
from plantprint_cli.parts import plantprint

_TIMEOUT_S = 120.0
_NO_TIMESCALE = "set PLANTPRINT_TEST_TIMESCALE_URL to a server with TimescaleDB where databases may be created"


@dataclass(frozen=True)
class Variant:
    """`server` is a DSN; without its key `reading` shows what the key costs, but takes a fact of two agents twice."""

    server: str
    shape: Shape = "partitioned"
    collectors: int = 1
    keyed: bool = True
    chunk_rows: int = 500

    @property
    def name(self) -> str:
        key = "" if self.keyed else " without key"
        plural = "s" if self.collectors > 1 else ""
        chunks = "" if self.chunk_rows == 500 else f", chunks of {self.chunk_rows}"
        return f"{self.shape}{key}, {self.collectors} collector{plural}{chunks}"


def run(servers: Servers, *, full: bool, seconds: int = 0, meters: int = 2000) -> Json:
    """All variants in alternation, each with its yardsticks; every number is the median over the rounds."""
    seconds = seconds or (800 if full else 400)
    timescale = os.environ.get("PLANTPRINT_TEST_TIMESCALE_URL")
    variants = _variants(servers.postgres.dsn, timescale)
    backlogs = {size: make_backlog(meters, seconds, size) for size in {v.chunk_rows for v in variants}}
    samples: dict[Variant, list[dict[str, float]]] = {v: [] for v in variants}
    for _ in range(5 if full else 3):
        for variant in variants:
            samples[variant].append(measure(servers, variant, backlogs[variant.chunk_rows]))
    found = {variant: medians(runs) for variant, runs in samples.items()}
    report: Json = {
        **_best(found, keyed=True),
        "without_key": _best(found, keyed=False),
        "broker": servers.broker_name,
        "readings": backlogs[500].readings,
        "meters": meters,
        "rounds": len(samples[variants[0]]),
        "variants": {variant.name: {"bytes_per_reading_compressed": None} | found[variant] for variant in variants},
    }
    return report | (
        {"timescale": _server(timescale)} if timescale else {"not_measured": {"hypertable": _NO_TIMESCALE}}
    )


def _variants(own: str, timescale: str | None) -> list[Variant]:
    shapes: list[tuple[str, Shape, bool]] = [(own, "plain", True), (own, "partitioned", True), (own, "plain", False)]
    if timescale:
        shapes.insert(2, (timescale, "hypertable", True))
    pairs = [Variant(server, shape, n, keyed) for server, shape, keyed in shapes for n in (1, 2)]
    return [*pairs, Variant(own, chunk_rows=50)]


def _best(found: dict[Variant, dict[str, float]], *, keyed: bool) -> Json:
    """The variant that comes nearest to COPY into a plain table with a key."""
    best = max((v for v in found if v.keyed == keyed), key=lambda v: found[v]["ratio_to_copy"])
    names = ("ratio_to_copy", "readings_per_s")
    return {**{name: found[best][name] for name in names}, "best_variant": best.name}


def _server(dsn: str) -> Json:
    """What the numbers of a server that is not ours depend on."""
    with connect(dsn) as conn:
        names = ("server_version", "fsync", "synchronous_commit", "shared_buffers")
        version = "select default_version from pg_available_extensions where name = 'timescaledb'"
        return {"timescaledb": scalar(conn, version), **{name: scalar(conn, f"show {name}") for name in names}}


def measure(servers: Servers, variant: Variant, backlog: Backlog) -> dict[str, float]:
    """One drain, checked to the last reading, and its yardsticks right after in the same database."""
    with fresh_database(variant.server) as dsn:
        reshape(dsn, variant.shape, keyed=variant.keyed)
        found = _drain(servers, variant, backlog, dsn)
        with connect(dsn) as conn:
            check(conn, backlog)
            found |= sizes(conn, backlog) | copy_rates(conn, backlog)
    best = max(found["copy_text_per_s"], found["copy_binary_per_s"])
    ratios = {
        "ratio_to_copy": found["readings_per_s"] / best,
        "ratio_same_table": found["readings_per_s"] / found["copy_same_table_per_s"],
    }
    return ratios | found


def _drain(servers: Servers, variant: Variant, backlog: Backlog, dsn: str) -> dict[str, float]:
    slots = [topics.SLOTS[i :: variant.collectors] for i in range(variant.collectors)]
    database = postmaster(dsn)
    with ExitStack() as stack:
        names = stack.enter_context(filled(servers.broker.url, [filters(part) for part in slots], backlog))
        acked = stack.enter_context(watched(servers.broker.url, backlog))
        collectors = [_collector(servers, dsn, name, part) for name, part in zip(names, slots, strict=True)]
        for collector in collectors:
            stack.callback(collector.stop)
        before_s = cpu_s(database) if database else 0.0
        for collector in collectors:
            collector.start()
        wait_until("everything is committed and acknowledged", lambda: _complete(acked, collectors), _TIMEOUT_S)
        elapsed_s = acked.last_s - min(began_s(collector) for collector in collectors)
        used_s = {"collector": sum(cpu_s(_pid(collector)) for collector in collectors)}
        if database:
            used_s["database"] = cpu_s(database) - before_s
    per_reading = {f"{name}_cpu_us_per_reading": s / backlog.readings * 1e6 for name, s in used_s.items()}
    return {"readings_per_s": backlog.readings / elapsed_s} | per_reading


def filters(slots: str) -> list[str]:
    """What a collector of these slots subscribes to."""
    return [topics.up_filter(slot) for slot in slots]


def _collector(servers: Servers, dsn: str, client_id: str, slots: str) -> Child:
    env = servers.environment(dsn, PLANTPRINT_COLLECTOR_CLIENT_ID=client_id, PLANTPRINT_COLLECTOR_SLOTS=slots)
    return Child(client_id, plantprint(env, "collect", "--intake-only"), servers.instance.log(client_id))


def _pid(child: Child) -> int:
    assert child.pid is not None
    return child.pid


def _complete(acked: Acked, collectors: Sequence[Child]) -> bool:
    for collector in collectors:
        if not collector.is_alive():
            raise BenchError(str(collector.failure("ended")))
    return acked.complete()


def began_s(service: Child) -> float:
    """Wall time at which its log says that it starts to connect; importing Python modules is not ingest."""
    begun = _begun(service)
    if not begun:
        raise BenchError(str(service.failure("does not say when it began")))
    return parse_instant(begun[0]) / 1000


def runs(service: Child) -> int:
    """How often it has begun, by its log."""
    return len(_begun(service))


def _begun(service: Child) -> list[str]:
    assert service.log is not None
    events = (json.loads(line) for line in service.log.tail(1000, 0).splitlines() if line.startswith("{"))
    return [event["timestamp"] for event in events if event["event"] in {"collector runs", "peer runs"}]
