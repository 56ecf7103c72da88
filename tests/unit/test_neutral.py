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


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda b: b["readings"][0].update(channel="gw/nobody"), "gw/nobody is not declared"),
        (lambda b: b["readings"][0]["rows"][0].__setitem__(1, "1.005"), "more digits"),
        (lambda b: b["readings"][0]["rows"][0].__setitem__(1, "ten"), "is not a number"),
        (lambda b: b["readings"][0]["rows"][0].__setitem__(0, "yesterday"), "readings: gw/incomer"),
        (lambda b: b["plants"][0]["model"].update(surprise=1), "plants.0.model.surprise"),
        (lambda b: b.update(until="soon"), "until"),
        (lambda b: b.pop("channels"), "channels"),
    ],
)
def test_a_mistake_is_refused_with_its_place(change: Any, message: str) -> None:
    body = document()
    change(body)
    with pytest.raises(neutral.FactsError, match=message):
        account(body)
