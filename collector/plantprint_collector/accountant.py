"""The accountant's thread: leads the sites it can get the lock of, and runs their passes until it is stopped."""

import threading
import time
from typing import Any

import psycopg
import structlog
from psycopg import Connection, IsolationLevel

from plantprint_collector.accountant_config import AccountantSettings
from plantprint_collector.alerts import Publish
from plantprint_collector.connection import connect
from plantprint_collector.site_accountant import SiteAccountant

Conn = Connection[tuple[Any, ...]]
log = structlog.get_logger("plantprint.accountant")

_STATEMENT_S = 120.0


class Accountant:
    """At most one accountant per site leads, by an advisory lock of its session; others stand by and take over."""

    def __init__(self, dsn: str, settings: AccountantSettings, publish: Publish) -> None:
        self._dsn = dsn
        self._settings = settings
        self._publish = publish
        self._sites: dict[str, SiteAccountant] = {}
        self._paused_until_s: dict[str, float] = {}
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="accountant", daemon=True)
        self.failures = 0

    def start(self) -> None:
        self._thread.start()

    def stop(self, timeout_s: float) -> bool:
        """Ends after the pass that runs; False when it did not within the limit."""
        self._stop.set()
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    @property
    def alive(self) -> bool:
        return self._thread.is_alive()

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                with connect(self._dsn, application="plantprint-accountant", timeout_s=_STATEMENT_S) as conn:
                    conn.isolation_level = IsolationLevel.REPEATABLE_READ
                    self._lead(conn)
            except psycopg.Error as error:
                self.failures += 1
                log.warning("accountant lost the database; it starts again from it", error=str(error).strip())
            self._sites.clear()
            self._stop.wait(self._settings.accountant_retry_s)

    def _lead(self, conn: Conn) -> None:
        next_look_s = 0.0
        while not self._stop.is_set():
            if time.monotonic() >= next_look_s:
                self._take_sites(conn)
                next_look_s = time.monotonic() + self._settings.accountant_retry_s
            began = time.monotonic()
            more = [self._run_site(conn, site) for site in self._sites]
            if not any(more):
                self._stop.wait(max(0.01, self._settings.live_ms / 1000 - (time.monotonic() - began)))

    def _run_site(self, conn: Conn, site: str) -> bool:
        """A pass of one site; what fails in it stops neither the other sites nor the intake, and leaves its marks."""
        if time.monotonic() < self._paused_until_s.get(site, 0.0):
            return False
        try:
            return self._sites[site].run_pass(conn, time.time_ns() // 1_000_000)
        except psycopg.Error:
            raise
        except Exception:
            self.failures += 1
            log.exception("accounting of a site failed; report this with the lines above, it is tried again", site=site)
            self._sites[site] = SiteAccountant(site, self._settings, self._publish)
            self._paused_until_s[site] = time.monotonic() + self._settings.accountant_retry_s
            return False

    def _take_sites(self, conn: Conn) -> None:
        for (site,) in conn.execute("select distinct site from plant_model order by site").fetchall():
            if site not in self._sites and _lock(conn, site):
                self._sites[site] = SiteAccountant(site, self._settings, self._publish)
                log.info("accounting for a site", site=site)


def _lock(conn: Conn, site: str) -> bool:
    row = conn.execute(
        "select pg_try_advisory_lock(hashtextextended('plantprint accountant ' || %s, 0))", (site,)
    ).fetchone()
    return bool(row and row[0])
