"""Primary data share and data quality ratings of a footprint, by PACT v3: averages weighted by the size of each part.

Metered electricity with an average factor counts as 0 % primary: both the activity and the factor must be primary. What
is not known counts as the worst: 0 % primary, rating 5. Fractions, so that shares are exact.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Literal

Rating = Literal[1, 2, 3, 4, 5]
Technology = Literal["plant", "company", "equivalent", "proxy", "unknown"]

_WORST: Rating = 5
_TECHNOLOGY: dict[Technology, Rating] = {"plant": 1, "company": 2, "equivalent": 3, "proxy": 4, "unknown": 5}
_YEARS_DAYS: tuple[tuple[int, Rating], ...] = ((366, 1), (731, 2), (1096, 3), (1461, 4))
_REGION_RATING: Rating = 3
_GLOBAL_RATING: Rating = 4
# PACT asks for the subdivision in nine large countries; the ones that are not named here rate as if they were small.
SUBDIVIDED = frozenset({"CN"})


@dataclass(frozen=True, slots=True, order=True)
class DataQuality:
    """The three ratings of one part, or of a whole footprint's average: 1 best, 5 worst; None when unknown."""

    technological: Fraction | int | None = None
    geographical: Fraction | int | None = None
    temporal: Fraction | int | None = None

    def __post_init__(self) -> None:
        for rating in (self.technological, self.geographical, self.temporal):
            if rating is not None and not 1 <= rating <= _WORST:
                raise ValueError(f"a data quality rating is 1 (best) to 5 (worst), not {rating}")


UNRATED = DataQuality()


@dataclass(frozen=True, slots=True)
class Contribution:
    """One part of a footprint: `emission` in any one unit (signed), how primary its data are, and its ratings.

    `supplier_share` is the primary share that a supplier states for its own footprint (0 to 1); it replaces the rest.
    """

    emission: int | Fraction
    activity_is_primary: bool = False
    factor_is_primary: bool = False
    supplier_share: Fraction | None = None
    quality: DataQuality = UNRATED

    def __post_init__(self) -> None:
        if self.supplier_share is not None and not 0 <= self.supplier_share <= 1:
            raise ValueError(f"a supplier's primary data share is 0 to 1, not {self.supplier_share}")

    @property
    def primary_share(self) -> Fraction:
        if self.supplier_share is not None:
            return self.supplier_share
        return Fraction(int(self.activity_is_primary and self.factor_is_primary))


def primary_data_share(parts: Iterable[Contribution]) -> Fraction | None:
    """Σ|emission| x share / Σ|emission|, 0 to 1; None where nothing was emitted at all."""
    known = list(parts)
    return _average([part.emission for part in known], [part.primary_share for part in known])


def data_quality_ratings(parts: Iterable[Contribution]) -> DataQuality | None:
    """The average rating per indicator, weighted by |emission|; None where nothing was emitted at all."""
    known = list(parts)
    weights = [part.emission for part in known]
    ratings = [
        _average(weights, [_or_worst(rating) for rating in column])
        for column in (
            [part.quality.technological for part in known],
            [part.quality.geographical for part in known],
            [part.quality.temporal for part in known],
        )
    ]
    return None if None in ratings else DataQuality(*ratings)


def technological_rating(representative_of: Technology) -> Rating:
    """What the data describe: this plant, this company's technology, an average of equivalents, a proxy, unknown."""
    return _TECHNOLOGY[representative_of]


def temporal_rating(days_apart: int | None) -> Rating:
    """Days between the end of the data's reference period and the end of the footprint's, whichever comes first."""
    if days_apart is None:
        return _WORST
    return next((rating for days, rating in _YEARS_DAYS if abs(days_apart) <= days), _WORST)


def geographical_rating(
    site: str, of_data: str, regions: Iterable[str] = (), subdivided: Iterable[str] = SUBDIVIDED
) -> Rating:
    """Ratings of ISO 3166 codes: `site` CN-ZJ, data of CN-ZJ, CN, one of the `regions` that hold the site, or GLO.

    Data of the country rate 2 where PACT asks for its subdivision (`subdivided`), else 1.
    """
    country = site.partition("-")[0]
    if of_data == site and (site != country or country not in set(subdivided)):
        return 1
    if of_data == country:
        return 2 if country in set(subdivided) else 1
    if of_data in set(regions):
        return _REGION_RATING
    return _GLOBAL_RATING if of_data == "GLO" else _WORST


def _or_worst(rating: Fraction | int | None) -> Fraction:
    return Fraction(_WORST if rating is None else rating)


def _average(weights: Sequence[int | Fraction], values: Sequence[Fraction]) -> Fraction | None:
    whole = sum((abs(Fraction(weight)) for weight in weights), Fraction(0))
    if whole == 0:
        return None
    return (
        sum((abs(Fraction(weight)) * value for weight, value in zip(weights, values, strict=True)), Fraction(0)) / whole
    )
