"""The site's emissions of its local day so far: settled postings once, open hours at every look."""

from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

from psycopg import Connection

from plantprint.account import HourAccount
from plantprint.footprint import footprint
from plantprint.ledger import Net, PostingKey
from plantprint.times import from_ms, to_ms
from plantprint_collector.books import SiteFacts

Conn = Connection[tuple[Any, ...]]

_NOT_EMITTED = ("export", "stock")


class DayTotal:
    """Keeps the settled part of the day until the ledger or the day changes."""

    def __init__(self, site: str) -> None:
        self.site = site
        self._known: tuple[tuple[int, int], Net] | None = None

    def forget(self) -> None:
        self._known = None

    def kg(self, conn: Conn, facts: SiteFacts, accounts: Sequence[HourAccount], now_ms: int) -> str:
        """Emissions in kg CO2e since local midnight (hours that began after it), everything on site, exports and stock left out."""
        plant = facts.model(now_ms).graph.plant
        start_ms = local_midnight_ms(now_ms, plant.site.timezone)
        span = (start_ms, accounts[0].hour_ms)
        if self._known is None or self._known[0] != span:
            self._known = (span, _settled(conn, self.site, *span))
        net = dict(self._known[1])
        for account in accounts:
            if account.hour_ms >= start_ms:
                net |= {k: a for k, a in account.net.items() if k.account_kind not in _NOT_EMITTED}
        return footprint(net, facts.source_history, facts.library, series=facts.series).kg_co2e


def local_midnight_ms(now_ms: int, timezone: str) -> int:
    local = from_ms(now_ms).astimezone(ZoneInfo(timezone))
    return to_ms(datetime(local.year, local.month, local.day, tzinfo=ZoneInfo(timezone)))


def _settled(conn: Conn, site: str, from_ms_: int, before_ms: int) -> Net:
    rows = conn.execute(
        "select source, entered_at, quality, sum(amount) from posting where site = %s and hour_at >= %s and hour_at < %s "
        "and not account_kind = any(%s) group by 1, 2, 3",
        (site, from_ms(from_ms_), from_ms(before_ms), list(_NOT_EMITTED)),
    ).fetchall()
    return {
        PostingKey(from_ms_, "overhead", "", "", "", source, to_ms(entered), quality): int(Decimal(amount))
        for source, entered, quality, amount in rows
    }
