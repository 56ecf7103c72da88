"""What is wrong in the genealogy of a site's lots, kept up event by event, and which batches that makes incomplete."""

import time
from collections.abc import Iterable
from typing import Any

from psycopg import Connection

from plantprint.ancestry import EventIndex
from plantprint.event_fields import plain_text
from plantprint.facts import Issue, ProductionEvent
from plantprint.genealogy import trace_lots
from plantprint.lots import Facts, Lot, Material
from plantprint.material_events import reduce_materials
from plantprint.product import RULE_SETS
from plantprint.product_lines import Valuing, background
from plantprint.production import Production
from plantprint_collector.books import SiteFacts
from plantprint_collector.ledger_store import replace_issues
from plantprint_collector.reason_store import forget_reasons, replace_reasons
from plantprint_collector.site_events import News

Conn = Connection[tuple[Any, ...]]

EVENTS_AT_ONCE = 200
_REST_TIMES = 20
_CLOSED = "loop-closed"
_FAR_MS = 2**53


class GenealogyBook:
    """Knows the issues of every lot; a lot's own depend on the events about it alone, reasons on its ancestors' too."""

    def __init__(self, site: str) -> None:
        self.site = site
        self._index = EventIndex()  # the site's, from the first load on
        self._issues: dict[str, frozenset[Issue]] = {}
        self._reasons: dict[str, frozenset[Issue]] = {}
        self._materials: tuple[Material, ...] = ()
        self._rules = RULE_SETS["iso-14067"]
        self._later: set[str] = set()
        self._rests_until_s: dict[str, float] = {}

    def reload(self, conn: Conn, facts: SiteFacts) -> None:
        """Everything anew: after a start, or when the plant model or factors have changed."""
        lots = self._load(facts)
        forget_reasons(conn, self.site, "genealogy")
        self._write(conn, lots | self._issues.keys())

    def reasons(self, facts: SiteFacts) -> dict[str, frozenset[Issue]]:
        """By lot why it is incomplete, worked out from nothing; lots without a reason are absent."""
        lots = self._load(facts)
        return {lot: found for lot in lots | self._issues.keys() if (found := self._reasons_of(lot))}

    def _load(self, facts: SiteFacts) -> set[str]:
        """Takes all events and works out the issues of all lots at once; returns the lots."""
        plant = facts.model(_FAR_MS).graph.plant
        self._materials = background(Valuing(plant, facts.library), _FAR_MS).materials
        self._rules = RULE_SETS[plant.product_rules]
        self._index = facts.events.lots
        self._issues, self._reasons = {}, {}
        lots = self._index.lots
        if lots:
            production = facts.happened
            found = trace_lots(self._facts(self._index.all(), production), {}, self._rules)
            for issue in found.issues:
                self._issues[issue.place] = self._issues.get(issue.place, frozenset()) | {issue}
        return lots

    def follow(self, conn: Conn, facts: SiteFacts, news: News) -> None:
        """Follows new events; looks at no more than the lots that they name, and at what goes on from those that change.

        A lot of many events, such as a silo's, rests a while after each look, so that looking takes a small part of the time.
        """
        touched = set(news.lots)
        touched |= {batch for one in news.events if (batch := plain_text(one, "batch")) and self._index.knows(batch)}
        now_s = time.monotonic()
        self._later |= touched
        due = {lot for lot in self._later if self._rests_until_s.get(lot, 0.0) <= now_s}
        if not due:
            return
        self._later -= due
        production = facts.happened
        changed = {lot for lot in due if self._look(lot, production)}
        self._write(conn, due | self._descendants(changed))

    def _look(self, lot: str, production: Production) -> bool:
        """Works out the issues of one lot; True when they are others than before."""
        started_s = time.monotonic()
        events = self._index.about([lot])
        found = trace_lots(self._facts(events, production), {}, self._rules) if events else None
        own = {issue for issue in found.issues if issue.place == lot} if found else set()
        closed = self._closed(lot, production)
        own = {issue for issue in own if issue.code != _CLOSED} | closed
        before = self._issues.pop(lot, frozenset())
        if own:
            self._issues[lot] = frozenset(own)
        if len(events) > EVENTS_AT_ONCE:
            now_s = time.monotonic()
            self._rests_until_s[lot] = now_s + _REST_TIMES * (now_s - started_s)
        return before != frozenset(own)

    def _closed(self, lot: str, production: Production) -> set[Issue]:
        """Whether the lot is in a loop that nothing leaves; lots without givers, which are most, are in none."""
        group = self._index.loop_of(lot)
        if not group:
            return set()
        found = trace_lots(self._facts(self._index.about(group), production), {}, self._rules)
        return {issue for issue in found.issues if issue.code == _CLOSED and issue.place == lot}

    def _facts(self, events: Iterable[ProductionEvent], production: Production) -> Facts:
        known = list(events)
        named = {name for one in known for field in ("batch", "lot", "as_lot") if (name := plain_text(one, field))}
        made = [
            Lot(name, batch.unit, "made", batch.quantity_micro, at_ms=batch.ordered_ms or 0)
            for name in sorted(named)
            if (batch := production.batches.get(name)) is not None
        ]
        return reduce_materials(known, self._materials, made, {lot.lot: lot.unit for lot in made if lot.unit})

    def _descendants(self, lots: Iterable[str]) -> set[str]:
        found, waiting = set(lots), list(lots)
        while waiting:
            ahead = self._index.takers(waiting.pop()) - found
            found |= ahead
            waiting += ahead
        return found

    def _write(self, conn: Conn, lots: Iterable[str]) -> None:
        """Brings reasons of the lots, and the site's list of issues, up to what is known."""
        changed: dict[str, frozenset[Issue]] = {}
        for lot in lots:
            reasons = self._reasons_of(lot) if self._issues else frozenset()
            if reasons != self._reasons.get(lot, frozenset()):
                changed[lot] = reasons
        if not changed:
            return
        self._reasons = {lot: one for lot, one in {**self._reasons, **changed}.items() if one}
        replace_reasons(conn, self.site, "genealogy", changed)
        replace_issues(conn, self.site, "genealogy", None, {i for one in self._issues.values() for i in one})

    def _reasons_of(self, lot: str) -> frozenset[Issue]:
        found: set[Issue] = set()
        seen, waiting = {lot}, [lot]
        while waiting:
            one = waiting.pop()
            found |= self._issues.get(one, frozenset())
            ahead = self._index.givers(one) - seen
            seen |= ahead
            waiting += ahead
        return frozenset(found)
