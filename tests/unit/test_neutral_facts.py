"""What a document of facts may hold besides readings: amounts, jobs, states, lots, certificates, factors; and its mistakes."""

import json
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest
from typer.testing import CliRunner

from plantprint import neutral
from plantprint.neutral import FactsError
from plantprint_cli.__main__ import app

EXAMPLES = Path(__file__).resolve().parents[2] / "docs" / "examples"
S, E, F = "2026-01-01T02:00:00Z", "2026-01-01T03:00:00Z", "2026-01-01T04:00:00Z"
Body = dict[str, Any]


def document() -> Body:
    """Grid 60 kWh and roof 40 kWh in; 10 exported, 60 to A (batch X), 30 to B (batch Y, made from X)."""
    body: Body = json.loads((EXAMPLES / "batch-with-lots.facts.json").read_text(encoding="utf-8"))
    return body


def model(body: Body) -> Body:
    found: Body = body["plants"][0]["model"]
    return found


def account(body: Body, known_at: str | None = None, gwp_set: Any = None, purpose: Any = None) -> Body:
    facts = neutral.parse_facts(json.dumps(body))
    return neutral.accounts_json(neutral.account_facts(facts, known_at, gwp_set, purpose))


def amounts(body: Body, meter: str) -> Body:
    found: Body = next(block for block in body["amounts"] if block["meter"] == meter)
    return found


def on(result: Body, kind: str, name: str) -> dict[str, str]:
    return {
        source: part["amount"]
        for one in result["accounts"]
        if (one["account_kind"], one["account_id"]) == (kind, name)
        for source, part in one["amounts"].items()
    }


def codes(result: Body) -> set[str]:
    return {one["code"] for one in result["issues"]}


@pytest.mark.parametrize("example", sorted(EXAMPLES.glob("*.facts.json")), ids=lambda path: path.stem)
def test_the_schema_takes_the_examples_and_refuses_what_they_do_not_say(example: Path) -> None:
    schema, body = neutral.facts_json_schema(), json.loads(example.read_text(encoding="utf-8"))
    validator = jsonschema_rs.Draft202012Validator(schema)
    validator.validate(body)
    assert not validator.is_valid(body | {"surprise": 1})
    assert not validator.is_valid({key: value for key, value in body.items() if key != "until"})


def test_amounts_of_any_span_say_what_registers_would() -> None:
    """60 kWh of A as three spans of unlike length, in MWh and with a correction."""
    body = document()
    block = amounts(body, "m-a")
    block["rows"] = [[S, "2026-01-01T02:10:00Z", "0.01"], ["2026-01-01T02:10:00Z", E, "0.07"]]
    block["unit"] = "MWh"
    body["amounts"].append({**block, "revision": 1, "rows": [["2026-01-01T02:10:00Z", E, "0.05"]]})
    assert account(body)["accounts"] == account(document())["accounts"]


def test_time_that_no_amount_covers_is_missing_and_its_quality_is_told() -> None:
    body = document()
    amounts(body, "m-a")["rows"] = [[S, "2026-01-01T02:45:00Z", "45"]]
    amounts(body, "m-b")["quality"] = "estimated"
    result = account(body)
    assert result["batches"]["X"]["missing_ms"] == 900_000
    assert result["batches"]["X"]["incomplete"]
    assert result["batches"]["Y"]["quality"]["estimated"]["share"] == "1"
    told = {
        one["meter"]: (one["amount"], one["quality"], one["missing_ms"])
        for one in result["meters"]
        if one["hour_at"] == S
    }
    assert told["m-a"] == ("45", "missing", 900_000)
    assert told["m-b"] == ("30", "estimated", 0)


def test_spans_that_overlap_count_both_and_say_so() -> None:
    body = document()
    amounts(body, "m-b")["rows"].append(["2026-01-01T02:30:00Z", E, "5"])
    result = account(body)
    assert "amount-overlap" in codes(result)
    assert next(one["amount"] for one in result["meters"] if one["meter"] == "m-b") == "35"


def test_states_jobs_and_their_events_are_the_same_facts() -> None:
    body = document()
    body["states"] = [{"work_unit": "a", "state": "fault", "at": "2026-01-01T02:30:00Z"}]
    told = document()
    told["jobs"] = told["jobs"][1:]
    told["events"] += [
        {"kind": "job_start", "at": S, "body": {"job": "j1", "batch": "X", "work_unit": "a"}},
        {"kind": "job_end", "at": E, "body": {"job": "j1"}},
        {"kind": "state", "at": "2026-01-01T02:30:00Z", "body": {"work_unit": "a", "state": "fault"}},
    ]
    assert account(body)["postings"] == account(told)["postings"]
    assert on(account(body), "idle", "a") == {"grid": "20", "roof": "10"}


def test_machines_and_jobs_end_on_their_accounts() -> None:
    body = document()
    body["jobs"] = [body["jobs"][0], {**body["jobs"][0], "job": "j3", "batch": "Z"}]
    model(body)["steps"][0]["rule"] = "exclusive"
    body["states"] = [{"work_unit": "b", "state": "processing", "at": S}]
    amounts(body, "m-b")["rows"][0][2] = "20"
    result = account(body)
    kinds = {(one["account_kind"], one["account_id"]) for one in result["accounts"]}
    assert {("conflict", "a"), ("unassigned", "b"), ("unmetered", "bus"), ("export", "bus")} <= kinds
    assert {"exclusive-overlap", "unassigned"} & codes(result) >= {"exclusive-overlap"}
    total = sum(float(part["amount"]) for one in result["accounts"] for part in one["amounts"].values())
    assert total == 100


def test_a_co_product_is_a_lot_with_a_footprint_of_its_own() -> None:
    body = document()
    alike = {"quantity": "25", "unit": "kg", "physical": "1", "unit_price": "1"}
    sold = {"batch": "Y", "kind": "co-product", "as_lot": "waste-yarn", **alike}
    body["events"].append(
        {"kind": "output", "at": E, "body": sold}
    )  # fmt: skip
    for event in body["events"]:
        if event.get("event_id") == "p3":
            event["body"] |= {"physical": "1", "unit_price": "1"}
    result = account(body)
    assert result["lots"]["waste-yarn"]["kg_co2e"] == result["batches"]["Y"]["product_footprint"]["kg_co2e"] == "55.25"


def test_a_lot_without_a_footprint_makes_batches_incomplete_and_says_why() -> None:
    body = document()
    for event in body["events"]:
        event["body"].pop("pcf_kg_co2e", None)
    result = account(body)
    for batch in "XY":
        reasons = {one["code"] for one in result["batches"][batch]["product_footprint"]["reasons"]}
        assert reasons == {"lot-without-pcf"}
        assert result["batches"][batch]["incomplete"]


def certified() -> Body:
    body = document()
    body["factors"] += [
        {"factor_id": "own.ppa", "value": "0", "unit": "kWh", "source": "contract", "component": "generation"},
        {"factor_id": "own.residual", "value": "0.8", "unit": "kWh", "source": "mix", "component": "generation"},
    ]
    model(body)["market"] = {
        "source": "grid",
        "contracts": [{"id": "ppa", "name": {"en": "PPA"}, "factor": "own.ppa"}],
        "residual": "own.residual",
    }
    body["events"].append(
        {
            "kind": "certificate",
            "at": E,
            "body": {"contract": "ppa", "amount": "0.045", "unit": "MWh", "from": S, "to": E},
        }
    )
    return body


def test_certificates_are_matched_by_hour_beside_the_location_based_figure() -> None:
    """45 of 60 kWh are certified: X has 40 kWh at a quarter of 0.8 and its roof."""
    result = account(certified())
    one = result["batches"]["X"]
    assert (one["kg_co2e"], one["market_based_kg_co2e"]) == ("21", "9")
    assert one["product_footprint"]["market_based_kg_co2e"] == "168"
    (hour,) = result["market"]["hours"]
    assert (hour["import"], hour["certificates"], hour["not_used"]) == ("60", {"ppa": "45"}, "0")


def hourly(**more: Any) -> Body:
    """Two hours alike; the grid's factor is a series."""
    body = document()
    for block in body["amounts"]:
        block["rows"].append([E, F, block["rows"][0][2]])
    body["jobs"] = [{**job, "end": F} for job in body["jobs"]]
    model(body)["sources"][0]["factor"] = "grid.hours"
    body["factor_series"] = [
        {"factor_id": "grid.hours", "source": "operator", "rows": [[S, "0.5", "0.6"], [E, "0.25", "0.3"]], **more}
    ]
    return body


def test_an_hourly_series_counts_by_the_hour_in_which_energy_entered() -> None:
    found = account(hourly())["batches"]["X"]
    assert found["by_source"] == {"grid": "30", "roof": "2"}
    assert account(hourly(purpose="footprint"))["batches"]["X"]["by_source"]["grid"] == "36"
    assert found["product_footprint"]["own"]["by_source"] == found["by_source"]
    assert [one["factor"] for one in found["factors"]] == ["grid.hours", "own.roof"]


def test_a_series_is_named_once_with_the_hours_used_and_what_they_came_to() -> None:
    """40 kWh at 0.5 and at 0.25: the average is 0.375. Half of the second hour's: 40 and 20 kWh are 25 kg."""
    (grid, roof) = account(hourly())["batches"]["X"]["factors"]
    assert (grid["version"], grid["kg_co2e_per_unit"]) == (1, "0.375")
    assert grid["hours"] == {
        "count": 2,
        "first_at": S,
        "last_at": E,
        "lowest_kg_co2e_per_unit": "0.25",
        "highest_kg_co2e_per_unit": "0.5",
    }
    assert "hours" not in roof
    body = hourly()
    for block in body["amounts"]:
        block["rows"][1][2] = str(Decimal(block["rows"][1][2]) / 2)
    (grid, _) = account(body)["batches"]["X"]["product_footprint"]["factors"][:2]
    assert (grid["kg_co2e_per_unit"], grid["hours"]["count"]) == ("0.416666667", 2)


def test_a_missing_hour_of_a_series_is_unknown_until_it_is_known() -> None:
    body = hourly()
    (block,) = body["factor_series"]
    last = block["rows"].pop()
    late = "2026-01-05T00:00:00Z"
    body["factor_series"].append({**block, "known_at": late, "rows": [last]})
    early = account(body, "2026-01-04T00:00:00Z")["batches"]["X"]
    assert early["incomplete"]
    assert "factor-hour" in {one["code"] for one in early["issues"]}
    assert account(body, late)["batches"]["X"]["by_source"] == account(hourly())["batches"]["X"]["by_source"]


def test_a_plant_with_an_hourly_file_takes_the_series_of_its_name_and_else_its_factor() -> None:
    body = hourly(factor_id="grid.csv")
    body["factor_series"][0]["rows"].pop()
    model(body)["sources"][0] |= {"factor": "own.year", "hourly": {"file": "grid.csv", "purpose": "footprint"}}
    body["factors"].append({"factor_id": "own.year", "value": "0.4", "unit": "kWh", "source": "letter"})
    found = account(body)["batches"]["X"]
    assert found["by_source"]["grid"] == "40"  # 40 kWh an hour, at 0.6 and at 0.4
    assert [one["message"] for one in found["issues"] if one["code"] == "factor-hour"] == [
        "grid.csv has no value for 2026-01-01T03:00:00Z; own.year stands in"
    ]
    assert not found["incomplete"]


def test_asked_for_a_purpose_a_factor_of_the_other_is_never_used() -> None:
    body = hourly()
    whole = account(body, purpose="footprint")
    assert whole["purpose"] == "footprint"
    assert whole["batches"]["X"]["by_source"]["grid"] == "36"
    direct = account(body, purpose="inventory")["batches"]["X"]
    assert (direct["by_source"]["grid"], direct["product_footprint"]) == ("30", None)
    for factor in body["factors"]:
        factor["purpose"] = "footprint"
    same = account(body, purpose="footprint")["batches"]["X"]
    assert (same["kg_co2e"], same["complete"]) == (whole["batches"]["X"]["kg_co2e"], True)
    other = account(body, purpose="inventory")
    one = other["batches"]["X"]
    assert (one["by_source"], one["complete"], one["incomplete"]) == ({"grid": "30"}, False, True)
    assert ("factor-purpose", "roof") in {(issue["code"], issue["place"]) for issue in one["issues"]}
    assert {account["complete"] for account in other["accounts"] if "roof" in account["amounts"]} == {False}
    assert other["lots"] == {}
    assert other["postings"] == whole["postings"]


def test_a_series_of_one_value_an_hour_serves_its_purpose_only() -> None:
    body = hourly(rows=[[S, "0.5"], [E, "0.25"]])
    assert account(body, purpose="inventory")["batches"]["X"]["by_source"]["grid"] == "30"
    found = account(body, purpose="footprint")["batches"]["X"]
    assert "grid" not in found["by_source"]
    assert "grid.hours has values for the inventory only" in " ".join(one["message"] for one in found["issues"])


def test_the_command_asks_for_a_purpose(tmp_path: Path) -> None:
    path = tmp_path / "facts.json"
    path.write_text(json.dumps(hourly()), encoding="utf-8")
    said = {
        purpose: CliRunner().invoke(app, ["account", str(path), "--purpose", purpose]).output.splitlines()
        for purpose in ("footprint", "inventory")
    }
    (line,) = [line for line in said["inventory"] if line.startswith("batch X")]
    assert line == "batch X                    32 kg CO2e, provisional"
    assert any(line.startswith("batch X                    38 kg CO2e, cradle-to-gate") for line in said["footprint"])
    refused = CliRunner().invoke(app, ["account", str(path), "--purpose", "both"])
    assert refused.exit_code == 2


@pytest.mark.parametrize("known_at", ["2026-01-04T00:00:00Z", None])
def test_facts_of_every_kind_count_from_when_they_were_known(known_at: str | None) -> None:
    late: Body = {"known_at": "2026-01-05T00:00:00Z"}
    before, body = document(), document()
    body["amounts"].append({**amounts(body, "m-b"), **late, "revision": 1, "rows": [[S, E, "20"]]})
    body["events"].append({"kind": "withdraw", "at": E, "source": "facts", "body": {"event_id": "u2"}, **late})
    body["factors"].append({"factor_id": "own.grid", "value": "0.6", "unit": "kWh", "source": "letter", **late})
    changed = {**model(document()), "work_centers": json.loads(json.dumps(model(body)["work_centers"]))}
    changed["work_centers"][0]["work_units"][0]["step"] = "dyeing"
    body["plants"].append({"model": changed, **late})
    result, old = account(body, known_at), account(before)
    if known_at:
        assert {k: v for k, v in result.items() if k != "known_at"} == {k: v for k, v in old.items() if k != "known_at"}
        return
    assert on(result, "unmetered", "bus")["grid"] == "6.666667"
    assert result["batches"]["X"]["by_step"].keys() == {"dyeing"}
    (grid,) = [one for one in result["batches"]["X"]["factors"] if one["source"] == "grid"]
    assert (grid["version"], grid["kg_co2e_per_unit"]) == (2, "0.6")
    assert result["batches"]["X"]["product_footprint"]["kg_co2e"] != old["batches"]["X"]["product_footprint"]["kg_co2e"]


def test_an_expired_factor_is_told_where_its_figure_is() -> None:
    body = document()
    body["factors"][0] |= {"valid_to": "2025-12-31", "known_at": "2025-01-01T00:00:00Z"}
    one = account(body)["batches"]["X"]
    assert "factor-expired" in {issue["code"] for issue in one["issues"]}
    assert "factor-expired" in {issue["code"] for issue in one["product_footprint"]["remarks"]}


def test_a_subject_is_chosen_with_its_steps_shown() -> None:
    body = document()
    model(body)["sources"][0]["factor"] = "electricity.grid"
    (grid,) = [one for one in account(body)["batches"]["X"]["factors"] if one["source"] == "grid"]
    assert grid["factor"] == "cn.grid.2023.zhejiang"
    assert "CN-ZJ" in grid["reason"]


def test_readings_of_a_channel_that_feeds_nothing_are_told() -> None:
    body = document()
    body["channels"] = [{"channel": "gw/typo", "unit": "kWh", "decimals": 0, "kind": "counter"}]
    body["readings"] = [{"channel": "gw/typo", "rows": [[S, 1], [E, 2]]}]
    assert "channel-unbound" in codes(account(body))


MISTAKES: dict[str, tuple[Callable[[Body], object], str]] = {
    "nothing": (lambda b: b.update(amounts=[]), "readings: there are none, nor amounts"),
    "key": (lambda b: b.update(reading=[]), "reading: 'reading' is not known here; did you mean 'readings'"),
    "event key": (lambda b: b["events"][0].update(when=S), "events.0.when: 'when' is not known here"),
    "event kind": (lambda b: b["events"][0].update(kind="orders"), "events.0.kind: input should be 'order'"),
    "time": (lambda b: b["jobs"][0].update(start="02:00"), "jobs.0.start: '02:00' is not an RFC 3339 time"),
    "time as number": (lambda b: b.update(until=1), "until: 1: a time is text"),
    "float": (lambda b: b["amounts"][0]["rows"][0].__setitem__(2, 1.5), "amounts.0.rows.0.2: 1.5: write it as text"),
    "amount": (
        lambda b: b["amounts"][0]["rows"][0].__setitem__(2, "many"),
        "amounts.0.rows.0.2: 'many' is not a number",
    ),
    "endless amount": (lambda b: b["amounts"][0]["rows"][0].__setitem__(2, "NaN"), "amounts.0.rows.0.2: 'NaN' is not"),
    "span": (lambda b: b["amounts"][0]["rows"][0].__setitem__(1, S), "amounts.0.rows.0.1: the span ends before"),
    "meter": (lambda b: b["amounts"][0].update(meter="m-x"), "amounts.0.meter: there is no meter 'm-x'"),
    "unit": (lambda b: b["amounts"][0].update(unit="kg"), "amounts.0.unit: 'kg' cannot be converted to 'kWh'"),
    "plant": (lambda b: model(b)["flows"][0].update(to="bux"), "plants.0.model.flows.0.to: there is no pool"),
    "plant value": (lambda b: model(b).update(bucket_s=0), "plants.0.model.bucket_s: input should be greater"),
    "factor": (lambda b: b["factors"][0].pop("source"), "factors.0: a factor needs source"),
    "factor column": (
        lambda b: b["factors"][0].update(valeu=1),
        "factors.0: own.grid: a factor has no valeu; did you mean",
    ),
    "factor value": (lambda b: b["factors"][0].update(value="much"), "factors.0: own.grid"),
    "factor known": (lambda b: b["factors"][0].update(known_at="then"), "factors.0: 'then' is not an RFC 3339"),
    "period": (
        lambda b: b.update(channels=[{"channel": "g/a", "unit": "kWh", "decimals": 0, "kind": "amount"}]),
        "channels.0: a channel of amounts needs period_s",
    ),
    "channel twice": (
        lambda b: b.update(channels=2 * [{"channel": "g/a", "unit": "kWh", "decimals": 0, "kind": "counter"}]),
        "channels.1.channel: g/a is declared twice",
    ),
    "series hour": (
        lambda b: b.update(factor_series=[{"factor_id": "s", "source": "o", "rows": [["2026-01-01T02:30:00Z", "1"]]}]),
        "factor_series.0.rows.0.0: 2026-01-01T02:30:00Z is no full hour; write 2026-01-01T02:00:00Z",
    ),
    "series twice": (
        lambda b: b.update(factor_series=[{"factor_id": "s", "source": "o", "rows": [[S, "1"], [S, "2"]]}]),
        "factor_series.0.rows.1.0: 2026-01-01T02:00:00Z is given twice",
    ),
    "series value": (
        lambda b: b.update(factor_series=[{"factor_id": "s", "source": "o", "rows": [[S, "-1"]]}]),
        "factor_series.0.rows.0.1: -1 is negative",
    ),
    "both": (
        lambda b: (
            model(b)["meters"][0].update(bindings=[{"channel": "g/a"}]),
            b.update(
                channels=[{"channel": "g/a", "unit": "kWh", "decimals": 0, "kind": "counter"}],
                readings=[{"channel": "g/a", "rows": [[S, "1"]]}],
            ),
        ),
        "amounts.0.meter: 'incomer' has readings of g/a too; give one of the two",
    ),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_is_refused_with_its_place_and_remedy(name: str) -> None:
    body = document()
    change, message = MISTAKES[name]
    change(body)
    with pytest.raises(FactsError) as caught:
        account(body)
    (line,) = str(caught.value).splitlines()
    assert message in line
    assert ";" in line, "every mistake says what to do"


def test_order_and_repetition_of_facts_change_nothing() -> None:
    body = certified()
    for key in ("amounts", "jobs", "events"):
        body[key] = [*reversed(body[key]), body[key][0]]
    assert account(body) == account(certified())


def test_gases_are_valued_anew_under_a_set() -> None:
    body = document()
    body["factors"][0] |= {
        "gases": "CO2e",
        "co2_fossil_kg": "0.4",
        "ch4_kg": "0.001",
        "n2o_kg": "0",
        "ch4_origin": "fossil",
    }
    gases = account(body, gwp_set="AR6")["batches"]["X"]["breakdown"]
    assert account(body)["batches"]["X"]["by_source"]["grid"] == "20"
    assert account(body, gwp_set="AR6")["batches"]["X"]["by_source"]["grid"] == "17.192"
    assert account(body, gwp_set="AR4")["batches"]["X"]["by_source"]["grid"] == "17"
    assert gases["gwp_set"] == "AR6"


def test_several_mistakes_are_told_at_once() -> None:
    body = document() | {"until": "soon", "surprise": 1}
    body["events"][1]["at"] = "now"
    with pytest.raises(FactsError) as caught:
        account(body)
    assert [line.split(":")[0] for line in str(caught.value).splitlines()] == ["events.1.at", "until", "surprise"]


def test_the_command_prints_accounts_schema_and_mistakes(tmp_path: Path) -> None:
    run = CliRunner()
    path = EXAMPLES / "batch-with-lots.facts.json"
    done = run.invoke(app, ["account", str(path), "--json", "--known-at", "2026-02-01T00:00:00Z"])
    assert json.loads(done.output) == account(document(), "2026-02-01T00:00:00Z")
    assert "cradle-to-gate 110.5 kg CO2e, final" in run.invoke(app, ["account", str(path)]).output
    assert json.loads(run.invoke(app, ["account", "--schema"]).output) == neutral.facts_json_schema()
    (tmp_path / "bad.json").write_text("{", encoding="utf-8")
    error = run.invoke(app, ["account", str(tmp_path / "bad.json")]).exception
    assert isinstance(error, FactsError)
    assert str(error).startswith("document: invalid JSON")
