"""Postings times factors: exact to the last digit, unknown where a factor is missing, and every breakdown."""

import csv
import gzip
from decimal import Decimal
from pathlib import Path

from plantprint.factors import Factor, builtin_factors, latest
from plantprint.facts import Quality
from plantprint.footprint import footprint
from plantprint.ledger import PostingKey
from plantprint.plant.model import Source, Text
from plantprint.quantities import EMISSION_SCALE, micro
from plantprint.times import parse_instant

LIBRARY = latest(builtin_factors())
HOUR = parse_instant("2026-03-01T07:00:00Z")
M, R, E = Quality.MEASURED, Quality.RECOVERED, Quality.ESTIMATED
STEEL = Path(__file__).parents[2] / "simulators/plantprint_simulators/data/steel/steel_daewoo_15min.csv.gz"


def source(name: str, factor: str, unit: str = "kWh", scope: int = 2) -> Source:
    return Source.model_validate(
        {"id": name, "name": Text(en=name), "unit": unit, "kind": "grid", "factor": factor, "scope": scope}
    )


GRID = source("grid", "cn.grid.2023.zhejiang")
GAS = source("gas", "cn.fuel.natural_gas", "Nm3", 1)
STACK = source("stack", "direct.co2", "kg", 1)
PV = source("pv", "cn.gridfp.2024.pv")


def posting(name: str, *, hour: int = 0, quality: int = M, step: str = "dyeing", kind: str = "batch") -> PostingKey:
    at_ms = HOUR + hour * 3_600_000
    return PostingKey(at_ms, kind, "b-1", "l1-dye", step, name, at_ms, quality)


def test_a_year_of_a_steel_plant_keeps_its_last_digit() -> None:
    year = source("grid", "kr.steel_daewoo.2018")
    result = footprint({posting("grid"): micro("959636.71")}, [year], LIBRARY)
    assert result.kg_co2e == "439993.431535"


def test_the_steel_plant_interval_by_interval_is_not_the_column_that_was_rounded() -> None:
    with gzip.open(STEEL, "rt", encoding="utf-8-sig") as file:
        rows = list(csv.DictReader(file))
    net = {
        PostingKey(HOUR + n, "batch", "b", "u", "", "grid", HOUR + n, M): micro(row["Usage_kWh"])
        for n, row in enumerate(rows)
    }
    result = footprint(net, [source("grid", "kr.steel_daewoo.2018")], LIBRARY)
    assert result.kg_co2e == "439993.431535"
    rounded = sum(Decimal(row["CO2(tCO2)"]) for row in rows)
    assert Decimal("0.081") < 1 - rounded * 1000 / Decimal(result.kg_co2e) < Decimal("0.083")


def test_every_breakdown_adds_up_to_the_total() -> None:
    net = {
        posting("grid"): micro("100"),
        posting("grid", hour=1, quality=E, step="stentering"): micro("10"),
        posting("gas", quality=R): micro("7.5"),
        posting("stack", kind="idle"): micro("2"),
    }
    result = footprint(net, [GRID, GAS, STACK], LIBRARY, micro("50"), "kg")
    assert result.kg_co2e == "72.930425"  # 110 x 0.4974 + 7.5 x 2.16219 + 2
    for parts in (
        result.by_step,
        result.by_source,
        result.by_scope,
        result.by_work_unit,
        result.by_hour,
        result.by_quality,
    ):
        assert sum(parts.values()) == result.emission
    body = result.to_json()
    assert body["by_source"] == {"gas": "16.216425", "grid": "54.714", "stack": "2"}
    assert body["by_scope"] == {"1": "18.216425", "2": "54.714"}
    assert body["by_step"] == {"dyeing": "67.956425", "stentering": "4.974"}
    assert body["by_hour"] == {"2026-03-01T07:00:00Z": "67.956425", "2026-03-01T08:00:00Z": "4.974"}
    assert body["quality"]["estimated"] == {"kg_co2e": "4.974", "share": "0.068202"}
    assert list(body["quality"]) == ["measured", "recovered", "estimated"]
    assert (body["direct_kg_co2e"], body["idle_kg_co2e"]) == ("70.930425", "2")
    assert body["kg_co2e_per_unit"] == "1.4586085"
    assert (body["partial"], body["boundary"], body["method"]) == (True, "gate-to-gate", "location-based")
    assert result.complete
    assert result.issues == ()


def test_the_factors_used_are_listed_with_version_and_reason() -> None:
    (factor,) = footprint({posting("grid"): 1}, [GRID], LIBRARY).to_json()["factors"]
    assert factor["factor"] == "cn.grid.2023.zhejiang"
    assert (factor["version"], factor["kg_co2e_per_unit"], factor["gases"]) == (1, "0.4974", "CO2")
    assert factor["reason"] == "named for grid in the plant model; data of 2023"


def test_an_amount_without_a_factor_stays_listed_and_its_emission_is_unknown() -> None:
    lost = source("heat", "no.such.factor", "GJ")
    net = {posting("grid"): micro("1"), posting("heat"): micro("3"), posting("ghost"): micro("4")}
    result = footprint(net, [GRID, lost], LIBRARY)
    assert result.kg_co2e == "0.4974"
    assert not result.complete
    assert [(issue.code, issue.place) for issue in result.issues] == [
        ("factor-missing", "heat"),
        ("source-unknown", "ghost"),
    ]
    assert result.to_json()["inventory"] == [
        {"source": "ghost", "unit": "", "scope": None, "amount": "4", "kg_co2e": None, "factor": ""},
        {
            "source": "grid",
            "unit": "kWh",
            "scope": 2,
            "amount": "1",
            "kg_co2e": "0.4974",
            "factor": "cn.grid.2023.zhejiang",
        },
        {"source": "heat", "unit": "GJ", "scope": 2, "amount": "3", "kg_co2e": None, "factor": "no.such.factor"},
    ]


def test_a_mix_of_life_cycle_and_direct_factors_says_so() -> None:
    result = footprint({posting("grid"): 1, posting("pv"): 1}, [GRID, PV], LIBRARY)
    (issue,) = result.issues
    assert issue.code == "factor-stages"
    assert "(pv)" in issue.message


def test_a_factor_younger_than_its_use_says_so() -> None:
    key = posting("grid")._replace(entered_ms=parse_instant("2021-05-01T00:00:00Z"))
    (issue,) = footprint({key: 1}, [GRID], LIBRARY).issues
    assert (issue.code, issue.place) == ("factor-later", "grid")


def test_emissions_are_linear_in_the_factors() -> None:
    net = {posting("grid", hour=n): 7_777_777 + n for n in range(9)}
    tripled = {name: _times(factor, 3) for name, factor in LIBRARY.items()}
    assert footprint(net, [GRID], tripled).emission == 3 * footprint(net, [GRID], LIBRARY).emission


def test_a_batchs_share_of_idle_windows_stays_apart() -> None:
    """ISO 20140: what it used itself, and what came to it when its windows ended."""
    own = posting("grid")
    net = {own: micro("100"), own._replace(portion="idle"): micro("20"), posting("grid", kind="idle"): micro("5")}
    result = footprint(net, [GRID], LIBRARY)
    assert result.direct + result.idle == result.emission
    assert result.direct * 25 == result.idle * 100
    assert result.by_step == {"dyeing": result.emission}


def test_nothing_posted_is_a_footprint_of_nothing() -> None:
    result = footprint({}, [GRID], LIBRARY, 0, "kg")
    assert (result.kg_co2e, result.kg_co2e_per_unit, result.to_json()["quality"]) == ("0", None, {})
    assert footprint({posting("grid"): 1}, [GRID], LIBRARY).emission == EMISSION_SCALE * 4974 // 10**10


def _times(factor: Factor, number: int) -> Factor:
    return Factor.from_json(factor.to_json() | {"value": str(factor.value * number)})
