"""Genealogy: nothing is lost or made on the way, order makes no difference, loops agree with walking around them."""

import random
import warnings
from collections import defaultdict
from fractions import Fraction
from importlib import import_module
from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from random_lots import GRID, Case, genealogies, series

from plantprint.coproducts import ISO_14067, PACT_V3
from plantprint.genealogy import Genealogy, trace_lots
from plantprint.loops import strong_groups
from plantprint.lot_plans import STOCK
from plantprint.lots import Facts, LineKey


def _sum(*vectors: Any) -> dict[LineKey, int]:
    total: defaultdict[LineKey, int] = defaultdict(int)
    for lines in vectors:
        for key, value in lines.items():
            total[key] += value
    return {key: value for key, value in total.items() if value}


@given(genealogies(), st.sampled_from((ISO_14067, PACT_V3)))
@settings(max_examples=300)
def test_what_lots_hold_is_exactly_what_entered_them(case: Case, rules: Any) -> None:
    found = trace_lots(case.facts, case.own, rules)
    everything = found.lots.values()
    assert _sum(*(lot.stock for lot in everything)) == _sum(*(lot.own for lot in everything))
    assert _sum(*case.own.values()).items() <= {**_sum(*(lot.own for lot in everything))}.items()


@given(genealogies())
@settings(max_examples=300)
def test_a_lot_hands_on_and_keeps_exactly_what_it_carries(case: Case) -> None:
    found = trace_lots(case.facts, case.own)
    for lot, one in found.lots.items():
        out = [move.lines for move in found.handed if move.giver == lot]
        into = [move.lines for move in found.handed if move.taker == lot]
        assert _sum(*out) == dict(one.inventory)
        assert _sum(one.own, *into) == dict(one.inventory)
        assert one.stock == next((m.lines for m in found.handed if m.giver == lot and m.taker == STOCK), {})


@given(genealogies(), st.randoms(use_true_random=False))
@settings(max_examples=150)
def test_order_and_copies_of_facts_make_no_difference(case: Case, shuffler: random.Random) -> None:
    def shuffled(facts: Any) -> tuple[Any, ...]:
        copies = [*facts, *facts[:2]]
        shuffler.shuffle(copies)
        return tuple(copies)

    facts = case.facts
    other = Facts(*(shuffled(f) for f in (facts.lots, facts.materials, facts.uses, facts.returns, facts.outputs)))
    names = [*case.own]
    shuffler.shuffle(names)
    assert trace_lots(other, {lot: case.own[lot] for lot in names}) == trace_lots(facts, case.own)


@given(genealogies(loops=False), st.integers(2, 7))
@settings(max_examples=100)
def test_emissions_times_k_carry_k_times_as_much(case: Case, k: int) -> None:
    """Linearity, to the rounding of one unit per division on the way."""
    once, times = (trace_lots(case.facts, {lot: {key: f * v for key, v in lines.items()} for lot, lines in case.own.items()})
                   for f in (1, k))  # fmt: skip
    for lot in once.lots:
        a, b = (g.lots[lot].inventory.get(GRID, 0) for g in (once, times))
        assert abs(k * a - b) <= 20 * k


def _shares(found: Genealogy) -> dict[tuple[str, str], Fraction]:
    shares: dict[tuple[str, str], Fraction] = defaultdict(Fraction)
    for move in found.handed:
        if move.taker:
            shares[move.giver, move.taker] += move.share
    return dict(shares)


@given(genealogies())
@settings(max_examples=150)
def test_rework_loops_agree_with_walking_around_them(case: Case) -> None:
    found = trace_lots(case.facts, case.own)
    shares = _shares(found)
    groups = strong_groups({lot: [t for (g, t) in shares if g == lot] for lot in found.lots})
    for group in groups:  # The walk must die out in time to compare: a quarter leaves each loop on every step.
        assume(
            all(sum(s for (g, t), s in shares.items() if g == lot and t in group) <= Fraction(3, 4) for lot in group)
        )
    walked = series(shares, {lot: one.own.get(GRID, 0) for lot, one in found.lots.items()}, 160)
    for lot, one in found.lots.items():
        assert abs(one.inventory.get(GRID, 0) - walked[lot]) <= 20, lot


@given(genealogies(coproducts=False))
@settings(max_examples=60)
def test_bw2calc_agrees_on_the_linear_system(case: Case) -> None:
    """Technosphere: what a lot puts out, minus what it takes of others; demand: one unit of each lot in turn."""
    case = Case(
        case.facts, {lot: {key: value * 10**9 for key, value in lines.items()} for lot, lines in case.own.items()}
    )
    found = trace_lots(case.facts, case.own, tolerance=Fraction(10**9))
    assume(not any(issue.code in ("loop-closed", "no-good-output") for issue in found.issues))
    supply = {lot: sum(m.quantity_micro for m in found.handed if m.giver == lot) for lot in found.lots}
    made = [lot for lot in found.lots if supply[lot]]
    assume(made and all(supply[m.giver] for m in found.handed if m.quantity_micro))
    rows = [(lot, lot, supply[lot]) for lot in found.lots if supply[lot]]
    rows += [(lot, lot, 1) for lot in found.lots if not supply[lot]]
    taken = [(m.giver, m.taker, m.quantity_micro) for m in found.handed if m.taker and m.quantity_micro]
    own = {lot: one.own.get(GRID, 0) for lot, one in found.lots.items()}
    for lot in made:
        theirs = _bw_score(lot, [*found.lots], rows, taken, own)
        ours = found.lots[lot].inventory.get(GRID, 0) / supply[lot]
        assert ours == pytest.approx(theirs, rel=1e-6, abs=1e-3 * 10**6)


def _bw_score(
    lot: str, lots: list[str], made: list[tuple[str, str, int]], taken: list[tuple[str, str, int]], own: dict[str, int]
) -> float:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it advertises faster solvers
        bw2calc, processing, np = import_module("bw2calc"), import_module("bw_processing"), import_module("numpy")
        number = {name: place + 1 for place, name in enumerate(lots)}
        package = processing.create_datapackage()
        cells = [(number[g], number[t], float(q), False) for g, t, q in made]
        cells += [(number[g], number[t], float(q), True) for g, t, q in taken]
        _add(package, processing, np, "technosphere_matrix", cells)
        _add(package, processing, np, "biosphere_matrix", [(1000, number[n], float(v), False) for n, v in own.items()])
        lca = bw2calc.LCA({number[lot]: 1.0}, data_objs=[package])
        lca.lci()
        return float(lca.inventory.sum())


def _add(package: Any, processing: Any, np: Any, matrix: str, cells: list[tuple[int, int, float, bool]]) -> None:
    package.add_persistent_vector(
        matrix=matrix,
        indices_array=np.array([cell[:2] for cell in cells], dtype=processing.INDICES_DTYPE),
        data_array=np.array([cell[2] for cell in cells]),
        flip_array=np.array([cell[3] for cell in cells]),
    )


@given(genealogies())
@settings(max_examples=100)
def test_a_lot_is_incomplete_exactly_where_something_behind_it_is_wrong(case: Case) -> None:
    found = trace_lots(case.facts, case.own)
    assert {lot for lot in found.lots if found.reasons(lot)} == found.incomplete
