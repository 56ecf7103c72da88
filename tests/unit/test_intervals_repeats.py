"""An hour that repeats an earlier one to the last digit is told; what stands still or has few values is not."""

import random

import numpy as np
import pytest

from plantprint.facts import Quality
from plantprint.intervals import MeterHour
from plantprint.intervals.repeats import repeat_issues
from plantprint.times import HOUR_MS

HOUR = 480_000 * HOUR_MS


def hour(*amounts: int, quality: int = Quality.MEASURED) -> MeterHour:
    size = len(amounts)
    return MeterHour(np.array(amounts, np.int64), np.full(size, quality, np.int8), np.zeros(size, np.int32))


def noise(seed: int, size: int = 60, values: int = 10**6) -> MeterHour:
    chance = random.Random(seed)
    return hour(*(chance.randrange(values) for _ in range(size)))


def told(*days: MeterHour, apart: int = 24) -> list[tuple[str, int]]:
    """Issues of a meter of which one hour a day (or every `apart` hours) is known: code, and how many days in."""
    found = repeat_issues((HOUR + n * apart * HOUR_MS, {"m": day}) for n, day in enumerate(days))
    return [(issue.code, (issue.at_ms - HOUR) // (apart * HOUR_MS)) for issue in found]


def test_the_day_before_and_the_week_before_are_recognised() -> None:
    assert told(noise(1), noise(1), noise(2)) == [("repeated-block", 1)]
    assert told(noise(1), noise(1), apart=168) == [("repeated-block", 1)]
    assert told(noise(1), noise(1), apart=23) == []


def test_one_digit_elsewhere_is_no_repeat() -> None:
    other = noise(1)
    other.amount[17] += 1
    assert told(noise(1), other) == []


@pytest.mark.parametrize(
    "same",
    [hour(*[5] * 60), hour(*[0, 1, 2] * 20), noise(3, size=4), noise(3, values=10), hour(*range(60), quality=0)],
    ids=["constant", "coarse", "quarter hours", "few values", "unknown"],
)
def test_what_could_repeat_by_chance_is_not_told(same: MeterHour) -> None:
    assert told(same, same) == []
