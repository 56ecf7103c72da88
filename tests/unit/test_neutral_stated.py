"""Rows of a document of facts that contradict or repeat each other, and numbers and spans beyond reason."""

import json
import random
from pathlib import Path
from typing import Any

import pytest

from plantprint import neutral
from plantprint.neutral import FactsError

EXAMPLE = Path(__file__).resolve().parents[2] / "docs" / "examples" / "batch-with-lots.facts.json"
OWN = {"factor_id": "own.grid", "value": "0.5", "unit": "kWh", "source": "us"}


def document() -> dict[str, Any]:
    body: dict[str, Any] = json.loads(EXAMPLE.read_text(encoding="utf-8"))
    return body


def account(body: dict[str, Any]) -> dict[str, Any]:
    return neutral.accounts_json(neutral.account_facts(neutral.parse_facts(json.dumps(body))))


def codes(result: dict[str, Any]) -> set[str]:
    return {one["code"] for one in result["issues"]}


def amounts(body: dict[str, Any], meter: str) -> dict[str, Any]:
    found: dict[str, Any] = next(block for block in body["amounts"] if block["meter"] == meter)
    return found


def test_a_job_that_is_stated_in_two_ways_is_seen_and_repeats_are_not() -> None:
    body = document()
    job = body["jobs"][0]
    body["jobs"].append(dict(job))
    assert account(body) == account(document())
    body["jobs"].append(job | {"batch": "other"})
    found = account(body)
    assert "job-started-twice" in codes(found)
    random.Random(1).shuffle(body["jobs"])
    assert account(body) == found


def test_a_job_that_is_restated_with_its_end_is_one_job() -> None:
    body = document()
    job = body["jobs"][0]
    running = {name: value for name, value in job.items() if name != "end"}
    body["jobs"] = [running, *body["jobs"]]
    assert account(body) == account(document())


def _factors(*rows: dict[str, Any]) -> list[tuple[int, str]]:
    body = document() | {"factors": [OWN | row for row in rows]}
    library = neutral.account_facts(neutral.parse_facts(json.dumps(body))).known.factors
    return [(one.version, str(one.value)) for one in library if one.factor_id == "own.grid"]


def test_own_factors_count_the_same_in_any_order_and_once() -> None:
    early, late = {"known_at": "2025-01-01T00:00:00Z"}, {"known_at": "2025-06-01T00:00:00Z", "value": "0.7"}
    assert _factors(early, late) == _factors(late, early) == _factors(late, early, late) == [(1, "0.5"), (2, "0.7")]
    numbered: list[dict[str, Any]] = [{"version": 2, "value": "0.7"}, {"version": 1}]
    assert sorted(_factors(*numbered)) == sorted(_factors(*numbered[::-1])) == [(1, "0.5"), (2, "0.7")]


@pytest.mark.parametrize("version", [{}, {"version": 1}])
def test_one_factor_with_two_contents_is_refused(version: dict[str, Any]) -> None:
    with pytest.raises(FactsError, match=r"factors\.1: own\.grid is stated before with other contents"):
        _factors(version, version | {"value": "0.7"})


def test_readings_of_one_instant_that_differ_are_told() -> None:
    body = document()
    model = body["plants"][0]["model"]
    meter = next(one for one in model["meters"] if one["id"] == "m-a")
    meter["bindings"] = [{"channel": "gw/a"}]
    body["amounts"] = [block for block in body["amounts"] if block["meter"] != "m-a"]
    body["channels"] = [{"channel": "gw/a", "unit": "kWh", "decimals": 0, "kind": "counter"}]
    rows = [["2026-01-01T02:00:00Z", "0"], ["2026-01-01T03:00:00Z", "60"]]
    body["readings"] = [{"channel": "gw/a", "rows": rows}]
    assert "reading-conflict" not in codes(account(body))
    body["readings"].append({"channel": "gw/a", "rows": [["2026-01-01T03:00:00Z", "70"]]})
    assert "reading-conflict" in codes(account(body))
    body["readings"][1]["revision"] = 1
    assert "reading-conflict" not in codes(account(body))


@pytest.mark.parametrize("text", ["1e400", "1e999999999", "-1e999999999", "1e-999999999"])
def test_a_number_beyond_reason_is_refused_at_once(text: str) -> None:
    body = document()
    amounts(body, "m-a")["rows"][0][2] = text
    with pytest.raises(FactsError, match=r"amounts\.\d\.rows\.0\.2: .* is beyond anything that is measured"):
        account(body)


def test_facts_over_more_years_than_asked_for_are_refused_with_their_span() -> None:
    body = document()
    amounts(body, "m-a")["rows"].append(["1970-01-01T00:00:00Z", "1970-01-01T01:00:00Z", "1"])
    with pytest.raises(FactsError, match="the facts reach from 1970-01-01T00:00:00Z to"):
        account(body)
