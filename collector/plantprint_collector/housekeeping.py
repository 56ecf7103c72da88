"""Compresses days of readings that are over, where the database has a columnstore (TimescaleDB with its TSL module).

Our own thread instead of TimescaleDB's scheduler: it goes by the sites' clocks, so that recorded years and fast runs age by their
own time, and on some pairs of server and extension that scheduler fails after every job. One collector at a time does it.
"""

import threading
import time
from contextlib import closing
from typing import Any

import psycopg
import structlog
from psycopg import Connection

from plantprint.times import SiteClock, from_ms
from plantprint_collector.config import Settings
from plantprint_collector.connection import connect
from plantprint_collector.migrate import MigrationError, recorded_tier
from plantprint_collector.rows import DAY_MS

log = structlog.get_logger("plantprint.collector.housekeeping")

Conn = Connection[tuple[Any, ...]]

_LOCK = 0x70705F64617973  # "pp_days"
_CLOCKS = """
select s.clock, (extract(epoch from max(l.measured_at)) * 1000)::bigint
from site s left join channel c using (site) left join latest l using (channel_id) group by s.site, s.clock
"""


class Housekeeping:
    """`start`, then `stop`; on a database without a columnstore its thread ends at once."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._main, name="housekeeping", daemon=True)

    @property
    def is_working(self) -> bool:
        return self._thread.is_alive()

    def start(self) -> None:
        """Starts the thread unless it is turned off; the database need not be there yet."""
        if self._settings.compress_after_days:
            self._thread.start()

    def stop(self) -> None:
        """Waits for the day that is being compressed, at most as long as a drain may take."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join(self._settings.drain_s_max)

    def _main(self) -> None:
        while not self._stop.is_set():
            try:
                with closing(self._connect()) as conn:
                    if recorded_tier(conn) != "tsl":
                        return
                    self._compress(conn)
            except (psycopg.Error, MigrationError) as error:
                log.warning("compression_failed", reason=str(error).strip(), remedy="tried again at the next turn")
            self._stop.wait(self._settings.housekeeping_s)

    def _connect(self) -> Conn:
        dsn = self._settings.database_url.get_secret_value()
        return connect(dsn, application="plantprint-housekeeping", timeout_s=self._settings.compress_timeout_s)

    def _compress(self, conn: Conn) -> None:
        if conn.execute("select pg_try_advisory_lock(%s)", (_LOCK,)).fetchone() != (True,):
            return
        while not self._stop.is_set() and compress_a_day(conn, self._settings.compress_after_days, _wall_ms()):
            log.info("day_compressed")


def compress_a_day(conn: Conn, after_days: int, wall_ms: int) -> bool:
    """Compresses an uncompressed day that ended so long ago on every site's clock; False when there is none.

    Sites that live by their data's stamps count only where there are no others: a finished replay would hold up the rest.
    """
    sites = [(SiteClock(**clock), newest_ms) for clock, newest_ms in conn.execute(_CLOCKS).fetchall()]
    judges = [pair for pair in sites if pair[0].kind != "data"] or sites
    if not judges:
        return False
    now_ms = min(clock.now_ms(wall_ms, newest_ms) for clock, newest_ms in judges)
    before = from_ms(max(0, now_ms - after_days * DAY_MS))
    return conn.execute("select pp_compress_before('reading', %s)", (before,)).fetchone() == (1,)


def _wall_ms() -> int:
    return time.time_ns() // 1_000_000
