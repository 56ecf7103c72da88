"""The facts of a site kept up to date: reloads only what marks say has changed, and tells which time that touches."""

from dataclasses import replace
from typing import Any, NamedTuple

from psycopg import Connection

from plantprint_collector.books import Range, SiteFacts, load_facts, touched_since
from plantprint_collector.facts_store import count_factors, load_events
from plantprint_collector.genealogy_book import GenealogyBook
from plantprint_collector.ledger_marks import AGAIN, Marks
from plantprint_collector.site_events import News

Conn = Connection[tuple[Any, ...]]


class Touched(NamedTuple):
    """A span of time whose settled hours must be accounted again, why, and the meters whose readings say so.

    Without meters what they told stays as it is, unless it was made from other facts; None: nothing is taken as known.
    """

    span: Range
    cause: str
    meters: frozenset[str] | None = frozenset()


_FAR_MS = 2**50


class FactsBook:
    """`facts` is None while the site has no plant model."""

    def __init__(self, site: str) -> None:
        self.site = site
        self.facts: SiteFacts | None = None
        self._genealogy = GenealogyBook(site)

    def refresh(self, conn: Conn, marks: Marks) -> list[Touched]:
        """Brings the facts up to the caller's snapshot; readings touch only what their meter's first ones do here."""
        old = self.facts
        events = [(span, cause) for span, cause in marks.site if cause.startswith("event")]
        others = [_touched(span, cause) for span, cause in marks.site if _concerns_hours(cause)]
        news = News()
        if old is not None and events:
            news = old.events.add(load_events(conn, self.site, [span for span, _ in events]))
            self.facts = replace(old, productions=old.events.productions, happened=old.events.happened)
        if old is None or self._must_reload(conn, old, marks):
            self.facts = load_facts(conn, self.site, None if old is None else old.events)
            if self.facts is not None:
                self._genealogy.reload(conn, self.facts)
        elif self.facts is not None:
            self._genealogy.follow(conn, self.facts, news)
        if self.facts is None:
            return []
        by_events = self._by_events(conn, old, self.facts, events, news)
        return [*others, *by_events, *self._by_first_readings(old, self.facts, marks)]

    def _must_reload(self, conn: Conn, old: SiteFacts, marks: Marks) -> bool:
        return (
            any(cause.startswith("model") for _, cause in marks.site)
            or not marks.channels.keys() <= old.channel_ids()
            or count_factors(conn) != old.factor_rows
        )

    def _by_events(
        self, conn: Conn, old: SiteFacts | None, new: SiteFacts, events: list[tuple[Range, str]], news: News
    ) -> list[Touched]:
        """After a restart what the events changed is not known any more, only since when it may be."""
        if not events:
            return []
        cause = ", ".join(sorted({cause for _, cause in events}))
        if old is None:
            return [Touched((touched_since(conn, new, [span for span, _ in events]), _FAR_MS), cause)]
        return [Touched(span, cause) for span in news.spans]

    def _by_first_readings(self, old: SiteFacts | None, new: SiteFacts, marks: Marks) -> list[Touched]:
        """A meter's first reading ends the time in which it counted as missing; a new stream ends the one before it."""
        mapped, known = new.mapped_channels(), {} if old is None else old.first_ms
        touched: list[Touched] = []
        for channel_id, spans in marks.channels.items():
            first_ms = spans[0][0]
            if channel_id in mapped and channel_id not in known and new.first_ms.get(channel_id, first_ms) >= first_ms:
                span = (new.first_reaches_ms(channel_id, first_ms), _FAR_MS)
                touched.append(Touched(span, "first reading", new.meters_of(channel_id)))
        new.learn_first(marks.channels)
        return touched


def _touched(span: Range, cause: str) -> Touched:
    """Of what another model or a pass before left to do, the meters are told by what their hours were made of."""
    is_known = cause.startswith((AGAIN, "model"))
    return Touched(span, cause.removeprefix(AGAIN), frozenset() if is_known else None)


def _concerns_hours(cause: str) -> bool:
    """A gap that an agent reports says why readings are missing, which the hours show by themselves."""
    return not cause.startswith(("event", "gap"))
