"""What is wrong in a site's production events, as rows of `issue`, of which only those that came or went are written."""

from typing import Any

from psycopg import Connection

from plantprint.contradictions import Reasons, refused_jobs
from plantprint.facts import Issue  # noqa: TC001 - reads like the others
from plantprint.job_times import unbelieved_jobs
from plantprint.plant_history import PlantHistory
from plantprint.production import Production
from plantprint_collector.ledger_store import add_issues, close_issues, replace_issues
from plantprint_collector.reason_store import Origin, forget_reasons, replace_reasons

Conn = Connection[tuple[Any, ...]]
_ORIGIN: Origin = "production"


class IssueBook:
    """Remembers what it has written; the first time everything is."""

    def __init__(self, site: str) -> None:
        self.site = site
        self._written: Production | None = None
        self._refused: Reasons = {}
        self._timed: frozenset[Issue] = frozenset()

    def write(self, conn: Conn, production: Production) -> None:
        """Records the issues of the events, and what batches lack through them, in place of those recorded before."""
        before, issues = self._written, production.issues_at
        if before is None:
            replace_issues(conn, self.site, _ORIGIN, None, production.issues)
            self._timed = frozenset()
            forget_reasons(conn, self.site, _ORIGIN)
            self._refused = refused_jobs(production.issues)
            replace_reasons(conn, self.site, _ORIGIN, self._refused)
        else:
            differing = sorted(issues.differing(before.issues_at))
            close_issues(conn, self.site, [max(before.issues_at[key]) for key in differing if key not in issues])
            add_issues(conn, self.site, _ORIGIN, [max(issues[key]) for key in differing if key in issues])
            gone = refused_jobs(one for key in differing for one in before.issues_at.get(key, ()))
            came = refused_jobs(one for key in differing for one in issues.get(key, ()))
            self._follow(conn, gone, came)
        self._written = production

    def look(self, conn: Conn, plants: PlantHistory, production: Production, now_ms: int) -> None:
        """Records the jobs that are not believed because of what time it is."""
        timed = frozenset(unbelieved_jobs(plants, production, now_ms))
        close_issues(conn, self.site, sorted(self._timed - timed))
        add_issues(conn, self.site, _ORIGIN, sorted(timed - self._timed))
        self._timed = timed

    def _follow(self, conn: Conn, gone: Reasons, came: Reasons) -> None:
        changed = {
            batch: tuple({*self._refused.get(batch, ())} - {*gone.get(batch, ())} | {*came.get(batch, ())})
            for batch in gone.keys() | came.keys()
        }
        replace_reasons(conn, self.site, _ORIGIN, changed)
        self._refused = {batch: several for batch, several in {**self._refused, **changed}.items() if several}
