"""The factor table that ships, reading of others, and the choice of a factor for a source."""

from decimal import Decimal
from pathlib import Path

import pytest

from plantprint.factors import Factor, FactorChoice, FactorError, builtin_factors, choose_factor, latest, parse_factors
from plantprint.facts import Issue
from plantprint.plant.load import load_plant
from plantprint.plant.model import Source, Text
from plantprint.quantities import FACTOR_SCALE, is_unit, scaled

LIBRARY = latest(builtin_factors())
PLANTS = Path(__file__).parents[2] / "simulators/plantprint_simulators/data"
HEAD = (
    "factor_id,version,name,name_zh,value,unit,gases,co2_fossil_kg,co2_biogenic_kg,ch4_kg,n2o_kg,gwp_set,geography,"
    "data_year,published_on,valid_from,valid_to,stage,basis,source,source_table,verification,notes\n"
)


def source(factor: str, unit: str = "kWh") -> Source:
    return Source(id="s", name=Text(en="s"), unit=unit, kind="grid", factor=factor, scope=2)


def row(value: str = "0.5", unit: str = "kWh", version: str = "1", year: str = "2024") -> str:
    return f"x,{version},X,,{value},{unit},CO2,,,,,AR5,CN,{year},,,,generation,published,a document,,read,\n"


def test_the_factors_of_the_demo_site_are_there_with_their_sources() -> None:
    zhejiang = LIBRARY["cn.grid.2023.zhejiang"]
    assert (zhejiang.value, zhejiang.unit, zhejiang.geography, zhejiang.data_year) == (
        Decimal("0.4974"),
        "kWh",
        "CN-ZJ",
        2023,
    )
    assert "2025 No. 47" in zhejiang.source
    assert LIBRARY["cn.fuel.natural_gas"].value == Decimal("2.16219")
    assert LIBRARY["cn.fuel.natural_gas"].unit == "Nm3"
    assert LIBRARY["direct.co2"].value == 1
    assert LIBRARY["cn.gridfp.2024.pv"].value == Decimal("0.052")


@pytest.mark.parametrize("path", sorted(PLANTS.glob("*/plant.yaml")), ids=lambda path: path.parent.name)
def test_the_plants_that_ship_name_factors_that_ship(path: Path) -> None:
    plant = load_plant(path.read_text(encoding="utf-8"), path.name)
    choices = [choose_factor(source, LIBRARY) for source in plant.sources]
    assert all(isinstance(choice, FactorChoice) for choice in choices), choices


def test_every_factor_that_ships_can_be_used_exactly_and_says_where_it_comes_from() -> None:
    assert len(LIBRARY) == len(builtin_factors()) > 180
    for factor in builtin_factors():
        assert is_unit(factor.unit), factor.factor_id
        assert scaled(factor.value, FACTOR_SCALE) >= 0, factor.factor_id
        assert all((factor.source, factor.stage, factor.geography)), factor.factor_id
        assert factor.gases in {"CO2", "CO2e"}, factor.factor_id


@pytest.mark.parametrize(
    ("per_gas", "gwp"), [("uk2025.electricity", (28, 265)), ("ipcc2006.natural_gas.gj", (Decimal("29.8"), 273))]
)
def test_gas_masses_add_up_to_the_value(per_gas: str, gwp: tuple[Decimal, Decimal]) -> None:
    factor = LIBRARY[per_gas]
    whole = (factor.co2_fossil_kg or 0) + (factor.ch4_kg or 0) * gwp[0] + (factor.n2o_kg or 0) * gwp[1]
    assert abs(whole / factor.value - 1) < Decimal("0.002")


def test_factors_survive_json() -> None:
    for factor in builtin_factors():
        assert Factor.from_json(factor.to_json()) == factor


def test_the_highest_version_counts_whatever_its_place() -> None:
    factors = parse_factors(HEAD + row("2", version="2") + row("1", version="1"), "t.csv")
    assert latest(factors)["x"].value == latest(reversed(factors))["x"].value == 2


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        (HEAD + row() + row("much"), "t.csv row 3"),
        (HEAD + row(unit="parsec"), "'parsec'"),
        (HEAD + row("NaN"), "finite"),
        (HEAD + row(version=""), "version"),
        (HEAD + row(year="soon"), "data_year"),
        (HEAD.replace("value,", "") + row(), "t.csv row 2"),
        (HEAD + "x,1\n", "t.csv row 2"),
    ],
)
def test_a_table_that_cannot_be_read_says_where(text: str, complaint: str) -> None:
    with pytest.raises(FactorError, match=complaint):
        parse_factors(text, "t.csv")


def test_a_factor_is_chosen_per_unit_of_the_source() -> None:
    library = latest(parse_factors(HEAD + row("360", unit="GJ"), "t.csv"))
    choice = choose_factor(source("x", "kWh"), library)
    assert isinstance(choice, FactorChoice)
    assert choice.per_unit == scaled("1.296", FACTOR_SCALE)
    assert choice.reason == "named for s in the plant model; data of 2024; converted from per GJ to per kWh"


def test_a_proxy_says_that_it_is_one() -> None:
    choice = choose_factor(source("cn.grid.2023.tibet_proxy"), LIBRARY)
    assert isinstance(choice, FactorChoice)
    assert "a proxy for a place without a factor of its own" in choice.reason


def test_no_factor_is_an_issue_and_never_a_guess() -> None:
    missing, unlike = choose_factor(source("y"), LIBRARY), choose_factor(source("cn.fuel.natural_gas"), LIBRARY)
    assert isinstance(missing, Issue)
    assert isinstance(unlike, Issue)
    assert (missing.code, unlike.code) == ("factor-missing", "factor-unit")
