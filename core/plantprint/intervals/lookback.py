"""The readings that an hour is made from; of a pressure or temperature also the one that is held as the hour begins."""

from bisect import bisect_right
from collections.abc import Sequence

from plantprint.facts import Reading
from plantprint.intervals.series import MeterSeries, Values, span_readings
from plantprint.plant.model import Beside, Meter
from plantprint.steam import STATE_UNITS
from plantprint.times import HOUR_MS


def hold_ms(meter: Meter, tells: Beside | None) -> int:
    """For how long a reading of a channel says something of a meter after its own instant; 0 unless it is held."""
    return meter.heat.hold_s * 1000 if meter.heat is not None and tells in STATE_UNITS else 0


def held_before(readings: Sequence[Reading], at_ms: int, held_ms: int, values: Values) -> Reading | None:
    """The last reading that counts at or before an instant, unless it is too old to be held after it."""
    for at in range(bisect_right(readings, at_ms, key=_instant) - 1, -1, -1):
        if readings[at].t_ms <= at_ms - held_ms:
            return None
        if values.counts(readings[at]):
            return readings[at]
    return None


def hour_readings(readings: Sequence[Reading], hour_ms: int, series: MeterSeries) -> tuple[Reading, ...]:
    """Of a channel's readings in order of time those that `series`, which needs none itself, has in an hour.

    So what is held does not depend on which channel counted the mass before, or was the pressure.
    """
    window = span_readings(readings, hour_ms, hour_ms + HOUR_MS, series.channel, series.values)
    before = held_before(readings, hour_ms, hold_ms(series.meter, series.tells), series.values)
    return window if before is None else (before, *window)


def _instant(reading: Reading) -> int:
    return reading.t_ms
