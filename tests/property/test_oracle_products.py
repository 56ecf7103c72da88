"""The footprint of every lot, with all that went into it, against a second accounting in fractions (tests/oracle)."""

from collections.abc import Mapping
from typing import Any

from hypothesis import given
from oracle.oracle_account import account_document
from oracle.oracle_compare import leave, plain, product_accounts, tried
from oracle.oracle_products import REASONS, Product, products
from oracle.oracle_trades import trades

from plantprint.neutral.run import Accounts


@tried()
@given(trades())
def test_the_footprint_of_every_lot_equals_the_oracles_digit_for_digit(document: Mapping[str, Any]) -> None:
    """From what was known at some instant, and from everything."""
    told = sorted({str(fact["known_at"]) for fact in document["events"]})
    for known_at in (told[len(told) // 2], None):
        with leave(document, known_at):
            accounts = product_accounts(document, known_at)
            hours = account_document(document, known_at)
            assert [plain(hour.net) for hour in accounts.hours] == [hour.net for hour in hours]
            _assert_equal(accounts, products(document, hours, known_at))


def _assert_equal(accounts: Accounts, wanted: Mapping[str, Product]) -> None:
    assert {*accounts.lots} <= {*wanted}
    for lot, product in wanted.items():
        got = accounts.product(lot)
        shares = {name: got.coproducts.share(name) for name in got.coproducts.weights} if got.coproducts else {}
        assert shares == product.shares, lot
        for lines, expected in ((got.entered, product.entered), (got.total, product.total), (got.own, product.own)):
            assert {tuple(key): kg for key, kg in lines.items() if kg} == expected, lot
        assert got.quantity_micro == product.good, lot
        assert got.judged.primary_share == product.primary, lot
        assert {(one.code, one.place) for one in got.reasons if one.code in REASONS} == product.reasons, lot
