"""Worked examples with known results, each computed by the product's own functions.

`PLANTPRINT_CHECK_CASES` names another CSV of the same shape. A case is recognised by its topic and the names of its
inputs, never by its formula; what is not recognised fails and says so.
"""

import csv
import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest

from plantprint import chp, combustion, gwp, processes, refrigerants, steam, uncertainty
from plantprint.factor_library import relative_change
from plantprint.factors import Factor, builtin_factors, latest
from plantprint.facts import Quality
from plantprint.footprint import footprint
from plantprint.ledger import PostingKey
from plantprint.plant.model import Source
from plantprint.quantities import EMISSION_SCALE, MICRO, conversion, divide, round_half_even

DEFAULT = Path(__file__).parents[1] / "data" / "check_cases.csv"
CASES = Path(os.environ.get("PLANTPRINT_CHECK_CASES") or DEFAULT)
COLUMNS = {"case_id", "topic", "inputs_json", "expected", "unit", "rel_tolerance"}

Inputs = dict[str, Any]
Result = Fraction | float | int


@dataclass(frozen=True)
class Case:
    topic: str
    inputs: Inputs
    unit: str


def cases() -> list[Any]:
    with CASES.open(encoding="utf-8-sig", newline="") as file:
        rows = csv.DictReader(file)
        missing = COLUMNS - set(rows.fieldnames or ())
        if missing:
            raise ValueError(f"{CASES} lacks the columns {', '.join(sorted(missing))}")
        return [pytest.param(row, id=row["case_id"]) for row in rows]


@pytest.mark.parametrize("row", cases())
def test_a_worked_example_comes_out(row: dict[str, str]) -> None:
    inputs = json.loads(row["inputs_json"], parse_float=Decimal)
    result = compute(Case(row["topic"], inputs, row["unit"]))
    expected, tolerance = float(row["expected"]), float(row["rel_tolerance"])
    error = abs(float(result) - expected)
    allowed = tolerance * abs(expected) if expected else tolerance
    assert error <= allowed, (
        f"{row['case_id']}: {float(result)!r} instead of {expected!r} {row['unit']}, allowed ±{allowed:g}"
    )


def test_there_are_cases_and_the_project_has_a_copy() -> None:
    assert cases()
    assert sum(1 for _ in DEFAULT.open(encoding="utf-8")) == 67


def test_a_shape_that_nobody_knows_fails_and_says_which() -> None:
    with pytest.raises(LookupError, match=r"topic 'magic' with inputs x, y, z"):
        compute(Case("magic", {"x": 1, "y": 2, "z": 3}, "kg"))


def test_a_topic_in_other_words_is_known_by_its_inputs() -> None:
    assert compute(Case("evaporation", {"m_t": 1, "h": 2762.75, "base": 83.74}, "GJ")) == pytest.approx(2.67901)
    assert compute(Case("activity", {"gallons": Decimal(10), "ef": Decimal("8.78")}, "kg")) == pytest.approx(87.8)


def compute(case: Case) -> Result:
    """The first recipe whose words are in the topic and whose inputs are exactly these computes the case.

    A topic in other words is recognised where only one recipe has these inputs.
    """
    topic, names = case.topic.lower(), frozenset(case.inputs)
    fitting = [(words, recipe) for words, shape, recipe in RECIPES if _fits(shape, names)]
    for words, recipe in fitting:
        if any(word in topic for word in words.split("|")):
            return recipe(case)
    certain = {recipe for _, recipe in fitting} - {_difference, _sum_of_parts}
    if len(certain) == 1:
        return certain.pop()(case)
    raise LookupError(
        f"no recipe for topic {case.topic!r} with inputs {', '.join(case.inputs)}: add one to RECIPES in {__file__}"
    )


def _fits(shape: str, names: frozenset[str]) -> bool:
    match shape:
        case "any two":
            return len(names) == 2
        case "any ef":
            return len(names) == 2 and "ef" in names
        case "any":
            return len(names) > 1
    return names == frozenset(shape.split())


# ---- steam and combustion --------------------------------------------------------------------------------------------


def _enthalpy(case: Case) -> Result:
    return steam.enthalpy_kj_per_kg(float(case.inputs["p_MPa"]), float(case.inputs["T_K"]))


def _steam_state(case: Case) -> Result:
    i = case.inputs
    state = steam.SteamState(float(i["p_MPa"]), *(float(i[name]) for name in ("T_C",) if name in i))
    return steam.heat_gj(i["m_t"], steam.steam_enthalpy(state), i["base"])


def _steam_heat(case: Case) -> Result:
    return steam.heat_gj(case.inputs["m_t"], case.inputs["h"], case.inputs["base"])


def _condensate(case: Case) -> Result:
    i = case.inputs
    return steam.heat_after_return_gj(i["m"], i["h"], i["r"], i["hc"], i["base"])


def _by_carbon(case: Case) -> Result:
    """A fuel by mass in t (tCO2), or by volume, whose calorific value and result are per 1e4 Nm3 and per Nm3."""
    i = case.inputs
    if "t" in i:
        return combustion.co2_by_carbon(i["t"], i["ncv"], i["cc"], i["of"])
    per_nm3 = Fraction(1, 10_000) if "Nm3" in case.unit else Fraction(1)
    tonnes = combustion.co2_by_carbon(per_nm3, i["ncv"], i["cc"], i["of"])
    return tonnes * conversion("t", "kg")


def _three_gases(case: Case) -> Result:
    i = case.inputs
    factors = combustion.EnergyFactors(i["co2"], i["ch4"], i["n2o"])
    return gwp.co2e(combustion.gases_by_energy(i["kg"], i["ncv"], factors), "AR6")


def _boiler(case: Case) -> Result:
    return combustion.boiler_emission(case.inputs["q_mmBtu"], case.inputs["eta"], case.inputs["ef"])


def _two_entries_each(case: Case) -> Result:
    i = case.inputs
    entries = [(i["a"], i["hc"]), (i["b"], 1)] * 2
    return combustion.emission(combustion.burnt(entries), i["ef"])


def _gas_in_three_units(case: Case) -> Result:
    i = case.inputs
    return combustion.emission(combustion.burnt([(i["scf"], 1), (i["mm"], i["a"]), (i["th"], i["b"])]), i["ef"])


# ---- gases -----------------------------------------------------------------------------------------------------------


def _total_of_fuels(case: Case) -> Result:
    i = case.inputs
    kg = {name: conversion("g", "kg") * Fraction(i[f"{name}_g"]) for name in ("ch4", "n2o")}
    return gwp.co2e({"co2_fossil": i["co2_kg"], **kg}, "AR4") * conversion("kg", "t")


def _total_of_grid(case: Case) -> Result:
    i = case.inputs
    pounds = gwp.co2e({"co2_fossil": i["co2"], "ch4": i["ch4"], "n2o": i["n2o"]}, "AR4")
    return combustion.emission(pounds, i["k"]) * conversion("kg", "t")


def _blend(case: Case) -> Result:
    return gwp.blend_gwp(case.inputs["mix"])


def _mass_balance(case: Case) -> Result:
    i = case.inputs
    return combustion.emission(refrigerants.mass_balance(i["inv"], i["trans"], i["cap"]), i["gwp"])


def _simplified_balance(case: Case) -> Result:
    i = case.inputs
    lost = refrigerants.simplified_mass_balance(
        new_charge_kg=i["nc"],
        new_capacity_kg=i["ncap"],
        recharge_kg=i["re"],
        disposed_capacity_kg=i["dc"],
        disposed_recovered_kg=i["dr"],
    )
    return combustion.emission(lost, i["gwp"])


def _screening(case: Case) -> Result:
    i = case.inputs
    rates = refrigerants.LeakRates(i["i"], i["o"], i["rem"], i["rec"])
    return combustion.emission(refrigerants.screening(i["new"], i["oper"], i["disp"], rates), i["gwp"])


# ---- processes and CHP -----------------------------------------------------------------------------------------------


def _carbonate(case: Case) -> Result:
    return processes.co2_per_carbonate(case.inputs["M"], case.inputs["k"])


def _clinker(case: Case) -> Result:
    i = case.inputs
    molar = {"co2_molar_g": i["M_co2"], "cao_molar_g": i["M_cao"]} if "M_co2" in i else {}
    return processes.clinker_co2(1, i["cao"], **molar)


def _waste_water(case: Case) -> Result:
    i = case.inputs
    water = processes.WasteWater(i["w"], i["cod_in"], i["cod_s"], i["mcf"], i["bo"], i["rec"])
    return combustion.emission(processes.wastewater_ch4(water), i["gwp"]) * conversion("kg", "t")


def _chp(case: Case) -> Result:
    """Share of electricity from efficiencies alone: each unit of fuel gives `ne` electricity and `nt` heat."""
    i, topic = case.inputs, case.topic.lower()
    outputs = [i["ne"], i["nt"]]
    if "re" in i:
        weights = chp.efficiency_weights(outputs, [i["re"], i["rt"]])
    elif "iea" in topic:
        weights = chp.energy_weights(outputs)
    else:  # One unit of each product, by the fuel that the plant's own efficiencies say it needs.
        weights = chp.efficiency_weights([1, 1], outputs)
    return combustion.emission(i["E"], chp.shares(weights)["heat" in case.unit])


def _chp_outputs(case: Case) -> Result:
    i = case.inputs
    weights = chp.efficiency_weights([i["P"], i["H"]], [i["eP"], i["eH"]])
    return combustion.emission(i["E"], chp.shares(weights)["heat" in case.unit])


# ---- activity times factor, through the footprint itself -------------------------------------------------------------


def _emission(activities: list[tuple[Decimal, str, Decimal, str]], quantity: Decimal | None = None) -> Fraction:
    """Kg CO2e of (amount, unit, factor, per unit), posted and multiplied as a batch's are; per `quantity` if given."""
    pattern = latest(builtin_factors())["direct.co2"].to_json()
    net, sources, library = {}, [], {}
    for number, (amount, unit, factor, per) in enumerate(activities):
        name = f"s{number}"
        body = {"id": name, "name": {"en": name}, "unit": unit, "kind": "purchased", "factor": name, "scope": 1}
        sources.append(Source.model_validate(body))
        value = {"factor_id": name, "value": str(factor), "co2_fossil_kg": str(factor), "unit": per}
        library[name] = Factor.from_json(pattern | value)
        net[PostingKey(0, "batch", "b", "u", "", name, 0, Quality.MEASURED)] = _millionths(amount)
    result = footprint(net, sources, library, None if quantity is None else _millionths(quantity), "unit")
    assert result.complete, result.issues
    if quantity is None:
        return Fraction(result.emission, EMISSION_SCALE)
    return Fraction(result.kg_co2e_per_unit or "0")


def _one(amount: str, factor: str, unit: str = "kg") -> Callable[[Case], Result]:
    return lambda case: _emission([(Decimal(case.inputs[amount]), unit, Decimal(case.inputs[factor]), unit)])


def _any_activity(case: Case) -> Result:
    """An amount under any name, its factor per the same unit."""
    (amount,) = (value for name, value in case.inputs.items() if name != "ef")
    return _emission([(Decimal(amount), "kg", Decimal(case.inputs["ef"]), "kg")])


def _steam_and_power(case: Case) -> Result:
    """A route's energy in MJ with electricity's factor per kWh and heat's per MJ."""
    i = case.inputs
    return _emission([(i["el"], "MJ", i["ef_el"], "kWh"), (i["heat"], "MJ", i["ef_heat"], "MJ")])


def _grid_pounds(case: Case) -> Result:
    return combustion.emission(Fraction(case.inputs["kwh"]) * conversion("kWh", "MWh"), case.inputs["lb_mwh"])


def _sum_of_parts(case: Case) -> Result:
    return _emission([(Decimal(1), "kg", Decimal(value), "kg") for value in case.inputs.values()])


def _per_unit(case: Case) -> Result:
    return _emission([(Decimal(case.inputs["t"]), "kg", Decimal(1), "kg")], Decimal(case.inputs["m"]))


def _part_of_total(case: Case) -> Result:
    share = Fraction(case.inputs["s"])
    weights = [share.numerator, share.denominator - share.numerator]
    return Fraction(divide(_millionths(case.inputs["t"]), weights)[0], MICRO)


def _millionths(amount: Decimal) -> int:
    exact = Fraction(amount) * MICRO
    return round_half_even(exact.numerator, exact.denominator)


def _per_volume(case: Case) -> Result:
    return combustion.per_volume(case.inputs["gcv"], case.inputs["rho"], case.inputs["ef"])


def _coal_equivalent(case: Case) -> Result:
    return combustion.from_coal_equivalent(case.inputs["kgce"], case.inputs["k"])


# ---- comparisons and uncertainty -------------------------------------------------------------------------------------


def _change(case: Case) -> Result:
    return relative_change(case.inputs["new"], case.inputs["old"])


def _difference(case: Case) -> Result:
    """First against second: the difference in kg, or the change as a fraction printed with one decimal of a percent."""
    first, second = case.inputs.values()
    if case.unit == "fraction":
        change = relative_change(first, second) * 1000
        return Fraction(round_half_even(change.numerator, change.denominator), 1000)
    return _emission([(Decimal(first), "kg", Decimal(1), "kg")]) - _emission(
        [(Decimal(second), "kg", Decimal(1), "kg")]
    )


def _quadrature_sum(case: Case) -> Result:
    return uncertainty.combine_sum([float(x) for x in case.inputs["x"]], [float(u) for u in case.inputs["u"]])


def _quadrature_product(case: Case) -> Result:
    return uncertainty.combine_product([float(u) for u in case.inputs["u"]])


def _pedigree(case: Case) -> Result:
    return uncertainty.pedigree_gsd2([float(f) for f in case.inputs["f"]])


# Words of which one is in the topic | names of the inputs | what computes it.
RECIPES: list[tuple[str, str, Callable[[Case], Result]]] = [
    ("enthalpy", "p_MPa T_K", _enthalpy),
    ("steam to heat", "m_t h base", _steam_heat),
    ("steam to heat", "m_t p_MPa base", _steam_state),
    ("steam to heat", "m_t p_MPa T_C base", _steam_state),
    ("condensate", "m h r hc base", _condensate),
    ("heat to co2", "q ef", _one("q", "ef", "GJ")),
    ("combustion", "ncv cc of", _by_carbon),
    ("combustion", "t ncv cc of", _by_carbon),
    ("three gases", "kg ncv co2 ch4 n2o", _three_gases),
    ("purchased steam", "q_mmBtu eta ef", _boiler),
    ("combustion", "a hc b ef", _two_entries_each),
    ("combustion", "scf mm th a b ef", _gas_in_three_units),
    ("co2e total", "co2_kg ch4_g n2o_g", _total_of_fuels),
    ("electricity", "co2 ch4 n2o k", _total_of_grid),
    ("electricity", "kwh lb_mwh", _grid_pounds),
    ("electricity", "kwh ef", _one("kwh", "ef", "kWh")),
    ("blend", "mix", _blend),
    ("mass balance", "inv trans cap gwp", _mass_balance),
    ("mass balance", "nc ncap re dc dr gwp", _simplified_balance),
    ("screening", "new oper disp i o rem rec gwp", _screening),
    ("freight|transport", "stm ef", _one("stm", "ef", "short_ton_mile")),
    ("freight|transport", "tkm ef", _one("tkm", "ef", "t.km")),
    ("carbonate", "M k", _carbonate),
    ("clinker", "cao", _clinker),
    ("clinker", "cao M_co2 M_cao", _clinker),
    ("waste water", "w cod_in cod_s bo mcf rec gwp", _waste_water),
    ("chp", "E ne nt", _chp),
    ("chp", "E ne nt re rt", _chp),
    ("chp", "E P H eP eH", _chp_outputs),
    ("gas", "gcv rho ef", _per_volume),
    ("diesel|unit cross-check", "l_per_t ef_l", _one("l_per_t", "ef_l", "L")),
    ("distance", "mi ef", _one("mi", "ef", "mile")),
    ("t&d|upstream|adds up", "a b", _sum_of_parts),
    ("adds up", "c m n", _sum_of_parts),
    ("coal-equivalent", "kgce k", _coal_equivalent),
    ("split of", "t s", _part_of_total),
    ("split of", "a b", _difference),
    ("per metre|per unit", "t m", _per_unit),
    ("route|step table", "el heat ef_el ef_heat", _steam_and_power),
    ("change", "new old", _change),
    ("against", "ev ice", _difference),
    ("adds up", "any", _sum_of_parts),
    ("combustion|electricity|freight|transport|distance|purchased|activity|check", "any ef", _any_activity),
    ("difference|minus|dyeing|against", "any two", _difference),
    ("sum", "x u", _quadrature_sum),
    ("product", "u", _quadrature_product),
    ("pedigree", "f", _pedigree),
]
