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
from time import monotonic

from plantprint.times import from_ms, parse_instant
from plantprint.wire import topics
from plantprint_cli.bench.backlog import SITE, Acked, Backlog, filled, make_backlog, watched
from plantprint_cli.bench.common import (
    BenchError,
    Conn,
    Json,
    Servers,
    connect,
    cpu_s,
    fresh_database,
    medians,
    scalar,
    wait_until,
)
from plantprint_cli.embedded import Child
from plantprint_cli.parts import plantprint
from plantprint_collector import rows as r

_TIMEOUT_S = 120.0
_BLOCK_BYTES = 1 << 18


@dataclass(frozen=True)
class Variant:
    """`server` is a DSN; its tier says whether `reading` is partitioned or a hypertable."""

    name: str
    server: str
    collectors: int = 1
    chunk_rows: int = 500


def run(servers: Servers, *, full: bool, seconds: int = 0, meters: int = 2000) -> Json:
    """All variants in alternation, each with its yardsticks; every number is the median over the rounds."""
    seconds = seconds or (400 if full else 150)
    variants = _variants(servers)
    backlogs = {size: make_backlog(meters, seconds, size) for size in {v.chunk_rows for v in variants}}
    samples: dict[str, list[dict[str, float]]] = {v.name: [] for v in variants}
    for _ in range(5 if full else 3):
        for variant in variants:
            samples[variant.name].append(measure(servers, variant, backlogs[variant.chunk_rows]))
    found = {name: medians(runs) for name, runs in samples.items()}
    first = found[variants[0].name]
    return {
        "ratio_to_copy": first["ratio_to_copy"],
        "readings_per_s": first["readings_per_s"],
        "broker": servers.broker_name,
        "readings": backlogs[variants[0].chunk_rows].readings,
        "meters": meters,
        "rounds": len(samples[variants[0].name]),
        "variants": found,
    }


def _variants(servers: Servers) -> list[Variant]:
    own = servers.postgres.dsn
    found = [
        Variant("partitions, 1 collector", own),
        Variant("partitions, 2 collectors", own, collectors=2),
        Variant("partitions, 1 collector, chunks of 50", own, chunk_rows=50),
    ]
    if url := os.environ.get("PLANTPRINT_TEST_TIMESCALE_URL"):
        found += [Variant("hypertable, 1 collector", url), Variant("hypertable, 2 collectors", url, collectors=2)]
    return found


def measure(servers: Servers, variant: Variant, backlog: Backlog) -> dict[str, float]:
    with fresh_database(variant.server) as dsn:
        found = _drain(servers, variant, backlog, dsn)
        with connect(dsn) as conn:
            found["bytes_per_reading"] = check(conn, backlog)
            text, binary = _text(backlog), r.copy_bytes(backlog.rows)
            found["copy_text_per_s"] = _copy_rate(conn, "plain", "text", text, backlog)
            found["copy_binary_per_s"] = _copy_rate(conn, "plain", "binary", binary, backlog)
            found["copy_same_table_per_s"] = _copy_rate(conn, "reading", "binary", binary, backlog)
    best = max(found["copy_text_per_s"], found["copy_binary_per_s"])
    ratios = {
        "ratio_to_copy": found["readings_per_s"] / best,
        "ratio_same_table": found["readings_per_s"] / found["copy_same_table_per_s"],
    }
    return ratios | found


def _drain(servers: Servers, variant: Variant, backlog: Backlog, dsn: str) -> dict[str, float]:
    slots = [topics.SLOTS[i :: variant.collectors] for i in range(variant.collectors)]
    with ExitStack() as stack:
        names = stack.enter_context(filled(servers.broker.url, [filters(part) for part in slots], backlog))
        acked = stack.enter_context(watched(servers.broker.url, backlog))
        collectors = [_collector(servers, dsn, name, part) for name, part in zip(names, slots, strict=True)]
        for collector in collectors:
            stack.callback(collector.stop)
        before_s = cpu_s(_pid(servers.postgres))
        for collector in collectors:
            collector.start()
        wait_until("everything is committed and acknowledged", lambda: _complete(acked, collectors), _TIMEOUT_S)
        elapsed_s = acked.last_s - min(began_s(collector) for collector in collectors)
        collector_s = sum(cpu_s(_pid(collector)) for collector in collectors)
        database_s = cpu_s(_pid(servers.postgres)) - before_s
    return {
        "readings_per_s": backlog.readings / elapsed_s,
        "collector_cpu_us_per_reading": collector_s / backlog.readings * 1e6,
        "database_cpu_us_per_reading": database_s / backlog.readings * 1e6,
    }


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


def check(conn: Conn, backlog: Backlog) -> float:
    """Every reading is stored once, with its value, `latest` and marks; returns the bytes it takes, index included."""
    stored = conn.execute(
        "select count(*), sum(value), count(distinct channel_id) from reading join channel using (channel_id)"
        " where site = %s",
        (SITE,),
    ).fetchone()
    wanted = (backlog.readings, int(backlog.rows[:, r.VALUE].sum()), backlog.channels)
    if stored != wanted:
        raise BenchError(f"stored are (readings, sum of values, channels) {stored} instead of {wanted}")
    newest = scalar(conn, "select count(*) from latest where measured_at > %s", (_last_at(backlog),))
    if newest != backlog.channels or not scalar(conn, "select count(*) from dirty"):
        raise BenchError(f"`latest` is complete for {newest} of {backlog.channels} channels, or no mark was left")
    size = scalar(
        conn,
        "select sum(pg_total_relation_size(c.oid)) from pg_class c where c.relkind = 'r' and (c.relname like 'reading\\_2%%'"
        " or c.relname like '\\_hyper\\_%%')",
    )
    return float(size) / backlog.readings


def _last_at(backlog: Backlog) -> object:
    return from_ms(int(backlog.rows[:, r.T].max()) - 1000)


def _text(backlog: Backlog) -> bytes:
    lines = (
        f"{from_ms(t).isoformat()}\t{value}\t{channel}\t{quality}\t{revision}"
        for channel, t, value, quality, revision in backlog.rows.tolist()
    )
    return ("\n".join(lines) + "\n").encode()


def _copy_rate(conn: Conn, table: str, form: str, data: bytes, backlog: Backlog) -> float:
    """Readings per second of one COPY and its commit into the emptied table."""
    if table == "plain":
        conn.execute("drop table if exists plain")
        conn.execute("create table plain (measured_at timestamptz not null, value bigint not null, channel_id integer not null,"
                     " quality smallint not null, revision smallint not null, primary key (channel_id, measured_at))")  # fmt: skip
    else:
        conn.execute(f"truncate {table}")
    conn.execute("checkpoint")
    began_s = monotonic()
    with conn.cursor() as cursor, cursor.copy(f"copy {table} ({r.COPY_COLUMNS}) from stdin (format {form})") as copy:
        for begin in range(0, len(data), _BLOCK_BYTES):
            copy.write(data[begin : begin + _BLOCK_BYTES])
    return backlog.readings / (monotonic() - began_s)
