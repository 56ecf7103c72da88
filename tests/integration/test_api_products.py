"""Product footprints over HTTP: own and upstream, GWP sets, and figures as they were known before."""

from collections.abc import AsyncIterator
from decimal import Decimal
from typing import Any

import fixtures_api as f
import httpx
import psycopg
import pytest
from psycopg.types.json import Jsonb

from plantprint.factors import builtin_factors, latest
from plantprint.times import HOUR_MS, format_instant, from_ms, to_ms

pytestmark = pytest.mark.integration

GRID = latest(builtin_factors())["cn.grid.2023.zhejiang"]


@pytest.fixture
async def client(database_url: str) -> AsyncIterator[httpx.AsyncClient]:
    f.seed(database_url)
    with psycopg.connect(database_url) as conn:
        event(conn, "1", "lot", lot="DYE-7", quantity=100, unit="kg", pcf_kg_co2e="8.4", primary_share="0.5")
        event(conn, "2", "material_use", batch="B-100", lot="DYE-7", quantity=5, step="dyeing")
        event(conn, "3", "output", batch="B-100", quantity=1000)
        event(conn, "4", "output", batch="B-100", kind="rework", quantity=250)
        event(conn, "5", "material_use", batch="B-101", lot="B-100", quantity=250)
    async with f.served(f.settings(database_url)) as found:
        yield found


def event(conn: psycopg.Connection[Any], event_id: str, kind: str, revision: int = 0, /, **body: Any) -> None:
    conn.execute(
        "insert into production_event (site, source, event_id, revision, kind, at, body) values (%s, 'mes', %s, %s, %s, %s, %s)",
        (f.SITE, event_id, revision, kind, from_ms(f.NOW_MS - 9 * HOUR_MS), Jsonb(body)),
    )


async def footprint(client: httpx.AsyncClient, batch: str, **query: str) -> Any:
    response = await client.get(f"/v1/batches/{batch}/footprint", params=query)
    assert response.status_code == 200, response.text
    return response.json()


def kg(answer: Any, part: str = "total") -> Decimal:
    return Decimal(answer["product_footprint"][part]["kg_co2e"])


async def test_a_batch_carries_its_materials_and_hands_its_rework_on(client: httpx.AsyncClient) -> None:
    first, second = await footprint(client, "B-100"), await footprint(client, "B-101")
    gate = Decimal(first["partial_footprint_kg_co2e"])
    whole = gate + 42
    assert kg(first) == whole * 4 / 5
    assert kg(first, "own") == gate * 4 / 5
    assert kg(second, "upstream") == whole / 5
    assert kg(second, "own") == Decimal(second["partial_footprint_kg_co2e"])
    found = second["product_footprint"]
    assert (found["boundary"], found["ancestors"], found["incomplete"]) == ("cradle-to-gate", 2, False)
    assert [(one["kind"], one["id"], one["share_percent"]) for one in found["inputs"]] == [("lot", "B-100", "20")]
    assert first["product_footprint"]["kg_co2e_per_unit"] == str(
        (whole * 4 / 5 / 1000).quantize(Decimal("1e-9"))
    ).rstrip("0")
    assert {one["factor"] for one in found["factors"]} == {"cn.grid.2023.zhejiang", "cn.fuel.natural_gas"}


async def test_a_batch_without_materials_is_partial(client: httpx.AsyncClient) -> None:
    answer = await footprint(client, "B-102")
    assert answer["product_footprint"]["boundary"] == "gate-to-gate"
    assert kg(answer) == Decimal(answer["partial_footprint_kg_co2e"])


async def test_a_running_batch_has_its_open_hour_and_says_so(client: httpx.AsyncClient) -> None:
    answer = await footprint(client, "B-103")
    found = answer["product_footprint"]
    assert set(found["own"]["by_step"]) == {"open-hour"}
    assert set(found["own"]["by_source"]) == set(f.batch_body("B-103", 4218.377)["by_source"])
    assert "hour-open" in [one["code"] for one in found["remarks"]]


async def test_a_gwp_set_is_named_and_asked_for(client: httpx.AsyncClient) -> None:
    plain, asked = await footprint(client, "B-100"), await footprint(client, "B-100", gwp="AR5")
    assert (plain["gwp_set"], plain["product_footprint"]["gases_gwp_set"]) == ("as published", "AR6")
    assert (asked["gwp_set"], asked["product_footprint"]["gases_gwp_set"]) == ("AR5", "AR5")
    response = await client.get("/v1/batches/B-100/footprint", params={"gwp": "AR9"})
    assert response.status_code == 422


async def test_the_market_stands_beside_the_location(client: httpx.AsyncClient, database_url: str) -> None:
    before = await footprint(client, "B-101")
    with psycopg.connect(database_url) as conn:
        body = GRID.to_json() | {"value": "0", "factor_id": "own.wind"}
        conn.execute("insert into factor (factor_id, version, body) values ('own.wind', 1, %s)", (Jsonb(body),))
        market = {"source": "grid", "contracts": [{"id": "ppa", "name": {"en": "Wind"}, "factor": "own.wind"}]}
        conn.execute("update plant_model set body = body || %s", (Jsonb({"market": market}),))
        hours = {key.hour_ms: 0 for key in f.net_of("B-100")}
        span = {"from": format_instant(min(hours)), "to": format_instant(max(hours) + HOUR_MS)}
        event(conn, "c1", "certificate", contract="ppa", amount=1_000_000, **span)
    after = await footprint(client, "B-101")
    found = after["product_footprint"]
    grid = Decimal(found["total"]["by_source"]["grid"])
    assert before["product_footprint"]["market_based_kg_co2e"] is None
    assert found["kg_co2e"] == before["product_footprint"]["kg_co2e"]
    assert Decimal(found["market_based_kg_co2e"]) == Decimal(found["kg_co2e"]) - grid


async def test_what_was_known_before_a_late_fact_stays_available(client: httpx.AsyncClient, database_url: str) -> None:
    before = await footprint(client, "B-100")
    with psycopg.connect(database_url) as conn:
        ((then,),) = conn.execute("select clock_timestamp()").fetchall()
        known_at = format_instant(to_ms(then) + 1)
        conn.execute("select pg_sleep(0.01)")
        event(conn, "2", "material_use", 1, batch="B-100", lot="DYE-7", quantity=10, step="dyeing")
        body = GRID.to_json() | {"value": "1"}
        conn.execute("insert into factor (factor_id, version, body) values (%s, 7, %s)", (GRID.factor_id, Jsonb(body)))
        other = "jsonb_set(body, '{sources,1,factor}', '\"cn.fuel.coke_oven_gas\"')"
        conn.execute(
            f"insert into plant_model (site, version, body, yaml) select site, 2, {other}, '' from plant_model".encode()
        )
        key, amount = next((k, a) for k, a in f.net_of("B-100").items() if k.source == "gas")
        conn.execute(
            "insert into posting (site, hour_at, account_kind, account_id, work_unit, step, source, entered_at, quality, "
            "amount, cause, known_at) values (%s, %s, 'batch', 'B-100', %s, %s, 'gas', %s, 3, %s, 'reading', clock_timestamp())",
            (f.SITE, from_ms(key.hour_ms), key.work_unit, key.step, from_ms(key.entered_ms), amount),
        )
    after = await footprint(client, "B-100")
    assert kg(after, "upstream") == kg(before, "upstream") * 2
    assert {one["version"] for one in after["factors"] if one["source"] == "grid"} == {7}
    assert Decimal(after["partial_footprint_kg_co2e"]) > Decimal(before["partial_footprint_kg_co2e"])
    assert {one["factor"] for one in before["factors"]} != {one["factor"] for one in after["factors"]}
    then_again = await footprint(client, "B-100", known_at=known_at)
    assert then_again["known_at"] == known_at
    for field in ("partial_footprint_kg_co2e", "by_step", "by_source", "factors"):
        assert then_again[field] == before[field]
    for field in ("kg_co2e", "own", "upstream", "total", "inputs", "uncertainty"):
        assert then_again["product_footprint"][field] == before["product_footprint"][field]
    long_ago = await footprint(client, "B-100", known_at="2020-01-01T00:00:00Z")
    assert long_ago["partial_footprint_kg_co2e"] is None
    bad = await client.get("/v1/batches/B-100/footprint", params={"known_at": "yesterday"})
    assert bad.status_code == 422


async def test_a_batch_says_incomplete_with_the_reason(client: httpx.AsyncClient, database_url: str) -> None:
    with psycopg.connect(database_url) as conn:
        event(conn, "9", "material_use", batch="B-101", lot="NOBODY", quantity=1, unit="kg")
        conn.execute(
            "insert into batch_reason (site, batch, code, place, at, message, remedy) "
            "values (%s, 'B-101', 'lot-unknown', 'NOBODY', now(), 'm', 'r')",
            (f.SITE,),
        )
    answer = await footprint(client, "B-101")
    assert answer["incomplete"]
    assert [one["code"] for one in answer["product_footprint"]["reasons"]] == ["lot-unknown"]
    listed = (await client.get("/v1/batches")).json()["items"]
    assert {one["batch"]: one["incomplete"] for one in listed}["B-101"] is True
    assert {one["batch"]: one["incomplete"] for one in listed}["B-100"] is False


async def test_a_chain_beyond_the_limit_is_cut_and_said(database_url: str) -> None:
    f.seed(database_url)
    with psycopg.connect(database_url) as conn:
        for number in range(6):
            event(conn, f"u{number}", "material_use", batch=f"C-{number}", lot=f"C-{number + 1}", quantity=1, unit="kg")
        event(conn, "top", "material_use", batch="B-100", lot="C-0", quantity=1)
    async with f.served(f.settings(database_url, http_lots_max=3)) as client:
        found = (await footprint(client, "B-100"))["product_footprint"]
    assert found["incomplete"]
    assert "ancestry-cut" in [one["code"] for one in found["reasons"]]
