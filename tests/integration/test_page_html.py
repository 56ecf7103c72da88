"""The pages as the server renders them: whole without scripts, in both languages, safe with any name."""

import re
from collections.abc import AsyncIterator

import fixtures_api as f
import httpx
import psycopg
import pytest
from psycopg.types.json import Jsonb

from plantprint.times import from_ms

pytestmark = pytest.mark.integration


@pytest.fixture
async def client(database_url: str) -> AsyncIterator[httpx.AsyncClient]:
    f.seed(database_url)
    async with f.served(f.settings(database_url)) as opened:
        yield opened


async def _page(client: httpx.AsyncClient, path: str, status: int = 200, accept: str = "en") -> str:
    answer = await client.get(path, headers={"accept-language": accept})
    assert answer.status_code == status, answer.text[-2000:]
    assert answer.headers["content-type"].startswith("text/html")
    assert answer.headers["cache-control"] == "no-store"
    return answer.text


async def test_the_live_page_shows_everything_without_scripts(client: httpx.AsyncClient) -> None:
    html = await _page(client, "/")
    for text in (
        "Dye house", "10,500", "81,234.5", "Line 3 is over its carbon budget", "Scouring and bleaching",
        "B-103", "4,218.38", "incomplete", "S-103", "in preparation", "Statement", "33 of 34 report", "steam-l2-dye",
        "gw-2", "18 chunks waiting", "job J-88 ended but never started", "96.1 %", "Load it again",
    ):  # fmt: skip
        assert text in html, text
    assert html.count('data-line="') == 3
    assert html.count('data-unit="') == 12


async def test_the_pages_speak_chinese(client: httpx.AsyncClient) -> None:
    html = await _page(client, "/", accept="zh-CN,zh;q=0.9")
    for text in ("印染厂", "全厂当前", "3号线超出碳预算", "煮漂", "电网电力", "在产批次", 'lang="zh-CN"'):
        assert text in html, text
    english = await _page(client, "/?lang=en", accept="zh-CN")
    assert "Plant now" in english
    assert "Plant now" in await _page(client, "/", accept="zh-CN")  # the choice was kept in a cookie


async def test_issues_speak_chinese_with_their_place_and_what_is_unknown_stays_as_it_was(
    client: httpx.AsyncClient, database_url: str
) -> None:
    with psycopg.connect(database_url) as conn:
        conn.execute("delete from issue")
        for code in ("overhead", "no-such-code"):
            conn.execute(
                "insert into issue (site, code, place, message, remedy, at) values (%s, %s, %s, %s, 'wait', %s)",
                (f.SITE, code, f"place-{code}", f"words of {code}", from_ms(f.NOW_MS)),
            )
    html = await _page(client, "/", accept="zh")
    for text in (
        "其用量计入间接消耗",
        "place-overhead",
        '<small lang="en">words of overhead</small>',
        "<b>words of no-such",
    ):
        assert text in html, text
    assert "间接消耗" not in await _page(client, "/?lang=en")


async def test_every_page_has_one_first_heading(client: httpx.AsyncClient) -> None:
    paths = (
        "/",
        "/batches",
        "/issues",
        "/batches/B-100",
        "/batches/B-100/explain",
        "/compare?a=B-100&b=B-101",
        "/shipments/S-101",
        "/docs",
    )
    for path in paths:
        assert (await _page(client, path)).count("<h1") == 1, path


async def test_finished_batches_are_listed_on_the_live_page_and_all_of_them_page_by_page(
    client: httpx.AsyncClient, database_url: str
) -> None:
    """A batch between two steps is with those that run while an open hour has something of it, then among the others."""
    with psycopg.connect(database_url) as conn:
        for batch in ("B-098", "B-099"):
            f.insert_batch(conn, batch, "waiting", f.NOW_MS - 3_600_000)
        f.write_live(conn, "batch", "B-099", f.batch_body("B-099", 5.0, status="waiting"))
        conn.execute(
            "insert into production_event values (%s, 'mes', 'o', 0, 'output', now(), %s)",
            (f.SITE, Jsonb({"batch": "B-100", "quantity": 1100})),
        )
        conn.commit()
    html = await _page(client, "/")
    running, _, others = html.partition('id="finished"')
    others = others.partition('id="issues"')[0]
    assert ('data-batch="B-099"' in running, "B-099" in others) == (True, False)
    assert ('data-batch="B-098"' in running, "B-098" in others, "between steps" in others) == (False, True, True)
    assert "Between two steps: no job runs" in await _page(client, "/batches/B-099")
    for text in ("B-100", "1,200 kg", "2,282.82", "1.902", "shipped", "provisional", "no good output reported yet"):
        assert text in others, text
    assert "B-307" not in others
    lists = await _page(client, "/live-lists?lang=zh")
    assert "已完工或工序间等待的批次" in lists
    assert "plantprint_lang" not in client.cookies
    assert "<body" not in lists
    every = await _page(client, "/batches?lang=zh")
    assert all(name in every for name in ("B-400", "B-307", "B-100", "计划中"))
    only = await _page(client, "/batches?named=b-10&status=shipped&lang=en")
    assert "B-101" in only
    assert "B-102" not in only
    assert 'value="b-10"' in only
    assert "Nothing fits" in await _page(client, "/batches?named=nothing-like-it")
    await _page(client, "/batches?status=eaten", status=422)


async def test_issues_of_a_kind_are_one_line_and_lead_to_their_places(
    client: httpx.AsyncClient, database_url: str
) -> None:
    with psycopg.connect(database_url) as conn:
        for n in range(9):
            conn.execute(
                "insert into issue (site, code, place, message, remedy, at) values (%s, 'batch-incomplete', %s, 'm', 'r', %s)",
                (f.SITE, f"B-10{8 - n}", from_ms(f.NOW_MS + 60_000 * n)),
            )
    html = (await _page(client, "/")).partition('id="issues"')[2]
    for text in ('href="/batches/B-100?site=dyehouse"', "and 4 more", "11-24 16:30–16:38", "9 times"):
        assert text in html, text
    assert "B-105" not in html
    everywhere = await _page(client, "/issues?code=batch-incomplete")
    assert all(f"B-10{n}" in everywhere for n in range(9))
    assert "job J-88" not in everywhere
    assert "9 次" in await _page(client, "/issues?lang=zh")


async def test_the_language_switch_keeps_the_rest_of_the_address(client: httpx.AsyncClient) -> None:
    html = await _page(client, "/batches/B-103?site=dyehouse")
    assert 'href="/batches/B-103?site=dyehouse&amp;lang=zh"' in html


async def test_a_batch_page_shows_the_footprint_with_its_factors(client: httpx.AsyncClient) -> None:
    html = await _page(client, "/batches/B-100")
    for text in ("2,282.82", "1.902", "cn.grid.2023.zhejiang", "version 1", "Scope 1", "S-101", "shipped", "68.7 %"):
        assert text in html, text
    running = await _page(client, "/batches/B-103")
    assert "includes the open hour" in running
    assert "Nothing is known yet" in await _page(client, "/batches/B-400")


async def test_a_statement_can_be_printed_and_checked(client: httpx.AsyncClient) -> None:
    html = await _page(client, "/shipments/S-101")
    digest = (await client.get("/v1/shipments/S-101")).json()["lines"][0]["statement"]["body_hash"]
    for text in ("Carbon footprint statement", "2,282.82", "杭州锦绣服饰", digest, "location-based", "gate to gate"):
        assert text in html, text
    assert "in preparation" in await _page(client, "/shipments/S-103")


async def test_the_interface_is_described_without_a_foreign_script(client: httpx.AsyncClient) -> None:
    html = await _page(client, "/docs")
    for path in (await client.get("/openapi.json")).json()["paths"]:
        assert f"<code>{path}</code>" in html


async def test_a_batch_whose_last_hour_is_open_is_not_shown_as_running(
    client: httpx.AsyncClient, database_url: str
) -> None:
    with psycopg.connect(database_url) as conn:
        f.write_live(conn, "batch", "B-102", f.batch_body("B-102", 77.0, status="finished"))
    assert 'data-batch="B-102"' not in await _page(client, "/")
    assert "its last hour is not settled yet" in await _page(client, "/batches/B-102")


async def test_problems_are_pages_here(client: httpx.AsyncClient) -> None:
    html = await _page(client, "/batches/nope", status=404)
    assert "there is no batch &#39;nope&#39;" in html
    assert "What to do" in html
    assert "找不到该地址所指的内容。" in await _page(client, "/batches/nope", status=404, accept="zh")
    await _page(client, "/?site=nope", status=404)


async def test_an_address_that_is_none_is_a_page_to_a_browser_only(client: httpx.AsyncClient) -> None:
    html = await client.get("/no/such/page", headers={"Accept": "text/html,*/*;q=0.8", "Accept-Language": "zh"})
    assert (html.status_code, html.headers["content-type"]) == (404, "text/html; charset=utf-8")
    assert "找不到该地址所指的内容。" in html.text
    told = await client.get("/no/such/page", headers={"Accept": "*/*"})
    assert (told.status_code, told.headers["content-type"]) == (404, "application/problem+json")
    assert told.json()["place"] == "request line"


async def test_an_empty_database_says_what_to_do(database_url: str) -> None:
    async with f.served(f.settings(database_url)) as client:
        assert "plantprint model apply" in await _page(client, "/", status=404)
        with psycopg.connect(database_url) as conn:
            f.insert_site(conn)
        html = await _page(client, "/")
        assert "No live picture yet" in html
        assert "No batch is running" in html


async def test_several_sites_can_be_chosen(client: httpx.AsyncClient, database_url: str) -> None:
    with psycopg.connect(database_url) as conn:
        f.insert_site(conn, "mill")
    html = await _page(client, "/?site=mill")
    assert 'href="/?site=dyehouse"' in html
    assert re.search(r'href="/\?site=mill" aria-current="page"', html)


async def test_no_name_becomes_markup(client: httpx.AsyncClient, database_url: str) -> None:
    evil = '</script><img src=x onerror=alert(1)>"'
    with psycopg.connect(database_url) as conn:
        f.insert_batch(conn, evil, "running", f.NOW_MS)
        f.write_live(conn, "batch", evil, f.batch_body(evil, 1.0, product=evil, unit=evil))
        f.write_live(conn, "plant", "dyehouse", f.plant_body(agents=[{"agent": evil, "online": True, "age_s": 1}]))
    for path in ("/", f"/batches/{httpx.QueryParams({'x': evil})!s}".replace("x=", "").replace("+", "%20")):
        html = await _page(client, path)
        assert "<img src=x" not in html
        assert "onerror" in html
        assert html.count("</script>") == html.count("<script")


async def test_static_files_are_served_and_asked_for_again(client: httpx.AsyncClient) -> None:
    html = await _page(client, "/")
    addresses = re.findall(r'(?:src|href)="(/static/[^"]+)"', html)
    assert len(addresses) >= 5
    for address in addresses:
        answer = await client.get(address)
        assert answer.status_code == 200
        again = await client.get(address, headers={"if-none-match": answer.headers["etag"]})
        assert again.status_code == 304
