"""How a ledger is valued: purpose, GWP set, method and choice of factors, and the rate of a source in an entered hour.

Location- and market-based, AR5 and AR6, the factors known then and now are views of one ledger, never other postings.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from fractions import Fraction

from plantprint.factor_choice import Wanted, as_known, choose, warnings
from plantprint.factor_series import FactorSeries
from plantprint.factors import Factor, FactorChoice, FactorError, Purpose, UsedHours, choose_factor, misused
from plantprint.facts import Issue
from plantprint.gwp import GwpError, GwpSet
from plantprint.market import RESIDUAL, Market, hour_shares
from plantprint.plant.model import Hourly, Source
from plantprint.quantities import UnitError, conversion
from plantprint.rates import Rate, added, mixed, rate_of
from plantprint.source_history import NEWEST_MS, SourceHistory
from plantprint.times import format_instant, from_ms, hour_floor

LOCATION_BASED = "location-based"
MARKET_BASED = "market-based"


@dataclass(frozen=True, slots=True)
class View:
    """What a footprint is asked for. All defaults: the published value of the factor that the plant model names.

    `also`: by source, more factors that come with it (the upstream of its fuel). `series`: hourly factors by the name that
    the plant model has for them (`Source.series`). `factors`: every version to choose from where the model names a subject
    (electricity.grid), for a site in `geography`; with `known_at_ms`, also what the named factors were then.
    """

    purpose: Purpose | None = None
    gwp_set: GwpSet | None = None
    also: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    series: Mapping[str, FactorSeries] = field(default_factory=dict)
    factors: tuple[Factor, ...] = ()
    geography: str = "GLO"
    known_at_ms: int | None = None
    market: Market | None = None

    @property
    def method(self) -> str:
        return LOCATION_BASED if self.market is None else MARKET_BASED


class RateBook:
    """Rates by source and entered hour, each worked out once, with the choices and issues that came up on the way.

    `sources` may be a `SourceHistory`: each amount is valued by its source as it was when the amount entered.
    """

    def __init__(self, sources: Iterable[Source], library: Mapping[str, Factor], view: View) -> None:
        self._sources = SourceHistory.of(sources)
        self._by_hour = self._sources.by_hour()
        self._view = view
        self._library = library
        if view.known_at_ms is not None:
            self._library = as_known([*library.values(), *view.factors], view.known_at_ms)
        self._named = {factor.subject for factor in view.factors}
        self._shares = {} if view.market is None else hour_shares(view.market)
        self._certified = set() if view.market is None else {one.hour_ms for one in view.market.certificates}
        self._rates: dict[tuple[str, int], Rate | None] = {}
        self._span: dict[tuple[str, int], tuple[int, int]] = {}
        self._used: dict[tuple[str, str], dict[tuple[str, int], FactorChoice]] = {}
        self._behind: dict[tuple[str, int], dict[str, int]] = {}
        self._amounts: dict[tuple[str, int], int] = {}
        self._issues: set[Issue] = set()
        self._lacking: dict[tuple[str, str, str], set[int]] = {}

    def source(self, source_id: str, entered_ms: int = NEWEST_MS) -> Source | None:
        return self._sources.at(source_id, entered_ms)

    def rate(self, source_id: str, entered_ms: int, amount: int = 0) -> Rate | None:
        """What a unit of a source that entered then emits; None, and an issue, where it is not known.

        `amount` is what of it is valued so: it weighs the hours of a series in their average.
        """
        slot = (source_id, self._slot(source_id, entered_ms))
        if slot not in self._rates:
            self._rates[slot] = self._work_out(source_id, entered_ms)
        first, last = self._span.get(slot, (entered_ms, entered_ms))
        self._span[slot] = (min(first, entered_ms), max(last, entered_ms))
        self._amounts[slot] = self._amounts.get(slot, 0) + amount
        return self._rates[slot]

    def used(self, source_id: str, entered_ms: int) -> Mapping[str, int]:
        """The factors behind a rate that was asked for, with their versions."""
        return self._behind.get((source_id, self._slot(source_id, entered_ms)), {})

    def factors_of(self, source_id: str) -> list[str]:
        """The ids of all factors used for a source."""
        return sorted(factor_id for source, factor_id in self._used if source == source_id)

    def choices(self) -> dict[tuple[str, str], tuple[FactorChoice, int]]:
        """By (source, factor id): the choice and the first entered hour that it was used for."""
        found = {}
        for key, slots in sorted(self._used.items()):
            slot = min(slots, key=lambda one: self._span[one])
            found[key] = (replace(slots[slot], hours=self._hours_used(key, slots)), self._span[slot][0])
        return found

    def _hours_used(self, key: tuple[str, str], slots: Mapping[tuple[str, int], FactorChoice]) -> UsedHours | None:
        source_id, factor_id = key
        of_source = (self._view.series.get(one.series) for one in self._sources.ever() if one.id == source_id)
        if not any(series is not None and series.factor_id == factor_id for series in of_source):
            return None
        values = {hour_ms: choice.factor.value for (_, hour_ms), choice in slots.items()}
        amounts = {hour_ms: self._amounts[source_id, hour_ms] for hour_ms in values}
        whole = sum(amounts.values())
        valued = sum((Fraction(value) * amounts[hour_ms] for hour_ms, value in values.items()), Fraction(0))
        extremes = min(values.values()), max(values.values())
        return UsedHours(len(values), min(values), max(values), *extremes, valued / whole if whole else None)

    @property
    def issues(self) -> set[Issue]:
        """Why rates are not known, and which hours of a series something else stands in for."""
        return self._issues | {
            lacking_hours(source_id, series, hours, stand_in)
            for (source_id, series, stand_in), hours in self._lacking.items()
        }

    def warnings(self) -> set[Issue]:
        """What is to be known of the factors used: their term was over at the last use, or they stand in for others."""
        return {
            replace(issue, place=source_id, at_ms=0)
            for (source_id, _), slots in self._used.items()
            for slot, choice in slots.items()
            for issue in warnings(choice.factor, self._span[slot][1])
        }

    def _slot(self, source_id: str, entered_ms: int) -> int:
        """What a rate depends on besides its source: the hour, the day, or nothing."""
        source = self._sources.at(source_id, entered_ms)
        market = self._view.market
        if source is None:
            return 0
        hourly = source_id in self._by_hour or source.factor in self._view.series
        if hourly or (market is not None and market.source == source_id):
            return hour_floor(entered_ms)
        return from_ms(entered_ms).toordinal() if self._chosen_by_subject(source) else 0

    def _chosen_by_subject(self, source: Source) -> bool:
        return source.factor not in self._library and source.factor in self._named

    def _work_out(self, source_id: str, entered_ms: int) -> Rate | None:
        source = self._sources.at(source_id, entered_ms)
        if source is None:
            message = (
                f"{source_id} has amounts on this account but is not in the plant model, so its emission is unknown"
            )
            self._issues.add(Issue("source-unknown", source_id, message, "put the source back into plant.yaml"))
            return None
        market = self._view.market
        if market is not None and market.source == source_id:
            own = self._market_rate(source, market, entered_ms)
        else:
            own = self._rate(self._choice(source, entered_ms), source, entered_ms)
        others = [self._companion(source, factor_id, entered_ms) for factor_id in self._view.also.get(source_id, ())]
        rates = [rate for rate in (own, *others) if rate is not None]
        return added(rates) if len(rates) == 1 + len(others) else None

    def _choice(self, source: Source, entered_ms: int) -> FactorChoice | Issue:
        series = self._view.series.get(source.series)
        if source.hourly is not None:
            return self._hourly(source, source.hourly, series, entered_ms)
        if series is not None:
            choice = self._of_hour(source, series, entered_ms, self._view.purpose or series.purpose)
            return _no_hour(source, series, entered_ms) if choice is None else choice
        return self._standing(source, entered_ms, self._view.purpose)

    def _hourly(
        self, source: Source, hourly: Hourly, series: FactorSeries | None, entered_ms: int
    ) -> FactorChoice | Issue:
        """The hour of the source's series; else its own factor stands in, for the same purpose, and is told."""
        purpose = self._view.purpose or hourly.purpose
        choice = None if series is None else self._of_hour(source, series, entered_ms, purpose)
        if choice is not None:
            return choice
        standing = self._standing(source, entered_ms, purpose)
        if isinstance(standing, Issue):
            return standing
        lacking = self._lacking.setdefault((source.id, source.series, standing.factor.factor_id), set())
        lacking.add(hour_floor(entered_ms))
        return replace(standing, reason=f"stands in for hours that {hourly.file} does not have; {standing.reason}")

    def _of_hour(
        self, source: Source, series: FactorSeries, entered_ms: int, purpose: Purpose
    ) -> FactorChoice | Issue | None:
        """What a series says of an hour, None where it has none."""
        if purpose not in series.serves:
            message = f"{series.factor_id} has values for the {series.purpose} only, not for the {purpose}"
            return Issue(
                "factor-purpose", source.id, message, "give each of its rows the direct and the life cycle value"
            )
        key = (source.id, source.unit, hour_floor(entered_ms), purpose)
        if key in series.choices:
            return series.choices[key]
        factor = series.at(entered_ms, purpose)
        if factor is None:
            return None
        choice = self._typed(source, factor, f"hourly series named for {source.id}; each hour has its own value")
        if isinstance(choice, FactorChoice):
            series.choices[key] = choice
        return choice

    def _standing(self, source: Source, entered_ms: int, purpose: Purpose | None) -> FactorChoice | Issue:
        """The factor that the plant model names, whatever the hour."""
        if not self._chosen_by_subject(source):
            return choose_factor(source, self._library, purpose)
        wanted = Wanted(source.factor, source.unit, self._view.geography, entered_ms, purpose or "inventory")
        chosen = choose(self._view.factors, wanted, self._view.known_at_ms)
        if isinstance(chosen, Issue):
            return replace(chosen, place=source.id)
        return self._typed(source, chosen.factor, f"chosen for {source.id}; {chosen.reason}")

    def _companion(self, source: Source, factor_id: str, entered_ms: int) -> Rate | None:
        choice = choose_factor(source.model_copy(update={"factor": factor_id}), self._library, self._view.purpose)
        if isinstance(choice, FactorChoice):
            choice = replace(choice, reason=choice.reason.replace("named for", "comes with", 1))
        return self._rate(choice, source, entered_ms)

    def _market_rate(self, source: Source, market: Market, entered_ms: int) -> Rate | None:
        hour_ms = hour_floor(entered_ms)
        shares = self._shares.get(hour_ms)
        if shares is None:
            shares = {RESIDUAL: Fraction(1)}
            if hour_ms in self._certified:
                message = (
                    f"the site's import of {format_instant(hour_ms)} is not known, so its certificates match nothing"
                )
                self._issues.add(
                    Issue(
                        "market-import", source.id, message, "give the import of every hour with certificates", hour_ms
                    )
                )
        parts: list[tuple[Fraction, Rate]] = []
        for name, share in shares.items():
            rate = self._rate(self._covering(source, market, name, entered_ms), source, entered_ms)
            if rate is None:
                return None
            parts.append((share, rate))
        return mixed(parts)

    def _covering(self, source: Source, market: Market, name: str, entered_ms: int) -> FactorChoice | Issue:
        if name != RESIDUAL:
            return self._typed(source, market.contracts[name], f"contract {name}, matched by hour")
        if market.residual is not None:
            return self._typed(source, market.residual, "residual mix, for what no contract covers")
        message = "no residual mix is known, so what no contract covers takes the location-based factor"
        self._issues.add(
            Issue(
                "residual-missing",
                source.id,
                message,
                "give the market a residual mix (aib.residual..., or your grid's)",
            )
        )
        return self._choice(source, entered_ms)

    def _typed(self, source: Source, factor: Factor, reason: str) -> FactorChoice | Issue:
        misuse = misused(factor, source.id, self._view.purpose)
        if misuse is not None:
            return misuse
        choice = choose_factor(source.model_copy(update={"factor": factor.factor_id}), {factor.factor_id: factor})
        return choice if isinstance(choice, Issue) else replace(choice, reason=reason)

    def _rate(self, choice: FactorChoice | Issue, source: Source, entered_ms: int) -> Rate | None:
        if isinstance(choice, Issue):
            self._issues.add(choice)
            return None
        try:
            rate = rate_of(choice.factor, conversion(source.unit, choice.factor.unit), self._view.gwp_set)
        except (FactorError, GwpError, UnitError) as error:
            self._issues.add(
                Issue("factor-unusable", source.id, str(error), "correct the factor, or ask for another GWP set")
            )
            return None
        slot = (source.id, self._slot(source.id, entered_ms))
        self._used.setdefault((source.id, choice.factor.factor_id), {})[slot] = choice
        self._behind.setdefault(slot, {})[choice.factor.factor_id] = choice.factor.version
        return rate


def lacking_hours(place: str, series: str, hours: Collection[int], stand_in: str) -> Issue:
    """That a factor stands in for hours that a series does not have."""
    first_ms, many = min(hours), len(hours)
    which = format_instant(first_ms) if many == 1 else f"{many} hours, the first {format_instant(first_ms)}"
    message = f"{series} has no value for {which}; {stand_in} stands in"
    return Issue("factor-hour", place, message, "add the hours to the file and apply the plant model again", first_ms)


def _no_hour(source: Source, series: FactorSeries, entered_ms: int) -> Issue:
    hour_ms = hour_floor(entered_ms)
    message = f"the series {series.factor_id} has no value for {format_instant(hour_ms)}, so the emission of that hour is unknown"
    return Issue("factor-hour", source.id, message, "add the missing hours of the series", hour_ms)
