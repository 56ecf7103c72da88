"""Folders of CSV files in `agent.yaml`."""

from pathlib import PurePath
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from plantprint.facts import PERIOD_S_MAX, ChannelKind
from plantprint_edge.config.base import ChannelName, ConfigPath, Model, Name, Timezone
from plantprint_edge.meters import Decimals


def _one_or_more(value: object) -> object:
    return (value,) if isinstance(value, str) else value


def _a_name(pattern: str) -> str:
    if PurePath(pattern).name != pattern or pattern in ("", ".", ".."):
        raise ValueError("is a pattern for the names of files in this folder, such as meters_*.csv, without folders")
    return pattern


Texts = Annotated[tuple[str, ...], BeforeValidator(_one_or_more), Field(min_length=1)]
MISSING = ("", "-", "--", "NaN", "nan", "NULL", "null", "N/A", "#N/A")


class FolderChannel(Model):
    """A channel read from a column, or from the rows with one key.

    With `mean_rate` an amount's column holds the period's mean in `unit` per hour (kW for kWh).
    """

    name: ChannelName
    column: str | None = None
    key: Texts | None = None
    kind: ChannelKind
    unit: str
    decimals: Decimals
    mean_rate: bool = False

    @model_validator(mode="after")
    def _one_place(self) -> Self:
        if (self.column is None) == (self.key is None):
            raise ValueError(f"{self.name}: give either column, or key for tables that name the meter in every row")
        if self.mean_rate and self.kind != "amount":
            raise ValueError(f"{self.name}: mean_rate makes amounts; set kind: amount or remove it")
        return self


class FolderSource(Model):
    """A folder that others write CSV files into. Files are only ever read: never moved, changed or deleted.

    Files whose name fits `pattern` are looked for every `scan_every_s`. The header stands in line `header_line` (0: none,
    columns are called 1, 2, 3 and so on), data begin in `first_line` (else right after the header). `time_columns` are
    joined by a space and read by `time_format`: a strptime format, `iso`, `unix_s` or `unix_ms`; stamps without an
    offset are local time in `timezone`. For amounts `stamp` says which end of the `period_s` it is; counters and gauges
    are taken at the stamp itself, and for them `period_s` is the usual step of the file. `midnight: day_end` is for
    files that write the last period of a day as 00:00 of the same date. With `key_columns` and `value_column` every row
    holds one value of the meter that it names.

    A file that was rewritten is read when it has been left alone for `settle_s`; a last line without its end after
    `last_line_after_s`. Reading waits while more than `backlog_chunks_max` chunks are undelivered. Larger files, longer
    lines, more lines and more files than the limits say are refused and counted.
    """

    source: Literal["folder"]
    name: Name
    folder: ConfigPath
    pattern: Annotated[str, AfterValidator(_a_name)] = "*.csv"
    encoding: Literal["utf-8", "gb18030", "latin-1", "cp1252"] = "utf-8"
    delimiter: Literal[",", ";", "\t", "|"] = ","
    decimal: Literal[".", ","] = "."
    thousands: Literal["", ".", ",", " ", "'"] = ""
    header_line: int = Field(default=1, ge=0, le=1000)
    first_line: int | None = Field(default=None, ge=1, le=1000)
    time_columns: Texts
    time_format: str
    timezone: Timezone
    stamp: Literal["start", "end"] = "end"
    period_s: int = Field(default=0, ge=0, le=PERIOD_S_MAX)
    midnight: Literal["day_start", "day_end"] = "day_start"
    key_columns: Texts | None = None
    value_column: str | None = None
    missing: tuple[str, ...] = MISSING
    channels: tuple[FolderChannel, ...] = Field(min_length=1)
    scan_every_s: float = Field(default=10, gt=0)
    settle_s: float = Field(default=2, ge=0)
    last_line_after_s: float = Field(default=60, ge=0)
    backlog_chunks_max: int = Field(default=1000, ge=1)
    file_mb_max: float = Field(default=64, gt=0)
    line_bytes_max: int = Field(default=65_536, ge=100, le=1_000_000)
    lines_max: int = Field(default=500_000, ge=1)
    files_per_scan_max: int = Field(default=100, ge=1)
    files_max: int = Field(default=20_000, ge=1)
    bad_lines_logged_max: int = Field(default=5, ge=0)
    remember_days: int = Field(default=1100, ge=1)

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        by_key = [channel for channel in self.channels if channel.key is not None]
        if (self.key_columns is None) != (self.value_column is None):
            raise ValueError("key_columns and value_column belong together: give both or none")
        if self.key_columns is None and by_key:
            raise ValueError(f"{by_key[0].name}: key needs key_columns and value_column of the source")
        if self.key_columns is not None and len(by_key) < len(self.channels):
            raise ValueError("with key_columns every channel needs a key; a table of the other kind is another source")
        if any(len(channel.key or ()) != len(self.key_columns or ()) for channel in by_key):
            raise ValueError("key has as many parts as key_columns, in the same order")
        if self.midnight == "day_end" and self.stamp == "start":
            raise ValueError("midnight: day_end is about stamps at the end of a period; set stamp: end or remove it")
        if self.decimal in (self.delimiter, self.thousands) or (self.thousands and self.thousands == self.delimiter):
            raise ValueError("decimal, thousands and delimiter are three different characters")
        if self.first_line is not None and self.first_line <= self.header_line:
            raise ValueError("first_line comes after header_line")
        return self

    @property
    def data_line(self) -> int:
        """The first line that holds data, counted from 1."""
        return self.first_line or self.header_line + 1
