"""Log files of child processes that write to them directly and must not fill the disk."""

import os
import shutil
from pathlib import Path

_TAIL_BYTES = 16_384


class SizeLimitedLog:
    """A log file with one predecessor; both together stay near twice the limit.

    The writer is another process that holds the file open for appending, so a full file is copied to its predecessor
    and emptied in place. Lines written between the two steps are lost; a rename would never reach the writer.
    """

    def __init__(self, path: Path, bytes_max: int) -> None:
        self.path = path
        self._bytes_max = bytes_max

    @property
    def predecessor(self) -> Path:
        """The older half of the log."""
        return self.path.with_name(self.path.name + ".1")

    def open_for_child(self) -> int:
        """File descriptor to hand to a child as its standard output and error."""
        self.rotate_if_large()
        return os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)

    def rotate_if_large(self) -> bool:
        """Move a file that has reached the limit to its predecessor; True when it did."""
        try:
            if self.path.stat().st_size < self._bytes_max:
                return False
        except FileNotFoundError:
            return False
        try:
            shutil.copyfile(self.path, self.predecessor)
        except OSError:
            # A full disk must not keep the log growing.
            self.predecessor.unlink(missing_ok=True)
        os.truncate(self.path, 0)
        return True

    def size(self) -> int:
        """Bytes in the file now: a position for `tail`."""
        try:
            return self.path.stat().st_size
        except FileNotFoundError:
            return 0

    def tail(self, lines: int, since: int = 0) -> str:
        """The last lines, written after position `since`, as text."""
        try:
            with self.path.open("rb") as file:
                end = file.seek(0, os.SEEK_END)
                start = since if since <= end else 0
                file.seek(max(start, end - _TAIL_BYTES))
                text = file.read().decode("utf-8", errors="replace")
        except FileNotFoundError:
            return ""
        return "\n".join(text.splitlines()[-lines:])
