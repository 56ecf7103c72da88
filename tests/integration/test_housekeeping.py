"""Days that are over are compressed, by the sites' own clocks, and again after late readings got into them."""

from collections.abc import Iterator

import psycopg
import pytest
from collector_harness import settings
from fake_agent import query, wait_until

from plantprint.times import SiteClock, from_ms
from plantprint_collector import store
from plantprint_collector.housekeeping import Conn, Housekeeping, compress_a_day

pytestmark = pytest.mark.integration

DAY_MS = 86_400_000
NOW_MS = 1_772_431_200_000
COMPRESSED = "select count(*) from timescaledb_information.chunks where hypertable_name = 'reading' and is_compressed"


@pytest.fixture
def conn(timescale_url: str) -> Iterator[Conn]:
    """A site by wall time with a reading every hour of the ten days before NOW_MS."""
    with psycopg.connect(timescale_url, autocommit=True) as made:
        store.ensure_site(made, "s")
        made.execute(
            "insert into reading select to_timestamp(%s / 1000.0) - n * interval '1 hour', 1000 - n, 1, 3, 0"
            " from generate_series(1, 240) as n",
            (NOW_MS,),
        )
        yield made


def compress_all(conn: Conn, after_days: int, wall_ms: int = NOW_MS) -> int:
    days = 0
    while compress_a_day(conn, after_days, wall_ms):
        days += 1
    return days


@pytest.mark.timescale
def test_days_that_are_over_are_compressed_and_again_after_a_late_reading(conn: Conn) -> None:
    assert compress_all(conn, 7) == 3  # NOW_MS is at 06:00: the first day is a part, seven lie behind it
    assert compress_all(conn, 7) == 0
    assert conn.execute(COMPRESSED).fetchone() == (3,)
    conn.execute("insert into reading values (%s, 5, 1, 3, 0)", (from_ms(NOW_MS - 9 * DAY_MS + 1),))
    assert compress_all(conn, 7) == 1
    assert conn.execute("select count(*) from reading").fetchone() == (241,)


@pytest.mark.timescale
def test_the_slowest_clock_decides_and_a_finished_replay_does_not(conn: Conn) -> None:
    store.set_clock(conn, "replayed", SiteClock("data", site_origin_ms=NOW_MS - 3000 * DAY_MS))
    store.set_clock(conn, "simulated", SiteClock("run", wall_origin_ms=NOW_MS, site_origin_ms=NOW_MS - 2 * DAY_MS))
    assert compress_all(conn, 7) == 1
    conn.execute("delete from site where site = 'simulated'")
    assert compress_all(conn, 7) == 2
    conn.execute("delete from site where site = 's'")
    assert compress_all(conn, 7, NOW_MS + 99 * DAY_MS) == 0  # alone it lives by its own time


def test_without_a_columnstore_nothing_is_done(database_url: str, broker_url: str, site: str) -> None:
    """The thread ends where the tier has none, and is never started where it is turned off."""
    with psycopg.connect(database_url) as conn:
        conn.execute("update meta set value = 'native' where key = 'tier'")
    house = Housekeeping(settings(database_url, broker_url, site))
    house.start()
    wait_until(lambda: not house.is_working, "ended")
    house.stop()
    off = Housekeeping(settings(database_url, broker_url, site, compress_after_days=0))
    off.start()
    assert not off.is_working
    off.stop()


@pytest.mark.timescale
def test_the_thread_compresses_what_is_there(timescale_url: str, conn: Conn) -> None:
    conn.close()  # the WASM server has one session
    house = Housekeeping(settings(timescale_url, "mqtt://127.0.0.1", "s"))
    house.start()
    wait_until(lambda: query(timescale_url, COMPRESSED) >= [(10,)], "compressed", 60)
    house.stop()
    assert not house.is_working
