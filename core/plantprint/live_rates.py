"""What is shown while hours are open: kg CO2e per unit of every source, hour by hour, and hours that a series lacks."""

from collections.abc import Iterable, Mapping, Sequence

from plantprint.factor_series import FactorSeries
from plantprint.factors import Factor
from plantprint.facts import Issue
from plantprint.plant.model import Source
from plantprint.quantities import FACTOR_SCALE
from plantprint.valuation import RateBook, View, lacking_hours


def kg_per_unit(
    sources: Iterable[Source], library: Mapping[str, Factor], series: Mapping[str, FactorSeries], hours: Iterable[int]
) -> dict[tuple[str, int], float]:
    """By (source, hour) for show, location-based; what is not known is absent."""
    book = RateBook(sources, library, View(series=series))
    ids = [source.id for source in sources]
    rates = {(source_id, hour): book.rate(source_id, hour) for hour in hours for source_id in ids}
    return {key: rate.co2e / FACTOR_SCALE for key, rate in rates.items() if rate is not None}


def hours_lacking(sources: Iterable[Source], series: Mapping[str, FactorSeries], hours: Sequence[int]) -> set[Issue]:
    """One issue for each hour in which a source's factor stands in for its series."""
    return {
        lacking_hours(source.id, source.series, [hour], source.factor)
        for source in sources
        if source.hourly is not None
        for hour in hours
        if source.series not in series or hour not in series[source.series].hours
    }
