"""`bench account`: a plant's year accounted on all cores, allocation against DuckDB and polars, and one late reading.

All of it goes the way of the product: `account_span` for days of intervals in memory, `allocate_totals` for the division
among jobs, and hours accounted again until what they hand on equals what is known.
"""

import gc
import os
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from itertools import pairwise
from multiprocessing import get_context
from pathlib import Path

from plantprint.account import EMPTY_CARRY, Carry, account_meters, account_span
from plantprint.kernel import compiled_shares
from plantprint.times import HOUR_MS
from plantprint_cli.bench.account_peers import allocation
from plantprint_cli.bench.account_plant import START_MS, BenchPlant, make, with_windows
from plantprint_cli.bench.common import BenchError, Json, median, medians

_DAY_H = 24


@dataclass(frozen=True)
class Size:
    """What is measured: days of the plant with `jobs` jobs, days of allocation, lengths of history, rounds of each."""

    days: int = 365
    jobs: int = 200_000
    units: int = 60
    allocation_days: int = 30
    history_days: tuple[int, ...] = (1, 7, 30, 90, 365)
    rounds: int = 3


def run(*, full: bool, size: Size | None = None) -> Json:
    """Everything; the median of the rounds each time. `full` takes more of them."""
    size = size or Size(rounds=5 if full else 3)
    plant = make(size.days * _DAY_H, size.jobs, size.units)
    shifts, facts = with_windows(plant), _facts(plant, size)  # Loads the kernel, so that processes have it.
    gc.freeze()  # What is there already is not looked through again, nor copied by the processes.
    try:
        years = [(plant_year(plant), plant_year(shifts)) for _ in range(size.rounds)]
        late = late_readings(shifts, size.history_days, 5 * size.rounds)
    finally:
        gc.unfreeze()
    return {
        **facts,
        **medians([year for year, _ in years]),
        "with_idle_windows": medians([year for _, year in years]),
        **allocation(size.allocation_days, size.jobs * size.allocation_days // size.days, size.units, size.rounds),
        "late_reading": late,
    }


def _facts(plant: BenchPlant, size: Size) -> Json:
    graph = plant.graph
    return {
        "meters": len(graph.meters),
        "work_units": len(graph.work_units),
        "pools": len(graph.pools),
        "cycles": sum(group.is_cyclic for group in graph.groups),
        "sources": len(graph.sources),
        "edges": len(graph.edges),
        "jobs": len(plant.production.jobs),
        "days": size.days,
        "bucket_s": graph.plant.bucket_s,
        "kernel": "numpy" if compiled_shares() is None else "numba",
    }


@dataclass(frozen=True)
class Day:
    """What is kept of an accounted day: the sums that are checked, and what it hands to the next."""

    postings: int
    by_source: dict[str, int]
    carry: Carry


@dataclass(frozen=True)
class Stretch:
    """Consecutive days that a process accounted, beginning with nothing held; the most memory it had of its own, its CPU."""

    days: list[Day]
    own_mb: float
    cpu_s: float


def plant_year(plant: BenchPlant) -> dict[str, float]:
    """All days on all cores; seconds, nanoseconds per edge, source and bucket, memory. Raises where sums do not agree."""
    global _plant  # noqa: PLW0603 - processes inherit it; nothing is copied
    _plant = plant
    count, cores = plant.intervals.hours // _DAY_H, os.cpu_count() or 1
    bounds = [count * core // cores for core in range(cores + 1)]
    began_s = time.perf_counter()
    with ProcessPoolExecutor(cores, mp_context=get_context("fork")) as pool:
        stretches = list(pool.map(_stretch, bounds[:-1], bounds[1:]))
    days, twice = _joined(plant, stretches)
    took_s = time.perf_counter() - began_s
    _check(plant, days)
    buckets = plant.intervals.hours * plant.graph.buckets
    return {
        "plant_year_s": took_s,
        "cpu_s": sum(stretch.cpu_s for stretch in stretches),
        "ns_per_edge_source_bucket": took_s * 1e9 / (len(plant.graph.edges) * len(plant.graph.sources) * buckets),
        "peak_memory_mb": plant.intervals.megabytes + _own_mb() + sum(stretch.own_mb for stretch in stretches),
        "intervals_mb": plant.intervals.megabytes,
        "postings": sum(day.postings for day in days),
        "days_accounted_twice": twice,
    }


_plant: BenchPlant


def _stretch(first: int, behind: int) -> Stretch:
    days, carry, most_mb = list[Day](), EMPTY_CARRY, 0.0
    for day in range(first, behind):
        days.append(_day(_plant, day, carry))
        carry = days[-1].carry
        most_mb = max(most_mb, _own_mb())
    return Stretch(days, most_mb, time.process_time())


def _day(plant: BenchPlant, day: int, carry: Carry) -> Day:
    graph, production, intervals = plant
    end_ms = START_MS + intervals.hours * HOUR_MS
    hour, postings, by_source = day * _DAY_H, 0, dict.fromkeys(graph.sources, 0)
    meters = intervals.span(hour, _DAY_H)
    for account in account_span(graph, production, START_MS + hour * HOUR_MS, _DAY_H, meters, carry, end_ms):
        postings += len(account.net)
        for key, amount in account.net.items():
            by_source[key.source] += amount
        carry = account.carry
    return Day(postings, by_source, carry)


def _joined(plant: BenchPlant, stretches: Sequence[Stretch]) -> tuple[list[Day], int]:
    """All days; a stretch that should have begun with something is accounted again until it makes no difference."""
    days = [day for stretch in stretches for day in stretch.days]
    first, twice = 0, 0
    for before, after in pairwise(stretches):
        first += len(before.days)
        carry, number = days[first - 1].carry, first
        known = EMPTY_CARRY
        while carry != known and number < first + len(after.days):
            known = days[number].carry
            days[number] = _day(plant, number, carry)
            carry = days[number].carry
            number, twice = number + 1, twice + 1
    return days, twice


def _check(plant: BenchPlant, days: Sequence[Day]) -> None:
    """Every source ends in postings to the last digit."""
    numbers = {meter: number for number, meter in enumerate(plant.intervals.meters)}
    posted = dict.fromkeys(plant.graph.sources, 0)
    for day in days:
        for source, amount in day.by_source.items():
            posted[source] += amount
    for edge in plant.graph.edges:
        if edge.giver_kind == "source":
            posted[edge.giver] -= sum(int(plant.intervals.amount[numbers[meter]].sum()) for _, meter in edge.terms)
    if any(posted.values()):
        raise BenchError(f"posted more or less than what entered: {posted}")


def _own_mb() -> float:
    """Memory of this process alone; the intervals are shared by all."""
    try:
        status = Path("/proc/self/status").read_text(encoding="utf-8")
    except OSError:
        return float("nan")
    return next(int(line.split()[1]) / 1024 for line in status.splitlines() if line.startswith("RssAnon:"))


def late_readings(plant: BenchPlant, history_days: Sequence[int], rounds: int) -> list[Json]:
    """Milliseconds from a late minute so many days ago to where hours hand on what is known; by turns, their median."""
    known = {days: _known(plant, days) for days in history_days}
    found: dict[int, list[tuple[float, int]]] = {days: [] for days in history_days}
    for round_ in range(rounds):
        for days, carries in known.items():
            found[days].append(_late_reading(plant, carries, micro=1_000_000 + round_))
    return [
        {
            "history_days": days,
            "median_ms": median([ms for ms, _ in several]),
            "hours_accounted": max(hours for _, hours in several),
        }
        for days, several in found.items()
    ]


def _known(plant: BenchPlant, history_days: int) -> dict[int, Carry]:
    """What the hours of the first of so many days hand on, as a ledger keeps it."""
    start = plant.intervals.hours - history_days * _DAY_H
    carries = {start - 1: EMPTY_CARRY}
    for hour in range(start, start + _DAY_H):
        carries[hour] = _hour(plant, hour, carries[hour - 1])
    return carries


def _late_reading(plant: BenchPlant, known: dict[int, Carry], micro: int) -> tuple[float, int]:
    """Milliseconds and hours until the carry is the known one, with `micro` more in a minute of the third hour."""
    first = hour = min(known) + 3
    meter, bucket = plant.intervals.meters.index("m-grid-hv"), hour * plant.graph.buckets + 17
    plant.intervals.amount[meter, bucket] += micro
    began_s = time.perf_counter()
    carry = _hour(plant, hour, known[hour - 1])
    while carry != known[hour]:
        hour += 1
        carry = _hour(plant, hour, carry)
    took_ms = (time.perf_counter() - began_s) * 1000
    plant.intervals.amount[meter, bucket] -= micro
    return took_ms, hour - first + 1


def _hour(plant: BenchPlant, hour: int, carry: Carry) -> Carry:
    hour_ms = START_MS + hour * HOUR_MS
    end_ms = START_MS + plant.intervals.hours * HOUR_MS
    meters = plant.intervals.span(hour, 1)
    return account_meters(plant.graph, plant.production, hour_ms, meters, (), carry, end_ms).carry
