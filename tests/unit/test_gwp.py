"""Global warming potentials: the table, blends by composition, and what is outside of the sum."""

from decimal import Decimal
from fractions import Fraction

import pytest

from plantprint.gwp import GWP_SETS, GwpError, GwpSet, blend_gwp, builtin_gases, co2e, components, gwp


@pytest.mark.parametrize(
    ("gas", "values"),
    [
        ("ch4", ("25", "28", "27.9")),
        ("ch4_fossil", ("25", "28", "29.8")),
        ("ch4_biogenic", ("25", "28", "27")),
        ("n2o", ("298", "265", "273")),
        ("sf6", ("22800", "23500", "25200")),
        ("nf3", ("17200", "16100", "17400")),
        ("r-410a", ("2087.5", "1923.5", "2255.5")),
        ("R-404A", ("3921.6", "3942.8", "4728")),
        ("r-407c", ("1773.85", "1624.21", "1907.93")),
    ],
)
def test_values_of_three_reports(gas: str, values: tuple[str, str, str]) -> None:
    assert tuple(gwp(gas, gwp_set) for gwp_set in GWP_SETS) == tuple(Fraction(value) for value in values)


@pytest.mark.parametrize("gas", sorted({row.gas for row in builtin_gases().values() if row.blend}))
def test_a_blend_keeps_its_mass_and_has_a_value_in_every_set(gas: str) -> None:
    parts = components(gas, Decimal("3.2"))
    assert sum(parts.values()) == Fraction("3.2")
    for gwp_set in GWP_SETS:
        assert co2e(parts, gwp_set) == Fraction("3.2") * gwp(gas, gwp_set)


def test_a_refilled_air_conditioner() -> None:
    assert co2e(components("r-410a", Decimal("3.2")), "AR5") == Fraction("6155.2")
    assert co2e(components("r-410a", Decimal("3.2")), "AR6") == Fraction("7217.6")


def test_biogenic_carbon_is_listed_beside_the_sum() -> None:
    assert co2e({"co2_biogenic": 1000, "co2_uptake": 900, "co2_fossil": 1, "co2_land_use": 2}, "AR6") == 3


@pytest.mark.parametrize(
    ("gas", "gwp_set", "complaint"),
    [
        ("phlogiston", "AR6", "not in the table"),
        ("hfc41", "AR4", "only in AR5, AR6"),
        ("hfo-1234yf", "AR5", "only in AR6"),
    ],
)
def test_a_gas_without_a_value_is_an_error_and_never_zero(gas: str, gwp_set: GwpSet, complaint: str) -> None:
    with pytest.raises(GwpError, match=complaint):
        gwp(gas, gwp_set)
    with pytest.raises(GwpError, match="not in the table"):
        components("phlogiston", 1)


@pytest.mark.parametrize("parts", [[(Decimal("0.5"), 1)], [(2, 1), (-1, 1)], []])
def test_shares_of_a_blend_add_up_to_one(parts: list[tuple[Decimal, int]]) -> None:
    with pytest.raises(GwpError, match="add up to 1"):
        blend_gwp(parts)
