"""Lines of a CSV file → readings: the header's columns, one instant per row, and what is wrong with single cells."""

import csv
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import timedelta

from plantprint_edge.config.folder import FolderChannel, FolderSource
from plantprint_edge.sources.csv_values import CellError, LocalTime, factor, position, scaled

# What a cell says: the channel's index in the source, the instant, the value.
Value = tuple[int, int, int]
# The newest instant of a channel that was ever delivered, None where there is none.
Newest = Callable[[str], int | None]
SPACES = str.maketrans("", "", " \u00a0\u202f")


@dataclass(slots=True)
class Parsed:
    """What a line says, and what of it could not be understood."""

    values: list[Value] = field(default_factory=list)
    missing: int = 0
    errors: list[str] = field(default_factory=list)
    unknown_key: str = ""


class Lines:
    """Text of single lines → cells, in the source's encoding."""

    def __init__(self, source: FolderSource) -> None:
        self._encoding = source.encoding
        self._delimiter = source.delimiter

    def cells(self, raw: bytes | None) -> list[str]:
        """The cells of a line; raises `CellError`."""
        if raw is None:
            raise CellError("the line is longer than line_bytes_max")
        try:
            # A mark of byte order is no part of the first cell.
            text = raw.decode(self._encoding).removeprefix("\ufeff")
            found = list(csv.reader([text], delimiter=self._delimiter, strict=True))
        except (UnicodeDecodeError, csv.Error) as error:
            raise CellError(f"no readable CSV in {self._encoding} ({error})") from error
        return [cell.strip() for cell in found[0]] if found else []


class Table:
    """The columns of one file; `newest` decides between the two hours of an autumn night for its first row."""

    def __init__(self, source: FolderSource, header: Sequence[str] | None, newest: Newest) -> None:
        """Raises `CellError` where a column is missing. Without a header columns are called by their numbers."""
        self._source = source
        self._header = list(header) if header is not None else None
        self._newest = newest
        self._local = LocalTime(source.time_format, source.timezone, day_end=source.midnight == "day_end")
        self._period_ms = source.period_s * 1000
        # Stamps at the end of a period are resolved by its start: 02:00 before the spring change ends at an hour that never was.
        self._shift_s = (
            source.period_s if source.stamp == "end" and any(c.kind == "amount" for c in source.channels) else 0
        )
        self._times = [self._column(name) for name in source.time_columns]
        self._keys = [self._column(name) for name in source.key_columns or ()]
        self._value = self._column(source.value_column) if source.value_column is not None else -1
        self._by_key: dict[tuple[str, ...], list[tuple[int, int]]] = {}
        self._wide: list[tuple[int, int]] = []
        for index, channel in enumerate(source.channels):
            if channel.column is not None:
                self._wide.append((index, self._column(channel.column)))
            else:
                self._by_key.setdefault(channel.key or (), []).append((index, self._value))
        self._factors = [factor(c.decimals, source.period_s, mean_rate=c.mean_rate) for c in source.channels]
        self._width = max([*self._times, *self._keys, self._value, *(at for _, at in self._wide)]) + 1
        # By key: the instant of the row before, and whether rows go up (1) or down (-1) in time; 0 where nobody knows.
        self._last: dict[tuple[str, ...], tuple[int, int]] = {}

    def _column(self, name: str) -> int:
        if self._header is not None:
            return position(self._header, name)
        if not name.isdecimal() or not 1 <= int(name) <= 10_000:
            raise CellError(f"column {name!r}: without a header columns are called 1, 2, 3 and so on")
        return int(name) - 1

    def parse(self, cells: list[str]) -> Parsed:
        """The readings of a row. Wrong cells are told and the rest of the row counts; raises `CellError` for all of it."""
        parsed = Parsed()
        if not any(cells) or cells == self._header:
            return parsed
        if len(cells) < self._width:
            raise CellError(f"{len(cells)} cells where at least {self._width} belong")
        key = tuple(cells[at] for at in self._keys)
        places = self._by_key.get(key, []) if self._keys else self._wide
        if not places:
            parsed.unknown_key = "/".join(key)
            return parsed
        base_ms = self._instant(key, places[0][0], " ".join(cells[at] for at in self._times))
        for index, at in places:
            channel = self._source.channels[index]
            text = self._plain(cells[at])
            if text is None:
                parsed.missing += 1
                continue
            try:
                value = scaled(text, self._factors[index], channel.decimals, exact=channel.kind == "amount")
            except CellError as error:
                parsed.errors.append(f"{channel.column or channel.name}: {error}")
            else:
                parsed.values.append((index, base_ms + self._offset_ms(channel), value))
        return parsed

    def _plain(self, cell: str) -> str | None:
        """A number with a decimal point and nothing else, None where the cell says "missing"."""
        source = self._source
        if cell in source.missing:
            return None
        if source.thousands:
            cell = cell.translate(SPACES) if source.thousands == " " else cell.replace(source.thousands, "")
        return cell.replace(",", ".") if source.decimal == "," else cell

    def _offset_ms(self, channel: FolderChannel) -> int:
        return self._period_ms if channel.kind == "amount" else self._shift_s * 1000

    def _instant(self, key: tuple[str, ...], index: int, text: str) -> int:
        stamp = self._local.read(text) - timedelta(seconds=self._shift_s)
        instants = self._local.instants(stamp)
        if not instants:
            zone = self._source.timezone
            raise CellError(f"{text!r} falls into the hour that the clock change leaves out in {zone}; check timezone")
        last = self._last.get(key)
        base_ms = instants[0] if len(instants) == 1 else self._which(last, index, instants, text)
        way = 0 if last is None else 1 if base_ms > last[0] else -1 if base_ms < last[0] else last[1]
        self._last[key] = (base_ms, way)
        return base_ms

    def _which(self, last: tuple[int, int] | None, index: int, instants: list[int], text: str) -> int:
        """Which of two instants is meant, by the row before: one step further, else the only one that lies further."""
        if last is None:
            channel = self._source.channels[index]
            newest_ms = self._newest(channel.name)
            last = None if newest_ms is None else (newest_ms - self._offset_ms(channel), 1)
        if last is not None:
            for way in (last[1],) if last[1] else (1, -1):
                expected_ms = last[0] + way * self._period_ms
                further = [t for t in instants if (t - last[0]) * way > 0]
                if self._period_ms and expected_ms in instants:
                    return expected_ms
                if len(further) == 1:
                    return further[0]
        raise CellError(
            f"{text!r} is there twice in the autumn night, and no row before decides; give period_s, or stamps with an offset"
        )
