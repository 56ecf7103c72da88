"""Commands about production events: bring a CSV sheet of them to the API."""

import csv
import json
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.parse import urlencode
from urllib.request import Request, urlopen
from zoneinfo import available_timezones

import typer

from plantprint.wire.messages import EventMessage, encode_many
from plantprint_cli.errors import CommandError
from plantprint_cli.event_sheet import Row, Sheet, read_sheet

_PROBLEMS_SHOWN_MAX = 20


def register(app: typer.Typer) -> None:
    events = typer.Typer(
        no_args_is_help=True, help="Production events: bring orders, jobs, shipments from a CSV sheet."
    )
    events.command(name="import")(import_events)
    app.add_typer(events, name="events")


def import_events(
    sheet: Path = typer.Argument(..., exists=True, dir_okay=False, help="A CSV file, its first line the columns."),
    url: str = typer.Option("http://127.0.0.1:8000", "--url", help="The API."),
    site: str = typer.Option(None, "--site", help="The site; not needed where there is one."),
    kind: str = typer.Option("", "--kind", help="What every row is (order, job_start, …) where no column says it."),
    column: list[str] = typer.Option([], "--column", help="FILE_COLUMN=field; may be given often."),
    source: str = typer.Option("csv", "--source", help="Who reports; an event is known by source and event_id."),
    timezone: str = typer.Option("", "--timezone", help="IANA zone of times without an offset."),
    delimiter: str = typer.Option(
        "", "--delimiter", help="By default the one of , ; tab that the first line has most of."
    ),
    encoding: str = typer.Option("utf-8-sig", "--encoding", help="Such as gb18030."),
    time_format: str = typer.Option(
        "",
        "--time-format",
        help="How times are written, such as '%d.%m.%Y %H:%M' or '%m/%d/%Y %I:%M %p'; or excel-serial.",
    ),
    decimal: str = typer.Option(".", "--decimal", help="The decimal mark of numbers, . or ,"),
    skip_bad: bool = typer.Option(
        False, "--skip-bad", help="Import the good rows and set the others aside in SHEET.rejected.csv."
    ),
    check: bool = typer.Option(False, "--check", help="Only read the sheet and say what is wrong."),
    rows_max: int = typer.Option(500, "--request-rows-max", min=1, help="Rows in one request."),
    as_json: bool = typer.Option(False, "--json", help="Print JSON."),
) -> None:
    """Import production events from a CSV sheet. Columns are kind, at, event_id, revision, and the fields of each kind.

    Importing a sheet again changes nothing. A correction has the same event_id and a higher revision; a withdrawal is a
    row of kind `withdraw` whose column body.event_id names what is withdrawn. Exit code 1 when rows were set aside.
    """
    if timezone and timezone not in available_timezones():
        raise CommandError(f"{timezone!r} is no IANA time zone; write one such as Asia/Shanghai")
    if decimal not in (".", ","):
        raise CommandError(f"--decimal {decimal!r} is . or ,")
    renamed = dict(_pair(text) for text in column)
    how = Sheet(sheet, kind, source, timezone, delimiter, encoding, renamed, time_format, decimal)
    rows = list(read_sheet(how))
    bad = [row for row in rows if row.event is None]
    for row in bad[:_PROBLEMS_SHOWN_MAX]:
        typer.echo(f"{sheet}:{row.line}: {row.problem}", err=True)
    if bad and not (skip_bad or check):
        raise CommandError(
            f"{len(bad)} of {len(rows)} rows cannot be used (the first are above); nothing was imported: "
            "correct them, or import the others with --skip-bad"
        )
    good = [row.event for row in rows if row.event is not None]
    counts = Counter() if check else _send(good, url, site, rows_max, quiet=as_json)
    if bad and not check:
        _set_aside(sheet, bad)
    result: dict[str, Any] = {"rows": len(rows), "bad": len(bad), "stored": counts["stored"], "known": counts["known"]}
    typer.echo(json.dumps(result) if as_json else "  ".join(f"{name}: {number}" for name, number in result.items()))
    raise typer.Exit(1 if bad else 0)


def _pair(text: str) -> tuple[str, str]:
    name, sign, field = text.rpartition("=")
    if not sign or not name or not field:
        raise CommandError(f"--column {text!r}: write FILE_COLUMN=field, such as Auftrag=batch")
    return name, field


def _send(events: Sequence[EventMessage], url: str, site: str | None, rows_max: int, *, quiet: bool) -> Counter[str]:
    counts: Counter[str] = Counter()
    query = urlencode({"site": site} if site else {})
    if not url.startswith(("http://", "https://")):
        raise CommandError(f"--url {url!r} begins with http:// or https://")
    for part in _shown(events, rows_max, quiet=quiet):
        request = Request(  # noqa: S310 - see above
            f"{url.rstrip('/')}/v1/production-events?{query}",
            data=encode_many(list(part)),
            headers={"Content-Type": "application/json"},
        )
        counts.update(confirmation["status"] for confirmation in _answer(request)["confirmations"])
    return counts


def _shown(events: Sequence[EventMessage], rows_max: int, *, quiet: bool) -> Iterator[Sequence[EventMessage]]:
    from rich.console import Console
    from rich.progress import track

    parts = [events[first : first + rows_max] for first in range(0, len(events), rows_max)]
    yield from track(parts, "importing", console=Console(stderr=True, quiet=quiet), transient=True)


def _answer(request: Request) -> dict[str, Any]:
    try:
        with urlopen(request, timeout=30) as answer:  # noqa: S310 - see above
            body: dict[str, Any] = json.loads(answer.read())
            return body
    except HTTPError as error:
        try:
            problem = json.loads(error.read())
        except ValueError:
            problem = {}
        raise CommandError(
            f"the API refuses: {problem.get('detail', error.reason)}; {problem.get('remedy', 'see its log')}"
        ) from error
    except (URLError, TimeoutError) as error:
        raise CommandError(f"no API at {request.full_url}: {error}; start it, or name it with --url") from error


def _set_aside(sheet: Path, bad: Sequence[Row]) -> None:
    """The rejected rows with line and reason; the sheet itself stays as it is."""
    target = sheet.with_name(f"{sheet.name}.rejected.csv")
    with target.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["line", "problem", "cells as they were"])
        writer.writerows([row.line, row.problem, *row.cells] for row in bad)
    typer.echo(f"{len(bad)} rows set aside in {target}", err=True)
