"""Settling hours and working in late facts: whole hours from stored readings, corrections against the ledger."""

import time
from dataclasses import dataclass, field
from typing import Any

from psycopg import Connection

from plantprint.account import EMPTY_CARRY, Carry, HourAccount
from plantprint.times import HOUR_MS, from_ms
from plantprint_collector.books import SiteFacts, account_hours
from plantprint_collector.ledger_store import known_now, load_hours, load_net, replace_issues, write_hours
from plantprint_collector.repeats import find_repeats
from plantprint_collector.statuses import record_closed

Conn = Connection[tuple[Any, ...]]

_HOURS_AT_ONCE_MAX = 512
_SLICE_S = 0.5


@dataclass(slots=True)
class Pace:
    """How many hours are read at once: doubled while a slice is quick, so that dense and sparse plants both go well."""

    hours: int = 1

    def after(self, seconds: float) -> None:
        self.hours = max(1, min(_HOURS_AT_ONCE_MAX, self.hours * 2 if seconds < _SLICE_S else self.hours // 2))


@dataclass(slots=True)
class Worked:
    """What was done to the ledger: hours and postings written, the last two hours, and what is left to do."""

    hours: int = 0
    postings: int = 0
    last: list[HourAccount] = field(default_factory=list)
    waiting: list[int] = field(default_factory=list)


def carry_before(conn: Conn, site: str, hour_ms: int) -> Carry:
    """The carry that an hour starts from; nothing before the first."""
    row = load_hours(conn, site, hour_ms - HOUR_MS, hour_ms - HOUR_MS).get(hour_ms - HOUR_MS)
    return EMPTY_CARRY if row is None else row.carry


def settle(
    conn: Conn, facts: SiteFacts, first_ms: int, count: int, now_ms: int, pace: Pace, seconds_max: float
) -> Worked:
    """Settles up to `count` hours from `first_ms` in order, as many as fit into `seconds_max` but at least one."""
    worked = Worked()
    began = time.monotonic()
    carry = carry_before(conn, facts.site, first_ms)
    while worked.hours < count and (not worked.hours or time.monotonic() - began < seconds_max):
        started = time.monotonic()
        start = first_ms + worked.hours * HOUR_MS
        hours = [start + n * HOUR_MS for n in range(min(pace.hours, count - worked.hours))]
        accounts = list(account_hours(conn, facts, hours, carry, now_ms))
        _write(conn, facts, accounts, "settled", worked)
        carry = accounts[-1].carry
        pace.after(time.monotonic() - started)
    return worked


def settle_known(conn: Conn, facts: SiteFacts, accounts: list[HourAccount]) -> Worked:
    """Settles hours that were accounted from readings in memory, in order from the first open one."""
    worked = Worked()
    _write(conn, facts, accounts, "settled", worked)
    return worked


def rework(
    conn: Conn, facts: SiteFacts, hours: set[int], last_ms: int, now_ms: int, cause: str, seconds_max: float
) -> Worked:
    """Accounts touched hours again up to the last settled one, and on from each until its carry equals the stored one.

    `waiting` are hours that did not fit into `seconds_max`: work them in later, with whatever comes.
    """
    worked = Worked()
    pace = Pace()
    began = time.monotonic()
    waiting = sorted(hour for hour in hours if hour <= last_ms)
    while waiting and (not worked.hours or time.monotonic() - began < seconds_max):
        carry = carry_before(conn, facts.site, waiting[0])
        span = [waiting[0] + n * HOUR_MS for n in range(pace.hours) if waiting[0] + n * HOUR_MS <= last_ms]
        stored = load_hours(conn, facts.site, span[0], span[-1])
        touched = set(waiting)
        started = time.monotonic()
        accounts: list[HourAccount] = []
        for account in account_hours(conn, facts, span, carry, now_ms):
            accounts.append(account)
            row = stored.get(account.hour_ms)
            touched.discard(account.hour_ms)
            if row is None or row.carry != account.carry:
                touched.add(account.hour_ms + HOUR_MS)
            elif account.hour_ms + HOUR_MS not in touched:
                break
        _write(conn, facts, accounts, cause, worked)
        pace.after(time.monotonic() - started)
        waiting = sorted(hour for hour in touched if hour <= last_ms)
    worked.waiting = waiting
    return worked


def _write(conn: Conn, facts: SiteFacts, accounts: list[HourAccount], cause: str, worked: Worked) -> None:
    first, last = accounts[0].hour_ms, accounts[-1].hour_ms
    known = load_net(conn, facts.site, first, last)
    worked.postings += write_hours(conn, facts.site, accounts, known, cause, known_now(conn))
    record_closed(conn, facts.site, accounts)
    worked.hours += len(accounts)
    worked.last = [*worked.last, *accounts][-2:]
    issues = [issue for account in accounts for issue in account.issues]
    issues += find_repeats(conn, facts.site, accounts)
    replace_issues(conn, facts.site, "hour", (first, last + HOUR_MS), issues)
    conn.execute(
        "delete from batch_missing where site = %s and hour_at between %s and %s",
        (facts.site, from_ms(first), from_ms(last)),
    )
    with conn.cursor() as cursor:
        cursor.executemany(
            "insert into batch_missing values (%s, %s, %s, %s)",
            [(facts.site, batch, from_ms(a.hour_ms), ms) for a in accounts for batch, ms in a.missing_ms.items()],
        )
