"""What accounting a span again would change and why, without writing anything."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from psycopg import Connection, IsolationLevel

from plantprint.ledger import Net, PostingKey
from plantprint.times import HOUR_MS, format_instant, from_ms, hour_floor, to_ms
from plantprint_collector import horizon
from plantprint_collector.books import account_hours, load_facts
from plantprint_collector.connection import connect
from plantprint_collector.facts_store import load_clock, newest_by_channel
from plantprint_collector.ledger_store import load_hours, load_net, settled_bounds
from plantprint_collector.settling import carry_before

Conn = Connection[tuple[Any, ...]]

_HOURS_AT_ONCE = 24
_TIMEOUT_S = 3600.0


class NothingSettledError(ValueError):
    """The site has no plant model or no settled hour in the span that has its readings still."""


@dataclass(frozen=True, slots=True)
class Change:
    """Net amounts of one posting key, in millionths of the source's unit."""

    key: PostingKey
    known: int
    wanted: int


@dataclass(frozen=True, slots=True)
class HourPreview:
    """One settled hour accounted again; `beyond` where it lies after the span and only the carry leads there."""

    hour_ms: int
    changes: tuple[Change, ...]
    beyond: bool


@dataclass(frozen=True, slots=True)
class Pending:
    """Facts that wait to be worked in: where a difference usually comes from."""

    from_ms: int
    to_ms: int
    cause: str
    marks: int


@dataclass(frozen=True, slots=True)
class Kept:
    """Settled hours of the span that stay as they are: readings before `readings_from_ms` were dropped."""

    hours: int
    readings_from_ms: int


Found = HourPreview | Pending | Kept | int


def preview(dsn: str, site: str, low_ms: int, high_ms: int) -> Iterator[Found]:
    """First the number of hours in the span, then what is pending in it, then hour after hour, all in one snapshot.

    Goes on behind the span while the carry differs from the stored one, as accounting would. Raises
    `NothingSettledError`.
    """
    with connect(dsn, application="plantprint-preview", timeout_s=_TIMEOUT_S) as conn:
        conn.isolation_level = IsolationLevel.REPEATABLE_READ
        conn.read_only = True
        with conn.transaction():
            yield from _preview(conn, site, (low_ms, high_ms), horizon.hold(conn))


def _preview(conn: Conn, site: str, asked: tuple[int, int], readings_from_ms: int) -> Iterator[Found]:
    facts, bounds = load_facts(conn, site), settled_bounds(conn, site)
    if facts is None or bounds is None:
        raise NothingSettledError(f"site {site!r} has nothing settled; what is open is accounted anew in every pass")
    low_ms, high_ms = asked
    first, last = max(hour_floor(low_ms), bounds[0]), min(hour_floor(max(high_ms - 1, low_ms)), bounds[1])
    kept = max(0, min(last + HOUR_MS, readings_from_ms) - first) // HOUR_MS
    first += kept * HOUR_MS
    if kept and last < first:
        raise NothingSettledError(
            f"readings before {format_instant(readings_from_ms)} were dropped: these hours stay as they were posted; name a"
            " later span"
        )
    if last < first:
        raise NothingSettledError(
            f"no hour of that span is settled; settled are {from_ms(bounds[0])} to {from_ms(bounds[1] + HOUR_MS)}"
        )
    yield (last - first) // HOUR_MS + 1
    if kept:
        yield Kept(kept, readings_from_ms)
    yield from _pending(conn, site, first, last + HOUR_MS)
    clock = load_clock(conn, site)
    now_ms = clock.now_ms(_wall_ms(conn), max(newest_by_channel(conn, site).values(), default=None))
    carry = carry_before(conn, site, first)
    for start in range(first, bounds[1] + 1, _HOURS_AT_ONCE * HOUR_MS):
        hours = range(start, min(start + _HOURS_AT_ONCE * HOUR_MS, bounds[1] + HOUR_MS), HOUR_MS)
        known, stored = load_net(conn, site, hours[0], hours[-1]), load_hours(conn, site, hours[0], hours[-1])
        for account in account_hours(conn, facts, hours, carry, now_ms):
            carry, hour_ms = account.carry, account.hour_ms
            yield HourPreview(hour_ms, _changes(known.get(hour_ms, {}), account.net), hour_ms > last)
            row = stored.get(hour_ms)
            if hour_ms >= last and row is not None and row.carry == carry:
                return


def _changes(known: Net, wanted: Net) -> tuple[Change, ...]:
    keys = sorted(key for key in known.keys() | wanted.keys() if known.get(key, 0) != wanted.get(key, 0))
    return tuple(Change(key, known.get(key, 0), wanted.get(key, 0)) for key in keys)


def _pending(conn: Conn, site: str, low_ms: int, high_ms: int) -> Iterator[Pending]:
    """Marks that reach into the span, by cause."""
    rows = conn.execute(
        "select min(from_at), max(to_at), cause, count(*) from dirty where site = %s and from_at < %s and to_at >= %s "
        "group by cause order by count(*) desc",
        (site, from_ms(high_ms), from_ms(low_ms)),
    ).fetchall()
    for low, high, cause, marks in rows:
        yield Pending(to_ms(low), to_ms(high), cause, marks)


def _wall_ms(conn: Conn) -> int:
    row = conn.execute("select (extract(epoch from clock_timestamp()) * 1000)::bigint").fetchone()
    assert row is not None
    return int(row[0])
