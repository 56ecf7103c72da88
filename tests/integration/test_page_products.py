"""Pages of product footprints: a batch with its materials, a printed statement, where a figure comes from, a comparison."""

from collections.abc import AsyncIterator
from html import escape
from typing import Any

import fixtures_api as f
import httpx
import psycopg
import pytest
from product_cases import EVENTS, NETS, event, product
from psycopg.types.json import Jsonb

from plantprint.footprint import footprint
from plantprint.plant.model import Text
from plantprint.production import Batch, Shipment
from plantprint.quantities import micro
from plantprint.statement import build_statement
from plantprint.times import from_ms

pytestmark = pytest.mark.integration


@pytest.fixture
async def client(database_url: str) -> AsyncIterator[httpx.AsyncClient]:
    f.seed(database_url)
    with psycopg.connect(database_url) as conn:
        _tell(conn, "1", "lot", lot="DYE-<7>", quantity=100, unit="kg", pcf_kg_co2e="8.4", primary_share="0.62")
        _tell(conn, "2", "material_use", batch="B-100", lot="DYE-<7>", quantity=5, step="dyeing")
        _tell(conn, "3", "material_use", batch="B-101", lot="NOBODY", quantity=5, unit="kg")
    async with f.served(f.settings(database_url)) as opened:
        yield opened


def _tell(conn: psycopg.Connection[Any], event_id: str, kind: str, /, **body: Any) -> None:
    conn.execute(
        "insert into production_event values (%s, 'mes', %s, 0, %s, %s, %s)",
        (f.SITE, event_id, kind, from_ms(f.NOW_MS - 3_600_000), Jsonb(body)),
    )


async def _page(client: httpx.AsyncClient, path: str, language: str = "en", **query: str) -> str:
    answer = await client.get(path, params={"lang": language, **query})
    assert answer.status_code == 200, answer.text[-2000:]
    assert "default-src 'self'" in answer.headers["content-security-policy"]
    return answer.text


async def test_a_batch_page_shows_what_came_with_materials(client: httpx.AsyncClient) -> None:
    html = await _page(client, "/batches/B-100")
    for text in ("Product footprint, with materials", "cradle to gate", "DYE-&lt;7&gt;", "42.00", "62 %", "k = 2"):
        assert text in html, text
    assert 'href="/batches/B-100/explain?site=dyehouse&amp;source=grid"' in html
    chinese = await _page(client, "/batches/B-100", "zh")
    for text in ("产品碳足迹（含原料）", "摇篮到厂门", "初级数据占比", "不确定度"):
        assert text in chinese, text
    body = (await client.get("/v1/batches/B-100/footprint")).json()
    remarks = [one["message"] for one in body["product_footprint"]["remarks"] if one not in body["issues"]]
    assert remarks, "nobody reported its output"
    below = html.partition('id="remarks"')[2]
    assert [escape(remark) for remark in remarks if escape(remark) not in below] == []
    lost = await _page(client, "/batches/B-101")
    assert "Incomplete, because" in lost
    assert "nobody has said what it is" in lost


async def test_a_batch_page_says_what_left_it_and_where_to(client: httpx.AsyncClient, database_url: str) -> None:
    """A quarter was worked again: what is made here and what left add up to the figure above."""
    with psycopg.connect(database_url) as conn:
        _tell(conn, "4", "output", batch="B-100", quantity=90, unit="kg")
        _tell(conn, "5", "output", batch="B-100", kind="rework", quantity=30, unit="kg")
        _tell(conn, "6", "material_use", batch="B-101", lot="B-100", quantity=30, unit="kg")
    html = await _page(client, "/batches/B-100")
    for text in ("2,282.82", "1,712.11", "570.70", "30 kg to be worked again", 'href="/batches/B-101?site=dyehouse"'):
        assert text in html, text
    assert "返工 30 kg" in await _page(client, "/batches/B-100", "zh")
    assert "kg to be worked again" not in await _page(client, "/batches/B-102")


async def test_where_a_figure_comes_from(client: httpx.AsyncClient) -> None:
    html = await _page(client, "/batches/B-100/explain", source="grid")
    for text in ("Where the figure comes from", "Ledger postings", "Grid electricity", "Dyeing"):
        assert text in html, text
    assert " kWh</td><td>Measured" in html  # a posting's amount with the unit of its source
    assert "电网电力" in await _page(client, "/batches/B-100/explain", "zh", source="grid")
    assert (await client.get("/batches/nobody/explain")).status_code == 404


async def test_two_batches_side_by_side(client: httpx.AsyncClient) -> None:
    html = await _page(client, "/compare", a="B-100", b="B-101")
    for text in ("Why two batches differ", "The footprint went from", "By step and source", "B-101"):
        assert text in html, text
    assert "两个批次的差异" in await _page(client, "/compare", "zh", a="B-100", b="B-101")


async def test_a_statement_prints_all_that_it_froze(client: httpx.AsyncClient, database_url: str) -> None:
    whole = product("B", (*EVENTS, event("x", "material_use", 7, batch="B", lot="NOBODY", quantity=1, unit="kg")))
    statement = build_statement(
        site=f.SITE,
        shipment=Shipment("S-9", "B-102", f.NOW_MS, micro(95), "ACME", "mes", "s9"),
        batch=Batch("B-102", "poplin", micro(100), "kg", None),
        footprint=footprint(NETS["B"], whole.valuing.plant.sources, whole.valuing.library),
        product=whole,
        period=(f.NOW_MS - 3_600_000, f.NOW_MS),
        net=NETS["B"],
        status="final",
        missing_ms=0,
        plant_model_version=1,
        known_at_ms=f.NOW_MS,
        rules=[Text(en="By weight.", zh="按权重。")],
    )
    with psycopg.connect(database_url) as conn:
        f.ship(conn, "S-9", "B-102", f.NOW_MS, issue=False)
        conn.execute(
            "insert into statement (site, shipment, batch, body, body_hash) values (%s, 'S-9', 'B-102', %s, %s)",
            (f.SITE, statement.body.decode(), statement.body_hash),
        )
    html = await _page(client, "/shipments/S-9")
    for text in ("71.23", "61.93", "DYE-7", "Jinyuan: lot DYE-7", "By weight.", "Raw materials", "cradle to gate, as far",
                 "Incomplete, because", "NOBODY", "Land use", "technology"):  # fmt: skip
        assert text in html, text
    chinese = await _page(client, "/shipments/S-9", "zh")
    for text in ("按权重。", "原料与上游批次带入", "摇篮到厂门", "按生命周期阶段", "不完整的原因"):
        assert text in chinese, text
