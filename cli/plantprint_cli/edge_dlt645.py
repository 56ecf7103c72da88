"""`plantprint edge probe --dlt645`: what a DL/T 645 meter says."""

import json
from typing import TYPE_CHECKING

import typer

from plantprint_cli.errors import CommandError

if TYPE_CHECKING:
    from plantprint_edge.channels import SerialLine
    from plantprint_edge.sources.dlt645_probe import MeterReport
    from plantprint_edge.sources.modbus_line import NetworkLine

ANY = "any"


async def probe_dlt645(where: "SerialLine | NetworkLine", meter: str, timeout_s: float, *, as_json: bool) -> int:
    """Print what the meter with this number says, `any`: the only one there; returns the exit code."""
    from plantprint_edge.channels import SerialLine
    from plantprint_edge.sources import dlt645_line
    from plantprint_edge.sources.dlt645_probe import probe_meter

    if meter != ANY and not (meter.isascii() and meter.isdecimal() and len(meter) <= 12):
        raise CommandError(f"--dlt645 {meter!r}: write the number on the meter, at most 12 digits, or {ANY}")
    address = where if isinstance(where, SerialLine) else dlt645_line.NetworkLine(where.host, where.port)
    line = dlt645_line.Dlt645Line(address, timeout_s)
    try:
        report = await probe_meter(line, None if meter == ANY else meter.zfill(12), timeout_s)
    finally:
        line.close()
    if as_json:
        values = {name: str(value) for name, value in report.values.items()}
        typer.echo(json.dumps({"address": report.address, "values": values, "absent": report.absent,
                               "findings": list(report.findings)}))  # fmt: skip
    else:
        _print(report)
    return 1 if report.findings else 0


def _print(report: "MeterReport") -> None:
    from plantprint_edge.sources.dlt645_items import known_items

    items = known_items().items
    typer.echo(f'meter "{report.address}" (DL/T 645-2007)')
    for name, value in report.values.items():
        unit = items[name].unit
        typer.echo(f"  {name:34} {value:>16} {unit}")
    for name, reason in report.absent.items():
        typer.echo(f"  {name:34} {'-':>16} {reason}")
    for finding in report.findings:
        typer.secho(f"  ! {finding}", fg=typer.colors.YELLOW)
    if not report.findings:
        typer.echo("nothing looks wrong; compare the energy counter with the display")
