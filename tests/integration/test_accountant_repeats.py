"""The accountant tells of settled hours in which a meter repeats the day before, and takes it back when they change."""

import random

import pytest
from accounting_cases import HOUR
from ledger_rig import METERS, Rig, mill

from plantprint.facts import Reading

pytestmark = pytest.mark.integration

HOUR_S = 3600


def open_repeats(rig: Rig) -> list[tuple[str, int]]:
    rows = rig.rows("select place, at from issue where code = 'repeated-block' and open order by at")
    return [(place, (int(at.timestamp() * 1000) - HOUR) // 3_600_000) for place, at in rows]


def test_a_filled_gap_is_told_until_real_readings_replace_it(database_url: str) -> None:
    chance = random.Random(7)
    day = [[chance.randrange(2000) for _ in range(60)] for _ in range(24)]
    steps = [step for hour in [*day, *day[:2], day[2][::-1]] for step in hour]
    register = [1_000_000 + sum(steps[:n]) for n in range(len(steps) + 1)]
    with Rig(database_url) as rig:
        rig.apply(mill())
        rig.declare()
        rig.steady(0, 27 * HOUR_S, 600, meters=[meter for meter in METERS if meter != "m1"])
        rig.store({"m1": [Reading(HOUR + n * 60_000, value) for n, value in enumerate(register)]})
        rig.run()
        assert open_repeats(rig) == [("m1", 24), ("m1", 25)]
        late = Reading(HOUR + 25 * HOUR_S * 1000 - 60_000, register[25 * 60 - 1] + 1, revision=1)
        rig.store({"m1": [late]})
        rig.run()
        assert open_repeats(rig) == [("m1", 25)]
