"""Instants as integer milliseconds since 1970 UTC, hours and buckets, and the clock of a site as a value."""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal

HOUR_MS = 3_600_000
MINUTE_MS = 60_000


def hour_floor(t_ms: int) -> int:
    """Start of the UTC hour that holds `t_ms`."""
    return t_ms - t_ms % HOUR_MS


def to_ms(instant: datetime) -> int:
    """An aware datetime as milliseconds, rounded down; a naive one raises `ValueError`."""
    if instant.tzinfo is None:
        raise ValueError(f"{instant.isoformat()} has no time zone")
    delta = instant - datetime(1970, 1, 1, tzinfo=UTC)
    return (delta.days * 86_400 + delta.seconds) * 1000 + delta.microseconds // 1000


def from_ms(t_ms: int) -> datetime:
    return datetime.fromtimestamp(t_ms // 1000, UTC).replace(microsecond=t_ms % 1000 * 1000)


def parse_instant(text: str) -> int:
    """RFC 3339 text with an offset → milliseconds; raises `ValueError` naming the text."""
    try:
        return to_ms(datetime.fromisoformat(text))
    except ValueError as error:
        raise ValueError(f"{text!r} is not an RFC 3339 time with an offset, such as 2026-11-24T08:00:00Z") from error


def format_instant(t_ms: int) -> str:
    """RFC 3339 UTC with `Z`, milliseconds only when there are any."""
    text = from_ms(t_ms).isoformat(timespec="milliseconds" if t_ms % 1000 else "seconds")
    return text.replace("+00:00", "Z")


@dataclass(frozen=True, slots=True)
class SiteClock:
    """The time of a site: wall time, a faster run's time, or (`data`) the newest time stamp that its readings carry.

    `now_ms` = site_origin_ms + (wall_ms - wall_origin_ms) x speed for `run`; for `data` the caller passes the newest
    reading's instant, so recorded years age by their own stamps and not by ours.
    """

    kind: Literal["wall", "run", "data"] = "wall"
    wall_origin_ms: int = 0
    site_origin_ms: int = 0
    speed: int = 1

    def now_ms(self, wall_ms: int, newest_ms: int | None = None) -> int:
        if self.kind == "wall":
            return wall_ms
        if self.kind == "data":
            return self.site_origin_ms if newest_ms is None else max(newest_ms, self.site_origin_ms)
        return self.site_origin_ms + (wall_ms - self.wall_origin_ms) * self.speed
