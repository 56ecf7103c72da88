"""The true inventory: it holds all that the meters saw, and the accounting comes to it within the stated bounds."""

from decimal import Decimal
from fractions import Fraction

import numpy as np
import pytest
import yaml

from plantprint.account import EMPTY_CARRY, account_hour
from plantprint.facts import Channel, Reading
from plantprint.intervals import MeterSeries
from plantprint.plant.graph import PlantGraph, compile_plant
from plantprint.plant.model import Plant
from plantprint.production_book import reduce_events
from plantprint.times import HOUR_MS
from plantprint_simulators.meters import METERS
from plantprint_simulators.physics import Totals, amounts
from plantprint_simulators.plants import plant_file
from plantprint_simulators.schedule import Schedule
from plantprint_simulators.truth import Account, Sight, true_inventory

HOUR_S = 3600
OPENING_S = 1_795_000_000 // HOUR_S * HOUR_S + 2000
METERED = {"grid": "incomer", "pv": "pv", "gas": "gas", "stack-co2": "stack-co2"}


@pytest.mark.parametrize("opening_s", [OPENING_S, OPENING_S + 12 * HOUR_S])
def test_truth_holds_exactly_what_the_meters_saw(opening_s: int) -> None:
    schedule, from_s, to_s = Schedule(7, opening_s), opening_s - 6, opening_s + 2 * HOUR_S
    inventory = true_inventory(schedule, from_s, to_s)
    seen = amounts(schedule, from_s, to_s)
    for source, name in METERED.items():
        posted = sum((by_source[source].amount for by_source in inventory.values() if source in by_source), Fraction(0))
        assert posted == Fraction(int(seen[name].sum()) * 1000, METERS[name].size), source


def test_bounds_of_whole_batches_are_small() -> None:
    schedule, to_s = Schedule(7, OPENING_S), OPENING_S + HOUR_S
    inventory = true_inventory(schedule, OPENING_S - 6, to_s)
    whole = [b for b in schedule.batches(OPENING_S, to_s) if b.shipped_s < to_s and b.mass_kg > 20 and len(b.jobs) == 4]
    assert len(whole) > 30
    for batch in whole:
        for source, true in inventory[Account("batch", batch.id)].items():
            assert 0 < true.bound < 0.03 * true.amount, (batch.id, source)


@pytest.mark.parametrize(
    ("seed", "opening_s", "for_s", "stamp_s"), [(7, OPENING_S, 4000, 0.0), (8, OPENING_S + 11 * HOUR_S, 3000, 0.1)]
)
def test_the_accounting_comes_to_the_truth(seed: int, opening_s: int, for_s: int, stamp_s: float) -> None:
    """Readings once a second with late stamps, float32 registers and all: every account within its bound."""
    schedule, from_s, to_s = Schedule(seed, opening_s), opening_s - 6, opening_s + for_s
    graph = compile_plant(Plant.model_validate(yaml.safe_load(plant_file("dyehouse").read_text(encoding="utf-8"))))
    posted = _accounted(graph, schedule, from_s, to_s, stamp_s)
    for account, by_source in true_inventory(schedule, from_s, to_s, Sight(graph.plant.bucket_s, 1.0, stamp_s)).items():
        for source, true in by_source.items():
            found = Fraction(posted.pop((account, source), 0), 1_000_000)
            assert abs(found - true.amount) <= true.bound + 1e-5, (account, source)
    assert not posted


def _accounted(
    graph: PlantGraph, schedule: Schedule, from_s: int, to_s: int, stamp_s: float
) -> dict[tuple[Account, str], int]:
    readings = _readings(schedule, from_s, to_s, stamp_s)
    production = reduce_events(schedule.events(from_s, to_s), graph)
    assert not production.issues
    posted: dict[tuple[Account, str], int] = {}
    carry = EMPTY_CARRY
    for hour_ms in range(from_s * 1000 // HOUR_MS * HOUR_MS, to_s * 1000, HOUR_MS):
        series = {}
        for meter_id, meter in graph.meters.items():
            channel = Channel("gw-1", meter_id, meter.unit, METERS[meter_id].decimals, "counter")
            known = [r for r in readings[meter_id] if r.t_ms > hour_ms]
            within = [r for r in known if r.t_ms <= hour_ms + HOUR_MS]
            series[meter_id] = MeterSeries(channel, meter, Decimal(1), tuple(known[: len(within) + 4]))
        account = account_hour(graph, production, hour_ms, series, carry, to_s * 1000)
        carry = account.carry
        for key, amount in account.net.items():
            place = Account(key.account_kind, key.work_unit if key.account_kind == "idle" else key.account_id)
            posted[place, key.source] = posted.get((place, key.source), 0) + amount
    return posted


def _readings(schedule: Schedule, from_s: int, to_s: int, stamp_s: float) -> dict[str, list[Reading]]:
    totals, late = Totals(schedule, from_s), np.random.default_rng(1)
    readings: dict[str, list[Reading]] = {name: [] for name in METERS}
    for t_ms in range(from_s * 1000 + 317, to_s * 1000, 1000):
        total = totals.at(t_ms)
        for name, meter in METERS.items():
            count = meter.count(schedule.seed, total)
            if name in {"incomer", "pv"}:  # these registers are float32
                count = round(float(np.float32(count / 1000)) * 1000)
            readings[name].append(Reading(t_ms + int(late.uniform(0, stamp_s * 1000)), count))
    return readings
