"""Every rule about materials and markets of a plant model, with its message."""

from typing import Any

import pytest
from product_cases import MILL

from plantprint.plant.check import check_plant
from plantprint.plant.check_materials import check_materials
from plantprint.plant.model import Plant

SALT = {"id": "salt", "name": {"en": "Salt"}, "unit": "kg"}
PPA = {"id": "ppa", "name": {"en": "Wind"}, "factor": "own.wind"}


@pytest.mark.parametrize(
    ("change", "path", "severity", "words"),
    [
        ({"materials": [SALT, SALT]}, "materials.1.id", "error", "used twice, first at materials.0.id"),
        ({"materials": [{**SALT, "id": "gas"}]}, "materials.0.id", "error", "used twice, first at sources.1.id"),
        ({"materials": [{**SALT, "unit": "bale"}]}, "materials.0.unit", "warning", "'bale' is not known"),
        ({"market": {"source": "sun"}}, "market.source", "error", "no source 'sun'"),
        (
            {"market": {"source": "grid", "contracts": [PPA, PPA]}},
            "market.contracts.1.id",
            "error",
            "'ppa' is used twice",
        ),
    ],
)
def test_a_broken_rule_is_named(change: dict[str, Any], path: str, severity: str, words: str) -> None:
    plant = Plant.model_validate({**MILL, **change})
    (issue,) = check_materials(plant)
    assert (issue.path, issue.severity) == (path, severity)
    assert words in issue.message
    assert issue.remedy
    assert issue in check_plant(plant)


def test_materials_and_a_market_that_are_right_are_good() -> None:
    good = {"materials": [SALT], "market": {"source": "grid", "contracts": [PPA], "residual": "x"}}
    assert [*check_materials(Plant.model_validate({**MILL, **good}))] == []
