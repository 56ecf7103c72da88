"""`plantprint edge mappings` and `try-payload`: what MQTT devices send, and what becomes of it."""

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from plantprint_cli.edge_libraries import mapping_of, mappings_of
from plantprint_cli.errors import CommandError, need

if TYPE_CHECKING:
    from plantprint_edge.mappings import Mapping
    from plantprint_edge.payloads import Decoded

MAPPINGS_DIR = typer.Option(
    None, "--mappings-dir", help="Folder with mappings of your own (mappings_dir of agent.yaml)."
)
JSON = typer.Option(False, "--json", help="Print JSON.")


def register(edge: typer.Typer) -> None:
    """Add the commands to `plantprint edge`."""
    edge.command(name="mappings")(mappings)
    edge.command(name="try-payload")(try_payload)


def mappings(
    mapping_id: str = typer.Argument("", metavar="[ID]", help="Explain this mapping; without it all are listed."),
    mappings_dir: Path = MAPPINGS_DIR,
    as_json: bool = JSON,
) -> None:
    """List the mappings of MQTT payloads that ship, or explain one: topics, values, units, examples, sources."""
    library = mappings_of(mappings_dir)
    if mapping_id:
        mapping = mapping_of(library, mapping_id)
        _print_mapping(mapping) if not as_json else typer.echo(mapping.model_dump_json(indent=1))
        return
    known = [mapping for mapping in map(library.find, library.ids()) if mapping is not None]
    if as_json:
        typer.echo(json.dumps([{"id": m.id, "title": m.title, "needs_timezone": m.needs_zone} for m in known]))
        return
    for mapping in known:
        typer.echo(f"{mapping.id:28} {mapping.title}")


def try_payload(
    topic: str = typer.Option(..., "--topic", "-t", help="The topic that the message came on."),
    mapping_id: str = typer.Option(None, "--mapping", "-m", help="Mapping to read it with: plantprint edge mappings"),
    config: Path = typer.Option(None, "--config", "-c", help="Or agent.yaml: show what its channels would get."),
    file: Path = typer.Option(None, "--file", "-f", help="File with the payload; without it standard input is read."),
    is_hex: bool = typer.Option(False, "--hex", help="The payload is hexadecimal, as mosquitto_sub -F %x prints it."),
    timezone: str = typer.Option(None, "--timezone", help="Zone of local times, such as Asia/Shanghai."),
    base: str = typer.Option(None, "--base", help="Start of the topics, where it is not the mapping's usual one."),
    births: list[Path] = typer.Option([], "--birth", help="Sparkplug: file with the birth of the node or device."),
    retained: bool = typer.Option(False, "--retained", help="With --config: as if the broker had kept the message."),
    mappings_dir: Path = MAPPINGS_DIR,
    as_json: bool = JSON,
) -> None:
    """Show what a pasted message becomes: readings, and what is ignored and why. Nothing is sent or stored.

    Exit code 0 when it gives readings, 1 when it gives none or cannot be read.
    """
    if (mapping_id is None) == (config is None):
        raise CommandError("name either --mapping (plantprint edge mappings lists them) or --config agent.yaml")
    need("apsw", "edge")
    from plantprint_edge.payloads import PayloadError

    body = _payload(file, is_hex=is_hex)
    try:
        if config is not None:
            found = _with_config(config, topic, body, retained=retained, as_json=as_json)
        else:
            mapping = mapping_of(mappings_of(mappings_dir), mapping_id)
            found = _with_mapping(mapping, topic, body, timezone, base, births, is_hex=is_hex, as_json=as_json)
    except PayloadError as error:
        raise CommandError(str(error)) from error
    raise typer.Exit(0 if found else 1)


def _with_mapping(
    mapping: "Mapping", topic: str, body: bytes, timezone: str | None, base: str | None, births: list[Path],
    *, is_hex: bool, as_json: bool,
) -> bool:  # fmt: skip
    from plantprint_edge import trying
    from plantprint_edge.clock import wall_ms

    sent = [_payload(path, is_hex=is_hex) for path in births]
    decoded = trying.try_payload(
        mapping, topic, body, wall_ms(), base=base, zone=_zone(mapping, timezone), births=sent
    )  # fmt: skip
    if as_json:
        typer.echo(json.dumps(_decoded_json(decoded)))
    else:
        for found in decoded.found:
            remark = trying.unit_remark(found)
            typer.echo(trying.line(found) + (f"   ({remark})" if remark else ""))
        for device, what, why in decoded.ignored:
            typer.echo(f"ignored: {device or '-'} {what}: {why}")
        for device in decoded.dead:
            typer.echo(f"gone: {device}; its channels are missing from then on")
        if not decoded.found:
            typer.echo(f"no readings: nothing in the message is where {mapping.id} looks for it")
    return any(found.number is not None for found in decoded.found)


def _decoded_json(decoded: "Decoded") -> dict[str, Any]:
    from plantprint_edge import trying
    from plantprint_edge.mappings import number_text

    readings = [
        {
            "device": found.device,
            "value_name": found.name,
            "value": None if found.number is None else number_text(found.number, found.factor),
            "unit": found.unit,
            "at": trying.time_text(found),
            "quality": "missing" if found.number is None else "measured",
            "why": found.why,
            "late": found.historical,
        }
        for found in decoded.found
    ]
    ignored = [{"device": device, "what": what, "why": why} for device, what, why in decoded.ignored]
    return {"readings": readings, "ignored": ignored, "gone": list(decoded.dead)}


def _with_config(path: Path, topic: str, body: bytes, *, retained: bool, as_json: bool) -> bool:
    import logging

    import structlog

    from plantprint.times import SiteClock, format_instant
    from plantprint_edge.clock import Clock
    from plantprint_edge.load import load_config
    from plantprint_edge.trying import try_config
    from plantprint_edge.yamlfile import ConfigError

    # What is refused is printed below.
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    try:
        outcome = try_config(load_config(path, None), topic, body, Clock(SiteClock()), retained=retained)
    except ConfigError as error:
        raise CommandError(str(error)) from error
    if as_json:
        readings = [{"channel": name, "value": text, "at": format_instant(t)} for name, text, t in outcome.readings]
        said = {"refused": outcome.refused, "undeclared": outcome.undeclared, "missing": outcome.missing}
        typer.echo(json.dumps({"readings": readings, **said}))
        return bool(readings)
    for name, text, t_ms in outcome.readings:
        typer.echo(f"{name} = {text} @ {format_instant(t_ms)}")
    for reason, text in outcome.refused.items():
        typer.echo(f"refused ({reason}): {text}")
    for who in outcome.undeclared:
        typer.echo(f"undeclared: no channel names {who}")
    if outcome.missing:
        typer.echo(f"missing: {outcome.missing} declared value(s) are null or marked as missing")
    return bool(outcome.readings)


def _print_mapping(mapping: "Mapping") -> None:
    typer.echo(f"{mapping.id}: {mapping.title}")
    if mapping.base:
        typer.echo(f"  base          {mapping.base} (base in agent.yaml replaces it)")
    if mapping.needs_zone:
        typer.echo("  timezone      needed: its times are local")
    for rule in mapping.messages:
        typer.echo(f"  topic         {rule.topic} ({rule.format})")
        for value in rule.values:
            where = ".".join(filter(None, (str(value.each), str(value.value)))) or "the whole payload"
            facts = " ".join(filter(None, (value.kind, value.unit)))
            typer.echo(f"    {value.name!s:34} {where}{f', {facts}' if facts else ''}")
    for example in mapping.examples:
        typer.echo(f"  example       {example.topic}")
        typer.echo(f"    {(example.payload or example.payload_hex).strip()}")
        for text in example.gives:
            typer.echo(f"    gives {text}")
    for note in mapping.notes:
        typer.echo(f"  note          {note}")
    for source in mapping.sources:
        typer.echo(f"  source        {source}")


def _zone(mapping: "Mapping", timezone: str | None) -> Any:
    from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

    if timezone is None:
        if mapping.needs_zone:
            raise CommandError(f"{mapping.id} sends local time; give --timezone, such as Asia/Shanghai")
        return None
    try:
        return ZoneInfo(timezone)
    except (ZoneInfoNotFoundError, ValueError) as error:
        raise CommandError(f"{timezone!r} is no IANA time zone; write one such as Asia/Shanghai") from error


def _payload(file: Path | None, *, is_hex: bool) -> bytes:
    try:
        body = file.read_bytes() if file else sys.stdin.buffer.read()
    except OSError as error:
        raise CommandError(f"{file}: cannot be read ({error})") from error
    if not is_hex:
        return body
    try:
        return bytes.fromhex(body.decode("ascii"))
    except ValueError as error:
        raise CommandError("--hex: the payload is not hexadecimal") from error
