"""Whether the figure of each batch is provisional, final or revised; the ends of windows as recorded facts."""

from collections.abc import Iterable, Sequence
from typing import Any

from psycopg import Connection

from plantprint.account import HourAccount
from plantprint.production import Job, Production
from plantprint.settlement import batch_status, batches_close_ms
from plantprint.times import from_ms
from plantprint_collector.books import SiteFacts

Conn = Connection[tuple[Any, ...]]


class StatusBook:
    """Knows which batches are final; a batch without a row in `batch_settlement` is provisional."""

    def __init__(self, site: str) -> None:
        self.site = site
        self._final: set[str] | None = None
        self._seen = Production()
        self._waiting: dict[str, int | None] = {}

    def write(self, conn: Conn, facts: SiteFacts, settled_ms: int, corrected: Iterable[str] = ()) -> None:
        """Brings the statuses up to settled time; `corrected` are batches that settled hours were posted anew to."""
        production = facts.happened
        if self._final is None:
            rows = conn.execute("select batch from batch_settlement where site = %s", (self.site,)).fetchall()
            self._final = {batch for (batch,) in rows}
        self._follow(conn, production, self._final, settled_ms)
        conn.execute(
            "update batch_settlement set status = 'revised' where site = %s and status = 'final' and batch = any(%s)",
            (self.site, list(corrected)),
        )
        ended = [batch for batch, end_ms in self._waiting.items() if end_ms is not None and end_ms < settled_ms]
        closes = batches_close_ms(facts.plants, production, ended)
        settled = [batch for batch in ended if batch_status(closes[batch], settled_ms) == "final"]
        conn.execute(
            "insert into batch_settlement (site, batch, status, final_at) "
            "select %s, batch, 'final', clock_timestamp() from unnest(%s::text[]) as batch",
            (self.site, settled),
        )
        self._final |= set(settled)
        for batch in settled:
            del self._waiting[batch]

    def _follow(self, conn: Conn, production: Production, final: set[str], settled_ms: int) -> None:
        """Looks at the batches whose jobs are others than before; one that goes on after settled time is open again."""
        if production is self._seen:
            return
        differing = production.batches_differing(self._seen)
        # What was final when this began may have gone since.
        for batch in differing | (final if not self._seen.batches else set()):
            end_ms = _end_ms(production.jobs_of(batch))
            if batch in final and end_ms is not None and end_ms < settled_ms:
                continue
            self._waiting[batch] = end_ms
        open_again = list(final & self._waiting.keys())
        conn.execute("delete from batch_settlement where site = %s and batch = any(%s)", (self.site, open_again))
        final.difference_update(open_again)
        self._waiting = {batch: end_ms for batch, end_ms in self._waiting.items() if production.jobs_of(batch)}
        self._seen = production


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


def _end_ms(jobs: Sequence[Job]) -> int | None:
    """When the last of the jobs ended; None while one runs, and without jobs."""
    ends = [job.end_ms for job in jobs if job.end_ms is not None]
    return max(ends) if ends and len(ends) == len(jobs) else None
