"""The plant whose year `bench account` accounts: 200 meters, 60 work units, 12 pools in two cycles and more, 8 sources.

Everything is made from a seed: intervals of whole hours as arrays, and jobs at any millisecond, several at a time on
every sixth work unit. Upstream meters count what those below them count and a little more.
"""

import mmap
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from plantprint.divide_arrays import Ints
from plantprint.facts import Quality
from plantprint.flows import Known, Qualities
from plantprint.plant.graph import PlantGraph, compile_plant
from plantprint.plant.model import Plant
from plantprint.production import Batch, Job, Production
from plantprint.quantities import MICRO
from plantprint.times import HOUR_MS

START_MS = 1_767_196_800_000  # 2026-01-01T00:00:00+08:00, where the site's days begin
_BUCKET_S = 60
_BUCKETS = 3600 // _BUCKET_S
_SHARED_EVERY = 6
"""Every sixth work unit runs several jobs at a time."""
_AT_ONCE = 4

_SOURCES = {
    "grid": ("kWh", "grid"),
    "pv": ("kWh", "on_site"),
    "gas": ("Nm3", "fuel"),
    "biomass": ("kg", "fuel"),
    "diesel": ("kg", "fuel"),
    "heat": ("GJ", "purchased"),
    "nitrogen": ("Nm3", "purchased"),
    "water": ("m3", "purchased"),
}
# Two buses with a tie share every minute; boiler, header and deaerator share every hour.
_POOLS = {
    "hv": ("kWh", "conserving", "bucket"),
    "lv1": ("kWh", "conserving", "bucket"),
    "lv2": ("kWh", "conserving", "bucket"),
    "lv3": ("kWh", "conserving", "bucket"),
    "genset": ("kWh", "converting", "auto"),
    "boiler": ("kg", "converting", "auto"),
    "steam": ("kg", "conserving", "auto"),
    "deaerator": ("m3", "converting", "auto"),
    "air": ("Nm3", "converting", "auto"),
    "chilled": ("kWh", "converting", "auto"),
    "hotwater": ("kWh", "converting", "auto"),
    "nitro": ("Nm3", "conserving", "auto"),
}
# Upstream last: what a flow carries is a part of what its taker gives, or a part of a work unit's load.
_SUPPLY = (
    ("nitrogen", "nitro", 1.0),
    ("steam", "hotwater", 1.1),
    ("heat", "hotwater", 0.002),
    ("lv3", "chilled", 0.3),
    ("lv3", "air", 0.12),
    ("water", "deaerator", 0.9),
    ("steam", "deaerator", 90.0),
    ("boiler", "steam", 1.02),
    ("deaerator", "boiler", 0.001),
    ("gas", "boiler", 0.06),
    ("biomass", "boiler", 0.05),
    ("lv3", "boiler", 0.02),
    ("lv2", "lv1", 0.03),
    ("lv1", "lv2", 0.05),
    ("hv", "lv3", 1.02),
    ("hv", "lv1", 0.99),
    ("hv", "lv2", 0.95),
    ("diesel", "genset", 0.25),
    ("grid", "hv", 0.85),
    ("pv", "hv", 0.17),
)
_RESTS = (
    ("genset", "lv2", None),
    ("hv", "losses", "consumers"),
    ("lv1", "unmetered", "window"),
    ("lv2", "unmetered", "window"),
    ("lv3", "unmetered", "window"),
    ("steam", "losses", "consumers"),
)
# Amounts that everything else in a cycle depends on, fixed to begin with.
_SEEDS_PER_BUCKET = {"deaerator": 0.05, "genset": 0.4}


@dataclass(frozen=True)
class Intervals:
    """Amounts, qualities and missing time [meter, bucket] of consecutive hours from `start_ms`."""

    meters: tuple[str, ...]
    start_ms: int
    amount: Ints
    quality: Qualities
    missing_ms: NDArray[np.int32]

    @property
    def hours(self) -> int:
        return int(self.amount.shape[1]) // _BUCKETS

    @property
    def megabytes(self) -> float:
        return (self.amount.nbytes + self.quality.nbytes + self.missing_ms.nbytes) / 2**20

    def span(self, hour: int, hours: int) -> Known:
        """All meters in `hours` hours from the given one on."""
        part = slice(hour * _BUCKETS, (hour + hours) * _BUCKETS)
        number = {meter: place for place, meter in enumerate(self.meters)}
        return Known(number, self.amount[:, part], self.quality[:, part], self.missing_ms[:, part])


class BenchPlant(NamedTuple):
    graph: PlantGraph
    production: Production
    intervals: Intervals


def make(hours: int, jobs: int, units: int = 60) -> BenchPlant:
    """The plant with its work units, and `hours` of it in which `jobs` jobs run; what is idle stays idle."""
    flows = _flows(units)
    graph = compile_plant(Plant.model_validate(_body(flows, units, has_windows=False)))
    return BenchPlant(graph, _production(hours, jobs, units), _intervals(graph, flows, hours))


def with_windows(plant: BenchPlant) -> BenchPlant:
    """The same plant, in which what is idle or unmetered in a shift is spread over the jobs of that shift."""
    units = len(plant.graph.work_units)
    return plant._replace(graph=compile_plant(Plant.model_validate(_body(_flows(units), units, has_windows=True))))


def _name(name: str) -> dict[str, Any]:
    return {"id": name, "name": {"en": name}}


def _unit(number: int) -> str:
    return f"unit-{number:02}"


def _flows(units: int) -> list[tuple[str, str, str]]:
    """(giver, taker, amount): three metered flows into every work unit, then the supply, then rests."""
    flows = []
    for number in range(units):
        third = ("air", "chilled", "nitro", "water")[number // 2 % 4]
        givers = (f"lv{number % 3 + 1}", ("steam", "hotwater")[number // 3 % 2], third)
        flows += [(giver, _unit(number), f"m-{giver}-{_unit(number)}") for giver in givers]
    flows += [(giver, taker, f"m-{giver}-{taker}") for giver, taker, _ in _SUPPLY]
    return flows + [(giver, taker, "rest") for giver, taker, _ in _RESTS]


def _body(flows: list[tuple[str, str, str]], units: int, *, has_windows: bool) -> dict[str, Any]:
    disposition = {(giver, taker): how for giver, taker, how in _RESTS if how and (has_windows or how != "window")}
    unit_of = {name: unit for name, (unit, *_) in [*_SOURCES.items(), *_POOLS.items()]}
    meters = [(amount, unit_of[giver]) for giver, _, amount in flows if amount != "rest"]
    centers = [
        {**_name(f"line-{line}"), "work_units": [_name(_unit(n)) | {"step": "make"} for n in range(line, units, 6)]}
        for line in range(min(6, units))
    ]
    return {
        "plantprint": 1,
        "site": _name("bench") | {"timezone": "Asia/Shanghai"},
        "bucket_s": _BUCKET_S,
        "idle": {"window": "shift" if has_windows else "none", "starts": ["00:00", "08:00", "16:00"]},
        "steps": [_name("make")],
        "work_centers": centers,
        "sources": [
            _name(source) | {"unit": unit, "kind": kind, "factor": f"factor.{source}", "scope": 1}
            for source, (unit, kind) in _SOURCES.items()
        ],
        "pools": [
            _name(pool) | {"unit": unit, "kind": kind, "mix_window": window}
            for pool, (unit, kind, window) in _POOLS.items()
        ],
        "meters": [_name(meter) | {"unit": unit, "bindings": [{"channel": f"gw/{meter}"}]} for meter, unit in meters],
        "flows": [
            {"from": giver, "to": taker, "amount": amount}
            | ({"disposition": disposition[giver, taker]} if (giver, taker) in disposition else {})
            for giver, taker, amount in flows
        ],
    }


def _intervals(graph: PlantGraph, flows: list[tuple[str, str, str]], hours: int) -> Intervals:
    """Loads of work units at random, upstream meters from the sums below them; a few amounts guessed or missing."""
    random = np.random.default_rng(7)
    meters = tuple(graph.meters)
    number = {meter: n for n, meter in enumerate(meters)}
    buckets = hours * _BUCKETS
    amount = _shared((len(meters), buckets), np.int64)
    given = {pool: np.full(buckets, _SEEDS_PER_BUCKET.get(pool, 0.0)) for pool in _POOLS}
    supply = {(giver, taker): part for giver, taker, part in _SUPPLY}
    for giver, taker, meter in flows:
        if meter == "rest":
            continue
        if (giver, taker) in supply:
            flow = given[taker] * supply[giver, taker]
        else:
            flow = random.uniform(0.05, 0.6, buckets)
            flow[random.random(buckets) < 0.02] = 0.0
        amount[number[meter]] = (flow * MICRO).astype(np.int64)
        if giver in given:
            given[giver] += flow
    quality, missing_ms = _shared(amount.shape, np.int8), _shared(amount.shape, np.int32)
    quality[:] = Quality.MEASURED
    for hour in range(5, hours, 12):
        # A meter is guessed for an hour twice a day, and every week one is silent for twenty minutes.
        quality[random.integers(len(meters)), hour * _BUCKETS : (hour + 1) * _BUCKETS] = Quality.ESTIMATED
        if hour % 168 == 5:
            silent = random.integers(len(meters)), slice(hour * _BUCKETS + 20, hour * _BUCKETS + 40)
            amount[silent], quality[silent], missing_ms[silent] = 0, Quality.MISSING, _BUCKET_S * 1000
    return Intervals(meters, START_MS, amount, quality, missing_ms)


def _shared(shape: tuple[int, ...], dtype: type[np.integer[Any]]) -> NDArray[Any]:
    """Zeros in memory that processes share, so that each has it without a copy."""
    size = int(np.prod(shape)) * np.dtype(dtype).itemsize
    return np.ndarray(shape, dtype, buffer=mmap.mmap(-1, max(size, 1)))


def _production(hours: int, jobs: int, units: int) -> Production:
    """Jobs one after another with short pauses; shared work units run several rows of them."""
    random = np.random.default_rng(11)
    rows = [n for n in range(units) for _ in range(_AT_ONCE if n % _SHARED_EVERY == 0 else 1)]
    made: list[Job] = []
    for row, unit in enumerate(rows):
        count = jobs // len(rows) + (row < jobs % len(rows))
        slot_ms = hours * HOUR_MS / max(count, 1)
        starts = START_MS + ((np.arange(count) + random.uniform(0, 0.1, count)) * slot_ms).astype(np.int64)
        ends = starts + (random.uniform(0.7, 0.9, count) * slot_ms).astype(np.int64)
        weights = random.integers(1, 1000, count) * MICRO
        made += [
            Job(f"j-{row}-{n}", f"b-{row}-{n // 4}", _unit(unit), "", weight, start_ms, end_ms)
            for n, (weight, start_ms, end_ms) in enumerate(
                zip(weights.tolist(), starts.tolist(), ends.tolist(), strict=True)
            )
        ]
    made.sort(key=lambda job: (job.start_ms, job.job))
    batches = {job.batch: Batch(job.batch, "", None, "", None) for job in made}
    return Production(tuple(made), (), batches, (), ())
