"""The dye house's true inventory: amounts of each source on each account, integrated from the physics second by second.

It follows the accounting definition and shares no code with the accounting. In each hour the bus holds one mix of grid
and PV, the steam header one mix of gas and electricity, both divided in proportion to what leaves them. A machine's
second belongs to the jobs running in it by their kilograms, or to its idle account. Sums are exact fractions.

`Amount.bound` is how far a correct accounting may be off, in the source's unit: inside a bucket it knows no better than
an even flow (the *edge effect* at job edges, computed here), registers have steps, polls lie `poll_s` apart and their
stamps may be late by `stamp_s`.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from plantprint_simulators.meters import KG_CO2, METERS
from plantprint_simulators.physics import Amounts, amounts
from plantprint_simulators.process import GAS_STENTER, STEAM_UNITS, UNITS
from plantprint_simulators.schedule import Job, Schedule

HOUR_S = 3600


class Account(NamedTuple):
    """`batch` with its id, `idle` with a work unit, `unmetered` with `bus`, `losses` with `steam`."""

    kind: str
    id: str


@dataclass(frozen=True, slots=True)
class Amount:
    """A true amount in the source's unit (kWh, Nm3, kg), and how far a correct accounting may be from it."""

    amount: Fraction
    bound: float


@dataclass(frozen=True, slots=True)
class Sight:
    """How well the plant is seen: the accounting's bucket, the pause between polls, and how late a stamp may be."""

    bucket_s: int = 10
    poll_s: float = 1.0
    stamp_s: float = 0.05


Inventory = dict[Account, dict[str, Amount]]
_Flows = dict[Account, Amount]


@dataclass(frozen=True, slots=True)
class _Hour:
    """What happened in [start_s, start_s + size): streams second by second, and the jobs that ran."""

    start_s: int
    seen: Amounts
    jobs: list[Job]
    sight: Sight
    open_ends_s: frozenset[int]


@dataclass(frozen=True, slots=True)
class _Mix:
    """How much of a source, in its unit, comes with one unit of a stream; `error` is relative."""

    source: str
    per_unit: Fraction
    error: float


def true_inventory(schedule: Schedule, from_s: int, to_s: int, sight: Sight = Sight()) -> Inventory:
    """The inventory of [from_s, to_s), with the mix windows of the hours in it; meters are read from `from_s` on."""
    found: Inventory = {}
    for hour_s in range(from_s // HOUR_S * HOUR_S, to_s, HOUR_S):
        span = (max(hour_s, from_s), min(hour_s + HOUR_S, to_s))
        hour = _Hour(span[0], amounts(schedule, *span), schedule.jobs(*span), sight, frozenset((from_s, to_s)))
        for account, by_source in _hour_inventory(hour).items():
            known = found.setdefault(account, {})
            for source, more in by_source.items():
                known[source] = _plus(known.get(source), more)
    return found


def _hour_inventory(hour: _Hour) -> Inventory:
    power, steam = _divided(hour, UNITS, ""), _divided(hour, STEAM_UNITS, "steam-")
    power[Account("unmetered", "bus")] = _residual(hour, "unmetered", ("incomer", "pv", "boiler-aux", *UNITS))
    steam_meters = ("steam-out", *(f"steam-{unit}" for unit in STEAM_UNITS))
    steam[Account("losses", "steam")] = _residual(hour, "steam-losses", steam_meters)
    bus_sum, steam_sum = _sum(hour, "incomer") + _sum(hour, "pv"), _sum(hour, "steam-out")
    drawn = dict(power)
    per_g = _sum(hour, "boiler-aux") / steam_sum
    for account, part in steam.items():  # the boiler's own electricity goes where its steam goes
        bound = float(per_g) * part.bound + float(part.amount / steam_sum) * _error(hour, "boiler-aux")
        drawn[account] = _plus(drawn.get(account), Amount(per_g * part.amount, bound))

    inventory: Inventory = {}
    for mix in (_mix(hour, "grid", "incomer", bus_sum), _mix(hour, "pv", "pv", bus_sum)):
        _post(inventory, mix, drawn)
    _post(inventory, _mix(hour, "gas", "gas", steam_sum), steam)
    _post(inventory, _Mix("stack-co2", Fraction(1000, KG_CO2), 0.0), _machine(hour, GAS_STENTER, "stack-co2"))
    return inventory


def _sum(hour: _Hour, name: str) -> Fraction:
    return Fraction(int(hour.seen[name].sum()))


def _residual(hour: _Hour, name: str, meters: Iterable[str]) -> Amount:
    """What no meter counts: known as a difference, so that every meter's error is in its bound."""
    return Amount(_sum(hour, name), sum(_error(hour, meter) for meter in meters))


def _mix(hour: _Hour, source: str, name: str, whole: Fraction) -> _Mix:
    """The part that a metered stream has in `whole`; its meter's two ends bring in a relative error."""
    total = _sum(hour, name)
    error = _error(hour, name) / float(total) if total else 0.0
    return _Mix(source, total / whole * 1000 / METERS[name].size, error)


def _post(inventory: Inventory, mix: _Mix, parts: _Flows) -> None:
    for account, part in parts.items():
        share = part.amount * mix.per_unit
        bound = float(mix.per_unit) * part.bound + float(share) * mix.error
        if share or bound:
            known = inventory.setdefault(account, {})
            known[mix.source] = _plus(known.get(mix.source), Amount(share, bound))


def _plus(known: Amount | None, more: Amount) -> Amount:
    return more if known is None else Amount(known.amount + more.amount, known.bound + more.bound)


def _error(hour: _Hour, name: str, span: slice = slice(None)) -> float:
    """How far the amount of a span may be off: at both ends the register's step, the kink between polls and the late
    stamp; at an end of the whole time also the pause before the first poll or after the last one.
    """
    meter, sight, stream = METERS[name], hour.sight, hour.seen[name][span]
    step: float = meter.size / 1000 / 10**meter.decimals
    kink = float(np.abs(np.diff(stream)).max(initial=0)) * sight.poll_s / 4
    first, last, _ = span.indices(hour.seen[name].size)
    open_ends = len({hour.start_s + first, hour.start_s + last} & hour.open_ends_s)
    return 2 * (step + kink) + float(stream.max(initial=0)) * (2 * sight.stamp_s + open_ends * sight.poll_s)


def _divided(hour: _Hour, units: Iterable[str], prefix: str) -> _Flows:
    flows: _Flows = {}
    for unit in units:
        for account, part in _machine(hour, unit, f"{prefix}{unit}").items():
            flows[account] = _plus(flows.get(account), part)
    return flows


def _machine(hour: _Hour, unit: str, name: str) -> _Flows:
    """One stream into one machine, divided among the jobs running in it by kilograms, in segments between job edges."""
    stream = hour.seen[name]
    end_s = hour.start_s + stream.size
    jobs = [job for job in hour.jobs if job.unit == unit]
    inner = {s for job in jobs for s in (job.start_s, job.end_s) if hour.start_s < s < end_s}
    even = _even(stream, hour.start_s, hour.sight.bucket_s)
    flows: _Flows = {}
    for first_s, last_s in pairwise(sorted({hour.start_s, end_s} | inner)):
        span = slice(first_s - hour.start_s, last_s - hour.start_s)
        total = int(stream[span].sum())
        error = abs(total - float(even[span].sum())) + _error(hour, name, span)
        for account, share in _shares(unit, [job for job in jobs if job.start_s <= first_s < job.end_s]).items():
            flows[account] = _plus(flows.get(account), Amount(total * share, error * float(share)))
    return flows


def _shares(unit: str, running: list[Job]) -> dict[Account, Fraction]:
    if not running:
        return {Account("idle", unit): Fraction(1)}
    kilograms = sum(job.mass_kg for job in running)
    return {Account("batch", job.batch): Fraction(job.mass_kg, kilograms) for job in running}


def _even(stream: npt.NDArray[np.int64], start_s: int, bucket_s: int) -> npt.NDArray[np.float64]:
    """The stream as the accounting sees it: each second holds its bucket's mean."""
    bucket = (start_s + np.arange(stream.size)) // bucket_s
    _, first, size = np.unique(bucket, return_index=True, return_counts=True)
    mean: npt.NDArray[np.float64] = np.repeat(np.add.reduceat(stream, first) / size, size)
    return mean
