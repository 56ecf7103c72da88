"""Settling hours and working in late facts: whole hours from stored readings, corrections against the ledger."""

import time
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from psycopg import Connection

from plantprint.account import EMPTY_CARRY, Carry, HourAccount
from plantprint.times import HOUR_MS, from_ms, hour_floor
from plantprint_collector.books import SiteFacts, account_hours
from plantprint_collector.facts_book import Touched
from plantprint_collector.ledger_store import HourRow, known_now, load_hours, load_net, replace_issues, write_hours
from plantprint_collector.reason_store import replace_hours
from plantprint_collector.repeats import find_repeats
from plantprint_collector.statuses import record_closed
from plantprint_collector.stored_hours import Again, Kept, StoredHours, forget, write_intervals

Conn = Connection[tuple[Any, ...]]

_HOURS_AT_ONCE_MAX = 512
_SLICE_S = 0.5
_NOTHING_KEPT: Mapping[int, Collection[str]] = {}


@dataclass(slots=True)
class Pace:
    """How many hours are read at once: doubled while a slice is quick, so that dense and sparse plants both go well."""

    hours: int = 1

    def after(self, seconds: float) -> None:
        self.hours = max(1, min(_HOURS_AT_ONCE_MAX, self.hours * 2 if seconds < _SLICE_S else self.hours // 2))


@dataclass(slots=True)
class Worked:
    """What was done to the ledger: hours and postings written, to which batches, the last two hours, and what is left to do.

    `kept` are, by hour, the meters that were taken as stored; all others of these hours were read anew.
    """

    hours: int = 0
    postings: int = 0
    batches: set[str] = field(default_factory=set)
    last: list[HourAccount] = field(default_factory=list)
    waiting: list[int] = field(default_factory=list)
    kept: dict[int, Collection[str]] = field(default_factory=dict)


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
    conn: Conn, facts: SiteFacts, again: Mapping[int, Again], last_ms: int, now_ms: int, cause: str, seconds_max: float
) -> Worked:
    """Accounts hours `again` up to the last settled one, and on from each until its carry equals the stored one.

    Of other meters than those named by hour the stored hour is taken, as long as it was made of the same. `waiting` are
    hours that did not fit into `seconds_max`: work them in later, with whatever comes; they know their meters.
    """
    worked = Worked()
    pace = Pace()
    began = time.monotonic()
    todo = {hour: meters for hour, meters in again.items() if hour <= last_ms}
    while todo and (not worked.hours or time.monotonic() - began < seconds_max):
        started = time.monotonic()
        first = min(todo)
        span = [hour for n in range(pace.hours) if (hour := first + n * HOUR_MS) <= last_ms]
        accounts = _account_again(conn, facts, span, todo, now_ms)
        _write(conn, facts, [account for account, _ in accounts], cause, worked, {a.hour_ms: k for a, k in accounts})
        pace.after(time.monotonic() - started)
        todo = {hour: meters for hour, meters in todo.items() if hour <= last_ms}
    for hour_ms, meters in todo.items():
        forget(conn, facts.site, hour_ms, meters, facts.every_meter)
    worked.waiting = sorted(todo)
    return worked


def _account_again(
    conn: Conn, facts: SiteFacts, span: Sequence[int], todo: dict[int, Again], now_ms: int
) -> list[tuple[HourAccount, Collection[str]]]:
    """Hours of a span as far as they are to do, each with the meters that were taken as stored; keeps `todo` up."""
    stored = StoredHours(conn, facts.site, span, facts.every_meter)
    before = stored.rows.get(span[0] - HOUR_MS)
    done: list[tuple[HourAccount, Collection[str]]] = []
    kept: Collection[str] = ()

    def keep(hour_ms: int, _carry: Carry) -> Kept:
        nonlocal kept
        found = stored.keep(hour_ms, facts.made_of(hour_ms), todo.get(hour_ms, ()))
        kept = found.hours.keys()
        return found

    for account in account_hours(conn, facts, span, EMPTY_CARRY if before is None else before.carry, now_ms, keep):
        done.append((account, kept))
        row, following = stored.rows.get(account.hour_ms), account.hour_ms + HOUR_MS
        todo.pop(account.hour_ms, None)
        if row is None or row.carry != account.carry:
            todo[following] = join_again(todo.get(following, ()), _differing(row, account.carry))
        elif following not in todo:
            break
    return done


def _differing(row: HourRow | None, carry: Carry) -> set[str]:
    """The meters that begin the next hour with another state than they did."""
    old, new = {} if row is None else row.carry.meters, carry.meters
    return {meter for meter in old.keys() | new.keys() if old.get(meter) != new.get(meter)}


def join_again(one: Again, other: Again) -> Again:
    return None if one is None or other is None else {*one, *other}


def hours_again(touched: Iterable[Touched], first_ms: int) -> dict[int, Again]:
    """The hours that spans of time touch, with the meters to look at again."""
    again: dict[int, Again] = {}
    for (low, high), _, meters in touched:
        for hour_ms in range(hour_floor(low), hour_floor(high) + 1, HOUR_MS):
            again[hour_ms] = join_again(again.get(hour_ms, ()), meters)
    # An hour before the first that there is makes one of every hour in between.
    for hour_ms in range(min(again, default=first_ms + 1), first_ms + 1, HOUR_MS):
        again.setdefault(hour_ms, ())
    return again


def _write(
    conn: Conn,
    facts: SiteFacts,
    accounts: list[HourAccount],
    cause: str,
    worked: Worked,
    kept: Mapping[int, Collection[str]] = _NOTHING_KEPT,
) -> None:
    first, last = accounts[0].hour_ms, accounts[-1].hour_ms
    known = load_net(conn, facts.site, first, last)
    written = write_hours(conn, facts.site, accounts, known, cause, known_now(conn))
    worked.postings += len(written)
    worked.batches.update(posting.key.account_id for posting in written if posting.key.account_kind == "batch")
    made_of = {account.hour_ms: facts.made_of(account.hour_ms) for account in accounts}
    write_intervals(conn, facts.site, accounts, made_of, kept, facts.every_meter)
    record_closed(conn, facts.site, accounts)
    worked.hours += len(accounts)
    worked.kept |= {account.hour_ms: kept.get(account.hour_ms, ()) for account in accounts}
    worked.last = [*worked.last, *accounts][-2:]
    issues = [issue for account in accounts for issue in account.issues]
    issues += find_repeats(conn, facts.site, accounts)
    replace_issues(conn, facts.site, "hour", (first, last + HOUR_MS), issues)
    replace_hours(conn, facts.site, accounts)
    conn.execute(
        "delete from batch_missing where site = %s and hour_at between %s and %s",
        (facts.site, from_ms(first), from_ms(last)),
    )
    with conn.cursor() as cursor:
        cursor.executemany(
            "insert into batch_missing values (%s, %s, %s, %s)",
            [(facts.site, batch, from_ms(a.hour_ms), ms) for a in accounts for batch, ms in a.missing_ms.items()],
        )
