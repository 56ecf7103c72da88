"""Invariant 8: what the ledger says of the simulated dye house is its true inventory, within the bounds that are stated.

Readings at 1 Hz with late stamps and float32 registers come in late, twice and out of order; the accountant settles
them in a database. The truth is integrated from the physics by code that shares nothing with the accounting.
"""

import random
from collections.abc import Callable, Iterator
from fractions import Fraction

import numpy as np
import pytest
import yaml
from ledger_rig import Rig

from plantprint.divide_arrays import Ints
from plantprint.facts import Channel, Reading
from plantprint.quantities import MICRO
from plantprint.segment_sums import Parts, allocate_totals
from plantprint_collector import store
from plantprint_simulators.meters import METERS
from plantprint_simulators.physics import Totals
from plantprint_simulators.plants import plant_file
from plantprint_simulators.schedule import Schedule
from plantprint_simulators.truth import Account, Sight, true_inventory

pytestmark = pytest.mark.simulation

HOUR_S = 3600
SEED = 11
OPENING_S = 1_795_000_000 // HOUR_S * HOUR_S + 1800
FROM_S, FIRST_HOUR_S = OPENING_S - 6, OPENING_S + 1800
STAMP_S = 0.05
CHUNK = 250
# Beyond the bound only the rounding of each division, a millionth at a time.
ROUNDING = 1e-4

Ledger = dict[tuple[Account, str], int]


def readings(to_s: int) -> dict[str, list[Reading]]:
    totals, late = Totals(Schedule(SEED, OPENING_S), FROM_S), np.random.default_rng(1)
    found: dict[str, list[Reading]] = {name: [] for name in METERS}
    for t_ms in range(FROM_S * 1000 + 317, (to_s + 5) * 1000, 1000):
        total = totals.at(t_ms)
        for name, meter in METERS.items():
            count = meter.count(SEED, total)
            if name in {"incomer", "pv"}:  # these registers are float32
                count = round(float(np.float32(count / 1000)) * 1000)
            found[name].append(Reading(t_ms + int(late.uniform(0, STAMP_S * 1000)), count))
    return found


def arrivals(to_s: int, chance: random.Random | None) -> Iterator[dict[str, list[Reading]]]:
    """All at once, or by chance in chunks as a bad network delivers them: some a quarter of an hour late, some twice."""
    if chance is None:
        yield readings(to_s)
        return
    several: list[tuple[float, str, list[Reading]]] = []
    for name, course in readings(to_s).items():
        for start in range(0, len(course), CHUNK):
            chunk = course[start : start + CHUNK]
            for _ in range(chance.choice([1, 1, 1, 2])):
                several.append((chunk[-1].t_ms + chance.choice([0, 0, 0, 900_000]), name, chunk))
    several.sort(key=lambda item: item[:2])
    for start in range(0, len(several), len(METERS)):
        together: dict[str, list[Reading]] = {}
        for _, name, chunk in several[start : start + len(METERS)]:
            together.setdefault(name, []).extend(chunk)
        yield together


def ledger(database_url: str, to_s: int, chance: random.Random | None = None) -> Ledger:
    """Everything through the accountant, pass by pass; net amounts by account and source, its own audit being clean."""
    plant = yaml.safe_load(plant_file("dyehouse").read_text(encoding="utf-8"))
    with Rig(database_url, site="dyehouse") as rig:
        rig.apply(plant)
        bound = {m["id"]: m["bindings"][0]["channel"].partition("/")[2] for m in plant["meters"]}
        rig.declare(*(Channel("gw-1", bound[n], m.unit, m.decimals, "counter") for n, m in METERS.items()))
        for event in Schedule(SEED, OPENING_S).events(FROM_S, to_s + 60):
            store.insert_event(rig.conn, rig.site, event)
        for together in arrivals(to_s, chance):
            rig.store({bound[name]: several for name, several in together.items()})
            rig.run()
        rig.assert_clean()
        assert rig.rows("select count(*) from accounted_hour") == [((to_s - FROM_S) // HOUR_S + 1,)]
        rows = rig.rows(
            "select account_kind, case account_kind when 'idle' then work_unit else account_id end, source, "
            "sum(amount)::bigint from posting group by 1, 2, 3 having sum(amount) <> 0"
        )
    return {(Account(kind, name), source): amount for kind, name, source, amount in rows}


def beyond_bounds(found: Ledger, to_s: int) -> list[str]:
    """Accounts whose amount is further from the truth than stated, or which the truth does not know."""
    truth = true_inventory(Schedule(SEED, OPENING_S), FROM_S, to_s, Sight(10, 1.0, STAMP_S))
    wrong = []
    for account, by_source in truth.items():
        for source, true in by_source.items():
            off = abs(Fraction(found.get((account, source), 0), MICRO) - true.amount)
            if off > true.bound + ROUNDING:
                wrong.append(f"{account} {source}: off by {float(off):.6f}, stated {true.bound:.6f}")
    known = {(account, source) for account, by_source in truth.items() for source in by_source}
    return wrong + [f"{account} {source}: not there in truth" for account, source in found.keys() - known]


def test_every_batch_and_source_is_within_its_bound(database_url: str) -> None:
    to_s = FIRST_HOUR_S + HOUR_S
    found = ledger(database_url, to_s, random.Random(SEED))
    assert len({account for account, _ in found if account.kind == "batch"}) > 60
    assert beyond_bounds(found, to_s) == []


def _off_by_a_tenth(amounts: Ints) -> Ints:
    """A tenth of what each account of a machine gets goes to the next one: conserved, and wrong."""
    moved = amounts // 10
    return amounts - moved + np.roll(moved, 1, axis=0)


def _swapped(amounts: Ints) -> Ints:
    """Two accounts of a machine get each other's amounts."""
    return np.concatenate([amounts[1::-1], amounts[2:]])


@pytest.mark.contradicts("what the auditor repeats at the end has no planted error any more")
@pytest.mark.parametrize("mistake", [_off_by_a_tenth, _swapped])
def test_one_planted_error_in_allocation_turns_it_red(
    database_url: str, monkeypatch: pytest.MonkeyPatch, mistake: Callable[[Ints], Ints]
) -> None:
    """Nothing else notices: it is conserved, and the auditor's recompute agrees with it."""

    def wrong(amount: Ints, bucket_ms: int, parts: Parts) -> Ints:
        shares = allocate_totals(amount, bucket_ms, parts)
        machine = np.repeat(parts.unit, parts.counts)
        for unit in np.unique(machine).tolist():
            shares[machine == unit] = mistake(shares[machine == unit])
        return shares

    monkeypatch.setattr("plantprint.work_units.allocate_totals", wrong)
    assert len(beyond_bounds(ledger(database_url, FIRST_HOUR_S), FIRST_HOUR_S)) > 10
