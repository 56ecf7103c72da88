"""What tests of the folder source need: a configuration in short, and an intake that keeps what wins."""

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import cast

from edge_support import config

from plantprint.times import parse_instant
from plantprint.wire.chunk import Row
from plantprint_edge.config import FolderSource
from plantprint_edge.sources import SourceCounts
from plantprint_edge.sources.folder import FolderReader

CHANNELS = """
      - {name: energy, column: kWh, kind: counter, unit: kWh, decimals: 1}"""


# Three lines of a file, a quarter of an hour apart.
FIRST, SECOND, THIRD = "2026-11-24 08:00,100.0", "2026-11-24 08:15,101.5", "2026-11-24 08:30,103"
T0 = parse_instant("2026-11-24T08:00:00+08:00")
QUARTER = 900_000
# A meter's export as a whole agent reads it, looked at often.
EXPORT = """
  - source: folder
    name: export
    folder: in
    time_columns: time
    time_format: "%Y-%m-%d %H:%M:%S"
    timezone: Asia/Shanghai
    scan_every_s: 0.05
    settle_s: 0.02
    channels:
      - {name: energy, column: kWh, kind: counter, unit: kWh, decimals: 1}
"""


def folder_source(tmp_path: Path, channels: str = CHANNELS, **keys: object) -> FolderSource:
    """A source of the folder `in` beside agent.yaml; `keys` are more keys of it, or others."""
    (tmp_path / "in").mkdir(parents=True, exist_ok=True)
    settings: dict[str, object] = {
        "folder": "in", "time_columns": "time", "time_format": '"%Y-%m-%d %H:%M"', "timezone": "Asia/Shanghai",
        "settle_s": 0, "last_line_after_s": 1000,
    }  # fmt: skip
    text = "".join(f"\n    {key}: {value}" for key, value in (settings | keys).items())
    source = f"\n  - source: folder\n    name: f{text}\n    channels:{channels}\n"
    return cast("FolderSource", config(tmp_path, source).sources[0])


class Store:
    """An intake and a collector in one: of each channel and instant the highest (revision, value) stays.

    `sent` counts what came, `loses` makes it lose every chunk.
    """

    def __init__(self) -> None:
        self.rows: dict[tuple[int, int], tuple[int, int]] = {}
        self.sent: list[tuple[int, int, int, int]] = []
        self.loses = False

    async def put(
        self, rows: Sequence[Row], backlog_chunks_max: int | None = None, *, revision: int = 0
    ) -> list[asyncio.Future[bool]]:
        stored: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        stored.set_result(not self.loses)
        if not self.loses:
            for index, t_ms, value, _ in rows:
                self.sent.append((index, t_ms, value, revision))
                key = (index, t_ms)
                self.rows[key] = max(self.rows.get(key, (-1, 0)), (revision, value))
        return [stored]

    @property
    def values(self) -> dict[tuple[int, int], int]:
        """(channel, t_ms) → the value that won."""
        return {key: value for key, (_, value) in self.rows.items()}

    def of(self, index: int = 0) -> list[int]:
        """The values of one channel in the order of their instants."""
        return [value for (i, _), value in sorted(self.values.items()) if i == index]


class Folder:
    """A folder, its reader, and what came of it; `restart` is a new process with what the disk holds."""

    def __init__(self, tmp_path: Path, channels: str = CHANNELS, **keys: object) -> None:
        self._tmp_path = tmp_path
        self.path = tmp_path / "in"
        self.store = Store()
        self.source = folder_source(tmp_path, channels, **keys)
        self.reader = self._make()

    def _make(self) -> FolderReader:
        return FolderReader(self.source, 0, self.store, self._tmp_path / "outbox.db.f.files")

    def restart(self, **changes: object) -> None:
        self.source = self.source.model_copy(update=changes)
        self.reader = self._make()

    def write(self, name: str, *lines: str, header: str = "time,kWh", end: str = "\n") -> Path:
        """Write a whole file anew."""
        path = self.path / name
        path.write_text("\n".join([header, *lines]) + end, self.source.encoding)
        return path

    def append(self, name: str, text: str) -> None:
        with (self.path / name).open("a", encoding=self.source.encoding) as file:
            file.write(text)

    async def scan(self) -> SourceCounts:
        await self.reader.scan()
        return self.reader.counts
