"""The site's clock as this process reads it, and full-jitter back-off; the only places that ask for time and chance."""

import random
import time
from collections.abc import Mapping

import msgspec

from plantprint.times import SiteClock

CLOCK_VARIABLE = "PLANTPRINT_CLOCK"


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


class Clock:
    """Now, for one process: a site clock fed with the machine's time and with the newest reading seen."""

    def __init__(self, site: SiteClock) -> None:
        self.site = site
        self._newest_ms: int | None = None

    def now_ms(self) -> int:
        """The site's present in milliseconds since 1970 UTC."""
        return self.site.now_ms(wall_ms(), self._newest_ms)

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
