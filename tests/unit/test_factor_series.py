"""Hourly series: reading, the factor of an hour for each purpose, holes that stay holes, and profiles that say so."""

from decimal import Decimal
from pathlib import Path

import pytest
from factor_cases import LIBRARY, T0, a_posting, a_source

from plantprint.factor_series import missing_hours, parse_series, scaled_to_year
from plantprint.factors import FactorError
from plantprint.footprint import footprint
from plantprint.quantities import micro
from plantprint.times import HOUR_MS
from plantprint.valuation import View

PATH = Path(__file__).parents[1] / "data" / "grid_ci_hourly_DE-LU_2024_first_48h.csv"
TEXT = PATH.read_text(encoding="utf-8")
CREDIT = "Electricity Maps, 2024 (ODbL)"
SERIES = parse_series(TEXT, "de.grid.hourly", PATH.name, CREDIT)
HEAD = "datetime_utc,zone,ci_direct_g_per_kwh,ci_lifecycle_g_per_kwh,renewable_pct,estimated\n"
GRID = a_source("grid", "de.grid.hourly")


def test_an_hour_has_a_factor_for_each_purpose() -> None:
    assert len(SERIES.hours) == 48
    assert missing_hours(SERIES) == []
    direct, whole = SERIES.at(T0 + 1, "inventory"), SERIES.at(T0 + 1, "footprint")
    assert direct is not None
    assert whole is not None
    assert (direct.value, direct.parts, whole.value) == (Decimal("0.13310"), "", Decimal("0.17774"))
    assert whole.parts == "generation:0.1331 upstream:0.04464"
    assert (whole.purpose, whole.geography, whole.source, whole.data_year) == ("footprint", "DE", CREDIT, 2024)
    assert SERIES.at(T0 - 1, "footprint") is None


def test_a_footprint_takes_the_factor_of_the_hour_in_which_energy_entered() -> None:
    night, later = a_posting("grid"), a_posting("grid", 1)
    late_use = later._replace(hour_ms=later.hour_ms + 5 * HOUR_MS)  # from a store: used hours after it entered
    net = {night: micro("100"), late_use: micro("10")}
    result = footprint(net, [GRID], LIBRARY, view=View(purpose="footprint", series={"de.grid.hourly": SERIES}))
    assert result.kg_co2e == "19.5648"  # 100 x 0.17774 + 10 x 0.17908
    assert result.breakdown is not None
    assert sum(result.breakdown.by_scope.values()) == result.emission
    assert result.breakdown.by_scope["2"] == (13_310 * 100 + 13_417 * 10) * 10**13
    assert [choice.factor.factor_id for choice in result.factors] == ["de.grid.hourly"]
    assert result.inventory[0].factor_id == "de.grid.hourly"
    assert result.complete


def test_a_missing_hour_is_unknown_and_never_filled() -> None:
    net = {a_posting("grid"): micro("1"), a_posting("grid", 48): micro("1")}
    result = footprint(net, [GRID], LIBRARY, view=View(series={"de.grid.hourly": SERIES}))
    assert (result.kg_co2e, result.complete) == ("0.1331", False)
    assert [issue.code for issue in result.issues] == ["factor-hour"]
    assert result.inventory[0].emission is None


def test_a_profile_scaled_to_an_official_year_keeps_that_year_and_says_so() -> None:
    load = {T0 + n * HOUR_MS: 1_000_000 + n for n in range(48)}
    scaled = scaled_to_year(SERIES, load, Decimal("0.5777"), "cn.grid.profile")
    whole = sum((scaled.hours[hour].life_cycle * amount for hour, amount in load.items()), Decimal(0))
    assert abs(whole / sum(load.values()) - Decimal("0.5777")) < Decimal("1e-9")
    assert "not official" in scaled.source
    assert CREDIT in scaled.source
    with pytest.raises(FactorError, match="no profile to scale"):
        scaled_to_year(SERIES, {0: 5}, Decimal(1), "x")


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("datetime_utc,zone\n", "missing: ci_direct_g_per_kwh"),
        (HEAD, "no hours"),
        (HEAD + "2024-01-01 00:30:00,DE,1,2,3,0\n", "no full hour"),
        (HEAD + "2024-01-01 00:00:00,DE,1,2,3,0\n" * 2, "row 3: 2024-01-01 00:00:00 is given twice"),
        (HEAD + "2024-01-01 00:00:00,DE,x,2,3,0\n", "row 2"),
        (HEAD + "2024-01-01 00:00:00,DE,-1,2,3,0\n", "not negative"),
        (HEAD + "yesterday,DE,1,2,3,0\n", "row 2"),
        (HEAD + "2024-01-01 00:00:00,DE,1,2,3,0\n2024-01-01 01:00:00,FR,1,2,3,0\n", "second zone 'FR'"),
    ],
)
def test_a_series_that_cannot_be_read_says_where(text: str, complaint: str) -> None:
    with pytest.raises(FactorError, match=complaint):
        parse_series(text, "x", "s.csv", "")


def test_holes_inside_a_series_are_known() -> None:
    rows = "2024-01-01 00:00:00,DE,1,2,3,0\n2024-01-01 03:00:00,DE,1,2,3,1\n"
    series = parse_series(HEAD + rows, "x", "s.csv", "")
    assert missing_hours(series) == [T0 + HOUR_MS, T0 + 2 * HOUR_MS]
    factor = series.at(T0 + 3 * HOUR_MS, "inventory")
    assert factor is not None
    assert factor.basis == "estimated by the publisher"
