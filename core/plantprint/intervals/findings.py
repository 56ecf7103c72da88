"""What looked wrong in a meter's readings, as one issue per kind and hour however often it happened."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from plantprint.facts import Issue
from plantprint.intervals.grid import Grid
from plantprint.intervals.series import MeterSeries
from plantprint.times import format_instant


class Finding(NamedTuple):
    """Something at one reading: a key of `KINDS`, the instant, and the values that show it.

    `contradicts` when two facts cannot both be right; other findings decide what counts, or leave time missing.
    """

    code: str
    at_ms: int
    detail: str
    contradicts: bool = False


# code -> what it means, and what to do about it
KINDS: dict[str, tuple[str, str]] = {
    "counter-momentary": (
        "the register left its course and came back; these readings do not count",
        "nothing is lost; look for a device or gateway that reports 0 while it cannot read",
    ),
    "counter-noise": (
        "a reading fits neither the register before nor the one after it and does not count",
        "check wiring, word order and the poll time-out of this device; if all readings do this, its rated_per_hour",
    ),
    "counter-dip": (
        "the register stepped back a little; nothing is counted until it passes its maximum again",
        "nothing is lost if the device only rounds; after a restored older value the energy in between is counted once",
    ),
    "counter-wrap": (
        "the register passed its modulus and started over; the amount is counted through",
        "nothing to do; read a wider register of the device if it has one",
    ),
    "counter-reset": (
        "the register started anew; what was used between its last good reading and then is unknown",
        "if the meter was exchanged, note both readings and report the difference as an amount",
    ),
    "counter-returned": (
        "the register stood at 0 for a while and came back; what was used meanwhile is counted at its return",
        "look for a device or gateway that reports 0 while it cannot read",
    ),
    "counter-jump": (
        "the register rose faster than 1.2 x rated_per_hour and stayed there; the rise is not believed",
        "check rated_per_hour and the unit of the channel, or whether the meter was exchanged",
    ),
    "counter-start": (
        "the first reading was 0 and the next a thousandfold of what follows; counting starts at the second",
        "nothing to do if the device reported 0 before it could read",
    ),
    "counter-still": (
        "the register stood still for an hour in which the device's power was not 0; nothing is counted",
        "check whether the device counts this direction, and whether the gateway repeats an old value",
    ),
    "counter-scale": (
        "counter and power differ by a power of ten over the hour; the counter counts",
        "check units, decimals and ratio of both channels: one of them is wrong",
    ),
    "reading-impossible": (
        "the value cannot be one of this meter (negative, or beyond any register) and does not count",
        "look for an all-ones or sentinel value that the device's register map does not declare",
    ),
    "gauge-over-rated": (
        "the value is above 1.2 x rated_per_hour and does not count",
        "check rated_per_hour and the unit of the channel",
    ),
    "gauge-negative": (
        "a flow runs one way: a negative rate counts as 0",
        "give the other direction a channel and a meter of its own",
    ),
    "gauge-frozen": (
        "the rate did not move at all for an hour",
        "check whether the gateway repeats an old value with a fresh time",
    ),
    "heat-unknown": (
        "mass flowed while its pressure or temperature was unknown; its heat is missing",
        "look for a gauge that is not read, or not bound; one that tells changes only needs a longer hold_s",
    ),
    "heat-impossible": (
        "no steam has this pressure and temperature; its heat is missing",
        "check both sensors, their units, and whether the pressure is absolute or gauge (pressure_is)",
    ),
    "heat-cold": (
        "at this pressure steam of this temperature would be water; it counts as dry saturated, estimated",
        "check both sensors and pressure_is; for wet steam give its dryness instead of a temperature",
    ),
    "amount-over-rated": (
        "the amount is above 1.2 x rated_per_hour and does not count",
        "check rated_per_hour and the unit of the channel",
    ),
    "amount-overlap": (
        "its period overlaps that of the amount before it; both count",
        "check the period the channel declares, and that a time stamp is always the end of its period",
    ),
}


def issues_of(findings: Iterable[Finding], meter: str, grid: Grid) -> list[Issue]:
    """Issues of the hour (after its start, up to its end); readings of neighbours belong to their own hours."""
    return grouped((finding for finding in findings if grid.start_ms < finding.at_ms <= grid.end_ms), meter)


def grouped(findings: Iterable[Finding], meter: str) -> list[Issue]:
    """One issue per kind."""
    found: dict[str, list[Finding]] = {}
    for finding in sorted(findings, key=lambda f: f.at_ms):
        found.setdefault(finding.code, []).append(finding)
    return [_issue(code, meter, several) for code, several in sorted(found.items())]


def _issue(code: str, meter: str, several: Sequence[Finding]) -> Issue:
    meaning, remedy = KINDS[code]
    first = several[0]
    times = f"{len(several)} in this hour, first at {format_instant(first.at_ms)}: {first.detail}"
    return Issue(code, meter, f"{meaning} ({times})", remedy, first.at_ms, any(one.contradicts for one in several))


def unusable_channel(series: MeterSeries, reason: str, hour_ms: int) -> Issue:
    return Issue(
        "channel-unusable",
        series.meter.id,
        f"channel {series.channel.key}: {reason}; its readings are kept but count nothing",
        f"set the unit of meter {series.meter.id} to one the channel converts to, or correct the channel at the agent",
        hour_ms,
    )
