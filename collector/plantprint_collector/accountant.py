"""The accountant's thread: leads the sites it can get the lock of, and runs their passes until it is stopped."""

import contextlib
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
_CANCEL_S = 2.0


class Accountant:
    """At most one accountant per site leads, by an advisory lock of its session; others stand by and take over.

    All that it writes goes over this session too. One that hung and was cut off finds its transaction gone with its lock.
    """

    def __init__(self, dsn: str, settings: AccountantSettings, publish: Publish) -> None:
        self._dsn = dsn
        self._settings = settings
        self._publish = publish
        self._sites: dict[str, SiteAccountant] = {}
        self._paused_until_s: dict[str, float] = {}
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="accountant", daemon=True)
        self.failures = 0
        self._conn: Conn | None = None
        self._leads: dict[str, bool] = {}
        self._passed_s: dict[str, float] = {}

    def start(self) -> None:
        self._thread.start()

    def request_stop(self) -> None:
        """Begins no other pass."""
        self._stop.set()

    def stop(self, timeout_s: float) -> bool:
        """Ends after the pass that runs, or cuts it off after the limit, marks and all; False when even that did not end it."""
        self.request_stop()
        self._thread.join(max(0.0, timeout_s))
        conn = self._conn
        if self._thread.is_alive() and conn is not None:
            log.warning("accountant_stop_cancels", remedy="none needed; the pass is done again at the next start")
            with contextlib.suppress(psycopg.Error):  # it may have gone meanwhile, which ends the statement too
                conn.cancel_safe(timeout=_CANCEL_S)
            self._thread.join(_CANCEL_S)
        return not self._thread.is_alive()

    @property
    def alive(self) -> bool:
        return self._thread.is_alive()

    @property
    def leads(self) -> dict[str, bool]:
        """Of every site with a plant model whether this accountant leads it."""
        return dict(self._leads)

    def pass_ages_s(self) -> dict[str, float]:
        """How long ago the last pass of each site that it leads ended, in seconds."""
        now_s = time.monotonic()
        return {site: now_s - passed_s for site, passed_s in self._passed_s.copy().items()}

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                with self._connect() as conn:
                    self._conn = conn
                    conn.isolation_level = IsolationLevel.REPEATABLE_READ
                    self._lead(conn)
            except psycopg.Error as error:
                if not self._stop.is_set():
                    self.failures += 1
                    log.warning("accountant lost the database; it starts again from it", error=str(error).strip())
            self._conn = None
            self._sites.clear()
            self._passed_s.clear()
            self._leads = dict.fromkeys(self._leads, False)
            self._stop.wait(self._settings.accountant_retry_s)

    def _connect(self) -> Conn:
        settings = self._settings
        return connect(
            self._dsn,
            application="plantprint-accountant",
            timeout_s=_STATEMENT_S,
            silent_s=settings.accountant_silent_s,
            idle_s=settings.accountant_idle_s,
        )

    def _lead(self, conn: Conn) -> None:
        next_look_s = 0.0
        while not self._stop.is_set():
            if time.monotonic() >= next_look_s:
                self._take_sites(conn)
                next_look_s = time.monotonic() + self._settings.accountant_retry_s
            began = time.monotonic()
            more = [self._run_site(conn, site) for site in self._sites if not self._stop.is_set()]
            if not any(more):
                self._stop.wait(max(0.01, self._settings.live_ms / 1000 - (time.monotonic() - began)))

    def _run_site(self, conn: Conn, site: str) -> bool:
        """A pass of one site; what fails in it stops neither the other sites nor the intake, and leaves its marks."""
        if time.monotonic() < self._paused_until_s.get(site, 0.0):
            return False
        try:
            more = self._sites[site].run_pass(conn, time.time_ns() // 1_000_000)
            self._passed_s[site] = time.monotonic()
        except psycopg.Error:
            raise
        except Exception:
            self.failures += 1
            log.exception("accounting of a site failed; report this with the lines above, it is tried again", site=site)
            self._sites[site] = SiteAccountant(site, self._settings, self._publish)
            self._paused_until_s[site] = time.monotonic() + self._settings.accountant_retry_s
            return False
        return more

    def _take_sites(self, conn: Conn) -> None:
        _forget_needless_marks(conn)
        if ended := _end_hung_copies(conn, self._settings.accountant_silent_s):
            log.warning("ended sessions of collectors that hang inside a COPY", sessions=ended)
        for (site,) in conn.execute("select distinct site from plant_model order by site").fetchall():
            if site not in self._sites and _lock(conn, site):
                self._sites[site] = SiteAccountant(site, self._settings, self._publish)
                self._passed_s[site] = time.monotonic()
                log.info("accounting for a site", site=site)
            self._leads = self._leads | {site: site in self._sites}


def _forget_needless_marks(conn: Conn) -> None:
    """A site without a plant model would gather marks for ever; its first model marks all of its time."""
    with contextlib.suppress(psycopg.errors.SerializationFailure):  # another collector did it just now
        conn.execute(
            "delete from dirty where site in"
            " (select site from site s where not exists (select from plant_model m where m.site = s.site))"
        )


def _end_hung_copies(conn: Conn, silent_s: float) -> int:
    """A server waits without limit for the rest of a COPY, whatever its timeouts say; returns how many sessions it ended."""
    row = conn.execute(
        "select count(pg_terminate_backend(pid)) from pg_stat_activity where datname = current_database()"
        " and usename = current_user and application_name in ('plantprint-intake', 'plantprint-accountant')"
        " and state = 'active' and wait_event = 'ClientRead' and state_change < now() - make_interval(secs => %s)",
        (silent_s,),
    ).fetchone()
    return int(row[0]) if row else 0


def _lock(conn: Conn, site: str) -> bool:
    row = conn.execute(
        "select pg_try_advisory_lock(hashtextextended('plantprint accountant ' || %s, 0))", (site,)
    ).fetchone()
    return bool(row and row[0])
