"""Which instants a reading of a site may have, by the site's own clock."""

from collections.abc import Iterable
from typing import Any

from psycopg import Connection

from plantprint.times import SiteClock
from plantprint_collector import store
from plantprint_collector.config import Settings
from plantprint_collector.inbox import FACT_MS_MAX

Conn = Connection[tuple[Any, ...]]
Limits = dict[str, tuple[int, int]]


def time_limits(conn: Conn, sites: Iterable[str], settings: Settings, wall_ms: int) -> Limits:
    """Per site the earliest and the latest instant in milliseconds, both allowed; a new site gets its row."""
    wanted = sorted(set(sites))
    if not wanted:
        return {}
    rows = conn.execute("select site, clock from site where site = any(%s)", (wanted,)).fetchall()
    clocks = {site: SiteClock(**clock) for site, clock in rows}
    for site in wanted:
        if site not in clocks:
            store.ensure_site(conn, site)
    return {site: _limits(clocks.get(site, SiteClock()), settings, wall_ms) for site in wanted}


def _limits(clock: SiteClock, settings: Settings, wall_ms: int) -> tuple[int, int]:
    if clock.kind == "data":
        return settings.earliest_ms, FACT_MS_MAX
    # The allowance is for clocks that differ, in wall time: a faster site gets further in it.
    allowance_ms = settings.future_s_max * 1000 * (clock.speed if clock.kind == "run" else 1)
    return settings.earliest_ms, min(clock.now_ms(wall_ms) + allowance_ms, FACT_MS_MAX)
