"""Lots whose co-products, units or declarations once made their footprint wrong: found by the oracle, one case each."""

import json
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from product_cases import event, posting, product

from plantprint import neutral
from plantprint.coproducts import PACT_V3, CoProduct, allocate_coproducts
from plantprint.material_events import reduce_materials
from plantprint.product import ProductFootprint
from plantprint.product_lines import CO2E, of_measure

EXAMPLE = Path(__file__).resolve().parents[2] / "docs" / "examples" / "batch-with-lots.facts.json"
NETS: dict[str, Any] = {"B": posting("B", "stack", "100")}


def kg(found: ProductFootprint) -> int:
    return round(found.kg / 10**18 * 1000)


def test_what_a_lot_takes_back_of_itself_stays_on_it_although_a_co_product_leaves() -> None:
    """90 + 10 kg, 18 kg of the main product worked again: x = 100 + x · 0.9 · 18/90, so 122 kg go round, 90 % stay."""
    events = (
        event("1", "output", 1, batch="B", quantity=90),
        event("2", "output", 2, batch="B", kind="co-product", quantity=10, unit="kg", as_lot="RAGS"),
        event("3", "material_use", 3, batch="B", lot="B", quantity=18),
    )
    assert kg(product("B", events, NETS)) == round(100_000 / (1 - 0.9 * 0.2) * 0.9)


def test_a_lot_that_is_a_co_product_may_use_the_main_product_too() -> None:
    events = (
        event("1", "output", 1, batch="B", quantity=90),
        event("2", "output", 2, batch="B", kind="co-product", quantity=10, unit="kg", as_lot="RAGS"),
        event("3", "material_use", 3, batch="RAGS", lot="B", quantity=45),
    )
    assert kg(product("B", events, NETS)) == 90_000
    assert kg(product("RAGS", events, NETS)) == 55_000


@pytest.mark.parametrize("lot", ["B", "RAGS"])
def test_a_co_product_counts_in_its_unit_whoever_looks_at_it(lot: str) -> None:
    """Its unit is that of the event that puts it out first, which is another batch's."""
    events = (
        event("1", "output", 2, batch="B", quantity=90),
        event("2", "output", 3, batch="B", kind="co-product", quantity="0.0000104", unit="kg", as_lot="RAGS"),
        event("3", "output", 1, batch="K", kind="co-product", quantity=1, unit="t", as_lot="RAGS"),
    )
    assert kg(product(lot, events, NETS)) == (100_000 if lot == "B" else 0)


def test_a_price_is_that_of_one_unit_of_the_event() -> None:
    events = (
        event("1", "output", 1, batch="B", quantity=90, unit="kg", unit_price=2),
        event("2", "output", 2, batch="K", kind="co-product", quantity=1, unit="kg", as_lot="RAGS"),
        event(
            "3", "output", 3, batch="B", kind="co-product", quantity="0.01", unit="t", as_lot="RAGS", unit_price=2000
        ),
    )
    shared = product("B", events, NETS).coproducts
    assert shared is not None
    assert (shared.price_ratio, shared.share("RAGS")) == (Fraction(1), Fraction(1, 10))
    assert kg(product("B", events, NETS)) == 90_000


def test_prices_of_unlike_units_of_mass_are_compared_per_unit_of_mass() -> None:
    """2 per kg and 4 000 per t are two to one, so mass counts; both are in one unit."""
    outputs = [CoProduct("yarn", 90, "kg", unit_price=Decimal(2)), CoProduct("rags", 1, "t", unit_price=Decimal(4000))]
    shared = allocate_coproducts(outputs, PACT_V3)
    assert (shared.method, shared.price_ratio, shared.weights) == ("physical", Fraction(2), {"yarn": 90, "rags": 1000})


def test_outputs_that_are_all_worth_nothing_share_as_if_they_were_products() -> None:
    outputs = [CoProduct("yarn", 3, "kg", unit_price=Decimal(0)), CoProduct("rags", 1, "kg", unit_price=Decimal(0))]
    shared = allocate_coproducts(outputs, PACT_V3)
    assert (shared.method, shared.weights) == ("physical", {"yarn": 3, "rags": 1})
    assert [issue.code for issue in shared.issues] == ["all-waste"]


def test_of_a_lot_that_is_declared_twice_the_last_is_the_input_too() -> None:
    events = (
        event("1", "lot", 1, lot="DYE-7", quantity=10, unit="kg", kind="purchased"),
        event("2", "lot", 2, lot="DYE-7", quantity=10, unit="kg", kind="opening", pcf_kg_co2e="3"),
        event("3", "material_use", 3, batch="B", lot="DYE-7", quantity=10, unit="kg"),
    )
    found = product("DYE-7", events, {})
    assert [(one.reference, sum(of_measure(one.lines, CO2E).values())) for one in found.inputs] == [
        ("opening lot DYE-7", found.kg)
    ]
    assert "lot-twice" in {issue.code for issue in found.reasons}


def test_a_lot_whose_event_is_withdrawn_is_no_lot() -> None:
    body = json.loads(EXAMPLE.read_text(encoding="utf-8"))
    put_out = {"batch": "X", "kind": "co-product", "quantity": "1", "unit": "kg", "as_lot": "lint"}
    fact = {"kind": "output", "at": "2026-01-01T00:30:00Z", "source": "mes", "event_id": "lint", "body": put_out}
    gone = {**fact, "kind": "withdraw", "event_id": "w", "body": {"event_id": "lint"}}
    lots = []
    for events in ([fact], [fact, gone]):
        facts = neutral.parse_facts(json.dumps({**body, "events": [*body["events"], *events]}))
        lots.append(set(neutral.accounts_json(neutral.account_facts(facts))["lots"]))
    assert lots[0] - lots[1] == {"lint"}


def test_a_footprint_told_per_tonne_of_a_lot_counted_in_kg_is_converted() -> None:
    """The lot was declared in kg at first; the correction, later in time, is in t: 2500 kg CO2e a tonne."""
    facts = reduce_materials(
        [
            event("1", "lot", 1, lot="L", quantity=100, unit="kg", pcf_kg_co2e="2.4"),
            event("2", "lot", 2, lot="L", quantity="0.1", unit="t", pcf_kg_co2e=2500, pcf_fossil_kg_co2e=2000),
        ]
    )
    lot = facts.declared["L"]
    assert (lot.quantity_micro, lot.unit) == (100 * 10**6, "kg")
    assert lot.pcf is not None
    assert dict(lot.pcf.per_unit) == {"co2e": 2_500_000_000_000, "ghg_fossil": 2 * 10**12}


def test_a_lot_of_which_nothing_is_known_is_unknown_whoever_asks() -> None:
    """It was used, and nobody declared, ordered or made it."""
    use = event("1", "material_use", 1, batch="B", lot="L", quantity=5)
    for asked in ("B", "L"):
        found = product(asked, (use,), NETS)
        assert {(one.code, one.place) for one in found.reasons} >= {("lot-unknown", "L")}, asked


def test_what_is_wrong_with_a_giver_of_nothing_is_told_of_its_taker() -> None:
    """B put out nothing but a co-product of zero kg, and more came back from it than it got: what it hands on is not known."""
    events = (
        event("1", "output", 1, batch="B", kind="co-product", quantity=0, unit="kg", as_lot="RAGS", unit_price=2),
        event("2", "return", 2, batch="B", lot="L", quantity=5, unit="kg"),
    )
    found = product("RAGS", events, {})
    assert ("returned-more-than-issued", "B") in {(one.code, one.place) for one in found.reasons}
    assert found.inputs == ()
