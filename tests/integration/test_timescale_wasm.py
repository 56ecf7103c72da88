"""The wire server over the WASM TimescaleDB: what the collector and the migrations rely on, and its known limits."""

import asyncio
import os
import shutil
import socket
import struct
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import psycopg
import pytest
from fixtures_timescale import (  # noqa: F401
    TimescaleServer,
    TimescaleUnavailableError,
    available_timescale,
    timescale,
    timescale_server,
)
from psycopg import errors
from psycopg.types.multirange import Int8Multirange
from psycopg.types.range import Int8Range

pytestmark = pytest.mark.timescale

START = datetime(2026, 3, 1, tzinfo=UTC)
POSTGRES_EPOCH = datetime(2000, 1, 1, tzinfo=UTC)
COPY_BINARY = "COPY reading (ts, meter_id, value) FROM STDIN (FORMAT BINARY)"

COPY_HEADER = b"PGCOPY\n\xff\r\n\x00" + struct.pack("!ii", 0, 0)
COPY_TRAILER = struct.pack("!h", -1)
COPY_ROW = np.dtype(
    [("fields", ">i2"), ("l1", ">i4"), ("ts", ">i8"), ("l2", ">i4"), ("meter", ">i4"), ("l3", ">i4"), ("value", ">i8")]
)


def binary_rows(count: int, *, meters: int = 10, offset: int = 0) -> bytes:
    """`count` readings of 1 s spacing per meter as one COPY BINARY stream, as the collector builds it with numpy."""
    number = np.arange(offset, offset + count)
    rows = np.zeros(count, COPY_ROW)
    rows["fields"], rows["l1"], rows["l2"], rows["l3"] = 3, 8, 4, 8
    first = int((START - POSTGRES_EPOCH).total_seconds()) * 1_000_000
    rows["ts"], rows["meter"], rows["value"] = first + number // meters * 1_000_000, number % meters, number
    return COPY_HEADER + rows.tobytes() + COPY_TRAILER


def copy_in(connection: psycopg.Connection, statement: str, *pieces: bytes) -> int:
    with connection.cursor() as cursor:
        with cursor.copy(statement) as copy:
            for piece in pieces:
                copy.write(piece)
        return cursor.rowcount


@pytest.fixture
def dsn(timescale: TimescaleServer) -> str:  # noqa: F811
    with psycopg.connect(timescale.dsn, autocommit=True) as connection:
        connection.execute("CREATE EXTENSION IF NOT EXISTS timescaledb")
        connection.execute("DROP TABLE IF EXISTS reading CASCADE")
    return timescale.dsn


@pytest.fixture
def connection(dsn: str) -> Iterator[psycopg.Connection]:
    with psycopg.connect(dsn, autocommit=True) as connection:
        yield connection


@pytest.fixture
def reading(connection: psycopg.Connection) -> psycopg.Connection:
    connection.execute(
        "CREATE TABLE reading (ts timestamptz NOT NULL, meter_id int NOT NULL, value bigint NOT NULL,"
        " PRIMARY KEY (meter_id, ts))"
    )
    connection.execute(
        "SELECT create_hypertable('reading', by_range('ts', INTERVAL '1 day'), create_default_indexes => false)"
    )
    return connection


def count(connection: psycopg.Connection) -> int:
    row = connection.execute("SELECT count(*) FROM reading").fetchone()
    assert row is not None
    return int(row[0])


# ---- TimescaleDB through the wire ----------------------------------------------------------------------------


def test_it_is_the_tsl_edition_on_postgresql_17(connection: psycopg.Connection) -> None:
    assert connection.info.server_version // 10_000 == 17
    assert connection.info.parameter_status("client_encoding") == "UTF8"
    row = connection.execute(
        "SELECT extversion, current_setting('timescaledb.license') FROM pg_extension WHERE extname = 'timescaledb'"
    ).fetchone()
    assert row is not None
    assert row[0].startswith("2.")
    assert row[1] == "timescale"


def test_hypertable_without_the_default_index(reading: psycopg.Connection) -> None:
    reading.execute("INSERT INTO reading VALUES (%s, 1, 10), (%s, 1, 20)", (START, START + timedelta(days=1)))
    indexes = reading.execute("SELECT indexname FROM pg_indexes WHERE tablename = 'reading'").fetchall()
    assert indexes == [("reading_pkey",)]
    chunks = reading.execute(
        "SELECT count(*) FROM timescaledb_information.chunks WHERE hypertable_name = 'reading'"
    ).fetchone()
    assert chunks == (2,)


def test_compression_late_rows_and_views(reading: psycopg.Connection) -> None:
    copy_in(reading, COPY_BINARY, binary_rows(5_000))
    reading.execute(
        "ALTER TABLE reading SET (timescaledb.compress, timescaledb.compress_segmentby = 'meter_id',"
        " timescaledb.compress_orderby = 'ts')"
    )
    reading.execute("SELECT compress_chunk(c) FROM show_chunks('reading') c")
    compressed = reading.execute(
        "SELECT is_compressed FROM timescaledb_information.chunks WHERE hypertable_name = 'reading'"
    ).fetchall()
    assert compressed == [(True,)]
    sizes = reading.execute(
        "SELECT before_compression_total_bytes, after_compression_total_bytes"
        " FROM hypertable_compression_stats('reading')"
    ).fetchone()
    assert sizes is not None
    assert sizes[1] < sizes[0] / 3

    late = reading.execute(
        "INSERT INTO reading VALUES (%s, 1, 1), (%s, 99, 1) ON CONFLICT DO NOTHING", (START, START + timedelta(hours=2))
    )
    assert late.rowcount == 1
    with pytest.raises(errors.UniqueViolation):
        reading.execute("INSERT INTO reading VALUES (%s, 1, 1)", (START,))
    assert count(reading) == 5_001

    reading.execute("SELECT drop_chunks('reading', %s::timestamptz)", (START + timedelta(days=30),))
    assert count(reading) == 0


def test_continuous_aggregate_refreshes_by_call(reading: psycopg.Connection) -> None:
    copy_in(reading, COPY_BINARY, binary_rows(6_000))
    reading.execute(
        "CREATE MATERIALIZED VIEW reading_minute WITH (timescaledb.continuous) AS"
        " SELECT time_bucket('1 minute', ts) AS bucket, meter_id, count(*) AS n FROM reading GROUP BY 1, 2"
        " WITH NO DATA"
    )
    reading.execute("CALL refresh_continuous_aggregate('reading_minute', NULL, NULL)")
    assert reading.execute("SELECT sum(n), count(*) FROM reading_minute").fetchone() == (6_000, 100)


# ---- COPY ----------------------------------------------------------------------------------------------------


def test_copy_binary_of_a_numpy_buffer(reading: psycopg.Connection) -> None:
    assert copy_in(reading, COPY_BINARY, binary_rows(20_000)) == 20_000
    assert reading.execute("SELECT count(*), min(ts), sum(value) FROM reading").fetchone() == (
        20_000,
        START,
        sum(range(20_000)),
    )


def test_copy_by_rows_and_text(reading: psycopg.Connection) -> None:
    with reading.cursor() as cursor:
        with cursor.copy(COPY_BINARY) as copy:
            copy.set_types(["timestamptz", "int4", "int8"])
            for second in range(5):
                copy.write_row((START + timedelta(seconds=second), 1, second))
        with cursor.copy("""/* text */ copy "reading" from stdin (delimiter ';');""") as copy:
            for second in range(5, 10):
                copy.write(f"{START + timedelta(seconds=second)};1;{second}\n")
    assert count(reading) == 10


def test_copy_out(reading: psycopg.Connection) -> None:
    copy_in(reading, COPY_BINARY, binary_rows(3_000))
    with reading.cursor().copy("COPY (SELECT value FROM reading ORDER BY value) TO STDOUT") as copy:
        assert [int(line[0]) for line in copy.rows()] == list(range(3_000))
    with reading.cursor().copy("COPY reading TO STDOUT (FORMAT BINARY)") as copy:
        assert b"".join(copy).startswith(COPY_HEADER[:11])


def test_duplicates_roll_back_to_the_savepoint_and_go_through_staging(reading: psycopg.Connection) -> None:
    copy_in(reading, COPY_BINARY, binary_rows(100))
    batch = binary_rows(200)  # the first half is stored already
    with reading.transaction():
        with pytest.raises(errors.UniqueViolation) as caught, reading.transaction():
            copy_in(reading, COPY_BINARY, batch)
        assert caught.value.sqlstate == "23505"
        assert caught.value.diag.context is not None
        reading.execute("CREATE TEMP TABLE stage (LIKE reading) ON COMMIT DROP")
        assert copy_in(reading, COPY_BINARY.replace("reading", "stage"), batch) == 200
        stored = reading.execute("INSERT INTO reading SELECT * FROM stage ON CONFLICT DO NOTHING RETURNING value")
        assert sorted(stored.fetchall()) == [(value,) for value in range(100, 200)]
    assert count(reading) == 200


def test_copy_errors_carry_their_sqlstate_and_leave_the_session_usable(reading: psycopg.Connection) -> None:
    with pytest.raises(errors.InvalidDatetimeFormat):
        copy_in(reading, "COPY reading FROM STDIN", b"not a time\t1\t1\n")
    with pytest.raises(errors.UndefinedTable):
        copy_in(reading, "COPY missing FROM STDIN", b"1\n")
    with pytest.raises(errors.BadCopyFileFormat):
        copy_in(reading, COPY_BINARY, b"short")
    assert count(reading) == 0


def test_a_client_that_breaks_off_its_copy_fails_the_transaction(reading: psycopg.Connection) -> None:
    with pytest.raises(ZeroDivisionError), reading.transaction():
        break_off_copy(reading)

    reading.execute("BEGIN")
    libpq = start_copy(reading)
    libpq.put_copy_end(b"it's enough")
    result = libpq.get_result()
    assert result is not None
    assert result.error_field(psycopg.pq.DiagnosticField.SQLSTATE) == b"57014"
    assert result.error_field(psycopg.pq.DiagnosticField.MESSAGE_PRIMARY) == b"COPY from stdin failed: it's enough"
    assert libpq.get_result() is None
    assert reading.info.transaction_status == psycopg.pq.TransactionStatus.INERROR
    reading.execute("ROLLBACK")
    assert count(reading) == 0


def break_off_copy(connection: psycopg.Connection) -> None:
    with connection.cursor().copy(COPY_BINARY) as copy:
        copy.write(binary_rows(10))
        raise ZeroDivisionError


def test_copy_inside_another_query_is_refused_not_fatal(reading: psycopg.Connection) -> None:
    with pytest.raises(errors.FeatureNotSupported):
        reading.execute("BEGIN; COPY reading FROM STDIN")
    with pytest.raises(errors.FeatureNotSupported):
        reading.execute("COPY reading FROM STDIN", prepare=True)
    assert count(reading) == 0


# ---- SQL the storage layer uses --------------------------------------------------------------------------------


def test_int8multirange_in_and_out(connection: psycopg.Connection) -> None:
    connection.execute("CREATE TEMP TABLE received (agent int PRIMARY KEY, seqs int8multirange NOT NULL)")
    connection.execute("INSERT INTO received VALUES (1, '{[1,5)}')")
    extend = "UPDATE received SET seqs = seqs + %s::int8multirange WHERE agent = 1 RETURNING seqs"
    assert connection.execute(extend, (Int8Multirange([Int8Range(5, 8), Int8Range(20, 21)]),)).fetchone() == (
        Int8Multirange([Int8Range(1, 8), Int8Range(20, 21)]),
    )
    known = "SELECT seqs @> 7::int8, seqs @> 8::int8, seqs FROM received FOR UPDATE"
    row = connection.execute(known, binary=True).fetchone()
    assert row is not None
    assert row == (True, False, Int8Multirange([Int8Range(1, 8), Int8Range(20, 21)]))
    assert connection.execute("SELECT (seqs * '{[6,100)}')::text FROM received").fetchone() == ("{[6,8),[20,21)}",)
    connection.execute("DROP TABLE received")


def test_unlogged_table_as_stage(reading: psycopg.Connection) -> None:
    reading.execute("CREATE UNLOGGED TABLE stage (LIKE reading)")
    assert copy_in(reading, COPY_BINARY.replace("reading", "stage"), binary_rows(50)) == 50
    reading.execute("DROP TABLE stage")


def test_prepared_statements_of_two_connections_stay_apart(dsn: str) -> None:
    with psycopg.connect(dsn, autocommit=True) as one, psycopg.connect(dsn, autocommit=True) as two:
        one.prepare_threshold = two.prepare_threshold = 0
        for number in range(3):
            assert one.execute("SELECT %s::int + 1", (number,)).fetchone() == (number + 1,)
            assert two.execute("SELECT %s::int * 10", (number,)).fetchone() == (number * 10,)
        one.execute("DEALLOCATE ALL")
        assert two.execute("SELECT %s::int * 10", (7,)).fetchone() == (70,)
        two.execute("DROP TABLE IF EXISTS nothing")  # makes psycopg forget its statements
        assert two.execute("SELECT %s::int * 10", (8,)).fetchone() == (80,)


def test_statements_of_a_closed_connection_are_gone(dsn: str) -> None:
    with psycopg.connect(dsn, autocommit=True) as kept:
        with psycopg.connect(dsn, autocommit=True) as closed:
            closed.execute("SELECT %s::int", (1,), prepare=True)
        names = kept.execute("SELECT name FROM pg_prepared_statements").fetchall()
    assert names == []


def test_pipeline_and_executemany(reading: psycopg.Connection) -> None:
    with reading.pipeline():
        cursors = [reading.execute("SELECT %s::int", (number,)) for number in range(20)]
        assert [cursor.fetchone() for cursor in cursors] == [(number,) for number in range(20)]
    with pytest.raises(errors.DivisionByZero), reading.pipeline():
        reading.execute("SELECT 1 / 0")
    rows = [(START + timedelta(seconds=second), second) for second in range(50)]
    reading.cursor().executemany("INSERT INTO reading VALUES (%s, 1, %s)", rows)
    assert count(reading) == 50


def test_named_cursor(reading: psycopg.Connection) -> None:
    copy_in(reading, COPY_BINARY, binary_rows(1_000))
    with reading.transaction(), reading.cursor("readings") as cursor:
        cursor.itersize = 100
        cursor.execute("SELECT value FROM reading ORDER BY value")
        assert [value for (value,) in cursor] == list(range(1_000))


def test_a_large_result(connection: psycopg.Connection) -> None:
    rows = connection.execute("SELECT g, repeat('x', 100) FROM generate_series(1, 50000) g").fetchall()
    assert len(rows) == 50_000
    assert rows[-1] == (50_000, "x" * 100)


def test_advisory_locks_work_but_do_not_exclude(dsn: str) -> None:
    with psycopg.connect(dsn, autocommit=True) as one, psycopg.connect(dsn, autocommit=True) as two:
        with one.transaction():
            one.execute("SELECT pg_advisory_xact_lock(7)")
        assert one.execute("SELECT pg_try_advisory_lock(7)").fetchone() == (True,)
        # The limit: one session underneath, so the second connection holds the same lock, it is not refused.
        assert two.execute("SELECT pg_try_advisory_lock(7)").fetchone() == (True,)
        assert two.execute("SELECT pg_advisory_unlock(7), pg_advisory_unlock(7)").fetchone() == (True, True)


def test_notify_reaches_other_connections_that_listen(dsn: str) -> None:
    with (
        psycopg.connect(dsn, autocommit=True) as api,
        psycopg.connect(dsn, autocommit=True) as other,
        psycopg.connect(dsn) as accountant,
    ):
        api.execute("LISTEN live")
        api.execute('LISTEN "Odd name"')
        other.execute("LISTEN something_else")
        accountant.execute("SELECT pg_notify('live', 'rolled back')")
        accountant.rollback()
        accountant.execute("SELECT pg_notify('live', 'site 1')")
        accountant.execute("""NOTIFY "Odd name", 'odd'""")
        accountant.commit()
        heard = [(notice.channel, notice.payload) for notice in api.notifies(timeout=5, stop_after=2)]
        assert heard == [("live", "site 1"), ("Odd name", "odd")]
        assert list(other.notifies(timeout=0.2)) == []

        other.execute("UNLISTEN *")
        api.execute("UNLISTEN live")
        accountant.execute("NOTIFY live")
        accountant.execute('NOTIFY "Odd name"')
        accountant.commit()
        assert [notice.channel for notice in api.notifies(timeout=1)] == ["Odd name"]


# ---- connections -----------------------------------------------------------------------------------------------


def test_a_second_transaction_waits_for_the_first(dsn: str, reading: psycopg.Connection) -> None:
    order = []

    def second() -> None:
        with psycopg.connect(dsn) as connection:
            connection.execute("INSERT INTO reading VALUES (%s, 2, 2)", (START,))
            order.append("second inserted")

    with psycopg.connect(dsn) as first:
        first.execute("INSERT INTO reading VALUES (%s, 1, 1)", (START,))
        thread = threading.Thread(target=second)
        thread.start()
        time.sleep(0.3)
        first.execute("INSERT INTO reading VALUES (%s, 3, 3)", (START,))
        order.append("first commits")
        first.commit()
        thread.join(10)
    assert order == ["first commits", "second inserted"]
    assert count(reading) == 3


def test_a_client_vanishing_in_a_transaction_is_rolled_back(dsn: str, reading: psycopg.Connection) -> None:
    lost = psycopg.connect(dsn)
    lost.execute("INSERT INTO reading VALUES (%s, 1, 1)", (START,))
    abort(lost)
    assert count(reading) == 0


def test_a_client_vanishing_in_a_copy_is_rolled_back(dsn: str, reading: psycopg.Connection) -> None:
    lost = psycopg.connect(dsn)
    start_copy(lost)
    abort(lost)
    assert count(reading) == 0


def start_copy(connection: psycopg.Connection) -> psycopg.pq.abc.PGconn:
    libpq = connection.pgconn
    libpq.send_query(COPY_BINARY.encode())
    assert libpq.get_result() is not None
    libpq.put_copy_data(binary_rows(1_000))
    return libpq


def abort(connection: psycopg.Connection) -> None:
    """Resets the TCP connection, as a killed client with unread data does; libpq must not say goodbye."""
    with socket.socket(fileno=os.dup(connection.fileno())) as raw, Path(os.devnull).open() as nothing:
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        os.dup2(nothing.fileno(), connection.fileno())
    connection.close()


def test_cancel_is_taken_without_effect(connection: psycopg.Connection) -> None:
    connection.cancel_safe(timeout=5)
    assert connection.execute("SELECT 1").fetchone() == (1,)


def test_the_last_connection_to_close_cleans_the_session(dsn: str) -> None:
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute("CREATE TEMP TABLE left_over (a int)")
        connection.execute("SET work_mem = '7MB'")
        connection.execute("SELECT pg_advisory_lock(9)")
    with psycopg.connect(dsn, autocommit=True) as connection:
        assert connection.execute("SELECT to_regclass('left_over')").fetchone() == (None,)
        assert connection.execute("SHOW work_mem").fetchone() == ("4MB",)
        assert connection.execute("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'").fetchone() == (0,)


def test_async_connection(dsn: str) -> None:
    assert asyncio.run(read_async(dsn)) == ("async",)


async def read_async(dsn: str) -> tuple[object, ...] | None:
    async with await psycopg.AsyncConnection.connect(dsn) as connection:
        return await (await connection.execute("SELECT %s::text", ("async",))).fetchone()


# ---- limits and life -------------------------------------------------------------------------------------------


def test_limits_are_errors_with_a_sqlstate_and_sigterm_is_a_clean_end() -> None:
    limits = {"max-message": 100_000, "max-copy": 200_000, "max-connections": 2, "lock-wait": 1}
    with available_timescale(limits) as server:
        with psycopg.connect(server.dsn) as one, psycopg.connect(server.dsn, autocommit=True) as two:
            with pytest.raises(psycopg.OperationalError, match="too many connections"):
                psycopg.connect(server.dsn)
            one.execute("CREATE TABLE t (a text)")
            with pytest.raises(errors.LockNotAvailable):
                two.execute("SELECT 1")
            with pytest.raises(errors.ProgramLimitExceeded), one.transaction():
                copy_in(one, "COPY t FROM STDIN", *[b"0123456\n" * 10_000] * 5)
            with pytest.raises(psycopg.OperationalError, match="larger than 100000 bytes"):
                one.execute("SELECT %s", ("x" * 200_000,))
        with psycopg.connect(server.dsn, autocommit=True) as connection:
            assert connection.execute("SELECT to_regclass('t')").fetchone() == (None,)
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", server.port), timeout=1)


def test_a_machine_without_node_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda name: None)
    with pytest.raises(TimescaleUnavailableError, match="Node 20 or newer is not installed"), timescale_server():
        pass
