"""Idle windows as instants: shifts, days and weeks written in a site's local time, cut at the end of its months."""

from bisect import bisect_right
from dataclasses import dataclass
from datetime import date, datetime, time
from functools import lru_cache
from typing import Literal, NamedTuple
from zoneinfo import ZoneInfo

from plantprint.times import from_ms, to_ms

Driver = Literal["processing_time", "mass", "pieces", "area", "equal"]
Period = Literal["shift", "day", "week"]

_MONDAY = 0


class Window(NamedTuple):
    """From `start_ms` to before `end_ms`; `ends_month` where the site's calendar month ends with it."""

    start_ms: int
    end_ms: int
    ends_month: bool


@dataclass(frozen=True, slots=True)
class Calendar:
    """Windows without end, one after another: from each of `starts` (minutes after midnight) to the next.

    A day has one start, a week starts on Monday at its one start, shifts have one start each. Local times are turned
    into instants one by one, so the day of a clock change has 23 or 25 hours. A month's end also ends a window.
    """

    timezone: str
    period: Period
    starts: tuple[int, ...]

    @property
    def name(self) -> str:
        """The same text for the same windows."""
        starts = ",".join(f"{start // 60:02}:{start % 60:02}" for start in self.starts)
        return f"{self.period} {starts} {self.timezone}"

    def window_at(self, t_ms: int) -> Window:
        """The window that holds an instant."""
        today = from_ms(t_ms).astimezone(ZoneInfo(self.timezone)).date().toordinal()
        reach = 8 if self.period == "week" else 2
        edges = sorted({edge for day in range(today - reach, today + reach + 1) for edge in _edges(self, day)})
        after = bisect_right(edges, (t_ms, True))
        start_ms = edges[after - 1][0]
        end_ms = min(edge for edge, _ in edges[after:] if edge > start_ms)
        return Window(start_ms, end_ms, (end_ms, True) in edges)

    def parts(self, from_ms_: int, to_ms_: int) -> tuple[tuple[int, int, Window], ...]:
        """Consecutive (from, to, window) that cover a span of time."""
        return _parts(self, from_ms_, to_ms_)


@dataclass(frozen=True, slots=True)
class IdleRule:
    """In which windows something waits, and by what it is divided over their jobs."""

    calendar: Calendar
    driver: Driver


@lru_cache(maxsize=256)
def _parts(calendar: Calendar, from_ms_: int, to_ms_: int) -> tuple[tuple[int, int, Window], ...]:
    found: list[tuple[int, int, Window]] = []
    while from_ms_ < to_ms_:
        window = calendar.window_at(from_ms_)
        found.append((from_ms_, min(window.end_ms, to_ms_), window))
        from_ms_ = window.end_ms
    return tuple(found)


@lru_cache(maxsize=1024)
def _edges(calendar: Calendar, ordinal: int) -> tuple[tuple[int, bool], ...]:
    """Instants on a local day at which a window ends and the next begins, and whether a month does."""
    day = date.fromordinal(ordinal)
    zone = ZoneInfo(calendar.timezone)
    is_start = calendar.period != "week" or day.weekday() == _MONDAY
    edges = {_instant(day, start, zone): False for start in calendar.starts} if is_start else {}
    if day.day == 1:
        edges[_instant(day, 0, zone)] = True
    return tuple(sorted(edges.items()))


def _instant(day: date, minutes: int, zone: ZoneInfo) -> int:
    """A time that the clock shows twice is the first of the two; one that it skips is as long after as it lies inside."""
    return to_ms(datetime.combine(day, time(minutes // 60, minutes % 60), zone))
