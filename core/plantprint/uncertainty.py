"""How sure a footprint is: error propagation by quadrature, a footprint's interval, and the Monte Carlo that checks it.

Statistics, so floats. The model: emission = Σ_factor φ_f · A_f(meters). A factor's error is one for all amounts that
it multiplies (fully correlated), a meter's error one for the whole footprint (systematic). Around the accounted point
A_f = E_f + Σ_meter S_mf · δ_m, where the sensitivity S comes from accounting again with that meter scaled. All errors
are relative standard deviations, independent of each other, and the variance below is exact for this model.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from math import exp, isfinite, log, sqrt

import numpy as np
from numpy.typing import NDArray

from plantprint.ledger import PostingKey
from plantprint.plant.graph import PlantGraph

_Z95 = 1.959963984540054
Floats = NDArray[np.float64]
Emissions = Mapping[str, float]  # by factor (id and version), kg CO2e
Scales = Mapping[str, Fraction]  # by meter, what its amounts are multiplied by; a meter that is not named keeps 1


def combine_sum(values: Sequence[float], relative: Sequence[float]) -> float:
    """Relative uncertainty of the sum of independent `values` (IPCC 2006 V1 eq. 3.2), of the kind of those given.

    Raises `ValueError` when the values add up to zero: a relative uncertainty has no meaning there.
    """
    total = sum(values)
    if total == 0:
        raise ValueError("the values add up to zero, which has no relative uncertainty; combine absolute ones instead")
    return sqrt(sum((value * u) ** 2 for value, u in zip(values, relative, strict=True))) / abs(total)


def combine_product(relative: Iterable[float]) -> float:
    """Relative uncertainty of a product of independent parts (IPCC 2006 V1 eq. 3.1)."""
    return sqrt(sum(u * u for u in relative))


def pedigree_gsd2(factors: Iterable[float]) -> float:
    """The squared geometric standard deviation of pedigree `factors` (one per indicator, and the basic one; all >= 1).

    The 95 % range of a value is value / gsd2 to value x gsd2. Raises `ValueError` on a factor below 1.
    """
    logs = []
    for factor in factors:
        if not (isfinite(factor) and factor >= 1):
            raise ValueError(f"a pedigree factor is at least 1, not {factor}")
        logs.append(log(factor))
    return exp(sqrt(sum(one * one for one in logs)))


def relative_of_gsd2(gsd2: float) -> float:
    """Relative standard deviation of a lognormal value with this squared geometric standard deviation."""
    return sqrt(exp((log(gsd2) / 2) ** 2) - 1)


def relative_of_interval95(half_width: float) -> float:
    """Relative standard deviation behind "± half_width" of a symmetric 95 % interval."""
    return half_width / _Z95


def relative_of_limit(limit: float) -> float:
    """Relative standard deviation of a meter whose error is anywhere within ± limit (class 1 → 0.01)."""
    return limit / sqrt(3)


def meter_errors(graph: PlantGraph) -> dict[str, float]:
    """Relative standard deviations of the meters whose accuracy class the plant declares, as errors within its limit."""
    limits = {meter.id: meter.error_limit for meter in graph.plant.meters}
    return {meter: relative_of_limit(float(limit)) for meter, limit in limits.items() if limit is not None}


@dataclass(frozen=True, slots=True)
class Uncertainty:
    """kg CO2e: the value, its standard deviation and its lognormal 95 % interval; variance by cause in kg².

    `by_factor` and `by_meter` are first-order parts; `crossed` is what factor and meter errors add by acting together.
    """

    value: float
    deviation: float
    low: float
    high: float
    by_factor: dict[str, float]
    by_meter: dict[str, float]
    crossed: float

    @property
    def relative(self) -> float:
        """Deviation over |value|; zero of a footprint of zero without deviation."""
        return 0.0 if self.deviation == 0 else self.deviation / abs(self.value)


def emissions_by_factor(net: Mapping[PostingKey, int], per_unit: Mapping[str, tuple[str, float]]) -> dict[str, float]:
    """Emissions in kg CO2e of a net posting set by factor; `per_unit` is per source its factor's name and kg per unit.

    A source without a factor is left out: its emission is unknown, which the footprint says.
    """
    amounts: dict[str, int] = {}
    for key, amount in net.items():
        amounts[key.source] = amounts.get(key.source, 0) + amount
    emissions: dict[str, float] = {}
    for source, amount in sorted(amounts.items()):
        if source in per_unit:
            factor, kg = per_unit[source]
            emissions[factor] = emissions.get(factor, 0.0) + amount / 1_000_000 * kg
    return emissions


def meters_behind(graph: PlantGraph, nodes: Iterable[str]) -> frozenset[str]:
    """The meters that can move what `nodes` (work units, pools) get: upstream of them, and of all who share with them."""
    meters: set[str] = set()
    seen: set[str] = set()
    waiting = list(nodes)
    while waiting:
        node = waiting.pop()
        for edge in graph.inflows.get(node, ()):
            shared = graph.outflows[edge.giver] if edge.giver_kind == "pool" else (edge,)
            meters |= {meter for one in shared for _, meter in one.terms}
            if edge.giver not in seen:
                seen.add(edge.giver)
                waiting.append(edge.giver)
    return frozenset(meters)


def meter_sensitivities(
    account_again: Callable[[Scales], Emissions], meters: Iterable[str], step: Fraction = Fraction(1, 100)
) -> dict[str, dict[str, float]]:
    """Per meter and factor: kg CO2e by which the footprint moves per relative unit of the meter, by central difference.

    `account_again` accounts the same facts with the named meters' amounts scaled. Two calls per meter, so hand in the
    `meters_behind` the footprint and no others.
    """
    return {
        meter: sensitivity(account_again({meter: 1 + step}), account_again({meter: 1 - step}), step)
        for meter in sorted(set(meters))
    }


def sensitivity(raised: Emissions, lowered: Emissions, step: Fraction = Fraction(1, 100)) -> dict[str, float]:
    """Per factor the slope between emissions accounted with one meter at 1 + step and at 1 - step."""
    factors = sorted(raised.keys() | lowered.keys())
    return {factor: (raised.get(factor, 0.0) - lowered.get(factor, 0.0)) / (2 * float(step)) for factor in factors}


def footprint_uncertainty(
    emissions: Emissions,
    factor_relative: Mapping[str, float],
    sensitivities: Mapping[str, Mapping[str, float]],
    meter_relative: Mapping[str, float],
) -> Uncertainty:
    """The footprint's uncertainty; a factor or a meter without a relative error of its own is taken as exact."""
    _refuse_negative(factor_relative, meter_relative)
    by_factor = {f: (kg * factor_relative.get(f, 0.0)) ** 2 for f, kg in sorted(emissions.items())}
    by_meter: dict[str, float] = {}
    crossed = 0.0
    for meter, slopes in sorted(sensitivities.items()):
        error = meter_relative.get(meter, 0.0)
        by_meter[meter] = (sum(slopes.values()) * error) ** 2
        crossed += sum((slope * error * factor_relative.get(f, 0.0)) ** 2 for f, slope in slopes.items())
    value = sum(emissions.values())
    deviation = sqrt(sum(by_factor.values()) + sum(by_meter.values()) + crossed)
    low, high = interval95(value, deviation)
    return Uncertainty(value, deviation, low, high, by_factor, by_meter, crossed)


def interval95(mean: float, deviation: float) -> tuple[float, float]:
    """The 95 % interval of the lognormal with this mean and deviation, mirrored below zero.

    A mean of zero with a deviation has no lognormal; there the interval is the normal one.
    """
    if deviation == 0:
        return mean, mean
    if mean == 0:
        return -_Z95 * deviation, _Z95 * deviation
    mu, sigma = _matched(abs(mean), deviation)
    low, high = exp(mu - _Z95 * sigma), exp(mu + _Z95 * sigma)
    return (low, high) if mean > 0 else (-high, -low)


def monte_carlo(
    generator: np.random.Generator,
    draws: int,
    emissions: Emissions,
    factor_relative: Mapping[str, float],
    sensitivities: Mapping[str, Mapping[str, float]],
    meter_relative: Mapping[str, float],
) -> Floats:
    """Draws of the footprint in kg CO2e, shape (draws,): the check of `footprint_uncertainty`.

    Factors are lognormal with mean 1, meters normal around 1; each is drawn once per footprint. The caller seeds.
    """
    _refuse_negative(factor_relative, meter_relative)
    errors = {
        meter: generator.normal(0.0, meter_relative.get(meter, 0.0), draws) for meter in sorted(sensitivities)
    }  # δ of each meter
    total = np.zeros(draws)
    factors = emissions.keys() | {factor for slopes in sensitivities.values() for factor in slopes}
    for factor in sorted(factors):
        amount = np.full(draws, float(emissions.get(factor, 0.0)))
        for meter, slopes in sensitivities.items():
            amount += slopes.get(factor, 0.0) * errors[meter]
        total += amount * draw_factor(generator, draws, factor_relative.get(factor, 0.0))
    return total


def monte_carlo_accounted(
    generator: np.random.Generator,
    draws: int,
    account_again: Callable[[Scales], Emissions],
    factor_relative: Mapping[str, float],
    meter_relative: Mapping[str, float],
) -> Floats:
    """The same with every draw accounted again from its own scaled meters: slow, and free of any linearisation."""
    _refuse_negative(factor_relative, meter_relative)
    total = np.zeros(draws)
    for number in range(draws):
        scales = {
            meter: Fraction(max(0.0, float(generator.normal(1.0, relative)))).limit_denominator(10**9)
            for meter, relative in sorted(meter_relative.items())
        }
        for factor, kg in sorted(account_again(scales).items()):
            total[number] += kg * float(draw_factor(generator, 1, factor_relative.get(factor, 0.0))[0])
    return total


def draw_factor(generator: np.random.Generator, draws: int, relative: float) -> Floats:
    """Multipliers of a factor: lognormal with mean 1 and this relative standard deviation."""
    if relative == 0:
        return np.ones(draws)
    mu, sigma = _matched(1.0, relative)
    return generator.lognormal(mu, sigma, draws)


def _matched(mean: float, deviation: float) -> tuple[float, float]:
    """The mu and sigma of the lognormal with these moments; mean > 0."""
    sigma_squared = log(1 + (deviation / mean) ** 2)
    return log(mean) - sigma_squared / 2, sqrt(sigma_squared)


def _refuse_negative(*errors: Mapping[str, float]) -> None:
    for one in errors:
        for name, relative in one.items():
            if not (isfinite(relative) and relative >= 0):
                raise ValueError(f"{name}: a relative standard deviation is zero or more, not {relative}")
