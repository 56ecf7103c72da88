"""`bench account` on a tiny plant: three ways to divide agree, every source ends in postings; no time is judged."""

import json
from importlib.util import find_spec

import numpy as np
import pytest
from parts import missing
from typer.testing import CliRunner

from plantprint.account import EMPTY_CARRY, Carry
from plantprint.segment_sums import allocate_totals
from plantprint_cli.__main__ import app
from plantprint_cli.bench import account, account_peers
from plantprint_cli.bench.account_plant import make, with_windows
from plantprint_cli.bench.common import BenchError

pytestmark = pytest.mark.integration

TINY = account.Size(days=2, jobs=300, units=12, allocation_days=1, history_days=(1, 2), rounds=1)


@pytest.fixture(autouse=True)
def _peers() -> None:
    for name in ("duckdb", "polars"):
        if find_spec(name) is None:
            missing(f"{name} is not installed: pip install {name}")


def test_every_number_that_is_promised_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(account, "Size", lambda **_: TINY)
    result = CliRunner().invoke(app, ["bench", "account", "--json"])
    report = json.loads(result.stdout)
    assert result.exit_code == 0
    for name in ("plant_year_s", "ns_per_edge_source_bucket", "peak_memory_mb", "ratio_vs_duckdb", "ratio_vs_polars"):
        assert report[name] > 0, name
    assert report["with_idle_windows"]["postings"] > report["postings"] > 0
    assert [point["history_days"] for point in report["late_reading"]] == [1, 2]
    assert all(0 < point["hours_accounted"] <= 9 for point in report["late_reading"])
    assert (report["work_units"], report["pools"], report["cycles"], report["sources"]) == (12, 12, 2, 8)


def test_three_ways_to_divide_give_the_same_integers() -> None:
    case = account_peers.make_case(1, 200, 12)
    wanted = allocate_totals(case.amount, 60_000, case.parts)
    assert case.amount.sum() == wanted.sum()
    assert np.array_equal(account_peers.duckdb_engine(case)(), wanted)
    assert np.array_equal(account_peers.polars_engine(case)(), wanted)


def test_stretches_that_begin_with_something_are_accounted_again() -> None:
    plant = with_windows(make(48, 300, 12))
    whole = account.Stretch([account._day(plant, 0, EMPTY_CARRY)], 0.0, 0.0)
    held = account.Day(0, {}, Carry({}, {"hv": (("grid", 0, 3, 5),)}))
    second = account.Stretch([account._day(plant, 1, EMPTY_CARRY)], 0.0, 0.0)
    days, twice = account._joined(plant, [account.Stretch([held], 0.0, 0.0), second])
    assert twice == 1
    assert days[1].postings > second.days[0].postings
    assert account._joined(plant, [whole, second]) == ([*whole.days, *second.days], 0)


def test_a_lost_amount_is_noticed() -> None:
    plant = make(24, 100, 12)
    with pytest.raises(BenchError, match="posted more or less than what entered"):
        account._check(plant, [account.Day(0, dict.fromkeys(plant.graph.sources, 0), EMPTY_CARRY)])
