"""A steam meter with pressure and temperature beside it, and its hours as an accountant works them."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from decimal import Decimal
from typing import Any, NamedTuple

from strategies import HOUR_0

from plantprint.facts import Channel, Issue, Reading
from plantprint.intervals import CounterState, MeterHour, MeterSeries, meter_hour
from plantprint.intervals.lookback import hour_readings
from plantprint.plant.model import Beside, Meter
from plantprint.times import HOUR_MS

MASS = Channel("gw", "mass", "t", 3, "counter")
PRESSURE = Channel("gw", "bar", "bar", 2, "gauge")
TEMPERATURE = Channel("gw", "degc", "degC", 1, "gauge")
GAUGES: Mapping[str, Channel] = {"pressure": PRESSURE, "temperature": TEMPERATURE}


class Hour(NamedTuple):
    told: MeterHour
    state: CounterState | None
    issues: list[Issue]

    @property
    def codes(self) -> list[str]:
        return [issue.code for issue in self.issues]


def steam_meter(*reads: str, unit: str = "GJ", **more: Any) -> Meter:
    """One that reads a pressure or temperature from its channel; `more` are keys of the meter, steam {} unless it says."""
    binding = {"channel": MASS.key, **{name: GAUGES[name].key for name in reads}}
    heat: dict[str, Any] = {} if {"steam", "condensate"} & more.keys() else {"steam": {}}
    return Meter.model_validate({"id": "m1", "name": {"en": "m1"}, "unit": unit, "bindings": [binding], **heat, **more})


def steam_hours(
    meter: Meter,
    mass: Sequence[Reading],
    beside: Mapping[Beside, Sequence[Reading]],
    *,
    count: int = 1,
    bucket_s: int = 900,
    until_ms: int | None = None,
    channels: Mapping[str, Channel] = GAUGES,
    counter: Channel = MASS,
) -> list[Hour]:
    """Hours from the one before HOUR_0 on, without that one; states pass through JSON from hour to hour."""
    until_ms = HOUR_0 + count * HOUR_MS if until_ms is None else until_ms
    state: CounterState | None = None
    found = []
    for hour_ms in range(HOUR_0 - HOUR_MS, HOUR_0 + count * HOUR_MS, HOUR_MS):

        def told(channel: Channel, readings: Sequence[Reading], at_ms: int, **more: Any) -> MeterSeries:
            series = MeterSeries(channel, meter, Decimal(1), (), **more)
            return replace(series, readings=hour_readings(readings, at_ms, series))

        gauges = {name: told(channels[name], readings, hour_ms, tells=name) for name, readings in beside.items()}
        series = told(counter, mass, hour_ms, beside=gauges)
        hour, state, issues = meter_hour(series, hour_ms, bucket_s, state, until_ms)
        state = state and CounterState.from_json(state.to_json())
        found.append(Hour(hour, state, issues))
    return found[1:]
