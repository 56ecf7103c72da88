"""An accountant that hangs loses its site to another within a bounded time, and writes nothing when it wakes up."""

import threading
from collections.abc import Iterator

import psycopg
import pytest
from fake_agent import wait_until
from ledger_rig import SITE, Rig, mill
from prometheus_client import CollectorRegistry

from plantprint_collector import horizon
from plantprint_collector.accountant import Accountant
from plantprint_collector.accountant_config import AccountantSettings
from plantprint_collector.accountant_watch import AccountantWatch
from plantprint_collector.connection import connect

pytestmark = pytest.mark.integration

QUICK = AccountantSettings(live_ms=50, accountant_retry_s=0.1, accountant_idle_s=1.0, accountant_silent_s=1.0)
H = 3600
HOLDERS = (
    "select count(*) from pg_locks join pg_stat_activity using (pid)"
    " where locktype = 'advisory' and granted and application_name = 'plantprint-accountant'"
)


class Hang:
    """Stops the thread that comes by first until it is let go."""

    def __init__(self) -> None:
        self.thread: threading.Thread | None = None
        self.hangs, self.goes_on = threading.Event(), threading.Event()

    def here(self) -> None:
        if self.thread is threading.current_thread() and not self.hangs.is_set():
            self.hangs.set()
            assert self.goes_on.wait(120)


@pytest.fixture
def rig(database_url: str) -> Iterator[Rig]:
    with Rig(database_url) as made:
        made.apply(mill())
        made.declare()
        made.steady(0, 4 * H, 600)
        yield made


def accountant(rig: Rig) -> Accountant:
    return Accountant(rig.dsn, QUICK, lambda *_: True)


def value(who: Accountant, name: str) -> float | None:
    registry = CollectorRegistry()
    registry.register(AccountantWatch(who, 10))
    return registry.get_sample_value(f"plantprint_accountant_{name}", {"site": SITE})


@pytest.mark.parametrize("inside", [True, False])
def test_another_takes_over_and_the_one_that_wakes_up_writes_nothing(
    rig: Rig, monkeypatch: pytest.MonkeyPatch, inside: bool
) -> None:
    """Inside a pass, with a change that is not committed, and between two passes."""
    hang, first, second = Hang(), accountant(rig), accountant(rig)
    real_hold = horizon.hold

    def hold(conn: psycopg.Connection[tuple[object, ...]]) -> int:
        found = real_hold(conn)
        if threading.current_thread() is hang.thread and not hang.hangs.is_set():
            conn.execute('update site set name = \'{"en": "stale"}\'')
            hang.here()
        return found

    hang.thread = first._thread
    if inside:
        monkeypatch.setattr(horizon, "hold", hold)
    else:
        real_wait = first._stop.wait

        def wait(timeout_s: float) -> bool:
            hang.here()
            return real_wait(timeout_s)

        monkeypatch.setattr(first._stop, "wait", wait)
    try:
        first.start()
        assert hang.hangs.wait(60)
        second.start()
        wait_until(lambda: second.leads == {SITE: True}, "the other leads", 60)
        assert value(first, "leads") == 1, "it knows no better yet"
        wait_until(lambda: (value(first, "pass_age_seconds") or 0) > 0.3, "which its age tells")
        wait_until(lambda: rig.rows("select 1 from dirty") == [], "accounted", 60)
        settled = rig.net(0, 5)
        assert settled
        hang.goes_on.set()
        wait_until(lambda: first.failures == 1 and first.leads == {SITE: False}, "it stands by", 60)
        assert value(first, "leads") == 0
        assert value(first, "pass_age_seconds") is None
        assert second.failures == 0
        assert rig.rows("select name ->> 'en' from site") != [("stale",)]
        assert rig.rows(HOLDERS) == [(1,)]
        assert rig.net(0, 5) == settled
        assert second.stop(30)
        wait_until(lambda: first.leads == {SITE: True}, "and takes over in its turn", 60)
    finally:
        hang.goes_on.set()
        stopped = [who.stop(30) for who in (first, second) if who._thread.ident]
    assert all(stopped)
    assert rig.audit().findings == []


def test_a_session_that_hangs_inside_a_copy_is_ended(rig: Rig) -> None:
    """No timeout of the server ends it, and whoever wants the same rows would wait."""
    watching = accountant(rig)
    with connect(rig.dsn, application="plantprint-intake", timeout_s=0.1) as conn:
        with pytest.raises(psycopg.OperationalError), conn.transaction():  # noqa: PT012 - the end may come anywhere in it
            conn.execute("select from site for update")
            with conn.cursor() as cursor, cursor.copy("copy latest from stdin"):
                watching.start()
                wait_until(
                    lambda: rig.rows("select 1 from pg_stat_activity where query like 'copy latest%%'") == [],
                    "ended",
                    60,
                )
        assert conn.broken
    assert watching.stop(30)
