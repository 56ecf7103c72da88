"""The choice of a factor: place before year, never a later year, never another purpose, and every step visible."""

from dataclasses import replace

import pytest
from factor_cases import BUILTIN, LIBRARY, a_factor, a_source

from plantprint.factor_choice import (
    Chosen,
    Wanted,
    as_known,
    choose,
    choose_marginal,
    geographies,
    is_expired,
    known_from_ms,
)
from plantprint.factors import (
    AverageFactor,
    Factor,
    FactorError,
    Purpose,
    average,
    choose_factor,
    effect_of_change,
    marginal,
)
from plantprint.facts import Issue
from plantprint.quantities import EMISSION_SCALE
from plantprint.times import parse_instant

MARCH_2026 = parse_instant("2026-03-01T07:00:00Z")


def wanted(
    geography: str,
    at: int | str = MARCH_2026,
    purpose: Purpose = "inventory",
    subject: str = "electricity.grid",
    unit: str = "kWh",
) -> Wanted:
    at_ms = parse_instant(f"{at}T00:00:00Z") if isinstance(at, str) else at
    return Wanted(subject, unit, geography, at_ms, purpose)


def chosen(found: Chosen[AverageFactor] | Issue) -> Factor:
    assert isinstance(found, Chosen), found
    return found.factor


@pytest.mark.parametrize(
    ("geography", "at", "purpose", "factor_id"),
    [
        ("CN-ZJ", "2026-03-01", "inventory", "cn.grid.2023.zhejiang"),
        ("CN-ZJ", "2022-06-01", "inventory", "cn.grid.2022.zhejiang"),
        ("CN-ZJ", "2021-06-01", "inventory", "cn.grid.2021.zhejiang"),
        ("CN-ZJ", "2026-03-01", "footprint", "cn.gridfp.2024.average"),
        ("CN-ZJ", "2023-03-01", "footprint", "cn.gridfp.2023.average"),
        ("CN", "2026-03-01", "inventory", "cn.grid.2023.national_average"),
        ("CN-XZ", "2026-03-01", "inventory", "cn.grid.2023.tibet_proxy"),
        ("CN-HK", "2026-03-01", "footprint", "ember.hkg"),
        ("DE", "2026-03-01", "footprint", "ember.deu"),
        ("LI", "2026-03-01", "footprint", "ember.che"),
        ("GB", "2025-06-01", "inventory", "uk2025.electricity"),
    ],
)
def test_place_then_year_then_nothing_else(geography: str, at: str, purpose: Purpose, factor_id: str) -> None:
    assert chosen(choose(BUILTIN, wanted(geography, at, purpose))).factor_id == factor_id


def test_every_step_of_a_fall_back_is_told() -> None:
    found = choose(BUILTIN, wanted("CN-ZJ", purpose="footprint"))
    assert isinstance(found, Chosen)
    assert found.steps == (
        "CN-ZJ: none",
        "CN-grid-east: none",
        "CN: cn.gridfp.2024.average (data of 2024, the latest before 2026)",
    )
    assert not found.proxy


def test_a_province_without_a_factor_takes_its_grid_region_before_the_country() -> None:
    without = [factor for factor in BUILTIN if factor.geography != "CN-ZJ"]
    assert chosen(choose(without, wanted("CN-ZJ"))).factor_id == "cn.grid.2023.region_east"


def test_a_neighbour_is_marked_as_a_proxy() -> None:
    found = choose(BUILTIN, wanted("LI", purpose="footprint"))
    assert isinstance(found, Chosen)
    assert found.proxy
    assert found.steps == ("LI: none", "CH: ember.che (data of 2024, the latest before 2026, a proxy from elsewhere)")
    tibet = choose(BUILTIN, wanted("CN-XZ"))
    assert isinstance(tibet, Chosen)
    assert tibet.proxy
    assert [issue.code for issue in tibet.issues] == ["factor-proxy"]


def test_a_province_without_a_heat_factor_takes_its_neighbours_and_says_so() -> None:
    found = choose(BUILTIN, wanted("CN-ZJ", purpose="footprint", subject="heat.steam", unit="GJ"))
    assert isinstance(found, Chosen)
    assert (found.factor.factor_id, found.proxy) == ("cn.heat.2025.sh", True)
    default = choose(BUILTIN, wanted("CN-ZJ", subject="heat.steam", unit="kWh"))
    assert chosen(default).factor_id == "cn.heat.default"


def test_a_later_year_is_never_taken() -> None:
    found = choose(BUILTIN, wanted("CN-ZJ", "2020-06-01"))
    assert isinstance(found, Issue)
    assert (found.code, found.place) == ("factor-missing", "electricity.grid")
    assert "later year" in found.message


def test_the_other_purpose_is_never_taken() -> None:
    only = [a_factor("x.inventory")]
    found = choose(only, wanted("CN", purpose="footprint"))
    assert isinstance(found, Issue)
    assert found.code == "factor-purpose"
    assert "never used for the footprint" in found.message


def test_a_world_default_serves_fuels_but_never_electricity() -> None:
    fuel = choose(BUILTIN, wanted("DE", subject="fuel.natural_gas", unit="GJ", purpose="footprint"))
    assert isinstance(fuel, Chosen)
    assert fuel.factor.factor_id == "ipcc2006.natural_gas.gj"
    assert "a world default" in fuel.reason
    world = [a_factor("x.world", geography="GLO")]
    assert isinstance(choose(world, wanted("DE")), Issue)
    assert isinstance(choose(world, wanted("GLO")), Chosen)


def test_what_was_not_known_then_is_not_used_then() -> None:
    before = parse_instant("2025-12-30T00:00:00Z")
    assert chosen(choose(BUILTIN, wanted("CN-ZJ"), before)).factor_id == "cn.grid.2022.zhejiang"
    after = parse_instant("2025-12-31T00:00:00Z")
    assert chosen(choose(BUILTIN, wanted("CN-ZJ"), after)).factor_id == "cn.grid.2023.zhejiang"


def test_a_document_without_a_day_counts_as_known_from_the_last_one() -> None:
    assert known_from_ms(a_factor("x", published_on="2023-02")) == parse_instant("2023-02-28T00:00:00Z")
    assert known_from_ms(a_factor("x", published_on="2025")) == parse_instant("2025-12-31T00:00:00Z")
    assert known_from_ms(a_factor("x")) < 0


def test_versions_follow_what_was_known() -> None:
    old = a_factor("own", "1", version=1, known_at="2026-01-01T00:00:00Z")
    new = a_factor("own", "2", version=2, known_at="2026-02-01T00:00:00Z")
    assert as_known([new, old], parse_instant("2026-01-15T00:00:00Z")) == {"own": old}
    assert as_known([old, new], None) == {"own": new}
    assert as_known([old], parse_instant("2025-01-15T00:00:00Z")) == {}


def test_an_own_factor_comes_first_while_its_term_lasts() -> None:
    own = a_factor(
        "own.supplier",
        geography="CN-ZJ",
        known_at="2026-01-05T00:00:00Z",
        valid_from="2026-01-01",
        valid_to="2026-02-28",
    )
    library = [*BUILTIN, own]
    assert chosen(choose(library, wanted("CN-ZJ", "2026-02-28"))).factor_id == "own.supplier"
    assert chosen(choose(library, wanted("CN-ZJ", "2026-03-01"))).factor_id == "cn.grid.2023.zhejiang"
    assert chosen(choose(library, wanted("CN-ZJ", "2025-12-31"))).factor_id == "cn.grid.2023.zhejiang"


def test_an_expired_factor_says_so_when_it_is_all_there_is() -> None:
    own = a_factor("own", known_at="2026-01-05T00:00:00Z", valid_to="2026-02-28")
    found = choose([own], wanted("CN"))
    assert isinstance(found, Chosen)
    assert [issue.code for issue in found.issues] == ["factor-expired"]
    assert not is_expired(own, parse_instant("2026-02-28T23:59:59Z"))


def test_a_superseded_factor_gives_way_from_when_its_successor_counts() -> None:
    old = a_factor("a.old", "1", data_year=2024)
    new = a_factor("b.new", "2", supersedes="a.old", known_at="2026-02-10T00:00:00Z", valid_from="2026-02-01")
    assert chosen(choose([old, new], wanted("CN", "2026-03-01"))).factor_id == "b.new"
    assert chosen(choose([old, new], wanted("CN", "2026-01-15"))).factor_id == "a.old"
    assert (
        chosen(choose([old, new], wanted("CN", "2026-03-01"), parse_instant("2026-02-09T00:00:00Z"))).factor_id
        == "a.old"
    )


def test_average_and_marginal_are_different_types_and_never_stand_in_for_each_other() -> None:
    mean, margin = a_factor("m.average"), a_factor("m.marginal", "0.9", kind="marginal")
    assert chosen(choose([mean, margin], wanted("CN"))).factor_id == "m.average"
    found = choose_marginal([mean, margin], wanted("CN"))
    assert isinstance(found, Chosen)
    assert found.factor.factor_id == "m.marginal"
    assert effect_of_change(-2_000_000, "MWh", found.factor) == -1800 * EMISSION_SCALE
    assert isinstance(choose([margin], wanted("CN")), Issue)
    assert isinstance(choose_marginal([mean], wanted("CN")), Issue)
    with pytest.raises(FactorError, match="never enters an account"):
        average(margin)
    with pytest.raises(FactorError, match="says nothing of changes"):
        marginal(mean)


def test_a_plant_that_names_a_marginal_factor_or_another_purpose_gets_an_issue() -> None:
    margin = a_factor("m", kind="marginal")
    named = choose_factor(a_source("grid", "m"), {"m": margin})
    assert isinstance(named, Issue)
    assert named.code == "factor-marginal"
    other = choose_factor(a_source("grid", "cn.grid.2023.zhejiang"), LIBRARY, "footprint")
    assert isinstance(other, Issue)
    assert other.code == "factor-purpose"
    assert not isinstance(choose_factor(a_source("grid", "cn.grid.2023.zhejiang"), LIBRARY, "inventory"), Issue)


def test_every_place_of_the_library_is_on_the_map_and_the_map_has_no_holes() -> None:
    table = geographies()
    for place in table.values():
        assert not place.parent or place.parent in table, place
        assert all(proxy in table or proxy in ("EU", "ASEAN") for proxy in place.proxies), place
    provinces = {f.geography for f in BUILTIN if f.geography.startswith("CN-")}
    assert provinces <= set(table)
    assert len({g for g in provinces if not g.startswith("CN-grid")}) == 31


def test_the_unit_decides_too() -> None:
    per_kg = choose(BUILTIN, wanted("DE", subject="fuel.natural_gas", unit="t"))
    assert chosen(per_kg).unit == "kg"
    assert isinstance(choose(BUILTIN, wanted("CN-ZJ", unit="kg")), Issue)


def test_a_factor_without_a_year_is_used_behind_one_of_the_year() -> None:
    dated, undated = a_factor("d", data_year=2026), a_factor("u")
    assert chosen(choose([undated, dated], wanted("CN"))).factor_id == "d"
    assert chosen(choose([undated, replace(dated, data_year=2027)], wanted("CN"))).factor_id == "u"
