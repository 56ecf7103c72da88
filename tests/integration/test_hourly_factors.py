"""Hourly grid intensity from the file beside plant.yaml to every figure, by hand to the last digit; a corrected file; then."""

import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import fixtures_api as f
import httpx
import pytest
import yaml
from accounting_cases import HOUR, HOUR_MS
from ledger_rig import METERS, SITE, Rig, mill, steady

from plantprint.times import SiteClock, format_instant, from_ms, to_ms
from plantprint_cli.setup import apply_model_file

pytestmark = pytest.mark.integration

FILE = "grid-hours.csv"
HEAD = "datetime_utc,zone,ci_direct_g_per_kwh,ci_lifecycle_g_per_kwh,renewable_pct,estimated\n"
YEARLY = "0.4974"
# Batch b-j1 runs on u1 for 1.5 h at 60 kWh and 30 Nm3 an hour, batch b-j2 for 1 h after it.
GAS_KG = 45 * Decimal("2.16219")


def hours(**intensities: str) -> str:
    """A file with lines such as h1="500.1,612.5": direct and life cycle, that many hours after HOUR."""
    stamps = {name: format_instant(HOUR + int(name[1:]) * HOUR_MS)[:19].replace("T", " ") for name in intensities}
    return HEAD + "".join(f"{stamps[name]},CN-ZJ,{values},,0\n" for name, values in intensities.items())


def write(folder: Path, purpose: str | None, text: str = "") -> Path:
    """A plant file whose grid has the hours of a file beside it."""
    body = mill()
    if purpose is not None:
        body["sources"][0]["hourly"] = {"file": FILE, "purpose": purpose, "credit": "grid operator, CC-BY"}
        (folder / FILE).write_text(text, encoding="utf-8")
    path = folder / "plant.yaml"
    path.write_text(yaml.safe_dump(body), encoding="utf-8")
    return path


def made(rig: Rig, path: Path) -> None:
    """Three settled hours with two batches."""
    apply(rig, path)
    rig.declare()
    rig.steady(0, 3 * 3600)
    rig.job("j1", "u1", 0, 5400)
    rig.job("j2", "u1", 5400, 9000)
    rig.run()


def apply(rig: Rig, path: Path, said: list[str] | None = None) -> int:
    with rig.conn.transaction():
        return apply_model_file(rig.conn, path, say=(said if said is not None else []).append)[1]


def the_instant(rig: Rig) -> str:
    """Between what is stored and what comes."""
    ((then,),) = rig.rows("select clock_timestamp() from pg_sleep(0.01)")
    return format_instant(to_ms(then))


async def get(client: httpx.AsyncClient, path: str, **query: str) -> Any:
    response = await client.get(path, params=query)
    assert response.status_code == 200, response.text
    return response.json()


async def figure(client: httpx.AsyncClient, batch: str = "b-j1", **query: str) -> tuple[Decimal, Decimal, Any]:
    """What the grid and all sources bring into a batch: the whole answer comes last."""
    answer = await get(client, f"/v1/batches/{batch}/footprint", **query)
    product = answer["product_footprint"]
    assert product["kg_co2e"] == answer["partial_footprint_kg_co2e"]
    return Decimal(product["total"]["by_source"]["grid"]), Decimal(product["kg_co2e"]), answer


def issues(answer: Any) -> list[tuple[str, str]]:
    return [(one["code"], one["message"]) for one in answer["issues"]]


async def test_a_batch_with_and_without_hours_a_corrected_file_and_what_was_known_before(
    database_url: str, tmp_path: Path
) -> None:
    with Rig(database_url) as rig:
        path = write(tmp_path, None)
        made(rig, path)
        postings = rig.rows("select count(*), max(posting_id) from posting")
        async with f.served(f.settings(database_url)) as client:
            grid, whole, answer = await figure(client)
            assert (grid, whole) == (90 * Decimal(YEARLY), 90 * Decimal(YEARLY) + GAS_KG)
            assert issues(answer) == []
            at_first = the_instant(rig)

            # 60 kWh in the first hour at 500.1 g; 30 kWh in the second, which the file lacks, at the yearly factor.
            write(tmp_path, "inventory", hours(h0="500.1,612.5", h2="433,533"))
            assert apply(rig, path) == 2
            rig.run()
            grid, whole, answer = await figure(client)
            assert grid == 60 * Decimal("0.5001") + 30 * Decimal(YEARLY)
            assert whole == grid + GAS_KG
            assert issues(answer) == [
                ("factor-hour", f"{FILE} has no value for 2025-12-01T01:00:00Z; cn.grid.2023.zhejiang stands in")
            ]
            assert not answer["incomplete"]
            used = {(one["factor"], one["version"], one["document"]) for one in answer["factors"]}
            assert (FILE, 1, "grid operator, CC-BY") in used
            assert {name for name, _, _ in used} == {FILE, "cn.grid.2023.zhejiang", "cn.fuel.natural_gas"}
            ((live,),) = rig.rows("select body from live where site = %s and kind = 'plant'", SITE)
            assert live["rate_kg_co2e_per_hour"] is not None
            before = the_instant(rig)

            # The same plant file; the operator corrects the first hour and knows the second now.
            write(tmp_path, "inventory", hours(h0="400,512.5", h1="300.25,412.5"))
            said: list[str] = []
            assert apply(rig, path, said) == apply(rig, path, said) == 2
            assert said == 2 * [f"{FILE}: version 2, 2 hours in the file"]
            grid, whole, answer = await figure(client)
            assert grid == 60 * Decimal("0.4") + 30 * Decimal("0.30025")
            assert issues(answer) == []
            assert {one["version"] for one in answer["factors"] if one["factor"] == FILE} == {2}
            assert (await figure(client, "b-j2"))[0] == 30 * Decimal("0.30025") + 30 * Decimal("0.433")

            # As known before the correction, and before there were hours at all; nothing was posted again.
            grid, whole, answer = await figure(client, known_at=before)
            assert grid == 60 * Decimal("0.5001") + 30 * Decimal(YEARLY)
            assert {one["version"] for one in answer["factors"] if one["factor"] == FILE} == {1}
            assert (await figure(client, known_at=at_first))[0] == 90 * Decimal(YEARLY)
            assert rig.rows("select count(*), max(posting_id) from posting") == postings
            assert rig.rows("select series, version, count(*) from factor_hour group by 1, 2 order by 2") == [
                (FILE, 1, 2),
                (FILE, 2, 2),
            ]
        rig.assert_clean()


async def test_explain_compare_grafana_sql_and_statements_all_say_the_same(database_url: str, tmp_path: Path) -> None:
    """The footprint's column: 60 kWh at 612.5 g and 30 at 412.5 in b-j1; 30 at 412.5 and 30 at 533 in b-j2."""
    text = hours(h0="500.1,612.5", h1="300.25,412.5", h2="433,533")
    first, second = Decimal("49.125"), Decimal("28.365")
    with Rig(database_url) as rig:
        made(rig, write(tmp_path, "footprint", text))
        rig.event("shipment", 3 * 3600 - 60, shipment="s1", batch="b-j1", quantity=50)
        rig.event("order", 0, batch="b-j1", product="p", quantity=50, unit="kg")
        rig.run()
        ((statement,),) = rig.rows("select body from statement")
        stated = json.loads(statement)
        assert Decimal(stated["breakdown"]["by_source"]["grid"]) == first
        assert Decimal(stated["product_footprint"]["total"]["by_source"]["grid"]) == first
        rows = rig.rows(
            "select sum(kg_co2e), min(factor_id) from report_emission_hour where (account_id, source) = ('b-j1', 'grid')"
        )
        assert rows == [(first, FILE)]
        async with f.served(f.settings(database_url)) as client:
            (line,) = (await get(client, "/v1/batches/b-j1/explain", source="grid"))["amounts"]
            assert (line["amount"], Decimal(line["kg_co2e"]), line["factor"]) == ("90", first, FILE)
            listed = {one["batch"]: one for one in (await get(client, "/v1/batches"))["items"]}
            assert Decimal(listed["b-j1"]["partial_footprint_kg_co2e"]) == first + GAS_KG
            compared = await get(client, "/v1/compare", a="b-j1", b="b-j2")
            grid = [e for e in compared["effects"] if e["source"] == "grid"]
            assert (
                sum(Decimal(e[f"{part}_kg_co2e"]) for e in grid for part in ("activity", "mix", "factor"))
                == second - first
            )
            span = {"from": format_instant(HOUR), "to": format_instant(HOUR + 3 * HOUR_MS)}
            drawn = await get(client, "/v1/grafana/series", metric="emission_kg_co2e", step="1d", **span)
            # u1 and u2 use 60 and 36 kWh in every hour, whatever accounts they are on.
            on_line = sum(row["value"] for row in drawn if row["source"] == "grid" and row["work_center"] == "line")
            assert on_line == pytest.approx(96 * (0.6125 + 0.4125 + 0.533))


def test_the_live_picture_counts_by_the_hour_and_flags_hours_that_are_not_there(
    database_url: str, tmp_path: Path
) -> None:
    clock = SiteClock("run", wall_origin_ms=0, site_origin_ms=HOUR, speed=1)
    with Rig(database_url, clock=clock) as rig:
        path = write(tmp_path, "inventory", hours(h0="600,700", h5="1,1"))
        apply(rig, path)
        rig.declare()
        rig.job("j1", "u1", 0, None)
        rig.steady(0, 120, 1)
        rig.now(120)
        per_hour = 96 * 0.6 + 30 * rig.factor("gas")
        assert float(rig.live("work_center", "line")["rate_kg_co2e_per_hour"]) == pytest.approx(per_hour, rel=1e-3)
        grid = rig.live("batch", "b-j1")["by_source"]["grid"]
        assert grid["entered"] == {format_instant(HOUR): grid["amount"]}
        assert Decimal(grid["kg_co2e"]) == Decimal(grid["amount"]) * Decimal("0.6")
        flagged = "select at, message from issue where code = 'factor-hour' and open"
        assert rig.rows(flagged) == []
        # The file goes; then the next hour comes, which no file has.
        rig.store({m: steady(m, 121, 3720, 1) for m in METERS})
        rig.now(3720)
        ((at, message),) = rig.rows(flagged)
        assert (at, FILE in message) == (from_ms(HOUR + HOUR_MS), True)
        line = rig.live("work_center", "line")
        per_hour = 96 * float(YEARLY) + 30 * rig.factor("gas")
        assert float(line["rate_kg_co2e_per_hour"]) == pytest.approx(per_hour, rel=1e-3)
        grid = rig.live("batch", "b-j1")["by_source"]["grid"]
        assert set(grid["entered"]) == {format_instant(HOUR), format_instant(HOUR + HOUR_MS)}
        # A corrected file is in the live picture at the next look.
        write(tmp_path, "inventory", hours(h0="600,700", h1="200,300"))
        apply(rig, path)
        rig.now(3730)
        assert rig.rows(flagged) == []
        kg = [Decimal(kwh) * Decimal(by) for kwh, by in zip(grid["entered"].values(), ("0.6", "0.2"), strict=True)]
        assert Decimal(rig.live("batch", "b-j1")["by_source"]["grid"]["kg_co2e"]) == sum(kg)
