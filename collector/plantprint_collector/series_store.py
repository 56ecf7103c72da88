"""Hourly factors of a site's sources: stored as versions of which nothing is ever changed, loaded as known now.

Postings hold no factor, so another version makes nothing dirty.
"""

from typing import Any

from psycopg import Connection

from plantprint.factor_series import FactorSeries, HourIntensity
from plantprint.times import from_ms, to_ms

Conn = Connection[tuple[Any, ...]]


def apply_series(conn: Conn, site: str, series: FactorSeries) -> int:
    """Stores the hours of a file that are new or differ as the next version of its series; returns the version.

    A file without news changes nothing. Hours that it does not have stay as they were.
    """
    conn.execute("select from site where site = %s for update", (site,))  # one version after the other
    known = load_series(conn, site).get(series.factor_id)
    news = {at: hour for at, hour in series.hours.items() if known is None or known.hours.get(at) != hour}
    if known is not None and not news and (known.geography, known.source) == (series.geography, series.source):
        return known.version
    version = 1 if known is None else known.version + 1
    conn.execute(
        "insert into factor_series (site, series, version, zone, credit) values (%s, %s, %s, %s, %s)",
        (site, series.factor_id, version, series.geography, series.source),
    )
    with (
        conn.cursor() as cursor,
        cursor.copy(
            "copy factor_hour (site, series, hour_at, version, direct_kg_per_kwh, life_cycle_kg_per_kwh, is_estimated)"
            " from stdin"
        ) as copy,
    ):
        for at_ms, hour in sorted(news.items()):
            copy.write_row(
                (site, series.factor_id, from_ms(at_ms), version, hour.direct, hour.life_cycle, hour.estimated)
            )
    return version


def load_series(conn: Conn, site: str) -> dict[str, FactorSeries]:
    """The newest version of every series of a site, by its name; their purpose is what a source asks for."""
    hours: dict[str, dict[int, HourIntensity]] = {}
    for series, at, direct, life_cycle, estimated in conn.execute(
        "select distinct on (series, hour_at) series, hour_at, direct_kg_per_kwh, life_cycle_kg_per_kwh, is_estimated "
        "from factor_hour where site = %s order by series, hour_at, version desc",
        (site,),
    ):
        hours.setdefault(series, {})[to_ms(at)] = HourIntensity(direct, life_cycle, estimated)
    rows = conn.execute(
        "select distinct on (series) series, version, zone, credit from factor_series where site = %s "
        "order by series, version desc",
        (site,),
    ).fetchall()
    return {
        series: FactorSeries(series, zone, credit, hours.get(series, {}), version=version)
        for series, version, zone, credit in rows
    }
