"""Files of a hostile folder: any bytes give readings or the one error, line by line, whatever the cuts and the settings."""

import contextlib
import hashlib
import tempfile
from itertools import pairwise
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from plantprint.quantities import INT64_MAX
from plantprint_edge.config import FolderSource
from plantprint_edge.sources.csv_values import CellError, LocalTime
from plantprint_edge.sources.folder_files import LineReader
from plantprint_edge.sources.folder_rows import Lines, Table

CELLS = st.one_of(
    st.text(max_size=12),
    st.sampled_from(
        ["", "-", "1", "-1.5", "1e999", "1e-999", "1" * 300, "nan", "1.234,5", "0x1", "٣", "24:00", "2026-11-24 08:00",
         "2026-03-29 02:30", "2026-10-25 02:30", "9999-12-31 24:00", "0001-01-01 00:00", "1795478400", "1e15", "M-01"]
    ),
    st.decimals().map(str),
)  # fmt: skip
SOURCES = st.builds(
    lambda **keys: FolderSource.model_validate({"source": "folder", "name": "f", "folder": "in", **keys}),
    encoding=st.sampled_from(["utf-8", "gb18030", "latin-1", "cp1252"]),
    delimiter=st.sampled_from([",", ";", "\t"]),
    decimal=st.just("."),
    thousands=st.sampled_from(["", " ", "'"]),
    time_columns=st.sampled_from(["a", ("a", "b")]),
    time_format=st.sampled_from(["%Y-%m-%d %H:%M", "iso", "unix_s", "unix_ms", "%d.%m.%y %H:%M:%S"]),
    timezone=st.sampled_from(["Asia/Shanghai", "Europe/Berlin", "Asia/Kathmandu", "Pacific/Apia"]),
    stamp=st.sampled_from(["start", "end"]),
    period_s=st.just(900),
    channels=st.just(
        [
            {"name": n, "column": n, "kind": k, "unit": "kWh", "decimals": 3}
            for n, k in (("b", "counter"), ("c", "amount"))
        ]
    ),
)


@given(SOURCES, st.lists(st.lists(CELLS, min_size=1, max_size=6), max_size=6), st.none() | st.integers(0, 2**41))
def test_any_rows_become_readings_or_the_one_error(
    source: FolderSource, rows: list[list[str]], newest: int | None
) -> None:
    lines, table = Lines(source), Table(source, ["a", "b", "c"], lambda _: newest)
    for row in rows:
        raw = source.delimiter.join(row).encode(source.encoding, "replace")
        with contextlib.suppress(CellError):
            parsed = table.parse(lines.cells(raw))
            assert len(parsed.values) + parsed.missing + len(parsed.errors) in (0, 2)
            for index, t_ms, value in parsed.values:
                assert index in (0, 1)
                assert abs(value) <= INT64_MAX
                assert 0 <= t_ms < 2**48


@given(SOURCES, st.binary(max_size=300))
def test_any_bytes_are_cells_or_the_one_error(source: FolderSource, raw: bytes) -> None:
    with contextlib.suppress(CellError):
        assert all(isinstance(cell, str) for cell in Lines(source).cells(raw))


@given(st.text(max_size=30), st.sampled_from(["iso", "unix_s", "unix_ms", "%Y-%m-%d %H:%M", "%H:%M %d/%m/%Y"]))
def test_any_text_is_a_time_or_the_one_error(text: str, time_format: str) -> None:
    local = LocalTime(time_format, "Europe/Berlin")
    with contextlib.suppress(CellError):
        assert len(local.instants(local.read(text))) <= 2


@settings(max_examples=60)
@given(st.lists(st.binary(max_size=130) | st.just(b"x" * 150), max_size=12), st.booleans(), st.integers(0, 2000))
def test_lines_are_the_same_whether_a_file_is_read_at_once_or_in_two_parts(
    parts: list[bytes], whole: bool, cut: int
) -> None:
    content = b"\n".join(parts) + (b"\n" if whole else b"")
    cut %= len(content) + 1
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "a.csv"
        path.write_bytes(content)
        with path.open("rb", buffering=0) as file:
            reader = LineReader(file, len(content), 100)
            at_once = list(reader)
            *ended, rest = content.split(b"\n")
            assert [line.raw for line in at_once] == [
                None if len(raw) > 100 else raw.removesuffix(b"\r") for raw in ended
            ]
            assert reader.digest == hashlib.blake2b(content[: reader.offset], digest_size=16).digest()
            assert reader.rest == (None if len(rest) > 100 else rest)
            file.seek(0)
            first = LineReader(file, cut, 100)
            found = list(first)
            file.seek(0)
            second = LineReader(file, len(content), 100)
            assert second.skip(first.offset, first.lines, first.digest)
            if first.rest is not None:
                found += list(second)
                assert found == at_once
                assert (second.digest, second.lines) == (reader.digest, reader.lines)
            for old, new in pairwise(found):
                assert new.number == old.number + 1
