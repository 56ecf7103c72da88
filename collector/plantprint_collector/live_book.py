"""Writes a site's live rows: plant, lines, running batches and the trend, with the budget alerts that follow from them."""

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

import orjson
from psycopg import Connection

from plantprint.account import HourAccount
from plantprint.ledger import Net
from plantprint.production import Production
from plantprint.times import HOUR_MS
from plantprint_collector import alerts, live
from plantprint_collector.accountant_config import AccountantSettings
from plantprint_collector.batches import BatchBook
from plantprint_collector.books import SiteFacts
from plantprint_collector.ledger_store import replace_issues
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

    def forget_settled(self) -> None:
        """The ledger behind the kept sums has changed."""
        self._batches.forget_settled()
        self._day.forget()

    def write(
        self,
        conn: Conn,
        facts: SiteFacts,
        settled: Sequence[HourAccount],
        accounts: Sequence[HourAccount],
        newest: Mapping[int, int],
        now_ms: int,
        speed: int,
    ) -> None:
        """The picture of the open hours `accounts`, with the `settled` one before them for the trend."""
        model = facts.model(now_ms)
        production, graph = facts.production(model), model.graph
        shown = [a for a in (*settled, *accounts) if all(m.amount.size == graph.buckets for m in a.meters.values())]
        picture = live.Picture(graph, shown or [accounts[-1]], facts.library, now_ms)
        last = {meter: source.newest_ms(newest) for meter, source in facts.sources(now_ms).items()}
        ages = live.Ages(
            {m: _age_s(now_ms, last.get(m), speed) for m in graph.meters},
            self._settings.late_s,
            self._settings.missing_s,
        )
        fresh = [t for m, t in last.items() if t is not None and ages.status(ages.by_meter[m]) != "missing"]
        window = picture.recent(min(*fresh, now_ms)) if fresh else slice(0, 0)
        rows = self._work_centers(conn, picture, ages, window, production)
        rows += self._batches.rows(
            conn, graph, production, facts.library, _batch_nets(accounts), accounts, ages, now_ms
        )
        today = self._day.kg(conn, facts, accounts, now_ms)
        rows.append(("plant", self.site, live.plant_body(conn, self.site, picture, ages, window, today)))
        rows.append(("trend", self.site, picture.trend(60)))
        _store(conn, self.site, rows)
        span = (accounts[0].hour_ms, accounts[-1].hour_ms + HOUR_MS)
        replace_issues(conn, self.site, "hour", span, [i for a in accounts for i in a.issues])

    def _work_centers(
        self, conn: Conn, picture: live.Picture, ages: live.Ages, window: slice, production: Production
    ) -> list[LiveRow]:
        centers = picture.graph.plant.work_centers
        budgets = self._budgets = self._budgets or alerts.BudgetBook(conn, self.site, picture.now_ms)
        budgets.close_others(conn, {center.id for center in centers if center.budget}, picture.now_ms)
        rows: list[LiveRow] = []
        for center in centers:
            body = live.work_center_body(picture, ages, window, center.id, production)
            rate = body["rate_kg_co2e_per_hour"]
            body["budget"] = center.budget and budgets.look(
                conn, center.id, center.budget, None if rate is None else Decimal(rate), picture.now_ms
            )
            rows.append(("work_center", center.id, body))
        return rows


def _age_s(now_ms: int, last_ms: int | None, speed: int) -> float | None:
    return None if last_ms is None else max(0.0, (now_ms - last_ms) / 1000 / speed)


def _batch_nets(accounts: Sequence[HourAccount]) -> dict[str, Net]:
    nets: dict[str, Net] = {}
    for account in accounts:
        for key, amount in account.net.items():
            if key.account_kind == "batch":
                nets.setdefault(key.account_id, {})[key] = amount
    return nets


def _store(conn: Conn, site: str, rows: Sequence[LiveRow]) -> None:
    """Rows of lines and batches that are not in the picture any more go."""
    kinds, ids, bodies = zip(*((kind, name, orjson.dumps(body).decode()) for kind, name, body in rows), strict=True)
    conn.execute(
        "delete from live where site = %s and (kind, id) not in (select * from unnest(%s::text[], %s::text[]))",
        (site, list(kinds), list(ids)),
    )
    conn.execute(
        "insert into live (site, kind, id, body, updated_at) select %s, k, i, b::jsonb, now() "
        "from unnest(%s::text[], %s::text[], %s::text[]) as r(k, i, b) "
        "on conflict (site, kind, id) do update set body = excluded.body, updated_at = excluded.updated_at",
        (site, list(kinds), list(ids), list(bodies)),
    )
    conn.execute("select pg_notify('plantprint_live', %s)", (site,))
