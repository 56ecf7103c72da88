"""Oracle: instants of a document, and idle windows: local times of the site turned into instants one by one."""

from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from functools import cache
from zoneinfo import ZoneInfo

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def instant(text: str) -> int:
    """Milliseconds since 1970 UTC."""
    return (datetime.fromisoformat(text) - EPOCH) // timedelta(milliseconds=1)


@dataclass(frozen=True)
class Window:
    start_ms: int
    end_ms: int
    ends_month: bool


@dataclass(frozen=True)
class Calendar:
    """`period` shift, day or week; `starts` are local times such as 06:00. A week starts on Monday."""

    zone: str
    period: str
    starts: tuple[str, ...]

    def window_at(self, t_ms: int) -> Window:
        """Between the last edge that is not after an instant and the first that is."""
        today = (EPOCH + timedelta(milliseconds=t_ms)).date()
        near = [edge for days in range(-9, 10) for edge in _edges(self, today + timedelta(days=days))]
        end_ms = min(edge for edge, _ in near if edge > t_ms)
        start_ms = max(edge for edge, _ in near if edge <= t_ms)
        return Window(start_ms, end_ms, (end_ms, True) in near)

    def parts(self, from_ms: int, to_ms: int) -> list[tuple[int, int, Window]]:
        """A span of time cut where windows end: (from, to, window)."""
        found = []
        while from_ms < to_ms:
            window = self.window_at(from_ms)
            found.append((from_ms, min(to_ms, window.end_ms), window))
            from_ms = window.end_ms
        return found


@cache
def _edges(calendar: Calendar, day: date) -> list[tuple[int, bool]]:
    """Instants of a local day at which a window ends; whether it is the end of a month."""
    edges = []
    if calendar.period != "week" or day.isoweekday() == 1:
        edges += [(_local(day, time.fromisoformat(start), calendar.zone), False) for start in calendar.starts]
    if day.day == 1:
        edges.append((_local(day, time(0), calendar.zone), True))
    return edges


def _local(day: date, at: time, zone: str) -> int:
    """A repeated time is the first of the two; a skipped one is as long after the gap as it lies inside."""
    return (datetime.combine(day, at, ZoneInfo(zone)).astimezone(UTC) - EPOCH) // timedelta(milliseconds=1)
