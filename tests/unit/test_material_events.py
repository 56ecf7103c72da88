"""Material events reduced to facts: units, revisions, withdrawals, and every way in which an event can be wrong."""

from decimal import Decimal
from fractions import Fraction
from itertools import permutations
from typing import Any, cast

import pytest
from random_lots import MICRO, YARN

from plantprint.facts import EventKind, ProductionEvent
from plantprint.lots import Lot, MaterialReturn, MaterialUse, Output
from plantprint.material_events import reduce_materials


def Event(  # noqa: N802 - reads as the fact that it makes
    kind: str, body: dict[str, Any], event_id: str = "e1", revision: int = 0, source: str = "mes"
) -> ProductionEvent:
    return ProductionEvent(source, event_id, revision, cast("EventKind", kind), 1000, body)


def test_every_kind_becomes_its_fact() -> None:
    facts = reduce_materials(
        [
            Event("lot", {"lot": "old", "kind": "opening", "quantity": 5, "unit": "t", "pcf_kg_co2e": "1.25",
                          "pcf_reference": "count", "primary_share": 0.5}, "1"),
            Event("material_use", {"batch": "B", "lot": "old", "quantity": 2.5, "unit": "kg", "step": "dyeing"}, "2"),
            Event("material_use", {"batch": "B", "material": "yarn", "quantity": 3}, "3"),
            Event("return", {"batch": "B", "material": "yarn", "quantity": "1.5"}, "4"),
            Event("output", {"batch": "B", "kind": "good", "quantity": 4, "unit": "kg", "unit_price": 3.5}, "5"),
            Event("scrap", {"batch": "B", "quantity": 200, "unit": "g", "unit_price": 1, "as_lot": "rags"}, "6"),
            Event("order", {"batch": "B"}, "7"),
        ],
        [YARN],
    )  # fmt: skip
    assert facts.reported == ()
    assert [(one.lot, one.unit, one.kind, one.quantity_micro) for one in facts.lots] == [
        ("old", "t", "opening", 5 * MICRO)
    ]
    assert facts.lots[0].pcf is not None
    assert facts.lots[0].pcf.primary_share == Fraction(1, 2)
    assert list(facts.uses) == [
        MaterialUse(1000, "mes/2", "B", "old", "lot", 2500, "dyeing"),
        MaterialUse(1000, "mes/3", "B", "yarn", "material", 3 * MICRO),
    ]
    assert list(facts.returns) == [MaterialReturn(1000, "mes/4", "B", "yarn", "material", 1_500_000)]
    assert list(facts.outputs) == [
        Output(1000, "mes/5", "B", "good", 4 * MICRO, "kg", unit_price=Decimal("3.5")),
        Output(1000, "mes/6", "B", "scrap", 200 * MICRO, "g", "rags", Decimal(1)),
    ]


def test_quantities_are_turned_into_the_unit_of_the_order() -> None:
    facts = reduce_materials(
        [Event("output", {"batch": "B", "kind": "good", "quantity": 1.5, "unit": "t"})], units={"B": "kg"}
    )
    assert [(one.quantity_micro, one.unit) for one in facts.outputs] == [(1500 * MICRO, "kg")]


def test_the_highest_revision_counts_and_withdrawn_events_do_not() -> None:
    events = [
        Event("output", {"batch": "B", "kind": "good", "quantity": 1}, "1"),
        Event("output", {"batch": "B", "kind": "good", "quantity": 2}, "1", revision=1),
        Event("output", {"batch": "B", "kind": "good", "quantity": 9}, "2"),
        Event("withdraw", {"event_id": "2"}, "3"),
        Event("output", {"batch": "B", "kind": "good", "quantity": 7}, "2", source="erp"),
    ]
    expected = reduce_materials(events)
    assert sorted(one.quantity_micro for one in expected.outputs) == [2 * MICRO, 7 * MICRO]
    for order in permutations(events):
        assert reduce_materials(order) == expected


@pytest.mark.parametrize(
    ("kind", "body", "code", "words"),
    [
        ("output", {"kind": "good", "quantity": 1}, "event-incomplete", "needs `batch`"),
        ("output", {"batch": "B", "kind": "scrap", "quantity": 1}, "event-kind", "one of good, rework, co-product"),
        ("output", {"batch": "B", "kind": "good"}, "quantity", "needs a quantity"),
        ("output", {"batch": "B", "kind": "good", "quantity": -1}, "quantity", "needs a quantity"),
        ("output", {"batch": "B", "kind": "good", "quantity": "many"}, "event-number", "'many', which is no number"),
        ("output", {"batch": "B", "kind": "good", "quantity": 1, "unit": "kWh"}, "quantity-unit", "'kWh' cannot be"),
        ("output", {"batch": "B", "kind": "co-product", "quantity": 1}, "coproduct-lot", "needs `as_lot`"),
        (
            "output",
            {"batch": "B", "kind": "good", "quantity": 1, "unit_price": float("nan")},
            "event-number",
            "no number",
        ),
        ("material_use", {"batch": "B", "quantity": 1}, "use-of-what", "a lot or a material"),
        ("material_use", {"batch": "B", "lot": "a", "material": "yarn", "quantity": 1}, "use-of-what", "not both"),
        ("lot", {"lot": "old", "kind": "made", "quantity": 1}, "event-kind", "one of purchased, opening, return"),
        (
            "lot",
            {"lot": "old", "kind": "opening", "quantity": 1, "pcf_kg_co2e": 1, "primary_share": 70},
            "lot-pcf",
            "0 to 1",
        ),
    ],
)
def test_a_wrong_event_is_kept_out_and_says_why(kind: str, body: dict[str, Any], code: str, words: str) -> None:
    right = Event("output", {"batch": "C", "kind": "good", "quantity": 5}, "right")
    facts = reduce_materials([Event(kind, body), right], [YARN], units={"B": "kg"})
    (issue,) = facts.reported
    assert issue.code == code
    assert words in issue.message
    assert "event 'e1' of mes at 1970-01-01T00:00:01Z" in issue.message
    assert issue.remedy
    assert [one.lot for one in facts.outputs] == ["C"]
    assert (facts.lots, facts.uses) == ((), ())


def test_lots_known_without_events_are_kept() -> None:
    lot = Lot("old", "kg", "opening", 5)
    assert reduce_materials([], lots=[lot, lot]).lots == (lot,)
