"""Results: co-products add up, shares stay within bounds, comparisons add up, uncertainty agrees with Monte Carlo."""

from decimal import Decimal
from fractions import Fraction
from itertools import chain

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from plantprint.compare import Activity, Effect, Side, compare
from plantprint.coproducts import ISO_14067, PACT_V3, CoProduct, RuleSet, allocate_coproducts
from plantprint.data_quality import Contribution, DataQuality, data_quality_ratings, primary_data_share
from plantprint.uncertainty import footprint_uncertainty, interval95, monte_carlo

# ---- co-products -----------------------------------------------------------------------------------------------------

maybe_amounts = st.none() | st.decimals(0, 10**6, places=3)
coproducts = st.lists(
    st.builds(
        CoProduct,
        st.sampled_from("abcdef"),
        st.integers(0, 10**12),
        st.sampled_from(("kg", "m3")),
        st.none() | st.decimals(-100, 10**6, places=2),
        physical=maybe_amounts,
        metered=st.none() | st.integers(0, 10**9),
        displaced_kg_co2e=maybe_amounts,
    ),
    min_size=1,
    max_size=6,
    unique_by=lambda one: one.output,
)
rule_sets = st.sampled_from((ISO_14067, PACT_V3, RuleSet("by price", ("economic",), "unit-price")))


@given(coproducts, rule_sets, st.integers(-(10**24), 10**24))
@settings(max_examples=400)
def test_shares_of_co_products_add_up_exactly_and_waste_gets_none(
    outputs: list[CoProduct], rules: RuleSet, amount: int
) -> None:
    found = allocate_coproducts(outputs, rules)
    shares = found.divide(amount)
    assert list(shares) == [one.output for one in outputs]
    assert sum(shares.values()) == amount
    assert sum(found.share(one.output) for one in outputs) == 1
    assert all(found.share(one.output) >= 0 for one in outputs)
    assert all(shares[waste] == 0 for waste in found.waste)
    assert {one.output for one in outputs if one.unit_price is not None and one.unit_price <= 0} in (
        set(found.waste),
        {one.output for one in outputs},
    )


@given(coproducts, rule_sets, st.decimals("0.001", 1000, places=3))
def test_prices_in_another_currency_change_nothing(outputs: list[CoProduct], rules: RuleSet, rate: Decimal) -> None:
    def priced(one: CoProduct) -> CoProduct:
        price = None if one.unit_price is None else Fraction(one.unit_price) * Fraction(rate)
        return CoProduct(
            one.output,
            one.quantity_micro,
            one.unit,
            price,
            one.priced_on,
            one.physical,
            one.metered,
            one.displaced_kg_co2e,
        )

    here, there = allocate_coproducts(outputs, rules), allocate_coproducts([priced(one) for one in outputs], rules)
    assert [here.share(one.output) for one in outputs] == [there.share(one.output) for one in outputs]
    assert (here.method, here.waste) == (there.method, there.waste)


# ---- data quality ----------------------------------------------------------------------------------------------------

ratings = st.none() | st.integers(1, 5)
contributions = st.lists(
    st.builds(
        Contribution,
        st.integers(-(10**20), 10**20),
        st.booleans(),
        st.booleans(),
        st.none() | st.fractions(0, 1),
        st.builds(DataQuality, ratings, ratings, ratings),
    ),
    max_size=8,
)


@given(contributions)
def test_a_primary_data_share_is_between_nothing_and_all_and_ratings_between_one_and_five(
    parts: list[Contribution],
) -> None:
    share, quality = primary_data_share(parts), data_quality_ratings(parts)
    if not any(part.emission for part in parts):
        assert (share, quality) == (None, None)
        return
    assert share is not None
    assert quality is not None
    assert 0 <= share <= 1
    known = [part.primary_share for part in parts if part.emission]
    assert min(known) <= share <= max(known)
    for rating in (quality.technological, quality.geographical, quality.temporal):
        assert rating is not None
        assert 1 <= rating <= 5


@given(contributions, st.integers(1, 1000))
def test_a_share_does_not_depend_on_the_unit(parts: list[Contribution], scale: int) -> None:
    other = [
        Contribution(
            part.emission * scale, part.activity_is_primary, part.factor_is_primary, part.supplier_share, part.quality
        )
        for part in parts
    ]
    assert primary_data_share(other) == primary_data_share(parts)
    assert data_quality_ratings(other) == data_quality_ratings(parts)


# ---- comparison ------------------------------------------------------------------------------------------------------

cells = st.builds(
    Activity,
    st.sampled_from(("dye", "dry")),
    st.sampled_from(("grid", "pv", "gas")),
    st.sampled_from(("kWh", "Nm3")),
    st.integers(-(10**9), 10**12),
    st.dictionaries(st.sampled_from("123"), st.integers(-(10**25), 10**27), max_size=3),
)
quantities = st.integers(1, 10**12)


@st.composite
def pairs(draw: st.DrawFn) -> tuple[Side, Side]:
    per_unit = draw(st.booleans())
    sides = [Side(tuple(draw(st.lists(cells, max_size=6))), draw(quantities) if per_unit else None) for _ in range(2)]
    return sides[0], sides[1]


@given(pairs())
@settings(max_examples=300)
def test_effects_add_up_exactly_to_the_difference(pair: tuple[Side, Side]) -> None:
    found = compare(*pair)
    assert sum(chain.from_iterable(effect[3:] for effect in found.effects), Fraction(0)) == found.difference
    for name in ("step", "source", "scope"):
        assert sum(found.by(name).values(), Fraction(0)) == found.difference
    body = found.to_json()
    texts = [
        Fraction(effect[f"{cause}_kg_co2e"]) for effect in body["effects"] for cause in ("activity", "mix", "factor")
    ]
    assert sum(texts, Fraction(0)) == Fraction(body["difference_kg_co2e"])


@given(pairs())
def test_going_back_only_turns_the_sign(pair: tuple[Side, Side]) -> None:
    there, back = compare(*pair), compare(pair[1], pair[0])
    turned = [Effect(*effect[:3], *(-value for value in effect[3:])) for effect in back.effects]
    assert sorted(turned) == list(there.effects)


@given(pairs())
def test_nothing_differs_from_itself(pair: tuple[Side, Side]) -> None:
    assert all(not any(effect[3:]) for effect in compare(pair[0], pair[0]).effects)


@given(st.lists(st.integers(1, 10**9), min_size=2, max_size=2), st.integers(1, 10**6), st.integers(1, 10**6))
def test_effects_of_one_source_are_told_apart(amounts: list[int], factor_0: int, factor_1: int) -> None:
    """With one source there is no mix; equal factors leave activity, equal amounts leave the factor."""
    sides = [
        Side((Activity("dye", "grid", "kWh", amount, {"2": amount * factor}),))
        for amount, factor in zip(amounts, (factor_0, factor_1), strict=True)
    ]
    causes = compare(*sides).by_cause()
    assert causes["mix"] == 0
    assert (causes["factor"] == 0) == (factor_0 == factor_1)
    assert (causes["activity"] == 0) == (amounts[0] == amounts[1])


# ---- uncertainty -----------------------------------------------------------------------------------------------------

emissions = st.dictionaries(st.sampled_from(("grid", "pv", "gas")), st.floats(1, 1000), min_size=1)
errors = st.floats(0, 0.3)


@given(
    emissions,
    st.fixed_dictionaries({"grid": errors, "pv": errors, "gas": errors}),
    st.dictionaries(
        st.sampled_from(("m1", "m2")), st.dictionaries(st.sampled_from(("grid", "pv", "gas")), st.floats(-300, 300))
    ),
    st.fixed_dictionaries({"m1": st.floats(0, 0.1), "m2": st.floats(0, 0.1)}),
    st.integers(0, 2**32 - 1),
)
@settings(max_examples=40)
def test_monte_carlo_agrees_in_standard_deviation_within_two_percent(
    kg: dict[str, float],
    factors: dict[str, float],
    slopes: dict[str, dict[str, float]],
    meters: dict[str, float],
    seed: int,
) -> None:
    found = footprint_uncertainty(kg, factors, slopes, meters)
    assume(found.deviation > 1e-3)
    draws = monte_carlo(np.random.default_rng(seed), 100_000, kg, factors, slopes, meters)
    assert draws.std() == pytest.approx(found.deviation, rel=0.02)
    assert draws.mean() == pytest.approx(found.value, abs=5 * found.deviation / 100_000**0.5)
    assert found.low <= found.value <= found.high


@given(st.floats(1e-3, 1e6), st.floats(1e-3, 2))
def test_the_interval_holds_the_mean_and_never_changes_sign(mean: float, relative: float) -> None:
    low, high = interval95(mean, mean * relative)
    assert 0 < low < high
    assert low < mean
