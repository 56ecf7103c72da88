"""Seeded devices that misbehave and networks that reorder, for tests of the accountant: readings in chunks, in no good order."""

import random
from collections.abc import Iterable, Iterator

from accounting_cases import HOUR, HOUR_MS
from ledger_rig import CHANNELS

from plantprint.facts import Channel, Quality, Reading

HOURS = 3
KINDS = {
    "counters": CHANNELS,
    "gauges": {n: Channel("gw", n, "Nm3/h" if n == "gas" else "kW", 3, "gauge") for n in CHANNELS},
    "amounts": {n: Channel("gw", n, c.unit, 3, "amount", 420) for n, c in CHANNELS.items()},
}


def course(chance: random.Random, kind: str) -> list[Reading]:
    """Three hours and a bit of a device that misbehaves: silence, zeros, spikes, dips, resets, withdrawn values."""
    readings: list[Reading] = []
    t_ms, value = HOUR - chance.randrange(1, 900_000), chance.randrange(0, 5_000_000)
    # Amounts of seven minutes never overlap: what overlaps is a mistake in the agent's table, and an issue.
    quick = [] if kind == "amounts" else [(15_000, 60_000), (60_000, 60_000, 2_000_000)]
    pauses = chance.choice([*quick, (420_000, 420_000, 840_000)])
    while t_ms < HOUR + HOURS * HOUR_MS + 600_000:
        value += chance.choice([0, 100, 2_000, 9_000])
        shown = value
        if chance.random() < 0.06:
            shown = chance.choice([0, 0, value * 50, value - value // 30, value // 3, -7])
            value = chance.choice([value, value, value, chance.randrange(0, 1000)])
        if kind != "counters":
            shown = min(shown, 90_000) % 60_000
        quality = chance.choice([Quality.MEASURED] * 9 + [Quality.ESTIMATED, Quality.MISSING])
        readings.append(Reading(t_ms, shown, quality))
        t_ms += chance.choice(pauses) if chance.random() < 0.98 else chance.randrange(420_000, 5_000_000)
    return readings


def chunks(
    chance: random.Random, kind: str, channels: Iterable[str] = CHANNELS
) -> Iterator[tuple[float, dict[str, list[Reading]]]]:
    """When the meters' pieces arrive: mostly in order, some late, some twice, some corrected by a revision."""
    several: list[tuple[float, str, list[Reading]]] = []
    for meter in channels:
        readings = course(chance, kind)
        largest = max(4, len(readings) // 12)
        while readings:
            size = chance.randrange(1, largest)
            piece, readings = readings[:size], readings[size:]
            late_ms = chance.choice([0, 0, 0, 0, 1_500_000, 6_000_000])
            several.append((piece[-1].t_ms + late_ms, meter, piece))
            if chance.random() < 0.1:
                again = [Reading(r.t_ms, r.value + 1, r.quality, 1) if chance.random() < 0.3 else r for r in piece]
                several.append((piece[-1].t_ms + chance.randrange(0, 4_000_000), meter, again))
    for heard_ms, meter, piece in sorted(several, key=lambda item: (item[0], item[1])):
        yield heard_ms, {meter: piece}
