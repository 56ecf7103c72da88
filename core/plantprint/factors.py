"""Emission factors as data: what a unit of an activity emits, where, when and by whose word, and the choice of one."""

import csv
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from functools import cache
from importlib import resources
from io import StringIO
from typing import Any, Literal, NewType

import msgspec

from plantprint.facts import Issue
from plantprint.gwp import GwpError, builtin_gases, co2e, components
from plantprint.plant.model import Source
from plantprint.quantities import FACTOR_SCALE, UnitError, conversion, is_unit, round_half_even

Purpose = Literal["footprint", "inventory"]
Component = Literal[
    "combustion",
    "process",
    "process_step",
    "generation",
    "td",
    "upstream",
    "material",
    "transport",
    "waste",
    "life_cycle",
]

_NOT_RELEASED = frozenset(("CO2", "CO2 outside the sum"))
_DATE = re.compile(r"(\d{4}(-(0[1-9]|1[0-2])(-(0[1-9]|[12]\d|3[01]))?)?)?")
_NUMBERS = frozenset(("co2_fossil_kg", "co2_biogenic_kg", "ch4_kg", "n2o_kg", "data_year"))
# Columns that came later: an empty cell means the default, so older tables and stored rows still read.
_DEFAULTED = frozenset(("purpose", "kind", "component", "ch4_origin"))


class FactorError(ValueError):
    """A row of a factor table that cannot be read; the message names the row and the column."""


@dataclass(frozen=True, slots=True)
class Factor:
    """`value` kg CO2e per `unit`; gas masses in kg per unit where the publisher gives them, else None.

    `gases` CO2 means that the value holds carbon dioxide only. `stage` says which part of the life cycle is in it,
    `component` the same in one word (scopes follow from it), `parts` how the value divides over components, if known.
    `subject` is what is asked for (electricity.grid); `purpose` is the account it may serve, `any` is both. A `marginal`
    factor says what one unit more or less would change and never enters an account. `other_gases` and `parts` are written
    "sf6:0.001 co2_land_use:0.2" and "generation:0.3 upstream:0.1", per unit. Own factors carry `known_at`.
    """

    factor_id: str
    version: int
    name: str
    name_zh: str
    value: Decimal
    unit: str
    gases: str
    co2_fossil_kg: Decimal | None
    co2_biogenic_kg: Decimal | None
    ch4_kg: Decimal | None
    n2o_kg: Decimal | None
    gwp_set: str
    geography: str
    data_year: int | None
    published_on: str
    valid_from: str
    valid_to: str
    stage: str
    basis: str
    source: str
    source_table: str
    verification: str
    notes: str
    category: str = ""
    subject: str = ""
    purpose: Literal["footprint", "inventory", "any"] = "any"
    kind: Literal["average", "marginal"] = "average"
    component: Component = "life_cycle"
    parts: str = ""
    ch4_origin: Literal["fossil", "biogenic", "unspecified"] = "unspecified"
    other_gases: str = ""
    supersedes: str = ""
    known_at: str = ""

    def to_json(self) -> dict[str, Any]:
        """JSON values; decimals as text."""
        body: dict[str, Any] = msgspec.to_builtins(self)
        return body

    @staticmethod
    def from_json(body: Mapping[str, Any]) -> "Factor":
        return msgspec.convert(body, Factor)


AverageFactor = NewType("AverageFactor", Factor)
MarginalFactor = NewType("MarginalFactor", Factor)


def average(factor: Factor) -> AverageFactor:
    """The same factor as one that accounts may use; raises `FactorError` for a marginal one."""
    if factor.kind != "average":
        raise FactorError(f"{factor.factor_id} is a marginal factor: it compares decisions and never enters an account")
    return AverageFactor(factor)


def marginal(factor: Factor) -> MarginalFactor:
    """The same factor as one that comparisons of decisions may use; raises `FactorError` for an average one."""
    if factor.kind != "marginal":
        raise FactorError(f"{factor.factor_id} is an average factor: it accounts for use and says nothing of changes")
    return MarginalFactor(factor)


@dataclass(frozen=True, slots=True)
class UsedHours:
    """The hours of a series that a result used, and its values in them, in kg CO2e per unit of the factor.

    `average` is over the amounts of those hours; None where they add up to nothing.
    """

    count: int
    first_ms: int
    last_ms: int
    lowest: Decimal
    highest: Decimal
    average: Fraction | None


@dataclass(frozen=True, slots=True)
class FactorChoice:
    """The factor of a source: `per_unit` is kg CO2e per unit of the source x FACTOR_SCALE, `reason` says why.

    Of an hourly series it is that of one hour; `hours` are all that were used.
    """

    source: str
    factor: Factor
    per_unit: int
    reason: str
    hours: UsedHours | None = None


def effect_of_change(amount: int, unit: str, factor: MarginalFactor) -> int:
    """What using `amount` millionths of `unit` more (or less) would change, in kg CO2e x EMISSION_SCALE.

    For comparing decisions; never part of an account. Raises `UnitError` when the units do not convert.
    """
    exact = Fraction(factor.value) * conversion(unit, factor.unit) * FACTOR_SCALE
    return amount * round_half_even(exact.numerator, exact.denominator)


def parse_factors(text: str, place: str) -> list[Factor]:
    """Rows of a factor table (CSV with a heading); raises `FactorError` naming the first bad row."""
    rows = csv.DictReader(StringIO(text))
    if "factor_id" not in (rows.fieldnames or ()):
        raise FactorError(f"{place}: this is no table of factors; plantprint/data/factors.csv shows the columns")
    return [read_row(row, f"{place} row {number}") for number, row in enumerate(rows, start=2)]


def read_row(row: Mapping[str, str], place: str) -> Factor:
    """One row of a factor table, all text; raises `FactorError` that begins with `place`."""
    body = {
        column: text or None if column in _NUMBERS else text
        for column, text in row.items()
        if text or column not in _DEFAULTED
    }
    try:
        factor = msgspec.convert(body, Factor, strict=False)
    except msgspec.ValidationError as error:
        raise FactorError(f"{place}: {error}; plantprint/data/factors.csv shows the columns") from error
    bad = [date for date in (factor.published_on, factor.valid_from, factor.valid_to) if not _DATE.fullmatch(date)]
    if bad:
        raise FactorError(f"{place}: {factor.factor_id} has a date {bad[0]!r}; dates are written 2026-11-24")
    if not factor.value.is_finite() or not is_unit(factor.unit):
        raise FactorError(f"{place}: {factor.factor_id} needs a finite value and a known unit, not {factor.unit!r}")
    return factor


def latest(factors: Iterable[Factor]) -> dict[str, Factor]:
    """The highest version of each factor, by its id."""
    newest: dict[str, Factor] = {}
    for factor in factors:
        known = newest.get(factor.factor_id)
        if known is None or factor.version > known.version:
            newest[factor.factor_id] = factor
    return newest


@cache
def builtin_factors() -> tuple[Factor, ...]:
    """What ships with the package, the curated table and released gases; it is part of the code, not of a site's facts."""
    table = resources.files("plantprint").joinpath("data/factors.csv")
    return (*parse_factors(table.read_text(encoding="utf-8"), "plantprint/data/factors.csv"), *_gas_factors())


def _gas_factors() -> Iterator[Factor]:
    """A kilogram of each gas or blend set free (gas.hfc134a, gas.r-410a): by AR6, and by its masses under any other set."""
    for name, gas in builtin_gases().items():
        if name != gas.gas or gas.group in _NOT_RELEASED:
            continue
        parts = components(name, 1)
        try:
            value = co2e(parts, "AR6")
        except GwpError:
            continue
        yield Factor(
            factor_id=f"gas.{name}",
            version=1,
            name=f"{gas.number or name} released",
            name_zh="",
            value=_decimal(value),
            unit="kg",
            gases="CO2e",
            co2_fossil_kg=None,
            co2_biogenic_kg=None,
            ch4_kg=None,
            n2o_kg=None,
            gwp_set="AR6 (applied here)",
            geography="GLO",
            data_year=None,
            published_on="",
            valid_from="",
            valid_to="",
            stage="process",
            basis="computed: composition x published potentials",
            source=gas.source,
            source_table="plantprint/data/gwp.csv",
            verification="as in the table of potentials",
            notes="For recorded losses and top-ups: an activity in kg.",
            category="gas",
            subject=f"gas.{name}",
            component="process",
            other_gases=" ".join(f"{one}:{_decimal(share)}" for one, share in parts.items()),
        )


def _decimal(value: Fraction) -> Decimal:
    return Decimal(value.numerator) / Decimal(value.denominator)


def choose_factor(
    source: Source, library: Mapping[str, Factor], purpose: Purpose | None = None
) -> FactorChoice | Issue:
    """The factor that the plant model names for `source`, per unit of the source; an issue where there is none.

    With a `purpose` a factor of the other one is an issue too, never a silent mix.
    """
    place = source.id
    factor = library.get(source.factor)
    if factor is None:
        return Issue(
            "factor-missing",
            place,
            f"the factor {source.factor!r} is not in the library, so the emission of {source.id} is unknown",
            "add it with `plantprint factors add`, or name another one in plant.yaml (`plantprint factors list`)",
        )
    misuse = misused(factor, place, purpose)
    if misuse is not None:
        return misuse
    try:
        ratio = conversion(source.unit, factor.unit)
    except UnitError:
        return Issue(
            "factor-unit",
            place,
            f"the factor {factor.factor_id} is per {factor.unit}, which {source.unit} cannot be converted to",
            f"name a factor per {source.unit} in plant.yaml",
        )
    exact = Fraction(factor.value) * ratio * FACTOR_SCALE
    per_unit = round_half_even(exact.numerator, exact.denominator)
    return FactorChoice(source.id, factor, per_unit, _reason(source, factor))


def misused(factor: Factor, place: str, purpose: Purpose | None) -> Issue | None:
    """Why `factor` must not be used for `purpose` at `place`; None where it may be."""
    if factor.kind != "average":
        message = f"{factor.factor_id} is a marginal factor, which never enters an account"
        return Issue("factor-marginal", place, message, "name an average factor in plant.yaml")
    if purpose is not None and factor.purpose not in (purpose, "any"):
        message = f"{factor.factor_id} serves the {factor.purpose}, not the {purpose}; the two are never mixed"
        remedy = f"name a factor for the {purpose}: `plantprint factors list --purpose {purpose}`"
        return Issue("factor-purpose", place, message, remedy)
    return None


def _reason(source: Source, factor: Factor) -> str:
    words = [f"named for {source.id} in the plant model"]
    if factor.data_year is not None:
        words.append(f"data of {factor.data_year}")
    if factor.basis == "proxy":
        words.append("a proxy for a place without a factor of its own")
    if factor.unit != source.unit:
        words.append(f"converted from per {factor.unit} to per {source.unit}")
    return "; ".join(words)
