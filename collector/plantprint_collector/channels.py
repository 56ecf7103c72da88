"""Channel tables of agents: from a declared table to channel ids, remembered per (site, agent, hash)."""

from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from psycopg import Connection

from plantprint_collector.inbox import Table

Conn = Connection[tuple[Any, ...]]
TableKey = tuple[str, str, str]
Ids = NDArray[np.int64]

_TABLES_MAX = 10_000

_INSERT_CHANNELS = """
insert into channel (site, agent, name, unit, decimals, kind, period_s)
select %(site)s, %(agent)s, c.* from unnest(%(names)s::text[], %(units)s::text[], %(decimals)s::int[], %(kinds)s::text[],
    %(periods)s::int[]) as c(name, unit, decimals, kind, period_s)
order by 3, 4, 5, 6, 7 on conflict do nothing
"""
_SELECT_CHANNELS = """
select channel_id from unnest(%(names)s::text[], %(units)s::text[], %(decimals)s::int[], %(kinds)s::text[],
    %(periods)s::int[]) with ordinality as d(name, unit, decimals, kind, period_s, position)
join channel c using (name, unit, decimals, kind, period_s)
where c.site = %(site)s and c.agent = %(agent)s order by position
"""


class ChannelTables:
    """`forget` when the connection was lost: the database behind the next one may be another."""

    def __init__(self) -> None:
        self._known: dict[TableKey, Ids] = {}

    def forget(self) -> None:
        self._known.clear()

    def keep(self, tables: dict[TableKey, Ids]) -> None:
        """Remembers tables that are committed."""
        if len(self._known) + len(tables) > _TABLES_MAX:
            self._known.clear()
        self._known.update(tables)

    def find(self, conn: Conn, keys: Iterable[TableKey]) -> dict[TableKey, Ids]:
        """Those of the tables that somebody has declared; a row's channel index is the position in the ids."""
        wanted = set(keys)
        missing = sorted(wanted - self._known.keys())
        if missing:
            columns = [list(column) for column in zip(*missing, strict=True)]
            rows = conn.execute(
                "select site, agent, hash, channel_ids from channel_table"
                " join unnest(%s::text[], %s::text[], %s::text[]) as k(site, agent, hash) using (site, agent, hash)",
                columns,
            ).fetchall()
            self.keep({(site, agent, hash_): np.array(ids, np.int64) for site, agent, hash_, ids in rows})
        return {key: self._known[key] for key in wanted if key in self._known}

    def declare(self, conn: Conn, site: str, agent: str, table: Table) -> Ids:
        """Stores the table and its channels, which may be there already."""
        known = self._known.get((site, agent, table.hash))
        if known is not None:
            return known
        values = {
            "site": site,
            "agent": agent,
            "names": [c.name for c in table.channels],
            "units": [c.unit for c in table.channels],
            "decimals": [c.decimals for c in table.channels],
            "kinds": [c.kind for c in table.channels],
            "periods": [c.period_s for c in table.channels],
        }
        conn.execute(_INSERT_CHANNELS, values)
        ids = [row[0] for row in conn.execute(_SELECT_CHANNELS, values)]
        conn.execute(
            "insert into channel_table (site, agent, hash, channel_ids) values (%s, %s, %s, %s) on conflict do nothing",
            (site, agent, table.hash, ids),
        )
        return np.array(ids, np.int64)
