"""Accounting a span again: what it would change is shown before anything is written, and the order is worked off."""

import json
import threading
from collections.abc import Iterator

import pytest
from accounting_cases import HOUR
from ledger_rig import SITE, Rig, mill, steady
from typer.testing import CliRunner, Result

from plantprint.facts import Reading
from plantprint.times import format_instant
from plantprint_cli.__main__ import app
from plantprint_cli.errors import CommandError

pytestmark = pytest.mark.integration

H = 3600


@pytest.fixture
def rig(database_url: str) -> Iterator[Rig]:
    """Three hours of the mill, two of them settled, with a job."""
    with Rig(database_url) as made:
        made.apply(mill())
        made.declare()
        made.job("j", "u1", 600, 5400)
        made.steady(-60, 3 * H)
        made.run()
        yield made


def recompute(rig: Rig, *more: str, from_s: int = 0, to_s: int = 2 * H) -> Result:
    span = [f"--{name}={format_instant(HOUR + s * 1000)}" for name, s in (("from", from_s), ("to", to_s))]
    return CliRunner().invoke(app, ["recompute", SITE, *span, "--database-url", rig.dsn, *more])


def postings(rig: Rig) -> int:
    ((count,),) = rig.rows("select count(*) from posting")
    return int(count)


def test_nothing_would_change_where_the_ledger_is_what_its_readings_say(rig: Rig) -> None:
    result = recompute(rig, "--dry-run", "--json")
    body = json.loads(result.stdout)
    assert result.exit_code == 0
    assert (body["hours"], body["hours_changed"], body["changes"], body["pending"]) == (2, 0, [], [])


def test_what_would_change_is_what_then_changes(rig: Rig) -> None:
    """A meter that turns out to have counted twice as fast for ten minutes: its readings come late, at revision 1."""
    late = [Reading(r.t_ms, r.value + 3_000, revision=1) for r in steady("m1", 1200, 3 * H)]
    rig.store({"m1": late})
    before = postings(rig)
    result = recompute(rig, "--dry-run", "--json", to_s=H)
    body = json.loads(result.stdout)
    assert result.exit_code == 1
    assert postings(rig) == before
    assert [p["cause"] for p in body["pending"]] == ["reading"]
    assert body["changes"]
    assert {c["source"] for c in body["changes"]} == {"grid"}

    rig.run()
    for change in body["changes"]:
        hour = int((_ms(change["hour"]) - HOUR) / 3_600_000)
        ((net,),) = rig.rows(
            "select coalesce(sum(amount), 0)::bigint from posting where account_kind || '/' || account_id = %s "
            "and source = %s and work_unit = %s and step = %s and hour_at = to_timestamp(%s)",
            change["account"],
            change["source"],
            change["work_unit"],
            change["step"],
            (HOUR + hour * 3_600_000) / 1000,
        )
        assert net == round(float(change["then"]) * 1_000_000)
    assert recompute(rig, "--dry-run").exit_code == 0
    text = recompute(rig, "--dry-run").stdout
    assert "0 would change; nothing was written" in text


def test_an_order_is_waited_for_until_the_collector_has_worked_it_off(rig: Rig) -> None:
    done = threading.Event()

    def collect() -> None:
        while not done.is_set():
            rig.run()
            done.wait(0.05)

    collector = threading.Thread(target=collect)
    collector.start()
    try:
        result = recompute(rig, "--wait", "30s", "--json")
    finally:
        done.set()
        collector.join()
    assert json.loads(result.stdout) == {"postings": 0, "readings_from": None}
    assert rig.rows("select * from dirty") == []


def test_without_a_collector_the_order_stays_and_the_command_says_so(rig: Rig) -> None:
    result = recompute(rig, "--wait", "1s")
    assert isinstance(result.exception, CommandError)
    assert "2 hours still wait after 1 s: is the collector running?" in str(result.exception)
    assert [cause for (cause,) in rig.rows("select cause from dirty")] == ["recompute"]


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["--from", "yesterday", "--to", "2026-11-24T00:00:00Z"], "'yesterday' is not an RFC 3339 time"),
        (["--from", "2026-11-24T00:00:00Z", "--to", "2026-11-23T00:00:00Z"], "must be after"),
        (
            ["--from", "2030-01-01T00:00:00Z", "--to", "2030-01-02T00:00:00Z", "--dry-run"],
            "no hour of that span is settled",
        ),
    ],
)
def test_a_span_that_says_nothing_is_refused(rig: Rig, arguments: list[str], problem: str) -> None:
    result = CliRunner().invoke(app, ["recompute", SITE, "--database-url", rig.dsn, *arguments])
    assert isinstance(result.exception, CommandError)
    assert problem in str(result.exception)


def _ms(text: str) -> int:
    from plantprint.times import parse_instant

    return parse_instant(text)
