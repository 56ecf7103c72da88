"""The site's clock as this process reads it, and full-jitter back-off; the only places that ask for time and chance."""

import random
import time
from collections.abc import Mapping

import msgspec
import structlog

from plantprint.times import SiteClock, format_instant

log = structlog.get_logger(__name__)

CLOCK_VARIABLE = "PLANTPRINT_CLOCK"
# 2024: no agent was written earlier.
BELIEVABLE_FROM_MS = 1_704_067_200_000
# Synchronisation slews below this and steps above it.
STEP_MS_MIN = 1_000


def site_clock(environ: Mapping[str, str]) -> SiteClock:
    """The site clock in PLANTPRINT_CLOCK (JSON), wall time where it is absent; raises `ValueError`."""
    text = environ.get(CLOCK_VARIABLE)
    if not text:
        return SiteClock()
    try:
        return msgspec.json.decode(text, type=SiteClock)
    except msgspec.MsgspecError as error:
        raise ValueError(f'{CLOCK_VARIABLE} must be JSON such as {{"kind": "wall"}}: {error}') from error


def wall_ms() -> int:
    """Milliseconds since 1970 UTC of the machine."""
    return time.time_ns() // 1_000_000


def steady_ms() -> int:
    """Milliseconds since this machine was started; nobody can set them."""
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME) // 1_000_000


def _both_ms() -> tuple[int, int]:
    """`wall_ms` and `steady_ms` of one moment, even where this process was stopped between the two."""
    while True:
        before_ms, said_ms, after_ms = steady_ms(), wall_ms(), steady_ms()
        if after_ms - before_ms < STEP_MS_MIN // 10:
            return said_ms, before_ms


class Clock:
    """Now, for one process: a site clock fed with the machine's time and with the newest reading seen.

    The machine's time is kept beside the steady clock. Where it says less than a year in which this program existed (no
    battery, 1970), the steady clock goes on from where it was; before the first believable time there is only that, and
    readings wait to be dated. A step of the machine's time is believed, counted and told.
    """

    def __init__(self, site: SiteClock) -> None:
        self.site = site
        self.steps = 0
        self.last_step_s: float | None = None
        self._newest_ms: int | None = None
        self._offset_ms: int | None = None
        self._disbelieved = False

    def now_ms(self) -> int:
        """The site's present in milliseconds since 1970 UTC; since the machine's start while its time is not known."""
        return self.site.now_ms(self._wall_ms(), self._newest_ms)

    @property
    def offset_ms(self) -> int | None:
        """What dates an instant of the steady clock; None while the time is not known."""
        self._wall_ms()
        return self._offset_ms

    @property
    def dates(self) -> bool:
        """Whether instants are times of day; a site that is not at wall time has its own."""
        return self._offset_ms is not None or self.site.kind != "wall" or self.offset_ms is not None

    def _wall_ms(self) -> int:
        said_ms, since_start_ms = _both_ms()
        believed = said_ms >= BELIEVABLE_FROM_MS
        if self._disbelieved == believed:
            self._disbelieved = not believed
            if not believed:
                remedy = "set this machine's clock or let it synchronise; readings keep their distances meanwhile"
                log.error("clock_unbelievable", says=format_instant(said_ms), remedy=remedy)
        if not believed:
            return since_start_ms + (self._offset_ms or 0)
        if self._offset_ms is not None:
            self._judge_step(said_ms - since_start_ms - self._offset_ms)
        self._offset_ms = said_ms - since_start_ms
        return said_ms

    def _judge_step(self, step_ms: int) -> None:
        if abs(step_ms) >= STEP_MS_MIN:
            self.steps += 1
            self.last_step_s = step_ms / 1000
            remedy = "check the time synchronisation of this machine; readings before the step carry the time before it"
            log.warning("clock_stepped", step_s=self.last_step_s, remedy=remedy)

    def saw(self, t_ms: int) -> None:
        """Tell the clock of a reading's instant; a site that lives by its data is as late as its newest reading."""
        if self._newest_ms is None or t_ms > self._newest_ms:
            self._newest_ms = t_ms


class Backoff:
    """Waiting times that double up to a cap, each drawn evenly from zero to that (full jitter)."""

    def __init__(self, s_min: float, s_max: float) -> None:
        self._s_min = s_min
        self._s_max = s_max
        self._ceiling_s = s_min

    def reset(self) -> None:
        self._ceiling_s = self._s_min

    def next_s(self) -> float:
        """How long to wait now, in seconds."""
        wait_s = random.uniform(0, self._ceiling_s)  # noqa: S311 - spreads load, guards nothing
        self._ceiling_s = min(self._ceiling_s * 2, self._s_max)
        return wait_s
