"""Raw readings that are old enough are dropped; their hours stay as they were posted, and what comes too late for them is told."""

import json
import threading
from collections.abc import Iterator

import psycopg
import pytest
from accounting_cases import HOUR
from fake_agent import query, wait_until
from ledger_rig import SITE, Rig, mill, steady
from pydantic import SecretStr
from typer.testing import CliRunner

from plantprint.facts import Reading
from plantprint.ledger import Net
from plantprint.times import SiteClock, format_instant, from_ms
from plantprint_cli.__main__ import app
from plantprint_collector import horizon, store
from plantprint_collector.config import Settings
from plantprint_collector.connection import connect
from plantprint_collector.housekeeping import Housekeeping, drop_a_day, forget_readings
from plantprint_collector.limits import site_clocks

pytestmark = pytest.mark.integration

H = 3600
DAY_MS = 24 * H * 1000
EDGE = HOUR + DAY_MS
COUNT = "select count(*) from reading"


@pytest.fixture
def rig(database_url: str) -> Iterator[Rig]:
    """Thirty hours of the mill from 22:00, all but the last settled; a job goes over the second midnight."""
    with Rig(database_url) as made:
        made.apply(mill())
        made.declare()
        made.job("j", "u1", 20 * H, 25 * H)
        made.steady(-2 * H, 28 * H, 600)
        made.run()
        yield made


def drop(rig: Rig) -> int:
    """Everything that is settled, day by day; returns since when readings are kept."""
    _, from_ms_ = forget_readings(rig.conn, 0, 0)
    while drop_a_day(rig.conn, from_ms_):
        pass
    return from_ms_


def issues(rig: Rig) -> list[tuple[str, int]]:
    return rig.rows("select place, seen from issue where code = %s order by at, place", horizon.CODE)


def written(rig: Rig) -> tuple[int, Net]:
    ((postings,),) = rig.rows("select count(*) from posting")
    return int(postings), rig.net(-3, 40)


def test_hours_of_dropped_readings_stay_and_the_next_ones_go_on_from_them(rig: Rig) -> None:
    before = written(rig)
    assert drop(rig) == EDGE
    assert rig.rows(COUNT + " where measured_at < %s", from_ms(EDGE)) == [(0,)]
    assert rig.rows("select count(*) from interval where hour_at < %s", from_ms(EDGE)) != [(0,)]
    rig.restart()
    store.mark_site(rig.conn, SITE, from_ms_=0, to_ms_=EDGE + DAY_MS, cause="recompute")
    rig.run()
    assert written(rig) == before
    audit = rig.audit()
    assert (audit.findings, audit.kept_hours, audit.hours) == ([], 27, 4)
    rig.store({m: steady(m, 28 * H, 30 * H, 600) for m in rig.channel_ids})
    rig.run()
    assert (rig.audit().findings, rig.audit().hours) == ([], 6)


def test_a_late_reading_at_the_edge_changes_what_is_behind_it_only_and_tells(rig: Rig) -> None:
    drop(rig)
    kept, behind = rig.net(-3, 23), rig.net(24, 40)
    rig.store({"m1": [Reading(r.t_ms, r.value + 3_000, revision=1) for r in steady("m1", 24 * H + 600, 28 * H, 600)]})
    rig.run()
    assert rig.net(-3, 23) == kept
    assert rig.net(24, 40) != behind
    assert rig.audit().findings == []
    assert issues(rig) == [("m1", 1)]
    rig.store({"m1": [Reading(r.t_ms, r.value + 4_000, revision=2) for r in steady("m1", 24 * H + 600, 28 * H, 600)]})
    rig.run()
    assert issues(rig) == [("m1", 2)]


def test_a_late_event_before_the_edge_is_told_with_what_to_do(rig: Rig) -> None:
    drop(rig)
    kept = rig.net(-3, 23)
    rig.event("job_end", 24.5 * H, "j.end", 1, job="j")
    rig.run()
    assert issues(rig) == []
    rig.event("job_start", 22 * H, "j.start", 1, job="j", batch="b-j", work_unit="u1")
    rig.run()
    assert rig.net(-3, 23) == kept
    assert rig.audit().findings == []
    ((message, remedy, at),) = rig.rows("select message, remedy, at from issue where code = %s", horizon.CODE)
    assert f"before {format_instant(EDGE)} were dropped" in message
    assert "PLANTPRINT_READING_DAYS_MAX" in remedy
    assert at < from_ms(EDGE)


def test_when_a_channel_began_is_known_after_its_first_readings_are_gone(database_url: str) -> None:
    """Else a meter that is silent at the edge would seem not to be there yet, which is not the same as missing."""
    with Rig(database_url) as rig:
        rig.apply(mill())
        rig.declare()
        rig.steady(0, 28 * H, 600, meters=("incomer", "m1", "gas"))
        rig.store({"m2": [r for r in steady("m2", 0, 28 * H, 600) if not 23 * H < (r.t_ms - HOUR) // 1000 < 26.5 * H]})
        rig.run()
        before = written(rig)
        assert drop(rig) == EDGE
        rig.restart()
        store.mark_site(rig.conn, SITE, from_ms_=EDGE, to_ms_=EDGE + DAY_MS, cause="recompute")
        rig.run()
        assert written(rig) == before
        assert rig.audit().findings == []


@pytest.mark.contradicts("a meter's channel is given to another site behind our back")
def test_what_is_not_settled_or_marked_keeps_its_readings(rig: Rig) -> None:
    store.mark_site(rig.conn, SITE, from_ms_=HOUR + H * 1000, to_ms_=EDGE, cause="recompute")
    assert forget_readings(rig.conn, 0, 0) == (HOUR + 28 * H * 1000, HOUR)
    rig.run()
    assert forget_readings(rig.conn, 0, 0)[1] == EDGE
    rig.conn.execute("insert into site (site, clock) values ('other', '{\"kind\": \"data\"}')")
    rig.conn.execute("insert into plant_model (site, version, body, yaml) values ('other', 1, '{}', '')")
    rig.store({m: steady(m, 28 * H, 50 * H, 600) for m in rig.channel_ids})
    rig.run()
    rig.conn.execute("update channel set site = 'other' where name = 'gas'")
    assert forget_readings(rig.conn, 0, 0)[1] == EDGE
    rig.conn.execute("delete from plant_model where site = 'other'")
    assert forget_readings(rig.conn, 0, 0)[1] == EDGE + DAY_MS


def test_nobody_counts_on_readings_that_are_about_to_go(rig: Rig) -> None:
    with connect(rig.dsn, application="test", timeout_s=30) as dropper:
        dropper.execute("set lock_timeout = '50ms'")
        with rig.work.transaction():  # repeatable read, as the accountant's
            assert horizon.hold(rig.work) == 0
            with pytest.raises(psycopg.errors.LockNotAvailable):
                forget_readings(dropper, 0, 0)
        found: list[int] = []

        def account() -> None:
            with rig.work.transaction():
                found.append(horizon.hold(rig.work))

        with dropper.transaction():
            forget_readings(dropper, 0, 0)
            waiting = threading.Thread(target=account)
            waiting.start()
            wait_until(lambda: rig.rows("select count(*) from pg_locks where not granted") == [(1,)], "waits")
            assert site_clocks(rig.conn, [SITE]).readings_from_ms == 0  # the intake does not
        waiting.join()
    assert found == [EDGE]


def test_recompute_says_what_stays(rig: Rig) -> None:
    drop(rig)

    def recompute(from_ms_: int, to_ms_: int, *more: str) -> tuple[int, str]:
        span = ["--from", format_instant(from_ms_), "--to", format_instant(to_ms_)]
        result = CliRunner().invoke(app, ["recompute", SITE, *span, "--database-url", rig.dsn, *more])
        return result.exit_code, result.stdout + str(result.exception)

    status, told = recompute(HOUR, EDGE + H * 1000, "--dry-run", "--json")
    body = json.loads(told.splitlines()[0])
    assert (status, body["hours"], body["hours_kept"], body["readings_from"]) == (0, 1, 24, format_instant(EDGE))
    assert "24 hours stay as they were posted" in recompute(HOUR, EDGE + H * 1000, "--dry-run")[1]
    for more in ((), ("--dry-run",)):
        status, told = recompute(HOUR, EDGE, *more)
        assert status == 1
        assert f"readings before {format_instant(EDGE)} were dropped" in told
    assert "readings before were dropped" in recompute(HOUR, EDGE + H * 1000, "--wait", "0")[1]
    assert rig.rows("select from_at from dirty") == [(from_ms(EDGE),)]


def test_housekeeping_drops_by_its_setting(rig: Rig) -> None:
    """By the sites' clocks: a day is old enough two days after the newest reading is."""
    rig.store({m: steady(m, 28 * H, 73 * H, 600) for m in rig.channel_ids})
    rig.run()
    settings = Settings(database_url=SecretStr(rig.dsn), reading_days_max=2, compress_after_days=0, housekeeping_s=0.1)
    house = Housekeeping(settings)
    house.start()
    wait_until(lambda: query(rig.dsn, COUNT + f" where measured_at < '{from_ms(EDGE)}'") == [(0,)], "dropped")
    assert rig.rows("select dropped_before from reading_drop") == [(from_ms(EDGE),)]
    store.set_clock(rig.conn, SITE, SiteClock("data", site_origin_ms=EDGE))
    house.stop()
    assert not house.is_working
    assert rig.audit().findings == []
