"""A CSV sheet through the command and the real API into the database; again, corrected, and with bad rows."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import fixtures_api as f
import httpx
import psycopg
import pytest
from typer.testing import CliRunner, Result

from plantprint_cli.__main__ import app
from plantprint_cli.errors import CommandError

pytestmark = pytest.mark.integration

HEADER = "kind,at,event_id,revision,batch,product,quantity,unit\n"
ORDERS = "".join(f"order,2026-11-24T08:00:00Z,o-{n},0,S-{n},navy,{n + 1},kg\n" for n in range(5))


@pytest.fixture
async def client(database_url: str) -> AsyncIterator[httpx.AsyncClient]:
    f.seed(database_url)
    async with f.served(f.settings(database_url)) as opened:
        yield opened


async def command(client: httpx.AsyncClient, sheet: Path, *more: str) -> Result:
    arguments = [
        "events",
        "import",
        str(sheet),
        "--url",
        str(client.base_url),
        "--json",
        "--request-rows-max",
        "2",
        *more,
    ]
    return await asyncio.to_thread(CliRunner().invoke, app, arguments)


def said(result: Result) -> Any:
    """The command's answer: the API runs in this process and may log to the same output meanwhile."""
    return json.loads(result.stdout.splitlines()[-1])


def quantities(url: str) -> list[tuple[Any, ...]]:
    with psycopg.connect(url) as conn:
        return conn.execute(
            "select event_id, revision, body->>'quantity' from production_event where source = 'csv' order by 1, 2"
        ).fetchall()


async def test_a_sheet_is_stored_once_and_corrected_by_a_higher_revision(
    client: httpx.AsyncClient, database_url: str, tmp_path: Path
) -> None:
    sheet = tmp_path / "orders.csv"
    sheet.write_text(HEADER + ORDERS, encoding="utf-8")
    first, again = await command(client, sheet), await command(client, sheet)
    assert said(first) == {"rows": 5, "bad": 0, "stored": 5, "known": 0}
    assert said(again) == {"rows": 5, "bad": 0, "stored": 0, "known": 5}

    sheet.write_text(HEADER + ORDERS.replace("o-3,0,S-3,navy,4", "o-3,0,S-3,navy,40"), encoding="utf-8")
    refused = await command(client, sheet)
    assert isinstance(refused.exception, CommandError)
    assert "a correction has the same event_id and a higher revision" in str(refused.exception)

    sheet.write_text(HEADER + ORDERS.replace("o-3,0,S-3,navy,4", "o-3,1,S-3,navy,40"), encoding="utf-8")
    corrected = await command(client, sheet)
    assert said(corrected) == {"rows": 5, "bad": 0, "stored": 1, "known": 4}
    assert quantities(database_url)[3:5] == [("o-3", 0, "4"), ("o-3", 1, "40")]


async def test_bad_rows_stop_a_sheet_or_are_set_aside_and_counted(
    client: httpx.AsyncClient, database_url: str, tmp_path: Path
) -> None:
    sheet = tmp_path / "orders.csv"
    sheet.write_text(HEADER + ORDERS + "order,yesterday,o-9,0,S-9,navy,1,kg\n", encoding="utf-8")
    whole = await command(client, sheet)
    assert isinstance(whole.exception, CommandError)
    assert f"{sheet}:7: 'yesterday' is not an RFC 3339 time" in whole.stderr
    assert quantities(database_url) == []

    rest = await command(client, sheet, "--skip-bad")
    assert rest.exit_code == 1
    assert said(rest) == {"rows": 6, "bad": 1, "stored": 5, "known": 0}
    aside = (tmp_path / "orders.csv.rejected.csv").read_text(encoding="utf-8").splitlines()
    assert len(aside) == 2
    assert aside[1].startswith("7,")
    assert "o-9" in aside[1]

    only_read = await command(client, sheet, "--check")
    assert said(only_read) == {"rows": 6, "bad": 1, "stored": 0, "known": 0}


async def test_without_an_api_the_command_says_so(tmp_path: Path) -> None:
    sheet = tmp_path / "orders.csv"
    sheet.write_text(HEADER + ORDERS, encoding="utf-8")
    result = await asyncio.to_thread(
        CliRunner().invoke, app, ["events", "import", str(sheet), "--url", "http://127.0.0.1:9"]
    )
    assert isinstance(result.exception, CommandError)
    assert "no API at http://127.0.0.1:9" in str(result.exception)
