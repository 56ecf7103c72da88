"""Which instants a reading of a site may have, by the site's own clock."""

from collections.abc import Iterable, Mapping
from typing import Any, Literal, NamedTuple

from psycopg import Connection

from plantprint.times import SiteClock, to_ms
from plantprint.wire.event_rules import FACT_MS_MAX
from plantprint_collector.config import Settings
from plantprint_collector.rows import DAY_MS

Conn = Connection[tuple[Any, ...]]


class Limit(NamedTuple):
    """The earliest and the latest instant in milliseconds, both allowed, and what is wrong with an earlier one."""

    low: int
    high: int
    earlier: Literal["past", "dropped"]


Limits = dict[str, Limit]


class Clocks(NamedTuple):
    """The clock of each site, and since when readings are kept, in milliseconds (0: always).

    `without_model` are the sites that have no plant model; of these, `unknown` have never been heard of.
    """

    of: Mapping[str, SiteClock]
    readings_from_ms: int
    without_model: frozenset[str] = frozenset()
    unknown: frozenset[str] = frozenset()


def site_clocks(conn: Conn, sites: Iterable[str]) -> Clocks:
    """An unknown site has wall time."""
    rows = conn.execute(
        "select w.site, s.clock, exists (select from plant_model m where m.site = w.site), pp_readings_from()"
        " from unnest(%s::text[]) as w(site) left join site s using (site)",
        (sorted(set(sites)),),
    ).fetchall()
    clocks = {site: SiteClock() if clock is None else SiteClock(**clock) for site, clock, _, _ in rows}
    return Clocks(
        clocks,
        max((to_ms(readings_from) for *_, readings_from in rows), default=0),
        frozenset(site for site, _, has_model, _ in rows if not has_model),
        frozenset(site for site, clock, _, _ in rows if clock is None),
    )


def time_limits(clocks: Clocks, settings: Settings, wall_ms: int) -> Limits:
    """What readings of each site may say at an instant of wall time."""
    found: Limits = {}
    for site, clock in clocks.of.items():
        earliest_ms, from_ms = _earliest_ms(clock, settings, wall_ms), clocks.readings_from_ms
        low = max(earliest_ms, from_ms)
        earlier: Literal["past", "dropped"] = "dropped" if from_ms > earliest_ms else "past"
        found[site] = Limit(low, _latest_ms(clock, settings, wall_ms), earlier)
    return found


def _earliest_ms(clock: SiteClock, settings: Settings, wall_ms: int) -> int:
    if clock.kind == "data" or not settings.past_days_max:
        return settings.earliest_ms
    return max(settings.earliest_ms, clock.now_ms(wall_ms) - settings.past_days_max * DAY_MS)


def _latest_ms(clock: SiteClock, settings: Settings, wall_ms: int) -> int:
    if clock.kind == "data":
        return FACT_MS_MAX
    # The allowance is for clocks that differ, in wall time: a faster site gets further in it.
    allowance_ms = settings.future_s_max * 1000 * (clock.speed if clock.kind == "run" else 1)
    return min(clock.now_ms(wall_ms) + allowance_ms, FACT_MS_MAX)


def wall_age_s(clock: SiteClock, wall_ms: int, t_ms: int) -> float | None:
    """Seconds of wall time since a site's instant; None for a site whose time is that of its data."""
    return None if clock.kind == "data" else (clock.now_ms(wall_ms) - t_ms) / 1000 / clock.speed
