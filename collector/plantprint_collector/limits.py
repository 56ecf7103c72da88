"""Which instants a reading of a site may have, by the site's own clock."""

from collections.abc import Iterable, Mapping
from typing import Any

from psycopg import Connection

from plantprint.times import SiteClock
from plantprint_collector import store
from plantprint_collector.config import Settings
from plantprint_collector.inbox import FACT_MS_MAX

Conn = Connection[tuple[Any, ...]]
Clocks = Mapping[str, SiteClock]
Limits = dict[str, tuple[int, int]]


def site_clocks(conn: Conn, sites: Iterable[str]) -> dict[str, SiteClock]:
    """The clock of each site; a new site gets its row, and wall time."""
    wanted = sorted(set(sites))
    if not wanted:
        return {}
    rows = conn.execute("select site, clock from site where site = any(%s)", (wanted,)).fetchall()
    clocks = {site: SiteClock(**clock) for site, clock in rows}
    for site in wanted:
        if site not in clocks:
            store.ensure_site(conn, site)
    return {site: clocks.get(site, SiteClock()) for site in wanted}


def time_limits(clocks: Clocks, settings: Settings, wall_ms: int) -> Limits:
    """Per site the earliest and the latest instant in milliseconds, both allowed."""
    return {site: _limits(clock, settings, wall_ms) for site, clock in clocks.items()}


def _limits(clock: SiteClock, settings: Settings, wall_ms: int) -> tuple[int, int]:
    if clock.kind == "data":
        return settings.earliest_ms, FACT_MS_MAX
    # The allowance is for clocks that differ, in wall time: a faster site gets further in it.
    allowance_ms = settings.future_s_max * 1000 * (clock.speed if clock.kind == "run" else 1)
    return settings.earliest_ms, min(clock.now_ms(wall_ms) + allowance_ms, FACT_MS_MAX)


def wall_age_s(clock: SiteClock, wall_ms: int, t_ms: int) -> float | None:
    """Seconds of wall time since a site's instant; None for a site whose time is that of its data."""
    return None if clock.kind == "data" else (clock.now_ms(wall_ms) - t_ms) / 1000 / clock.speed
