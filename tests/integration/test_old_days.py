"""Readings of many old days, from a clock that is wrong or a history that is replayed: bounded, and in nobody's way."""

from collections.abc import Iterator

import psycopg
import pytest
from collector_harness import settings
from fake_agent import NOW_MS, query, wait_until

from plantprint.facts import Channel
from plantprint.times import SiteClock, from_ms, parse_instant
from plantprint.wire import chunk as wire
from plantprint.wire import topics
from plantprint_collector import inbox, migrate, store
from plantprint_collector.connection import connect
from plantprint_collector.inbox import Item, Message
from plantprint_collector.metrics import Metrics
from plantprint_collector.readings import ReadingWriter
from plantprint_collector.rows import DAY_MS
from plantprint_collector.transaction import Outcome
from plantprint_collector.writer import Conn, Writer

pytestmark = pytest.mark.integration

SITE = "mill"
TABLES_MAX = 3
TODAY = NOW_MS // DAY_MS
TABLES = "select inhrelid::regclass::text from pg_inherits where inhparent = 'reading'::regclass order by 1"


@pytest.fixture
def conn(database_url: str) -> Iterator[Conn]:
    with connect(database_url, application="test", timeout_s=60) as opened:
        if migrate.recorded_tier(opened) != "native":
            pytest.skip("counts partitions")
        yield opened


@pytest.fixture
def writer(database_url: str) -> Writer:
    chosen = settings(database_url, "mqtt://127.0.0.1:1", SITE, new_tables_max=TABLES_MAX, past_days_max=3000)
    return Writer(chosen, Metrics())


class Sender:
    """Chunks of one agent with one channel, as the intake reads them."""

    def __init__(self, agent: str) -> None:
        self.agent, self._seq = agent, 0
        self._table = wire.encode_table([Channel(agent, "c0", "kWh", 0, "gauge")])

    def declare(self) -> Item:
        return self._item("declare", self._table, 1)

    def readings(self, days: range) -> Item:
        rows = [(0, day * DAY_MS + 1, day, 3) for day in days]
        return self._item("readings", wire.encode_rows(rows), len(rows))

    def _item(self, kind: wire.ChunkKind, body: bytes, n: int) -> Item:
        self._seq += 1
        hash_ = wire.table_hash(self._table)
        _, payload, *_ = wire.seal(SITE, self.agent, "e", self._seq, kind, body, n, table=hash_)
        return inbox.read(Message(topics.up(SITE, self.agent, "live"), payload))


def held(outcomes: list[Outcome]) -> list[str]:
    return [why for outcome in outcomes for _, why in outcome.held]


def test_many_old_days_wait_for_their_room_and_live_data_does_not(
    conn: Conn, writer: Writer, database_url: str
) -> None:
    """A thousand days are three years: that many months' tables, a few for each transaction."""
    bad, good = Sender("bad-clock"), Sender("good")
    old = [bad.readings(range(TODAY - 1500 + 500 * n, TODAY - 1000 + 500 * n)) for n in range(2)]
    assert held(writer.write(conn, [bad.declare(), good.declare()])) == []
    assert held(writer.write(conn, [*old, good.readings(range(TODAY, TODAY + 1))])) == ["new_days"] * 2
    assert len(query(database_url, TABLES)) == TABLES_MAX, "the newest first"
    assert query(database_url, "select value from reading") == [(TODAY,)]
    assert query(database_url, "select chunks::text from received where agent = 'bad-clock'") == [("{[3,4)}",)], (
        "the declaration"
    )
    sendings = 1
    while held(writer.write(conn, old)):
        sendings += 1
        assert len(query(database_url, TABLES)) <= TABLES_MAX * (sendings + 1)
    assert query(database_url, "select count(*), count(distinct value) from reading") == [(1001, 1001)]
    tables = [name for (name,) in query(database_url, TABLES)]
    assert len(tables) <= 2 + 1000 // 28
    assert f"reading_{_stamp(TODAY)}" in tables
    assert all(len(name) == len("reading_202603") for name in tables if name != f"reading_{_stamp(TODAY)}")


def test_what_is_implausibly_old_is_set_aside_by_the_site_s_own_clock(
    conn: Conn, writer: Writer, database_url: str
) -> None:
    sender = Sender("gw")
    very_old = range(TODAY - 3002, TODAY - 2998)
    assert held(writer.write(conn, [sender.declare()])) == []
    assert held(writer.write(conn, [sender.readings(very_old)])) == []
    assert query(database_url, "select reason, count(*) from rejected_reading group by 1") == [("past", 3)]
    store.set_clock(conn, SITE, SiteClock(kind="data"))
    assert held(writer.write(conn, [sender.readings(very_old)])) == []
    assert query(database_url, "select count(*) from reading") == [(4,)]


def test_a_month_of_which_a_day_has_a_table_gets_days(conn: Conn, database_url: str) -> None:
    """Tables of a former program, or of a day that was recent then."""
    conn.execute("select pp_ensure('reading', '2025-02-10Z', '2025-02-10Z')")
    days = ReadingWriter(0, day_tables_days=30)
    first = parse_instant("2025-01-31T00:00:00Z") // DAY_MS
    assert days.ensure_days(conn, {first, first + 9, first + 10, first + 11}) == set()
    assert query(database_url, TABLES) == [
        ("reading_202501",), ("reading_20250209",), ("reading_20250210",), ("reading_20250211",),
    ]  # fmt: skip
    drop = "select pp_drop_before('reading', '2025-02-11Z')"
    assert [conn.execute(drop).fetchone() for _ in range(4)] == [(1,), (1,), (1,), (0,)]
    assert query(database_url, TABLES) == [("reading_20250211",)]


def test_a_month_is_dropped_once_it_is_over(conn: Conn, database_url: str) -> None:
    ReadingWriter(0, day_tables_days=30).ensure_days(conn, {parse_instant("2025-01-31T00:00:00Z") // DAY_MS})
    assert conn.execute("select pp_drop_before('reading', '2025-01-31Z')").fetchone() == (0,)
    assert conn.execute("select pp_drop_before('reading', '2025-02-01Z')").fetchone() == (1,)
    assert query(database_url, TABLES) == []


@pytest.mark.timescale
def test_old_days_share_a_chunk_of_timescaledb(timescale_url: str) -> None:
    with psycopg.connect(timescale_url, autocommit=True) as opened:
        days = ReadingWriter(0, day_tables_days=30)
        first = parse_instant("2001-01-01T00:00:00Z") // DAY_MS
        old = set(range(first, first + 90))
        assert len(days.ensure_days(opened, old | {TODAY}, 2)) > 0
        wait_until(lambda: days.ensure_days(opened, old | {TODAY}, 2) == set(), "all have room")
        opened.execute(
            "insert into reading select now() - n * interval '1 day', 1, 1, 3, 0 from generate_series(0, 2) n"
        )
        opened.execute("insert into reading select timestamptz '2001-01-01 12:00Z' + n * interval '1 day', 1, 1, 3, 0"
                       " from generate_series(0, 89) n")  # fmt: skip
        spans = "select range_end - range_start, count(*) from timescaledb_information.chunks group by 1 order by 1"
        found = {span.days: count for span, count in opened.execute(spans).fetchall()}
        assert found.pop(1) == 3
        assert sum(found.values()) in (3, 4)
        opened.execute("truncate reading")


def _stamp(day: int) -> str:
    return from_ms(day * DAY_MS).strftime("%Y%m%d")
