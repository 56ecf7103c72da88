"""Hours that repeat an earlier one to the last digit: somebody filled a gap with old values and did not say so.

A measured load never does that over an hour of minutes. A load that stands still does, or a coarse counter with a few
values: only hours that vary say anything.
"""

from collections.abc import Iterable, Mapping

import numpy as np
from numpy.typing import NDArray

from plantprint.facts import Issue, Quality
from plantprint.intervals.series import MeterHour
from plantprint.times import HOUR_MS, format_instant

# Who fills gaps takes the day before, or the same day of the week before.
LAGS_MS = (24 * HOUR_MS, 7 * 24 * HOUR_MS)
# An hour of fewer buckets, or of fewer different values, could repeat by chance.
_BUCKETS_MIN = 30
_VALUES_MIN = 15


def can_repeat(hour: MeterHour) -> bool:
    """Whether an equal hour earlier would be no chance: known throughout, and hardly a value twice."""
    return (
        hour.amount.size >= _BUCKETS_MIN
        and bool((hour.quality > Quality.MISSING).all())
        and len(np.unique(hour.amount)) >= _VALUES_MIN
    )


def repeats(hour: MeterHour, earlier: NDArray[np.int64] | None) -> bool:
    return earlier is not None and can_repeat(hour) and np.array_equal(hour.amount, earlier)


def repeat_issue(meter: str, hour_ms: int, lag_ms: int) -> Issue:
    source = format_instant(hour_ms - lag_ms)
    message = (
        f"every bucket of this hour is that of {source} to the last digit, as if a gap had been filled with old values"
    )
    remedy = "ask what the recorder or gateway does with gaps; withdraw these readings or send them as estimated"
    return Issue("repeated-block", meter, message, remedy, hour_ms)


def repeat_issues(hours: Iterable[tuple[int, Mapping[str, MeterHour]]]) -> list[Issue]:
    """What repeats within consecutive accounted hours (start, hours by meter)."""
    known: dict[tuple[str, int], NDArray[np.int64]] = {}
    found: list[Issue] = []
    for hour_ms, meters in hours:
        for meter, hour in meters.items():
            known[meter, hour_ms] = hour.amount
            lags = [lag_ms for lag_ms in LAGS_MS if repeats(hour, known.get((meter, hour_ms - lag_ms)))]
            found += [repeat_issue(meter, hour_ms, lag_ms) for lag_ms in lags[:1]]
    return found
