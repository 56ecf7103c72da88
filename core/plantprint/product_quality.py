"""How good a product footprint is: primary data share and ratings by PACT v3, and its uncertainty by factor.

A factor's relative error comes from the pedigree matrix (first edition, as in the ecoinvent guideline): a basic
uncertainty and one factor per indicator, by the same scores that the ratings are made of.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from fractions import Fraction
from math import ceil

from plantprint.data_quality import (
    UNRATED,
    Contribution,
    DataQuality,
    data_quality_ratings,
    geographical_rating,
    primary_data_share,
    technological_rating,
    temporal_rating,
)
from plantprint.factor_choice import places
from plantprint.factors import Factor
from plantprint.genealogy import Genealogy
from plantprint.lots import Facts, LineKey, Pcf, Vector
from plantprint.product_lines import Valuing
from plantprint.times import to_ms
from plantprint.uncertainty import Uncertainty, footprint_uncertainty, pedigree_gsd2, relative_of_gsd2
from plantprint.valued_lines import kg_by_factor

_DAY_MS = 86_400_000
_BASIC = 1.05
_RELIABILITY: Mapping[str, float] = {"measured": 1.0, "published": 1.05, "proxy": 1.2, "unknown": 1.5}
_TEMPORAL = (1.0, 1.03, 1.1, 1.2, 1.5)
_GEOGRAPHIC = (1.0, 1.01, 1.02, 1.02, 1.1)
_TECHNOLOGY = (1.0, 1.0, 1.2, 1.5, 2.0)
_MEASURED = DataQuality(1, 1, 1)


@dataclass(frozen=True, slots=True)
class Judged:
    """Primary data share and ratings, None where nothing was emitted, and the uncertainty of the whole in kg CO2e."""

    primary_share: Fraction | None
    ratings: DataQuality | None
    uncertainty: Uncertainty


def judge(
    lines: Vector,
    found: Genealogy,
    facts: Facts,
    valuing: Valuing,
    factors: Mapping[str, Factor],
    ends_ms: int,
    slopes: Mapping[str, Mapping[str, float]],
    meters: Mapping[str, float],
) -> Judged:
    """What is to be said of the lines (kg CO2e) of one lot; `factors` are those used, by `id@version`.

    `slopes` are by meter and factor the kg CO2e by which the lines move per relative unit of the meter, `meters`
    the meters' relative errors; a meter without one counts as exact.
    """
    direct = {source.id for source in valuing.history if source.kind == "direct"}
    suppliers = {pcf.reference: pcf.quality for pcf in _suppliers(facts)}
    rated = {key: _rating(key, direct, suppliers, factors, valuing, ends_ms) for key in lines}
    parts = [
        Contribution(
            kg,
            activity_is_primary=key.factor not in suppliers,
            factor_is_primary=key.source in direct,
            supplier_share=found.supplier_shares.get((key.source, key.factor)) if key.factor in suppliers else None,
            quality=rated[key],
        )
        for key, kg in sorted(lines.items())
    ]
    errors = {key.factor: _relative(key, rated[key], direct, factors) for key in lines}
    uncertainty = footprint_uncertainty(kg_by_factor(lines), errors, slopes, meters)
    return Judged(primary_data_share(parts), data_quality_ratings(parts), uncertainty)


def _suppliers(facts: Facts) -> Iterable[Pcf]:
    bought = [*(lot.pcf for lot in facts.declared.values()), *(material.pcf for material in facts.materials)]
    return [pcf for pcf in bought if pcf is not None and pcf.kind == "supplier"]


def _rating(
    key: LineKey,
    direct: set[str],
    suppliers: Mapping[str, DataQuality],
    factors: Mapping[str, Factor],
    valuing: Valuing,
    ends_ms: int,
) -> DataQuality:
    """Of one line; of several factors the worst counts, and what nobody rated is unknown."""
    if key.source in direct:
        return _MEASURED
    if key.factor in suppliers:
        return suppliers[key.factor]
    used = [factors[name] for name in key.factor.split(", ") if name in factors]
    if not used:
        return UNRATED
    site = valuing.plant.site.geography
    wider = [place for place, role in places(site, used[0].subject) if role == "wider"]
    return DataQuality(
        max(technological_rating("proxy" if one.basis == "proxy" else "equivalent") for one in used),
        max(geographical_rating(site, one.geography, wider) for one in used),
        max(temporal_rating(_days_apart(one, ends_ms)) for one in used),
    )


def _days_apart(factor: Factor, ends_ms: int) -> int | None:
    """Between the end of the factor's data year and the end of the footprint's period; a year under way counts whole."""
    if factor.data_year is None:
        return None
    end_ms = to_ms(datetime(factor.data_year + 1, 1, 1, tzinfo=UTC))
    return max(0, ends_ms - end_ms) // _DAY_MS


def _relative(key: LineKey, quality: DataQuality, direct: set[str], factors: Mapping[str, Factor]) -> float:
    """Relative standard deviation of a factor."""
    if key.source in direct:
        return 0.0
    kinds = ["proxy" if factors[f].basis == "proxy" else "published" for f in key.factor.split(", ") if f in factors]
    kind = "unknown" if not kinds and quality == UNRATED else "proxy" if "proxy" in kinds else "published"
    scores = (
        _score(_TEMPORAL, quality.temporal),
        _score(_GEOGRAPHIC, quality.geographical),
        _score(_TECHNOLOGY, quality.technological),
    )
    return relative_of_gsd2(pedigree_gsd2((_BASIC, _RELIABILITY[kind], *scores)))


def _score(table: tuple[float, ...], rating: Fraction | int | None) -> float:
    return table[-1] if rating is None else table[ceil(rating) - 1]
