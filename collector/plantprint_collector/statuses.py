"""Whether the figure of each batch is provisional, final or revised; the ends of windows as recorded facts."""

from collections.abc import Sequence
from typing import Any

from psycopg import Connection

from plantprint.account import HourAccount
from plantprint.production import Production
from plantprint.settlement import batch_status, batches_close_ms
from plantprint.times import from_ms
from plantprint_collector.books import SiteFacts

Conn = Connection[tuple[Any, ...]]


class StatusBook:
    """Knows which batches are final; a batch without a row in `batch_settlement` is provisional."""

    def __init__(self, site: str) -> None:
        self.site = site
        self._final: set[str] | None = None
        self._production: Production | None = None
        self._ends: dict[str, int | None] = {}

    def write(self, conn: Conn, facts: SiteFacts, settled_ms: int, *, corrected: bool) -> None:
        """Brings the statuses up to settled time; `corrected` when settled hours were posted anew."""
        model = facts.model(settled_ms)
        production = facts.production(model)
        if self._final is None:
            rows = conn.execute("select batch from batch_settlement where site = %s", (self.site,)).fetchall()
            self._final = {batch for (batch,) in rows}
        if production is not self._production:
            self._production, self._ends = production, _ends(production)
            open_again = [b for b in self._final if (end := self._ends.get(b)) is None or end >= settled_ms]
            conn.execute("delete from batch_settlement where site = %s and batch = any(%s)", (self.site, open_again))
            self._final -= set(open_again)
        ended = [b for b, end in self._ends.items() if end is not None and end < settled_ms and b not in self._final]
        closes = batches_close_ms(model.graph, production, ended)
        settled = [batch for batch in ended if batch_status(closes[batch], settled_ms) == "final"]
        conn.execute(
            "insert into batch_settlement (site, batch, status, final_at) "
            "select %s, batch, 'final', clock_timestamp() from unnest(%s::text[]) as batch",
            (self.site, settled),
        )
        self._final |= set(settled)
        if corrected:
            conn.execute(
                "update batch_settlement s set status = 'revised' where site = %s and status = 'final' and exists "
                "(select from posting p where p.site = s.site and p.account_kind = 'batch' and p.account_id = s.batch "
                "and p.known_at > s.final_at)",
                (self.site,),
            )


def record_closed(conn: Conn, site: str, accounts: Sequence[HourAccount]) -> None:
    """Records the windows that ended in hours just settled, in place of those that were known to end in them."""
    conn.execute(
        "delete from window_end where site = %s and hour_at = any(%s)",
        (site, [from_ms(account.hour_ms) for account in accounts]),
    )
    with conn.cursor() as cursor:
        cursor.executemany(
            "insert into window_end (site, hour_at, place, start_at, end_at, outcome) values (%s, %s, %s, %s, %s, %s)",
            [
                (site, from_ms(account.hour_ms), end.place, from_ms(end.start_ms), from_ms(end.end_ms), end.outcome)
                for account in accounts
                for end in account.closed
            ],
        )


def _ends(production: Production) -> dict[str, int | None]:
    """When the last job of each batch ended, None while one runs; batches without jobs are left out."""
    ends: dict[str, int | None] = {}
    for job in production.jobs:
        known = ends.get(job.batch, 0)
        ends[job.batch] = None if job.end_ms is None or known is None else max(known, job.end_ms)
    return ends
