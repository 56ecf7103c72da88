"""The neutral way in: a hand-made hour that was worked out on paper, late knowledge, and mistakes with their place."""

import json
from pathlib import Path
from typing import Any

import pytest

from plantprint import neutral

EXAMPLE = Path(__file__).resolve().parents[2] / "docs" / "examples" / "one-hour.facts.json"


def document() -> dict[str, Any]:
    body: dict[str, Any] = json.loads(EXAMPLE.read_text(encoding="utf-8"))
    return body


def account(body: dict[str, Any], known_at: str | None = None) -> dict[str, Any]:
    return neutral.accounts_json(neutral.account_facts(neutral.parse_facts(json.dumps(body)), known_at))


def balances(result: dict[str, Any]) -> dict[tuple[str, str, str], str]:
    return {(p["account_kind"], p["account_id"], p["source"]): p["amount"] for p in result["postings"]}


def test_the_hour_of_the_method_page_comes_out_as_on_paper() -> None:
    result = account(document())
    assert balances(result) == {
        ("batch", "X", "grid"): "12.5",
        ("batch", "X", "gas"): "1.5625",
        ("batch", "Y", "grid"): "17.5",
        ("batch", "Y", "gas"): "2.1875",
        ("idle", "b", "grid"): "20",
        ("idle", "b", "gas"): "2.25",
        ("unmetered", "bus", "grid"): "10",
    }
    assert result["batches"]["X"]["kg_co2e"] == "9.595921875"
    assert result["batches"]["Y"]["kg_co2e"] == "13.434290625"
    assert result["accounted"] == {"gas": {"amount": "6", "unit": "Nm3"}, "grid": {"amount": "60", "unit": "kWh"}}
    assert not result["batches"]["X"]["incomplete"]


def test_the_page_prints_what_the_product_computes() -> None:
    page = (EXAMPLE.parents[1] / "accounting.md").read_text(encoding="utf-8")
    for batch in account(document())["batches"].values():
        assert f"**{batch['kg_co2e']}**" in page


def test_order_and_repetition_of_facts_change_nothing() -> None:
    body = document()
    body["readings"] = [*reversed(body["readings"]), body["readings"][0]]
    body["events"] = [*reversed(body["events"]), body["events"][0]]
    assert account(body) == account(document())


def test_what_became_known_later_does_not_count_earlier() -> None:
    body = document()
    body["readings"].append(
        {
            "channel": "gw/m-b",
            "revision": 1,
            "known_at": "2026-01-05T00:00:00Z",
            "rows": [["2026-01-01T03:00:00Z", "35.00"]],
        }
    )
    assert balances(account(body, "2026-01-04T00:00:00Z")) == balances(account(document()))
    assert balances(account(body))["idle", "b", "grid"] == "30"
    assert ("unmetered", "bus", "grid") not in balances(account(body))


def test_a_ratio_and_a_device_change_inside_the_hour() -> None:
    """The incomer's transformer doubles at 02:30; machine B is read by another device from 02:15 on."""
    body = document()
    meters = {meter["id"]: meter for meter in body["plants"][0]["model"]["meters"]}
    half, quarter = "2026-01-01T02:30:00Z", "2026-01-01T02:15:00Z"
    meters["incomer"]["bindings"] = [
        {"channel": "gw/incomer", "valid_to": half},
        {"channel": "gw/incomer", "valid_from": half, "ratio": 2},
    ]
    meters["m-b"]["bindings"] = [
        {"channel": "gw/m-b", "valid_to": quarter},
        {"channel": "gw/m-b2", "valid_from": quarter},
    ]
    other = next(channel for channel in body["channels"] if channel["channel"] == "gw/m-b")
    body["channels"].append(other | {"channel": "gw/m-b2"})
    rows = [[quarter, "7000.00"], ["2026-01-01T03:00:00Z", "7012.00"]]
    body["readings"].append({"channel": "gw/m-b2", "rows": rows})
    result = account(body)
    found = balances(result)
    assert result["accounted"]["grid"]["amount"] == "90"
    assert found["idle", "b", "grid"] == "17"
    assert found["unmetered", "bus", "grid"] == "43"
    assert not result["batches"]["X"]["incomplete"]


def test_a_coarse_counter_is_spread_by_its_power() -> None:
    """A's register moves in steps of 30 kWh; its power was all before 02:15, when X ran alone."""
    body = document()
    meter = next(m for m in body["plants"][0]["model"]["meters"] if m["id"] == "m-a")
    meter |= {"resolution": 30, "bindings": [{"channel": "gw/m-a", "power": "gw/a-kw"}]}
    body["channels"].append({"channel": "gw/a-kw", "unit": "kW", "decimals": 0, "kind": "gauge"})
    times = [("02:00:00.000", 120), ("02:14:59.999", 120), ("02:15:00.000", 0), ("03:00:00.000", 0)]
    rows = [[f"2026-01-01T{at}Z", str(kw)] for at, kw in times]
    body["readings"].append({"channel": "gw/a-kw", "rows": rows})
    result = account(body)
    assert balances(result)["batch", "X", "grid"] == "30"
    assert ("batch", "Y", "grid") not in balances(result)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda b: b["plants"][0].update(effective_at="2026-01-01T02:10:00Z"),
            "full hour .*write 2026-01-01T02:00:00Z",
        ),
        (lambda b: b["readings"][0].update(channel="gw/nobody"), "gw/nobody is not declared"),
        (lambda b: b["readings"][0]["rows"][0].__setitem__(1, "1.005"), "more digits"),
        (lambda b: b["readings"][0]["rows"][0].__setitem__(1, "ten"), "is not a number"),
        (lambda b: b["readings"][0]["rows"][0].__setitem__(0, "yesterday"), "readings.0.rows.0.0"),
        (lambda b: b["plants"][0]["model"].update(surprise=1), "plants.0.model.surprise"),
        (lambda b: b.update(until="soon"), "until"),
        (lambda b: b.pop("channels"), "readings.0.channel"),
    ],
)
def test_a_mistake_is_refused_with_its_place(change: Any, message: str) -> None:
    body = document()
    change(body)
    with pytest.raises(neutral.FactsError, match=message):
        account(body)
