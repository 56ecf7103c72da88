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


def can_repeat(amount: NDArray[np.int64], quality: NDArray[np.int8]) -> NDArray[np.bool_]:
    """Of hours [..., bucket], whether an equal one earlier would be no chance: known throughout, and of many values."""
    values = np.sort(amount, axis=-1)
    count = (values[..., 1:] != values[..., :-1]).sum(axis=-1) + 1
    is_known = (quality > Quality.MISSING).all(axis=-1)
    can: NDArray[np.bool_] = is_known & (count >= _VALUES_MIN) & (amount.shape[-1] >= _BUCKETS_MIN)
    return can


def repeats(hour: MeterHour, earlier: NDArray[np.int64] | None) -> bool:
    return earlier is not None and np.array_equal(hour.amount, earlier) and bool(can_repeat(hour.amount, hour.quality))


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
