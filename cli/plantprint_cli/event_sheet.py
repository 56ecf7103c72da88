"""A CSV sheet of production events, for plants without an MES: each row one event, its columns the event's fields."""

import csv
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import get_args
from zoneinfo import ZoneInfo

from plantprint.facts import EventKind
from plantprint.times import format_instant, parse_instant, to_ms
from plantprint.wire.event_rules import accept
from plantprint.wire.messages import EventMessage, MessageError
from plantprint_cli.errors import CommandError

# Columns that say which event it is; every other one is a field of its body. `body.event_id` writes a body's own.
_HEAD = ("kind", "at", "event_id", "revision", "source")
_LINE_CHARACTERS_MAX = 20_000
EXCEL_SERIAL = "excel-serial"
# Day 1 of Excel's calendar is 1900-01-01 and it has a 29 February 1900: from March on days count from here.
_EXCEL_BEGIN = datetime(1899, 12, 30)  # noqa: DTZ001 - wall time, as written in the sheet
_NUMBERS = frozenset(
    [
        "quantity",
        "weight",
        "amount",
        "unit_price",
        "physical",
        "displaced_kg_co2e",
        "primary_share",
        "steam_t",
        "gauge_mpa",
        "pressure_mpa",
        "temperature_c",
        "dryness",
        "mass",
        "distance",
        "wastewater_m3",
        "pcf_kg_co2e",
        "pcf_fossil_kg_co2e",
        "pcf_biogenic_kg_co2e",
        "pcf_land_use_kg_co2e",
        "pcf_uptake_kg_co2",
    ]
)


@dataclass(frozen=True)
class Sheet:
    """How to read a sheet: `kind` and `zone` hold where the file has no such column or no offset; `renamed` is
    column of the file → field. `time_format` is as for strptime, or `EXCEL_SERIAL`; `decimal` is the mark in numbers.
    """

    path: Path
    kind: str = ""
    source: str = "csv"
    zone: str = ""
    delimiter: str = ""
    encoding: str = "utf-8-sig"
    renamed: Mapping[str, str] | None = None
    time_format: str = ""
    decimal: str = "."


@dataclass(frozen=True, slots=True)
class Row:
    """A row that became an event, or `problem` that says why it cannot; `line` is its last one in the file."""

    line: int
    cells: tuple[str, ...]
    event: EventMessage | None
    problem: str = ""


def read_sheet(sheet: Sheet) -> Iterator[Row]:
    """Row after row; raises `CommandError` where the file as a whole cannot be read."""
    try:
        with sheet.path.open(encoding=sheet.encoding, newline="") as file:
            first, above = file.readline(_LINE_CHARACTERS_MAX), 1
            declared = first.strip().removeprefix("sep=") if first.startswith("sep=") else ""
            if declared:  # Excel's own way to name the delimiter.
                first, above = file.readline(_LINE_CHARACTERS_MAX), 2
            delimiter = sheet.delimiter or declared or max(",;\t", key=first.count)
            names = _fields(sheet, next(csv.reader([first], delimiter=delimiter), []))
            reader = csv.reader(file, delimiter=delimiter, strict=True)
            for cells in reader:
                if any(cell.strip() for cell in cells):
                    yield _row(sheet, names, cells, reader.line_num + above)
    except UnicodeDecodeError as error:
        raise CommandError(
            f"{sheet.path} is not {sheet.encoding}: name its encoding with --encoding, such as gb18030"
        ) from error
    except csv.Error as error:
        raise CommandError(f"{sheet.path}: {error}; correct the file or name its --delimiter") from error


def _fields(sheet: Sheet, header: list[str]) -> list[str]:
    renamed = sheet.renamed or {}
    given = [name.strip() for name in header]
    names = [renamed.get(name, name) for name in given]
    if absent := sorted(renamed.keys() - set(given)):
        raise CommandError(f"{sheet.path}:1: no column {', '.join(absent)}; it has {', '.join(given)}")
    if twice := sorted({name for name in names if name and names.count(name) > 1}):
        raise CommandError(f"{sheet.path}:1: column {', '.join(twice)} stands twice; rename one with --column")
    if "at" not in names:
        raise CommandError(f"{sheet.path}:1: no column `at`; write --column TIME=at for the one that says when")
    if "kind" not in names and not sheet.kind:
        raise CommandError(f"{sheet.path}:1: no column `kind`; say with --kind what all rows are")
    return names


def _row(sheet: Sheet, names: list[str], cells: list[str], line: int) -> Row:
    kept = tuple(cells)
    if len(cells) > len(names):
        return Row(line, kept, None, f"{len(cells)} cells under {len(names)} columns")
    cell = {name: text.strip() for name, text in zip(names, cells, strict=False) if name and text.strip()}
    try:
        return Row(line, kept, _event(sheet, cell))
    except (ValueError, MessageError) as error:
        return Row(line, kept, None, str(error))


def _event(sheet: Sheet, cell: Mapping[str, str]) -> EventMessage:
    kind = cell.get("kind", sheet.kind)
    if kind not in get_args(EventKind):
        raise ValueError(f"kind {kind!r} is not known; use one of {', '.join(get_args(EventKind))}")
    revision = cell.get("revision", "0")
    if not revision.isdecimal():
        raise ValueError(f"revision {revision!r} is no whole number")
    if "at" not in cell:
        raise ValueError("`at` is empty: when did it happen?")
    source = cell.get("source", sheet.source)
    body = {
        name.removeprefix("body."): _number(name, text, sheet.decimal) if name in _NUMBERS else text
        for name, text in cell.items()
        if name not in _HEAD
    }
    message = EventMessage(
        kind=kind,  # type: ignore[arg-type]  # one of its names, see above
        at=format_instant(_instant(cell["at"], sheet)),
        body=dict(sorted(body.items())),
        source=source,
        event_id=cell.get("event_id", ""),
        revision=int(revision),
    )
    # Without an id the content identifies a row, so that reading the sheet again stores nothing twice.
    event = accept(message, source)
    return EventMessage(
        kind=event.kind, at=message.at, body=event.body, source=source, event_id=event.event_id, revision=event.revision
    )


def _number(name: str, text: str, decimal: str) -> str:
    """A number as plain text; raises `ValueError` for what would be read as another one or as none."""
    plain = text.replace(".", "").replace(",", ".") if decimal == "," else text
    try:
        if Decimal(plain).is_finite():
            return plain
    except InvalidOperation:
        pass
    hint = (
        "say --decimal , if a comma is the decimal mark here" if decimal == "." else "its decimal mark is to be a comma"
    )
    raise ValueError(f"{name} {text!r} is no number: write it without other signs, such as 1234.5; {hint}")


def _instant(text: str, sheet: Sheet) -> int:
    """Milliseconds of a time with an offset, or of the zone's wall clock; raises `ValueError` where that is no one time."""
    zone = sheet.zone
    try:
        written = _written(text, sheet.time_format)
    except (ValueError, OverflowError, InvalidOperation) as error:
        if not sheet.time_format:
            return _rfc3339(text)
        raise ValueError(f"{text!r} is not written as --time-format {sheet.time_format!r} says: {error}") from error
    if written.tzinfo is not None:
        return to_ms(written)
    if not zone:
        raise ValueError(f"{text!r} has no offset: write one such as +08:00, or say --timezone Asia/Shanghai")
    one, other = (written.replace(tzinfo=ZoneInfo(zone), fold=fold) for fold in (0, 1))
    if one.utcoffset() == other.utcoffset():
        return to_ms(one)
    what = "comes twice" if to_ms(one) < to_ms(other) else "does not exist"
    raise ValueError(f"{text!r} {what} in {zone} because the clocks change; write it with its offset")


def _written(text: str, time_format: str) -> datetime:
    if time_format == EXCEL_SERIAL:
        seconds = round(Decimal(text.replace(",", ".")) * 86_400) if text else 0
        return _EXCEL_BEGIN + timedelta(seconds=seconds)
    if time_format:
        return datetime.strptime(text, time_format)  # noqa: DTZ007 - wall time of the sheet's zone, unless it has an offset
    return datetime.fromisoformat(text)


def _rfc3339(text: str) -> int:
    try:
        return parse_instant(text)
    except ValueError as error:
        example = "--time-format '%d.%m.%Y %H:%M' (or excel-serial)"
        raise ValueError(f"{error}; if all times are written otherwise, say how with {example}") from error
