"""Settled hours whose meters repeat an earlier hour: the database compares, what varies too little does not count."""

from collections.abc import Iterator, Sequence
from typing import Any

from psycopg import Connection

from plantprint.account import HourAccount
from plantprint.facts import Issue
from plantprint.flows import Known
from plantprint.intervals.repeats import LAGS_MS, can_repeat, repeat_issue

Conn = Connection[tuple[Any, ...]]


def find_repeats(conn: Conn, site: str, accounts: Sequence[HourAccount]) -> list[Issue]:
    """Issues of hours that have just been written and are equal to one that was written before."""
    asked = [(meter, account.hour_ms) for account in accounts for meter in _that_can(account)]
    if not asked:
        return []
    found: dict[tuple[str, int], int] = {}
    for lag_ms in reversed(LAGS_MS):  # The nearest of several stands.
        rows = conn.execute(
            "select asked.meter, asked.hour_ms from unnest(%(meters)s::text[], %(hours)s::bigint[]) as asked(meter, hour_ms) "
            "join interval as now on now.site = %(site)s and now.meter = asked.meter "
            " and now.hour_at = to_timestamp(asked.hour_ms / 1000) "
            "join interval as earlier on earlier.site = %(site)s and earlier.meter = asked.meter "
            " and earlier.hour_at = to_timestamp((asked.hour_ms - %(lag)s) / 1000) and earlier.amount = now.amount",
            {"site": site, "meters": [m for m, _ in asked], "hours": [h for _, h in asked], "lag": lag_ms},
        ).fetchall()
        found |= dict.fromkeys(rows, lag_ms)
    return [repeat_issue(meter, hour_ms, lag_ms) for (meter, hour_ms), lag_ms in sorted(found.items())]


def _that_can(account: HourAccount) -> Iterator[str]:
    known = Known.of(account.meters)
    can = can_repeat(known.amount, known.quality)
    return (meter for meter, place in known.number.items() if can[place])
