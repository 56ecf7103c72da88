"""`plantprint edge`: run a gateway, look at devices before it reads them, and at how it is doing."""

import asyncio
import json
import logging
from collections.abc import Coroutine, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar

import typer

from plantprint_cli import edge_payload_commands
from plantprint_cli.edge_dlt645 import probe_dlt645
from plantprint_cli.edge_libraries import device_of, meters_of
from plantprint_cli.edge_texts import print_device, print_report, print_status, report_json
from plantprint_cli.errors import CommandError, need
from plantprint_cli.logs import configure_logging

if TYPE_CHECKING:
    from plantprint_edge.meters import Device, Library
    from plantprint_edge.probe import Report, Target

T = TypeVar("T")
CONFIG = typer.Option(..., "--config", "-c", help="agent.yaml of this gateway.")
METERS_DIR = typer.Option(None, "--meters-dir", help="Folder with device types of your own (meters_dir of agent.yaml).")
HOST = typer.Argument(..., help="Host or address of a device or converter, or a serial port such as /dev/ttyUSB0.")
PORT = typer.Option(502, "--port", help="TCP port.")
RTU = typer.Option(False, "--rtu", help="RTU over TCP: a serial converter that passes frames through.")
BAUD = typer.Option(9600, "--baud", help="Speed of the serial port.")
PARITY = typer.Option("N", "--parity", help="Parity of the serial port: N, E or O.")
STOP = typer.Option(1, "--stop", help="Stop bits of the serial port: 1 or 2.")
TIMEOUT = typer.Option(1.0, "--timeout", help="Seconds to wait for an answer.")
AS = typer.Option(None, "--as", help="Device type, see: plantprint edge meters")
PARITIES: dict[str, Literal["N", "E", "O"]] = {"N": "N", "E": "E", "O": "O"}
JSON = typer.Option(False, "--json", help="Print JSON.")


def register(app: typer.Typer) -> None:
    edge = typer.Typer(no_args_is_help=False, help=_edge.__doc__)
    edge.callback(invoke_without_command=True)(_edge)
    for name, command in (("meters", meters), ("probe", probe), ("scan", scan), ("status", status)):
        edge.command(name=name)(command)
    edge_payload_commands.register(edge)
    app.add_typer(edge, name="edge")


def _edge(
    context: typer.Context,
    config: Path = typer.Option(None, "--config", "-c", help="agent.yaml of this gateway."),
) -> None:
    """Run an edge agent (--config agent.yaml): read meters, keep readings until the collector has them.

    The subcommands help to set it up and to look after it.
    """
    if context.invoked_subcommand is not None:
        return
    if config is None:
        raise typer.BadParameter("name the agent.yaml of this gateway", param_hint="--config")
    need("apsw", "edge")
    from plantprint_edge import agent

    configure_logging()
    raise typer.Exit(agent.run_file(config))


def meters(
    device_id: str = typer.Argument("", metavar="[ID]", help="Explain this device type; without it all are listed."),
    meters_dir: Path = METERS_DIR,
    as_json: bool = JSON,
) -> None:
    """List the device types that ship, or explain one: registers, units, counters, sources."""
    library = meters_of(meters_dir)
    if device_id:
        device = device_of(library, device_id)
        print_device(device) if not as_json else typer.echo(device.model_dump_json(indent=1))
        return
    devices = [device for device in map(library.find, library.ids()) if device is not None]
    if as_json:
        keys = {"id", "maker", "model", "kind", "transport"}
        typer.echo(json.dumps([{**d.model_dump(include=keys), "points": len(d.points)} for d in devices]))
        return
    for device in devices:
        typer.echo(f"{device.id:26} {len(device.points):3} points  {device.kind:12} {device.maker} {device.model}")


def probe(
    host: str = HOST,
    unit: int = typer.Option(1, "--unit", min=0, max=255, help="Unit id; 0 and 255 with Modbus TCP alone."),
    as_device: str = AS,
    port: int = PORT,
    rtu: bool = RTU,
    baud: int = BAUD,
    parity: str = PARITY,
    stop: int = STOP,
    timeout_s: float = TIMEOUT,
    dlt645: str = typer.Option("", "--dlt645", help="A DL/T 645 meter: its number, or `any` for the only one there."),
    meters_dir: Path = METERS_DIR,
    as_json: bool = JSON,
) -> None:
    """Read a device once and show names, values, units and what looks wrong. Without --as its type is guessed.

    Exit code 1 when something looks wrong, 2 when there is no answer. Nothing is ever written to a device.
    """
    library, target = meters_of(meters_dir), _target(host, port, rtu, baud, parity, stop, timeout_s, unit)
    if dlt645:
        raise typer.Exit(_run(target, probe_dlt645(target.address, dlt645, timeout_s, as_json=as_json)))
    report, others = _run(target, _probe(target, library, device_of(library, as_device) if as_device else None))
    if as_json:
        typer.echo(json.dumps(report_json(report, others)))
    else:
        print_report(report, others)
    raise typer.Exit(1 if report.findings else 0)


def scan(
    host: str = HOST,
    units: str = typer.Option("1-20", "--units", help="Unit ids, first-last."),
    as_device: str = AS,
    port: int = PORT,
    rtu: bool = RTU,
    baud: int = BAUD,
    parity: str = PARITY,
    stop: int = STOP,
    timeout_s: float = typer.Option(0.5, "--timeout", help="Seconds to wait for an answer."),
    meters_dir: Path = METERS_DIR,
    as_json: bool = JSON,
) -> None:
    """Ask every unit of a range whether it is there and what it looks like. Exit code 1 when nobody answers."""
    wanted = _range(units)
    library, target = meters_of(meters_dir), _target(host, port, rtu, baud, parity, stop, timeout_s, wanted[0])
    device = device_of(library, as_device) if as_device else None
    found = _run(target, _scan(target, wanted, library, device))
    if as_json:
        typer.echo(json.dumps([{"unit": unit, "looks_like": types} for unit, types in found]))
    for unit, types in found if not as_json else ():
        typer.echo(f"unit {unit:3} answers; looks like {', '.join(types) or 'no type that can be told by its voltage'}")
    if not found:
        typer.secho(
            f"no unit of {units} answers at {host}; check wiring, port, framing (--rtu), baud and parity", err=True
        )
    raise typer.Exit(0 if found else 1)


def status(config: Path = CONFIG, as_json: bool = JSON) -> None:
    """Show how an agent on this machine is doing: each source, the outbox, what the collector has acknowledged.

    Exit code 0 when it runs, 1 when it does not or has not said anything lately.
    """
    need("apsw", "edge")
    from plantprint_edge import status as edge_status
    from plantprint_edge.clock import wall_ms
    from plantprint_edge.load import find_outbox
    from plantprint_edge.yamlfile import ConfigError

    try:
        said = edge_status.status_of(find_outbox(config))
    except ConfigError as error:
        raise CommandError(str(error)) from error
    except (OSError, ValueError) as error:
        remedy = f"start it with: plantprint edge --config {config}"
        raise CommandError(f"the agent has left no status ({error}); {remedy}") from error
    now_ms = wall_ms()
    age_s, alive = edge_status.age_s(said, now_ms), edge_status.is_alive(said, now_ms)
    if as_json:
        typer.echo(json.dumps({**said, "age_s": round(age_s, 1), "alive": alive}))
    else:
        print_status(said, age_s, alive=alive)
    raise typer.Exit(0 if alive else 1)


def _target(
    host: str, port: int, rtu: bool, baud: int, parity: str, stop: int, timeout_s: float, unit: int
) -> "Target":
    import structlog

    from plantprint_edge.channels import SerialLine
    from plantprint_edge.probe import Target
    from plantprint_edge.sources.modbus_line import Line, NetworkLine

    # What is refused or silent is in the report; log lines in between would only disturb it.
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    logging.getLogger("pymodbus").setLevel(logging.CRITICAL)
    if parity not in PARITIES or stop not in (1, 2) or timeout_s <= 0:
        raise CommandError("--parity is N, E or O, --stop is 1 or 2, --timeout is more than 0")
    serial = host.startswith("/")
    if unit in (0, 255) and (serial or rtu):
        raise CommandError(f"--unit {unit} is for Modbus TCP alone; units on a serial line are 1 to 247")
    address = (
        SerialLine(host, baud, PARITIES[parity], stop) if serial else NetworkLine(host, port, "rtu" if rtu else "tcp")
    )
    return Target(Line(address, timeout_s), address, unit, timeout_s)


def _run(target: "Target", work: Coroutine[Any, Any, T]) -> T:
    from plantprint_edge.probe import why_unreachable
    from plantprint_edge.sources.line import DeviceError

    try:
        return asyncio.run(work)
    except DeviceError as error:
        remedy = "check power, wiring, unit id, port, framing (--rtu), baud and parity"
        if error.reason == "connect":
            remedy = why_unreachable(target.address, target.timeout_s)
        raise CommandError(f"{error.reason}: {error}; {remedy}") from error


async def _probe(target: "Target", library: "Library", device: "Device | None") -> "tuple[Report, list[str]]":
    from plantprint_edge import probe as looking
    from plantprint_edge.sources.line import DeviceError

    try:
        if device is not None:
            return await looking.probe(target, device, library), []
        if not await looking.answers(target):
            raise DeviceError("timeout", f"unit {target.unit_id} does not answer")
        found = await looking.guess(target, library)
        if not found:
            raise CommandError("it answers, and no known type fits; name one with --as (plantprint edge meters)")
        return await looking.probe(target, found[0], library), [device.id for device in found[1:]]
    finally:
        target.line.close()


async def _scan(
    target: "Target", units: Iterable[int], library: "Library", device: "Device | None"
) -> list[tuple[int, list[str]]]:
    from plantprint_edge import probe as looking

    found: list[tuple[int, list[str]]] = []
    try:
        for unit in units:
            there = looking.at_unit(target, unit)
            if await looking.answers(there, device):
                types = [device] if device else await looking.guess(there, library)
                found.append((unit, [one.id for one in types]))
    finally:
        target.line.close()
    return found


def _range(units: str) -> range:
    first, _, last = units.partition("-")
    try:
        low, high = int(first), int(last or first)
    except ValueError:
        low, high = 0, 0
    if not 1 <= low <= high <= 247:
        raise CommandError(f"--units {units!r}: write first-last within 1 and 247, for instance 1-20")
    return range(low, high + 1)
