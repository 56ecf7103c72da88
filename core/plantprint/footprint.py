"""From net postings to kg CO2e: one exact multiplication per posting, and every sum that the pages ask for.

Gate-to-gate: it is a partial footprint. Location-based unless the view has a market. An amount without a factor stays
listed with an unknown emission, because unknown is not zero.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from plantprint.breakdown import Breakdown, BreakdownSums
from plantprint.factor_series import FactorSeries
from plantprint.factors import Factor, FactorChoice, UsedHours
from plantprint.facts import Issue, Quality
from plantprint.ledger import PostingKey
from plantprint.plant.model import Source
from plantprint.quantities import EMISSION_SCALE, MICRO, decimal_text, round_half_even
from plantprint.times import format_instant, from_ms
from plantprint.valuation import LOCATION_BASED, RateBook, View

BOUNDARY = "gate-to-gate"
METHOD = LOCATION_BASED
_SHARE_DIGITS = 10**6
_PER_UNIT_DIGITS = 10**9


@dataclass(frozen=True, slots=True)
class InventoryLine:
    """All of one source on the account: amount in millionths of `unit`, emission in kg x EMISSION_SCALE or unknown."""

    source: str
    unit: str
    scope: int | None
    amount: int
    emission: int | None
    factor_id: str


@dataclass(frozen=True, slots=True)
class Footprint:
    """Emissions are integers in kg CO2e x EMISSION_SCALE; `to_json` turns them into exact decimal text.

    `emission` sums what is known; `complete` is false when some amount has no factor. `idle` is the part that comes
    from idle time: posted to idle accounts or spread from them over batches; `direct` is the rest.
    """

    emission: int
    complete: bool
    direct: int
    idle: int
    by_step: dict[str, int]
    by_source: dict[str, int]
    by_scope: dict[int, int]
    by_work_unit: dict[str, int]
    by_hour: dict[int, int]
    by_quality: dict[Quality, int]
    inventory: tuple[InventoryLine, ...]
    factors: tuple[FactorChoice, ...]
    issues: tuple[Issue, ...]
    quantity_micro: int | None = None
    unit: str = ""
    method: str = METHOD
    breakdown: Breakdown | None = None

    @property
    def kg_co2e(self) -> str:
        return decimal_text(self.emission, EMISSION_SCALE)

    @property
    def kg_co2e_per_unit(self) -> str | None:
        """Per declared unit, rounded to nine decimals; None without a quantity."""
        if not self.quantity_micro:
            return None
        scaled = round_half_even(self.emission * MICRO * _PER_UNIT_DIGITS, self.quantity_micro * EMISSION_SCALE)
        return decimal_text(scaled, _PER_UNIT_DIGITS)

    def to_json(self) -> dict[str, Any]:
        """Everything as JSON values; amounts and emissions as decimal text. A breakdown is there if a view was asked for."""
        body = self._body()
        return body if self.breakdown is None else body | {"breakdown": self.breakdown.to_json()}

    def _body(self) -> dict[str, Any]:
        return {
            "kg_co2e": self.kg_co2e,
            "partial": True,
            "boundary": BOUNDARY,
            "method": self.method,
            "complete": self.complete,
            "direct_kg_co2e": decimal_text(self.direct, EMISSION_SCALE),
            "idle_kg_co2e": decimal_text(self.idle, EMISSION_SCALE),
            "quantity": None if self.quantity_micro is None else decimal_text(self.quantity_micro),
            "unit": self.unit,
            "kg_co2e_per_unit": self.kg_co2e_per_unit,
            "by_step": _texts(self.by_step),
            "by_source": _texts(self.by_source),
            "by_scope": _texts({str(scope): emission for scope, emission in self.by_scope.items()}),
            "by_work_unit": _texts(self.by_work_unit),
            "by_hour": _texts({format_instant(hour): emission for hour, emission in self.by_hour.items()}),
            "quality": _quality_json(self.by_quality),
            "inventory": [_line_json(line) for line in self.inventory],
            "factors": [choice_json(choice) for choice in self.factors],
            "issues": [issue_json(issue) for issue in self.issues],
        }


def footprint(
    net: Mapping[PostingKey, int],
    sources: Iterable[Source],
    library: Mapping[str, Factor],
    quantity_micro: int | None = None,
    unit: str = "",
    view: View | None = None,
    series: Mapping[str, FactorSeries] | None = None,
) -> Footprint:
    """The footprint of the postings in `net` (an account's, or any others), per declared `unit` where known.

    `series` are hourly factors by the name that a source has for them. A `view`, which has its own, asks for a purpose, a
    GWP set or market-based factors, and gives the breakdown of the result and warnings about its factors. Raises
    `MarketError` for a market whose certificates cannot be matched.
    """
    asked = view or View(series=series or {})
    book = RateBook(sources, library, asked)
    amounts: defaultdict[str, int] = defaultdict(int)
    unknown: set[str] = set()
    sums, parts = _Sums(), BreakdownSums()
    for key, amount in net.items():
        amounts[key.source] += amount
        rate, source = book.rate(key.source, key.entered_ms, amount), book.source(key.source, key.entered_ms)
        if rate is None or source is None:
            unknown.add(key.source)
            continue
        sums.add(key, amount * rate.co2e, source.scope)
        if view is not None:
            parts.add(key.source, source.scope, amount, rate)
    choices = book.choices()
    issues = book.issues | set(_remarks(choices)) | (set() if view is None else book.warnings())
    return Footprint(
        emission=sums.total,
        complete=not unknown,
        direct=sums.total - sums.idle,
        idle=sums.idle,
        by_step=dict(sorted(sums.step.items())),
        by_source=dict(sorted(sums.source.items())),
        by_scope=dict(sorted(sums.scope.items())),
        by_work_unit=dict(sorted(sums.work_unit.items())),
        by_hour=dict(sorted(sums.hour.items())),
        by_quality=dict(sorted(sums.quality.items(), reverse=True)),
        inventory=tuple(_line(name, amounts[name], book, sums, unknown) for name in sorted(amounts)),
        factors=tuple(choice for choice, _ in choices.values()),
        issues=tuple(sorted(issues)),
        quantity_micro=quantity_micro,
        unit=unit,
        method=asked.method,
        breakdown=None if view is None else parts.result(view.purpose, view.gwp_set),
    )


class _Sums:
    """Running sums of emissions by everything that a posting's key tells."""

    def __init__(self) -> None:
        self.total = self.idle = 0
        self.step: defaultdict[str, int] = defaultdict(int)
        self.source: defaultdict[str, int] = defaultdict(int)
        self.scope: defaultdict[int, int] = defaultdict(int)
        self.work_unit: defaultdict[str, int] = defaultdict(int)
        self.hour: defaultdict[int, int] = defaultdict(int)
        self.quality: defaultdict[Quality, int] = defaultdict(int)

    def add(self, key: PostingKey, emission: int, scope: int) -> None:
        self.total += emission
        if key.portion == "idle" or key.account_kind == "idle":
            self.idle += emission
        self.step[key.step] += emission
        self.source[key.source] += emission
        self.scope[scope] += emission
        self.work_unit[key.work_unit] += emission
        self.hour[key.hour_ms] += emission
        self.quality[Quality(key.quality)] += emission


def _remarks(choices: Mapping[tuple[str, str], tuple[FactorChoice, int]]) -> list[Issue]:
    """What a reader of the sum must know about its factors: younger than the use, or of unlike life cycle stages."""
    issues = []
    for (source, factor_id), (choice, first_ms) in choices.items():
        year = choice.factor.data_year
        if year is not None and year > from_ms(first_ms).year:
            message = f"{factor_id} holds data of {year}, later than the first use in this account"
            remedy = "name a factor of the year of use or before"
            issues.append(Issue("factor-later", source, message, remedy))
    life_cycle = {key: _is_life_cycle(choice.factor) for key, (choice, _) in choices.items() if choice.per_unit}
    if len(set(life_cycle.values())) > 1:
        names = ", ".join(sorted({source for (source, _), whole in life_cycle.items() if whole}))
        message = f"life cycle factors ({names}) are added to factors of direct emissions only"
        remedy = "read the sum as a mix, or choose factors of one family"
        issues.append(Issue("factor-stages", "factors", message, remedy))
    return issues


def _is_life_cycle(factor: Factor) -> bool:
    return "life cycle" in factor.stage or "life-cycle" in factor.stage


def _line(name: str, amount: int, book: RateBook, sums: _Sums, unknown: set[str]) -> InventoryLine:
    source = book.source(name)
    if source is None:
        return InventoryLine(name, "", None, amount, None, "")
    used = ", ".join(book.factors_of(name))
    emission = None if name in unknown else sums.source[name]
    return InventoryLine(name, source.unit, source.scope, amount, emission, used or source.factor)


def _texts(emissions: Mapping[str, int]) -> dict[str, str]:
    return {name: decimal_text(emission, EMISSION_SCALE) for name, emission in emissions.items()}


def _quality_json(by_quality: Mapping[Quality, int]) -> dict[str, dict[str, str]]:
    """Per quality its kg CO2e and its share of the absolute sum, to six decimals."""
    whole = sum(abs(emission) for emission in by_quality.values())
    return {
        quality.name.lower(): {
            "kg_co2e": decimal_text(emission, EMISSION_SCALE),
            "share": decimal_text(round_half_even(abs(emission) * _SHARE_DIGITS, whole or 1), _SHARE_DIGITS),
        }
        for quality, emission in by_quality.items()
    }


def _line_json(line: InventoryLine) -> dict[str, Any]:
    return {
        "source": line.source,
        "unit": line.unit,
        "scope": line.scope,
        "amount": decimal_text(line.amount),
        "kg_co2e": None if line.emission is None else decimal_text(line.emission, EMISSION_SCALE),
        "factor": line.factor_id,
    }


def choice_json(choice: FactorChoice) -> dict[str, Any]:
    """The version of a factor that was used, and why that one; of an hourly series the hours, its average and its range.

    The average is over the amounts of those hours, rounded to nine decimals.
    """
    factor, hours = choice.factor, choice.hours
    value = format(factor.value, "f") if hours is None else _average(hours)
    return {
        "source": choice.source,
        "factor": factor.factor_id,
        "version": factor.version,
        "kg_co2e_per_unit": value,
        **({} if hours is None else {"hours": _hours_json(hours)}),
        "unit": factor.unit,
        "gases": factor.gases,
        "stage": factor.stage,
        "geography": factor.geography,
        "data_year": factor.data_year,
        "document": factor.source,
        "reason": choice.reason,
    }


def _average(hours: UsedHours) -> str | None:
    if hours.average is None:
        return None
    exact = hours.average * _PER_UNIT_DIGITS
    return decimal_text(round_half_even(exact.numerator, exact.denominator), _PER_UNIT_DIGITS)


def _hours_json(hours: UsedHours) -> dict[str, Any]:
    return {
        "count": hours.count,
        "first_at": format_instant(hours.first_ms),
        "last_at": format_instant(hours.last_ms),
        "lowest_kg_co2e_per_unit": format(hours.lowest, "f"),
        "highest_kg_co2e_per_unit": format(hours.highest, "f"),
    }


def issue_json(issue: Issue) -> dict[str, Any]:
    """An issue as a remark beside a figure."""
    return {"code": issue.code, "place": issue.place, "message": issue.message, "remedy": issue.remedy}
