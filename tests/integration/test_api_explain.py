"""Explanations and comparisons over HTTP: from a figure to raw readings in one call, bounded; and why two differ."""

from collections.abc import AsyncIterator
from decimal import Decimal
from typing import Any

import fixtures_api as f
import httpx
import psycopg
import pytest
from psycopg.types.json import Jsonb

from plantprint.times import HOUR_MS, from_ms

pytestmark = pytest.mark.integration


@pytest.fixture
async def client(database_url: str) -> AsyncIterator[httpx.AsyncClient]:
    f.seed(database_url)
    hours = sorted({key.hour_ms for key in f.net_of("B-100")})
    with psycopg.connect(database_url) as conn:
        conn.execute(
            "insert into channel (site, agent, name, unit, decimals, kind) values (%s, 'gw-1', 'm1', 'kWh', 1, 'counter')",
            (f.SITE,),
        )
        conn.execute("select pp_ensure('reading', %s, %s)", (from_ms(hours[0]), from_ms(hours[-1] + HOUR_MS)))
        for hour in hours:
            conn.execute(
                "insert into interval values (%s, 'm1', %s, %s, %s, %s)",
                (f.SITE, from_ms(hour), [4_000_000, 5_500_000], [3, 2], [0, 1500]),
            )
            for minute in range(0, 60, 10):
                conn.execute(
                    "insert into reading (channel_id, measured_at, value, quality) values (1, %s, %s, 3)",
                    (from_ms(hour + minute * 60_000), 1000 + minute),
                )
        body = {"lot": "DYE-7", "quantity": 100, "unit": "kg", "pcf_kg_co2e": "8.4"}
        use = {"batch": "B-100", "lot": "DYE-7", "quantity": 5, "step": "dyeing"}
        for event_id, kind, said in (("1", "lot", body), ("2", "material_use", use)):
            conn.execute(
                "insert into production_event values (%s, 'mes', %s, 0, %s, %s, %s)",
                (f.SITE, event_id, kind, from_ms(hours[0]), Jsonb(said)),
            )
    async with f.served(f.settings(database_url, http_explain_readings_max=4)) as found:
        yield found


async def get(client: httpx.AsyncClient, path: str, **query: str) -> Any:
    response = await client.get(path, params=query)
    assert response.status_code == 200, response.text
    return response.json()


async def test_a_line_leads_to_postings_meters_readings_and_rules(client: httpx.AsyncClient) -> None:
    whole = await get(client, "/v1/batches/B-100/footprint")
    found = await get(client, "/v1/batches/B-100/explain", step="dyeing", source="grid")
    amounts = {one["source"]: one for one in found["amounts"]}
    assert set(amounts) == {"grid"}
    assert sum(Decimal(one["amount"]) for one in found["postings"]) == Decimal(amounts["grid"]["amount"])
    assert {(one["step"], one["source"]) for one in found["postings"]} == {("dyeing", "grid")}
    assert [one["factor"] for one in found["factors"]] == ["cn.grid.2023.zhejiang"]
    (meter,) = found["meters"]
    assert {(one["amount"], one["quality"], one["missing_s"]) for one in meter["intervals"]} == {
        ("9.5", "recovered", 1.5)
    }
    assert len(meter["intervals"]) == len(found["hours"])
    assert len(meter["readings"]) == 4
    assert meter["readings"][0]["value"] == "100"
    assert "M1 [m1]" in " ".join(found["rules"]["en"])
    assert len(found["rules"]["en"]) == len(found["rules"]["zh"]) > 0
    grid = {one["source"]: one["kg_co2e"] for one in whole["by_source"]}["grid"]
    everything = await get(client, "/v1/batches/B-100/explain", source="grid")
    assert everything["own_kg_co2e"] == grid


async def test_what_came_with_a_lot_leads_to_its_reference(client: httpx.AsyncClient) -> None:
    found = await get(client, "/v1/batches/B-100/explain", source="DYE-7")
    assert (found["own_kg_co2e"], found["upstream_kg_co2e"], found["postings"]) == ("0", "42", [])
    assert [(one["id"], one["quantity"], one["kg_co2e"]) for one in found["inputs"]] == [("DYE-7", "5", "42")]


async def test_one_hour_of_it_and_a_batch_that_is_not_there(client: httpx.AsyncClient) -> None:
    whole = await get(client, "/v1/batches/B-100/explain")
    one = await get(client, "/v1/batches/B-100/explain", hour=whole["hours"][0])
    assert one["hours"] == whole["hours"][:1]
    assert {row["hour_at"] for row in one["postings"]} == set(one["hours"])
    assert (await client.get("/v1/batches/nobody/explain")).status_code == 404
    assert (await client.get("/v1/batches/B-100/explain", params={"hour": "noon"})).status_code == 422


async def test_an_explanation_is_bounded_and_says_so(client: httpx.AsyncClient, database_url: str) -> None:
    config = f.settings(database_url, http_explain_postings_max=1, http_explain_hours_max=1)
    async with f.served(config) as small:
        found = await get(small, "/v1/batches/B-100/explain")
    assert (len(found["postings"]), found["is_cut"]) == (1, True)
    assert {row["hour_at"] for row in found["postings"]} == {found["hours"][-1]}
    whole = await get(client, "/v1/batches/B-100/explain")
    assert (whole["is_cut"], whole["readings_from"]) == (False, None)
    with psycopg.connect(database_url) as conn:
        conn.execute("insert into reading_drop (dropped_before) values (now() + interval '1 day')")
    assert (await get(client, "/v1/batches/B-100/explain"))["readings_from"] is not None
    page = await client.get("/batches/B-100/explain", params={"lang": "en"})
    assert "were dropped; hours and postings stay" in page.text


async def test_two_batches_are_compared_to_the_last_digit(client: httpx.AsyncClient) -> None:
    found = await get(client, "/v1/compare", a="B-100", b="B-101")
    one = await get(client, "/v1/batches/B-100/footprint")
    other = await get(client, "/v1/batches/B-101/footprint")
    assert found["per_unit"] == "kg"
    assert found["before_kg_co2e"] == one["product_footprint"]["kg_co2e_per_unit"]
    assert found["after_kg_co2e"] == other["product_footprint"]["kg_co2e_per_unit"]
    effects = sum(
        Decimal(effect[f"{cause}_kg_co2e"]) for effect in found["effects"] for cause in ("activity", "mix", "factor")
    )
    assert effects == Decimal(found["difference_kg_co2e"])
    assert "DYE-7" in {effect["source"] for effect in found["effects"]}
    assert found["sentences"]["zh"][0].startswith("碳足迹由")


async def test_a_comparison_needs_two_batches_that_are_there(client: httpx.AsyncClient) -> None:
    assert (await client.get("/v1/compare", params={"a": "B-100"})).status_code == 422
    assert (await client.get("/v1/compare", params={"a": "B-100", "b": "nobody"})).status_code == 404
