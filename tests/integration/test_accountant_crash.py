"""A pass that dies at any statement leaves nothing behind and loses no mark; two accountants on one site never both work."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
import pytest
from fake_agent import wait_until
from ledger_rig import Rig, mill, steady

from plantprint_collector.accountant import Accountant
from plantprint_collector.accountant_config import AccountantSettings
from plantprint_collector.settling import settle

pytestmark = pytest.mark.integration

HOUR_S = 3600


class CrashError(Exception):
    """What no code expects."""


class Crashing:
    """A connection that lets `left` statements through and then fails as told; everything else is the real one's."""

    def __init__(self, conn: Any, left: int, fail: Callable[[], None]) -> None:
        self._conn, self.left, self._fail = conn, left, fail

    def __getattr__(self, name: str) -> Any:
        return getattr(self._conn, name)

    def _count(self) -> None:
        self.left -= 1
        if self.left < 0:
            self._fail()

    def execute(self, *arguments: Any, **more: Any) -> Any:
        self._count()
        return self._conn.execute(*arguments, **more)

    def cursor(self, *arguments: Any, **more: Any) -> Any:
        self._count()
        return self._conn.cursor(*arguments, **more)


def raise_crash() -> None:
    raise CrashError


@pytest.mark.parametrize("way", ["exception", "terminated"])
def test_a_pass_that_dies_at_any_statement(database_url: str, way: str) -> None:
    """Settling, a late fact, a shipment and an alert in one pass, killed after 0, 1, 2 … statements until it gets through."""
    with Rig(database_url) as rig:
        rig.apply(mill())
        rig.declare()
        rig.job("j1", "u1", 0, None, batch="b1")
        rig.steady(0, HOUR_S + 600)
        rig.run()
        rig.event("job_end", 1800, "j1.end", job="j1")
        rig.job("j2", "u2", HOUR_S, None, batch="b1")
        rig.event("shipment", 2 * HOUR_S + 600, shipment="s1", batch="b1")
        rig.steady(HOUR_S + 660, 2 * HOUR_S + 600)

        def terminate() -> None:
            rig.rows(
                "select pg_terminate_backend(pid) from pg_stat_activity"
                " where application_name = 'test-accountant' and datname = current_database()"
            )

        number = 0
        while True:
            conn = Crashing(rig.work, number, terminate if way == "terminated" else raise_crash)
            try:
                rig.accountant.run_pass(conn, 10_000_000 + number)  # type: ignore[arg-type]
            except (CrashError, psycopg.Error):
                rig.restart()
            if conn.left >= 0:
                break
            number += 1 if way == "exception" else 3
        assert number > 30
        rig.run()
        rig.assert_clean()
        assert rig.rows("select shipment, batch from statement") == [("s1", "b1")]
        assert rig.rows("select cause, count(*) from posting where cause like '%%job_end%%' group by 1 order by 1")
        ((rows, keys),) = rig.rows("select count(*), count(distinct (p.*)::text) from posting p")
        assert rows == keys


@contextmanager
def accounting(dsn: str, **settings: Any) -> Iterator[Accountant]:
    accountant = Accountant(
        dsn, AccountantSettings(**{"live_ms": 50, "accountant_retry_s": 0.1, **settings}), lambda *_: True
    )
    accountant.start()
    try:
        yield accountant
    finally:
        assert accountant.stop(10)


def leaders(rig: Rig) -> list[int]:
    """Processes that hold the site's lock."""
    rows = rig.rows("select pid from pg_locks where locktype = 'advisory' and granted and database = "
                    "(select oid from pg_database where datname = current_database())")  # fmt: skip
    return [pid for (pid,) in rows]


def test_of_two_accountants_one_leads_and_the_other_takes_over(database_url: str) -> None:
    with Rig(database_url) as rig, accounting(database_url), accounting(database_url):
        rig.apply(mill())
        rig.declare()
        rig.steady(0, HOUR_S)
        wait_until(lambda: rig.rows("select count(*) from accounted_hour") == [(2,)], "the hour is settled")
        (first,) = leaders(rig)
        workers = (
            "select count(*) from pg_stat_activity where datname = current_database() "
            "and application_name = 'plantprint-accountant'"
        )
        wait_until(lambda: rig.rows(workers) == [(2,)], "both are there")
        rig.rows("select pg_terminate_backend(%s)", first)
        rig.steady(HOUR_S + 60, 2 * HOUR_S)
        wait_until(lambda: rig.rows("select count(*) from accounted_hour") == [(3,)], "the next hour is settled")
        (second,) = leaders(rig)
        assert second != first
        rig.assert_clean()


def test_a_site_that_fails_does_not_stop_another(database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    failed = threading.Event()

    def settle_or_fail(conn: Any, facts: Any, *more: Any) -> Any:
        if facts.site == "a-broken" and not failed.is_set():
            time.sleep(0.05)
            failed.set()
            raise AssertionError("grid: 1 in, 2 posted")
        return settle(conn, facts, *more)

    monkeypatch.setattr("plantprint_collector.site_accountant.settle", settle_or_fail)
    with Rig(database_url, site="a-broken") as broken, Rig(database_url) as rig, accounting(database_url) as accountant:
        for one in (broken, rig):
            body = mill()
            body["site"]["id"] = one.site
            one.apply(body)
            one.declare()
            one.store({meter: steady(meter, 0, HOUR_S) for meter in one.channel_ids})
        wait_until(
            lambda: rig.rows("select count(distinct site) from accounted_hour") == [(2,)], "both sites are settled"
        )
        assert failed.is_set()
        assert accountant.failures == 1
        broken.assert_clean()
        rig.assert_clean()
