"""The recorded house: four days of it around the undeclared fill, accounted from its own plant file and agent configuration."""

import csv
import gzip
import json
from decimal import Decimal
from functools import cache
from typing import Any

import pytest
import yaml

from plantprint import neutral
from plantprint.times import HOUR_MS, format_instant, parse_instant
from plantprint_edge.channels import all_channels
from plantprint_edge.config import ReplaySource
from plantprint_edge.load import load_config
from plantprint_edge.sources.replay import read_records
from plantprint_simulators.plants import plant_file, recorded_file, render_recorded_config

# From a day before the fill begins (28 April 00:21, winter time) to the end of the day on which it stops.
DAYS = [f"2007-04-{day}" for day in (27, 28, 29, 30)]
FIRST_MS, LAST_MS = parse_instant("2007-04-26T23:00:00Z"), parse_instant("2007-04-30T23:00:00Z")


@pytest.fixture(scope="module")
def result(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The accounts of the cut, as `plantprint account` prints them."""
    path = tmp_path_factory.mktemp("house") / "agent.yaml"
    cut = path.with_name("cut.csv")
    with gzip.open(recorded_file("house"), "rt", encoding="utf-8") as file:
        lines = [line for n, line in enumerate(file) if not n or line[:10] in DAYS]
    cut.write_text("".join(lines), encoding="utf-8")
    text = render_recorded_config("house", "mqtt://127.0.0.1:1883", path.parent / "outbox.db", file=cut)
    path.write_text(text, encoding="utf-8")
    config = load_config(path, {})
    (source,) = config.sources
    assert isinstance(source, ReplaySource)
    records = list(read_records(source))
    assert (records[0].end_ms - 60_000, records[-1].end_ms) == (FIRST_MS, LAST_MS)
    channels = all_channels(config)
    facts = {
        "plantprint_facts": 1,
        "plants": [{"model": yaml.safe_load(plant_file("house").read_text(encoding="utf-8"))}],
        "channels": [
            {"channel": c.key, "unit": c.unit, "decimals": c.decimals, "kind": c.kind, "period_s": c.period_s}
            for c in channels
        ],
        "readings": [
            {
                "channel": c.key,
                "rows": [
                    [format_instant(r.end_ms), str(Decimal(value).scaleb(-c.decimals))]
                    for r in records
                    if (value := r.values[n]) is not None
                ],
            }
            for n, c in enumerate(channels)
        ],
        "until": format_instant(LAST_MS),
    }
    found: dict[str, Any] = neutral.accounts_json(neutral.account_facts(neutral.parse_facts(json.dumps(facts))))
    return found


def test_the_undeclared_fill_is_a_visible_issue_of_every_whole_hour_of_it(result: dict[str, Any]) -> None:
    repeats = [issue for issue in result["issues"] if issue["code"] == "repeated-block"]
    hours = [(parse_instant(i["at"]) - FIRST_MS) // HOUR_MS for i in repeats if i["place"] == "main"]
    # The fill goes from minute 21 of the day's first hour to minute 23 of the fifteenth, two days on: 61 whole hours.
    assert set(hours) == set(range(25, 25 + 61))
    assert "2007-04-27" in repeats[0]["message"]


def test_submeters_and_the_unmetered_rest_add_up_to_the_main_meter(result: dict[str, Any]) -> None:
    sums: dict[str, Decimal] = {}
    for posting in result["postings"]:
        key = f"{posting['account_kind']}/{posting['account_id']}"
        sums[key] = sums.get(key, Decimal(0)) + Decimal(posting["amount"])
    assert sums.keys() == {"idle/kitchen", "idle/laundry", "idle/heating", "unmetered/board"}
    assert sum(sums.values()) == Decimal(result["accounted"]["grid"]["amount"])
    assert (sums["idle/kitchen"], sums["idle/laundry"], sums["idle/heating"]) == tuple(
        sum(Decimal(row[column]) for row in _rows() if row["date_time"][:10] in DAYS) / 1000
        for column in ("Sub_metering_1", "Sub_metering_2", "Sub_metering_3")
    )
    assert all(amount >= 0 for amount in sums.values())


def test_the_whole_file_is_as_published() -> None:
    """3 939.7 kWh; submeters 234 206, 309 823 and 1 167 936 Wh; one minute after the other."""
    rows = _rows()
    assert len(rows) == 130 * 1440
    assert round(sum(Decimal(row["Global_active_power"]) for row in rows) / 60, 1) == Decimal("3939.7")
    sums = [sum(int(row[f"Sub_metering_{n}"]) for row in rows) for n in (1, 2, 3)]
    assert sums == [234_206, 309_823, 1_167_936]


@cache
def _rows() -> list[dict[str, str]]:
    with gzip.open(recorded_file("house"), "rt", encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))
