"""A fixture under which every hour that is settled from memory is accounted again from the database and compared."""

from collections.abc import Iterable

import numpy as np
import pytest
from psycopg import Connection

from plantprint.account import HourAccount
from plantprint.facts import Issue
from plantprint_collector import settling, site_accountant
from plantprint_collector.books import SiteFacts, account_hours
from plantprint_collector.facts_store import load_clock, newest_by_channel


@pytest.fixture
def settled_alike(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The hours that were compared."""
    compared: list[int] = []

    def checked(conn: Connection[tuple[object, ...]], facts: SiteFacts, accounts: list[HourAccount]) -> settling.Worked:
        now_ms = load_clock(conn, facts.site).now_ms(0, max(newest_by_channel(conn, facts.site).values()))
        hours = [account.hour_ms for account in accounts]
        carry = settling.carry_before(conn, facts.site, hours[0])
        for mine, stored in zip(accounts, account_hours(conn, facts, hours, carry, now_ms), strict=True):
            assert mine.net == stored.net
            assert mine.carry == stored.carry
            assert mine.missing_ms == stored.missing_ms
            assert _places(mine.issues) == _places(stored.issues)
            assert mine.meters.keys() == stored.meters.keys()
            for meter, hour in mine.meters.items():
                for name in ("amount", "quality", "missing_ms"):
                    assert np.array_equal(getattr(hour, name), getattr(stored.meters[meter], name)), (meter, name)
        compared.extend(hours)
        return real(conn, facts, accounts)

    real = settling.settle_known
    monkeypatch.setattr(site_accountant, "settle_known", checked)
    return compared


def _places(issues: Iterable[Issue]) -> set[tuple[str, str, int]]:
    return {(issue.code, issue.place, issue.at_ms) for issue in issues}
