"""The method page for certifiers: every sum on it is right, and every figure is what the product computes from its facts."""

import json
import re
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest

from plantprint import neutral

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
