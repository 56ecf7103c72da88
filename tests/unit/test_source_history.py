"""A source's factor, unit and name through the versions of a plant: what entered earlier is valued as it was then."""

import copy
import json
from typing import Any

import pytest

from plantprint import neutral
from plantprint.neutral import FactsError
from plantprint.plant.model import Source
from plantprint.source_history import SourceHistory, unit_changes

HOUR = "2026-01-01T03:00:00Z"
HOUR_MS = 1767236400000


def source(factor: str, source_id: str = "grid", unit: str = "kWh") -> Source:
    return Source(
        id=source_id, name={"en": source_id}, unit=unit, kind="grid", factor=factor, scope=2  # type: ignore[arg-type]
    )  # fmt: skip


def two_plants(**changes: Any) -> dict[str, Any]:
    """One source, 60 kWh in each of two hours, the second under another plant."""
    model: dict[str, Any] = {
        "plantprint": 1,
        "site": {"id": "t", "name": {"en": "t"}, "timezone": "UTC", "geography": "CN-ZJ"},
        "steps": [{"id": "dye", "name": {"en": "dye"}}],
        "work_centers": [
            {"id": "l", "name": {"en": "l"}, "work_units": [{"id": "a", "name": {"en": "a"}, "step": "dye"}]}
        ],
        "sources": [
            {"id": "grid", "name": {"en": "g"}, "unit": "kWh", "kind": "grid", "factor": "own.one", "scope": 2}
        ],
        "meters": [{"id": "m", "name": {"en": "m"}, "unit": "kWh"}],
        "flows": [{"from": "grid", "to": "a", "amount": "m"}],
    }
    later = copy.deepcopy(model)
    later["sources"][0] |= changes
    later["flows"][0]["from"] = later["sources"][0]["id"]
    return {
        "plantprint_facts": 1,
        "plants": [{"model": model}, {"model": later, "effective_at": HOUR}],
        "amounts": [
            {
                "meter": "m",
                "rows": [["2026-01-01T02:00:00Z", HOUR, "60"], [HOUR, "2026-01-01T04:00:00Z", "60"]],
            }
        ],
        "jobs": [
            {"job": "j", "batch": "X", "work_unit": "a", "start": "2026-01-01T02:00:00Z", "end": HOUR},
            {"job": "k", "batch": "X", "work_unit": "a", "start": HOUR, "end": "2026-01-01T04:00:00Z"},
        ],
        "factors": [
            {"factor_id": "own.one", "value": "0.5", "unit": "kWh", "source": "us"},
            {"factor_id": "own.two", "value": "0.1", "unit": "kWh", "source": "us"},
        ],
        "until": "2026-01-01T04:00:00Z",
    }


def batch(document: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = neutral.accounts_json(neutral.account_facts(neutral.parse_facts(json.dumps(document))))
    return dict(found["batches"]["X"])


def test_an_amount_is_valued_by_its_source_as_it_was_when_it_entered() -> None:
    history = SourceHistory([(None, [source("a")]), (HOUR_MS, [source("b")])])
    assert [history.at("grid", at).factor for at in (0, HOUR_MS - 1, HOUR_MS, 2**60)] == ["a", "a", "b", "b"]  # type: ignore[union-attr]
    assert [one.factor for one in history] == ["b"]
    assert history.by_hour() == {"grid"}
    assert history.at("other", 0) is None


def test_a_source_that_is_gone_stays_what_it_was_and_another_name_changes_nothing() -> None:
    renamed = source("a").model_copy(update={"name": {"en": "mains"}})
    history = SourceHistory([(None, [source("a"), source("c", "gas")]), (HOUR_MS, [renamed])])
    assert {one.id for one in history} == {"grid", "gas"}
    assert history.by_hour() == frozenset()
    assert SourceHistory.of(history) is history


def test_a_new_factor_in_a_later_plant_leaves_the_hours_before_it() -> None:
    assert batch(two_plants())["kg_co2e"] == "60"
    found = batch(two_plants(factor="own.two"))
    assert found["kg_co2e"] == "36"
    assert [(one["factor"], one["kg_co2e_per_unit"]) for one in found["factors"]] == [
        ("own.one", "0.5"),
        ("own.two", "0.1"),
    ]
    assert found["product_footprint"]["kg_co2e"] == "36"


def test_a_source_under_another_name_is_still_valued_in_the_hours_before() -> None:
    found = batch(two_plants(id="mains"))
    assert (found["kg_co2e"], found["complete"]) == ("60", True)


def test_a_source_cannot_change_its_unit() -> None:
    changed = two_plants(unit="MWh")
    changed["plants"][1]["model"]["meters"][0]["unit"] = "MWh"
    with pytest.raises(FactsError, match="source 'grid' is in MWh, but in kWh in the version from the beginning"):
        batch(changed)
    corrected = [(None, {"grid": "MWh"}), (None, {"grid": "kWh"}), (HOUR_MS, {"grid": "kWh"})]
    assert unit_changes(corrected) == []
    assert "2026-01-01T03:00:00Z" in unit_changes([(HOUR_MS, {"grid": "kWh"}), (HOUR_MS + 1, {"grid": "t"})])[0]
