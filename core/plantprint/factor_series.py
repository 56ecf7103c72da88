"""Hourly grid intensity as a factor that differs by hour: reading of a series, and the factor of one entered hour.

The inventory takes direct emissions; the footprint takes the life cycle, of which generation is the direct part.
"""

import csv
from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal, InvalidOperation
from io import StringIO

from plantprint.factors import Factor, FactorChoice, FactorError, Purpose
from plantprint.quantities import round_half_even
from plantprint.times import HOUR_MS, format_instant, from_ms, hour_floor, parse_instant

_COLUMNS = ("datetime_utc", "ci_direct_g_per_kwh", "ci_lifecycle_g_per_kwh", "estimated")
_NANO = 10**9
_TOLD_MAX = 20
BOTH: frozenset[Purpose] = frozenset(("footprint", "inventory"))


@dataclass(frozen=True, slots=True)
class HourIntensity:
    """Kg per kWh in one hour: what plants emitted, the whole life cycle, and whether the publisher estimated it."""

    direct: Decimal
    life_cycle: Decimal
    estimated: bool


@dataclass(frozen=True, slots=True)
class FactorSeries:
    """A named series of hours; `source` is the credit that its licence asks for.

    `purpose` says which of its two values counts where nobody asks for one; `serves` for which ones it has values at all.
    A `version` is the state of all its hours, after so many files. `choices` are kept for who asks for them again and again.
    """

    factor_id: str
    geography: str
    source: str
    hours: Mapping[int, HourIntensity]
    purpose: Purpose = "inventory"
    version: int = 1
    serves: frozenset[Purpose] = BOTH
    choices: dict[tuple[str, str, int, Purpose], FactorChoice] = field(default_factory=dict, compare=False, repr=False)

    def at(self, t_ms: int, purpose: Purpose) -> Factor | None:
        """The factor per kWh of the UTC hour that holds `t_ms`; None where the series has no such hour."""
        hour_ms = hour_floor(t_ms)
        hour = self.hours.get(hour_ms)
        if hour is None:
            return None
        whole = purpose == "footprint"
        day = format_instant(hour_ms)[:10]
        upstream = hour.life_cycle - hour.direct
        return Factor(
            factor_id=self.factor_id,
            version=self.version,
            name=f"Grid electricity of the hour, {self.geography}",
            name_zh="",
            value=hour.life_cycle if whole else hour.direct,
            unit="kWh",
            gases="CO2e",
            co2_fossil_kg=None,
            co2_biogenic_kg=None,
            ch4_kg=None,
            n2o_kg=None,
            gwp_set="as published",
            geography=self.geography,
            data_year=from_ms(hour_ms).year,
            published_on="",
            valid_from=day,
            valid_to=day,
            stage="generation mix of the hour, life cycle" if whole else "generation of the hour",
            basis="estimated by the publisher" if hour.estimated else "published",
            source=self.source,
            source_table=format_instant(hour_ms),
            verification="",
            notes="",
            category="electricity",
            subject="electricity.grid",
            purpose=purpose,
            component="life_cycle" if whole else "generation",
            parts=f"generation:{hour.direct} upstream:{upstream}" if whole and upstream >= 0 else "",
        )


def parse_series(text: str, factor_id: str, place: str, source: str) -> FactorSeries:
    """A CSV of hours (datetime_utc, zone, ci_direct_g_per_kwh, ci_lifecycle_g_per_kwh, estimated) as one series.

    Raises `FactorError` with one line `place:line: what is wrong` for each missing column, bad number, time that is no full
    hour, hour given twice and second zone. Hours may be missing: they are unknown, never filled.
    """
    rows = csv.DictReader(StringIO(text.removeprefix("\ufeff")), restval="")
    missing = [column for column in _COLUMNS if column not in (rows.fieldnames or ())]
    if missing:
        wanted = ", ".join(_COLUMNS)
        raise FactorError(f"{place}:1: an hourly series needs the columns {wanted}; missing: {', '.join(missing)}")
    hours: dict[int, HourIntensity] = {}
    zone: str | None = None
    wrong: list[str] = []
    for row in rows:
        try:
            hour_ms, hour = _hour(row)
            zone = row.get("zone", "") if zone is None else zone
            if hour_ms in hours:
                raise FactorError(f"{row['datetime_utc']} is given twice")  # noqa: TRY301 - one way out
            if row.get("zone", "") != zone:
                raise FactorError(f"a second zone {row['zone']!r}; one series is one zone")  # noqa: TRY301 - one way out
        except FactorError as error:
            wrong.append(f"{place}:{rows.line_num}: {error}")
        else:
            hours[hour_ms] = hour
    if wrong:
        more = [f"{place}: {len(wrong) - _TOLD_MAX} more lines are wrong"] if len(wrong) > _TOLD_MAX else []
        raise FactorError("\n".join([*wrong[:_TOLD_MAX], *more]))
    if not hours:
        raise FactorError(f"{place}:1: the series has no hours")
    return FactorSeries(factor_id, zone or "", source, hours)


def missing_hours(series: FactorSeries) -> list[int]:
    """Hours between the first and the last that the series does not have."""
    first, last = min(series.hours), max(series.hours)
    return [hour for hour in range(first, last, HOUR_MS) if hour not in series.hours]


def scaled_to_year(series: FactorSeries, load: Mapping[int, int], yearly: Decimal, factor_id: str) -> FactorSeries:
    """The shape of a series at the level of a `yearly` life cycle factor: weighted by `load` its mean is that factor.

    For insight where only a yearly factor is official; `factor_id` and source say that it is scaled. Raises `FactorError`
    when no hour has both load and intensity.
    """
    common = [hour for hour in load if hour in series.hours]
    weighted = sum(series.hours[hour].life_cycle * load[hour] for hour in common)
    if not weighted:
        raise FactorError(f"{factor_id}: no hour has both a load and an intensity, so there is no profile to scale")
    ratio = yearly * sum(load[hour] for hour in common) / weighted
    hours = {
        at: HourIntensity(_nano(hour.direct * ratio), _nano(hour.life_cycle * ratio), hour.estimated)
        for at, hour in series.hours.items()
    }
    source = f"profile of {series.factor_id} scaled to a yearly {yearly} kg/kWh, not official; {series.source}"
    return FactorSeries(factor_id, series.geography, source, hours, series.purpose)


def _hour(row: Mapping[str, str]) -> tuple[int, HourIntensity]:
    """Raises `FactorError` saying what is wrong with a row."""
    stamp = row["datetime_utc"].strip().replace(" ", "T").removesuffix("Z")
    try:
        hour_ms = parse_instant(f"{stamp}Z")
    except ValueError as error:
        raise FactorError(str(error)) from error
    if hour_ms % HOUR_MS:
        raise FactorError(f"{row['datetime_utc']} is no full hour")
    direct, life_cycle = (_kg(row[column], column) for column in _COLUMNS[1:3])
    return hour_ms, HourIntensity(direct, life_cycle, row["estimated"].strip() not in ("", "0", "false", "False"))


def _kg(text: str, column: str) -> Decimal:
    try:
        grams = Decimal(text)
    except InvalidOperation as error:
        raise FactorError(f"{column} {text!r} is no number") from error
    if not grams.is_finite() or grams < 0:
        raise FactorError(f"{column} {text}: an intensity is a number that is not negative")
    return grams.scaleb(-3)


def _nano(value: Decimal) -> Decimal:
    numerator, denominator = (value * _NANO).as_integer_ratio()
    return Decimal(round_half_even(numerator, denominator)).scaleb(-9)
