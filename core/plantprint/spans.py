"""Things that last from an instant to another, in order, found by time without looking at all of them; never changed."""

from bisect import bisect_left, bisect_right, insort
from collections.abc import Collection, Iterable, Iterator, Sequence
from itertools import accumulate
from typing import Any, Generic, Protocol, TypeVar

FOREVER = 2**62
# A change of more than one in so many makes everything anew.
_DENSE = 8


class Lasting(Protocol):
    """`end_ms` is None while it lasts."""

    @property
    def start_ms(self) -> int: ...
    @property
    def end_ms(self) -> int | None: ...
    def __lt__(self, other: Any, /) -> bool: ...


S = TypeVar("S", bound=Lasting)


def end_of(span: Lasting) -> int:
    return FOREVER if span.end_ms is None else max(span.end_ms, span.start_ms)


class Spans(Generic[S]):
    """Spans by start, those that have ended apart from those that last: one that nobody ended hides none of the others."""

    __slots__ = ("_ended", "_ended_by", "_lasting", "_starts")

    def __init__(self, spans: Iterable[S] = ()) -> None:
        every = sorted(spans, key=_order)
        self._lasting = [span for span in every if span.end_ms is None]
        self._ended = [span for span in every if span.end_ms is not None] if self._lasting else every
        self._starts = [span.start_ms for span in self._ended]
        self._ended_by = list(accumulate(map(end_of, self._ended), max))

    def __iter__(self) -> Iterator[S]:
        return iter(sorted([*self._ended, *self._lasting], key=_order) if self._lasting else self._ended)

    def __len__(self) -> int:
        return len(self._ended) + len(self._lasting)

    def within(self, from_ms: int, to_ms: int) -> list[S]:
        """Those that started before `to_ms` and ended after `from_ms`."""
        first, behind = bisect_right(self._ended_by, from_ms), bisect_left(self._starts, to_ms)
        found = [span for span in self._ended[first:behind] if end_of(span) > from_ms]
        lasting = [span for span in self._lasting if span.start_ms < to_ms]
        return sorted([*found, *lasting], key=_order) if lasting else found

    def starts_after(self, at_ms: int) -> int | None:
        """The first start after an instant."""
        place = bisect_right(self._starts, at_ms)
        starts = [*self._starts[place : place + 1], *(s.start_ms for s in self._lasting if s.start_ms > at_ms)]
        return min(starts, default=None)

    @property
    def lasting(self) -> Sequence[S]:
        """Those that have not ended."""
        return self._lasting

    def starting_after(self, at_ms: int) -> list[S]:
        """Those that start after an instant, ended ones first."""
        ended = self._ended[bisect_right(self._starts, at_ms) :]
        return [*ended, *(span for span in self._lasting if span.start_ms > at_ms)]

    def changed(self, gone: Collection[S], came: Collection[S]) -> "Spans[S]":
        """Without `gone`, which are here, and with `came`."""
        if _DENSE * (len(gone) + len(came)) >= len(self):
            left = set(gone)
            return Spans([*(span for span in self if span not in left), *came])
        other = Spans[S]()
        other._lasting, other._ended = list(self._lasting), list(self._ended)
        other._starts, other._ended_by = list(self._starts), list(self._ended_by)
        for span in gone:
            other._remove(span)
        for span in came:
            other._insert(span)
        return other

    def _remove(self, span: S) -> None:
        if span.end_ms is None:
            self._lasting.remove(span)
            return
        place = self._place(span)
        for column in (self._ended, self._starts, self._ended_by):
            del column[place]
        self._tell_ends(place)

    def _insert(self, span: S) -> None:
        if span.end_ms is None:
            insort(self._lasting, span, key=_order)
            return
        place = self._place(span)
        self._ended.insert(place, span)
        self._starts.insert(place, span.start_ms)
        self._ended_by.insert(place, -FOREVER)
        self._tell_ends(place)

    def _place(self, span: S) -> int:
        place = bisect_left(self._starts, span.start_ms)
        while place < len(self._ended) and self._starts[place] == span.start_ms and self._ended[place] < span:
            place += 1
        return place

    def _tell_ends(self, place: int) -> None:
        """Brings what has ended by each span up to date from a place on, as far as it changes."""
        last_ms = self._ended_by[place - 1] if place else -FOREVER
        for number in range(place, len(self._ended)):
            last_ms = max(last_ms, end_of(self._ended[number]))
            if self._ended_by[number] == last_ms:
                return
            self._ended_by[number] = last_ms


def _order(span: S) -> tuple[int, S]:
    return span.start_ms, span
