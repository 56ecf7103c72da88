"""Laws of factors: linearity, energy under a market, gas masses, breakdowns that add up, and a choice without order."""

from dataclasses import replace
from decimal import Decimal
from fractions import Fraction

from factor_cases import BUILTIN, LIBRARY, T0, a_factor, a_posting, a_source
from hypothesis import example, given
from hypothesis import strategies as st

from plantprint import chp
from plantprint.factor_choice import Chosen, Wanted, choose
from plantprint.factors import average
from plantprint.footprint import footprint
from plantprint.gwp import GWP_SETS, GwpSet, builtin_gases, co2e, components
from plantprint.ledger import Net
from plantprint.market import Certificate, Market, covered, hour_shares, site_import
from plantprint.quantities import divide
from plantprint.rates import UNSPLIT, Rate, mixed
from plantprint.times import HOUR_MS
from plantprint.valuation import View

SPLIT = ("uk2025.fuel.natural_gas.m3", "uk2025.fuel.diesel_100_mineral_diesel.l", "ipcc2006.wood_wood_waste.kg")
SOURCES = [
    a_source("gas", SPLIT[0], "m3", 1, "fuel"),
    a_source("diesel", SPLIT[1], "L", 1, "fuel"),
    a_source("wood", SPLIT[2], "kg", 1, "fuel"),
    a_source("grid", "cn.gridfp.2024.average"),
]
AMOUNTS = st.integers(-(10**12), 10**12)
NETS = st.dictionaries(
    st.builds(
        a_posting,
        st.sampled_from([source.id for source in SOURCES]),
        st.integers(0, 5),
        st.sampled_from(["b-1", "b-2"]),
    ),
    AMOUNTS,
    max_size=12,
)
SETS = st.sampled_from(GWP_SETS)


@given(NETS, SETS, st.integers(1, 1000))
def test_emissions_are_linear_in_amounts_under_every_set(net: Net, gwp_set: GwpSet, times: int) -> None:
    view = View(purpose="footprint", gwp_set=gwp_set)
    one = footprint(net, SOURCES, LIBRARY, view=view)
    many = footprint({key: amount * times for key, amount in net.items()}, SOURCES, LIBRARY, view=view)
    assert many.emission == times * one.emission


@given(NETS, st.integers(1, 1000))
def test_emissions_are_linear_in_factors(net: Net, times: int) -> None:
    raised = {name: replace(factor, value=factor.value * times) for name, factor in LIBRARY.items()}
    assert footprint(net, SOURCES, raised).emission == times * footprint(net, SOURCES, LIBRARY).emission


@given(NETS, SETS)
def test_breakdowns_add_up_and_masses_do_not_know_the_set(net: Net, gwp_set: GwpSet) -> None:
    result = footprint(net, SOURCES, LIBRARY, view=View(gwp_set=gwp_set))
    parts = result.breakdown
    assert parts is not None
    for sums in (parts.by_gas, parts.by_component, parts.by_scope, parts.by_stage):
        assert sum(sums.values()) == result.emission
    other = footprint(net, SOURCES, LIBRARY, view=View(gwp_set="AR4")).breakdown
    assert other is not None
    assert other.masses == parts.masses


@given(NETS, NETS, SETS)
def test_gas_masses_of_two_accounts_are_those_of_both(one: Net, two: Net, gwp_set: GwpSet) -> None:
    view = View(gwp_set=gwp_set)
    both = {key: one.get(key, 0) + two.get(key, 0) for key in one.keys() | two.keys()}
    parts = [footprint(net, SOURCES, LIBRARY, view=view).breakdown for net in (one, two, both)]
    names = {gas for part in parts if part is not None for gas in part.masses}
    for gas in names:
        first, second, whole = (0 if part is None else part.masses.get(gas, 0) for part in parts)
        assert first + second == whole


@given(st.sampled_from(sorted(builtin_gases())), st.integers(0, 10**9), SETS)
def test_a_blend_weighs_what_its_components_weigh(gas: str, grams: int, gwp_set: GwpSet) -> None:
    mass = Fraction(grams, 1000)
    parts = components(gas, mass)
    assert sum(parts.values()) == mass
    if all(gwp_set in builtin_gases()[component].values for component in parts):
        assert co2e(parts, gwp_set) * 2 == co2e(components(gas, mass * 2), gwp_set)


HOURS = st.integers(0, 5)
GRID_NETS = st.dictionaries(
    st.builds(a_posting, st.just("grid"), HOURS, st.sampled_from(["b-1", "b-2", "b-3"])),
    st.integers(0, 10**10),
    max_size=10,
)
CERTIFICATES = st.lists(
    st.builds(
        Certificate, st.sampled_from(["wind", "sun"]), HOURS.map(lambda h: T0 + h * HOUR_MS), st.integers(0, 10**10)
    ),
    max_size=8,
)
CONTRACTS = {name: average(a_factor(name, value)) for name, value in (("wind", "0.0324"), ("sun", "0.052"))}
REST = average(a_factor("rest", "0.6096"))


@given(GRID_NETS, CERTIFICATES)
def test_contracts_and_residual_cover_exactly_the_energy_of_the_ledger(
    net: Net, certificates: list[Certificate]
) -> None:
    market = Market("grid", CONTRACTS, tuple(certificates), site_import(net, "grid"), REST)
    assert all(sum(shares.values()) == 1 for shares in hour_shares(market).values())
    parts = covered(net, market)
    assert sum(parts.values()) == sum(net.values())
    for contract in CONTRACTS:
        held = sum(one.amount for one in certificates if one.contract == contract)
        assert parts.get(contract, Fraction(0)) <= held


@given(GRID_NETS, CERTIFICATES)
def test_the_order_of_certificates_does_not_matter(net: Net, certificates: list[Certificate]) -> None:
    imported = site_import(net, "grid")
    source = [a_source("grid", "cn.grid.2023.zhejiang")]
    views = [
        View(market=Market("grid", CONTRACTS, tuple(order), imported, REST))
        for order in (certificates, certificates[::-1])
    ]
    one, other = (footprint(net, source, LIBRARY, view=view) for view in views)
    assert one == other
    low, high = Decimal("0.0324"), Decimal("0.6096")
    whole = sum(net.values()) * 10**12
    assert low * whole - 1 <= one.emission <= high * whole + 1


PARTS = st.tuples(st.integers(0, 10**12), st.integers(1, 10**12))


@given(PARTS, PARTS, st.integers(1, 2**40), st.integers(1, 2**40))
@example((0, 1), (1, 1), 1, 1)
def test_the_parts_of_a_mix_are_rounded_once(a: tuple[int, int], b: tuple[int, int], one: int, other: int) -> None:
    """By rule R1 over the exact sums of both; dividing by sums that are rounded already can miss the last digit."""
    shares = Fraction(one, one + other), Fraction(other, one + other)
    rates = [Rate(sum(p), {UNSPLIT: sum(p)}, {"generation": p[0], "upstream": p[1]}, {}, "production") for p in (a, b)]
    found = mixed(list(zip(shares, rates, strict=True)))
    generation, upstream = (sum((s * p[i] for s, p in zip(shares, (a, b), strict=True)), Fraction(0)) for i in (0, 1))
    assert found.co2e == round(generation + upstream)
    first = round(found.co2e * generation / (generation + upstream))
    assert found.by_component == {"generation": first, "upstream": found.co2e - first}


@given(
    st.sampled_from(["CN-ZJ", "CN-XZ", "CN", "DE", "LI", "GB"]),
    st.integers(2021, 2026),
    st.sampled_from(["inventory", "footprint"]),
    st.randoms(use_true_random=False),
)
def test_a_choice_does_not_depend_on_the_order_of_the_library_and_never_mixes(
    geography: str, year: int, purpose: str, random: object
) -> None:
    shuffled = list(BUILTIN)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    at_ms = T0 + (year - 2024) * 366 * 24 * HOUR_MS
    wanted = Wanted("electricity.grid", "kWh", geography, at_ms, purpose)  # type: ignore[arg-type]
    one, other = choose(BUILTIN, wanted), choose(shuffled, wanted)
    assert one == other
    if isinstance(one, Chosen):
        assert one.factor.purpose in (purpose, "any")
        assert one.factor.data_year is None or one.factor.data_year <= year


@given(st.lists(st.integers(0, 10**6), min_size=1, max_size=4), st.integers(0, 10**15), st.data())
def test_chp_weights_divide_an_amount_to_the_last_digit(outputs: list[int], amount: int, data: st.DataObject) -> None:
    references = [data.draw(st.decimals("0.1", "1", places=3)) for _ in outputs]
    for weights in (
        chp.energy_weights(outputs),
        chp.efficiency_weights(outputs, references),
        chp.exergy_weights(outputs, references),
    ):
        assert sum(divide(amount, weights)) == amount
