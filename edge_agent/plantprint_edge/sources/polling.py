"""Asking a device at instants of site time: when, how rarely while it fails, and what a clock that steps back means."""

import asyncio
import time
from abc import ABC, abstractmethod
from collections.abc import Sequence

import structlog

from plantprint_edge.clock import Backoff, Clock
from plantprint_edge.config.polled import PolledSource
from plantprint_edge.sources import SourceCounts
from plantprint_edge.sources.line import DeviceError, SharedLine, sleep_until

log = structlog.get_logger(__name__)

# One silence may be chance; a device with this many in a row waits in line with the other dead ones of a shared line.
PATIENCE = 2


class Poller(ABC):
    """Polls one device at multiples of its interval in site time, each `phase_s` later; trouble never ends it.

    `remedy` is what the log says to do about a device that fails.
    """

    remedy = "check power and network; it is asked again, ever more rarely"

    def __init__(self, source: PolledSource, counts: SourceCounts, clock: Clock, line: SharedLine) -> None:
        self.counts = counts
        self.phase_s = 0.0
        self._polled = source
        self._clock = clock
        self._shared = line
        self._backoff = Backoff(source.interval_s, source.backoff_s_max)
        self._failing = ""
        self._failures = 0
        self._asked_s = 0.0
        self._last_ms: dict[int, int] = {}

    @abstractmethod
    async def poll(self) -> None:
        """Read everything once; raises `DeviceError`."""

    def forget(self) -> None:  # noqa: B027 - many devices have nothing to forget
        """Another device may answer next time, or the same one with other settings."""

    async def run(self) -> None:
        """Poll until cancelled."""
        try:
            while True:
                await sleep_until(time.monotonic() + self._until_next_s())
                try:
                    if self._failures < PATIENCE:
                        await self.poll()
                    else:
                        async with self._shared.retrying():
                            await self.poll()
                except DeviceError as error:
                    self._failed(error)
                    # A reply on its way for longer than this is lost; where it carries no number it must not meet us.
                    least_s = 0 if self._shared.numbered else self._polled.timeout_s
                    await asyncio.sleep(max(self._backoff.next_s(), least_s))
                else:
                    self._well()
        finally:
            self._shared.release()

    async def rest(self, pause_s: float) -> float:
        """Wait until the device has rested since its last answer; the instant of asking on the monotonic clock."""
        await sleep_until(self._asked_s + pause_s)
        return time.monotonic()

    def asked(self, started_s: float) -> None:
        """Note the end of a request that began at `started_s`, whether it was answered or not."""
        self._asked_s = time.monotonic()
        self.counts.answered(self._asked_s - started_s)

    def instant(self, indexes: Sequence[int]) -> int | None:
        """Now, as the time of readings of these channels; None while the clock is not past their last one.

        After a large step the clock was wrong before, not now.
        """
        t_ms = self._clock.now_ms()
        last_ms = self._last_ms.get(indexes[0])
        if last_ms is not None and t_ms <= last_ms:
            self.counts.errors["clock back"] += 1
            if last_ms - t_ms < self._polled.clock_hold_s * 1000:
                return None
            remedy = "check the time synchronisation of this machine; the readings before carry wrong times"
            step_s = (last_ms - t_ms) // 1000
            log.warning("clock_stepped_back", source=self._polled.name, step_s=step_s, remedy=remedy)
        self._last_ms.update(dict.fromkeys(indexes, t_ms))
        return t_ms

    def _until_next_s(self) -> float:
        """Real seconds to the next poll; a faster site clock reaches it sooner by its speed."""
        speed = self._clock.site.speed
        period_ms = max(1, int(self._polled.interval_s * 1000 * speed))
        since_ms = self._clock.now_ms() - int(self.phase_s * 1000 * speed)
        return (period_ms - since_ms % period_ms) / 1000 / speed

    def _failed(self, error: DeviceError) -> None:
        self.counts.errors[error.reason] += 1
        self.counts.judged(failed=True)
        self._failures += 1
        self.forget()
        if self._failing != error.reason:
            self._failing = error.reason
            log.warning(
                "device_failing", source=self._polled.name, reason=error.reason, detail=str(error), remedy=self.remedy
            )

    def _well(self) -> None:
        self.counts.judged(failed=False)
        self._backoff.reset()
        self._failures = 0
        if self._failing:
            self._failing = ""
            log.info("device_back", source=self._polled.name)
