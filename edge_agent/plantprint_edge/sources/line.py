"""A connection or serial port that several devices share: they take turns, and the dead hold up the living little."""

import asyncio
import time
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Callable, Hashable
from contextlib import asynccontextmanager
from typing import TypeVar

# Of a shared line's time, all devices together that have been silent twice or more take at most this share with asking
# again.
RETRY_SHARE = 0.2
# A line that still talks after so many looks is never silent.
DRAIN_TURNS_MAX = 100

Key = TypeVar("Key", bound=Hashable)
LineT = TypeVar("LineT", bound="SharedLine")


class DeviceError(Exception):
    """The round cannot go on; `reason` is counted."""

    def __init__(self, reason: str, detail: str) -> None:
        self.reason = reason
        super().__init__(detail)


class RefusedError(Exception):
    """The device does not have what was asked for; asking again is of no use. `reason` is counted."""

    def __init__(self, reason: str) -> None:
        self.reason = reason
        super().__init__(reason)


class Owed:
    """Requests that were not answered: a device that answers in order still owes their replies, for a while."""

    def __init__(self) -> None:
        self._since: dict[object, dict[int, float]] = {}

    def note(self, device: object, request: int) -> None:
        self._since.setdefault(device, {})[request] = time.monotonic()

    def settle(self, device: object) -> None:
        """It answered something later: nothing older is on its way any more."""
        self._since.pop(device, None)

    def of(self, device: object, late_s_max: float) -> dict[int, float]:
        """What a device owes, and since when; no reply comes later than `late_s_max` after its request."""
        oldest_s = time.monotonic() - late_s_max
        owed = {request: at_s for request, at_s in self._since.pop(device, {}).items() if at_s > oldest_s}
        if owed:
            self._since[device] = owed
        return owed


class SharedLine(ABC):
    """One line; `users` is how many devices are on it, `turn` is held by the one whose request is under way.

    `timeout_s` is the patience of the most patient of them, `gap_s` the silence between two frames, and `numbered` whether
    a reply says which request it answers. `heard` is set by what arrives unasked.
    """

    def __init__(self, timeout_s: float, *, numbered: bool = False, gap_s: float = 0.0) -> None:
        self.users = 1
        self.timeout_s = timeout_s
        self.numbered = numbered
        self.gap_s = gap_s
        self.turn = asyncio.Lock()
        self.owed = Owed()
        self.heard = False
        self._retries = asyncio.Lock()
        self._retry_at_s = 0.0
        self._free_at_s = 0.0

    @abstractmethod
    def close(self) -> None:
        """Close the connection; the next request opens it again."""

    @asynccontextmanager
    async def spaced(self) -> AsyncIterator[None]:
        """Around one request and its answer, by whoever has the turn."""
        await sleep_until(self._free_at_s)
        try:
            yield
        finally:
            self._free_at_s = time.monotonic() + self.gap_s

    async def drain(self, name: str) -> None:
        """Let in what has arrived and is thrown away while nobody asks; raises `DeviceError` where it never ends."""
        for _ in range(DRAIN_TURNS_MAX):
            self.heard = False
            # The first turn of the loop sees what has arrived, the second comes after it has been taken.
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            if not self.heard:
                return
        self.close()
        raise DeviceError("babble", f"{name} sends without being asked, and does not stop")

    @asynccontextmanager
    async def retrying(self) -> AsyncIterator[None]:
        """Around the attempt of a device that has been silent for long: these attempts wait for each other."""
        if self.users == 1:
            yield
            return
        async with self._retries:
            await sleep_until(self._retry_at_s)
            started_s = time.monotonic()
            try:
                yield
            finally:
                now_s = time.monotonic()
                self._retry_at_s = now_s + (now_s - started_s) * (1 / RETRY_SHARE - 1)

    def release(self) -> None:
        """One device needs the line no longer; the last one closes it."""
        self.users -= 1
        if not self.users:
            self.close()


def shared(lines: dict[Key, LineT], key: Key, make: Callable[[], LineT], timeout_s: float) -> LineT:
    """The line of `key` with one user more; made anew where the last one has left it, for it may have other settings."""
    line = lines.get(key)
    if line is None or not line.users:
        line = lines[key] = make()
    else:
        line.users += 1
        line.timeout_s = max(line.timeout_s, timeout_s)
    return line


async def sleep_until(instant_s: float) -> None:
    """Wait for an instant of the monotonic clock; at once where it has passed, and never less."""
    while (wait_s := instant_s - time.monotonic()) > 0:  # noqa: ASYNC110 - timers may go off a little early
        await asyncio.sleep(wait_s)
