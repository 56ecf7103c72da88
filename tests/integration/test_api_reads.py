"""Reading routes on a seeded database: lists, details, footprints, series, and how they refuse."""

import hashlib
from collections.abc import AsyncIterator
from decimal import Decimal
from typing import Any

import fixtures_api as f
import httpx
import psycopg
import pytest
from psycopg.types.json import Jsonb

from plantprint.factors import builtin_factors, latest
from plantprint.footprint import footprint
from plantprint.times import HOUR_MS, format_instant, from_ms
from plantprint_collector import store

pytestmark = pytest.mark.integration


@pytest.fixture
async def client(database_url: str) -> AsyncIterator[httpx.AsyncClient]:
    f.seed(database_url)
    async with f.served(f.settings(database_url)) as opened:
        yield opened


async def _get(client: httpx.AsyncClient, path: str, **query: Any) -> Any:
    answer = await client.get(path, params=query)
    assert answer.status_code == 200, answer.text
    return answer.json()


async def test_places(client: httpx.AsyncClient) -> None:
    assert [s["site"] for s in (await _get(client, "/v1/sites"))["items"]] == ["dyehouse"]
    site = await _get(client, "/v1/sites/dyehouse")
    assert (site["model_version"], site["timezone"]) == (1, "Asia/Shanghai")
    assert [s["id"] for s in site["steps"]] == list(f.STEPS)
    assert site["live"]["status"] == "live"
    lines = (await _get(client, "/v1/work-centers"))["items"]
    assert [line["id"] for line in lines] == ["line-1", "line-2", "line-3"]
    assert [line["status"] for line in lines] == ["live", "late", "live"]
    assert lines[0]["budget_kg_co2e_per_hour"] == "3500"
    live = await _get(client, "/v1/work-centers/line-2/live")
    assert live["id"] == "line-2"
    assert [u["rate_kg_co2e_per_hour"] for u in live["work_units"] if u["status"] == "missing"] == [None]


async def test_batches_of_every_status_are_listed_with_their_footprints(client: httpx.AsyncClient) -> None:
    items = (await _get(client, "/v1/batches"))["items"]
    assert {i["batch"]: i["status"] for i in items} == {
        "B-400": "planned", "B-307": "running", "B-204": "running", "B-103": "running",
        "B-102": "finished", "B-101": "shipped", "B-100": "shipped",
    }  # fmt: skip
    by_name = {i["batch"]: i for i in items}
    assert by_name["B-103"]["partial_footprint_kg_co2e"] == "4218.3770"
    assert by_name["B-103"]["includes_open_hour"]
    assert by_name["B-204"]["incomplete"]
    expected = footprint(f.net_of("B-100"), f.plant().sources, latest(builtin_factors()))
    assert by_name["B-100"]["partial_footprint_kg_co2e"] == expected.kg_co2e
    assert not by_name["B-100"]["includes_open_hour"]
    assert by_name["B-400"]["partial_footprint_kg_co2e"] is None
    assert by_name["B-400"]["kg_co2e_per_unit"] is None
    whole = await _get(client, "/v1/batches/B-100/footprint")
    assert by_name["B-100"]["kg_co2e_per_unit"] == whole["kg_co2e_per_unit"]
    assert {i["footprint_status"] for i in items} == {"provisional"}
    assert not any(i["output_reported"] for i in items)


async def test_a_batch_says_how_far_it_is_settled_and_whether_its_output_is_known(
    client: httpx.AsyncClient, database_url: str
) -> None:
    """Final is never said while an hour is open; missing readings count also when no lot is wrong."""
    with psycopg.connect(database_url) as conn:
        for batch in ("B-100", "B-103"):
            conn.execute("insert into batch_settlement values (%s, %s, 'final', now())", (f.SITE, batch))
        conn.execute("insert into batch_missing values (%s, 'B-101', now(), 5000)", (f.SITE,))
        for n, (batch, kind) in enumerate((("B-100", "good"), ("B-101", "rework"))):
            conn.execute(
                "insert into production_event values (%s, 'mes', %s, 0, 'output', now(), %s)",
                (f.SITE, f"out-{n}", Jsonb({"batch": batch, "kind": kind, "quantity": 5})),
            )
    found = {i["batch"]: i for i in (await _get(client, "/v1/batches"))["items"]}
    assert {name: i["footprint_status"] for name, i in found.items() if i["footprint_status"] != "provisional"} == {
        "B-100": "final"
    }
    assert [name for name, i in found.items() if i["output_reported"]] == ["B-100"]
    assert [found[name]["incomplete"] for name in ("B-100", "B-101")] == [False, True]


async def test_issues_are_grouped_by_kind_and_by_place(client: httpx.AsyncClient, database_url: str) -> None:
    with psycopg.connect(database_url) as conn:
        for n, place in enumerate(["B-100", "B-101", "B-101", "m1", "m2", "m3", "m4", "m5"]):
            conn.execute(
                "insert into issue (site, code, place, message, remedy, at, open) values (%s, %s, %s, %s, 'wait', %s, %s)",
                (f.SITE, "batch-incomplete", place, f"word {n}", from_ms(f.NOW_MS + n * 3_600_000), n != 7),
            )
    first, *others = (await _get(client, "/v1/issue-groups", by="code"))["items"]
    assert (first["code"], first["issues"], first["open_issues"], first["places"]) == ("batch-incomplete", 8, 7, 7)
    assert first["newest_places"] == ["m5", "m4", "m3", "m2", "m1"]
    assert (first["message"], first["first_at"], first["last_at"]) == (
        "word 7", "2026-11-24T08:30:00Z", "2026-11-24T15:30:00Z",
    )  # fmt: skip
    assert len(others) == 2
    by_place = (await _get(client, "/v1/issue-groups", code="batch-incomplete", open="true"))["items"]
    assert [(g["newest_places"], g["issues"], g["of_batches"]) for g in by_place][-2:] == [
        (["B-101"], 2, True),
        (["B-100"], 1, True),
    ]
    assert len(by_place) == 6
    assert len((await _get(client, "/v1/issues"))["items"]) == 10, "the raw list stays"


async def test_pages_of_a_list_add_up_to_the_list(client: httpx.AsyncClient) -> None:
    for path, name in (
        ("/v1/work-centers", "id"),
        ("/v1/batches", "batch"),
        ("/v1/shipments", "shipment"),
        ("/v1/issues", "code"),
        ("/v1/issue-groups", "code"),
    ):
        whole = [i[name] for i in (await _get(client, path))["items"]]
        walked: list[str] = []
        cursor: dict[str, str] = {}
        while True:
            found = await _get(client, path, limit=1, **cursor)
            walked += [i[name] for i in found["items"]]
            if found["next_cursor"] is None:
                break
            cursor = {"cursor": found["next_cursor"]}
        assert walked == whole
        assert len(whole) >= 2


async def test_a_limit_above_the_ceiling_is_the_ceiling(client: httpx.AsyncClient, database_url: str) -> None:
    async with f.served(f.settings(database_url, http_list_rows_max=2)) as other:
        assert len((await _get(other, "/v1/batches", limit=1000))["items"]) == 2
    assert (await client.get("/v1/batches", params={"limit": 0})).status_code == 422


async def test_lists_can_be_narrowed(client: httpx.AsyncClient) -> None:
    running = await _get(client, "/v1/batches", status="running")
    assert {i["status"] for i in running["items"]} == {"running"}
    both = await _get(client, "/v1/batches", status="finished,shipped")
    assert {i["status"] for i in both["items"]} == {"finished", "shipped"}
    assert (await _get(client, "/v1/batches", site="elsewhere"))["items"] == []
    for named, count in (("b-10", 4), ("POPLIN", 7), ("%", 0), ("_", 0)):
        assert len((await _get(client, "/v1/batches", named=named))["items"]) == count
    assert len((await _get(client, "/v1/alerts", state="firing"))["items"]) == 1
    assert (await _get(client, "/v1/alerts", state="resolved"))["items"] == []
    assert len((await _get(client, "/v1/issues", open="true"))["items"]) == 2
    assert (await _get(client, "/v1/issues", open="false"))["items"] == []


async def test_a_settled_footprint_is_what_the_core_says_with_factors_and_versions(client: httpx.AsyncClient) -> None:
    answer = await _get(client, "/v1/batches/B-100/footprint")
    expected = footprint(f.net_of("B-100"), f.plant().sources, latest(builtin_factors()), 1_200_000_000, "kg").to_json()
    assert answer["partial_footprint_kg_co2e"] == expected["kg_co2e"]
    assert answer["kg_co2e_per_unit"] == expected["kg_co2e_per_unit"]
    assert answer["by_source"] == expected["inventory"]
    assert answer["factors"] == expected["factors"]
    assert {s["step"]: s["kg_co2e"] for s in answer["by_step"]} == expected["by_step"]
    assert [s["step"] for s in answer["by_step"]] == ["scouring-bleaching", "dyeing"]
    assert sum(answer["quality"].values()) == pytest.approx(1)
    total = Decimal(answer["partial_footprint_kg_co2e"])
    for parts in ("by_step", "by_source", "by_scope"):
        assert sum(Decimal(part["kg_co2e"]) for part in answer[parts]) == total
    assert answer["at"] == format_instant(f.NOW_MS)


async def test_a_running_footprint_is_the_live_row_with_scopes_and_factors(client: httpx.AsyncClient) -> None:
    answer = await _get(client, "/v1/batches/B-103/footprint")
    live = f.batch_body("B-103", 4218.377)
    assert answer["includes_open_hour"]
    assert answer["partial_footprint_kg_co2e"] == live["partial_footprint_kg_co2e"]
    assert answer["kg_co2e_per_unit"] == "3.515314167"
    assert {s["step"]: s["kg_co2e"] for s in answer["by_step"]} == live["by_step"]
    assert {s["source"]: (s["amount"], s["kg_co2e"], s["scope"]) for s in answer["by_source"]} == {
        source: (part["amount"].rstrip("0").rstrip("."), part["kg_co2e"], 2 if source == "grid" else 1)
        for source, part in live["by_source"].items()
    }
    assert {(u["factor"], u["version"]) for u in answer["factors"]} == {
        ("cn.grid.2023.zhejiang", 1),
        ("cn.fuel.natural_gas", 1),
    }


async def test_a_missing_quality_or_factor_makes_a_footprint_incomplete(
    client: httpx.AsyncClient, database_url: str
) -> None:
    with psycopg.connect(database_url) as conn:
        f.insert_batch(conn, "B/9 ü", "finished", f.NOW_MS - 9 * HOUR_MS)
        net = f.net_of("B/9 ü")
        key = next(iter(net))
        net[key._replace(source="mystery")] = 5_000_000
        f.insert_net(conn, net)
    answer = await _get(client, "/v1/batches/B%2F9%20%C3%BC/footprint")
    assert answer["batch"] == "B/9 ü"
    assert answer["incomplete"]
    assert [i["code"] for i in answer["issues"]] == ["source-unknown"]
    assert [s["kg_co2e"] for s in answer["by_source"] if s["source"] == "mystery"] == [None]


async def test_a_sites_own_factor_goes_over_the_one_that_ships(client: httpx.AsyncClient, database_url: str) -> None:
    grid = latest(builtin_factors())["cn.grid.2023.zhejiang"]
    with psycopg.connect(database_url) as conn:
        body = grid.to_json() | {"version": 2, "value": "1"}
        conn.execute("insert into factor values (%s, 2, %s)", (grid.factor_id, psycopg.types.json.Jsonb(body)))
    answer = await _get(client, "/v1/batches/B-100/footprint")
    (line,) = [s for s in answer["by_source"] if s["source"] == "grid"]
    assert line["kg_co2e"] == line["amount"]
    assert {u["version"] for u in answer["factors"] if u["source"] == "grid"} == {2}


async def test_a_batch_has_its_statements_and_a_statement_its_exact_bytes(client: httpx.AsyncClient) -> None:
    batch = await _get(client, "/v1/batches/B-100")
    (link,) = batch["statements"]
    exact = await client.get(f"/v1/shipments/{link['shipment']}/statements/B-100")
    assert hashlib.sha256(exact.content).hexdigest() == link["body_hash"]
    assert exact.headers["etag"] == f'"{link["body_hash"]}"'
    shipment = await _get(client, f"/v1/shipments/{link['shipment']}")
    assert shipment["status"] == "issued"
    assert shipment["lines"][0]["body"] == exact.json()


async def test_shipments_are_listed_the_latest_first_pending_or_issued(client: httpx.AsyncClient) -> None:
    items = (await _get(client, "/v1/shipments"))["items"]
    assert [(i["shipment"], i["status"]) for i in items] == [
        ("S-103", "pending"),
        ("S-102", "issued"),
        ("S-101", "issued"),
    ]


async def test_withdrawn_and_superseded_shipments_are_not_listed(client: httpx.AsyncClient, database_url: str) -> None:
    insert = (
        "insert into production_event (site, source, event_id, revision, kind, at, body)"
        " values ('dyehouse', 'mes', %s, %s, %s, now(), %s)"
    )
    with psycopg.connect(database_url) as conn:
        for event_id, revision, kind, body in (
            ("a", 0, "shipment", {"shipment": "S-wrong", "batch": "B-100"}),
            ("a", 1, "shipment", {"shipment": "S-right", "batch": "B-100"}),
            ("b", 0, "shipment", {"shipment": "S-gone", "batch": "B-100"}),
            ("c", 0, "withdraw", {"event_id": "b"}),
        ):
            conn.execute(insert, (event_id, revision, kind, psycopg.types.json.Jsonb(body)))
    names = {i["shipment"] for i in (await _get(client, "/v1/shipments"))["items"]}
    assert names & {"S-wrong", "S-right", "S-gone"} == {"S-right"}


async def test_quality_counts_what_was_refused(client: httpx.AsyncClient, database_url: str) -> None:
    with psycopg.connect(database_url) as conn:
        conn.execute("insert into gap values ('dyehouse', 'gw-1', 'e', 1, now(), now(), 2, 700, 'outbox full');")
    answer = await _get(client, "/v1/quality")
    assert (answer["gaps"], answer["lost_readings"], answer["meters_missing"]) == (1, 700, ["steam-l2-dye"])


async def test_series_sum_up_to_the_footprints(client: httpx.AsyncClient) -> None:
    rows = await _get(client, "/v1/grafana/series")
    assert {r["work_center"] for r in rows} == {"line-1"}
    expected = 3 * Decimal(footprint(f.net_of("x"), f.plant().sources, latest(builtin_factors())).kg_co2e)
    assert sum(r["value"] for r in rows) == pytest.approx(float(expected))
    assert [r["time"] for r in rows] == sorted(r["time"] for r in rows)
    amounts = await _get(client, "/v1/grafana/series", metric="amount", step="1d")
    grid = sum(r["value"] for r in amounts if r["source"] == "grid")
    assert grid == pytest.approx(3 * sum(a for k, a in f.net_of("x").items() if k.source == "grid") / 1e6)
    rate = await _get(client, "/v1/grafana/series", metric="rate_kg_co2e_per_hour", step="2h")
    assert sum(r["value"] for r in rate) == pytest.approx(float(expected) / 2)


async def test_series_of_the_last_hour_show_unknown_as_null(client: httpx.AsyncClient) -> None:
    rows = await _get(client, "/v1/grafana/series", metric="live_rate_kg_co2e_per_hour")
    trend = f.trend_body()
    assert len(rows) == len(trend["at_ms"]) * 4
    assert any(r["value"] is None for r in rows)
    assert not any(r["value"] == 0 for r in rows)


async def test_series_take_grafanas_times_and_survive_what_it_did_not_expand(client: httpx.AsyncClient) -> None:
    query = {"from": str(f.NOW_MS - 86_400_000), "to": str(f.NOW_MS), "step": "$__interval", "work_center": "*"}
    answer = await client.get("/v1/grafana/series", params=query)
    assert answer.status_code == 200
    assert answer.headers["cache-control"] == "private, max-age=60"
    assert len(answer.json()) == 8
    assert await _get(client, "/v1/grafana/series", **(query | {"work_center": "line-2,line-3"})) == []
    assert (
        await _get(client, "/v1/grafana/series", **{"from": "2020-01-01T00:00:00Z", "to": "2020-01-02T00:00:00Z"}) == []
    )


async def test_a_series_too_long_is_refused_with_the_way_out(client: httpx.AsyncClient, database_url: str) -> None:
    del client
    async with f.served(f.settings(database_url, http_grafana_rows_max=5)) as other:
        for metric in ("emission_kg_co2e", "live_rate_kg_co2e_per_hour"):
            answer = await other.get("/v1/grafana/series", params={"metric": metric})
            assert answer.status_code == 422
            assert "PLANTPRINT_HTTP_GRAFANA_ROWS_MAX" in answer.json()["place"]


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/v1/sites/nope", 404),
        ("/v1/work-centers/nope/live", 404),
        ("/v1/batches/nope", 404),
        ("/v1/batches/nope/footprint", 404),
        ("/v1/shipments/nope", 404),
        ("/v1/shipments/S-103/statements/B-102", 404),
        ("/v1/batches?status=eaten", 422),
        ("/v1/batches?cursor=abc", 422),
        ("/v1/grafana/series?metric=joy", 422),
        ("/v1/grafana/series?from=yesterday", 422),
        ("/v1/grafana/series?work_center=line-9", 422),
        ("/v1/stream?kind=gossip", 422),
        ("/v1/work-centers?site=nope", 404),
        ("/v1/batches/%00", 422),
    ],
)
async def test_refusals_say_place_and_remedy(client: httpx.AsyncClient, path: str, status: int) -> None:
    answer = await client.get(path)
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["place"]
    assert answer.json()["remedy"]


async def test_a_name_at_two_sites_asks_which(client: httpx.AsyncClient, database_url: str) -> None:
    with psycopg.connect(database_url) as conn:
        f.insert_site(conn, "mill")
        f.insert_batch(conn, "B-103", "planned", f.NOW_MS, site="mill")
    assert (await client.get("/v1/batches/B-103")).status_code == 409
    assert (await _get(client, "/v1/batches/B-103", site="mill"))["status"] == "planned"
    assert (await client.get("/v1/work-centers")).status_code == 409


async def test_a_site_that_is_only_a_mistyped_name_is_no_choice(client: httpx.AsyncClient, database_url: str) -> None:
    """Whatever a message named: without a plant model it does not stand in the way of the site that has one."""
    with psycopg.connect(database_url) as conn:
        store.add_unknown_site(conn, "aaa", "plantprint/v1/aaa/production/mes")
    assert len((await _get(client, "/v1/work-centers"))["items"]) > 0
    assert (await _get(client, "/v1/quality"))["site"] == f.SITE
    assert f.SITE in (await client.get("/")).text
    sites = (await _get(client, "/v1/sites"))["items"]
    assert [(one["site"], one["has_plant_model"]) for one in sites] == [("aaa", False), (f.SITE, True)]
    issues = (await _get(client, "/v1/issues", site="aaa"))["items"]
    assert [(issue["code"], issue["place"]) for issue in issues] == [
        ("site-without-model", "plantprint/v1/aaa/production/mes")
    ]


async def test_an_empty_database_answers_too(database_url: str) -> None:
    async with f.served(f.settings(database_url)) as client:
        for path in ("/v1/sites", "/v1/batches", "/v1/shipments", "/v1/alerts", "/v1/issues"):
            assert (await _get(client, path))["items"] == []
        problem = (await client.get("/v1/quality")).json()
        assert "plantprint model apply" in problem["remedy"]
