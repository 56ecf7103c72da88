"""One ledger valued in several ways at once, as lines that genealogy hands on together: what `product` adds up.

The `gas` of a line names its measure: `co2e` (location-based), `market` (market-based), `gas:…` (kg CO2e by gas under a
GWP set) and `kg:…` (mass of a gas). Every measure moves by the same shares and adds up by itself.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from plantprint.factor_choice import Wanted, as_known, choose
from plantprint.factor_series import FactorSeries
from plantprint.factors import Factor, FactorError, Purpose, misused
from plantprint.facts import Issue
from plantprint.gwp import GwpError, GwpSet
from plantprint.ledger import PostingKey
from plantprint.lots import EMPTY, LineKey, Material, Pcf, Vector
from plantprint.market import Market
from plantprint.plant.model import Material as PlantMaterial
from plantprint.plant.model import Plant
from plantprint.quantities import UnitError, conversion
from plantprint.rates import UNSPLIT, rate_of, scope_of
from plantprint.source_history import SourceHistory
from plantprint.valuation import RateBook, View
from plantprint.valued_lines import own_lines

CO2E, MARKET, GAS, MASS = "co2e", "market", "gas:", "kg:"
LATEST_SET: GwpSet = "AR6"


@dataclass(frozen=True)
class Valuing:
    """By what a footprint is valued: the plant's sources and materials, a library of factors, and what was asked for.

    `library` holds the newest version of each factor, `factors` every version, from which a subject is chosen or what was
    known at `known_at_ms`; `series` are hourly ones by the name that a source has for them. Without a `gwp_set` published
    values count, and gases are shown under `LATEST_SET`. A `purpose` refuses sources' factors of the other one. `sources` are
    the plant's as they were through its versions; without it they have always been what they are.
    """

    plant: Plant
    library: Mapping[str, Factor] = field(default_factory=dict)
    factors: tuple[Factor, ...] = ()
    gwp_set: GwpSet | None = None
    known_at_ms: int | None = None
    market: Market | None = None
    series: Mapping[str, FactorSeries] = field(default_factory=dict)
    purpose: Purpose | None = None
    sources: SourceHistory | None = None

    @property
    def history(self) -> SourceHistory:
        return self.sources or SourceHistory.of(self.plant.sources)

    @property
    def gas_set(self) -> GwpSet:
        return self.gwp_set or LATEST_SET

    @property
    def view(self) -> View:
        """Location-based."""
        return View(
            purpose=self.purpose,
            gwp_set=self.gwp_set,
            series=self.series,
            factors=self.factors,
            geography=self.plant.site.geography,
            known_at_ms=self.known_at_ms,
        )


class Books:
    """Rates of a valuation: location-based, by gas, and market-based where there is a market."""

    def __init__(self, valuing: Valuing) -> None:
        sources, library, view = valuing.history, valuing.library, valuing.view
        self.location = RateBook(sources, library, view)
        self.gases = RateBook(sources, library, replace(view, gwp_set=valuing.gas_set))
        self.market = (
            None if valuing.market is None else RateBook(sources, library, replace(view, market=valuing.market))
        )

    def lines(self, net: Mapping[PostingKey, int]) -> tuple[Vector, frozenset[str]]:
        """The lines of one lot's own postings in every measure, and the sources whose emission is not known."""
        found: dict[LineKey, int] = {}
        plain = own_lines(net, self.location)
        _measure(found, "", plain.lines)
        _measure(found, GAS, own_lines(net, self.gases, "gas").lines)
        _measure(found, MASS, own_lines(net, self.gases, "mass").lines)
        if self.market is None:
            return found, plain.unknown
        bought = own_lines(net, self.market)
        _measure(found, MARKET, {key._replace(gas=""): kg for key, kg in bought.lines.items()})
        return found, plain.unknown | bought.unknown

    @property
    def issues(self) -> frozenset[Issue]:
        return frozenset(self.location.issues | (set() if self.market is None else self.market.issues))

    def inventory_only(self) -> set[Issue]:
        """Factors of the plant that hold direct emissions only, in a figure that ought to be of the life cycle."""
        return {
            Issue(
                "factor-inventory",
                source,
                f"{factor_id} is a factor for inventories, without upstream emissions, so the product footprint lacks those",
                "name a factor for footprints in plant.yaml: `plantprint factors list --purpose footprint`",
            )
            for (source, factor_id), (choice, _) in self.location.choices().items()
            if choice.factor.purpose == "inventory"
        }


@dataclass(frozen=True, slots=True)
class Background:
    """The plant's materials with their background factors, those factors by `id@version`, and what is wrong with them."""

    materials: tuple[Material, ...]
    factors: Mapping[str, Factor]
    issues: Mapping[str, Issue]


def background(valuing: Valuing, at_ms: int) -> Background:
    """What stands in for suppliers' footprints at `at_ms`."""
    found: list[Material] = []
    factors: dict[str, Factor] = {}
    issues: dict[str, Issue] = {}
    for material in valuing.plant.materials:
        factor = _factor(material, valuing, at_ms) if material.factor else None
        pcf = _pcf(material, factor, valuing) if isinstance(factor, Factor) else factor
        if isinstance(pcf, Issue):
            issues[material.id] = pcf
        elif isinstance(factor, Factor) and pcf is not None:
            factors[pcf.reference] = factor
        found.append(Material(material.id, material.unit, pcf if isinstance(pcf, Pcf) else None))
    return Background(tuple(found), factors, issues)


def with_measures(pcf: Pcf, *, market: bool) -> Pcf:
    """A supplier's footprint in the measures of this module; nobody's market changes it, and no GWP set converts it."""
    if pcf.kind == "background":
        return pcf
    parts = dict(pcf.per_unit)
    whole, uptake = parts.pop(CO2E), parts.pop("co2_uptake", 0)
    rest = whole - sum(parts.values())
    measures = {CO2E: whole, **({MARKET: whole} if market else {}), f"{MASS}co2_uptake": uptake}
    gases = {f"{GAS}{origin}": kg for origin, kg in parts.items()} | {f"{GAS}{UNSPLIT}": rest}
    return replace(pcf, per_unit=tuple((name, kg) for name, kg in (measures | gases).items() if kg or name == CO2E))


def _pcf(material: PlantMaterial, factor: Factor, valuing: Valuing) -> Pcf | Issue:
    try:
        ratio = conversion(material.unit, factor.unit)
        rate = rate_of(factor, ratio, valuing.gwp_set)
        by_gas = rate_of(factor, ratio, valuing.gas_set)
    except (FactorError, GwpError, UnitError) as error:
        return Issue("factor-unusable", material.id, str(error), "name another factor for it in plant.yaml")
    measures = {CO2E: rate.co2e, **({} if valuing.market is None else {MARKET: rate.co2e})}
    measures |= {f"{GAS}{gas}": kg for gas, kg in by_gas.by_gas.items()}
    measures |= {f"{MASS}{gas}": kg for gas, kg in by_gas.masses.items()}
    scope = scope_of(factor.component, 3)
    return Pcf(
        f"{factor.factor_id}@{factor.version}",
        "background",
        tuple(measures.items()),
        scope="3.1" if scope == "3" else scope,
        stage=rate.stage if rate.stage != "production" else "raw materials",
    )


def _factor(material: PlantMaterial, valuing: Valuing, at_ms: int) -> Factor | Issue:
    """By id, else by subject: the fall-backs of place and year are those of every choice."""
    pool = [*valuing.library.values(), *valuing.factors]
    named = as_known(pool, valuing.known_at_ms).get(material.factor)
    if named is not None:
        return misused(named, material.id, "footprint") or named
    wanted = Wanted(material.factor, material.unit, valuing.plant.site.geography, at_ms, "footprint")
    chosen = choose(pool, wanted, valuing.known_at_ms)
    return replace(chosen, place=material.id) if isinstance(chosen, Issue) else chosen.factor


def _measure(found: dict[LineKey, int], prefix: str, lines: Vector) -> None:
    for key, kg in lines.items():
        found[key._replace(gas=f"{prefix}{key.gas}")] = kg


def of_measure(lines: Vector, measure: str) -> Vector:
    """The lines of one measure."""
    return {key: kg for key, kg in lines.items() if key.gas == measure} or EMPTY


def by_gas(lines: Vector, prefix: str) -> dict[str, int]:
    """Sums by gas of the measures that begin with `prefix`."""
    sums: dict[str, int] = {}
    for key, kg in lines.items():
        if key.gas.startswith(prefix):
            sums[key.gas.removeprefix(prefix)] = sums.get(key.gas.removeprefix(prefix), 0) + kg
    return dict(sorted(sums.items()))
