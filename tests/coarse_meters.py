"""A whole kWh counter behind a power that changes, and its hours as an accountant works them."""

from collections.abc import Sequence
from dataclasses import replace
from decimal import Decimal

from strategies import HOUR_0, a_meter, at

from plantprint.facts import Channel, Issue, Reading
from plantprint.intervals import LOOKAHEAD, CounterState, MeterHour, MeterSeries, meter_hour
from plantprint.times import HOUR_MS

KWH = 1_000_000
PULSE = Channel("gw-1", "m1", "kWh", 0, "counter")
POWER = Channel("gw-1", "p1", "kW", 1, "gauge")
METER = a_meter().model_copy(update={"resolution": Decimal(1)})


def pulses(kw: Sequence[tuple[int, float]], until_s: int, every_s: int = 60, start: float = 0.0) -> tuple[Reading, ...]:
    """A whole kWh counter read every `every_s`, behind a power that is `kw` from each second on; `start` is its phase."""
    readings = []
    for second in range(-600, until_s + 1, every_s):
        energy = start
        for (begin, power), (end, _) in zip(kw, [*kw[1:], (10**9, 0.0)], strict=True):
            energy += power * max(0, min(second, end) - max(begin, 0)) / 3600
        readings.append((second, 100 + int(energy + 1e-9)))
    return at(*readings)


def powers(kw: Sequence[tuple[int, float]], until_s: int, every_s: int = 9) -> tuple[Reading, ...]:
    """The power in tenths of a kW; it jumps within a millisecond."""
    jumps = [second for begin, _ in kw for second in (begin - 0.001, begin)]
    found = []
    for second in sorted({*range(-603, until_s + 1, every_s), *jumps}):
        past = [power for begin, power in kw if begin <= second]
        found.append((second, round((past[-1] if past else 0) * 10)))
    return at(*found)


def shaped_hours(
    counter: Sequence[Reading], power: Sequence[Reading] | None, count: int = 1, first: int = 0
) -> list[tuple[MeterHour, CounterState | None, list[Issue]]]:
    """Hours from `first` to `count` after HOUR_0, the state carried from the hour before it on."""

    def window(readings: Sequence[Reading], hour_ms: int) -> tuple[Reading, ...]:
        inside = [r for r in readings if hour_ms < r.t_ms <= hour_ms + HOUR_MS]
        return (*inside, *[r for r in readings if r.t_ms > hour_ms + HOUR_MS][:LOOKAHEAD])

    state: CounterState | None = None
    found = []
    for hour_ms in range(HOUR_0 - HOUR_MS, HOUR_0 + count * HOUR_MS, HOUR_MS):
        series = MeterSeries(PULSE, METER, Decimal(1), window(counter, hour_ms))
        if power is not None:
            series = replace(series, beside={"power": MeterSeries(POWER, METER, Decimal(1), window(power, hour_ms))})
        hour, state, issues = meter_hour(series, hour_ms, 600, state, HOUR_0 + count * HOUR_MS)
        state = state and CounterState.from_json(state.to_json())
        if hour_ms >= HOUR_0 + first * HOUR_MS:
            found.append((hour, state, issues))
    return found
