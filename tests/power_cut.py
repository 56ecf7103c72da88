"""A disk that forgets: a layer under SQLite that knows what was synced, and what a power cut would leave of the rest.

What was written after a file's last sync may be there, not be there, or be there in part, each sector by itself and in
any order. It takes no root and no file system of its own, and shares no code with the outbox.
"""

import random
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import apsw
from typing_extensions import override

REAL = "unix"
SECTOR = 512
DIRTY_WRITES_MAX = 10_000


@dataclass
class File:
    """`durable` is what the disk surely holds; `pending` are later writes, a truncation is (size, None)."""

    durable: bytearray = field(default_factory=bytearray)
    pending: list[tuple[int, bytes | None]] = field(default_factory=list)

    def sync(self) -> None:
        for offset, data in self.pending:
            _apply(self.durable, offset, data)
        self.pending.clear()

    def after_cut(self, chance: random.Random) -> bytes:
        """The content that a cut now leaves, with luck from `chance`."""
        left = bytearray(self.durable)
        keep = chance.choice([0.0, 0.3, 0.7, 1.0])
        for offset, data in self.pending:
            if data is None:
                if chance.random() < keep:
                    _apply(left, offset, None)
                continue
            for start in range(0, len(data), SECTOR):
                if chance.random() < keep:
                    _apply(left, offset + start, data[start : start + SECTOR])
        return bytes(left)


def _apply(content: bytearray, offset: int, data: bytes | None) -> None:
    if data is None:
        del content[offset:]
        return
    if len(content) < offset:
        content.extend(bytes(offset - len(content)))
    content[offset : offset + len(data)] = data


class ForgetfulDisk(apsw.VFS):
    """SQLite's default way to files, watched; `look` is called before every write, truncation and sync."""

    def __init__(self, look: Callable[[], None]) -> None:
        self.files: dict[str, File] = {}
        self.look = look
        super().__init__("forgetful", REAL, makedefault=True)

    @override
    def xOpen(self, name: Any, flags: list[int]) -> Any:
        path = name.filename() if isinstance(name, apsw.URIFilename) else name
        if path is None:
            return apsw.VFSFile(REAL, name, flags)
        return _Watched(self, path, name, flags)

    @override
    def xDelete(self, filename: str, syncdir: bool) -> None:
        self.look()
        super().xDelete(filename, syncdir)
        self.files.pop(filename, None)

    def image(self, chance: random.Random) -> dict[str, bytes]:
        return {path: file.after_cut(chance) for path, file in self.files.items()}


class _Watched(apsw.VFSFile):
    def __init__(self, disk: ForgetfulDisk, path: str, name: Any, flags: list[int]) -> None:
        self._disk = disk
        self._file = disk.files.setdefault(path, File())
        super().__init__(REAL, name, flags)

    @override
    def xWrite(self, data: bytes, offset: int) -> None:
        self._disk.look()
        assert len(self._file.pending) < DIRTY_WRITES_MAX, "the file is never synced"
        self._file.pending.append((offset, bytes(data)))
        super().xWrite(data, offset)

    @override
    def xTruncate(self, newsize: int) -> None:
        self._disk.look()
        self._file.pending.append((newsize, None))
        super().xTruncate(newsize)

    @override
    def xSync(self, flags: int) -> None:
        self._disk.look()
        super().xSync(flags)
        self._file.sync()
