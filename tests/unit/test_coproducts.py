"""Co-products: PACT's two worked examples, the order of both rule sets, waste, and what happens without facts."""

from decimal import Decimal
from fractions import Fraction

import pytest

from plantprint.coproducts import ISO_14067, PACT_V3, CoProduct, RuleSet, allocate_coproducts


def product(output: str, quantity: str = "1", price: str | None = None, unit: str = "kg", **more: object) -> CoProduct:
    micro = int(Decimal(quantity) * 10**6)
    return CoProduct(output, micro, unit, None if price is None else Decimal(price), **more)  # type: ignore[arg-type]


def test_golden_pact_garments_price_ratio_1_5_so_by_mass() -> None:
    """0.5 kg at 2 $ and 1 kg at 3 $ with 10 t: 3.33 and 6.67 t."""
    shirt = product("shirt", price="2", unit="piece", physical=Decimal("0.5"))
    coat = product("coat", price="3", unit="piece", physical=Decimal(1))
    found = allocate_coproducts([shirt, coat], PACT_V3)
    assert (found.method, found.price_ratio) == ("physical", Fraction(3, 2))
    shares = found.divide(10_000)
    assert shares == {"shirt": 3333, "coat": 6667}
    assert [round(shares[name] / 1000, 2) for name in shares] == [3.33, 6.67]


def test_golden_pact_mine_price_ratio_50_so_by_unit_price() -> None:
    """500, 10 and 400 M$/t with 10 000 t: 5 494, 110 and 4 396 t (PACT weights by unit price and prints 5 494.5 so)."""
    ores = [
        product("a", price="500", unit="t"),
        product("b", price="10", unit="t"),
        product("c", price="400", unit="t"),
    ]
    rules = RuleSet(PACT_V3.name, PACT_V3.order, economic_weight="unit-price")
    found = allocate_coproducts(ores, rules)
    assert (found.method, found.price_ratio) == ("economic", Fraction(50))
    assert [float(10_000 * found.share(name)) for name in "abc"] == pytest.approx(
        [5494.505, 109.890, 4395.604], abs=1e-3
    )
    kg = found.divide(10_000 * 1000)
    assert [kg[name] // 1000 if name == "a" else round(kg[name] / 1000) for name in "abc"] == [5494, 110, 4396]
    assert sum(kg.values()) == 10_000 * 1000


def test_unit_prices_weigh_per_one_unit_whatever_unit_each_output_is_counted_in() -> None:
    """0.5 a kg is 500 a t; of kg and kWh no prices can be compared."""
    rules = RuleSet(PACT_V3.name, PACT_V3.order, economic_weight="unit-price")
    ores = [
        product("a", price="0.5", unit="kg"),
        product("b", price="10", unit="t"),
        product("c", price="400", unit="t"),
    ]
    assert [allocate_coproducts(ores, rules).share(name) for name in "abc"] == [
        Fraction(500, 910),
        Fraction(10, 910),
        Fraction(400, 910),
    ]
    found = allocate_coproducts([ores[0], product("heat", price="10", unit="kWh")], rules)
    assert (found.method, found.issues[0].message) == (
        "equal",
        "PACT v3 weighs by unit price, and prices of one kg and kWh cannot be compared",
    )


def test_value_is_price_times_quantity_by_default() -> None:
    found = allocate_coproducts([product("a", "1", "60"), product("b", "10", "10")], PACT_V3)
    assert found.method == "economic"
    assert found.share("a") == Fraction(60, 160)


def test_a_price_ratio_of_exactly_five_is_physical() -> None:
    found = allocate_coproducts([product("a", "1", "50"), product("b", "3", "10")], PACT_V3)
    assert (found.method, found.price_ratio, found.share("a")) == ("physical", Fraction(5), Fraction(1, 4))


def test_pact_without_a_common_physical_quantity_is_economic_even_at_a_small_ratio() -> None:
    found = allocate_coproducts([product("a", "1", "2", "kg"), product("b", "1", "3", "m3")], PACT_V3)
    assert (found.method, found.share("b")) == ("economic", Fraction(3, 5))


def test_iso_takes_physical_before_economic_whatever_the_prices() -> None:
    found = allocate_coproducts([product("a", "1", "500"), product("b", "1", "1")], ISO_14067)
    assert (found.method, found.share("a")) == ("physical", Fraction(1, 2))


@pytest.mark.parametrize("rules", [ISO_14067, PACT_V3])
def test_what_is_metered_apart_is_subdivided_first(rules: RuleSet) -> None:
    found = allocate_coproducts([product("a", price="1", metered=30), product("b", price="90", metered=10)], rules)
    assert (found.method, found.divide(100)) == ("subdivision", {"a": 75, "b": 25})


@pytest.mark.parametrize("rules", [ISO_14067, PACT_V3])
def test_substitution_leaves_the_burden_and_shows_the_credit_apart(rules: RuleSet) -> None:
    linters = product("linters", "2", "1", displaced_kg_co2e=Decimal("1.5"))
    found = allocate_coproducts([product("yarn", "10", "3"), linters], rules)
    assert (found.method, found.divide(100)) == ("substitution", {"yarn": 100, "linters": 0})
    assert found.credits_kg_co2e == {"linters": 3}


@pytest.mark.parametrize("price", ["0", "-4"])
@pytest.mark.parametrize("rules", [ISO_14067, PACT_V3])
def test_an_output_of_no_value_is_waste_and_carries_nothing(rules: RuleSet, price: str) -> None:
    found = allocate_coproducts([product("yarn", "9", "3"), product("dust", "1", price)], rules)
    assert (found.method, found.waste, found.divide(7)) == ("single", ("dust",), {"yarn": 7, "dust": 0})


def test_an_unknown_price_is_not_zero() -> None:
    found = allocate_coproducts([product("a", "3", "2"), product("b", "1")], PACT_V3)
    assert (found.method, found.waste, found.share("b")) == ("physical", (), Fraction(1, 4))


def test_if_all_is_waste_it_says_so_and_loses_nothing() -> None:
    found = allocate_coproducts([product("a", "1", "0"), product("b", "1", "-1")], PACT_V3)
    assert [issue.code for issue in found.issues] == ["all-waste"]
    assert sum(found.divide(101).values()) == 101


def test_without_any_common_measure_it_is_equal_and_an_issue() -> None:
    found = allocate_coproducts([product("a", unit="kg"), product("b", unit="m3")], ISO_14067)
    assert (found.method, found.divide(10)) == ("equal", {"a": 5, "b": 5})
    assert [issue.code for issue in found.issues] == ["coproduct-rule"]


@pytest.mark.parametrize("names", [[], ["a", "a"]])
def test_outputs_are_named_once_each(names: list[str]) -> None:
    with pytest.raises(ValueError, match="named once"):
        allocate_coproducts([product(name) for name in names], ISO_14067)


def test_the_reason_is_said_in_both_languages() -> None:
    found = allocate_coproducts([product("a", "1", "60"), product("b", "10", "10")], PACT_V3)
    assert found.reason.en == "divided by economic value; unit prices differ by 6"
    assert "按经济价值分配" in found.reason.zh
