"""Writes a site's live rows: plant, lines, running batches and the trend, with the budget alerts that follow from them."""

from collections.abc import Sequence
from decimal import Decimal
from typing import Any

import numpy as np
import orjson
from psycopg import Connection

from plantprint.account import HourAccount
from plantprint.flows import Known
from plantprint.ledger import Net
from plantprint.live_rates import hours_lacking
from plantprint.production import Production
from plantprint.times import HOUR_MS, hour_floor
from plantprint_collector import alerts, live
from plantprint_collector.accountant_config import AccountantSettings
from plantprint_collector.batches import BatchBook
from plantprint_collector.books import SiteFacts
from plantprint_collector.ledger_store import replace_issues
from plantprint_collector.newest import NEVER_MS, Newest
from plantprint_collector.site_day import DayTotal

Conn = Connection[tuple[Any, ...]]
LiveRow = tuple[str, str, dict[str, Any]]


class LiveBook:
    """Keeps settled sums and alert states between looks."""

    def __init__(self, site: str, settings: AccountantSettings) -> None:
        self.site = site
        self._settings = settings
        self._batches = BatchBook(site)
        self._day = DayTotal(site)
        self._budgets: alerts.BudgetBook | None = None
        self._issues: tuple[Any, ...] | None = None
        self._written: dict[tuple[str, str], bytes] = {}

    def forget_settled(self) -> None:
        """The ledger behind the kept sums has changed."""
        self._batches.forget_settled()
        self._day.forget()

    def ages(self, facts: SiteFacts, newest: Newest, now_ms: int, speed: int) -> live.Ages:
        """How old what is known of each meter of the plant is, and when that is too old for the pace it is read at."""
        hour_ms = hour_floor(now_ms)
        meters = tuple(facts.model(hour_ms).graph.meters)
        heard = newest.heard(facts.sources(hour_ms), meters)
        age_s = np.where(heard.last_ms == NEVER_MS, np.inf, (now_ms - heard.last_ms).clip(min=0) / (1000 * speed))
        usual_s = heard.usual_ms / (1000 * speed)
        return live.Ages(
            meters,
            age_s,
            np.maximum(self._settings.late_s, self._settings.late_paces * usual_s),
            np.maximum(self._settings.missing_s, self._settings.missing_paces * usual_s),
        )

    def write(
        self,
        conn: Conn,
        facts: SiteFacts,
        settled: Sequence[HourAccount],
        accounts: Sequence[HourAccount],
        ages: live.Ages,
        now_ms: int,
        speed: int,
    ) -> None:
        """The picture of the open hours `accounts`, with the `settled` one before them for the trend."""
        model = facts.model(hour_floor(now_ms))
        production, graph = facts.production(model), model.graph
        shown = [a for a in (*settled, *accounts) if Known.of(a.meters).amount.shape[1] == graph.buckets]
        picture = live.Picture(
            graph, shown or [accounts[-1]], facts.source_history, facts.library, facts.series, now_ms
        )
        # What is missing holds up no rate: those of the others are shown.
        oldest_s = float(ages.age_s[~ages.is_missing].max(initial=-1.0))
        window = picture.recent(now_ms - round(oldest_s * 1000 * speed)) if oldest_s >= 0 else slice(0, 0)
        means = picture.means(window)
        rows = self._work_centers(conn, picture, ages, means, production)
        rows += self._batches.rows(conn, graph, facts.happened, facts, _batch_nets(accounts), accounts, ages, now_ms)
        today = self._day.kg(conn, facts, accounts, now_ms)
        rows.append(("plant", self.site, live.plant_body(conn, self.site, picture, ages, means, today)))
        rows.append(("trend", self.site, picture.trend(60)))
        self._store(conn, rows)
        span = (accounts[0].hour_ms, accounts[-1].hour_ms + HOUR_MS)
        lacking = hours_lacking(graph.plant.sources, facts.series, [account.hour_ms for account in accounts])
        issues = frozenset(i for a in accounts for i in a.issues) | lacking
        if self._issues != (span, issues):
            replace_issues(conn, self.site, "hour", span, issues)
            self._issues = (span, issues)

    def _work_centers(
        self,
        conn: Conn,
        picture: live.Picture,
        ages: live.Ages,
        means: list[live.Mean] | None,
        production: Production,
    ) -> list[LiveRow]:
        centers = picture.graph.plant.work_centers
        budgets = self._budgets = self._budgets or alerts.BudgetBook(conn, self.site, picture.now_ms)
        budgets.close_others(conn, {center.id for center in centers if center.budget}, picture.now_ms)
        running = live.running_batches(picture.graph, production, picture.now_ms)
        by_center: dict[str, list[live.Mean]] = {}
        for use, rate in means or ():
            by_center.setdefault(use.work_center, []).append((use, rate))
        rows: list[LiveRow] = []
        for center in centers:
            own = None if means is None else by_center.get(center.id, [])
            body = live.work_center_body(picture, ages, own, center.id, running)
            shown = body["rate_kg_co2e_per_hour"]
            body["budget"] = center.budget and budgets.look(
                conn, center.id, center.budget, None if shown is None else Decimal(shown), picture.now_ms
            )
            rows.append(("work_center", center.id, body))
        return rows

    def _store(self, conn: Conn, rows: Sequence[LiveRow]) -> None:
        """Writes rows that are not as they were; those of lines and batches that are not in the picture any more go."""
        bodies = {(kind, name): orjson.dumps(body) for kind, name, body in rows}
        if bodies.keys() != self._written.keys():
            kinds, names = zip(*bodies, strict=True)
            conn.execute(
                "delete from live where site = %s and (kind, id) not in (select * from unnest(%s::text[], %s::text[]))",
                (self.site, list(kinds), list(names)),
            )
        changed = [
            b'{"k":%b,"i":%b,"b":%b}' % (orjson.dumps(kind), orjson.dumps(name), body)
            for (kind, name), body in bodies.items()
            if self._written.get((kind, name)) != body
        ]
        # One document, because escaping each body as an element of an array costs more than everything else here.
        conn.execute(
            "insert into live (site, kind, id, body, updated_at) select %s, k, i, b, now() "
            "from jsonb_to_recordset(%s::jsonb) as r(k text, i text, b jsonb) "
            "on conflict (site, kind, id) do update set body = excluded.body, updated_at = excluded.updated_at",
            (self.site, (b"[%b]" % b",".join(changed)).decode()),
        )
        conn.execute("select pg_notify('plantprint_live', %s)", (self.site,))
        self._written = bodies


def _batch_nets(accounts: Sequence[HourAccount]) -> dict[str, Net]:
    nets: dict[str, Net] = {}
    for account in accounts:
        for key, amount in account.net.items():
            if key.account_kind == "batch":
                nets.setdefault(key.account_id, {})[key] = amount
    return nets
