"""Drops days of raw readings that are old enough, and compresses days that are over where there is a columnstore.

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

from plantprint.times import SiteClock, format_instant, from_ms, to_ms
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
_UNSETTLED = "select site from pp_settled() where until < %s order by until, site"


class Housekeeping:
    """`start`, then `stop`; where there is nothing that it can do its thread ends at once."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._main, name="housekeeping", daemon=True)

    @property
    def is_working(self) -> bool:
        return self._thread.is_alive()

    def start(self) -> None:
        """Starts the thread unless all is turned off; the database need not be there yet."""
        if self._settings.compress_after_days or self._settings.reading_days_max:
            self._thread.start()

    def stop(self, timeout_s: float | None = None) -> None:
        """Waits for the day that is being compressed or dropped, at most so long, or as long as a drain may take."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join(max(0.0, self._settings.drain_s_max if timeout_s is None else timeout_s))

    def _main(self) -> None:
        while not self._stop.is_set():
            try:
                with closing(self._connect()) as conn:
                    compresses = bool(self._settings.compress_after_days) and recorded_tier(conn) == "tsl"
                    if not compresses and not self._settings.reading_days_max:
                        return
                    self._turn(conn, compresses=compresses)
            except (psycopg.Error, MigrationError) as error:
                log.warning("housekeeping_failed", reason=str(error).strip(), remedy="tried again at the next turn")
            self._stop.wait(self._settings.housekeeping_s)

    def _connect(self) -> Conn:
        dsn = self._settings.database_url.get_secret_value()
        return connect(dsn, application="plantprint-housekeeping", timeout_s=self._settings.compress_timeout_s)

    def _turn(self, conn: Conn, *, compresses: bool) -> None:
        settings = self._settings
        if conn.execute("select pg_try_advisory_lock(%s)", (_LOCK,)).fetchone() != (True,):
            return
        # What is too old need not be compressed first. Late data may keep a day from being dropped, not others from this.
        if settings.reading_days_max:
            try:
                self._drop(conn)
            except psycopg.errors.LockNotAvailable:
                remedy = "tried again at the next turn; raise PLANTPRINT_DROP_WAIT_S if that goes on"
                log.warning("readings_not_dropped", reason="they are being read", remedy=remedy)
            conn.execute("reset lock_timeout")
        while compresses and not self._stop.is_set() and compress_a_day(conn, settings.compress_after_days, _wall_ms()):
            log.info("day_compressed")

    def _drop(self, conn: Conn) -> None:
        conn.execute("select set_config('lock_timeout', %s, false)", (f"{int(self._settings.drop_wait_s * 1000)}ms",))
        wanted_ms, from_ms_ = forget_readings(conn, self._settings.reading_days_max, _wall_ms())
        if from_ms_ < wanted_ms - DAY_MS:
            sites = [site for (site,) in conn.execute(_UNSETTLED, (from_ms(wanted_ms - DAY_MS),)).fetchall()]
            remedy = "see why hours of these sites are not settled yet (docs/storage.md)"
            log.warning("readings_kept_longer", readings_from=format_instant(from_ms_), sites=sites, remedy=remedy)
        days = 0
        while not self._stop.is_set() and drop_a_day(conn, from_ms_):
            days += 1
        if days:
            log.info("readings_dropped", before=format_instant(from_ms_), days=days)


def compress_a_day(conn: Conn, after_days: int, wall_ms: int) -> bool:
    """Compresses an uncompressed day that ended so long ago on every site's clock; False when there is none."""
    before_ms = _so_long_ago_ms(conn, after_days, wall_ms)
    return conn.execute("select pp_compress_before('reading', %s)", (from_ms(before_ms),)).fetchone() == (1,)


def forget_readings(conn: Conn, after_days: int, wall_ms: int) -> tuple[int, int]:
    """Records that readings of days that ended so long ago count as dropped, as far as all is settled.

    Returns the instant before which they should be, and that before which they are.
    """
    before_ms = _so_long_ago_ms(conn, after_days, wall_ms)
    row = conn.execute("select pp_forget_before(%s)", (from_ms(before_ms),)).fetchone()
    assert row is not None
    return before_ms, to_ms(row[0])


def drop_a_day(conn: Conn, before_ms: int) -> bool:
    """Drops the oldest day that counts as dropped; False when there is none."""
    return conn.execute("select pp_drop_before('reading', %s)", (from_ms(before_ms),)).fetchone() == (1,)


def _so_long_ago_ms(conn: Conn, days: int, wall_ms: int) -> int:
    """So many days ago on every site's clock; 0 without sites.

    Sites that live by their data's stamps count only where there are no others: a finished replay would hold up the rest.
    """
    sites = [(SiteClock(**clock), newest_ms) for clock, newest_ms in conn.execute(_CLOCKS).fetchall()]
    judges = [pair for pair in sites if pair[0].kind != "data"] or sites
    return max(0, min((clock.now_ms(wall_ms, newest_ms) for clock, newest_ms in judges), default=0) - days * DAY_MS)


def _wall_ms() -> int:
    return time.time_ns() // 1_000_000
