"""Lots, uses and outputs on a real database: statements with all that went in, and bad facts on the batches they touch."""

import json
import random
import time
from collections.abc import Iterator
from fractions import Fraction
from typing import Any

import pytest
from accounting_cases import HOUR
from ledger_rig import Rig, mill
from psycopg.types.json import Jsonb

from plantprint.factors import builtin_factors, latest
from plantprint.facts import EventKind
from plantprint.quantities import MICRO
from plantprint.times import format_instant
from plantprint_collector import genealogy_book
from plantprint_collector.facts_book import FactsBook
from plantprint_collector.ledger_marks import Marks

pytestmark = pytest.mark.integration

HOUR_S = 3600
Told = tuple[EventKind, dict[str, Any]]
MATERIALS = [{"id": "salt", "name": {"en": "Salt"}, "unit": "kg", "factor": "cpcd.sodium_sulfate"}]


@pytest.fixture
def rig(database_url: str) -> Iterator[Rig]:
    with Rig(database_url) as made:
        made.apply(mill(materials=MATERIALS))
        made.declare()
        made.steady(0, 3 * HOUR_S)
        yield made


def reasons(rig: Rig) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for batch, code in rig.rows("select batch, code from batch_reason order by batch, code"):
        found.setdefault(batch, []).append(code)
    return found


def open_issues(rig: Rig) -> list[tuple[Any, ...]]:
    return rig.rows("select code, place from issue where origin = 'genealogy' and open order by 1, 2")


def test_a_statement_carries_what_went_into_the_batch(rig: Rig) -> None:
    rig.event("order", 0, batch="b1", product="twill", quantity=100, unit="kg")
    rig.event("order", 0, batch="k1", product="yarn", quantity=60, unit="kg")
    rig.job("j1", "u1", 3 * HOUR_S, 3 * HOUR_S + 900, batch="b1")
    rig.job("jk", "u2", 2 * HOUR_S, 3 * HOUR_S + 600, batch="k1")
    rig.event("lot", 60, lot="dye-7", quantity=100, unit="kg", pcf_kg_co2e="8.4", primary_share="0.5")
    rig.event("material_use", 3 * HOUR_S + 60, batch="b1", lot="dye-7", quantity=5, unit="kg", step="dye")
    rig.event("material_use", 3 * HOUR_S + 70, batch="b1", material="salt", quantity=20)
    rig.event("output", 3 * HOUR_S + 650, batch="k1", quantity=50)
    rig.event("material_use", 3 * HOUR_S + 700, batch="b1", lot="k1", quantity=10)
    rig.event("output", 3 * HOUR_S + 910, batch="b1", quantity=95)
    rig.event("scrap", 3 * HOUR_S + 911, batch="b1", quantity=5)
    rig.steady(3 * HOUR_S + 60, 3 * HOUR_S + 1200)
    rig.event("shipment", 3 * HOUR_S + 1000, shipment="s1", batch="b1", quantity=95)
    rig.run()
    ((body,),) = rig.rows("select body from statement")
    product = json.loads(body)["product_footprint"]
    grid, gas = (Fraction(str(rig.factor(source))) for source in ("grid", "gas"))
    own = 15 * grid + Fraction(15, 2) * gas  # u1 takes 60 kWh and 30 Nm3 an hour, for a quarter of one
    yarn = 42 * grid / 5  # u2 takes 36 kWh an hour for 70 minutes, a fifth of the yarn went in
    assert Fraction(product["own"]["kg_co2e"]) == own
    assert Fraction(product["upstream"]["kg_co2e"]) == yarn + 42 + Fraction("9.98")
    assert Fraction(json.loads(body)["shipment"]["product_footprint_kg_co2e"]) == own + yarn + 42 + Fraction("9.98")
    assert (product["quantity"], product["incomplete"], product["boundary"]) == ("95", False, "cradle-to-gate")
    # The yarn's open hour went into the ledger with the shipment, so that the ledger holds all that is stated.
    assert rig.amount("batch/k1", "grid") == 42 * MICRO
    assert json.loads(body)["allocation_rules"]["en"]
    rig.steady(3 * HOUR_S + 1260, 4 * HOUR_S)
    rig.run()
    assert rig.amount("batch/k1", "grid") == 42 * MICRO
    assert reasons(rig) == {}
    rig.assert_clean()


def test_the_market_of_a_statement_is_matched_by_hour_with_the_open_one(rig: Rig) -> None:
    contract = {"id": "ppa", "name": {"en": "Wind"}, "factor": "direct.zero"}
    rig.conn.execute(
        "insert into factor (factor_id, version, body) values ('direct.zero', 1, %s)",
        (
            Jsonb(
                latest(builtin_factors())["cn.grid.2023.zhejiang"].to_json()
                | {"factor_id": "direct.zero", "value": "0"}
            ),
        ),
    )
    rig.apply(mill(market={"source": "grid", "contracts": [contract]}))
    rig.event("order", 0, batch="b1", quantity=100, unit="kg")
    rig.job("j1", "u1", 2 * HOUR_S, 3 * HOUR_S + 900, batch="b1")
    # The plant takes 120 kWh an hour; 30 certificates in the settled hour, and as many as were taken in the open one.
    start = format_instant(HOUR + 2 * HOUR_S * 1000)
    middle, end = format_instant(HOUR + 3 * HOUR_S * 1000), format_instant(HOUR + 3 * HOUR_S * 1000 + 1_200_000)
    rig.event("certificate", 60, "c1", contract="ppa", amount=30, **{"from": start, "to": middle})
    rig.event("certificate", 60, "c2", contract="ppa", amount=40, **{"from": middle, "to": end})
    rig.steady(3 * HOUR_S + 60, 3 * HOUR_S + 1200)
    rig.event("shipment", 3 * HOUR_S + 1000, shipment="s1", batch="b1")
    rig.run()
    ((body,),) = rig.rows("select body from statement")
    own = json.loads(body)["product_footprint"]["own"]
    grid = Fraction(str(rig.factor("grid")))
    assert Fraction(own["kg_co2e"]) - Fraction(own["market_based_kg_co2e"]) == grid * (15 + 15)


def test_bad_facts_are_issues_on_the_batches_that_they_touch_until_corrected(rig: Rig) -> None:
    rig.event("order", 0, batch="b1", quantity=100, unit="kg")
    rig.event("order", 0, batch="b2", quantity=100, unit="kg")
    rig.event("lot", 60, lot="dye-7", quantity=10, unit="kg", pcf_kg_co2e="8.4")
    rig.event("material_use", 100, "u1", batch="b1", lot="dye-7", quantity=6)
    rig.event("material_use", 110, "u2", batch="b2", lot="nobody", quantity=1)
    rig.run()
    assert reasons(rig) == {"b2": ["lot-unknown"], "nobody": ["lot-unknown"]}
    rig.event("output", 190, batch="b1", quantity=98)
    rig.event("material_use", 200, "u3", batch="b3", lot="dye-7", quantity=6)
    rig.event("material_use", 210, "u4", batch="b4", lot="b1", quantity=2)
    rig.run()
    spent = ["used-more-than-made"]
    assert reasons(rig) == {
        "b1": spent, "b2": ["lot-unknown"], "b3": spent, "b4": spent, "dye-7": spent, "nobody": ["lot-unknown"],
    }  # fmt: skip
    assert open_issues(rig) == [("lot-unknown", "nobody"), ("used-more-than-made", "dye-7")]
    # A restart finds the same; corrections and withdrawals take the reasons back, and issues are closed, not deleted.
    before = rig.rows("select * from batch_reason order by 1, 2, 3, 4")
    rig.restart()
    rig.run()
    assert rig.rows("select * from batch_reason order by 1, 2, 3, 4") == before
    rig.event("material_use", 200, "u3", 1, batch="b3", lot="dye-7", quantity=3)
    rig.event("withdraw", 300, "w2", event_id="u2")
    rig.run()
    assert reasons(rig) == {}
    assert open_issues(rig) == []
    assert rig.rows("select count(*) from issue where origin = 'genealogy'") == [(2,)]


def test_a_running_batch_is_incomplete_in_the_live_picture_too(rig: Rig) -> None:
    rig.job("j1", "u1", 2 * HOUR_S, None, batch="b1")
    rig.steady(3 * HOUR_S + 60, 3 * HOUR_S + 300)
    rig.run()
    assert not rig.live("batch", "b1")["incomplete"]
    rig.event("material_use", 3 * HOUR_S, "u", batch="b1", lot="nobody", quantity=1, unit="kg")
    rig.run()
    assert rig.live("batch", "b1")["incomplete"]
    rig.event("withdraw", 3 * HOUR_S, "w", event_id="u")
    rig.run()
    assert not rig.live("batch", "b1")["incomplete"]


def test_a_lot_of_many_events_is_looked_at_now_and_then_and_never_forgotten(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(genealogy_book, "EVENTS_AT_ONCE", 2)
    monkeypatch.setattr(genealogy_book, "_REST_TIMES", 100)
    rig.event("lot", 60, lot="silo", quantity=10, unit="kg", pcf_kg_co2e="1")
    for number in range(6):
        rig.event("material_use", 100 + number, batch=f"b{number}", lot="silo", quantity=2)
        rig.run()
    deadline_s = time.monotonic() + 30
    while "silo" not in reasons(rig) and time.monotonic() < deadline_s:
        rig.run()
    assert reasons(rig)["silo"] == ["used-more-than-made"]
    assert len(reasons(rig)) == 7
    rig.assert_clean()


@pytest.mark.contradicts("a stored reason is moved to another batch")
def test_the_audit_finds_a_reason_that_is_not_one(rig: Rig) -> None:
    rig.event("material_use", 100, batch="b1", lot="nobody", quantity=2, unit="kg")
    rig.run()
    rig.assert_clean()
    rig.conn.execute("update batch_reason set batch = 'b9' where batch = 'b1'")
    assert [(one.check, one.place) for one in rig.audit().findings] == [("genealogy", "b1"), ("genealogy", "b9")]


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_reasons_kept_up_event_by_event_are_those_of_all_events_at_once(rig: Rig, seed: int) -> None:
    chance, lots, told = random.Random(seed), ["a", "b", "c", "d", "e"], 0
    for number in range(60):
        lot, other = chance.sample(lots, 2)
        choices: list[Told] = [
            ("lot", {"lot": lot, "quantity": chance.randint(1, 30), "pcf_kg_co2e": chance.choice(["2", ""])}),
            ("material_use", {"batch": other, "lot": lot, "quantity": chance.randint(1, 9)}),
            ("output", {"batch": lot, "quantity": chance.randint(0, 20)}),
            ("order", {"batch": lot, "quantity": 10, "unit": "kg"}),
            ("return", {"batch": other, "lot": lot, "quantity": chance.randint(1, 5)}),
            ("withdraw", {"event_id": f"e{chance.randint(0, number)}"}),
        ]
        kind, body = chance.choice(choices)
        # A third of them say something else about an event that was told before, of whatever kind.
        corrected = number and chance.random() < 0.3
        name = f"e{chance.randint(0, number - 1)}" if corrected else f"e{number}"
        rig.event(kind, 60 + number, name, number if corrected else 0, **body)
        if chance.random() < 0.3:
            rig.run()
            told += bool(reasons(rig))
    rig.run()
    rig.assert_clean()
    assert told


def test_a_loop_that_nothing_leaves_is_found_when_it_closes_and_when_it_opens(rig: Rig) -> None:
    for batch in ("b1", "b2"):
        rig.event("output", 50, batch=batch, quantity=10, unit="kg")
    rig.event("material_use", 60, batch="b2", lot="b1", quantity=10)
    rig.run()
    assert reasons(rig) == {}
    rig.event("material_use", 70, "back", batch="b1", lot="b2", quantity=10)
    rig.run()
    assert reasons(rig) == {"b1": ["loop-closed", "loop-closed"], "b2": ["loop-closed", "loop-closed"]}
    rig.event("material_use", 70, "back", 1, batch="b1", lot="b2", quantity=4)
    rig.run()
    assert reasons(rig) == {}


def test_an_order_that_comes_after_the_use_of_its_batch_is_believed(rig: Rig) -> None:
    rig.event("material_use", 60, batch="b2", lot="k9", quantity=10)
    rig.run()
    assert reasons(rig) == {"b2": ["lot-unknown"], "k9": ["lot-unknown"]}
    rig.event("order", 90, batch="k9", quantity=40, unit="kg")
    rig.event("output", 95, batch="k9", quantity=40)
    rig.run()
    assert reasons(rig) == {}


def test_events_of_genealogy_touch_no_hour_and_no_job(rig: Rig) -> None:
    rig.job("j1", "u1", 600, 1200, batch="b1")
    rig.run()
    book = FactsBook(rig.site)
    with rig.work.transaction():
        book.refresh(rig.work, Marks({}, [], 0))
    first = book.facts
    assert first is not None
    known = len(first.events)
    rig.event("output", 1300, batch="b1", quantity=5, unit="kg")
    marks = Marks({}, [((HOUR + 1_300_000, HOUR + 1_300_000), "event output")], 1)
    with rig.work.transaction():
        assert book.refresh(rig.work, marks) == []
    second = book.facts
    assert second is not None
    assert len(second.events) == known + 1
    model = second.model(2**53)
    assert second.production(model) is first.production(model)
