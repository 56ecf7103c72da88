"""The last settled hour as it is in the ledger, to notice when its readings say another."""

from collections.abc import Sequence

import numpy as np

from plantprint.intervals import CounterState, MeterHour
from plantprint.stores import Level
from plantprint_collector.stored_hours import Kept


class SettledHour:
    """What each of `meters` told and its state at the end, nothing of one that `kept` does not know; levels of stores."""

    def __init__(self, meters: Sequence[str], kept: Kept, levels: dict[str, Level]) -> None:
        # Copies: the arrays that were told may go on.
        self._hours = [_copied(kept.hours[meter]) if meter in kept.hours else None for meter in meters]
        self._states = [kept.states.get(meter) for meter in meters]
        self.levels = levels

    def is_alike(self, row: int, hour: MeterHour, state: CounterState | None) -> bool:
        """Whether one of the meters would be settled like this."""
        known = self._hours[row]
        if known is None or state != self._states[row]:
            return False
        return all(np.array_equal(getattr(hour, name), getattr(known, name)) for name in MeterHour.__slots__)


def _copied(hour: MeterHour) -> MeterHour:
    return MeterHour(hour.amount.copy(), hour.quality.copy(), hour.missing_ms.copy())
