"""Every rule on a single value of a plant file, read off its JSON Schema, is broken once: the message names place and remedy."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from plantprint.plant.load import inspect_plant, plant_json_schema


def named(name: str, **more: Any) -> dict[str, Any]:
    return {"id": name, "name": {"en": name}, **more}


# One of every noun; only single values are looked at here.
SOUND: dict[str, Any] = {
    "plantprint": 1,
    "site": named("site"),
    "idle": {"window": "day"},
    "steps": [named("dyeing")],
    "work_centers": [
        named(
            "line",
            budget={"kg_co2e_per_hour": 5},
            work_units=[
                named("u-1", step="dyeing", infer_state={"meter": "m-in", "processing_kw": 8, "idle_kw": 2}),
            ],
        )
    ],
    "sources": [
        named("grid", unit="kWh", kind="grid", factor="f", scope=2, hourly={"file": "grid.csv", "purpose": "footprint"})
    ],
    "meters": [
        named("m-in", unit="kWh", bindings=[{"channel": "gw/in"}]),
        named("m-steam", unit="GJ", steam={}, bindings=[{"channel": "gw/t", "pressure": "gw/mpa"}]),
        named("m-back", unit="GJ", condensate={}, bindings=[{"channel": "gw/back", "temperature": "gw/degc"}]),
    ],
    "pools": [
        named("bus", unit="kWh"),
        named("plant", unit="kWh", kind="chp", products=[{"id": "heat", "unit": "kWh"}]),
    ],
    "stores": [named("battery", unit="kWh")],
    "flows": [{"from": "grid", "to": "u-1", "amount": "m-in"}],
    "materials": [named("salt", unit="kg")],
    "market": {"source": "grid", "contracts": [named("ppa", factor="f")]},
}
PLACES: dict[str, str] = {
    "Plant": "",
    "Binding": "meters.0.bindings.0",
    "Condensate": "meters.2.condensate",
    "Budget": "work_centers.0.budget",
    "Contract": "market.contracts.0",
    "Flow": "flows.0",
    "Hourly": "sources.0.hourly",
    "Idle": "idle",
    "Market": "market",
    "Material": "materials.0",
    "Meter": "meters.0",
    "Pool": "pools.0",
    "Product": "pools.1.products.0",
    "Site": "site",
    "Source": "sources.0",
    "Steam": "meters.1.steam",
    "StateRule": "work_centers.0.work_units.0.infer_state",
    "Step": "steps.0",
    "Store": "stores.0",
    "WorkCenter": "work_centers.0",
    "WorkUnit": "work_centers.0.work_units.0",
}
TOLD = {
    "minimum": "greater than or equal to",
    "exclusiveMinimum": "greater than",
    "maximum": "less than or equal to",
    "pattern": "should match pattern",
    "enum": "input should be",
    "const": "input should be",
    "minItems": "should have at least",
    "format": "input should be",
}


def broken(keyword: str, limit: Any) -> Any:
    """A value just beyond a limit, or one that no pattern and no list has."""
    match keyword:
        case "exclusiveMinimum":
            return limit
        case "minimum" | "maximum":
            return float(limit) + (1 if keyword == "maximum" else -1)
        case "minItems":
            return []
        case "const":
            return 2
    return "\u00fc nobody /"


def rules() -> Iterator[tuple[str, str, Any]]:
    """(path, keyword, limit) of every rule of the schema on one value."""
    schema = plant_json_schema()
    for noun, body in (("Plant", schema), *schema["$defs"].items()):
        for name, value in body.get("properties", {}).items():
            for part in (value, *value.get("anyOf", ())):
                yield from ((f"{PLACES[noun]}.{name}".lstrip("."), k, part[k]) for k in TOLD if k in part)


RULES = [*rules()]


def put(path: str, value: Any) -> dict[str, Any]:
    body: dict[str, Any] = json.loads(json.dumps(SOUND))
    *above, last = path.split(".")
    place: Any = body
    for part in above:
        place = place[int(part) if part.isdecimal() else part]
    place[last] = value
    return body


def test_only_single_values_are_broken_here() -> None:
    assert [i for i in inspect_plant(yaml.safe_dump(SOUND)).issues if "should" in i.message] == []
    assert len(RULES) > 60


@pytest.mark.parametrize(("path", "keyword", "limit"), RULES, ids=[f"{path} {keyword}" for path, keyword, _ in RULES])
def test_a_rule_on_a_value_is_told(path: str, keyword: str, limit: Any) -> None:
    body = put(path, broken(keyword, limit))
    found = [issue for issue in inspect_plant(yaml.safe_dump(body, allow_unicode=True)).issues if issue.path == path]
    assert [issue for issue in found if TOLD[keyword] in issue.message and issue.remedy and issue.line], found


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        ("meters.0.accuracy_class", "D", "should match pattern"),
        ("meters.0.accuracy_class", "0", "should match pattern"),
        ("idle.starts", ["25:00"], "should match pattern"),
        ("meters.0.bindings.0.valid_from", "2026-01-01T00:00:00", "should have timezone info"),
        ("work_centers.0.idle", {"window": "day", "starts": ["06:00", "14:00"]}, "a day has one start"),
        ("site", {"id": "site"}, "'name' is missing"),
        ("sources.0.colour", "green", "'colour' is not known here"),
    ],
)
def test_other_rules_on_a_value_are_told(path: str, value: Any, message: str) -> None:
    found = inspect_plant(yaml.safe_dump(put(path, value))).issues
    assert [issue for issue in found if issue.path.startswith(path) and message in issue.message and issue.remedy], (
        found
    )


def test_what_never_comes_out_of_a_pool_is_told_with_where_it_ends() -> None:
    body = put("stores", [])
    body["pools"] = [named("bus", unit="kWh"), named("b2", unit="kWh"), named("b3", unit="kWh")]
    del body["work_centers"][0]["work_units"][0]["infer_state"]
    body["flows"] = [
        {"from": "grid", "to": "bus", "amount": "m-in"},
        {"from": "bus", "to": "b2", "amount": "rest"},
        {"from": "b2", "to": "b3", "amount": "rest"},
    ]
    messages = [issue.message for issue in inspect_plant(yaml.safe_dump(body)).issues]
    assert (
        "nothing that pool 'bus' holds can ever flow out: it only comes to 'b2' and 'b3', and from there nowhere"
        in messages
    )
