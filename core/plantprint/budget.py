"""The alert of a carbon budget as a pure state machine: clear → pending → firing → resolved, one line at a time."""

from dataclasses import dataclass
from decimal import Decimal
from typing import Literal

from plantprint.plant.model import Budget

Level = Literal["clear", "pending", "firing"]
Transition = Literal["pending", "firing", "resolved"]


@dataclass(frozen=True, slots=True)
class BudgetState:
    """Where a line's alert stands; `over_ms` is how long it was known to be over budget, `seen_ms` the last look."""

    level: Level = "clear"
    seen_ms: int = 0
    over_ms: int = 0
    pending_ms: int | None = None
    firing_ms: int | None = None


def next_state(
    budget: Budget, state: BudgetState, rate_kg_co2e_per_hour: Decimal | None, now_ms: int
) -> tuple[BudgetState, Transition | None]:
    """The state after a look at the rate, and what changed; a rate of None means that its data are missing.

    Missing data never fire or resolve anything by themselves, and their time does not count as over budget. A firing
    alert resolves at limit x clear_ratio; a pending one that falls to the limit resolves without ever having fired.
    Time that runs backwards counts as none.
    """
    limit = budget.kg_co2e_per_hour
    seen_ms = max(now_ms, state.seen_ms)
    if rate_kg_co2e_per_hour is None:
        return BudgetState(state.level, seen_ms, state.over_ms, state.pending_ms, state.firing_ms), None
    if state.level == "firing":
        if rate_kg_co2e_per_hour <= limit * budget.clear_ratio:
            return BudgetState(seen_ms=seen_ms), "resolved"
        return BudgetState("firing", seen_ms, state.over_ms, state.pending_ms, state.firing_ms), None
    if rate_kg_co2e_per_hour <= limit:
        return BudgetState(seen_ms=seen_ms), "resolved" if state.level == "pending" else None
    if state.level == "clear":
        over_ms, pending_ms = 0, seen_ms
    else:
        over_ms, pending_ms = state.over_ms + seen_ms - state.seen_ms, state.pending_ms or seen_ms
    if over_ms >= budget.pending_s * 1000:
        return BudgetState("firing", seen_ms, over_ms, pending_ms, seen_ms), "firing"
    return BudgetState("pending", seen_ms, over_ms, pending_ms), "pending" if state.level == "clear" else None
