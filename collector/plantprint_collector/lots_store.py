"""Reads what stands behind the footprint of a batch: events of genealogy by the lots in them, and missing time."""

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

from psycopg import Connection

from plantprint.ancestry import Ancestry
from plantprint.facts import EventKind, ProductionEvent
from plantprint.times import from_ms, to_ms

Conn = Connection[tuple[Any, ...]]

LOTS_MAX = 2000
"""Lots that a statement follows upstream; beyond them it says so and is incomplete."""


def events_about(conn: Conn, site: str, lots: Sequence[str]) -> list[ProductionEvent]:
    """Every revision of the orders and events of genealogy that name one of the lots, and the withdrawals of them."""
    rows = conn.execute(
        "select source, event_id, revision, kind, at, body from pp_lot_events(%s, %s::text[])", (site, list(lots))
    ).fetchall()
    return [_event(*row) for row in rows]


def ancestry_of(conn: Conn, site: str, lot: str) -> Ancestry:
    """The lot and all that is behind it."""
    ancestry = Ancestry(lot, LOTS_MAX)
    while wanted := ancestry.wanted:
        ancestry.add(events_about(conn, site, wanted))
    return ancestry


def certificates(conn: Conn, site: str, from_ms_: int, to_ms_: int) -> list[ProductionEvent]:
    """Every revision of certificates whose instant lies in a range, and the withdrawals of them."""
    rows = conn.execute(
        "select source, event_id, revision, kind, at, body from pp_certificates(%s, %s, %s)",
        (site, from_ms(from_ms_), from_ms(to_ms_)),
    ).fetchall()
    return [_event(*row) for row in rows]


def imports(conn: Conn, site: str, source: str, hours: Iterable[int]) -> dict[int, int]:
    """What entered from a source in settled hours, over all accounts, in millionths of its unit."""
    rows = conn.execute(
        "select hour_at, sum(amount)::bigint from posting where site = %s and source = %s "
        "and hour_at = any(%s) and entered_at = hour_at group by hour_at",
        (site, source, [from_ms(hour) for hour in hours]),
    ).fetchall()
    return {to_ms(hour): int(amount) for hour, amount in rows}


def with_reasons(conn: Conn, site: str, batches: Sequence[str]) -> set[str]:
    """Those of the batches that wrong facts, of settled hours or of lots behind them, make incomplete."""
    rows = conn.execute(
        "select distinct batch from batch_reason where site = %s and batch = any(%s)", (site, list(batches))
    ).fetchall()
    return {batch for (batch,) in rows}


def meter_hours(conn: Conn, site: str, meters: Iterable[str], hours: Iterable[int]) -> dict[int, dict[str, float]]:
    """What each of the meters counted in settled hours, in its unit."""
    rows = conn.execute(
        "select hour_at, meter, (select coalesce(sum(part), 0) / 1e6 from unnest(amount) part)::float8 from interval "
        "where site = %s and meter = any(%s) and hour_at = any(%s)",
        (site, list(meters), [from_ms(hour) for hour in hours]),
    ).fetchall()
    found: dict[int, dict[str, float]] = {}
    for hour, meter, amount in rows:
        found.setdefault(to_ms(hour), {})[meter] = amount
    return found


def _event(source: str, event_id: str, revision: int, kind: EventKind, at: datetime, body: Any) -> ProductionEvent:
    return ProductionEvent(source, event_id, revision, kind, to_ms(at), body)


def missing_ms(conn: Conn, site: str, batches: Iterable[str]) -> dict[str, int]:
    """How long meters behind batches were silent in settled hours; batches without silence are absent."""
    rows = conn.execute(
        "select batch, sum(missing_ms)::bigint from batch_missing where site = %s and batch = any(%s) group by batch",
        (site, list(batches)),
    ).fetchall()
    return {batch: int(ms) for batch, ms in rows}
