"""Budget alerts: pending before firing, hysteresis before resolving, and no decision on missing data."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plantprint.budget import BudgetState, next_state
from plantprint.plant.model import Budget

BUDGET = Budget(kg_co2e_per_hour=Decimal(100), pending_s=30, clear_ratio=Decimal("0.9"))
CLEAR = BudgetState()


def run(*looks: tuple[int, float | None], budget: Budget = BUDGET, state: BudgetState = CLEAR) -> list[str]:
    """Looks are (second, rate or None); returns level or `level!transition` after each."""
    told = []
    for second, rate in looks:
        state, transition = next_state(budget, state, None if rate is None else Decimal(str(rate)), second * 1000)
        told.append(state.level + (f"!{transition}" if transition else ""))
    return told


def test_a_line_over_budget_fires_after_the_pending_time_and_resolves_below_the_clear_ratio() -> None:
    looks = [(0, 99), (10, 101), (20, 150), (39, 150), (40, 150), (50, 99), (60, 90.1), (70, 90), (80, 50)]
    assert run(*looks) == [
        "clear",
        "pending!pending",
        "pending",
        "pending",
        "firing!firing",
        "firing",
        "firing",
        "clear!resolved",
        "clear",
    ]


def test_a_peak_shorter_than_the_pending_time_never_fires() -> None:
    assert run((0, 120), (20, 120), (25, 100), (30, 120), (59, 120)) == [
        "pending!pending",
        "pending",
        "clear!resolved",
        "pending!pending",
        "pending",
    ]


def test_missing_data_neither_fire_nor_resolve_and_do_not_count_as_over_budget() -> None:
    assert run((0, 120), (20, None), (500, None), (505, 120), (510, 120), (529, 120), (530, 120)) == [
        "pending!pending",
        "pending",
        "pending",
        "pending",
        "pending",
        "pending",
        "firing!firing",
    ]
    assert run((0, None), (100, None)) == ["clear", "clear"]
    firing = BudgetState("firing", 0, 30_000, 0, 30_000)
    assert run((100, None), (9_000, None), state=firing) == ["firing", "firing"]


def test_no_pending_time_fires_at_once() -> None:
    at_once = BUDGET.model_copy(update={"pending_s": 0})
    assert run((5, 100.01), budget=at_once) == ["firing!firing"]


def test_the_state_remembers_since_when() -> None:
    state, _ = next_state(BUDGET, CLEAR, Decimal(101), 5_000)
    state, _ = next_state(BUDGET, state, Decimal(101), 40_000)
    assert (state.level, state.pending_ms, state.firing_ms) == ("firing", 5_000, 40_000)


def test_time_that_runs_backwards_counts_as_none() -> None:
    assert run((100, 120), (50, 120), (125, 120), (131, 120)) == [
        "pending!pending",
        "pending",
        "pending",
        "firing!firing",
    ]


@pytest.mark.parametrize("at_limit", [100])
def test_the_limit_itself_is_met(at_limit: int) -> None:
    assert run((0, at_limit), (1000, at_limit)) == ["clear", "clear"]


@given(st.lists(st.tuples(st.integers(0, 60), st.none() | st.integers(0, 200)), max_size=40))
def test_an_alert_always_goes_through_its_states_in_order(steps: list[tuple[int, int | None]]) -> None:
    state, now_ms, over_ms = CLEAR, 0, 0
    open_alert = ""
    for pause_s, rate in steps:
        now_ms += pause_s * 1000
        over_ms = over_ms + pause_s * 1000 if rate is not None and rate > 100 else over_ms
        state, transition = next_state(BUDGET, state, None if rate is None else Decimal(rate), now_ms)
        if transition == "pending":
            assert not open_alert
        elif transition == "firing":
            assert open_alert == "pending"
            assert rate is not None
            assert over_ms >= 30_000
        elif transition == "resolved":
            assert open_alert
            assert rate is not None
        if transition:
            open_alert = "" if transition == "resolved" else transition
        assert (state.level == "clear") == (not open_alert)
        over_ms = 0 if state.level == "clear" else over_ms
