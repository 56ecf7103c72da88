"""How `plantprint edge` shows a device type, what a probe found, and the status of an agent."""

from typing import TYPE_CHECKING, Any

import typer

if TYPE_CHECKING:
    from plantprint_edge.meters import Device
    from plantprint_edge.probe import Report


def print_device(device: "Device") -> None:
    typer.echo(f"{device.id}: {device.maker} {device.model}")
    typer.echo(
        f"  reading       function {device.fc}, {device.word_order} word first, {device.read_max} registers at once"
    )
    typer.echo(f"  ways          {', '.join(device.transport)}")
    if device.serial:
        parity = " or ".join(device.serial.parity)
        typer.echo(
            f"  serial        usually {device.serial.baud} baud, parity {parity}, {device.serial.stop} stop bit(s)"
        )
    if device.sunspec:
        typer.echo(
            f"  SunSpec       model {' or '.join(map(str, device.sunspec))}; addresses count from the model's number"
        )
    if device.counter:
        wrap = device.counter.wrap or "no source says where"
        typer.echo(
            f"  counter       {device.counter.storage}; wraps: {wrap}; reset by users: {device.counter.user_reset}"
        )
    for name, point in device.points.items():
        facts = [point.kind, *(f"times {ratio}" for ratio in point.times)]
        if point.kind == "counter" and point.modulus is not None:
            unit = "raw" if isinstance(point.scale, str) else point.unit
            facts.append(f"the register ends before {point.modulus} {unit}{' before ratios' if point.times else ''}")
        where = f"{point.addr:6} {point.type:8} x {point.scale!s:6} {point.unit:6}"
        typer.echo(f"    {name:34} {where} {', '.join(facts)}")
    for note in device.notes:
        typer.echo(f"  note          {note}")
    for source in device.sources:
        typer.echo(f"  source        {source}")


def report_json(report: "Report", others: list[str]) -> dict[str, Any]:
    return {
        "device": report.device.id,
        "could_also_be": others,
        "values": {name: str(value) for name, value in report.values.items()},
        "absent": list(report.absent),
        "findings": list(report.findings),
    }


def print_report(report: "Report", others: list[str]) -> None:
    device = report.device
    typer.echo(f"as {device.id} ({device.maker} {device.model})")
    for name, value in report.values.items():
        unit = device.points[name].unit if name in device.points else ""
        typer.echo(f"  {name:34} {value:>16} {unit}")
    for name in report.absent:
        typer.echo(f"  {name:34} {'-':>16} refused, or marked as missing")
    if others:
        typer.echo(f"it could also be {', '.join(others)}: compare with the display, then name it with --as")
    for finding in report.findings:
        typer.secho(f"  ! {finding}", fg=typer.colors.YELLOW)
    if not report.findings:
        typer.echo("nothing looks wrong; compare the energy counter with the display")


def print_status(said: dict[str, Any], age_s: float, *, alive: bool) -> None:
    word = "runs" if alive else "does not run" if not said["running"] else "has stopped answering"
    typer.echo(f"agent {said['agent']} of site {said['site']} {word} (pid {said['pid']}, said {age_s:.0f} s ago)")
    if said["running"] and not alive:
        typer.echo("  it was killed, hangs, or the disk of its outbox takes no writes: see its log, and restart it")
    outbox, uplink = said["outbox"], said["uplink"]
    until = outbox["oldest_at"]
    watermark = f"all before {until} is acknowledged" if until else "everything is acknowledged"
    typer.echo(f"  outbox   {outbox['unacked_chunks']} chunks wait, {outbox['used_bytes'] / 1e6:.1f} MB; {watermark}")
    if outbox["full"] or outbox["lost_rows"]:
        typer.secho(
            f"  LOSS     {outbox['lost_rows']} readings lost; full: {outbox['full'] or 'no longer'}",
            fg=typer.colors.RED,
        )
    if doubtful := outbox.get("doubtful_rows"):
        typer.secho(f"  DOUBT    {doubtful} readings may be lost: the outbox cannot be read", fg=typer.colors.RED)
    link = "connected" if uplink["connected"] else "NOT CONNECTED"
    typer.echo(f"  broker   {link}; last acknowledgement {uplink['last_ack_at'] or 'never'}")
    if trouble := uplink.get("trouble"):
        typer.secho(f"  UNHEARD  {trouble}", fg=typer.colors.RED)
    if twin := uplink.get("twin"):
        typer.secho(f"  TWIN     {twin}", fg=typer.colors.RED)
    _print_alarms(said)
    for source in said["sources"]:
        share, latency = source["failed_share"], source["latency_ms"]
        failed = "" if share is None else f"{100 * share:5.1f} % of polls fail"
        slow = "" if latency is None else f"{latency:7.1f} ms"
        errors = ", ".join(f"{count} {reason}" for reason, count in source["errors"].items())
        typer.echo(
            f"  {source['name']:24} {source['kind']:7} last good {source['last_good_at'] or 'never':26} {slow} {failed} {errors}"
        )
        if strangers := source.get("undeclared"):
            listed = ", ".join(f"{who} ({count})" for who, count in strangers.items())
            typer.echo(f"    messages of devices that no channel names: {listed}")


def _print_alarms(said: dict[str, Any]) -> None:
    clock, reloads = said.get("clock", {}), said.get("reloads", {})
    if not clock.get("dates", True):
        waiting = f"{clock['undated_rows']} readings wait for it in memory"
        typer.secho(f"  TIME     this machine does not know it: {waiting}; set it", fg=typer.colors.RED)
    if lost := clock.get("undated_rows_lost"):
        typer.secho(f"  LOSS     {lost} readings whose time was never known", fg=typer.colors.RED)
    for problem in reloads.get("problems", ()):
        typer.secho(f"  REFUSED  the changed configuration: {problem}", fg=typer.colors.RED)
