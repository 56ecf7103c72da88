"""The whole plant in a real browser: with the edge stopped the page says missing, with it back earlier figures fill in."""

import json
import os
import signal
import time
from typing import Any

import httpx
import pytest
from plant_rig import RunningPlant, audit, reachable_folder, running_plant
from playwright.async_api import Browser, expect

pytestmark = [pytest.mark.simulation, pytest.mark.browser, pytest.mark.timeout(240)]


def trend(plant: RunningPlant) -> dict[str, Any]:
    """The newest trend that the stream sends."""
    with httpx.stream("GET", f"{plant.url}/v1/stream", timeout=20) as answer:
        event = ""
        for line in answer.iter_lines():
            if line.startswith("event:"):
                event = line.removeprefix("event:").strip()
            elif line.startswith("data:") and event == "trend":
                body: dict[str, Any] = json.loads(line.removeprefix("data:"))
                return body
    raise AssertionError("the stream ended without a trend")


def rates(body: dict[str, Any]) -> dict[int, float | None]:
    """Per bucket the rate of all steps together, None where it is unknown."""
    columns = list(body["rate_kg_co2e_per_hour"].values())
    assert columns, "a trend without steps says nothing of any bucket"
    return {
        at: None if any(column[n] is None for column in columns) else sum(column[n] for column in columns)
        for n, at in enumerate(body["at_ms"])
    }


async def test_a_stopped_edge_is_missing_and_its_return_changes_earlier_figures(browser: Browser) -> None:
    with reachable_folder() as folder, running_plant(folder / "plant") as plant:
        plant.wait_live()
        # Live begins with the first reading; an amount needs two, and a bucket between them to be seen.
        plant.wait("a figure", lambda: any(rates(trend(plant)).values()), 40)
        page = await browser.new_page(viewport={"width": 1366, "height": 900}, locale="en-GB")
        await page.goto(plant.url)
        chip, age = page.locator("#plant [data-f=status]"), page.locator("#plant [data-f=age]")
        await expect(chip).to_have_text("Live", timeout=20_000)

        edge = plant.pid("edge")
        os.kill(edge, signal.SIGSTOP)
        stopped_at_ms = time.time_ns() // 1_000_000
        await expect(chip).to_have_text("Missing", timeout=12_000)
        first = await age.inner_text()
        await page.wait_for_timeout(3_000)
        assert await age.inner_text() != first
        assert plant.get("/v1/work-centers/line-1/live")["rate_kg_co2e_per_hour"] is None

        def empty_buckets() -> list[int]:
            return [at for at, rate in rates(trend(plant)).items() if rate is None and at >= stopped_at_ms]

        empty = plant.wait("an empty bucket", empty_buckets, 40)

        os.kill(edge, signal.SIGCONT)
        await expect(chip).to_have_text("Live", timeout=30_000)
        plant.wait("the gap filled", lambda: all(rates(trend(plant)).get(at) for at in empty), 30)
        await page.close()
        assert plant.stop() == 0
        audit(plant.folder)
