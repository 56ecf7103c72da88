"""How far back raw readings are kept: hours before that stay as they were posted, whatever is heard later.

What is going to be dropped is on record (`reading_drop`) before anything goes. `hold` keeps that record as it is for a
transaction, so that nobody accounts an hour of which some readings are gone.
"""

from collections.abc import Iterable
from typing import Any

import structlog
from psycopg import Connection

from plantprint.facts import Issue
from plantprint.times import HOUR_MS, format_instant, hour_floor, to_ms
from plantprint_collector import store
from plantprint_collector.facts_book import Touched

Conn = Connection[tuple[Any, ...]]
log = structlog.get_logger("plantprint.accountant")

CODE = "readings-dropped"
_REMEDY = (
    "nothing, if the difference may stay; else restore a backup from before they were dropped. Keep readings longer than"
    " facts may be late: PLANTPRINT_READING_DAYS_MAX"
)


def hold(conn: Conn) -> int:
    """Like `readings_from_ms`, and that stays so until the transaction ends: must be its first statement.

    A lock before the snapshot is taken, by a mode that plain reading does not wait for.
    """
    conn.execute("lock table reading_drop in row share mode")
    return readings_from_ms(conn)


def readings_from_ms(conn: Conn) -> int:
    """A full hour: readings after it are there; 0 while none were dropped."""
    row = conn.execute("select pp_readings_from()").fetchone()
    assert row is not None
    return to_ms(row[0])


def refuse(conn: Conn, site: str, touched: Iterable[Touched], settled: tuple[int, int], from_ms: int) -> None:
    """Raises an issue for each place that would change settled hours before `from_ms`, at the first of these hours."""
    first, last = settled
    found: dict[str, tuple[int, int, str]] = {}
    for (low, high), cause, meters in touched:
        begin, end = max(low, first), min(high, last + HOUR_MS - 1, from_ms - 1)
        if begin <= end:
            place = ", ".join(sorted(meters)) if meters else cause
            known = found.get(place, (begin, end, cause))
            found[place] = min(known[0], begin), max(known[1], end), cause
    for place, (begin, end, cause) in found.items():
        span = f"from {format_instant(hour_floor(begin))} to {format_instant(hour_floor(end) + HOUR_MS)}"
        message = (
            f"{cause} would change hours {span}, but readings before {format_instant(from_ms)} were dropped; these hours"
            " stay as they were posted"
        )
        store.raise_issue(conn, site, Issue(CODE, place, message, _REMEDY, hour_floor(begin)))
    if found:
        log.warning("facts too late for readings that were dropped", site=site, places=len(found))
