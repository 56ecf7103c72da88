"""The product's answer to a document of facts, in the oracle's words, and both compared digit by digit."""

import json
import os
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, Phase, settings
from oracle.oracle_account import WRONG, Key, Net, OracleHour, account_document, events_wrong
from oracle.oracle_wrong import CODES

from plantprint import neutral
from plantprint.account import HourAccount
from plantprint.ledger import PostingKey
from plantprint.neutral.run import Accounts

# Where a document about which the two disagree is left, to be looked at with `plantprint account`.
FAILED = Path(tempfile.gettempdir()) / "oracle-disagrees.facts.json"
EXAMPLES = int(os.environ.get("PLANTPRINT_ORACLE_EXAMPLES", "70"))


def tried(part: float = 1.0) -> settings:
    """Settings that try a part of the examples asked for; the same ones every time unless more are asked for."""
    return settings(
        max_examples=max(1, round(EXAMPLES * part)),
        database=None,
        phases=(Phase.explicit, Phase.generate),  # To make a document small takes minutes, and it is small already.
        derandomize="PLANTPRINT_ORACLE_EXAMPLES" not in os.environ,
        suppress_health_check=list(HealthCheck),
    )


def product_accounts(document: Mapping[str, Any], known_at: str | None = None) -> Accounts:
    return neutral.account_facts(neutral.parse_facts(json.dumps(document)), known_at)


def product_hours(document: Mapping[str, Any], known_at: str | None = None) -> Sequence[HourAccount]:
    return product_accounts(document, known_at).hours


@contextmanager
def leave(document: Mapping[str, Any], known_at: str | None = None) -> Iterator[None]:
    """Leaves a document about which the two disagree where it can be looked at."""
    try:
        yield
    except Exception as error:
        FAILED.write_text(json.dumps(document, indent=1), encoding="utf-8")
        raise AssertionError(f"{FAILED} (known_at {known_at}): {error}") from error


def plain(net: Mapping[PostingKey, int]) -> Net:
    return {
        Key(
            key.account_kind,
            key.account_id,
            key.work_unit,
            key.step,
            key.source,
            key.entered_ms,
            key.quality,
            key.portion,
        ): amount
        for key, amount in net.items()
    }


def assert_equal(product: Sequence[HourAccount], oracle: Sequence[OracleHour]) -> None:
    """Amounts first, then qualities, then how incomplete batches are: the first difference is the one to look at."""
    assert [hour.hour_ms for hour in product] == [hour.hour_ms for hour in oracle]
    for got, wanted in zip(product, oracle, strict=True):
        assert _amounts(plain(got.net)) == _amounts(wanted.net), got.hour_ms
        assert plain(got.net) == wanted.net, got.hour_ms
        assert {(one.code, one.place) for one in got.issues if one.code in WRONG} == wanted.wrong, got.hour_ms
    assert [dict(hour.missing_ms) for hour in product] == [hour.missing_ms for hour in oracle]


def assert_conserved(hours: Sequence[OracleHour]) -> None:
    """Per source and hour everything that entered is on an account, what is held as signed stock."""
    for hour in hours:
        posted = dict.fromkeys(hour.entered, 0)
        for key, amount in hour.net.items():
            posted[key.source] = posted.get(key.source, 0) + amount
        assert posted == {**dict.fromkeys(posted, 0), **hour.entered}


def assert_agrees(document: Mapping[str, Any], known_at: str | None = None) -> None:
    with leave(document, known_at):
        oracle = account_document(document, known_at)
        assert_conserved(oracle)
        accounts = product_accounts(document, known_at)
        assert_equal(accounts.hours, oracle)
        told = {(one.code, one.place, one.at_ms) for one in accounts.production.issues if one.code in CODES}
        assert told == events_wrong(document, known_at)


def _amounts(net: Net) -> dict[tuple[Any, ...], int]:
    """Without qualities."""
    sums: dict[tuple[Any, ...], int] = {}
    for key, amount in net.items():
        place = (*key[:6], key.portion)
        sums[place] = sums.get(place, 0) + amount
    return {place: amount for place, amount in sums.items() if amount}
