"""What `bench ingest` stores into and compares with: the shapes of `reading`, its size, COPY of the same rows."""

from pathlib import Path
from time import monotonic
from typing import Literal

from plantprint.times import from_ms
from plantprint_cli.bench.backlog import SITE, Backlog
from plantprint_cli.bench.common import BenchError, Conn, connect, scalar
from plantprint_collector import rows as r
from plantprint_collector.migrate import recorded_tier

Shape = Literal["plain", "partitioned", "hypertable"]
_BLOCK_BYTES = 1 << 18
_PLAIN_COLUMNS = (
    "(measured_at timestamptz not null, value bigint not null, channel_id integer not null,"
    " quality smallint not null, revision smallint not null, primary key (channel_id, measured_at))"
)
_PLAIN = """
create table plain_reading (like reading including all);
drop table reading;
alter table plain_reading rename to reading;
create or replace function pp_make_room(rel regclass, day timestamptz, months_before timestamptz) returns integer
    language sql as 'select 0'
"""
_KEY = "select conname from pg_constraint where conrelid = 'reading'::regclass and contype = 'p'"
# The table, its days, and on TimescaleDB their compressed twins.
_BYTES = """
select sum(pg_total_relation_size(oid)) from pg_class where relkind = 'r' and (relname = 'reading'
    or relname like 'reading\\_2%%' or relname like '\\_hyper\\_%%' or relname like 'compress\\_hyper\\_%%')
"""


def reshape(dsn: str, shape: Shape, *, keyed: bool) -> None:
    """Makes the empty `reading` of a migrated database what is to be measured; the collector notices no difference."""
    with connect(dsn) as conn:
        is_hypertable = recorded_tier(conn) != "native"
        if is_hypertable != (shape == "hypertable"):
            raise BenchError(f"{shape}: that server's tier is {recorded_tier(conn)!r}")
        if shape == "plain":
            conn.execute(_PLAIN)
        if not keyed:
            conn.execute(f'alter table reading drop constraint "{scalar(conn, _KEY)}"'.encode())


def check(conn: Conn, backlog: Backlog) -> None:
    """Every reading is stored once, with its value, `latest` and marks; else it raises `BenchError`."""
    stored = conn.execute(
        "select count(*), sum(value), count(distinct channel_id) from reading join channel using (channel_id)"
        " where site = %s",
        (SITE,),
    ).fetchone()
    wanted = (backlog.readings, int(backlog.rows[:, r.VALUE].sum()), backlog.channels)
    if stored != wanted:
        raise BenchError(f"stored are (readings, sum of values, channels) {stored} instead of {wanted}")
    last_at = from_ms(int(backlog.rows[:, r.T].max()) - 1000)
    newest = scalar(conn, "select count(*) from latest where measured_at > %s", (last_at,))
    if newest != backlog.channels or not scalar(conn, "select count(*) from dirty"):
        raise BenchError(f"`latest` is complete for {newest} of {backlog.channels} channels, or no mark was left")


def sizes(conn: Conn, backlog: Backlog) -> dict[str, float]:
    """Bytes per reading as stored, index included, and after compression where the tier has a columnstore."""
    found = {"bytes_per_reading": float(scalar(conn, _BYTES)) / backlog.readings}
    if recorded_tier(conn) == "tsl":
        while scalar(conn, "select pp_compress_before('reading', now())"):
            pass  # a day at a time
        found["bytes_per_reading_compressed"] = float(scalar(conn, _BYTES)) / backlog.readings
    return found


def copy_rates(conn: Conn, backlog: Backlog) -> dict[str, float]:
    """Readings per second of COPY, in the order of arrival, into a plain keyed table and into `reading`, which it empties."""
    binary = r.copy_bytes(backlog.rows)
    return {
        "copy_text_per_s": _copy_rate(conn, "plain", "text", _text(backlog), backlog),
        "copy_binary_per_s": _copy_rate(conn, "plain", "binary", binary, backlog),
        "copy_same_table_per_s": _copy_rate(conn, "reading", "binary", binary, backlog),
    }


def postmaster(dsn: str) -> int | None:
    """The process that a server's sessions descend from, where it runs on this machine."""
    with connect(dsn) as conn:
        host, session = conn.info.host, Path(f"/proc/{conn.info.backend_pid}")
        if not host.startswith("/") and host not in ("127.0.0.1", "localhost", "::1"):
            return None
        try:
            if b"postgres" not in (session / "cmdline").read_bytes():
                return None
            return int((session / "stat").read_text(encoding="utf-8").rpartition(")")[2].split()[1])
        except OSError:
            return None


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
        conn.execute(f"create table plain {_PLAIN_COLUMNS}".encode())
    else:
        conn.execute(f"truncate {table}".encode())
    conn.execute("checkpoint")
    began_s = monotonic()
    with conn.cursor() as cursor, cursor.copy(f"copy {table} ({r.COPY_COLUMNS}) from stdin (format {form})") as copy:
        for begin in range(0, len(data), _BLOCK_BYTES):
            copy.write(data[begin : begin + _BLOCK_BYTES])
    return backlog.readings / (monotonic() - began_s)
