"""Work units to batches: the table of states and jobs, cuts inside buckets, rules for jobs at once."""

from itertools import pairwise

import numpy as np
import pytest
from accounting_cases import HOUR, HOUR_MS, job, production, state

from plantprint.allocation import Account, allocate, cut, segments
from plantprint.plant.graph import Place
from plantprint.plant.model import Step
from plantprint.production import Job, StateSpan

PLACE = Place("dyer", "line", "dye")
MINUTE = 60_000
STEPS = {
    rule: Step.model_validate({"id": rule, "name": {"en": rule}, "rule": rule})
    for rule in ("weight", "equal", "exclusive")
}


def who(*parts: Job | StateSpan) -> list[tuple[float, float, dict[str, int]]]:
    """The segments in minutes, each with the weight of its batches or of the account apart."""
    return [
        (
            part.from_ms / MINUTE,
            part.to_ms / MINUTE,
            {a.id if a.kind == "batch" else a.kind: weight for a, weight in part.shares},
        )
        for part in segments(production(*parts), STEPS, PLACE, HOUR, 1)[0]
    ]


def test_without_any_state_a_job_means_processing_and_no_job_means_idle() -> None:
    assert who(job("1", "dyer", 10, 40)) == [
        (0, 10, {"idle": 1}),
        (10, 40, {"b-1": 1_000_000}),
        (40, 60, {"idle": 1}),
    ]


@pytest.mark.parametrize("name", ["idle", "standby", "fault", "off", "unknown", "paused"])
def test_a_machine_that_does_not_work_is_idle_with_or_without_a_job(name: str) -> None:
    assert who(job("1", "dyer", -10, None), state("dyer", "processing", -10, 30), state("dyer", name, 30)) == [
        (0, 30, {"b-1": 1_000_000}),
        (30, 60, {"idle": 1}),
    ]
    assert who(state("dyer", name, -100)) == [(0, 60, {"idle": 1})]


def test_processing_without_a_job_is_unassigned() -> None:
    assert who(job("1", "dyer", 0, 20), state("dyer", "processing", -5)) == [
        (0, 20, {"b-1": 1_000_000}),
        (20, 60, {"unassigned": 1}),
    ]


def test_setup_goes_to_the_job_that_follows_within_the_hour_and_clean_down_to_the_one_before() -> None:
    parts = (
        state("dyer", "setup", 0, 10),
        job("1", "dyer", 10, 30),
        state("dyer", "processing", 10, 30),
        state("dyer", "clean-down", 30, 40),
        state("dyer", "off", 40, 50),
        state("dyer", "setup", 50),
        job("2", "dyer", 65, 90),
    )
    assert who(*parts) == [(0, 40, {"b-1": 1_000_000}), (40, 60, {"idle": 1})]


def test_setup_within_a_running_job_is_that_jobs() -> None:
    parts = (
        job("1", "dyer", 5, 30),
        state("dyer", "setup", 0, 10),
        state("dyer", "processing", 10),
        job("2", "dyer", 30, 60),
    )
    assert who(*parts) == [(0, 30, {"b-1": 1_000_000}), (30, 60, {"b-2": 1_000_000})]


def test_clean_down_without_a_job_in_the_hour_is_idle() -> None:
    assert who(job("1", "dyer", -30, 0), state("dyer", "clean-down", 0, 10)) == [(0, 60, {"idle": 1})]


def test_several_jobs_that_follow_a_setup_share_it_by_weight() -> None:
    parts = (
        state("dyer", "setup", 0, 10),
        job("1", "dyer", 10, None, weight=2),
        job("2", "dyer", 10, None, weight=1),
        job("3", "dyer", 20, None, weight=1),
    )
    assert who(*parts)[0] == (0, 20, {"b-1": 2, "b-2": 1})


def test_rules_for_jobs_that_run_at_once() -> None:
    first, second = {"weight": 3_000_000}, {"weight": 1_000_000}
    for rule, shares in (
        ("weight", {"b-1": 3_000_000, "b-2": 1_000_000}),
        ("equal", {"b-1": 1, "b-2": 1}),
        ("exclusive", {"conflict": 1}),
    ):
        jobs = (job("1", "dyer", 0, None, step=rule, **first), job("2", "dyer", 0, None, step=rule, **second))
        assert who(*jobs) == [(0, 60, shares)]
    assert who(job("1", "dyer", 0, None, step="exclusive")) == [(0, 60, {"b-1": 1_000_000})]


def test_two_jobs_of_one_batch_add_their_weights() -> None:
    jobs = (job("1", "dyer", 0, None, batch="b"), job("2", "dyer", 0, None, batch="b"), job("3", "dyer", 0, None))
    assert who(*jobs) == [(0, 60, {"b": 2_000_000, "b-3": 1_000_000})]


def test_a_job_without_duration_takes_nothing() -> None:
    assert who(job("1", "dyer", 10, 10)) == [(0, 60, {"idle": 1})]


def test_accounts_apart_name_the_work_unit_and_its_step() -> None:
    ((part,),) = segments(production(), STEPS, PLACE, HOUR, 1)
    assert part.shares == ((Account("idle", "dyer", "dyer", "dye"), 1),)


def test_a_bucket_is_cut_by_time_and_nothing_is_lost() -> None:
    amount = np.array([[101, 7, 0, 50], [3, 3, 3, 3]])
    edges = [0, 1, 899_999, 900_000, 1_700_001, 2_700_000, HOUR_MS - 1, HOUR_MS]
    parts = [cut(amount, a, b) for a, b in pairwise(edges)]
    assert np.array_equal(sum(parts), amount)
    assert cut(amount, 450_000, 1_350_000).tolist() == [[51, 4, 0, 0], [1, 2, 0, 0]]
    assert cut(amount, 300_000, 600_000).tolist() == [[33, 0, 0, 0], [1, 0, 0, 0]]


def test_a_segment_is_divided_once_and_then_spread_over_its_buckets() -> None:
    amount, quality = np.array([[10, 0, 0, 1]]), np.array([[3, 3, 3, 1]], np.int8)
    jobs = production(job("1", "dyer", 0, 45, weight=1), job("2", "dyer", 0, 45, weight=2))
    pieces = allocate(amount, quality, segments(jobs, STEPS, PLACE, HOUR, 1)[0])
    found = {
        (piece.account.kind, piece.account.id): (piece.amount.tolist(), piece.quality.tolist()) for piece in pieces
    }
    assert found == {
        ("batch", "b-1"): ([[3, 0, 0, 0]], [3]),
        ("batch", "b-2"): ([[7, 0, 0, 0]], [3]),
        ("idle", "dyer"): ([[0, 0, 0, 1]], [1]),
    }


def test_only_the_jobs_that_touch_an_hour_are_looked_at() -> None:
    past = [job(f"{n}", "dyer", -60 * n, -60 * n + 30) for n in range(1, 50)]
    long = job("long", "dyer", -5000, 20)
    assert who(*past, long, job("later", "dyer", 60, 90)) == [(0, 20, {"b-long": 1_000_000}), (20, 60, {"idle": 1})]
