"""The pages in a real browser: figures follow the stream, ages grow, gaps are not zero, nothing leaves the origin."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import fixtures_api as f
import httpx
import psycopg
import pytest
from playwright.async_api import Browser, ConsoleMessage, Page, expect

from plantprint_api.pages.view import View, zone

pytestmark = [pytest.mark.integration, pytest.mark.browser]

SIZES = [(1366, 768), (1920, 1080), (390, 844)]


@pytest.fixture
async def client(database_url: str) -> AsyncIterator[httpx.AsyncClient]:
    f.seed(database_url)
    async with f.served(f.settings(database_url)) as opened:
        yield opened


def _counts(message: ConsoleMessage) -> bool:
    """Errors and warnings, but not the one about how this test itself reads pixels."""
    return message.type in {"error", "warning"} and not message.text.startswith("Canvas2D: Multiple readback")


@contextlib.asynccontextmanager
async def _page(browser: Browser, client: httpx.AsyncClient, path: str, **options: Any) -> AsyncIterator[Page]:
    """A page at rest; any error in it, and any request to another origin, fails the test."""
    context = await browser.new_context(**{"viewport": {"width": 1366, "height": 768}, "locale": "en-GB"} | options)
    page = await context.new_page()
    wrong: list[str] = []
    base = str(client.base_url).rstrip("/")
    page.on("pageerror", lambda error: wrong.append(f"error: {error}"))
    page.on("console", lambda message: wrong.append(message.text) if _counts(message) else None)
    page.on("request", lambda request: wrong.append(request.url) if not request.url.startswith(base) else None)
    await page.goto(base + path)
    yield page
    await context.close()
    assert wrong == []


def _write(url: str, *rows: tuple[str, str, dict[str, Any]]) -> None:
    with psycopg.connect(url) as conn:
        for kind, name, body in rows:
            f.write_live(conn, kind, name, body)


async def test_figures_follow_the_stream(browser: Browser, client: httpx.AsyncClient, database_url: str) -> None:
    async with _page(browser, client, "/") as page:
        await expect(page.locator("[data-f=stream]")).to_have_text("stream connected")
        line = f.line_body(1, wave=4.0) | {"rate_kg_co2e_per_hour": "3777"}
        line["budget"] |= {"state": "firing"}
        new = f.batch_body("B-900", 0.5, work_units=["l2-stenter"])
        _write(
            database_url,
            ("plant", "dyehouse", f.plant_body(rate_kg_co2e_per_hour="12345.6", alerts=[])),
            ("work_center", "line-1", line),
            ("batch", "B-103", f.batch_body("B-103", 4300.25)),
            ("batch", "B-900", new),
        )
        await expect(page.locator("#plant [data-f=rate]")).to_have_text("12,346")
        await expect(page.locator("[data-line=line-1] .head [data-f=rate]")).to_have_text("3,777")
        await expect(page.locator("[data-line=line-1] .budget")).to_have_class("budget firing")
        await expect(page.locator("[data-batch=B-103] [data-f=total]")).to_have_text("4,300.25")
        await expect(page.locator("[data-batch=B-900] [data-f=where]")).to_have_text("Stentering 2")
        await expect(page.locator("#alerts .alert")).to_have_count(0)
        _write(database_url, ("batch", "B-103", f.batch_body("B-103", 4300.25, status="finished")))
        await expect(page.locator("[data-batch=B-103]")).to_have_count(0)
        with psycopg.connect(database_url) as conn:
            conn.execute("delete from live where kind = 'batch' and id = 'B-204'")
        await expect(page.locator("[data-batch=B-204]")).to_have_count(0)


async def test_when_data_stop_the_age_grows_and_the_figure_is_called_late(
    browser: Browser, client: httpx.AsyncClient
) -> None:
    async with _page(browser, client, "/") as page:
        chip = page.locator("#plant [data-f=status]")
        await expect(chip).to_have_text("Live")
        before = await page.locator("#plant [data-f=age]").inner_text()
        await expect(chip).to_have_text("Late", timeout=9000)
        after = await page.locator("#plant [data-f=age]").inner_text()
        assert float(after.split()[1]) - float(before.split()[1]) > 3
        await expect(page.locator("#plant")).to_have_class("card plant stale")


async def test_a_lost_connection_is_said(browser: Browser, database_url: str) -> None:
    f.seed(database_url)
    context = await browser.new_context()
    page = await context.new_page()
    async with f.served(f.settings(database_url)) as client:
        await page.goto(str(client.base_url))
        await expect(page.locator("[data-f=stream]")).to_have_text("stream connected")
    await expect(page.locator("[data-f=stream]")).to_have_text("no connection, figures stand still")
    await context.close()


# What is painted at a share of the plot's width and height: how many colours a square of 24 pixels there holds, and the
# colour in its middle ("" where nothing is painted).
PAINTED = """([x, y]) => {
    const canvas = document.querySelector("#trend canvas"), over = document.querySelector("#trend .u-over");
    const box = over.getBoundingClientRect(), origin = canvas.getBoundingClientRect();
    const left = Math.round((box.left - origin.left + x * box.width) * devicePixelRatio) - 12;
    const top = Math.round((box.top - origin.top + y * box.height) * devicePixelRatio) - 12;
    const data = canvas.getContext("2d").getImageData(left, top, 24, 24).data;
    const colours = Array.from({length: 576}, (_, i) => data.slice(4 * i, 4 * i + 4));
    const middle = colours[12 * 24 + 12];
    return {n: new Set(colours.map((c) => c.join())).size, middle: middle[3] === 255 ? middle.slice(0, 3).join() : ""};
}"""


async def _drawn(page: Page) -> None:
    await page.wait_for_function(f"() => document.querySelector('#trend canvas') && ({PAINTED})([0.2, 0.55]).middle")


async def test_the_chart_leaves_a_hatched_gap_where_nothing_is_known(
    browser: Browser, client: httpx.AsyncClient
) -> None:
    async with _page(browser, client, "/") as page:
        await _drawn(page)
        before, after = [await page.evaluate(PAINTED, [x, 0.55]) for x in (0.23, 0.7)]
        assert before["middle"] == after["middle"] == "53,85,127", "the colour of dyeing, --c2"
        gap = await page.evaluate(PAINTED, [0.44, 0.4])
        assert gap["n"] >= 4 > before["n"], "hatching has many shades"
        await expect(page.locator("#trend .legend li")).to_have_count(5)


async def test_the_chart_goes_on_hatched_when_data_stop(
    browser: Browser, client: httpx.AsyncClient, database_url: str
) -> None:
    async with _page(browser, client, "/") as page:
        await _drawn(page)
        assert (await page.evaluate(PAINTED, [0.88, 0.55]))["middle"] == "53,85,127"
        late = f.plant_body(at="2026-11-24T08:45:00Z")
        _write(database_url, ("plant", "dyehouse", late), ("trend", "dyehouse", f.trend_body(gap=range(0))))
        await expect(page.locator(".clock")).to_contain_text("16:45")
        # A quarter of the hour is empty now: what was drawn there has moved to the left.
        await page.wait_for_function(f"() => ({PAINTED})([0.88, 0.55]).n >= 4")
        assert (await page.evaluate(PAINTED, [0.6, 0.55]))["middle"] == "53,85,127"


# Boxes that stick out of their card; tables may scroll in a box of their own.
OVER = """() => [...document.querySelectorAll(".card, .paper")].flatMap((card) => {
    const edge = card.getBoundingClientRect().right + 1;
    return [...card.querySelectorAll(".figure, h2, h3, .chip, .button, .bar, .unit-tile")]
        .filter((e) => e.getBoundingClientRect().right > edge && !e.closest(".scroll"))
        .map((e) => `${e.className.baseVal ?? e.className} ${e.textContent.slice(0, 30)}`);
})"""


@pytest.mark.parametrize("size", SIZES, ids=lambda s: f"{s[0]}x{s[1]}")
async def test_nothing_runs_over_the_edge(browser: Browser, client: httpx.AsyncClient, size: tuple[int, int]) -> None:
    options = {"viewport": {"width": size[0], "height": size[1]}}
    for path in ("/", "/batches", "/issues", "/batches/B-103", "/shipments/S-101"):
        for language in ("en", "zh"):
            async with _page(browser, client, f"{path}?lang={language}", **options) as page:
                assert await page.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0
                assert await page.evaluate(OVER) == []


async def test_the_first_row_needs_no_scrolling(browser: Browser, client: httpx.AsyncClient) -> None:
    async with _page(browser, client, "/") as page:
        for part in ("#plant", "#trend"):
            bottom = await page.locator(part).evaluate("e => e.getBoundingClientRect().bottom")
            assert bottom < 768 - 200


async def test_the_browser_writes_numbers_as_the_server_does(browser: Browser, client: httpx.AsyncClient) -> None:
    rates = [None, "0", "-0.0049", "0.0099", "0.04", "999.94", "1000", "-12.345", "123456.5"]
    ages = [None, 0.04, 9.94, 10, 119, 120, 7199, 7200, 172_799, 172_800, 1e6]
    times = [None, "2026-11-24T16:30:05Z", "2026-01-01T00:00:00.250Z"]
    for language in ("en", "zh"):
        view = View(language, f.plant(), zone("Asia/Shanghai"))
        async with _page(browser, client, f"/?lang={language}") as page:
            found = await page.evaluate(
                """async ([rates, ages, times]) => {
                    const f = await import("/static/format.js");
                    return [rates.map(f.rate), rates.map(f.mass), ages.map(f.age), times.map(f.time),
                            times.map(f.fullTime),
                            f.steps({dyeing: "2", desizing: "1"}).map((s) => [s.label, s.css, s.text])];
                }""",
                [rates, ages, times],
            )
        assert found == [
            [view.rate(v) for v in rates],
            [view.mass(v) for v in rates],
            [view.age(v) for v in ages],
            [view.time(v) for v in times],
            [view.full_time(v) for v in times],
            [[s.label, s.css, s.text] for s in view.steps({"dyeing": "2", "desizing": "1"})],
        ]


async def test_a_running_batch_grows_and_then_becomes_settled(
    browser: Browser, client: httpx.AsyncClient, database_url: str
) -> None:
    async with _page(browser, client, "/batches/B-103") as page:
        await page.wait_for_timeout(300)
        scopes = {"1": "2376.6", "2": "1944.49"}
        _write(database_url, ("batch", "B-103", f.batch_body("B-103", 4321.09, by_scope=scopes)))
        await expect(page.locator("#total [data-f=total]")).to_have_text("4,321.09")
        await expect(page.locator("[data-source=grid] [data-f=kg]")).to_have_text("1,944.49")
        cells = page.locator("#by-scope tr")
        await expect(cells).to_have_text(["Scope 12,376.60", "Scope 21,944.49"])
        _write(database_url, ("batch", "B-103", f.batch_body("B-103", 4321.09, by_scope={**scopes, "3": "5"})))
        await expect(cells).to_have_text(["Scope 12,376.60", "Scope 21,944.49", "Scope 35.00"])
        assert "4,321.09" not in await page.locator("#product").inner_text(), "no stream tells that"
        await page.evaluate(
            "import('/static/refresh.js').then((m) => m.keepFresh(location.href, ['by-scope', 'product'], 1e9)())"
        )
        await expect(page.locator("#product")).to_contain_text("4,321.09")
        with psycopg.connect(database_url) as conn:
            conn.execute("delete from live where kind = 'batch' and id = 'B-103'")
            conn.execute("update batch set status = 'finished', ended_at = now() where batch = 'B-103'")
            f.insert_net(conn, f.net_of("B-103"))
        await expect(page.locator("#total [data-f=total]")).to_have_text("2,282.82", timeout=8000)
        await expect(page.locator(".chip b")).to_have_text("finished")


async def test_a_shipment_shows_up_with_its_statement(
    browser: Browser, client: httpx.AsyncClient, database_url: str
) -> None:
    async with _page(browser, client, "/") as page:
        await expect(page.locator("#shipments li").first).to_contain_text("in preparation")
        with psycopg.connect(database_url) as conn:
            f.issue_statement(conn, "S-103", "B-102", f.NOW_MS)
        await expect(page.locator("#shipments li").first).to_contain_text("Statement", timeout=15_000)
        await page.locator("#shipments li a.button").first.click()
        await expect(page.locator("h1")).to_have_text("S-103")


async def test_a_statement_prints_on_one_sheet(browser: Browser, client: httpx.AsyncClient, tmp_path: Path) -> None:
    async with _page(browser, client, "/shipments/S-101?lang=zh") as page:
        await page.pdf(path=tmp_path / "statement.pdf", prefer_css_page_size=True)
    content = (tmp_path / "statement.pdf").read_bytes()
    assert content.count(b"/Type /Page\n") + content.count(b"/Type /Page ") == 1


async def test_names_from_outside_stay_text_in_the_browser(
    browser: Browser, client: httpx.AsyncClient, database_url: str
) -> None:
    evil = "<img src=x onerror=document.title='owned'>"
    async with _page(browser, client, "/") as page:
        await page.wait_for_timeout(300)
        _write(
            database_url,
            ("batch", "B-103", f.batch_body("B-103", 1.0, product=evil)),
            ("plant", "dyehouse", f.plant_body(agents=[{"agent": evil, "online": True, "age_s": 1}])),
        )
        await expect(page.locator("[data-batch=B-103] [data-f=product]")).to_have_text(evil)
        await asyncio.sleep(0.2)
        assert "owned" not in await page.title()
