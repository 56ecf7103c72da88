"""What every meter of the dye house sees, second by second, as exact integers that depend on (seed, second) only.

A *quantity* is a stream with an integer amount per second: electricity in J, steam in g, gas in mL (at 0 °C and
101.325 kPa), CO2 in mg. `amounts` is pure; `Totals` adds them up from a start and is what registers are made of.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from plantprint_simulators.process import (
    GAS_MJ_PER_NM3,
    GAS_STENTER,
    MACHINE,
    PILOT_FLAME_MG_CO2_S,
    RECIPES,
    STANDBY_W,
    STEAM_MJ_PER_KG,
    STEAM_UNITS,
    UNITS,
)
from plantprint_simulators.schedule import Job, Schedule, draw

Amounts = dict[str, npt.NDArray[np.int64]]

BOILER_EFFICIENCY = 0.90
BOILER_STANDING_ML_S = 2_000  # gas that keeps the boiler hot, whatever leaves it
STEAM_LOSS_PERCENT = 4
STEAM_STANDING_LOSS_G_S = 40
BOILER_AUX_W = 22_000
BOILER_AUX_J_PER_KG = 9_000
UNMETERED_W = 65_000  # lighting, offices, compressed air
NOISE_PER_MILLE = 20
PV_PEAK_W = 180_000  # below what the house draws when nothing runs, so that nothing is exported
LATITUDE_DEG, LONGITUDE_DEG = 30.25, 120.2

QUANTITIES = (
    "incomer", "pv", "boiler-aux", "unmetered", "gas", "steam-out", "steam-losses", "stack-co2",
    *UNITS, *(f"steam-{unit}" for unit in STEAM_UNITS),
)  # fmt: skip


def amounts(schedule: Schedule, from_s: int, to_s: int) -> Amounts:
    """Amount of each quantity in each second of [from_s, to_s): arrays of `to_s - from_s` integers."""
    size = to_s - from_s
    found: Amounts = {name: np.zeros(size, np.int64) for name in QUANTITIES}
    seconds = np.arange(from_s, to_s, dtype=np.int64)
    for unit, watts in STANDBY_W.items():
        found[unit] += watts
    found["stack-co2"] += PILOT_FLAME_MG_CO2_S
    for job in schedule.jobs(from_s, to_s):
        _run(job, found, from_s, to_s)
    for name in (*UNITS, *(f"steam-{unit}" for unit in STEAM_UNITS), "stack-co2"):
        found[name] = found[name] * (1000 + _noise(schedule.seed, name, seconds)) // 1000
    _boiler(schedule.seed, found, seconds)
    found["unmetered"] += UNMETERED_W * (1000 + _noise(schedule.seed, "unmetered", seconds)) // 1000
    found["pv"] += _pv_w(schedule.seed, seconds)
    bus_w = found["boiler-aux"] + found["unmetered"] + sum(found[unit] for unit in UNITS)
    found["incomer"] += bus_w - found["pv"]
    return found


def _run(job: Job, found: Amounts, from_s: int, to_s: int) -> None:
    """Adds what a job takes; its power rises while the range fills and falls while it empties."""
    first, last = max(job.start_s, from_s), min(job.end_s, to_s)
    since = np.arange(first - job.start_s, last - job.start_s, dtype=np.int64)
    fill = np.minimum(np.minimum(since + 1, job.end_s - job.start_s - since), job.ramp_s)
    grams = MACHINE[job.step].throughput_g_s * fill
    span = slice(first - from_s, last - from_s)
    recipe = RECIPES[job.recipe]
    found[job.unit][span] += grams * recipe.electricity_j_per_kg // (1000 * job.ramp_s)
    if recipe.steam_g_per_kg:
        found[f"steam-{job.unit}"][span] += grams * recipe.steam_g_per_kg // (1000 * job.ramp_s)
    if job.unit == GAS_STENTER:
        found["stack-co2"][span] += grams * recipe.co2_mg_per_g // job.ramp_s


def _boiler(seed: int, found: Amounts, seconds: npt.NDArray[np.int64]) -> None:
    """Steam demand → losses, steam made, gas burnt and the electricity of pumps and fan."""
    used_g = sum((found[f"steam-{unit}"] for unit in STEAM_UNITS), np.zeros(seconds.size, np.int64))
    found["steam-losses"] += STEAM_STANDING_LOSS_G_S + used_g * STEAM_LOSS_PERCENT // 100
    made_g = used_g + found["steam-losses"]
    found["steam-out"] += made_g
    nl_per_t = round(STEAM_MJ_PER_KG / (BOILER_EFFICIENCY * GAS_MJ_PER_NM3) * 1_000_000)
    burnt = made_g * nl_per_t // 1000 + BOILER_STANDING_ML_S
    found["gas"] += burnt * (1000 + _noise(seed, "gas", seconds)) // 1000
    found["boiler-aux"] += BOILER_AUX_W + made_g * BOILER_AUX_J_PER_KG // 1000


def _noise(seed: int, name: str, seconds: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """A per-mille deviation that changes every three seconds (splitmix64 of the stream's key and the time)."""
    key = draw(seed, 0, 2**62, "noise", name)
    x = (seconds // 3).astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15) + np.uint64(key)
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    x ^= x >> np.uint64(31)
    return (x % np.uint64(2 * NOISE_PER_MILLE + 1)).astype(np.int64) - NOISE_PER_MILLE


def _pv_w(seed: int, seconds: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Power of the roof: height of the sun at the site, dimmed by passing clouds."""
    day = (seconds % 31_556_952) / 86_400  # of the year, good to a day
    hour_angle = 2 * np.pi * ((seconds % 86_400) / 86_400 + LONGITUDE_DEG / 360 - 0.5)
    declination = np.radians(-23.44) * np.cos(2 * np.pi * (day + 10) / 365.25)
    latitude = np.radians(LATITUDE_DEG)
    height = np.sin(latitude) * np.sin(declination) + np.cos(latitude) * np.cos(declination) * np.cos(hour_angle)
    phase = draw(seed, 0, 6283, "clouds") / 1000
    clouds = 0.78 + 0.14 * np.sin(seconds / 97 + phase) + 0.08 * np.sin(seconds / 23 + 2 * phase)
    watts: npt.NDArray[np.int64] = np.rint(PV_PEAK_W * np.clip(height, 0, None) ** 1.15 * clouds).astype(np.int64)
    return watts


@dataclass(frozen=True, slots=True)
class Total:
    """Amounts since the plant's start at an instant, in thousandths of the quantity's unit, and amounts per second."""

    at_ms: int
    thousandths: Mapping[str, int]
    per_second: Mapping[str, int]


class Totals:
    """Running totals of all quantities from `start_s` on; when the clock steps back they hold still like registers."""

    BLOCK_S = 600
    STRIDE_S = 21_600  # how far it jumps at once after a long pause

    def __init__(self, schedule: Schedule, start_s: int, base: Mapping[str, int] | None = None) -> None:
        """`base`: totals at `start_s` (of an earlier run), in the quantities' units; zero without."""
        self._schedule = schedule
        self._base = {name: int((base or {}).get(name, 0)) for name in QUANTITIES}
        self._newest_ms = start_s * 1000
        self._load(start_s)

    def _load(self, from_s: int) -> None:
        self._from_s = from_s
        self._amounts = amounts(self._schedule, from_s, from_s + self.BLOCK_S)
        self._sums = {name: np.concatenate(([0], np.cumsum(values))) for name, values in self._amounts.items()}

    def at(self, t_ms: int) -> Total:
        """Totals at `t_ms`, exact to the millisecond."""
        self._newest_ms = max(t_ms, self._newest_ms)
        second, rest_ms = divmod(self._newest_ms, 1000)
        while second >= self._from_s + 2 * self.STRIDE_S:
            stride = amounts(self._schedule, self._from_s, self._from_s + self.STRIDE_S)
            self._base = {name: self._base[name] + int(values.sum()) for name, values in stride.items()}
            self._load(self._from_s + self.STRIDE_S)
        while second >= self._from_s + self.BLOCK_S:
            self._base = {name: self._base[name] + int(sums[-1]) for name, sums in self._sums.items()}
            self._load(self._from_s + self.BLOCK_S)
        index = second - self._from_s
        per_second = {name: int(values[index]) for name, values in self._amounts.items()}
        whole = {name: self._base[name] + int(sums[index]) for name, sums in self._sums.items()}
        thousandths = {name: whole[name] * 1000 + per_second[name] * rest_ms for name in QUANTITIES}
        return Total(self._newest_ms, thousandths, per_second)

    def checkpoint(self) -> tuple[int, dict[str, int]]:
        """Second and totals of the present block's start: what a later run may begin from."""
        return self._from_s, dict(self._base)
