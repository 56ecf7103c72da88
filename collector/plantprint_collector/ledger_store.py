"""Reads and writes what accounting derives: net postings per hour, the hours' carry, issues."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import orjson
from psycopg import Connection

from plantprint.account import Carry, HourAccount
from plantprint.facts import Issue
from plantprint.ledger import Net, Posting, PostingKey, corrections
from plantprint.times import from_ms, to_ms

Conn = Connection[tuple[Any, ...]]

_FAR_MS = 250_000_000_000_000


@dataclass(frozen=True, slots=True)
class HourRow:
    hour_ms: int
    status: str
    carry: Carry


def known_now(conn: Conn) -> datetime:
    """The instant that postings are known from, to the millisecond that statements and readers can name."""
    row = conn.execute("select date_trunc('milliseconds', clock_timestamp())").fetchone()
    assert row is not None
    known_at: datetime = row[0]
    return known_at


def load_hours(conn: Conn, site: str, from_ms_: int, upto_ms: int) -> dict[int, HourRow]:
    """Accounted hours with from ≤ start ≤ upto, by their start."""
    rows = conn.execute(
        "select hour_at, status, carry from accounted_hour where site = %s and hour_at between %s and %s",
        (site, from_ms(from_ms_), from_ms(upto_ms)),
    ).fetchall()
    return {to_ms(hour): HourRow(to_ms(hour), status, Carry.from_json(carry)) for hour, status, carry in rows}


def settled_bounds(conn: Conn, site: str) -> tuple[int, int] | None:
    """First and last settled hour, or None before the first."""
    row = conn.execute(
        "select min(hour_at), max(hour_at) from accounted_hour where site = %s and status = 'settled'", (site,)
    ).fetchone()
    return None if row is None or row[0] is None else (to_ms(row[0]), to_ms(row[1]))


def load_net(
    conn: Conn, site: str, from_ms_: int, upto_ms: int, account: tuple[str, str] | None = None
) -> dict[int, Net]:
    """Net postings per hour with from ≤ start ≤ upto; of one (kind, id) account when given."""
    condition, values = "", tuple[str, ...]()
    if account is not None:
        condition, values = " and account_kind = %s and account_id = %s", account
    rows = conn.execute(
        "select hour_at, account_kind, account_id, work_unit, step, source, entered_at, quality, portion, sum(amount)::bigint "
        f"from posting where site = %s and hour_at between %s and %s{condition} "
        "group by 1, 2, 3, 4, 5, 6, 7, 8, 9 having sum(amount) <> 0",
        (site, from_ms(from_ms_), from_ms(upto_ms), *values),
    ).fetchall()
    found: dict[int, Net] = {}
    for hour, kind, account_id, work_unit, step, source, entered, quality, portion, amount in rows:
        key = PostingKey(to_ms(hour), kind, account_id, work_unit, step, source, to_ms(entered), quality, portion)
        found.setdefault(key.hour_ms, {})[key] = amount
    return found


def load_account(conn: Conn, site: str, kind: str, account_id: str) -> Net:
    """The whole net of one account over all hours."""
    return load_accounts(conn, site, kind, [account_id])[account_id]


def load_accounts(conn: Conn, site: str, kind: str, account_ids: Sequence[str]) -> dict[str, Net]:
    """The whole net of each account of a kind over all hours."""
    rows = conn.execute(
        "select hour_at, account_id, work_unit, step, source, entered_at, quality, portion, sum(amount)::bigint "
        "from posting where site = %s and account_kind = %s and account_id = any(%s) "
        "group by 1, 2, 3, 4, 5, 6, 7, 8 having sum(amount) <> 0",
        (site, kind, list(account_ids)),
    ).fetchall()
    found: dict[str, Net] = {account_id: {} for account_id in account_ids}
    for hour, account_id, work_unit, step, source, entered, quality, portion, amount in rows:
        key = PostingKey(to_ms(hour), kind, account_id, work_unit, step, source, to_ms(entered), quality, portion)
        found[account_id][key] = amount
    return found


def write_hours(
    conn: Conn, site: str, accounts: Sequence[HourAccount], known: dict[int, Net], cause: str, known_at: datetime
) -> list[Posting]:
    """Settles hours: corrections against the known net, and carry. Returns the postings written."""
    postings = [p for account in accounts for p in corrections(known.get(account.hour_ms, {}), account.net, cause)]
    insert_postings(conn, site, postings, known_at)
    with conn.cursor() as cursor:
        cursor.executemany(
            "insert into accounted_hour values (%s, %s, 'settled', %s, %s) on conflict (site, hour_at) do update "
            "set status = excluded.status, carry = excluded.carry, known_at = excluded.known_at",
            [(site, from_ms(a.hour_ms), orjson.dumps(a.carry.to_json()).decode(), known_at) for a in accounts],
        )
    return postings


def insert_postings(conn: Conn, site: str, postings: Iterable[Posting], known_at: datetime) -> None:
    columns = (
        "site, hour_at, account_kind, account_id, work_unit, step, source, entered_at, quality, portion, amount, cause, "
        "known_at"
    )
    with conn.cursor() as cursor, cursor.copy(f"copy posting ({columns}) from stdin") as copy:
        for p in postings:
            k = p.key
            copy.write_row(
                (site, from_ms(k.hour_ms), k.account_kind, k.account_id, k.work_unit, k.step, k.source,
                 from_ms(k.entered_ms), k.quality, k.portion, p.amount, p.cause, known_at)
            )  # fmt: skip


def replace_issues(conn: Conn, site: str, origin: str, span: tuple[int, int] | None, issues: Iterable[Issue]) -> None:
    """Records issues of one origin; those it had before (in the span of instants) that are gone are closed, not deleted."""
    rows = {(i.code, i.place, i.at_ms): i for i in issues}
    low, high = span or (0, 2**50)
    known = conn.execute(
        "select code, place, at from issue where site = %s and origin = %s and open and at >= %s and at < %s",
        (site, origin, from_ms(low), from_ms(min(high, _FAR_MS))),
    ).fetchall()
    gone = [(code, place, at) for code, place, at in known if (code, place, to_ms(at)) not in rows]
    _close_issues(conn, site, gone)
    add_issues(conn, site, origin, rows.values())


def close_issues(conn: Conn, site: str, issues: Iterable[Issue]) -> None:
    """They are not so any more; what was recorded stays."""
    _close_issues(conn, site, [(i.code, i.place, from_ms(i.at_ms)) for i in issues])


def _close_issues(conn: Conn, site: str, gone: Sequence[tuple[str, str, datetime]]) -> None:
    if gone:
        with conn.cursor() as cursor:
            cursor.executemany(
                "update issue set open = false where site = %s and code = %s and place = %s and at = %s",
                [(site, *row) for row in gone],
            )


def add_issues(conn: Conn, site: str, origin: str, issues: Iterable[Issue]) -> None:
    """Records issues; one that is open and as it was is left alone."""
    rows = {(i.code, i.place, i.at_ms): i for i in issues}
    if rows:
        with conn.cursor() as cursor:
            cursor.executemany(
                "insert into issue (site, origin, code, place, message, remedy, at) values (%s, %s, %s, %s, %s, %s, %s) "
                "on conflict (site, code, place, at) do update set open = true, last_seen_at = now(), "
                "seen = issue.seen + 1, message = excluded.message, remedy = excluded.remedy "
                "where not issue.open or (issue.message, issue.remedy) <> (excluded.message, excluded.remedy)",
                [(site, origin, i.code, i.place, i.message, i.remedy, from_ms(at)) for (_, _, at), i in rows.items()],
            )
