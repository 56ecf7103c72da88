"""Warnings about factors that a plant names: unknown, or per a unit that does not fit, each at its line."""

import pytest

from plantprint.hourly_files import load_site

PLANT = """\
plantprint: 1
site: {id: t, name: {en: T}, geography: CN-ZJ}
steps: [{id: s, name: {en: s}}]
work_centers: [{id: l, name: {en: l}, work_units: [{id: a, name: {en: a}, step: s}]}]
sources:
  - {id: grid, name: {en: g}, unit: kWh, kind: grid, factor: GRID, scope: 2}
meters: [{id: m, name: {en: m}, unit: kWh, bindings: [{channel: gw/m}]}]
flows: [{from: grid, to: a, amount: m}]
materials:
  - {id: salt, name: {en: salt}, unit: kg, factor: MATERIAL}
market: {source: grid, contracts: [{id: c, name: {en: c}, factor: CONTRACT}], residual: RESIDUAL}
"""
GOOD = {
    "GRID": "electricity.grid",
    "MATERIAL": "cpcd.sodium_sulfate",
    "CONTRACT": "cn.gridfp.2024.pv",
    "RESIDUAL": "cn.grid.2023.zhejiang",
}


def warned(**changes: str) -> list[tuple[int, str, str, str]]:
    text = PLANT
    for word, factor in (GOOD | changes).items():
        text = text.replace(word, factor)
    found = load_site(text, "plant.yaml", lambda name: name).warnings
    return [(one.line or 0, one.path, one.message, one.remedy) for one in found]


def test_factors_and_subjects_that_ship_raise_no_warning() -> None:
    assert warned() == []


@pytest.mark.parametrize(
    ("word", "line", "path"),
    [
        ("GRID", 6, "sources.0.factor"),
        ("MATERIAL", 10, "materials.0.factor"),
        ("CONTRACT", 11, "market.contracts.0.factor"),
        ("RESIDUAL", 11, "market.residual"),
    ],
)
def test_a_factor_that_does_not_ship_is_told_with_its_line(word: str, line: int, path: str) -> None:
    [found] = warned(**{word: "cn.grid.2023.zhejiangg"})
    assert found[:2] == (line, path)
    assert "none of the factors that ship" in found[2]
    assert "did you mean cn.grid.2023.zhejiang?" in found[3]


def test_a_factor_per_another_unit_is_told() -> None:
    [found] = warned(MATERIAL="cn.grid.2023.zhejiang")
    assert found[1:3] == (
        "materials.0.factor",
        "cn.grid.2023.zhejiang is per kWh, which kg cannot be converted to, so the emission is unknown",
    )
