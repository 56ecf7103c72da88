"""Coarse counters on any course, with any power: every hour adds up to the register, less than a step apart."""

import random
from itertools import pairwise

from coarse_meters import KWH, shaped_hours
from hypothesis import given
from hypothesis import strategies as st
from random_plants import UNHURRIED
from strategies import HOUR_0

from plantprint.facts import Reading
from plantprint.times import HOUR_MS

HOURS = 3


@st.composite
def courses(draw: st.DrawFn) -> tuple[list[Reading], list[Reading] | None]:
    """A whole kWh register behind a changing load, and a power channel that is right, off by a factor, holey or absent."""
    chance = random.Random(draw(st.integers(0, 2**32)))
    t_ms, energy, kw = HOUR_0 - HOUR_MS + 1, chance.random(), 0.0
    every_ms = draw(st.sampled_from([10_000, 60_000, 900_000]))
    factor = draw(st.sampled_from([1, 1, 10, 0.1, 0]))
    counter, power = [], []
    while t_ms < HOUR_0 + HOURS * HOUR_MS + HOUR_MS // 2:
        kw = chance.choice([kw, kw, kw, 0.0, 0.4, 3.0, 40.0])
        if chance.random() < 0.95:
            counter.append(Reading(t_ms, 1000 + int(energy)))
        if chance.random() < 0.95:
            power.append(Reading(t_ms, round(kw * factor * 10)))
        energy += kw * every_ms / HOUR_MS
        t_ms += every_ms
    return counter, power if draw(st.integers(0, 4)) else None


@UNHURRIED
@given(courses())
def test_every_hour_adds_up_to_the_register_less_than_a_step_apart(
    course: tuple[list[Reading], list[Reading] | None],
) -> None:
    counter, power = course
    found = shaped_hours(counter, power, HOURS, first=-1)
    for number, ((_, before, _), (hour, after, _)) in enumerate(pairwise(found)):
        assert before is not None
        assert after is not None
        registers = [[r.value for r in counter if r.t_ms <= HOUR_0 + n * HOUR_MS][-1] for n in (number, number + 1)]
        assert hour.amount.sum() == (registers[1] - registers[0]) * KWH + after.ahead - before.ahead
        assert (hour.amount >= 0).all()
        assert 0 <= after.ahead <= KWH
        if power is None:
            assert after.ahead == 0
