"""A statement is frozen bytes: equal facts give equal bytes, and any other fact another hash."""

import hashlib
import json
from typing import Any

import pytest
from product_cases import EVENTS, NETS, event, product

from plantprint.factors import builtin_factors, latest
from plantprint.footprint import footprint
from plantprint.ledger import PostingKey
from plantprint.market import Market
from plantprint.plant.model import Flow, Source, Text
from plantprint.product_json import product_json
from plantprint.production import Batch, Shipment
from plantprint.quantities import micro
from plantprint.statement import Statement, build_statement, canonical_json, postings_hash
from plantprint.valuation import View

LIBRARY = latest(builtin_factors())
GRID = Source.model_validate(
    {"id": "grid", "name": {"en": "Grid"}, "unit": "kWh", "kind": "grid", "factor": "cn.grid.2023.zhejiang", "scope": 2}
)
AT = 1_772_348_400_000
KEY = PostingKey(AT, "batch", "b-1", "l1-dye", "dyeing", "grid", AT, 3)
BATCH = Batch("b-1", "cotton 印染", micro("400"), "kg", AT)
SHIPMENT = Shipment("s-1", "b-1", AT + 7_200_000, micro("100"), "ACME", "mes", "e-9")


def statement(amount: str = "250", **other: Any) -> Statement:
    net = {KEY: micro(amount)}
    facts: dict[str, Any] = {
        "site": "dyehouse",
        "shipment": SHIPMENT,
        "batch": BATCH,
        "footprint": footprint(net, [GRID], LIBRARY, BATCH.quantity_micro, BATCH.unit),
        "product": product("b-1", (), {"b-1": net}),
        "period": (AT, AT + 3_600_000),
        "net": net,
        "status": "provisional",
        "missing_ms": 0,
        "plant_model_version": 3,
        "known_at_ms": AT + 7_200_500,
    }
    return build_statement(**(facts | other))


def test_a_statement_says_what_was_shipped_and_what_is_known_of_it() -> None:
    body = json.loads(statement().body)
    assert body["partial_footprint_kg_co2e"] == "124.35"
    assert body["partial_footprint_kg_co2e_per_unit"] == "0.310875"
    assert body["shipment"] == {
        "id": "s-1",
        "at": "2026-03-01T09:00:00Z",
        "customer": "ACME",
        "quantity": "100",
        "partial_footprint_kg_co2e": "31.0875",
        "product_footprint_kg_co2e": None,
    }
    assert body["batch"] == {"id": "b-1", "product": "cotton 印染", "quantity": "400"}
    assert (body["declared_unit"], body["boundary"], body["status"]) == ("kg", "gate-to-gate", "provisional")
    assert (body["plant_model_version"], body["known_at"]) == (3, "2026-03-01T09:00:00.500Z")
    assert body["breakdown"]["by_step"] == {"dyeing": "124.35"}
    assert body["factors"][0]["factor"] == "cn.grid.2023.zhejiang"
    assert body["incomplete"] is False
    assert body["postings_sha256"] == postings_hash({KEY: micro("250")})


def test_the_product_is_frozen_with_all_that_went_into_it() -> None:
    whole = product()
    body = json.loads(statement(product=whole, rules=[Text(en="By weight.", zh="按权重。")]).body)
    assert body["product_footprint"] == json.loads(json.dumps(product_json(whole)))
    assert body["product_footprint"]["upstream"]["kg_co2e"] == "61.928"
    # 100 kg of the 95 kg that were made: more than all of it, as the shipment says.
    assert float(body["shipment"]["product_footprint_kg_co2e"]) == pytest.approx(71.22638 * 100 / 95)
    assert body["allocation_rules"] == {"en": ["By weight."], "zh": ["按权重。"]}
    assert body["reference_period"] == {"start": "2026-03-01T07:00:00Z", "end": "2026-03-01T08:00:00Z"}
    assert body["incomplete"] is False


def test_the_method_is_the_footprints_and_its_reasons_make_it_incomplete() -> None:
    net = {KEY: micro("250")}
    market = Market("grid", {}, (), {AT: micro(250)})
    by_market = footprint(net, [GRID], LIBRARY, BATCH.quantity_micro, BATCH.unit, View(market=market))
    assert json.loads(statement(footprint=by_market).body)["method"] == "market-based"
    lost = event("x", "material_use", 7, batch="B", lot="NOBODY", quantity=1, unit="kg")
    body = json.loads(statement(product=product("B", (*EVENTS, lost), NETS)).body)
    assert body["incomplete"] is True
    assert [one["code"] for one in body["product_footprint"]["reasons"]] == ["lot-unknown"]


def test_what_the_plant_leaves_outside_is_listed_with_its_reason() -> None:
    canteen = Flow.model_validate(
        {"from": "bus", "to": "unmetered", "amount": "rest", "disposition": "outside", "reason": "the canteen"}
    )
    body = json.loads(statement(exempted=[canteen]).body)
    assert body["exempted_emissions"] == [{"from": "bus", "to": "unmetered", "reason": "the canteen"}]
    assert json.loads(statement().body)["exempted_emissions"] == []


def test_equal_facts_give_equal_bytes_and_the_hash_is_theirs() -> None:
    one, two = statement(), statement()
    assert one == two
    assert one.body_hash == hashlib.sha256(one.body).hexdigest()
    assert canonical_json(json.loads(one.body)) == one.body


def test_any_other_fact_gives_another_hash() -> None:
    others = [
        statement("250.000001"),
        statement(status="final"),
        statement(missing_ms=1),
        statement(plant_model_version=4),
        statement(known_at_ms=AT),
        statement(net={KEY._replace(quality=1): micro("250")}),
    ]
    assert len({s.body_hash for s in (statement(), *others)}) == 7


def test_a_statement_with_missing_time_is_incomplete() -> None:
    assert json.loads(statement(missing_ms=60_000).body)["incomplete"] is True


def test_the_hash_of_postings_does_not_depend_on_their_order_or_on_zeros() -> None:
    other = KEY._replace(hour_ms=AT + 3_600_000)
    assert postings_hash({KEY: 1, other: 2}) == postings_hash({other: 2, KEY: 1, KEY._replace(step="x"): 0})
    assert postings_hash({KEY: 1}) != postings_hash({KEY: 2})


def test_a_share_of_an_unknown_quantity_is_unknown() -> None:
    body = json.loads(statement(batch=Batch("b-1", "", None, "", None)).body)
    assert body["shipment"]["partial_footprint_kg_co2e"] is None
    whole = json.loads(statement(shipment=Shipment("s-2", "b-1", AT, None, "", "mes", "e")).body)
    assert whole["shipment"]["partial_footprint_kg_co2e"] == "124.35"
