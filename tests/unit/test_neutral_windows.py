"""What an hour of a document is made from: readings far beyond its end too, where those before them decide nothing."""

import json
from typing import Any

import pytest

from plantprint import neutral

Body = dict[str, Any]
KWH = 1_000_000


def account(channel: Body, blocks: list[Body], until: str, bindings: list[Body] | None = None) -> list[int]:
    """What one meter counts in each hour from 2026-01-01 on, in millionths of a kWh; UTC, buckets of a quarter."""

    def named(name: str) -> Body:
        return {"id": name, "name": {"en": name}}

    plant = {
        "plantprint": 1,
        "site": named("s"),
        "bucket_s": 900,
        "work_centers": [{**named("l"), "work_units": [named("u")]}],
        "sources": [{**named("g"), "unit": "kWh", "kind": "grid", "factor": "f", "scope": 2}],
        "meters": [{**named("m"), "unit": "kWh", "bindings": bindings or [{"channel": "gw/m"}]}],
        "flows": [{"from": "g", "to": "u", "amount": "m"}],
    }
    document = {
        "plantprint_facts": 1,
        "plants": [{"model": plant}],
        "channels": [{"channel": "gw/m", "unit": "kWh", "decimals": 3, **channel}],
        "readings": [{"channel": "gw/m", **block} for block in blocks],
        "until": at(until),
    }
    accounts = neutral.account_facts(neutral.parse_facts(json.dumps(document)))
    return [int(hour.meters["m"].amount.sum()) for hour in accounts.hours]


def at(clock: str) -> str:
    return f"2026-01-01T{clock}:00Z"


def test_a_channel_that_pauses_until_an_hours_start_goes_on_from_its_register_there() -> None:
    """Of the 115 kWh that it counts in the pause none are the meter's."""
    told = [(m, m if m < 120 else m + 100) for m in range(0, 196, 15)]
    register = {"rows": [[at(f"{m // 60:02}:{m % 60:02}"), str(value)] for m, value in told]}
    bindings = [{"channel": "gw/m", "valid_to": at("01:45")}, {"channel": "gw/m", "valid_from": at("02:00")}]
    counted = account({"kind": "counter"}, [register], "03:00", bindings)
    assert counted[-3:] == [60 * KWH, 45 * KWH, 60 * KWH]


@pytest.mark.parametrize("taken_back", [3, 4, 9])
def test_readings_taken_back_after_an_hours_end_do_not_hide_the_good_one_behind_them(taken_back: int) -> None:
    rows = [[at("00:00"), "10"], [at("00:30"), "13"], [at("02:00"), "22"]]
    wrong = [[at(f"01:{m:02}"), "999"] for m in range(1, taken_back + 1)]
    blocks: list[Body] = [{"rows": rows}, {"rows": wrong}, {"rows": wrong, "quality": "missing", "revision": 1}]
    assert account({"kind": "counter"}, blocks, "02:00")[-2:] == [6 * KWH, 6 * KWH]


def test_amounts_that_overlap_many_times_are_all_counted() -> None:
    """6 kWh of two hours, told every ten minutes: six begin in the first hour, the last of them told at 02:50."""
    rows = [[at(f"{m // 60:02}:{m % 60:02}"), "6"] for m in range(120, 530, 10)]
    # 60, 50, 40, 30, 20 and 10 minutes of them are in the first hour, at 3 kW.
    counted = account({"kind": "amount", "period_s": 7200}, [{"rows": rows}], "04:00")
    assert counted == [10_500_000, 28_500_000, 36 * KWH, 36 * KWH]
