"""The method page for certifiers: every sum on it is right, and every figure is what the product computes from its facts."""

import json
import re
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest

from plantprint import neutral
from plantprint.steam import BASE_WATER_20C, SteamState, condensate_enthalpy, steam_enthalpy

DOCS = Path(__file__).resolve().parents[2] / "docs"
PAGE = (DOCS / "accounting.md").read_text(encoding="utf-8")
NUMBER = r"\d+(?:\.\d+)?"
SUM = re.compile(r"([\d(][\d.()]* [×÷+−] [\d.()×÷+− ]*[\d)]) = (\d+(?:\.\d+)?)")


def facts(name: str) -> dict[str, Any]:
    body: dict[str, Any] = json.loads((DOCS / "examples" / f"{name}.facts.json").read_text(encoding="utf-8"))
    return body


def account(body: dict[str, Any]) -> dict[str, Any]:
    return neutral.accounts_json(neutral.account_facts(neutral.parse_facts(json.dumps(body))))


def section(title: str) -> str:
    part = PAGE.split(f"# {title}\n", 1)[1]
    return re.split(r"\n#+ ", part, maxsplit=1)[0]


def table(title: str, first: str) -> dict[str, list[str]]:
    """Rows of a table by their first cell, without bold type; `first` is in the heading's first cell."""
    found: dict[str, list[str]] = {}
    begun = False
    for line in section(title).splitlines():
        cells = [cell.strip(" *") for cell in line.strip("|").split("|")] if line.startswith("|") else []
        if not cells:
            begun = False
        elif begun and not set(line) <= set("|-: "):
            found[cells[0]] = cells[1:]
        begun = begun or bool(cells and cells[0] == first)
    return found


def computed(text: str) -> Fraction:
    """Value of a sum as it is written, with × and ÷ before + and −."""
    words = re.sub(NUMBER, lambda m: f'Fraction("{m[0]}")', text)
    for sign, operator in zip("×÷−", "*/-", strict=True):
        words = words.replace(sign, operator)
    return Fraction(eval(words, {"Fraction": Fraction}))


def test_every_sum_on_the_page_is_right() -> None:
    sums = SUM.findall(PAGE)
    assert len(sums) >= 15
    assert [(text, result) for text, result in sums if computed(text) != Fraction(result)] == []


def test_the_registers_of_the_first_hour_are_those_of_its_facts() -> None:
    rows = [[value for _, value in block["rows"]] for block in facts("one-hour")["readings"]]
    page = table("One hour by hand", "register").values()
    assert sorted([first, last] for first, last, _ in page) == sorted(rows)
    assert all(Decimal(last) - Decimal(first) == Decimal(used.split()[0]) for first, last, used in page)


def test_the_first_hour_is_what_the_product_computes() -> None:
    result = account(facts("one-hour"))
    page = table("One hour by hand", "")
    for place, batch in enumerate("XY"):
        found = result["batches"][batch]
        assert page["kg CO2e"][place] == found["kg_co2e"]
        for line, source in (("electricity", "grid"), ("gas", "gas")):
            assert page[line][place].split(" = ")[1] == found["by_source"][source]
            amount = next(one["amount"] for one in found["inventory"] if one["source"] == source)
            assert page[line][place].split(" × ")[0] == amount
    for source, unit in (("grid", "kWh"), ("gas", "Nm³")):
        whole = result["accounted"][source]["amount"]
        assert f"= {whole} {unit}" in section("One hour by hand")


def test_a_change_inside_the_hour_is_what_the_product_computes() -> None:
    body = facts("one-hour")
    meter = next(one for one in body["plants"][0]["model"]["meters"] if one["id"] == "incomer")
    (binding,) = meter["bindings"]
    half = "2026-01-01T02:30:00Z"
    meter["bindings"] = [{**binding, "valid_to": half}, {**binding, "valid_from": half, "ratio": 2}]
    result = account(body)
    assert f"= {result['accounted']['grid']['amount']} kWh enter" in section("A change inside the hour")
    (rest,) = [p["amount"] for p in result["postings"] if p["account_kind"] == "unmetered"]
    assert f"= {rest} kWh are unmetered" in section("A change inside the hour")


def test_a_coarse_counter_is_what_the_product_computes() -> None:
    body = facts("one-hour")
    meter = next(one for one in body["plants"][0]["model"]["meters"] if one["id"] == "m-a")
    meter |= {"resolution": 30, "bindings": [{**meter["bindings"][0], "power": "gw/a-kw"}]}
    body["channels"].append({"channel": "gw/a-kw", "unit": "kW", "decimals": 0, "kind": "gauge"})
    times = [("02:00:00.000", 120), ("02:14:59.999", 120), ("02:15:00.000", 0), ("03:00:00.000", 0)]
    body["readings"].append({"channel": "gw/a-kw", "rows": [[f"2026-01-01T{at}Z", str(kw)] for at, kw in times]})
    result = account(body)
    grid = {p["account_id"]: p["amount"] for p in result["postings"] if p["source"] == "grid"}
    assert f"= {grid['X']} kWh flowed while X ran alone" in section("A coarse counter")
    assert "Y" not in grid


STEAM = "An hour of steam and condensate, by hand"


def test_no_number_in_the_prose_of_the_hour_of_steam_is_loose() -> None:
    body = facts("steam")
    result = account(body)
    (model,) = [plant["model"] for plant in body["plants"]]
    steam, back = (next(one for one in model["meters"] if one["id"] == name) for name in ("steam", "back"))
    rows = {block["channel"]: block["rows"] for block in body["readings"]}
    (pressure,) = {value for _, value in rows["gw/steam-mpa"]}
    times = [at[11:16] for at, _ in rows["gw/steam-mpa"]]
    assert times == [f"02:{minute:02}" for minute in range(0, 31, 5)] + ["03:00"]
    quarter = {name: (Fraction(r[-1][1]) - Fraction(r[0][1])) / 4 for name, r in rows.items() if name != "gw/steam-mpa"}
    x, warm = Fraction(steam["steam"]["dryness"]), back["condensate"]["temperature"]
    water, dry = (steam_enthalpy(SteamState(float(pressure), dryness=one)) for one in (0.0, 1.0))
    wet, boiling = water + x * (dry - water), condensate_enthalpy(float(warm))
    told, returned = metered(result, "steam"), metered(result, "back")
    (posted,) = result["postings"]
    assert posted["quality"] == "estimated"
    batch = result["batches"]["X"]
    n, t, w = said, quarter["gw/steam-t"], quarter["gw/back-t"]
    assert not re.search(
        r"\d",
        left_over(
            STEAM,
            "[examples/steam.facts.json](examples/steam.facts.json)",
            f"steam that holds {n((1 - x) * 100)} % of water",
            f"Between {times[0]} and {times[-1]} UTC {n(t)} t of steam flow in every quarter, and {n(w)} t of water of {warm} °C",
            f"is read every 5 minutes until {times[-2]} and then at {times[-1]} again, always {n(pressure)} MPa",
            f"boiling water holds {n(water)} kJ/kg and dry steam {n(dry)} kJ/kg, {n(dry)} − {n(water)} = {n(dry - water)} more.",
            f"With a dryness of {n(x)} that is {n(water)} + {n(x)} × {n(dry - water)} = {n(wet)} kJ/kg.",
            f"Above water of 20 °C, {n(BASE_WATER_20C)} kJ/kg, the mass of a quarter is worth "
            f"{n(t)} × ({n(wet)} − {n(BASE_WATER_20C)}) = {n(t * (wet - BASE_WATER_20C))} MJ.",
            f"to {n(told / 4)} GJ: 4 × {n(told / 4)} = {n(told)} GJ.",
            f"holds {n(boiling)} kJ/kg: {n(w)} × ({n(boiling)} − {n(BASE_WATER_20C)}) = {n(w * (boiling - BASE_WATER_20C))} MJ",
            f"rounded to {n(returned / 4)} GJ: 4 × {n(returned / 4)} = {n(returned)} GJ.",
            f"has {n(told)} − {n(returned)} = {posted['amount']} GJ, at {batch['factors'][0]['kg_co2e_per_unit']} kg CO2/GJ "
            f"{posted['amount']} × {batch['factors'][0]['kg_co2e_per_unit']} = {batch['kg_co2e']} kg CO2e.",
            f"After {times[-2]} the pressure is held. From 02:35 on (`max_gap_s` 300) what follows",
            f"Without the reading at {times[-1]}, what flowed after that (`hold_s` {steam['steam']['hold_s']}) would be",
        ),
    )


LOTS = "A batch with a purchased lot, rework and export, by hand"


def test_the_flows_of_the_batch_with_lots_are_those_of_its_facts() -> None:
    given = [block["rows"][0][2] for block in facts("batch-with-lots")["amounts"]]
    assert [cells[0] for cells in table(LOTS, "flow").values()] == given


def test_the_accounts_of_the_batch_with_lots_are_what_the_product_computes() -> None:
    result = account(facts("batch-with-lots"))
    page = table(LOTS, "account")
    found = {one["account_id"]: one for one in result["accounts"]}
    found["export"] = found.pop("bus")
    assert page.keys() == found.keys()
    for name, (grid, roof, kg) in page.items():
        amounts = {source: part["amount"] for source, part in found[name]["amounts"].items()}
        assert {"grid": grid, "roof": roof} == {"grid": "0", "roof": "0"} | amounts
        assert kg.split(" = ")[1] == found[name]["kg_co2e"]


@pytest.mark.parametrize(("place", "batch"), [(0, "X"), (1, "Y")])
def test_the_batch_with_lots_is_what_the_product_computes(place: int, batch: str) -> None:
    one = account(facts("batch-with-lots"))["batches"][batch]
    whole = one["product_footprint"]
    page = {name: cells[place] for name, cells in table(LOTS, "").items()}
    assert page == {
        "gate-to-gate, kg CO2e": one["kg_co2e"],
        "upstream": whole["upstream"]["kg_co2e"],
        "cradle-to-gate": whole["kg_co2e"],
        "good output, kg": whole["quantity"],
        "kg CO2e per kg": whole["kg_co2e_per_unit"],
        "primary data share, %": whole["primary_data_share_percent"],
    }
    assert whole["own"]["kg_co2e"] == one["kg_co2e"]
    assert not one["incomplete"]
    used = {part["id"]: part["kg_co2e"] for part in whole["inputs"]}
    assert all(f"= {kg} kg CO2e" in section(LOTS) for kg in used.values())


# Every number in the prose of the examples: each sentence is put together here from facts and results, and nothing is left.


def said(number: Decimal | Fraction | str | int) -> str:
    """A number as the page writes it."""
    exact = Fraction(number)
    digits = next(n for n in range(10) if (exact * 10**n).denominator == 1)
    return f"{Decimal(exact.numerator) / exact.denominator:.{digits}f}"


def left_over(title: str, *sentences: str) -> str:
    """What a section says besides its tables and these sentences, each of which is there."""
    text = " ".join(line for line in section(title).splitlines() if not line.startswith("|"))
    text = " ".join(text.replace("**", "").split())
    for sentence in sentences:
        assert sentence in text
        text = text.replace(sentence, "", 1)
    return text.replace("CO2e", "").replace("CO2", "")


def amount(result: dict[str, Any], kind: str, name: str, source: str) -> Fraction:
    found = (one for one in result["accounts"] if (one["account_kind"], one["account_id"]) == (kind, name))
    return sum((Fraction(one["amounts"][source]["amount"]) for one in found if source in one["amounts"]), Fraction(0))


def metered(result: dict[str, Any], meter: str) -> Fraction:
    return sum((Fraction(one["amount"]) for one in result["meters"] if one["meter"] == meter), Fraction(0))


def jobs_between(start: str, end: str, *batches: str) -> dict[str, Fraction]:
    """The grid's kWh on batches if they ran on A from one time to the other only, with their weights."""
    body = facts("one-hour")
    weights = {e["body"]["batch"]: str(e["body"]["weight"]) for e in body["events"] if e["kind"] == "job_start"}
    body["events"] = [event for event in body["events"] if event["kind"] == "order"]
    span = {"work_unit": "a", "start": f"2026-01-01T{start}:00Z", "end": f"2026-01-01T{end}:00Z"}
    body["jobs"] = [{"job": one, "batch": one, "weight": weights[one], **span} for one in batches]
    result = account(body)
    return {one: amount(result, "batch", one, "grid") for one in batches}


def test_no_number_in_the_prose_of_the_first_hour_is_loose() -> None:
    body = facts("one-hour")
    result = account(body)
    at = {event["event_id"]: event["at"][11:16] for event in body["events"]}
    weight = {e["body"]["batch"]: e["body"]["weight"] for e in body["events"] if e["kind"] == "job_start"}
    assert len(body["readings"]) == 6
    first, last = (at_[11:16] for at_, _ in body["readings"][0]["rows"])
    grid = {one: amount(result, "batch", one, "grid") for one in "XY"}
    gas = {one: amount(result, "batch", one, "gas") for one in "XY"}
    rest, idle = amount(result, "unmetered", "bus", "grid"), amount(result, "idle", "b", "grid")
    idle_gas = amount(result, "idle", "b", "gas")
    entered = {name: Fraction(one["amount"]) for name, one in result["accounted"].items()}
    a, b, steam_a, steam_b = (metered(result, meter) for meter in ("m-a", "m-b", "steam-a", "steam-b"))
    alone, both, after = (
        jobs_between(at["jx"], at["jy"], "X"),
        jobs_between(at["jy"], at["jxe"], "X", "Y"),
        jobs_between(at["jxe"], at["jye"], "Y"),
    )
    assert both["X"] == 2 * both["Y"]  # two thirds and one third
    used = {one["source"]: one for one in result["batches"]["X"]["factors"]}
    n = said
    assert not re.search(
        r"\d",
        left_over(
            "One hour by hand",
            f"{first} to {last} UTC. Six registers, read at both ends:",
            f"Batch X runs on A from {at['jx']} to {at['jxe']} with weight {weight['X']}, "
            f"batch Y from {at['jy']} to {at['jye']} with weight {weight['Y']}. Nothing runs on B.",
            f"{n(entered['grid'])} kWh enter the bus, {n(a)} go to A, {n(b)} to B; {n(rest)} are unmetered",
            f"A counts {n(a / 60)} kWh a minute: {n(alone['X'])} kWh until {at['jy']}, all X's; "
            f"{n(sum(both.values()))} kWh until {at['jxe']}, two thirds X's ({n(both['X'])}) and one third Y's "
            f"({n(both['Y'])}); {n(after['Y'])} kWh until {at['jye']}, all Y's.",
            f"So X has {n(grid['X'])} kWh and Y {n(grid['Y'])} kWh. B's {n(idle)} kWh are idle.",
            f"The boiler turns {n(entered['gas'])} Nm³ into steam that goes to A and B as {n(steam_a)} : {n(steam_b)}, "
            f"so A's steam carries {n(gas['X'] + gas['Y'])} Nm³ and B's {n(idle_gas)}.",
            f"so X has {n(grid['X'])}/{n(a)} of it: {n(gas['X'])} Nm³; Y has {n(gas['Y'])} Nm³.",
            f"Grid of Zhejiang {used['grid']['data_year']}: {used['grid']['kg_co2e_per_unit']} kg CO2/kWh. "
            f"Natural gas, China default: {used['gas']['kg_co2e_per_unit']} kg CO2/Nm³.",
            f"{n(grid['X'])} + {n(grid['Y'])} + {n(idle)} + {n(rest)} = {n(entered['grid'])} kWh. "
            f"{n(gas['X'])} + {n(gas['Y'])} + {n(idle_gas)} = {n(entered['gas'])} Nm³.",
        ),
    )
    assert gas["X"] == (gas["X"] + gas["Y"]) * grid["X"] / a


def test_no_number_in_the_prose_of_its_variants_is_loose() -> None:
    result = account(facts("one-hour"))
    incomer, a, b = (metered(result, meter) for meter in ("incomer", "m-a", "m-b"))
    n, half = said, incomer / 2
    more = half * 1 + half * 2
    assert not re.search(
        r"\d",
        left_over(
            "A change inside the hour",
            "The incomer's transformer ratio is 1 until 02:30 and 2 from then on.",  # as the test above sets it
            f"Its register moved evenly, {float(half):.2f} before and {float(half):.2f} after: "
            f"{n(half)} × 1 + {n(half)} × 2 = {n(more)} kWh enter.",
            f"{n(more)} − {n(a)} − {n(b)} = {n(more - a - b)} kWh are unmetered now.",
        ),
    )
    assert not re.search(
        r"\d",
        left_over(
            "A coarse counter",
            f"A's register moves in steps of {n(a)} kWh",
            "Its power does: 120 kW until 02:15, nothing after.",  # as the test above sets it
            f"So all of 120 × 0.25 = {n(a)} kWh flowed while X ran alone",
        ),
    )


def test_no_number_in_the_prose_of_the_batch_with_lots_is_loose() -> None:
    body = facts("batch-with-lots")
    result = account(body)
    factor = {one["factor_id"]: one["value"] for one in body["factors"]}
    said_by = {event["event_id"]: event["body"] for event in body["events"]}
    grid, roof, out = (metered(result, meter) for meter in ("incomer", "m-roof", "m-out"))
    a, b = metered(result, "m-a"), metered(result, "m-b")
    left, inside = roof - amount(result, "export", "bus", "roof"), grid + roof - out
    x, y = (result["batches"][one] for one in "XY")
    own = {"X": Fraction(x["kg_co2e"]), "Y": Fraction(y["kg_co2e"])}
    lot, used = said_by["l1"], said_by["u1"]["quantity"]
    good, rework, taken = (Fraction(said_by[one]["quantity"]) for one in ("p1", "p2", "u3"))
    (bought,) = [one for one in x["product_footprint"]["inputs"] if one["id"] == lot["lot"]]
    (handed,) = [one for one in y["product_footprint"]["inputs"] if one["id"] == "X"]
    fibre, whole = Fraction(bought["kg_co2e"]), Fraction(x["product_footprint"]["kg_co2e"])
    scrap = next(event["body"] for event in body["events"] if event["kind"] == "scrap")
    carried = whole * (good + rework) / good
    primary = Fraction(lot["primary_share"]) * 100
    n, whole_out = said, good + rework
    assert not re.search(
        r"\d",
        left_over(
            LOTS,
            "[examples/batch-with-lots.facts.json](examples/batch-with-lots.facts.json)",
            f"round factors: grid {factor['own.grid']} kg/kWh, roof {factor['own.roof']} kg/kWh.",
            f"Its {n(out)} kWh leave from the roof: {n(roof)} − {n(out)} = {n(left)} stay. Inside are {n(grid)} kWh of the "
            f"grid and {n(left)} of the roof, {n(inside)} in all, and nothing is unmetered: "
            f"{n(grid)} − {n(grid)} ÷ {n(inside)} × {n(a)} = {n(amount(result, 'batch', 'Y', 'grid'))} kWh of the grid go to B.",
            f"X used {used} kg of {lot['lot']}, for which its supplier states {lot['pcf_kg_co2e']} kg CO2e per kg, "
            f"{n(primary)} % of it primary data: {used} × {lot['pcf_kg_co2e']} = {n(fibre)} kg CO2e.",
            f"X put out {n(good)} kg of good yarn and {n(rework)} kg for rework, and the {n(rework)} kg went back into X.",
            f"x = {n(own['X'])} + {n(fibre)} + x × {n(rework)} ÷ {n(whole_out)}, so x = ({n(own['X'])} + {n(fibre)}) ÷ "
            f"(1 − {n(rework)} ÷ {n(whole_out)}) = {n(carried)} kg CO2e.",
            f"Of that the good output has {n(carried)} × {n(good)} ÷ {n(whole_out)} = {n(whole)} kg CO2e:",
            f"Per kg: {n(whole)} ÷ {n(good)} = {x['product_footprint']['kg_co2e_per_unit']} kg CO2e.",
            f"Y used {n(taken)} of the {n(whole_out)} kg: {n(carried)} × {n(taken)} ÷ {n(whole_out)} = "
            f"{handed['kg_co2e']} kg CO2e. Its own electricity is {n(own['Y'])}, its {scrap['quantity']} kg of scrap carry "
            "nothing.",
            f"of X it is {n(primary)} × {n(fibre)} ÷ {n(whole)} %",
            f"{n(fibre)} × {handed['kg_co2e']} ÷ {n(whole)} kg CO2e come from the fibre, {n(primary)} % of that is primary, "
            f"over {y['product_footprint']['kg_co2e']} in all.",
        ).replace("fibre-77", ""),
    )
    assert b == inside - a
    assert Fraction(x["product_footprint"]["primary_data_share_percent"]) == round(primary * fibre / whole, 4)
    from_fibre = fibre * Fraction(handed["kg_co2e"]) / whole
    share = primary * from_fibre / Fraction(y["product_footprint"]["kg_co2e"])
    assert Fraction(y["product_footprint"]["primary_data_share_percent"]) == round(share, 4)
