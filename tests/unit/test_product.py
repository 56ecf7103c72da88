"""The footprint of a batch with all that went into it: worked by hand, in every cut, and what makes it incomplete."""

from dataclasses import replace
from decimal import Decimal
from fractions import Fraction
from itertools import islice, permutations
from typing import Any

import pytest
from product_cases import BATCHES, ENDS, EVENTS, HOUR, event, posting, product, reach_of, valuing

from plantprint.ancestry import Ancestry, EventIndex
from plantprint.factors import average, builtin_factors, latest
from plantprint.market import Certificate, Market
from plantprint.product import product_footprint
from plantprint.product_json import product_json
from plantprint.product_lines import CO2E, background, of_measure
from plantprint.quantities import micro

# By hand: own 10 kWh x 0.4974 + 2 Nm3 x 2.16219; dyestuff 5 kg x 8.4; salt 20 kg x 0.499; a fifth of 100 kWh x 0.4974.
OWN, DYESTUFF, SALT, YARN = Decimal("9.29838"), Decimal(42), Decimal("9.98"), Decimal("9.948")
WHOLE = OWN + DYESTUFF + SALT + YARN
SALT_FACTOR = latest(builtin_factors())["cpcd.sodium_sulfate"]


def body(**how: Any) -> dict[str, Any]:
    return product_json(product(**how))


def total(cut: dict[str, str]) -> Decimal:
    return sum((Decimal(kg) for kg in cut.values()), Decimal(0))


def test_own_and_upstream_of_a_batch_worked_by_hand() -> None:
    found = body()
    assert found["boundary"] == "cradle-to-gate"
    assert Decimal(found["kg_co2e"]) == WHOLE
    assert Decimal(found["own"]["kg_co2e"]) == OWN
    assert Decimal(found["upstream"]["kg_co2e"]) == WHOLE - OWN
    assert (found["quantity"], found["unit"]) == ("95", "kg")
    assert found["kg_co2e_per_unit"] == str(round(WHOLE / 95, 9))
    assert [(one["id"], one["quantity"], one["kg_co2e"], one["share_percent"]) for one in found["inputs"]] == [
        ("DYE-7", "5", "42", "5"),
        ("K", "10", "9.948", "20"),
        ("salt", "20", "9.98", None),
    ]
    assert found["ancestors"] == 2
    assert (found["incomplete"], found["reasons"]) == (False, [])


def test_every_cut_adds_up_to_its_part() -> None:
    found = body()
    for part in (found["own"], found["upstream"], found["total"]):
        for cut in ("by_step", "by_source", "by_scope", "by_stage", "by_gas", "by_origin"):
            assert total(part[cut]) == Decimal(part["kg_co2e"]), cut
    assert found["total"]["by_scope"] == {"1": "4.32438", "2": "14.922", "3.1": "51.98"}
    assert found["total"]["by_stage"] == {"production": "19.24638", "raw materials": "51.98"}
    assert found["total"]["by_step"] == {"": "42", "dyeing": "19.27838", "spinning": "9.948"}
    assert found["upstream"]["by_origin"] == {"fossil": "49.948", "land_use": "0.5", "not_split": "11.48"}


def test_primary_data_ratings_and_uncertainty_follow_the_parts() -> None:
    found = body()
    share = 100 * DYESTUFF * Decimal("0.62") / WHOLE
    assert Decimal(found["primary_data_share_percent"]) == round(share, 4)
    assert Decimal(1) < Decimal(found["data_quality"]["technological"]) < 3
    low, high = map(Decimal, found["uncertainty"]["interval_95_kg_co2e"])
    assert low < WHOLE < high
    assert found["uncertainty"]["k"] == 2
    assert Decimal(found["uncertainty"]["expanded_kg_co2e"]) == pytest.approx(
        2 * Decimal(found["uncertainty"]["standard_kg_co2e"]), abs=Decimal("0.0002")
    )


def test_measured_stack_gas_is_primary_and_certain() -> None:
    found = body(lot="C", events=(), nets={"C": posting("C", "stack", "7.5")})
    assert found["boundary"] == "gate-to-gate"
    assert (found["primary_data_share_percent"], found["data_quality"]["technological"]) == ("100", "1")
    assert found["uncertainty"]["standard_kg_co2e"] == "0"


def test_each_factor_is_named_with_its_version_and_why() -> None:
    found = body()
    named = {(one["source"], one["factor"], one["version"]) for one in found["factors"]}
    assert named == {
        ("grid", "cn.grid.2023.zhejiang", 1),
        ("gas", "cn.fuel.natural_gas", 1),
        ("salt", "cpcd.sodium_sulfate", 1),
    }
    assert all(one["reason"] for one in found["factors"])
    assert found["inputs"][0]["reference"] == "Jinyuan: lot DYE-7"
    assert found["inputs"][0]["primary_data_share_percent"] == "62"


def test_a_gwp_set_converts_what_can_be_and_leaves_bought_footprints() -> None:
    library = latest(
        [*builtin_factors(), replace(latest(builtin_factors())["cn.fuel.natural_gas"], version=9, gases="CO2e",
                                     co2_fossil_kg=Decimal(2), ch4_kg=Decimal("0.01"), n2o_kg=Decimal(0),
                                     ch4_origin="fossil", value=Decimal("2.3"))]
    )  # fmt: skip
    old, new = (body(asked=valuing(library=library, gwp_set=name)) for name in ("AR5", "AR6"))
    assert Decimal(old["total"]["by_gas"]["ch4_fossil"]) == Decimal("0.02") * 28
    assert Decimal(new["total"]["by_gas"]["ch4_fossil"]) == Decimal("0.02") * Decimal("29.8")
    assert old["gwp_set"] == "AR5"
    assert old["upstream"]["kg_co2e"] == new["upstream"]["kg_co2e"]
    assert new["total"]["gas_masses_kg"]["ch4_fossil"] == "0.02"


def test_the_market_stands_beside_the_location() -> None:
    wind = average(replace(latest(builtin_factors())["cn.grid.2023.zhejiang"], factor_id="own.wind", value=Decimal(0)))
    market = Market("grid", {"wind": wind}, (Certificate("wind", HOUR, micro(60)),), {HOUR: micro(240)}, None)
    found = body(asked=valuing(market=market))
    assert Decimal(found["kg_co2e"]) == WHOLE
    grid = Decimal("14.922")  # a quarter of every account's kWh of the hour is the contract's
    assert Decimal(found["market_based_kg_co2e"]) == WHOLE - grid / 4
    assert Decimal(found["own"]["market_based_kg_co2e"]) == OWN - Decimal("4.974") / 4
    assert body()["market_based_kg_co2e"] is None


def test_rework_into_itself_ends_on_the_good_output() -> None:
    events = (
        event("1", "output", 1, batch="B", quantity=80),
        event("2", "output", 2, batch="B", kind="rework", quantity=20),
        event("3", "material_use", 3, batch="B", lot="B", quantity=20),
    )
    found = body(events=events)
    assert abs(Decimal(found["kg_co2e"]) - OWN) <= Decimal("1e-18")
    assert found["own"]["kg_co2e"] == found["kg_co2e"]
    assert (found["quantity"], found["inputs"], found["left"], found["incomplete"]) == ("80", [], [], False)


def test_what_left_with_rework_and_co_products_is_said_with_who_took_it() -> None:
    """To the last digit: what came in is what the product carries and what left."""
    events = (
        event("1", "output", 1, batch="B", quantity=70),
        event("2", "output", 2, batch="B", kind="rework", quantity=20),
        event("3", "output", 2, batch="B", kind="co-product", quantity=10, unit="kg", as_lot="RAGS"),
        event("4", "material_use", 3, batch="C", lot="B", quantity=20),
    )
    found = body(events=events)
    rags, rework = found["left"]
    assert (rags["kind"], rags["quantity"], rags["takers"]) == ("co-product", "10", ["RAGS"])
    assert (rework["kind"], rework["quantity"], rework["unit"], rework["takers"]) == ("rework", "20", "kg", ["C"])
    assert Decimal(rags["kg_co2e"]) == OWN / 10
    assert Decimal(rework["kg_co2e"]) == OWN * 2 / 10
    assert sum(Decimal(part["kg_co2e"]) for part in (found, rags, rework)) == OWN
    made_here = (found["own"]["kg_co2e"], rags["own_kg_co2e"], rework["own_kg_co2e"])
    assert sum(Decimal(kg) for kg in made_here) == OWN
    waiting = body(events=events[:3])["left"][1]
    assert (waiting["takers"], waiting["kg_co2e"]) == ([], rework["kg_co2e"])


def test_a_sold_by_product_takes_its_part_and_the_rule_is_named() -> None:
    events = (
        event("1", "output", 1, batch="B", quantity=90, unit_price=2),
        event("2", "output", 2, batch="B", kind="co-product", quantity=10, unit="kg", as_lot="RAGS", unit_price=1),
    )
    found = body(events=events)
    assert Decimal(found["kg_co2e"]) == OWN * 9 / 10
    assert found["co_products"]["method"] == "physical"
    assert found["co_products"]["shares_percent"] == {"B": "90", "RAGS": "10"}
    assert Decimal(body(lot="RAGS", events=events)["kg_co2e"]) == OWN / 10


@pytest.mark.parametrize(
    ("extra", "code", "words"),
    [
        (event("x", "material_use", 7, batch="B", lot="NOBODY", quantity=1, unit="kg"), "lot-unknown", "'NOBODY'"),
        (event("x", "material_use", 7, batch="C", lot="DYE-7", quantity=400), "used-more-than-made", "only 100 made"),
        (event("x", "material_use", 7, batch="K", lot="B", quantity=95), "loop-closed", "cannot leave"),
        (event("x", "material_use", 7, batch="B", material="gold", quantity=1), "material-without-pcf", "'gold'"),
        (event("x", "return", 8, batch="B", lot="K", quantity=11), "returned-more-than-issued", "more of 'K'"),
        (event("x", "output", 8, batch="B", quantity=-1), "quantity", "zero or more"),
    ],
)
def test_bad_facts_make_the_batch_incomplete_with_the_reason(extra: Any, code: str, words: str) -> None:
    events = [one for one in EVENTS if code != "loop-closed" or one.event_id != "8"]
    if code == "loop-closed":  # all of K goes into B and all of B into K
        events = [event("6", "material_use", 6, batch="B", lot="K", quantity=50), *events[:5], *events[6:]]
    found = body(events=(*events, extra))
    assert found["incomplete"]
    assert code in [reason["code"] for reason in found["reasons"]]
    reason = next(one for one in found["reasons"] if one["code"] == code)
    assert words in reason["message"]
    assert reason["remedy"]
    other = body(lot="K", events=(*events, extra))
    assert other["incomplete"] is (code == "loop-closed")


def test_an_unknown_factor_of_an_ancestor_is_a_reason_and_of_nobody_else_is_not() -> None:
    library = {name: one for name, one in latest(builtin_factors()).items() if name != "cn.fuel.natural_gas"}
    found = body(asked=valuing(library=library))
    assert [reason["code"] for reason in found["reasons"]] == ["factor-missing"]
    assert body(lot="K", asked=valuing(library=library))["reasons"] == []


def test_silent_meters_of_an_ancestor_and_open_hours_are_said() -> None:
    how = valuing()
    reach = replace(reach_of("B"), missing_ms={"K": 30_000}, open_lots=frozenset({"B"}))
    found = product_json(product_footprint("B", reach, how, background(how, ENDS), ENDS))
    assert [(one["code"], one["place"]) for one in found["reasons"]] == [("data-missing", "K")]
    assert "30 s" in found["reasons"][0]["message"]
    assert ("hour-open", "B") in [(one["code"], one["place"]) for one in found["remarks"]]


def test_corrections_and_withdrawals_count_in_any_order() -> None:
    more = (
        *EVENTS,
        event("2", "material_use", 5, 1, batch="B", lot="DYE-7", quantity=3, unit="kg"),
        event("9", "withdraw", 40, event_id="3"),
        event("10", "withdraw", 40, event_id="4"),
    )
    expected = WHOLE - SALT - DYESTUFF * 2 / 5
    assert Decimal(body(events=more)["kg_co2e"]) == expected
    for order in islice(permutations(more), 0, 300_000, 60_000):
        assert Decimal(body(events=order)["kg_co2e"]) == expected


def test_a_use_moved_to_another_batch_by_a_correction_leaves_the_first() -> None:
    moved = (*EVENTS, event("2", "material_use", 5, 1, batch="C", lot="DYE-7", quantity=5, unit="kg"))
    assert Decimal(body(events=moved)["kg_co2e"]) == WHOLE - DYESTUFF
    assert Decimal(body(lot="C", events=moved)["kg_co2e"]) == DYESTUFF


def test_a_lot_without_a_footprint_takes_that_of_its_material_in_its_unit() -> None:
    salt = event("s", "lot", lot="SALT-1", quantity=2, unit="t", material="salt")
    found = body(events=(salt, event("u", "material_use", 2, batch="B", lot="SALT-1", quantity=500, unit="kg")))
    (one,) = found["inputs"]
    assert (one["kg_co2e"], one["reference"], one["share_percent"]) == ("249.5", "cpcd.sodium_sulfate@1", "25")


def test_ancestors_beyond_the_limit_are_said_and_not_followed() -> None:
    how = valuing()
    reach = reach_of("B", lots_max=2)
    found = product_json(product_footprint("B", reach, how, background(how, ENDS), ENDS))
    assert "ancestry-cut" in [reason["code"] for reason in found["reasons"]]
    assert len(reach.nets) == 2


def test_only_what_is_asked_for_is_ever_wanted() -> None:
    index = EventIndex()
    assert index.add(EVENTS) == {"DYE-7", "B", "K"}
    ancestry = Ancestry("K", 10)
    assert ancestry.wanted == ["K"]
    ancestry.add(index.about(["K"]))
    assert (ancestry.wanted, ancestry.lots) == ([], ("K",))
    assert index.takers("K") == {"B"}
    assert index.add([event("9", "withdraw", 40, event_id="6")]) == {"B", "K"}
    assert index.takers("K") == set()


def test_what_was_known_earlier_uses_the_factors_of_then() -> None:
    newer = replace(SALT_FACTOR, version=2, value=Decimal(1), known_at="2026-11-24T12:00:00Z")
    factors = (*builtin_factors(), newer)
    library = latest(factors)
    now = body(asked=valuing(library=library, factors=factors))
    then = body(asked=valuing(library=library, factors=factors, known_at_ms=ENDS))
    assert Decimal(now["kg_co2e"]) - Decimal(then["kg_co2e"]) == 20 * (1 - Decimal("0.499"))


def test_a_batch_without_events_is_gate_to_gate_and_whole() -> None:
    found = product("B", events=())
    assert found.boundary == "gate-to-gate"
    assert of_measure(found.total, CO2E) == of_measure(found.own, CO2E)
    assert found.quantity_micro == BATCHES["B"].quantity_micro
    assert not found.reasons
    assert Fraction(found.kg, 10**18) == Fraction(OWN)
