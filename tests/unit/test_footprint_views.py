"""Views of one ledger: purpose, GWP sets, gases, scopes by component, companions, chosen factors, and the market."""

from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest
from factor_cases import BUILTIN, LIBRARY, T0, a_factor, a_posting, a_source, kg

from plantprint.factors import Factor, average
from plantprint.footprint import Footprint, footprint
from plantprint.gwp import GwpSet
from plantprint.market import RESIDUAL, Certificate, Market, MarketError, covered, hour_shares, site_import, unused
from plantprint.quantities import EMISSION_SCALE, FACTOR_SCALE, micro
from plantprint.times import HOUR_MS, parse_instant
from plantprint.valuation import View

GRID = a_source("grid", "cn.grid.2023.zhejiang")
GAS = a_source("gas", "uk2025.fuel.natural_gas.m3", "m3", 1, "fuel")
WIND = average(a_factor("ppa.wind", "0.0324", purpose="any", geography="CN-ZJ"))
REST = average(LIBRARY["cn.grid.2023.national_average_ex_traded_nonfossil"])

POTENTIALS: dict[GwpSet, tuple[str, int]] = {"AR4": ("25", 298), "AR5": ("28", 265), "AR6": ("29.8", 273)}


def breakdown(result: Footprint) -> Any:
    assert result.breakdown is not None
    return result.breakdown


def test_without_a_view_nothing_changes() -> None:
    net = {a_posting("grid"): micro("100"), a_posting("gas"): micro("7")}
    plain, viewed = footprint(net, [GRID, GAS], LIBRARY), footprint(net, [GRID, GAS], LIBRARY, view=View())
    assert plain.breakdown is None
    assert "breakdown" not in plain.to_json()
    assert viewed.emission == plain.emission
    assert viewed.to_json() == plain.to_json() | {"breakdown": viewed.to_json()["breakdown"]}
    assert viewed.method == "location-based"


def test_a_gas_split_follows_the_set_that_is_asked_for() -> None:
    factor = LIBRARY["uk2025.fuel.natural_gas.m3"]
    assert factor.ch4_kg is not None
    assert factor.n2o_kg is not None
    totals = {}
    for gwp_set, (methane, nitrous) in POTENTIALS.items():
        result = footprint({a_posting("gas"): micro("1000")}, [GAS], LIBRARY, view=View(gwp_set=gwp_set))
        parts = breakdown(result)
        assert kg(parts.by_gas["ch4_fossil"]) == pytest.approx(
            1000 * factor.ch4_kg * Decimal(methane), rel=Decimal("1e-6")
        )
        assert kg(parts.by_gas["n2o"]) == pytest.approx(1000 * factor.n2o_kg * nitrous, rel=Decimal("1e-6"))
        assert sum(parts.by_gas.values()) == result.emission
        totals[gwp_set] = parts.masses
    assert totals["AR4"] == totals["AR5"] == totals["AR6"]  # masses do not depend on a set


def test_a_factor_without_a_gas_split_keeps_its_set_and_is_listed() -> None:
    pv = a_source("pv", "cn.gridfp.2024.pv", scope=3)
    result = footprint(
        {a_posting("pv"): micro("10"), a_posting("gas"): micro("1")}, [pv, GAS], LIBRARY, view=View(gwp_set="AR6")
    )
    parts = breakdown(result)
    assert parts.not_convertible == (("pv", "cn.gridfp.2024.pv", "not stated in the annex"),)
    assert kg(parts.by_gas["unsplit"]) == Decimal("0.52")
    assert parts.not_split == ("pv",)
    assert result.to_json()["breakdown"]["not_convertible"][0]["factor"] == "cn.gridfp.2024.pv"


def test_the_other_purpose_is_an_issue_and_its_emission_unknown() -> None:
    result = footprint({a_posting("grid"): micro("1")}, [GRID], LIBRARY, view=View(purpose="footprint"))
    assert (result.emission, result.complete) == (0, False)
    (issue,) = result.issues
    assert (issue.code, issue.place) == ("factor-purpose", "grid")
    assert footprint({a_posting("grid"): micro("1")}, [GRID], LIBRARY, view=View(purpose="inventory")).complete


def test_combustion_and_upstream_of_one_fuel_are_scope_1_and_3() -> None:
    combustion = a_factor("gas.burnt", "2.162189", unit="Nm3", component="combustion", purpose="any", gases="CO2")
    upstream = a_factor("gas.upstream", "0.630482", unit="Nm3", component="upstream", purpose="footprint")
    library = {one.factor_id: one for one in (combustion, upstream)}
    source = a_source("gas", "gas.burnt", "Nm3", 1, "fuel")
    view = View(purpose="footprint", also={"gas": ("gas.upstream",)})
    result = footprint({a_posting("gas"): micro("1")}, [source], library, view=view)
    assert result.kg_co2e == "2.792671"
    assert {scope: kg(value) for scope, value in breakdown(result).by_scope.items()} == {
        "1": Decimal("2.162189"),
        "3.3": Decimal("0.630482"),
    }
    assert [(c.factor.factor_id, c.reason) for c in result.factors] == [
        ("gas.burnt", "named for gas in the plant model"),
        ("gas.upstream", "comes with gas in the plant model"),
    ]
    assert result.inventory[0].factor_id == "gas.burnt, gas.upstream"


def test_a_companion_that_is_missing_leaves_the_source_unknown() -> None:
    result = footprint({a_posting("gas"): 1}, [GAS], LIBRARY, view=View(also={"gas": ("no.such",)}))
    assert not result.complete
    assert "factor-missing" in [issue.code for issue in result.issues]


def test_stages_and_scopes_follow_from_components() -> None:
    sources = [
        GRID,
        a_source("yarn", "cpcd.cotton_yarn", "kg", 3),
        a_source("truck", "cpcd.truck_heavy_diesel", "t.km", 3),
    ]
    net = {a_posting("grid"): micro("10"), a_posting("yarn"): micro("2"), a_posting("truck"): micro("100")}
    parts = breakdown(footprint(net, sources, LIBRARY, view=View()))
    assert set(parts.by_stage) == {"production", "raw materials", "distribution"}
    assert set(parts.by_scope) == {"2", "3.1", "3.4"}
    assert sum(parts.by_stage.values()) == sum(parts.by_scope.values()) == sum(parts.by_component.values())


def test_parts_of_a_factor_divide_it_exactly() -> None:
    split = a_factor("uk", "0.19553", parts="generation:0.177 td:0.01853", purpose="any")
    result = footprint({a_posting("g"): micro("3")}, [a_source("g", "uk")], {"uk": split}, view=View(gwp_set="AR6"))
    assert {name: kg(value) for name, value in breakdown(result).by_scope.items()} == {
        "2": Decimal("0.531"),
        "3.3": Decimal("0.05559"),
    }


def test_biogenic_carbon_is_beside_the_sum() -> None:
    wood = a_source("wood", "ipcc2006.wood_wood_waste.kg", "kg", 1, "fuel")
    result = footprint(
        {a_posting("wood"): micro("1000")}, [wood], LIBRARY, view=View(purpose="footprint", gwp_set="AR6")
    )
    parts = breakdown(result)
    assert kg(parts.masses["co2_biogenic"]) == Decimal("1747.2")
    assert parts.by_gas["co2_biogenic"] == 0
    assert set(result.to_json()["breakdown"]["biogenic_kg"]) == {"co2_biogenic", "ch4_biogenic"}
    assert kg(result.emission) == pytest.approx(Decimal("29.6712"))


def test_other_gases_count_by_their_own_potential() -> None:
    sf6 = a_factor("switchgear", "0", unit="kg", component="process", other_gases="sf6:1", purpose="any")
    source = a_source("leak", "switchgear", "kg", 1)
    result = footprint({a_posting("leak"): micro("0.5")}, [source], {"switchgear": sf6}, view=View(gwp_set="AR6"))
    assert result.kg_co2e == "12600"
    assert breakdown(result).masses["sf6"] == EMISSION_SCALE // 2


def test_a_gas_that_a_set_lacks_makes_the_source_unknown() -> None:
    odd = a_factor("odd", "1", unit="kg", other_gases="hfc41:1", purpose="any")
    result = footprint({a_posting("x"): 1}, [a_source("x", "odd", "kg")], {"odd": odd}, view=View(gwp_set="AR4"))
    assert [issue.code for issue in result.issues] == ["factor-unusable"]
    assert not result.complete


def test_a_subject_is_chosen_by_place_and_day_of_entry() -> None:
    source = a_source("grid", "electricity.grid")
    old, new = parse_instant("2021-12-31T23:00:00Z"), parse_instant("2022-01-01T00:00:00Z")
    net = {a_posting("grid", start_ms=old): micro("1"), a_posting("grid", start_ms=new): micro("1")}
    view = View(purpose="inventory", factors=BUILTIN, geography="CN-ZJ")
    result = footprint(net, [source], LIBRARY, view=view)
    assert result.kg_co2e == "1.0575"  # 0.5422 + 0.5153
    assert [choice.factor.factor_id for choice in result.factors] == ["cn.grid.2021.zhejiang", "cn.grid.2022.zhejiang"]
    assert "CN-ZJ: cn.grid.2021.zhejiang (data of 2021)" in result.factors[0].reason
    nowhere = footprint(net, [source], LIBRARY, view=View(purpose="inventory", factors=BUILTIN, geography="AQ"))
    assert [(issue.code, issue.place) for issue in nowhere.issues] == [("factor-missing", "grid")] * 2
    assert not nowhere.complete


def test_the_factor_known_then_reproduces_the_old_figure() -> None:
    first = a_factor("own", "1", version=1, known_at="2026-01-01T00:00:00Z")
    library: dict[str, Factor] = {"own": first}
    before = footprint({a_posting("x"): micro("1")}, [a_source("x", "own")], library, view=View())
    early = View(known_at_ms=parse_instant("2025-01-01T00:00:00Z"))
    assert before.kg_co2e == "1"
    second = a_factor("own", "2", version=2, known_at="2026-02-01T00:00:00Z")
    now: dict[str, Factor] = {"own": second}
    then = View(known_at_ms=parse_instant("2026-01-15T00:00:00Z"), factors=(first, second))
    assert footprint({a_posting("x"): micro("1")}, [a_source("x", "own")], now, view=then).emission == before.emission
    assert footprint({a_posting("x"): micro("1")}, [a_source("x", "own")], now).kg_co2e == "2"
    assert not footprint({a_posting("x"): micro("1")}, [a_source("x", "own")], library, view=early).complete


def test_a_factor_used_after_its_term_says_so_in_a_view() -> None:
    term = a_factor("own", "1", known_at="2023-12-01T00:00:00Z", valid_to="2024-01-01")
    source, inside, after = a_source("x", "own"), a_posting("x", 23), a_posting("x", 24)
    assert footprint({inside: 1}, [source], {"own": term}, view=View()).issues == ()
    (issue,) = footprint({inside: 1, after: 1}, [source], {"own": term}, view=View()).issues
    assert (issue.code, issue.place) == ("factor-expired", "x")
    assert footprint({after: 1}, [source], {"own": term}).issues == ()


def a_market(*certificates: tuple[int, str], residual: bool = True, imported: str = "100", hours: int = 3) -> Market:
    return Market(
        "grid",
        {"wind": WIND},
        tuple(Certificate("wind", T0 + hour * HOUR_MS, micro(amount)) for hour, amount in certificates),
        {T0 + hour * HOUR_MS: micro(imported) for hour in range(hours)},
        REST if residual else None,
    )


def test_location_and_market_side_by_side_for_one_ledger() -> None:
    """Zhejiang, 70 MWh from the grid, certificates for 20 MWh of wind: 34.82 t by location; by market the rest is residual."""
    net = {a_posting("grid"): micro("70000")}
    market = a_market((0, "20000"), imported="70000")
    location = footprint(net, [GRID], LIBRARY, view=View(purpose="inventory"))
    matched = footprint(net, [GRID], LIBRARY, view=View(purpose="inventory", market=market))
    assert location.kg_co2e == "34818"
    assert kg(matched.emission) == pytest.approx(
        20000 * Decimal("0.0324") + 50000 * Decimal("0.6096"), abs=Decimal("1e-6")
    )
    assert matched.to_json()["method"] == "market-based"
    assert {choice.reason for choice in matched.factors} == {
        "contract wind, matched by hour",
        "residual mix, for what no contract covers",
    }
    assert covered(net, market) == {"wind": micro("20000"), RESIDUAL: micro("50000")}


def test_every_account_of_an_hour_has_the_same_matched_share() -> None:
    market = a_market((0, "25"), (1, "130"), (5, "9"))
    shares = hour_shares(market)
    assert shares[T0] == {"wind": Fraction(1, 4), RESIDUAL: Fraction(3, 4)}
    assert shares[T0 + HOUR_MS] == {"wind": Fraction(1)}
    assert shares[T0 + 2 * HOUR_MS] == {RESIDUAL: Fraction(1)}
    assert unused(market) == {T0 + HOUR_MS: micro("30"), T0 + 5 * HOUR_MS: micro("9")}
    one, two = a_posting("grid", account="b-1"), a_posting("grid", account="b-2")
    rates = [footprint({key: micro("1")}, [GRID], LIBRARY, view=View(market=market)).emission for key in (one, two)]
    assert rates[0] == rates[1] == micro("1") * round((Decimal("0.0324") + 3 * Decimal("0.6096")) / 4 * FACTOR_SCALE)


def test_what_the_site_imports_is_summed_over_all_accounts() -> None:
    net = {a_posting("grid", account="b-1"): 3, a_posting("grid", account="b-2"): 4, a_posting("pv"): 9}
    assert site_import(net, "grid") == {T0: 7}


def test_without_a_residual_mix_the_location_factor_stands_in_and_says_so() -> None:
    market = a_market((0, "50"), residual=False)
    result = footprint({a_posting("grid"): micro("2")}, [GRID], LIBRARY, view=View(market=market))
    assert kg(result.emission) == Decimal("0.0324") + Decimal("0.4974")
    assert [issue.code for issue in result.issues] == ["residual-missing"]


def test_certificates_of_an_hour_without_known_import_match_nothing() -> None:
    result = footprint({a_posting("grid", 7): micro("1")}, [GRID], LIBRARY, view=View(market=a_market((7, "5"))))
    assert kg(result.emission) == Decimal("0.6096")
    assert [issue.code for issue in result.issues] == ["market-import"]


@pytest.mark.parametrize(("contract", "amount", "complaint"), [("sun", 1, "no factor"), ("wind", -1, "negative")])
def test_certificates_that_cannot_be_matched_are_refused(contract: str, amount: int, complaint: str) -> None:
    market = Market("grid", {"wind": WIND}, (Certificate(contract, T0, amount),), {T0: 5}, REST)
    with pytest.raises(MarketError, match=complaint):
        hour_shares(market)
