"""The library for people: rows that ship, list, explain, add, compare versions, and terms that end."""

from decimal import Decimal
from fractions import Fraction

import pytest
from factor_cases import BUILTIN, LIBRARY, a_factor

from plantprint.factor_choice import Wanted, choose
from plantprint.factor_library import (
    diff,
    diff_rows,
    expiring,
    explain,
    explain_choice,
    find,
    own_factor,
    percent,
    relative_change,
)
from plantprint.factors import Factor, FactorError, parse_factors
from plantprint.rates import gas_masses, parts_of
from plantprint.times import parse_instant

NOW = parse_instant("2026-03-01T00:00:00Z")
OWN = {
    "factor_id": "own.steam",
    "value": "61.2",
    "unit": "GJ",
    "source": "supplier's report 2025",
    "purpose": "footprint",
}


def test_the_library_is_curated_and_every_row_says_what_it_is_for() -> None:
    assert 400 < len([one for one in BUILTIN if one.category != "gas"]) < 600
    for factor in BUILTIN:
        assert all((factor.source, factor.subject, factor.category, factor.component, factor.verification)), factor
        assert factor.kind == "average"
        assert parts_of(factor)


def test_both_families_of_chinese_electricity_are_there_and_apart() -> None:
    for row in find(BUILTIN, contains="cn.grid."):
        assert row["purpose"] == "inventory", row
    for row in find(BUILTIN, contains="cn.gridfp."):
        assert row["purpose"] == "footprint", row
    assert len(find(BUILTIN, contains="cn.grid.2023")) == 41
    assert LIBRARY["cn.gridfp.2023.average"].value == Decimal("0.6205")
    assert LIBRARY["cn.gridfp.2024.average"].value == Decimal("0.5777")


def test_what_holds_carbon_dioxide_only_is_not_offered_for_footprints() -> None:
    for factor in BUILTIN:
        if factor.gases == "CO2" and factor.category in ("electricity", "fuel", "heat"):
            assert factor.purpose == "inventory", factor.factor_id


def test_gas_masses_and_published_values_agree() -> None:
    gwps: dict[str, tuple[Fraction, int, int]] = {"AR5": (Fraction(28), 265, 28), "AR6": (Fraction("29.8"), 273, 27)}
    compared = 0
    for factor in BUILTIN:
        masses = gas_masses(factor)
        if factor.gases != "CO2e" or masses is None or not factor.value or factor.category == "gas":
            continue
        methane, nitrous, biogenic = gwps["AR6" if factor.gwp_set.startswith("AR6") else "AR5"]
        whole = masses.get("co2_fossil", Fraction(0)) + masses.get("n2o", Fraction(0)) * nitrous
        whole += (masses.get("ch4", Fraction(0)) + masses.get("ch4_fossil", Fraction(0))) * methane
        whole += masses.get("ch4_biogenic", Fraction(0)) * biogenic
        assert abs(whole / Fraction(factor.value) - 1) < Fraction(1, 400), factor.factor_id
        compared += 1
    assert compared > 100


def test_list_by_purpose_place_and_word() -> None:
    rows = find(BUILTIN, contains="浙江")
    assert {row["factor"] for row in rows} == {f"cn.grid.{year}.zhejiang" for year in (2021, 2022, 2023)}
    assert not [row for row in find(BUILTIN, purpose="footprint") if row["purpose"] == "inventory"]
    assert all(row["geography"] == "GB" for row in find(BUILTIN, geography="GB"))
    (row,) = find(BUILTIN, contains="cn.grid.2022.zhejiang", at_ms=NOW)
    assert (row["expired"], row["own"]) == (True, False)


def test_explain_tells_versions_gases_and_components() -> None:
    body = explain(BUILTIN, "uk2025.fuel.natural_gas.m3", NOW)
    assert body["convertible"]
    assert set(body["by_gwp_set"]) == {"AR4", "AR5", "AR6"}
    assert body["by_component"] == {"combustion": body["value"]}
    assert [one["version"] for one in body["versions"]] == [1]
    assert explain(BUILTIN, "cn.gridfp.2024.average")["convertible"] is False
    assert explain(BUILTIN, "cn.gridfp.2024.average")["versions"][0]["known_from"] == "2025-10-23T00:00:00Z"
    with pytest.raises(FactorError, match="factors list"):
        explain(BUILTIN, "no.such")


def test_a_choice_is_explained_as_data() -> None:
    body = explain_choice(choose(BUILTIN, Wanted("electricity.grid", "kWh", "CN-ZJ", NOW, "inventory")))
    assert (body["factor"], body["steps"][0][:6], body["proxy"]) == ("cn.grid.2023.zhejiang", "CN-ZJ:", False)
    none = explain_choice(choose(BUILTIN, Wanted("electricity.grid", "kWh", "AQ", NOW, "inventory")))
    assert none["factor"] is None
    assert none["issues"][0]["code"] == "factor-missing"


def test_an_own_factor_gets_its_version_and_its_date() -> None:
    first = own_factor(OWN, NOW, BUILTIN)
    again = own_factor(OWN | {"value": Decimal(60), "parts": "combustion:50 upstream:10"}, NOW, [*BUILTIN, first])
    assert (first.version, again.version) == (1, 2)
    assert (first.known_at, first.purpose, first.basis, first.data_year) == (
        "2026-03-01T00:00:00Z",
        "footprint",
        "own",
        None,
    )
    assert Factor.from_json(again.to_json()) == again


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"source": " "}, "needs source"),
        ({"unit": "parsec"}, "known unit"),
        ({"value": "NaN"}, "finite"),
        ({"valeu": "1"}, "has no valeu"),
        ({"purpose": "both"}, "purpose"),
        ({"valid_to": "soon"}, "dates are written"),
        ({"parts": "combustion:1"}, "do not add up"),
        ({"parts": "combustion=61.2"}, "is written"),
        ({"other_gases": "sf6"}, "is written"),
    ],
)
def test_an_own_factor_that_cannot_be_used_is_refused_with_a_reason(change: dict[str, str], complaint: str) -> None:
    with pytest.raises(FactorError, match=complaint):
        own_factor(OWN | change, NOW, BUILTIN)


def test_two_versions_of_a_library_are_compared_with_percent() -> None:
    old = [a_factor("same"), a_factor("gone"), a_factor("moved", "0.5366"), a_factor("zero", "0")]
    new = [
        a_factor("same", known_at="2026-01-01T00:00:00Z"),
        a_factor("came"),
        a_factor("moved", "0.5306", data_year=2023),
        a_factor("zero", "1"),
    ]
    found = diff(old, new)
    assert [f.factor_id for f in found.added] == ["came"]
    assert [f.factor_id for f in found.removed] == ["gone"]
    moved, zero = found.changed
    assert (moved.factor_id, set(moved.fields)) == ("moved", {"value", "data_year"})
    assert zero.change is None
    assert {row["factor"]: row.get("percent") for row in diff_rows(found)} == {
        "came": None,
        "gone": None,
        "moved": "-1.12",
        "zero": None,
    }
    assert diff(BUILTIN, BUILTIN) == diff([], [])


def test_percent_rounds_half_to_even() -> None:
    assert percent(Fraction(1, 8)) == "12.5"
    assert percent(Fraction(5, 100_000)) == "0"
    with pytest.raises(ValueError, match="no ratio"):
        relative_change(1, 0)


def test_terms_that_end_soon_are_told_unless_something_follows() -> None:
    names = {factor.factor_id for factor in expiring(BUILTIN, NOW, 0)}
    assert "uk2025.electricity" in names  # its reporting year is over and no later set is in the table
    assert "uk2023.electricity" not in names
    assert "cn.grid.2021.zhejiang" not in names
    own = a_factor("own", geography="AQ", valid_from="2026-01-01", valid_to="2026-03-20")
    assert expiring([own], NOW, 30 * 86_400_000) == [own]
    assert expiring([own], NOW, 10 * 86_400_000) == []


def test_a_table_of_older_columns_still_reads() -> None:
    head = (
        "factor_id,version,name,name_zh,value,unit,gases,co2_fossil_kg,co2_biogenic_kg,ch4_kg,n2o_kg,gwp_set,geography,"
        "data_year,published_on,valid_from,valid_to,stage,basis,source,source_table,verification,notes\n"
    )
    (factor,) = parse_factors(head + "x,1,X,,0.5,kWh,CO2,,,,,AR5,CN,2024,,,,generation,published,a,,read,\n", "t.csv")
    assert (factor.purpose, factor.kind, factor.component) == ("any", "average", "life_cycle")
    with pytest.raises(FactorError, match=r"t\.csv row 2: x has a date '24\.12\.2026'"):
        parse_factors(head + "x,1,X,,0.5,kWh,CO2,,,,,AR5,CN,2024,,,24.12.2026,generation,published,a,,read,\n", "t.csv")
