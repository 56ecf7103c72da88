"""Small typed functions that write and read single facts: events, plant models, factors, clocks, issues.

All run in the caller's transaction. Events mark what they change as dirty and send NOTIFY `plantprint_event` with the
site by a trigger on their table (0006), so that every writer does. Ranges that are open to a side end at `OPEN_START` and
`OPEN_END`, which every client can read (`-infinity` is beyond Python's datetime).
"""

from collections.abc import Iterable
from dataclasses import asdict
from datetime import datetime
from typing import Any, Literal

from psycopg import Connection
from psycopg.types.json import Jsonb

from plantprint.facts import Issue, ProductionEvent
from plantprint.source_history import unit_changes
from plantprint.times import HOUR_MS, SiteClock, format_instant, from_ms, hour_floor, parse_instant, to_ms

Conn = Connection[tuple[Any, ...]]
EventStatus = Literal["stored", "known", "conflict"]

NO_MODEL = "site-without-model"
NO_MODEL_REMEDY = (
    "apply its plant model (plantprint model apply); if the name is mistyped, correct it at the sender, then"
    " `plantprint site discard` takes the site away"
)
OPEN_START_MS = 0
OPEN_END_MS = parse_instant("3000-01-01T00:00:00Z")

# The id changes by itself when a dump was restored (another table, perhaps on another system), or when the server was
# recovered to a point in time or replaced by its standby (another timeline): then chunks may be missing that it had
# acknowledged.
_STORE_ID = (
    "select value || '.' || 'meta'::regclass::oid || '.' || (select system_identifier from pg_control_system())"
    " || '.' || left(pg_walfile_name(pg_current_wal_lsn()), 8) from meta where key = 'store_id'"
)


def store_id(conn: Conn) -> str:
    """What agents know this store by; another id makes them send again what they kept."""
    row = conn.execute(_STORE_ID).fetchone()
    assert row is not None, "the database has no store id: run `plantprint migrate`"
    return str(row[0])


def renew_store_id(conn: Conn) -> str:
    """For after a restore that the id cannot see by itself, such as a copied disk; returns the new id."""
    conn.execute("update meta set value = gen_random_uuid()::text where key = 'store_id'")
    return store_id(conn)


def ensure_site(conn: Conn, site: str) -> None:
    conn.execute("insert into site (site) values (%s) on conflict do nothing", (site,))


def add_unknown_site(conn: Conn, site: str, topic: str) -> None:
    """A site that came with a message and has no plant model yet; an issue says so until it has one."""
    ensure_site(conn, site)
    message = f"messages name site {site!r}, which has no plant model: they are stored, and nothing of it is accounted"
    raise_issue(conn, site, Issue(NO_MODEL, topic, message, NO_MODEL_REMEDY))


def insert_event(conn: Conn, site: str, event: ProductionEvent) -> EventStatus:
    """`known`: it is there already; `conflict`: another content is there under its id and revision, and stays."""
    values = (event.kind, from_ms(event.at_ms), Jsonb(event.body))
    identity = (site, event.source, event.event_id, event.revision)
    inserted = conn.execute(
        "insert into production_event (site, source, event_id, revision, kind, at, body)"
        " values (%s, %s, %s, %s, %s, %s, %s) on conflict do nothing",
        (*identity, *values),
    )
    if inserted.rowcount:
        return "stored"
    same = conn.execute(
        "select (kind, at, body) = (%s, %s, %s) from production_event"
        " where (site, source, event_id, revision) = (%s, %s, %s, %s)",
        (*values, *identity),
    ).fetchone()
    return "known" if same == (True,) else "conflict"


def apply_plant_model(
    conn: Conn, site: str, yaml_text: str, body_json: dict[str, Any], effective_ms: int | None
) -> int:
    """Stores a model and returns its version; the first one applies from the beginning, whatever it says.

    A model whose text is already the newest version changes nothing and returns that version. Raises `ValueError` for
    an effective time that is no full hour, and for a source that has another unit than in another version.
    """
    if effective_ms is not None and effective_ms != hour_floor(effective_ms):
        remedy = f"use {format_instant(hour_floor(effective_ms))}; valid_from of a binding may lie inside an hour"
        raise ValueError(f"a model takes effect at a full hour (UTC), not at {format_instant(effective_ms)}: {remedy}")
    ensure_site(conn, site)
    conn.execute("select from site where site = %s for update", (site,))  # one version after the other
    newest = conn.execute(
        "select version, yaml, effective_at from plant_model where site = %s order by version desc limit 1", (site,)
    ).fetchone()
    effective_at = None if newest is None or effective_ms is None else from_ms(effective_ms)
    if newest is not None and newest[1] == yaml_text and (newest[0] == 1 or newest[2] == effective_at):
        return int(newest[0])
    _refuse_units(conn, site, body_json, effective_at)
    version = 1 if newest is None else int(newest[0]) + 1
    conn.execute(
        "insert into plant_model (site, version, effective_at, body, yaml) values (%s, %s, %s, %s, %s)",
        (site, version, effective_at, Jsonb(body_json), yaml_text),
    )
    conn.execute("update site set name = %s where site = %s", (Jsonb(body_json["site"]["name"]), site))
    conn.execute("update issue set open = false where site = %s and code = %s", (site, NO_MODEL))
    # An hour before it takes effect the channels that it binds are followed, so that their first stretch is not lost.
    start_ms = OPEN_START_MS if newest is None or effective_ms is None else effective_ms - HOUR_MS
    mark_site(conn, site, from_ms_=start_ms, to_ms_=OPEN_END_MS, cause=f"model {version}")
    return version


def _refuse_units(conn: Conn, site: str, body_json: dict[str, Any], effective_at: datetime | None) -> None:
    """Among the versions, as they are and with this one."""
    stored = conn.execute(
        "select effective_at, coalesce(body -> 'sources', '[]') from plant_model where site = %s order by version",
        (site,),
    ).fetchall()
    versions = dict([*stored, (effective_at, body_json.get("sources", []))])
    in_order = sorted(versions.items(), key=lambda one: -1 if one[0] is None else to_ms(one[0]))
    units = [(None if at is None else to_ms(at), {s["id"]: s["unit"] for s in found}) for at, found in in_order]
    if wrong := unit_changes(units):
        raise ValueError("\n".join(wrong))


def load_factors(conn: Conn, rows: Iterable[tuple[str, dict[str, Any]]], *, keep_own: bool = False) -> int:
    """Stores (factor_id, body) rows that differ from their newest version as a next version; returns how many did.

    With `keep_own` a factor that the site has added itself stays the newest. Postings hold no factor, so nothing
    becomes dirty.
    """
    stored = 0
    for factor_id, body in rows:
        inserted = conn.execute(
            "insert into factor (factor_id, version, body)"
            " select %(id)s, coalesce(max(version), 0) + 1, %(body)s from factor where factor_id = %(id)s"
            " having not coalesce((array_agg(body order by version desc))[1] = %(body)s, false)"
            " and not (%(keep)s and coalesce((array_agg(body ->> 'known_at' order by version desc))[1], '') <> '')",
            {"id": factor_id, "body": Jsonb(body), "keep": keep_own},
        )
        stored += inserted.rowcount
    return stored


def get_clock(conn: Conn, site: str) -> SiteClock:
    """Wall time for a site that nobody has set otherwise."""
    row = conn.execute("select clock from site where site = %s", (site,)).fetchone()
    return SiteClock() if row is None else SiteClock(**row[0])


def set_clock(conn: Conn, site: str, clock: SiteClock) -> None:
    conn.execute(
        "insert into site (site, clock) values (%s, %s) on conflict (site) do update set clock = excluded.clock",
        (site, Jsonb(asdict(clock))),
    )


def mark_site(conn: Conn, site: str, *, from_ms_: int, to_ms_: int, cause: str) -> None:
    """Something that concerns more than one channel changed in the range, both ends included."""
    conn.execute(
        "insert into dirty (site, from_at, to_at, cause) values (%s, %s, %s, %s)",
        (site, from_ms(from_ms_), from_ms(to_ms_), cause),
    )


def raise_issue(conn: Conn, site: str, issue: Issue) -> None:
    """Records an issue, or that it was seen again."""
    conn.execute(
        "insert into issue (site, code, place, message, remedy, at) values (%s, %s, %s, %s, %s, %s)"
        " on conflict (site, code, place, at) do update set last_seen_at = now(), seen = issue.seen + 1, open = true,"
        " message = excluded.message",
        (site, issue.code, issue.place, issue.message, issue.remedy, from_ms(issue.at_ms)),
    )
