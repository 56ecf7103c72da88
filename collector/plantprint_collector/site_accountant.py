"""One site's accountant: takes marks, works in what is late, settles what is due, and writes the live picture."""

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

import orjson
import structlog
from psycopg import Connection

from plantprint.account import HourAccount
from plantprint.ledger import Net
from plantprint.times import HOUR_MS, hour_floor
from plantprint_collector import alerts, live, shipping
from plantprint_collector.accountant_config import AccountantSettings
from plantprint_collector.batches import BatchBook
from plantprint_collector.books import (
    Range,
    SiteFacts,
    account_hours,
    hours_of,
    load_facts,
    touched_by_production,
    touched_by_readings,
)
from plantprint_collector.facts_store import load_clock, newest_by_channel
from plantprint_collector.ledger_marks import Marks, take_marks
from plantprint_collector.ledger_store import replace_issues, settled_bounds
from plantprint_collector.open_hours import OpenHours
from plantprint_collector.settling import Pace, carry_before, rework, settle
from plantprint_collector.site_day import DayTotal

Conn = Connection[tuple[Any, ...]]
log = structlog.get_logger("plantprint.accountant")


class SiteAccountant:
    """Holds what one site's accounting needs in memory; all of it can be rebuilt from the database at any time."""

    def __init__(self, site: str, settings: AccountantSettings, publish: alerts.Publish) -> None:
        self.site = site
        self._settings = settings
        self._publish = publish
        self._facts: SiteFacts | None = None
        self._open: OpenHours | None = None
        self._before: list[HourAccount] = []
        self._budgets: alerts.BudgetBook | None = None
        self._pace = Pace()
        self._live_due_ms = 0

    def run_pass(self, conn: Conn, wall_ms: int) -> bool:
        """One pass in one transaction and one snapshot; True when more work waits already."""
        with conn.transaction():
            marks = take_marks(conn, self.site, self._settings.marks_per_pass_max)
            clock = load_clock(conn, self.site)
            spans = self._refresh(conn, marks)
            facts = self._facts
            if facts is None:
                return False
            facts.learn_first(conn, {channel_id: changed[0][0] for channel_id, changed in marks.channels.items()})
            newest = newest_by_channel(conn, self.site)
            now_ms = clock.now_ms(wall_ms, max(newest.values(), default=None))
            spans += touched_by_readings(conn, facts, _late(marks, self._settled_end(conn)))
            self._rework(conn, facts, spans, now_ms)
            more = self._settle(conn, facts, newest, now_ms)
            if not more:
                self._look(conn, facts, marks, now_ms, wall_ms, clock.speed)
        self._after_commit(conn)
        return more or marks.taken >= self._settings.marks_per_pass_max

    def _refresh(self, conn: Conn, marks: Marks) -> list[Range]:
        """Reloads the facts when something else than readings changed; returns the spans that this touches."""
        known = {s.channel_id for stored in self._facts.channels.values() for s in stored} if self._facts else set()
        if self._facts is not None and not marks.site and marks.channels.keys() <= known:
            return []
        old, self._facts = self._facts, load_facts(conn, self.site)
        self._open = None
        if self._facts is None:
            return []
        self._batches = BatchBook(self.site)
        self._day = DayTotal(self.site)
        self._issued = shipping.issued(conn, self.site)
        model = self._facts.models[-1]
        replace_issues(conn, self.site, "production", None, self._facts.production(model).issues)
        if old is None or any(not cause.startswith("event") for _, cause in marks.site):
            return [span for span, cause in marks.site if not cause.startswith("event")] + (
                [] if old is not None else [span for span, _ in marks.site]
            )
        far_ms = max((high for (_, high), _ in marks.site), default=0) + 10 * 366 * 24 * HOUR_MS
        before, after = old.production(old.models[-1]), self._facts.production(model)
        return touched_by_production(before, after, far_ms)

    def _settled_end(self, conn: Conn) -> int:
        bounds = settled_bounds(conn, self.site)
        return 0 if bounds is None else bounds[1] + HOUR_MS

    def _rework(self, conn: Conn, facts: SiteFacts, spans: Sequence[Range], now_ms: int) -> None:
        """Accounts settled hours again that late facts touch; earlier hours than the first are accounted for the first time."""
        bounds = settled_bounds(conn, self.site)
        if bounds is None or not spans:
            return
        first, last = bounds
        earliest = facts.begins_ms
        start = first if earliest is None else min(first, hour_floor(earliest))
        clipped = [(max(low, start), min(high, last + HOUR_MS - 1)) for low, high in spans]
        hours = hours_of([(low, high) for low, high in clipped if low <= high])
        if hours and min(hours) < first:
            hours |= set(range(min(hours), first + 1, HOUR_MS))
        if not hours:
            return
        worked = rework(conn, facts, hours, last, now_ms, "late fact")
        log.info("late facts worked in", site=self.site, hours=worked.hours, postings=worked.postings)
        self._forget_derived()
        if worked.reached_end or last in hours:
            self._open = None

    def _forget_derived(self) -> None:
        self._batches.forget_settled()
        self._day.forget()
        self._before = []

    def _settle(self, conn: Conn, facts: SiteFacts, newest: Mapping[int, int], now_ms: int) -> bool:
        """Settles hours that are due; True when others are due already."""
        bounds = settled_bounds(conn, self.site)
        if bounds is not None:
            first = bounds[1] + HOUR_MS
        else:
            earliest = facts.begins_ms
            if earliest is None:
                return False
            first = hour_floor(earliest)
        count = self._due(facts, newest, first, now_ms)
        if count:
            worked = settle(conn, facts, first, count, now_ms, self._pace, self._settings.settle_slice_s)
            self._forget_derived()
            self._before, self._open = worked.last, None
            log.info("hours settled", site=self.site, hours=worked.hours, postings=worked.postings)
            return worked.hours < count
        if self._open is None:
            self._open = OpenHours(conn, facts, first, carry_before(conn, self.site, first))
            self._before = self._before or self._settled_before(conn, facts, first, now_ms)
        return False

    def _due(self, facts: SiteFacts, newest: Mapping[int, int], first_ms: int, now_ms: int) -> int:
        """How many hours from `first_ms` are complete, or old enough to be settled as they are."""
        model = facts.model(now_ms)
        sources = facts.sources(now_ms)
        reached = [
            max((newest.get(c, 0) for c in sources[m].multipliers), default=0) if m in sources else 0
            for m in model.graph.meters
        ]
        complete_ms = max(min(reached, default=0), now_ms - model.graph.plant.settle_after_s * 1000)
        return max(0, (min(complete_ms, now_ms) - first_ms) // HOUR_MS)

    def _settled_before(self, conn: Conn, facts: SiteFacts, first_ms: int, now_ms: int) -> list[HourAccount]:
        """The last settled hour again, for the trend that reaches back into it."""
        hour = first_ms - HOUR_MS
        bounds = settled_bounds(conn, self.site)
        if bounds is None or hour < bounds[0]:
            return []
        return list(account_hours(conn, facts, [hour], carry_before(conn, self.site, hour), now_ms))

    def _look(self, conn: Conn, facts: SiteFacts, marks: Marks, now_ms: int, wall_ms: int, speed: int) -> None:
        """Brings the open hours up to date; writes the live picture when it is due, statements as soon as they are."""
        if self._open is None:
            return
        self._open.add(
            conn, {c: (min(s[0] for s in spans), max(s[1] for s in spans)) for c, spans in marks.channels.items()}
        )
        model = facts.model(now_ms)
        production = facts.production(model)
        shipments = shipping.due(production, self._issued, now_ms)
        if not shipments and wall_ms < self._live_due_ms:
            return
        accounts = self._open.accounts(now_ms, round(self._settings.missing_s * 1000 * speed))
        for shipment in shipments:
            batch = production.batches[shipment.batch]
            digest = shipping.issue_statement(conn, facts, shipment, batch, accounts, now_ms)
            self._issued.add((shipment.shipment, shipment.batch))
            log.info("statement issued", site=self.site, shipment=shipment.shipment, batch=batch.batch, sha256=digest)
        self._live_due_ms = wall_ms + self._settings.live_ms
        self._write_live(conn, facts, accounts, now_ms, speed)

    def _write_live(self, conn: Conn, facts: SiteFacts, accounts: list[HourAccount], now_ms: int, speed: int) -> None:
        assert self._open is not None
        model = facts.model(now_ms)
        production, graph = facts.production(model), model.graph
        before = [a for a in self._before if a.hour_ms == accounts[0].hour_ms - HOUR_MS]
        picture = live.Picture(graph, [*before, *accounts], facts.library, now_ms)
        last = self._open.last_ms()
        ages = live.Ages(
            {m: _age_s(now_ms, last.get(m), speed) for m in graph.meters},
            self._settings.late_s,
            self._settings.missing_s,
        )
        fresh = [t for m, t in last.items() if t is not None and ages.status(ages.by_meter[m]) != "missing"]
        window = picture.recent(min(min(fresh), now_ms)) if fresh else slice(0, 0)
        budgets = self._budgets = self._budgets or alerts.BudgetBook(conn, self.site, now_ms)
        rows: list[tuple[str, str, dict[str, Any]]] = []
        for center in graph.plant.work_centers:
            body = live.work_center_body(picture, ages, window, center.id, production)
            rate = body["rate_kg_co2e_per_hour"]
            body["budget"] = center.budget and budgets.look(
                conn, center.id, center.budget, None if rate is None else Decimal(rate), now_ms
            )
            rows.append(("work_center", center.id, body))
        nets = _batch_nets(accounts)
        rows += self._batches.rows(conn, graph, production, facts.library, nets, accounts, ages, now_ms)
        today = self._day.kg(conn, facts, accounts, now_ms)
        rows.append(("plant", self.site, live.plant_body(conn, self.site, picture, ages, window, today)))
        rows.append(("trend", self.site, picture.trend(60)))
        _store_live(conn, self.site, rows)
        replace_issues(
            conn,
            self.site,
            "hour",
            (accounts[0].hour_ms, accounts[-1].hour_ms + HOUR_MS),
            [i for a in accounts for i in a.issues],
        )

    def _after_commit(self, conn: Conn) -> None:
        if self._facts is not None:
            alerts.tell(conn, self.site, self._publish)


def _late(marks: Marks, settled_end_ms: int) -> dict[int, Range]:
    """Per channel the span of changes that reach into settled hours."""
    late: dict[int, Range] = {}
    for channel_id, spans in marks.channels.items():
        inside = [span for span in spans if span[0] < settled_end_ms]
        if inside:
            late[channel_id] = (min(s[0] for s in inside), max(s[1] for s in inside))
    return late


def _age_s(now_ms: int, last_ms: int | None, speed: int) -> float | None:
    return None if last_ms is None else max(0.0, (now_ms - last_ms) / 1000 / speed)


def _batch_nets(accounts: Sequence[HourAccount]) -> dict[str, Net]:
    nets: dict[str, Net] = {}
    for account in accounts:
        for key, amount in account.net.items():
            if key.account_kind == "batch":
                nets.setdefault(key.account_id, {})[key] = amount
    return nets


def _store_live(conn: Conn, site: str, rows: Sequence[tuple[str, str, dict[str, Any]]]) -> None:
    kinds, ids, bodies = zip(*((kind, name, orjson.dumps(body).decode()) for kind, name, body in rows), strict=True)
    conn.execute(
        "delete from live where site = %s and kind = 'batch' and not id = any(%s)",
        (site, [name for kind, name, _ in rows if kind == "batch"]),
    )
    conn.execute(
        "insert into live (site, kind, id, body, updated_at) select %s, k, i, b::jsonb, now() "
        "from unnest(%s::text[], %s::text[], %s::text[]) as r(k, i, b) "
        "on conflict (site, kind, id) do update set body = excluded.body, updated_at = excluded.updated_at",
        (site, list(kinds), list(ids), list(bodies)),
    )
    conn.execute("select pg_notify('plantprint_live', %s)", (site,))
