"""Files of a folder as bytes: which there are, whether what was read of one is unchanged, and its lines from there on.

Nothing here writes. Links are not followed, so that no name leads out of the folder.
"""

import hashlib
import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import BinaryIO, NamedTuple

BLOCK_BYTES = 1 << 20
# What programs write while they are not done: dot files of rsync and editors, lock files of spreadsheets.
DRAFTS = (".", "~$")


@dataclass(frozen=True, slots=True)
class Entry:
    """A file as the folder shows it."""

    name: str
    size: int
    mtime_ns: int
    inode: int

    @property
    def key(self) -> tuple[int, int, int]:
        return (self.size, self.mtime_ns, self.inode)


def look(folder: Path, pattern: str, files_max: int) -> tuple[list[Entry], dict[str, str]]:
    """The files that fit `pattern`, oldest first, and by name why others that fit are refused; raises `OSError`."""
    found: list[Entry] = []
    refused: dict[str, str] = {}
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.name.startswith(DRAFTS) or not fnmatchcase(entry.name, pattern):
                continue
            info = entry.stat(follow_symlinks=False)
            if stat.S_ISREG(info.st_mode):
                found.append(Entry(entry.name, info.st_size, info.st_mtime_ns, info.st_ino))
            elif not stat.S_ISDIR(info.st_mode):
                refused[entry.name] = "symlink" if stat.S_ISLNK(info.st_mode) else "no plain file"
    found.sort(key=lambda entry: (entry.mtime_ns, entry.name))
    # The newest stay: old ones have been read, or somebody has tipped an archive into the folder.
    refused.update((entry.name, "too many files") for entry in found[:-files_max])
    return found[-files_max:], refused


def opened(path: Path) -> tuple[BinaryIO, Entry]:
    """A plain file for reading, and what it is now; raises `OSError`."""
    handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    file = os.fdopen(handle, "rb", buffering=0)
    info = os.fstat(handle)
    if not stat.S_ISREG(info.st_mode):
        file.close()
        raise OSError(f"{path} is no plain file")
    return file, Entry(path.name, info.st_size, info.st_mtime_ns, info.st_ino)


class Line(NamedTuple):
    """A line without its end; `raw` is None where it was longer than allowed."""

    number: int
    raw: bytes | None


class LineReader:
    """The lines of a file up to `end`, beginning at its start or behind what is known.

    `offset`, `lines` and `digest` tell how far whole lines have been handed out; `rest` is what stands after the last
    line end, None before the end was reached or where it is longer than a line may be.
    """

    def __init__(self, file: BinaryIO, end: int, line_bytes_max: int) -> None:
        self._file = file
        self._end = end
        self._line_bytes_max = line_bytes_max
        self._hash = hashlib.blake2b(digest_size=16)
        self.offset = 0
        self.lines = 0
        self.rest: bytes | None = None

    @property
    def digest(self) -> bytes:
        return self._hash.digest()

    def skip(self, offset: int, lines: int, digest: bytes) -> bool:
        """Go behind the first `offset` bytes where they are the known ones; otherwise stay at the start."""
        if offset > self._end:
            return False
        known = hashlib.blake2b(digest_size=16)
        left = offset
        while left and (block := self._file.read(min(left, BLOCK_BYTES))):
            known.update(block)
            left -= len(block)
        if left or known.digest() != digest:
            self._file.seek(0)
            return False
        self._hash, self.offset, self.lines = known, offset, lines
        return True

    def __iter__(self) -> Iterator[Line]:
        held, oversize = b"", False
        left = self._end - self.offset
        while left and (block := self._file.read(min(left, BLOCK_BYTES))):
            left -= len(block)
            *whole, held = (held + block).split(b"\n")
            for raw in whole:
                self._hash.update(raw + b"\n")
                self.offset += len(raw) + 1
                self.lines += 1
                is_long = oversize or len(raw) > self._line_bytes_max
                oversize = False
                yield Line(self.lines, None if is_long else raw.removesuffix(b"\r"))
            if len(held) > self._line_bytes_max:
                # Handed out when its end comes; until then only its length and digest matter.
                self._hash.update(held)
                self.offset += len(held)
                held, oversize = b"", True
        self.rest = None if oversize else held
