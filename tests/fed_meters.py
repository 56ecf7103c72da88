"""Meters that are fed by one channel after another, hour by hour as an accountant works them."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from plantprint.facts import Channel, Issue, Reading
from plantprint.intervals import CounterState, MeterHour, MeterSeries, hour_feeds, meter_hour, span_readings, values_of
from plantprint.plant.model import Meter
from plantprint.times import HOUR_MS, format_instant

Channels = Mapping[str, tuple[Channel, Sequence[Reading]]]
"""Every channel with all its readings in order of time, by `agent/name`."""


def bound_meter(*bindings: tuple[str, int | None, int | None, str], **fields: Any) -> Meter:
    """A meter in kWh; bindings are (channel, from, to, ratio), instants in milliseconds."""
    bound = [
        {"channel": channel, "ratio": ratio}
        | ({} if from_ms is None else {"valid_from": format_instant(from_ms)})
        | ({} if to_ms is None else {"valid_to": format_instant(to_ms)})
        for channel, from_ms, to_ms, ratio in bindings
    ]
    return Meter.model_validate({"id": "m", "name": {"en": "m"}, "unit": "kWh", "bindings": bound, **fields})


def counter(name: str, readings: Sequence[Reading], decimals: int = 3) -> tuple[Channel, Sequence[Reading]]:
    agent, _, own = name.partition("/")
    return Channel(agent, own, "kWh", decimals, "counter"), readings


def series_of(meter: Meter, channels: Channels, hour_ms: int) -> MeterSeries | None:
    parts = []
    for binding, from_ms, to_ms in hour_feeds(meter, meter, hour_ms):
        channel, readings = channels[binding.channel]
        values = values_of(channel, meter, binding.ratio)
        window = span_readings(readings, hour_ms, hour_ms + HOUR_MS, channel, values)
        parts.append(MeterSeries(channel, meter, binding.ratio, window, from_ms, to_ms))
    return replace(parts[0], following=tuple(parts[1:])) if parts else None


def fed_hours(
    meter: Meter, channels: Channels, first_ms: int, count: int, bucket_s: int = 900
) -> list[tuple[MeterHour, list[Issue]]]:
    """Hours from `first_ms`, with the state carried from the hour before it on."""
    state: CounterState | None = None
    found = []
    for hour_ms in range(first_ms - HOUR_MS, first_ms + count * HOUR_MS, HOUR_MS):
        series = series_of(meter, channels, hour_ms)
        if series is None:
            continue
        hour, after, issues = meter_hour(series, hour_ms, bucket_s, state, first_ms + count * HOUR_MS)
        state = None if after is None else CounterState.from_json(after.to_json())
        if hour_ms >= first_ms:
            found.append((hour, issues))
    return found
