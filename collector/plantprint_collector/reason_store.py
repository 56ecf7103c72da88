"""Why batches are incomplete, as rows of `batch_reason`; each origin keeps up its own."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal

from psycopg import Connection

from plantprint.account import HourAccount
from plantprint.contradictions import Reasons
from plantprint.facts import Issue
from plantprint.times import from_ms, to_ms

Conn = Connection[tuple[Any, ...]]
Origin = Literal["genealogy", "production"]


def replace_reasons(conn: Conn, site: str, origin: Origin, reasons: Mapping[str, Iterable[Issue]]) -> None:
    """Writes the reasons of batches in place of those that the origin gave before; none takes them away."""
    if reasons:
        conn.execute(
            "delete from batch_reason where site = %s and batch = any(%s) and origin = %s",
            (site, list(reasons), origin),
        )
        _insert(conn, site, origin, reasons)


def forget_reasons(conn: Conn, site: str, origin: Origin) -> None:
    conn.execute("delete from batch_reason where site = %s and origin = %s", (site, origin))


def replace_hours(conn: Conn, site: str, accounts: Sequence[HourAccount]) -> None:
    """Writes what contradicts itself in consecutive hours in place of what was written for them before."""
    span = from_ms(accounts[0].hour_ms), from_ms(accounts[-1].hour_ms)
    conn.execute("delete from batch_reason where site = %s and origin = 'hour' and at between %s and %s", (site, *span))
    for account in accounts:
        _insert(conn, site, "hour", account.contradictions)


def facts_against(conn: Conn, site: str, batches: Iterable[str]) -> Reasons:
    """Of batches the contradictions in settled hours, and the jobs that were kept out; genealogy tells its own."""
    rows = conn.execute(
        "select batch, code, place, message, remedy, at from batch_reason "
        "where site = %s and batch = any(%s) and origin <> 'genealogy'",
        (site, list(batches)),
    ).fetchall()
    found: dict[str, list[Issue]] = {}
    for batch, code, place, message, remedy, at in rows:
        found.setdefault(batch, []).append(Issue(code, place, message, remedy, to_ms(at)))
    return {batch: tuple(sorted(several)) for batch, several in found.items()}


def _insert(conn: Conn, site: str, origin: str, reasons: Mapping[str, Iterable[Issue]]) -> None:
    rows = [
        (site, batch, one.code, one.place, from_ms(one.at_ms), one.message, one.remedy, origin)
        for batch, several in reasons.items()
        for one in sorted(several)
    ]
    if rows:
        with conn.cursor() as cursor:
            cursor.executemany(
                "insert into batch_reason (site, batch, code, place, at, message, remedy, origin) "
                "values (%s, %s, %s, %s, %s, %s, %s, %s) on conflict do nothing",
                rows,
            )
