"""Meters whose channel or ratio changes: which binding holds when, and the buckets before and after each change."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from plantprint.facts import Issue
from plantprint.intervals.grid import assemble, span_grid, unknown_besides
from plantprint.intervals.series import CounterState, MeterHour, MeterSeries
from plantprint.plant.model import Binding, Meter
from plantprint.times import HOUR_MS, to_ms

Part = tuple[MeterHour, CounterState | None, list[Issue]]
Spanned = Callable[[MeterSeries, int, int, CounterState | None], Part]


class Feed(NamedTuple):
    """A binding as far as it matters to an hour: it holds from `from_ms` until `to_ms` (None: since before, beyond)."""

    binding: Binding
    from_ms: int | None
    to_ms: int | None


def binding_from_ms(binding: Binding) -> int:
    """Since when a binding holds; always is long ago."""
    return -(2**62) if binding.valid_from is None else to_ms(binding.valid_from)


def binding_edges_ms(binding: Binding) -> list[int]:
    """The instants at which a binding begins and ends."""
    return [to_ms(edge) for edge in (binding.valid_from, binding.valid_to) if edge is not None]


def feeds_between(meter: Meter, start_ms: int, end_ms: int) -> list[Feed]:
    """The bindings that hold at some time in [start, end), in order."""
    found: list[tuple[int, Feed]] = []
    for binding in meter.bindings:
        from_ms = start_ms if binding.valid_from is None else max(start_ms, to_ms(binding.valid_from))
        until_ms = end_ms if binding.valid_to is None else min(end_ms, to_ms(binding.valid_to))
        if from_ms < until_ms:
            ends = (from_ms if from_ms > start_ms else None, until_ms if until_ms < end_ms else None)
            found.append((from_ms, Feed(binding, *ends)))
    return [feed for _, feed in sorted(found, key=lambda item: item[0])]


def hour_feeds(meter: Meter, later: Meter | None, hour_ms: int) -> list[Feed]:
    """What feeds a meter in an hour, and the channels that come in the next hour: `later` is the meter as it is then.

    A channel that comes is followed an hour before it counts, so that its first stretch begins at its first instant.
    """
    end_ms = hour_ms + HOUR_MS
    feeds = feeds_between(meter, hour_ms, end_ms)
    followed = {feed.binding.channel for feed in feeds[-1:] if feed.to_ms is None}
    for feed in [] if later is None else feeds_between(later, end_ms, end_ms + HOUR_MS):
        if feed.binding.channel not in followed:
            followed.add(feed.binding.channel)
            feeds.append(feed._replace(from_ms=feed.from_ms or end_ms))
    return feeds


def span_of_feeds(
    series: MeterSeries,
    start_ms: int,
    end_ms: int,
    bucket_s: int,
    state: CounterState | None,
    until_ms: int,
    span: Spanned,
) -> Part:
    """A meter's buckets from one feed after the other, by `span`; `state` holds that of the channel that comes, too.

    A feed begins with its channel's own state, followed up to its first instant: what the channel counted before is not
    the meter's. Time that no feed covers is unknown.
    """
    known = _Known(state, start_ms)
    hours: list[MeterHour] = []
    issues: list[Issue] = []
    after: CounterState | None = None
    coming: list[CounterState] = []
    at_ms = start_ms
    for feed in (series, *series.following):
        low_ms = max(feed.from_ms or start_ms, start_ms)
        high_ms = min(feed.to_ms or end_ms, end_ms)
        base = known.base(feed, min(low_ms, end_ms), span)
        if low_ms >= end_ms:
            coming += [] if base is None else [base]
            continue
        hours += _unfed(at_ms, low_ms, bucket_s, until_ms)
        hour, after, found = span(feed, low_ms, high_ms, base or known.newest)
        known.learn(after, high_ms)
        hours.append(hour)
        issues += found
        at_ms = high_ms
    hours += _unfed(at_ms, end_ms, bucket_s, until_ms)
    if after is not None and all(state.channel != after.channel for state in coming):
        coming.insert(0, after)  # A channel that pauses and comes back goes on from where it was followed to.
    return _joined(hours), _chained(coming), issues


class _Known:
    """States of channels and the instant up to which each has been followed, the newest first."""

    def __init__(self, state: CounterState | None, at_ms: int) -> None:
        self._states: list[tuple[CounterState, int]] = []
        self._start_ms = at_ms
        while state is not None:
            self._states.append((replace(state, coming=None), at_ms))
            state = state.coming

    @property
    def newest(self) -> CounterState | None:
        """That of another channel, where the one asked for is not known: a span that begins with it says so."""
        return self._states[0][0] if self._states else None

    def learn(self, state: CounterState | None, at_ms: int) -> None:
        if state is not None:
            self._states.insert(0, (state, at_ms))

    def base(self, feed: MeterSeries, at_ms: int, span: Spanned) -> CounterState | None:
        """The state of a feed's channel at an instant, followed from where it was last known."""
        found = ((s, known_ms) for s, known_ms in self._states if s.channel == feed.channel_mark)
        state, from_ms = next(found, (None, self._start_ms))
        return span(feed, from_ms, at_ms, state)[1] if at_ms > from_ms else state


def _chained(states: Sequence[CounterState]) -> CounterState | None:
    """The first, with those that come after it."""
    head: CounterState | None = None
    for state in reversed(states):
        head = replace(state, coming=head)
    return head


def _unfed(start_ms: int, end_ms: int, bucket_s: int, until_ms: int) -> Iterator[MeterHour]:
    if end_ms > start_ms:
        grid = span_grid(start_ms, end_ms, bucket_s)
        yield assemble(grid, np.zeros(grid.buckets, np.int64), unknown_besides((), grid), (), until_ms)


def _joined(hours: Sequence[MeterHour]) -> MeterHour:
    return MeterHour(*(np.concatenate([getattr(hour, name) for hour in hours]) for name in MeterHour.__slots__))
