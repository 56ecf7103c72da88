"""A recorded plant from a CSV file: exact amounts with their recorded instants, whatever the habits of its stamps.

Reading stops at the first row that cannot be understood, with file, line and remedy; what was read before stays.
"""

import asyncio
import csv
import gzip
import time
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from fractions import Fraction
from pathlib import Path
from typing import IO, cast

import structlog

from plantprint.facts import Quality
from plantprint.times import format_instant
from plantprint.wire.chunk import Row
from plantprint_edge.config import ReplayColumn, ReplaySource
from plantprint_edge.sources import Intake, SourceCounts
from plantprint_edge.sources.csv_values import CellError, LocalTime, factor, position, scaled

log = structlog.get_logger(__name__)

ROWS_AT_ONCE = 500


class ReplayError(ValueError):
    """The recording cannot be read on; the text gives file, line and remedy."""


@dataclass(frozen=True, slots=True)
class Record:
    """One row: the end of its period, and per column the amount at the channel's decimals, None for an empty cell."""

    line: int
    end_ms: int
    values: tuple[int | None, ...]


class ReplayReader:
    """Plays one file; `problem` says why it stopped early."""

    def __init__(self, source: ReplaySource, first_index: int, intake: Intake) -> None:
        self.counts = SourceCounts(source.name, "replay")
        self.problem: str | None = None
        self._source = source
        self._first_index = first_index
        self._intake = intake

    async def run(self) -> None:
        """Read to the end of the file or to the first row that cannot be understood."""
        rows: list[Row] = []
        started_s, origin_ms = time.monotonic(), None
        try:
            for record in read_records(self._source):
                if self._source.speed != "max":
                    origin_ms = record.end_ms if origin_ms is None else origin_ms
                    due_s = started_s + (record.end_ms - origin_ms) / 1000 / self._source.speed
                    await asyncio.sleep(max(0.0, due_s - time.monotonic()))
                rows += self._rows(record)
                if len(rows) >= ROWS_AT_ONCE or self._source.speed != "max":
                    await self._put(rows)
                    rows = []
        except ReplayError as error:
            self.problem = str(error)
            self.counts.errors["record"] += 1
            log.error("replay_stopped", source=self._source.name, reason=str(error))  # noqa: TRY400 - for people
        await self._put(rows)
        if not self.problem:
            log.info("replay_done", source=self._source.name, rows=self.counts.polls, missing=self.counts.missing)

    async def _put(self, rows: list[Row]) -> None:
        if rows:
            await self._intake.put(rows, self._source.backlog_chunks_max)
            # Reading a file never waits by itself; the uplink needs its turn.
            await asyncio.sleep(0)
            self.counts.readings += len(rows)
            self.counts.last_good_ms = rows[-1][1]

    def _rows(self, record: Record) -> list[Row]:
        self.counts.polls += 1
        self.counts.missing += record.values.count(None)
        return [
            (index, record.end_ms, value, Quality.MEASURED)
            for index, value in enumerate(record.values, self._first_index)
            if value is not None
        ]


def read_records(source: ReplaySource) -> Iterator[Record]:
    """The rows of the file in order, streaming; raises `ReplayError`."""
    with _opened(source.file) as file:
        lines = csv.reader(file, strict=True)
        place = _Place(source.file)
        header = _next(lines, place)
        if header is None:
            raise place.error("the file is empty; check which file is meant")
        place.line = 1
        with place.named():
            columns = [position(header, name) for name in (source.time_column, *(c.column for c in source.columns))]
        stamps = _Stamps(source)
        factors = [factor(c.decimals, source.period_s, mean_rate=c.mean_rate) for c in source.columns]
        while (cells := _next(lines, place)) is not None:
            place.line = lines.line_num
            if not cells:
                continue
            if len(cells) != len(header):
                raise place.error(f"{len(cells)} cells where the header has {len(header)}; repair the row")
            end_ms = stamps.end_ms(cells[columns[0]], place)
            values = (
                _amount(cells[at], worth, column, place)
                for at, worth, column in zip(columns[1:], factors, source.columns, strict=True)
            )
            yield Record(place.line, end_ms, tuple(values))


class _Place:
    """File and line, for errors."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.line = 0

    def error(self, message: str) -> ReplayError:
        return ReplayError(f"{self.path}:{self.line}: {message}")

    @contextmanager
    def named(self, what: str = "") -> Iterator[None]:
        """Give errors of cells their place, after `what`."""
        try:
            yield
        except CellError as error:
            raise self.error(f"{what}{error}") from error


@contextmanager
def _opened(path: Path) -> Iterator[IO[str]]:
    opener = gzip.open if path.suffix == ".gz" else open
    try:
        # A byte order mark is no part of the first column's name.
        file = cast("IO[str]", opener(path, "rt", encoding="utf-8-sig", newline=""))
    except OSError as error:
        raise ReplayError(
            f"{path}: cannot be opened ({error.strerror or error}); check `file` and its rights"
        ) from error
    with file:
        yield file


def _next(lines: Iterator[list[str]], place: _Place) -> list[str] | None:
    try:
        return next(lines, None)
    except EOFError as error:
        raise place.error("the compressed file ends after this line; it is cut off: copy it again") from error
    except (OSError, zlib.error) as error:
        raise place.error(f"cannot be read on after this line ({error}); copy the file again") from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise place.error(f"no readable CSV in UTF-8 after this line ({error}); repair it there") from error


class _Stamps:
    """Local stamps → instants. The order of rows tells the two hours of an autumn night apart."""

    def __init__(self, source: ReplaySource) -> None:
        self._source = source
        self._local = LocalTime(source.time_format, source.timezone, day_end=source.midnight == "day_end")
        self._period_ms = source.period_s * 1000
        self._last_start_ms: int | None = None

    def end_ms(self, text: str, place: _Place) -> int:
        """The end of the row's period; raises `ReplayError` where the order is broken or the instant is not certain."""
        with place.named():
            stamp = self._local.read(text)
        # The start of a period tells more than its end: 02:00 before the spring change ends at an hour that never was.
        local = stamp - timedelta(seconds=self._source.period_s) if self._source.stamp == "end" else stamp
        start_ms = self._resolve(local, text, place)
        self._last_start_ms = start_ms
        return start_ms + self._period_ms

    def _resolve(self, local: datetime, text: str, place: _Place) -> int:
        instants = self._local.instants(local)
        last_ms = self._last_start_ms
        if not instants:
            raise place.error(
                f"{text!r} falls into the hour that the clock change leaves out in {self._source.timezone};"
                " check `timezone` and `stamp`"
            )
        if last_ms is None:
            if len(instants) > 1:
                raise place.error(f"{text!r} is ambiguous and no row before it decides; begin before the clock change")
            return instants[0]
        expected_ms = last_ms + self._period_ms
        following = [t for t in instants if t >= expected_ms]
        if expected_ms in following or len(following) == 1:
            return following[0]
        if following:
            raise place.error(
                f"{text!r} is ambiguous after a gap in the clock change: both hours are possible; add the missing rows"
            )
        if last_ms in instants:
            raise place.error(f"{text!r} is the same period as the row before; remove one of them")
        if max(instants) < last_ms:
            raise place.error(f"{text!r} is before the row above ({format_instant(last_ms)}); sort the file by time")
        raise place.error(f"{text!r} overlaps the row above; check `period_s` ({self._source.period_s})")


def _amount(cell: str, worth: Fraction, column: ReplayColumn, place: _Place) -> int | None:
    text = cell.strip()
    if not text:
        return None
    with place.named(f"column {column.column!r}: "):
        return scaled(text, worth, column.decimals, exact=True)
