"""Postings become lines: the same sum as the footprint in every split, and on through genealogy to a shipped lot."""

from decimal import Decimal
from pathlib import Path

import pytest
from accounting_cases import HOUR
from random_lots import YARN, bought, good, use

import plantprint_simulators
from plantprint.factor_series import FactorSeries, HourIntensity
from plantprint.factors import builtin_factors, latest
from plantprint.footprint import footprint
from plantprint.genealogy import trace_lots
from plantprint.ledger import PostingKey
from plantprint.lots import Facts
from plantprint.plant.graph import compile_plant
from plantprint.plant.load import load_plant
from plantprint.plant.model import Hourly
from plantprint.quantities import EMISSION_SCALE, MICRO
from plantprint.valuation import RateBook, View
from plantprint.valued_lines import Split, kg_by_factor, own_lines

FILE = Path(plantprint_simulators.__file__).parent / "data" / "dyehouse" / "plant.yaml"
GRAPH = compile_plant(load_plant(FILE.read_text(encoding="utf-8"), str(FILE)))
LIBRARY = latest(builtin_factors())
SOURCES = tuple(GRAPH.sources.values())
NET = {
    PostingKey(HOUR, "batch", "B", "l1-dye", "dyeing", source, HOUR, 3): amount * MICRO
    for source, amount in (("grid", 1000), ("pv", 200), ("gas", 90), ("stack-co2", 4))
}


def book(view: View | None = None) -> RateBook:
    return RateBook(SOURCES, LIBRARY, view or View())


@pytest.mark.parametrize("view", [View(), View(gwp_set="AR6"), View(gwp_set="AR5")])
@pytest.mark.parametrize("split", ["scope", "gas"])
def test_lines_add_up_to_the_footprint(view: View, split: Split) -> None:
    found = own_lines(NET, book(view), split)
    assert sum(found.lines.values()) == footprint(NET, SOURCES, LIBRARY, view=view).emission
    assert not found.unknown


def test_lines_name_step_scope_and_factor_version() -> None:
    lines = own_lines(NET, book()).lines
    assert {(key.source, key.step, key.scope, key.factor) for key in lines} >= {
        ("grid", "dyeing", "2", "cn.grid.2023.zhejiang@1"),
        ("gas", "dyeing", "1", "cn.fuel.natural_gas@1"),
    }
    assert kg_by_factor(lines)["cn.grid.2023.zhejiang@1"] == pytest.approx(497.4)


def test_a_line_names_only_the_factors_behind_its_own_amounts_whoever_was_valued_before() -> None:
    """An hour of the file and one that it lacks; the second lot's hour is in the file."""
    hours = FactorSeries(
        "hours.csv", "XX", "operator", {HOUR: HourIntensity(Decimal("0.5"), Decimal("0.6"), estimated=False)}
    )
    hourly = Hourly(file="hours.csv", purpose="inventory")
    grid = next(source for source in SOURCES if source.id == "grid").model_copy(update={"hourly": hourly})
    shared = RateBook([grid], LIBRARY, View(series={"hours.csv": hours}))
    known = next(key for key in NET if key.source == "grid")
    unlike = own_lines({known: 1, known._replace(hour_ms=HOUR + 3_600_000, entered_ms=HOUR + 3_600_000): 1}, shared)
    assert {key.factor for key in unlike.lines} == {"cn.grid.2023.zhejiang@1, hours.csv@1"}
    assert {key.factor for key in own_lines({known: 1}, shared).lines} == {"hours.csv@1"}


def test_masses_are_kilograms_of_the_gas_itself() -> None:
    masses = own_lines(NET, book(), "mass").lines
    stack = [value for key, value in masses.items() if key.source == "stack-co2"]
    assert sum(stack) == 4 * EMISSION_SCALE


def test_a_source_without_a_factor_is_unknown_and_not_zero() -> None:
    net = {**NET, PostingKey(HOUR, "batch", "B", "l1-dye", "dyeing", "coal", HOUR, 3): 1}
    found = own_lines(net, book())
    assert found.unknown == {"coal"}
    assert found.lines == own_lines(NET, book()).lines


def test_own_lines_and_bought_yarn_travel_to_what_was_shipped() -> None:
    """Own 4 kg CO2 of the stack and 10 kg yarn of 4.25 on 8 kg good; 2 kg shipped: a quarter of each line."""
    own = own_lines({key: amount for key, amount in NET.items() if key.source == "stack-co2"}, book()).lines
    facts = Facts(materials=(YARN,), uses=(bought("B", "yarn", 10), use("S1", "B", 2)), outputs=(good("B", 8),))
    shipped = trace_lots(facts, {"B": own}).lots["S1"].inventory
    assert sum(shipped.values()) * 4 == int(46.5 * EMISSION_SCALE)
    assert {key.source for key in shipped} == {"stack-co2", "yarn"}
