"""The sites of a database; takes one away that only came by a mistyped name."""

from dataclasses import dataclass
from typing import Any

from psycopg import Connection, sql

from plantprint_collector.connection import connect
from plantprint_collector.migrate import recorded_tier

Conn = Connection[tuple[Any, ...]]

_BY_CHANNEL = ("reading", "reading_conflict", "latest")
_SITES = """
select s.site, exists (select from plant_model m where m.site = s.site),
       (select count(*) from channel c where c.site = s.site), (select count(*) from production_event e where e.site = s.site),
       (select coalesce(array_agg(distinct agent order by agent), '{}') from channel c where c.site = s.site)
from site s order by s.site
"""
_TABLES_BY_SITE = """
select c.table_name from information_schema.columns c join information_schema.tables t using (table_schema, table_name)
where c.table_schema = current_schema() and c.column_name = 'site' and t.table_type = 'BASE TABLE' order by 1
"""


class SiteError(RuntimeError):
    """The site cannot be taken away; the message says why and what to do."""


@dataclass(frozen=True, slots=True)
class SiteInfo:
    site: str
    has_plant_model: bool
    channels: int
    events: int
    agents: list[str]


def list_sites(dsn: str) -> list[SiteInfo]:
    with _connect(dsn) as conn:
        return [SiteInfo(*row) for row in conn.execute(_SITES).fetchall()]


def discard(dsn: str, site: str) -> dict[str, int]:
    """Deletes all that is known of a site without a plant model; rows per table, where there were any.

    Raises `SiteError` for a site that has a plant model, or that nobody has named.
    """
    with _connect(dsn) as conn:
        if recorded_tier(conn) == "tsl":
            conn.execute("set timescaledb.max_tuples_decompressed_per_dml_transaction = 0")
        with conn.transaction():
            # Who applies a model waits for this row, and the other way round.
            if conn.execute("select from site where site = %s for update", (site,)).fetchone() is None:
                raise SiteError(f"no site {site!r} is known; see `plantprint site list`")
            if conn.execute("select from plant_model where site = %s limit 1", (site,)).fetchone() is not None:
                raise SiteError(f"site {site!r} has a plant model, so its data counts; only a site without one can go")
            channels = [row[0] for row in conn.execute("select channel_id from channel where site = %s", (site,))]
            deleted = {table: _delete(conn, table, "channel_id", channels) for table in _BY_CHANNEL}
            tables = [row[0] for row in conn.execute(_TABLES_BY_SITE).fetchall()]
            deleted |= {table: _delete(conn, table, "site", [site]) for table in tables}
    return {table: rows for table, rows in deleted.items() if rows}


def _delete(conn: Conn, table: str, column: str, values: list[Any]) -> int:
    statement = sql.SQL("delete from {} where {} = any(%s)").format(sql.Identifier(table), sql.Identifier(column))
    return conn.execute(statement, (values,)).rowcount


def _connect(dsn: str) -> Conn:
    return connect(dsn, application="plantprint-sites", timeout_s=600.0)
