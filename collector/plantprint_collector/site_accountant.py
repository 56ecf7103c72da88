"""One site's accountant: takes marks, works in what is late, settles what is due, and keeps the open hours for the live picture."""

import gc
from typing import Any

import numpy as np
import structlog
from numpy.typing import NDArray
from psycopg import Connection

from plantprint.account import Carry, HourAccount
from plantprint.times import HOUR_MS, hour_floor
from plantprint_collector import alerts, horizon, shipping
from plantprint_collector.accountant_config import AccountantSettings
from plantprint_collector.books import SiteFacts, account_hours, touched_by_readings
from plantprint_collector.facts_book import FactsBook, Touched
from plantprint_collector.facts_store import load_clock
from plantprint_collector.issue_book import IssueBook
from plantprint_collector.ledger_marks import Marks, put_back, take_marks
from plantprint_collector.ledger_store import settled_bounds
from plantprint_collector.live_book import LiveBook
from plantprint_collector.newest import Newest
from plantprint_collector.open_hours import OpenHours
from plantprint_collector.settling import (
    Pace,
    Worked,
    carry_before,
    hours_again,
    join_again,
    rework,
    settle,
    settle_known,
)
from plantprint_collector.statuses import StatusBook
from plantprint_collector.stored_hours import Again, StoredHours

Conn = Connection[tuple[Any, ...]]
log = structlog.get_logger("plantprint.accountant")

_CAUSE_CHARACTERS_MAX = 120


class SiteAccountant:
    """Holds what one site's accounting needs in memory; all of it can be rebuilt from the database at any time."""

    def __init__(self, site: str, settings: AccountantSettings, publish: alerts.Publish) -> None:
        self.site = site
        self._settings = settings
        self._publish = publish
        self._book = FactsBook(site)
        self._live = LiveBook(site, settings)
        self._statuses = StatusBook(site)
        self._newest: Newest | None = None
        self._open: OpenHours | None = None
        self._alike_hour_ms = 0
        self._sure_ms = 0
        self._last: HourAccount | None = None
        self._carry: Carry | None = None
        self._shipments: shipping.ShipmentBook | None = None
        self._issues = IssueBook(site)
        self._pace = Pace()
        self._live_due_ms = 0
        self._readings_from_ms = 0

    def run_pass(self, conn: Conn, wall_ms: int) -> bool:
        """One pass in one transaction and one snapshot; True when more work waits already."""
        with conn.transaction():
            self._readings_from_ms = horizon.hold(conn)
            marks = take_marks(conn, self.site, self._settings.marks_per_pass_max)
            before = self._book.facts
            touched = self._book.refresh(conn, marks)
            facts = self._book.facts
            if facts is None:
                return False
            clock = load_clock(conn, self.site)
            newest = self._newest = self._newest or Newest(conn, self.site)
            newest.learn(marks.channels)
            now_ms = clock.now_ms(wall_ms, newest.newest_ms)
            if facts is not before:
                self._follow(conn, before, facts)
            late = self._take(conn, facts, marks)
            behind = self._rework(conn, facts, [*touched, *late], now_ms)
            more = self._settle(conn, facts, newest, now_ms)
            if not more:
                self._look(conn, facts, newest, now_ms, wall_ms, clock.speed)
        alerts.tell(conn, self.site, self._publish)
        return more or behind or marks.taken >= self._settings.marks_per_pass_max

    def _follow(self, conn: Conn, before: SiteFacts | None, facts: SiteFacts) -> None:
        """Other events change what the open hours' amounts go to, other models and channels the amounts themselves."""
        if self._open is not None and before is not None and before.channels is facts.channels:
            self._open.facts = facts
        else:
            self._open = None
        self._issues.write(conn, facts.happened)

    def _take(self, conn: Conn, facts: SiteFacts, marks: Marks) -> list[Touched]:
        """Takes changed readings into the open hours; what they touch before those, while some hour is settled."""
        late = marks.channels
        newest_ms = max((spans[-1][1] for spans in marks.channels.values()), default=0)
        if self._open is not None and not OpenHours.fits(facts, self._open.start_ms, newest_ms):
            self._open = None
        if self._open is not None:
            late = self._open.add(conn, marks)
        if settled_bounds(conn, self.site) is None:
            return []
        return [Touched(span, "reading", facts.meters_of(c)) for c, span in touched_by_readings(conn, facts, late)]

    def _rework(self, conn: Conn, facts: SiteFacts, touched: list[Touched], now_ms: int) -> bool:
        """Accounts settled hours again that late facts touch, and hours before the first for the first time.

        True when hours are left.
        """
        bounds = settled_bounds(conn, self.site)
        if bounds is None:
            return False
        first, last = bounds
        earliest = facts.begins_ms
        start = max(self._readings_from_ms, first if earliest is None else min(first, hour_floor(earliest)))
        horizon.refuse(conn, self.site, touched, bounds, self._readings_from_ms)
        clipped = [t._replace(span=(max(t.span[0], start), min(t.span[1], last + HOUR_MS - 1))) for t in touched]
        reaching = [t for t in clipped if t.span[0] <= t.span[1]]
        again = hours_again(reaching, first)
        known = self._open
        unlike = self._unlike(conn, facts, last, now_ms)
        if unlike is None or unlike:
            again[last] = join_again(again.get(last, ()), unlike)
        if not again:
            return False
        cause = ", ".join(sorted({t.cause for t in reaching})) or "reading"
        worked = rework(conn, facts, again, last, now_ms, cause[:_CAUSE_CHARACTERS_MAX], self._settings.settle_slice_s)
        put_back(conn, self.site, worked.waiting, cause[:_CAUSE_CHARACTERS_MAX])
        if worked.postings:
            log.info("late facts worked in", site=self.site, cause=cause, hours=worked.hours, postings=worked.postings)
        self._statuses.write(conn, facts, last + HOUR_MS, corrected=worked.batches)
        self._after_writing(worked)
        self._last = next((account for account in worked.last if account.hour_ms == last), self._last)
        if last not in worked.waiting:
            self._sure_ms = last
            if self._open is not None:
                # Hours that were opened in this pass were read as the ledger was.
                kept = worked.kept.get(last) if self._open is known else None
                self._open.follow(conn, carry_before(conn, self.site, last), kept)
        return bool(worked.waiting)

    def _unlike(self, conn: Conn, facts: SiteFacts, last_ms: int, now_ms: int) -> Again:
        """The meters of which it is not known that the last settled hour is as their readings say.

        Open hours show it. Without them it is known of an hour that was settled here: what came since left marks.
        """
        if self._open is None and self._sure_ms == last_ms:
            return ()
        if self._open is None and now_ms < last_ms + 3 * HOUR_MS:
            self._keep_open(conn, facts, last_ms + HOUR_MS, now_ms)
        return None if self._open is None else self._open.unlike_settled()

    def _settle(self, conn: Conn, facts: SiteFacts, newest: Newest, now_ms: int) -> bool:
        """Settles hours that are due; True when others are due already."""
        first = self._first_open(conn, facts)
        count = 0 if first is None else self._due(facts, newest, first, now_ms)
        if first is None or not count:
            return False
        last_ms, before = first + count * HOUR_MS - 1, carry_before(conn, self.site, first)
        if self._open is not None and self._open.covers(first) and facts.is_alike(first, last_ms):
            # The same integers as from the database, which would be read back whole: an hour of 5 000 meters is 18 M rows.
            accounts = self._open.accounts(first, before, now_ms, end_ms=last_ms + 1)
            worked = settle_known(conn, facts, accounts)
        else:
            worked = settle(conn, facts, first, count, now_ms, self._pace, self._settings.settle_slice_s)
            self._sure_ms = worked.last[-1].hour_ms
            self._open = None
        log.info("hours settled", site=self.site, hours=worked.hours, postings=worked.postings)
        self._statuses.write(conn, facts, first + worked.hours * HOUR_MS)
        self._after_writing(worked)
        *earlier, self._last = worked.last
        self._carry = self._last.carry
        if self._open is not None:
            self._open.begin_at(self._last.hour_ms, earlier[-1].carry if earlier else before)
        return worked.hours < count

    def _after_writing(self, worked: Worked) -> None:
        self._carry = None
        # Even where no posting was new: an hour that a shipment posted whole is settled now, and no longer open.
        if worked.hours:
            self._live.forget_settled()

    def _first_open(self, conn: Conn, facts: SiteFacts) -> int | None:
        """The first hour that is not settled; None while there is no reading."""
        bounds = settled_bounds(conn, self.site)
        if bounds is not None:
            return bounds[1] + HOUR_MS
        return None if facts.begins_ms is None else max(hour_floor(facts.begins_ms), self._readings_from_ms)

    def _due(self, facts: SiteFacts, newest: Newest, first_ms: int, now_ms: int) -> int:
        """How many hours from `first_ms` are complete, or old enough to be settled as they are."""
        if now_ms < first_ms + HOUR_MS:
            return 0
        graph = facts.model(now_ms).graph
        reached = newest.heard(facts.sources(now_ms), tuple(graph.meters)).last_ms
        complete_ms = max(int(reached.min(initial=now_ms)), now_ms - graph.plant.settle_after_s * 1000)
        return max(0, (min(complete_ms, now_ms) - first_ms) // HOUR_MS)

    def _look(self, conn: Conn, facts: SiteFacts, newest: Newest, now_ms: int, wall_ms: int, speed: int) -> None:
        """Issues statements as soon as they are due, and writes the live picture when it is."""
        first = self._first_open(conn, facts)
        if first is None:
            return
        if self._shipments is None:
            self._shipments = shipping.ShipmentBook(conn, self.site)
        self._keep_open(conn, facts, first, now_ms)
        production = facts.happened
        shipments = self._shipments.due(production, now_ms)
        if not shipments and wall_ms < self._live_due_ms:
            return
        ages = self._live.ages(facts, newest, now_ms, speed)
        accounts = self._accounts(conn, facts, first, now_ms, (ages.missing_s * 1000 * speed).astype(np.int64))
        for shipment in shipments:
            batch = production.batches[shipment.batch]
            digest = shipping.issue_statement(conn, facts, shipment, batch, accounts, now_ms)
            self._shipments.stated(shipment)
            log.info("statement issued", site=self.site, shipment=shipment.shipment, batch=batch.batch, sha256=digest)
        self._issues.look(conn, facts.plants, production, now_ms)
        self._live_due_ms = wall_ms + self._settings.live_ms
        settled = [self._last] if self._last is not None and self._last.hour_ms == first - HOUR_MS else []
        self._live.write(conn, facts, settled, accounts, ages, now_ms, speed)

    def _keep_open(self, conn: Conn, facts: SiteFacts, first_ms: int, now_ms: int) -> None:
        """Opens the hours since the last settled one, unless the plant or its channels change within them."""
        bounds = settled_bounds(conn, self.site)
        start = first_ms if bounds is None else bounds[1]
        if self._open is not None and self._alike_hour_ms == hour_floor(now_ms):
            return
        self._alike_hour_ms = hour_floor(now_ms)
        if not (facts.is_alike(start, max(now_ms, start)) and OpenHours.fits(facts, start, now_ms)):
            self._open = None
        elif self._open is None:
            self._open = OpenHours(conn, facts, start, carry_before(conn, self.site, start))
            _set_aside()
            # Remembered for the settling, which others wait for.
            facts.made_of(start)
            if bounds is not None:
                stored = StoredHours(conn, self.site, [start], facts.every_meter)
                self._open.settled_as(stored.keep(start, facts.made_of(start), ()))
            self._sure_ms = 0

    def _accounts(
        self, conn: Conn, facts: SiteFacts, first_ms: int, now_ms: int, grace_ms: NDArray[np.int64]
    ) -> list[HourAccount]:
        if self._carry is None:
            self._carry = carry_before(conn, self.site, first_ms)
        if self._open is None:
            hours = range(first_ms, max(hour_floor(now_ms), first_ms) + 1, HOUR_MS)
            return list(account_hours(conn, facts, hours, self._carry, now_ms))
        return self._open.accounts(first_ms, self._carry, now_ms, grace_ms, with_states=False)


def _set_aside() -> None:
    """Spares full garbage collections what is kept for hours: at 5 000 meters each would hold a pass up for 60 ms."""
    gc.unfreeze()
    gc.collect()
    gc.freeze()
