"""Readings of a meter turned into amounts per bucket of an hour: exact, order-free, honest about what is unknown."""

import numpy as np

from plantprint.facts import Issue
from plantprint.intervals.amounts import amount_hour
from plantprint.intervals.counters import counter_hour
from plantprint.intervals.feeds import Feed, Part, binding_edges_ms, binding_from_ms, hour_feeds, span_of_feeds
from plantprint.intervals.findings import unusable_channel
from plantprint.intervals.gauges import gauge_hour
from plantprint.intervals.grid import Grid, assemble, span_grid, unknown_besides
from plantprint.intervals.heated import heat_of
from plantprint.intervals.powered import powered_counter
from plantprint.intervals.series import (
    ANY_VALUE,
    LOOKAHEAD,
    CounterState,
    MeterHour,
    MeterSeries,
    Values,
    micro_per_step,
    span_readings,
    values_of,
)
from plantprint.quantities import UnitError
from plantprint.times import HOUR_MS

__all__ = [
    "ANY_VALUE",
    "LOOKAHEAD",
    "CounterState",
    "Feed",
    "MeterHour",
    "MeterSeries",
    "Values",
    "binding_edges_ms",
    "binding_from_ms",
    "hour_feeds",
    "meter_hour",
    "meter_span",
    "span_readings",
    "values_of",
]


def meter_hour(
    series: MeterSeries, hour_ms: int, bucket_s: int, state: CounterState | None, until_ms: int
) -> tuple[MeterHour, CounterState | None, list[Issue]]:
    """The meter's hour from `hour_ms`, the state at its end to carry on from, and what looked wrong in it.

    `state` is the one at the hour's start (None: nothing known before). Time after `until_ms`, the site's now, is not
    missing yet. A stretch between two readings that crosses the hour's edge is cut there at the same rounded
    register by both hours, so a total over any hours is exactly the register's difference.
    """
    assert 3600 % bucket_s == 0, "the plant model is checked: buckets divide the hour"
    return meter_span(series, hour_ms, hour_ms + HOUR_MS, bucket_s, state, until_ms)


def meter_span(
    series: MeterSeries, start_ms: int, end_ms: int, bucket_s: int, state: CounterState | None, until_ms: int
) -> tuple[MeterHour, CounterState | None, list[Issue]]:
    """`meter_hour` over any whole number of buckets from `start_ms`; spans that meet give what one over both would."""

    def fed(feed: MeterSeries, low_ms: int, high_ms: int, base: CounterState | None) -> Part:
        return _fed_span(feed, low_ms, high_ms, bucket_s, base, until_ms)

    if series.is_whole and (state is None or state.coming is None):
        return fed(series, start_ms, end_ms, state)
    return span_of_feeds(series, start_ms, end_ms, bucket_s, state, until_ms, fed)


def _fed_span(
    series: MeterSeries, start_ms: int, end_ms: int, bucket_s: int, state: CounterState | None, until_ms: int
) -> Part:
    """A span in which one channel feeds the meter."""
    grid = span_grid(start_ms, end_ms, bucket_s)
    told = _counted(series, grid, state, until_ms)
    return told if series.meter.heat is None else heat_of(series, told, state, grid, until_ms)


def _counted(series: MeterSeries, grid: Grid, state: CounterState | None, until_ms: int) -> Part:
    """What the meter's channel counted, of steam and condensate their mass."""
    base, issues = state, list[Issue]()
    if state is not None and state.channel != series.channel_mark:
        base = None
        if series.channel.kind != "amount":  # An amount tells of its period by itself.
            issues = [_changed_channel(series, state, grid.start_ms)]
    after: CounterState | None = None
    try:
        scale = micro_per_step(series)
        match series.channel.kind:
            case "counter" if "power" in series.beside or series.meter.resolution is not None:
                hour, after, found = powered_counter(series, scale, grid, base, until_ms)
            case "counter":
                hour, after, found = counter_hour(series, scale, grid, base, until_ms)
            case "gauge":
                hour, after, found = gauge_hour(series, scale, grid, base, until_ms)
            case "amount":
                hour, found = amount_hour(series, scale, grid, until_ms)
    except UnitError as error:
        nothing = np.zeros(grid.buckets, dtype=np.int64)
        hour = assemble(grid, nothing, unknown_besides((), grid), (), until_ms)
        found = [unusable_channel(series, str(error), grid.start_ms)]
    return hour, after, [*issues, *found]


def _changed_channel(series: MeterSeries, state: CounterState, hour_ms: int) -> Issue:
    return Issue(
        "channel-changed",
        series.meter.id,
        f"fed by {series.channel_mark!r} now, by {state.channel!r} before; what passed in between is unknown",
        "nothing to do after an exchange; otherwise keep unit and decimals of a channel as they are",
        hour_ms,
    )
