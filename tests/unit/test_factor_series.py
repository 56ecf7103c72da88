"""Hourly series: reading, the factor of an hour for each purpose, holes that stay holes, and profiles that say so."""

from decimal import Decimal
from pathlib import Path

import pytest
from factor_cases import LIBRARY, T0, a_posting, a_source

from plantprint.factor_series import missing_hours, parse_series, scaled_to_year
from plantprint.factors import FactorError
from plantprint.footprint import footprint
from plantprint.live_rates import hours_lacking, kg_per_unit
from plantprint.plant.model import Hourly
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
        (HEAD + "2024-01-01 00:00:00,DE,1,2,3,0\n" * 2, "s.csv:3: 2024-01-01 00:00:00 is given twice"),
        (HEAD + "2024-01-01 00:00:00,DE,x,2,3,0\n", "s.csv:2: ci_direct_g_per_kwh 'x' is no number"),
        (HEAD + "2024-01-01 00:00:00,DE,1\n", "s.csv:2: ci_lifecycle_g_per_kwh '' is no number"),
        (HEAD + "2024-01-01 00:00:00,DE,-1,2,3,0\n", "not negative"),
        (HEAD + "yesterday,DE,1,2,3,0\n", "s.csv:2: 'yesterdayZ'"),
        (HEAD + "2024-01-01 00:00:00,DE,1,2,3,0\n2024-01-01 01:00:00,FR,1,2,3,0\n", "second zone 'FR'"),
    ],
)
def test_a_series_that_cannot_be_read_says_where(text: str, complaint: str) -> None:
    with pytest.raises(FactorError, match=complaint):
        parse_series(text, "x", "s.csv", "")


def test_everything_wrong_with_a_file_is_told_at_once_but_not_without_end() -> None:
    with pytest.raises(FactorError) as raised:
        parse_series(HEAD + "x,DE,1,2,3,0\n2024-01-01 00:00:00,DE,1,2,3,0\n" + "y,DE,1,2,3,0\n" * 24, "x", "s.csv", "")
    lines = str(raised.value).splitlines()
    assert [line.split(" ")[0] for line in lines[:3]] == ["s.csv:2:", "s.csv:4:", "s.csv:5:"]
    assert (len(lines), lines[-1]) == (21, "s.csv: 5 more lines are wrong")


def test_a_byte_order_mark_of_a_spreadsheet_is_no_part_of_the_heading() -> None:
    assert parse_series("\ufeff" + TEXT, "de.grid.hourly", PATH.name, CREDIT) == SERIES


HOURLY = GRID.model_copy(
    update={"factor": "cn.grid.2023.zhejiang", "hourly": Hourly(file="de.grid.hourly", purpose="inventory")}
)


def test_a_factor_of_the_same_purpose_stands_in_for_missing_hours_and_says_so() -> None:
    net = {a_posting("grid"): micro("1"), a_posting("grid", 48): micro("1"), a_posting("grid", 50): micro("2")}
    result = footprint(net, [HOURLY], LIBRARY, series={"de.grid.hourly": SERIES})
    assert (result.kg_co2e, result.complete) == ("1.6253", True)  # 0.1331 + 3 x 0.4974
    (issue,) = result.issues
    assert (issue.code, issue.place, issue.at_ms) == ("factor-hour", "grid", T0 + 48 * HOUR_MS)
    assert "has no value for 2 hours, the first 2024-01-03T00:00:00Z; cn.grid.2023.zhejiang stands in" in issue.message
    reasons = {choice.factor.factor_id: choice.reason for choice in result.factors}
    assert reasons["cn.grid.2023.zhejiang"].startswith("stands in for hours that de.grid.hourly does not have")
    without = footprint(net, [HOURLY], LIBRARY)  # no file was ever read: every hour is one that it lacks
    assert without.kg_co2e == "1.9896"
    assert "3 hours" in without.issues[0].message


def test_a_factor_of_another_purpose_never_stands_in() -> None:
    net = {a_posting("grid"): micro("1"), a_posting("grid", 48): micro("1")}
    result = footprint(net, [HOURLY], LIBRARY, view=View(purpose="footprint", series={"de.grid.hourly": SERIES}))
    assert (result.kg_co2e, result.complete) == ("0.17774", False)
    assert "factor-purpose" in {issue.code for issue in result.issues}
    other = HOURLY.model_copy(update={"hourly": Hourly(file="de.grid.hourly", purpose="footprint")})
    plain = footprint(net, [other], LIBRARY, series={"de.grid.hourly": SERIES})
    assert (plain.kg_co2e, plain.complete) == ("0.17774", False)


def test_rates_for_show_are_those_of_the_hour() -> None:
    rates = kg_per_unit([HOURLY], LIBRARY, {"de.grid.hourly": SERIES}, [T0, T0 + HOUR_MS, T0 + 48 * HOUR_MS])
    assert list(rates.values()) == pytest.approx([0.1331, 0.13417, 0.4974])
    flagged = hours_lacking([HOURLY, GRID], {"de.grid.hourly": SERIES}, [T0, T0 + 48 * HOUR_MS, T0 + 49 * HOUR_MS])
    assert sorted(issue.at_ms - T0 for issue in flagged) == [48 * HOUR_MS, 49 * HOUR_MS]


def test_holes_inside_a_series_are_known() -> None:
    rows = "2024-01-01 00:00:00,DE,1,2,3,0\n2024-01-01 03:00:00,DE,1,2,3,1\n"
    series = parse_series(HEAD + rows, "x", "s.csv", "")
    assert missing_hours(series) == [T0 + HOUR_MS, T0 + 2 * HOUR_MS]
    factor = series.at(T0 + 3 * HOUR_MS, "inventory")
    assert factor is not None
    assert factor.basis == "estimated by the publisher"
