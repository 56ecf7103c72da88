"""Facts accounted hour by hour, and the footprints that follow: the functions of the collector, without a database."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property

from plantprint.account import EMPTY_CARRY, HourAccount, account_hour
from plantprint.ancestry import Ancestry, EventIndex
from plantprint.contracts import market_of
from plantprint.contradictions import Reasons, joined, refused_jobs
from plantprint.event_fields import plain_text
from plantprint.factor_choice import as_known
from plantprint.factors import Factor, Purpose
from plantprint.facts import Issue
from plantprint.gwp import GwpSet
from plantprint.ledger import Net
from plantprint.market import Market, site_import
from plantprint.material_events import valid_events
from plantprint.meter_slopes import sampled_hours
from plantprint.neutral.document import Facts, FactsError
from plantprint.neutral.known import KnownFacts, known_facts
from plantprint.plant.graph import PlantGraph
from plantprint.product import ProductFootprint, Reach, product_footprint
from plantprint.product_lines import Valuing, background
from plantprint.production import Production
from plantprint.production_book import reduce_events
from plantprint.quantities import MICRO
from plantprint.source_history import SourceHistory
from plantprint.times import HOUR_MS, format_instant, hour_floor, parse_instant

YEARS_MAX = 12
_YEAR_MS = 366 * 24 * HOUR_MS


@dataclass(frozen=True, eq=False)
class Accounts:
    """Every hour accounted, the plant in force at the end, what the production events say, and the facts behind them."""

    hours: tuple[HourAccount, ...]
    graph: PlantGraph
    production: Production
    known: KnownFacts
    gwp_set: GwpSet | None = None
    purpose: Purpose | None = None

    @cached_property
    def net(self) -> Net:
        """All postings of all hours; their keys hold the hour, so nothing is added up here."""
        return {key: amount for hour in self.hours for key, amount in hour.net.items()}

    @cached_property
    def sources(self) -> SourceHistory:
        """Of all the plants, in the order in which they take over."""
        return SourceHistory((since_ms, graph.plant.sources) for since_ms, graph in self.known.graphs)

    @cached_property
    def units(self) -> dict[str, str]:
        """Of every source that one of the plants has."""
        return {source.id: source.unit for source in self.sources}

    @cached_property
    def library(self) -> Mapping[str, Factor]:
        """The newest version of each factor that is known."""
        return as_known(self.known.factors, self.known.known_at_ms)

    @cached_property
    def market(self) -> tuple[Market | None, tuple[Issue, ...]]:
        """What contracts and certificates say, matched by hour with the import of the site."""
        plant = self.graph.plant
        imported = {} if plant.market is None else site_import(self.net, plant.market.source)
        return market_of(plant, self.library, self.known.events, imported)

    @cached_property
    def valuing(self) -> Valuing:
        """Location-based, and market-based where the plant has a market."""
        known, plant = self.known, self.graph.plant
        return Valuing(
            plant,
            self.library,
            known.factors,
            self.gwp_set,
            known.known_at_ms,
            self.market[0],
            known.hourly,
            self.purpose,
            self.sources,
        )

    @property
    def has_products(self) -> bool:
        """An inventory has none: what suppliers and materials bring are footprints, which never enter it."""
        return self.purpose != "inventory"

    @cached_property
    def by_account(self) -> dict[tuple[str, str], Net]:
        found: dict[tuple[str, str], Net] = {}
        for key, amount in self.net.items():
            found.setdefault((key.account_kind, key.account_id), {})[key] = amount
        return dict(sorted(found.items()))

    @cached_property
    def missing_ms(self) -> dict[str, int]:
        """By batch, how long meters behind it were silent."""
        found: dict[str, int] = {}
        for hour in self.hours:
            for batch, missing in hour.missing_ms.items():
                found[batch] = found.get(batch, 0) + missing
        return found

    @cached_property
    def contradictions(self) -> Reasons:
        """By batch the facts behind it that contradict each other, and the jobs of it that were kept out."""
        return joined([refused_jobs(self.production.issues), *(hour.contradictions for hour in self.hours)])

    @cached_property
    def genealogy(self) -> EventIndex:
        index = EventIndex()
        index.add(self.known.events)
        return index

    @property
    def lots(self) -> list[str]:
        """Batches, and lots that something was put out as."""
        put_out = {plain_text(event, "as_lot") for event in valid_events(self.genealogy.all())}
        made = {account_id for kind, account_id in self.by_account if kind == "batch"}
        return sorted({*self.production.batches, *made, *put_out} - {""})

    def product(self, lot: str) -> ProductFootprint:
        """The footprint of a lot with all that went into it, at the end of its last job."""
        ancestry = Ancestry(lot, len(self.known.events) + 1)
        while wanted := ancestry.wanted:
            ancestry.add(self.genealogy.about(wanted))
        ends = [job.end_ms for job in self.production.jobs_of(lot) if job.end_ms is not None]
        ends_ms = min(max(ends, default=self.known.until_ms), self.known.until_ms)
        behind = background(self.valuing, ends_ms)
        nets = {one: self.by_account.get(("batch", one), {}) for one in ancestry.lots}
        sampled = {*sampled_hours(nets[lot])}
        counted = {
            hour.hour_ms: {meter: float(told.amount.sum()) / MICRO for meter, told in hour.meters.items()}
            for hour in self.hours
            if hour.hour_ms in sampled
        }
        facts = ancestry.facts(self.production.batches, behind.materials)
        reach = Reach(nets, facts, self.missing_ms, frozenset(), counted, self.contradictions)
        found = product_footprint(lot, reach, self.valuing, behind, ends_ms)
        return replace(found, remarks=tuple(sorted({*found.remarks, *self.market[1]})))


def account_facts(
    facts: Facts,
    known_at: str | None = None,
    gwp_set: GwpSet | None = None,
    purpose: Purpose | None = None,
    years_max: int = YEARS_MAX,
) -> Accounts:
    """Accounts every hour from the first reading to `until`, from the facts known at `known_at` (None: all).

    Raises `FactsError` for what cannot be used, and where that is longer than `years_max`: one wrong date makes a century.
    Asked for a `purpose`, a source whose factor serves the other one has an unknown emission, and an issue.
    """
    known = known_facts(facts, None if known_at is None else _instant(known_at))
    if known.until_ms - known.begins_ms > years_max * _YEAR_MS:
        span = f"{format_instant(known.begins_ms)} to {format_instant(known.until_ms)}"
        raise FactsError(
            f"until: the facts reach from {span}, more than {years_max} years; correct the date of the first reading or "
            "amount, or allow more with --years-max"
        )
    productions = {id(graph): reduce_events(known.events, graph) for _, graph in known.graphs}
    hours: list[HourAccount] = []
    carry = EMPTY_CARRY
    for hour_ms in range(hour_floor(known.begins_ms), known.until_ms, HOUR_MS):
        graph = known.graph(hour_ms)
        series, since_ms = known.meters(hour_ms)
        given, wrong = known.given(hour_ms)
        production = productions[id(graph)]
        account = account_hour(graph, production, hour_ms, series, carry, known.until_ms, since_ms, given, wrong)
        carry = account.carry
        hours.append(account)
    graph = known.graph(known.until_ms)
    happened = productions[id(graph)] if len(known.graphs) == 1 else reduce_events(known.events, known.plants)
    return Accounts(tuple(hours), graph, happened, known, gwp_set, purpose)


def _instant(text: str) -> int:
    try:
        return parse_instant(text)
    except ValueError as error:
        raise FactsError(f"known-at: {error}") from error
